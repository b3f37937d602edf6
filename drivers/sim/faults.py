"""What can go wrong on the way back from a device, as functions from a right reply to what the wire carries instead.

Each fault gets the request and the right reply as pymodbus has them, with its framer to build others, and returns the
steps to take. Everything is a value, so the same faults serve tests and the command ``python -m drivers.sim device``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pymodbus.framer import FramerRTU
from pymodbus.framer.base import FramerBase

LATE_S = 0.35  # longer than the time-out that the tests give, shorter than two
DELAY_S = 0.05  # shorter than any sensible time-out


@dataclass(frozen=True, slots=True)
class Step:
    """After ``delay_s``: send ``data``, or end the connection in one way or another."""

    data: bytes = b""
    delay_s: float = 0.0
    end: str = ""  # "close", "reset", "half-open" (it stays, but nothing comes any more)


class Parts(NamedTuple):
    """What a frame consists of. ``transaction`` is 0 on serial framings."""

    transaction: int
    unit: int
    pdu: bytes


def parts_of(framer: FramerBase, frame: bytes) -> Parts:
    if isinstance(framer, FramerRTU):
        return Parts(0, frame[0], frame[1:-2])
    return Parts(int.from_bytes(frame[:2], "big"), frame[6], frame[7:])


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its right reply as pymodbus takes them apart, and its framer to build others."""

    framer: FramerBase
    asked: Parts
    answered: bytes  # frame

    @property
    def transaction(self) -> int:
        return self.asked.transaction

    @property
    def unit(self) -> int:
        return self.asked.unit

    @property
    def request(self) -> bytes:
        return self.asked.pdu

    @property
    def reply(self) -> bytes:
        return parts_of(self.framer, self.answered).pdu

    def frame(
        self, pdu: bytes | None = None, *, transaction: int | None = None, unit: int | None = None
    ) -> bytes:
        """The right reply, or one in which this and that is otherwise, with a right checksum."""
        if pdu is None and transaction is None and unit is None:
            return self.answered
        return bytes(
            self.framer.encode(
                self.reply if pdu is None else pdu,
                self.unit if unit is None else unit,
                (self.transaction if transaction is None else transaction) & 0xFFFF,
            )
        )


Fault = Callable[[Exchange], list[Step]]


def _exception(code: int) -> Fault:
    return lambda x: [Step(x.frame(bytes((x.request[0] | 0x80, code))))]


def _pdu(change: Callable[[bytes], bytes]) -> Fault:
    return lambda x: [Step(x.frame(change(x.reply)))]


def _header(pack: str, at: int, value: int, *, then_right: bool = False) -> Fault:
    def fault(x: Exchange) -> list[Step]:
        frame = bytearray(x.frame())
        struct.pack_into(pack, frame, at, value)
        steps = [Step(bytes(frame))]
        return [*steps, Step(x.frame())] if then_right else steps

    return fault


def _fewer(reply: bytes) -> bytes:
    return bytes((reply[0], reply[1] - 2)) + reply[2:-2]


def _more(reply: bytes) -> bytes:
    return bytes((reply[0], reply[1] + 2)) + reply[2:] + b"\x12\x34"


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda reply: reply[:at] + bytes((reply[at] ^ 0x5A,)) + reply[at + 1 :]


def _bytes(x: Exchange, gap_s: float) -> list[Step]:
    return [Step(bytes((byte,)), gap_s) for byte in x.frame()]


ANY: dict[str, Fault] = {
    "none": lambda x: [Step(x.frame())],
    "exception-2": _exception(2),
    "exception-6": _exception(6),
    "exception-11": _exception(11),
    "exception-85": _exception(0x55),
    "exception-of-other-function": lambda x: [Step(x.frame(bytes((x.request[0] % 4 + 1 | 0x80, 2))))],
    "exception-too-long": lambda x: [Step(x.frame(bytes((x.request[0] | 0x80, 2, 0))))],
    "other-function": _pdu(lambda reply: bytes((reply[0] % 4 + 1,)) + reply[1:]),
    "fewer-registers": _pdu(_fewer),
    "more-registers": _pdu(_more),
    "byte-count-too-high": _pdu(lambda reply: bytes((reply[0], reply[1] + 4)) + reply[2:]),
    "byte-count-too-low": _pdu(lambda reply: bytes((reply[0], reply[1] - 1)) + reply[2:]),
    "echo-of-other-address": _pdu(_flip(2)),
    "echo-of-other-value": _pdu(_flip(4)),
    "function-only": _pdu(lambda reply: reply[:1]),
    "wrong-unit": lambda x: [Step(x.frame(unit=x.unit ^ 0x41))],
    "wrong-unit-then-right": lambda x: [Step(x.frame(unit=x.unit ^ 0x41)), Step(x.frame(), 0.02)],
    "byte-by-byte": lambda x: _bytes(x, 0.001),
    "half-then-rest": lambda x: [Step(x.frame()[:6]), Step(x.frame()[6:], 0.05)],
    "half-only": lambda x: [Step(x.frame()[:6])],
    "drop": lambda x: [],
    "delay": lambda x: [Step(x.frame(), DELAY_S)],
    "late": lambda x: [Step(x.frame(), LATE_S)],
    "twice": lambda x: [Step(x.frame() + x.frame())],
    "close": lambda x: [Step(end="close")],
    "reset": lambda x: [Step(end="reset")],
    "half-then-close": lambda x: [Step(x.frame()[:6]), Step(end="close")],
    "half-open": lambda x: [Step(end="half-open")],
}

TCP: dict[str, Fault] = {
    **ANY,
    "wrong-transaction": lambda x: [Step(x.frame(transaction=x.transaction + 7))],
    "wrong-transaction-then-right": lambda x: [Step(x.frame(transaction=x.transaction + 7) + x.frame())],
    "transaction-0": lambda x: [Step(x.frame(transaction=0))],
    "length-0": _header(">H", 4, 0),
    "length-1": _header(">H", 4, 1),
    "length-300": _header(">H", 4, 300),
    "length-65535": _header(">H", 4, 65535),
    "length-one-short": lambda x: [Step(x.frame()[:4] + struct.pack(">H", len(x.reply)) + x.frame()[6:])],
    "protocol-1": _header(">H", 2, 1),
    "protocol-1-then-right": _header(">H", 2, 1, then_right=True),
    "garbage-then-right": lambda x: [Step(b"\x55\xaa\x01\x02\x03" + x.frame())],
    "web-page": lambda x: [Step(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n")],
}


def _corrupt(x: Exchange) -> list[Step]:
    frame = bytearray(x.frame())
    frame[len(frame) // 2] ^= 0x10
    return [Step(bytes(frame))]


RTU: dict[str, Fault] = {
    **{name: fault for name, fault in ANY.items() if not name.endswith(("close", "reset", "half-open"))},
    "noise-before": lambda x: [Step(b"\x00" + x.frame())],
    "two-noise-bytes-before": lambda x: [Step(b"\xff\x81" + x.frame())],
    "noise-after": lambda x: [Step(x.frame() + b"\xfe\x00")],
    "corrupt": _corrupt,
    "corrupt-crc": lambda x: [Step(x.frame()[:-1] + bytes((x.frame()[-1] ^ 1,)))],
    "corrupt-then-right": lambda x: [*_corrupt(x), Step(x.frame(), 0.05)],
    "echo-of-request": lambda x: [Step(x.frame(x.request)), Step(x.frame(), 0.01)],
    "half-then-right": lambda x: [Step(x.frame()[:4]), Step(x.frame(), 0.06)],
    "zeros": lambda x: [Step(bytes(16))],
    "long-garbage": lambda x: [Step(bytes(range(256)) * 3)],
}
