"""Retained variables across restarts (IEC 61131-3 §6.5.6: a warm restart keeps them, a cold one does not).

The values are taken from the published snapshot, so the scan is never asked. The file names each variable by path and
type: a changed program finds its variables again wherever they lie in its block, and none under a changed type.
"""

from __future__ import annotations

import pathlib
import zlib

import msgspec
import numpy as np
import numpy.typing as npt

from runtime.state import write_atomically
from scan.abi import Application, Symbol

FILE_NAME = "values.ret"
_MAGIC = b"TWRT\x01"

Bytes = npt.NDArray[np.uint8]


class Retained(msgspec.Struct, frozen=True):
    """What a program kept: path -> (type as declared, bytes in the block)."""

    digest: str
    wall_ns: int
    values: dict[str, tuple[str, bytes]]


class Restored(msgspec.Struct, frozen=True):
    application: Application
    count: int  # variables that got their value back
    lost: tuple[str, ...] = ()  # kept, but gone from the program or of another type now


class RetainFile:
    """The values on disk, replaced as a whole and only when they changed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._path = folder / FILE_NAME
        self._last: bytes = b""

    def load(self) -> Retained | None:
        """The kept values; None when there are none or the file is damaged (it is then put aside as *.damaged)."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return None
        body = data[len(_MAGIC) + 4 :]
        try:
            if (
                data[: len(_MAGIC)] != _MAGIC
                or zlib.crc32(body).to_bytes(4, "little") != data[len(_MAGIC) :][:4]
            ):
                raise msgspec.DecodeError("damaged")
            return msgspec.msgpack.decode(body, type=Retained)
        except (msgspec.DecodeError, msgspec.ValidationError):
            self._path.replace(self._path.with_suffix(".damaged"))
            return None

    def save(self, retained: Retained) -> bool:
        """Writes durably if a value differs from the last save; returns whether it wrote."""
        values = msgspec.msgpack.encode((retained.digest, retained.values))
        if values == self._last:
            return False
        body = msgspec.msgpack.encode(retained)
        write_atomically(self._path, _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
        self._last = values
        return True


def retained_symbols(symbols: tuple[Symbol, ...]) -> tuple[Symbol, ...]:
    return tuple(symbol for symbol in symbols if symbol.retain and not symbol.constant)


def capture(application: Application, block: Bytes, wall_ns: int) -> Retained:
    """The retained values of a snapshot's block (uint8[block_size])."""
    values = {
        symbol.path: (symbol.type_name, _read(block, symbol))
        for symbol in retained_symbols(application.symbols)
    }
    return Retained(application.digest, wall_ns, values)


def restore(application: Application, retained: Retained) -> Restored:
    """The application with kept values in its initial image."""
    image = np.frombuffer(application.image, np.uint8).copy()
    symbols = {symbol.path: symbol for symbol in retained_symbols(application.symbols)}
    lost = []
    for path, (type_name, data) in retained.values.items():
        symbol = symbols.get(path)
        if symbol is None or symbol.type_name != type_name or len(data) != symbol.size:
            lost.append(path)
        else:
            _write(image, symbol, data)
    patched = msgspec.structs.replace(application, image=image.tobytes())
    return Restored(patched, len(retained.values) - len(lost), tuple(lost))


def _read(block: Bytes, symbol: Symbol) -> bytes:
    if symbol.bit >= 0:
        return bytes([int(block[symbol.offset]) >> symbol.bit & 1])
    return block[symbol.offset : symbol.offset + symbol.size].tobytes()


def _write(image: Bytes, symbol: Symbol, data: bytes) -> None:
    if symbol.bit >= 0:
        mask = 1 << symbol.bit
        image[symbol.offset] = (int(image[symbol.offset]) & ~mask) | (mask if data[0] else 0)
    else:
        image[symbol.offset : symbol.offset + symbol.size] = np.frombuffer(data, np.uint8)
