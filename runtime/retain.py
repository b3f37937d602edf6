"""Retained variables on disk: what survives a crash, a power cut and a change of the program.

Rules.
* Two slot files, written in turn, each with a generation and a checksum over all of it. A write that is torn at any
  byte leaves the other slot whole; the whole slot with the higher generation counts.
* Values are kept by path and type, not by offset, so they find their variable in the next program.
* Both slots unreadable is a problem that somebody must see (PL5001), never silently initial values.

The scan thread has no part in this: the saver reads the published snapshot.

File: ``MAGIC``, then little-endian u32 version, u64 generation, u64 body length, u32 CRC-32 of the body, then the body
(msgpack). The checksum also covers the header fields, so that a torn header is seen.
"""

from __future__ import annotations

import os
import pathlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from scan.abi import Application, Symbol
from scan.problem import Place, Problem

MAGIC = b"TWRETAIN"
VERSION = 1
BODY_SIZE_MAX = 256 * 1024 * 1024
_HEADER = struct.Struct("<8sIQQI")
SLOTS = ("slot-a", "slot-b")


class _Value(msgspec.Struct, frozen=True, array_like=True):
    path: str
    type: int
    dims: tuple[tuple[int, int], ...]
    length: int
    data: bytes  # the symbol's bytes; one byte 0 or 1 for a located BOOL


class _Body(msgspec.Struct, frozen=True, array_like=True):
    digest: str  # of the application that had these values
    scan: int
    wall_ns: int
    values: tuple[_Value, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """``pairs`` are (offset in the block, bytes) for the application asked about; bits come as ``bits``."""

    pairs: tuple[tuple[int, bytes], ...] = ()
    bits: tuple[tuple[int, int, bool], ...] = ()  # (offset, bit, value)
    scan: int = 0
    wall_ns: int = 0
    digest: str = ""
    dropped: tuple[str, ...] = ()  # paths that the application no longer has, or has with another type
    problems: tuple[Problem, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.pairs and not self.bits


class RetainStore:
    """Saves and restores the retained variables of one node. One writer at a time."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._generation = max((slot.generation for slot in self._slots() if slot), default=0)
        self._last_body = b""

    def save(self, application: Application, block: npt.NDArray[np.uint8], scan: int, wall_ns: int) -> bool:
        """Write the retained values in ``block`` durably; False when nothing has changed since the last save."""
        values = tuple(_cut(symbol, block) for symbol in application.symbols if symbol.retain)
        changed = msgspec.msgpack.encode((application.digest, values))
        if changed == self._last_body:
            return False
        body = msgspec.msgpack.encode(_Body(application.digest, scan, wall_ns, values))
        generation = self._generation + 1
        _write_slot(self._directory / SLOTS[generation % 2], generation, body)
        self._generation = generation
        self._last_body = changed
        return True

    def load(self, application: Application, renames: Iterable[tuple[str, str]] = ()) -> Restored:
        """The newest whole slot, matched to the application's symbols by path and type; empty without any slot.

        ``renames`` are (old path, new path): a kept value that nothing of its path takes goes to the new one.
        """
        slots = self._slots()
        whole = [slot for slot in slots if slot is not None]
        if not whole:
            damaged = [name for name in SLOTS if (self._directory / name).exists()]
            return Restored(problems=(self._unreadable(damaged),)) if damaged else Restored()
        newest = max(whole, key=lambda slot: slot.generation)
        return _match(application, newest.body, {old.upper(): new.upper() for old, new in renames})

    def _slots(self) -> list[_Slot | None]:
        return [_read_slot(self._directory / name) for name in SLOTS]

    def _unreadable(self, damaged: list[str]) -> Problem:
        return Problem(
            "PL5001",
            "the retained values cannot be read: no slot is whole",
            Place(str(self._directory)),
            expected="at least one slot with a matching checksum",
            found=", ".join(damaged),
            remedy="look at the disk; to start with initial values move the folder away and start again",
        )


@dataclass(frozen=True, slots=True)
class _Slot:
    generation: int
    body: _Body


def _cut(symbol: Symbol, block: npt.NDArray[np.uint8]) -> _Value:
    if symbol.bit >= 0:
        data = bytes([int(block[symbol.offset]) >> symbol.bit & 1])
    else:
        data = block[symbol.offset : symbol.offset + symbol.size].tobytes()
    return _Value(symbol.path, int(symbol.type), symbol.dims, symbol.length, data)


def _checksum(generation: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<IQQ", VERSION, generation, len(body))))


def _write_slot(path: pathlib.Path, generation: int, body: bytes) -> None:
    """In place: the other slot is the fall-back, and an in-place write needs no new directory entry to be durable."""
    header = _HEADER.pack(MAGIC, VERSION, generation, len(body), _checksum(generation, body))
    created = not path.exists()
    # A slot that is new has no fall-back yet: it appears whole or not at all.
    target = path.with_suffix(".new") if created else path
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as stream:
            stream.write(header + body)
            stream.truncate()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if created:
        target.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read_slot(path: pathlib.Path) -> _Slot | None:
    """The slot, or None for anything that is not whole."""
    try:
        data = path.read_bytes()
        magic, version, generation, length, checksum = _HEADER.unpack_from(data)
    except (OSError, struct.error):
        return None
    body = data[_HEADER.size : _HEADER.size + length]
    if magic != MAGIC or version != VERSION or length > BODY_SIZE_MAX or len(body) != length:
        return None
    if checksum != _checksum(generation, body):
        return None
    try:
        return _Slot(generation, msgspec.msgpack.decode(body, type=_Body))
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _match(application: Application, body: _Body, renames: dict[str, str]) -> Restored:
    symbols = {symbol.path.upper(): symbol for symbol in application.symbols if symbol.retain}
    kept = {value.path.upper() for value in body.values}
    pairs: list[tuple[int, bytes]] = []
    bits: list[tuple[int, int, bool]] = []
    dropped: list[str] = []
    for value in body.values:
        path = value.path.upper()
        renamed = renames.get(path, path)  # a rename stays in the plant file when it is done
        symbol = symbols.get(path) or (symbols.get(renamed) if renamed not in kept else None)
        if symbol is None or not _fits(symbol, value):
            dropped.append(value.path)
        elif symbol.bit >= 0:
            bits.append((symbol.offset, symbol.bit, bool(value.data[0])))
        else:
            pairs.append((symbol.offset, value.data))
    return Restored(tuple(pairs), tuple(bits), body.scan, body.wall_ns, body.digest, tuple(dropped))


def _fits(symbol: Symbol, value: _Value) -> bool:
    size = 1 if symbol.bit >= 0 else symbol.size
    kind = (int(symbol.type), symbol.dims, symbol.length)
    return kind == (value.type, value.dims, value.length) and len(value.data) == size
