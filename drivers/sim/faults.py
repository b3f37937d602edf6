"""What can go wrong on the way back from a device, as functions from a right reply to what the wire carries instead.

Each fault gets the request and the right reply as whole frames, with the ``Framing`` to build others, and returns the
steps to take. Everything is a value, so the same faults serve tests and the command ``python -m drivers.sim device``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

LATE_S = 0.35  # longer than the time-out that the tests give, shorter than two


@dataclass(frozen=True, slots=True)
class Step:
    """After ``delay_s``: send ``data``, or close or reset the connection."""

    data: bytes = b""
    delay_s: float = 0.0
    end: str = ""  # "close", "reset"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its right reply. ``transaction`` is -1 on serial framings."""

    transaction: int
    unit: int
    request: bytes  # PDU
    reply: bytes  # PDU

    def frame(
        self, pdu: bytes | None = None, *, transaction: int | None = None, unit: int | None = None
    ) -> bytes:
        body = bytes((self.unit if unit is None else unit,)) + (self.reply if pdu is None else pdu)
        if self.transaction < 0:
            return body + struct.pack("<H", crc16(body))
        number = self.transaction if transaction is None else transaction
        return struct.pack(">HHH", number & 0xFFFF, 0, len(body)) + body


Fault = Callable[[Exchange], list[Step]]


def crc16(data: bytes) -> int:
    """CRC of Modbus RTU, bit by bit as the serial line specification (V1.02, §6.2.2) describes it."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


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
    "silent": lambda x: [],
    "late": lambda x: [Step(x.frame(), LATE_S)],
    "twice": lambda x: [Step(x.frame() + x.frame())],
    "close": lambda x: [Step(end="close")],
    "reset": lambda x: [Step(end="reset")],
    "half-then-close": lambda x: [Step(x.frame()[:6]), Step(end="close")],
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
    **{name: fault for name, fault in ANY.items() if not name.endswith(("close", "reset"))},
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
