"""Modbus RTU frames without I/O (Modbus over Serial Line V1.02 §2.5.1).

Theory. On a serial line a reply carries no number, so it is recognised by what was asked: a frame is looked for that
has the unit, begins as the request demands, has the length that the request demands and a right checksum. It is
looked for at every offset, because noise before a frame is common where a line turns round. A whole valid frame which
is not the wanted one is never searched inside.
"""

from __future__ import annotations

from typing import NamedTuple

from drivers.modbus.pdu import EXCEPTION_FLAG, Failure, FailureKind, Function, Request, check_reply

FRAME_SIZE_MAX = 256
FRAME_SIZE_MIN = 4  # unit, function, checksum
BUFFER_SIZE_MAX = 4 * FRAME_SIZE_MAX
CHARACTER_BITS = 11  # start, eight data, parity or second stop, stop
FAST_BAUD = 19200  # above it the silent interval is constant (§2.5.1.1)
FAST_SILENCE_S = 0.00175


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes | bytearray) -> int:
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def encode(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def is_frame(frame: bytes | bytearray) -> bool:
    """The checksum is right."""
    return len(frame) >= FRAME_SIZE_MIN and crc16(frame[:-2]) == frame[-2] | frame[-1] << 8


def character_s(baud: int) -> float:
    return CHARACTER_BITS / baud


def silence_s(baud: int) -> float:
    """The silent interval between frames: 3.5 characters, 1.75 ms above 19200 baud."""
    return 3.5 * character_s(baud) if baud <= FAST_BAUD else FAST_SILENCE_S


class Found(NamedTuple):
    """What a buffer holds: the reply PDU, or a failure, or neither yet. ``complete``: enough bytes for a reply."""

    reply: bytes
    failure: Failure | None
    complete: bool


_NOTHING = Found(b"", None, False)


def find_reply(buffer: bytes, unit: int, request: Request) -> Found:
    """Looks in everything received since ``request`` went to ``unit``."""
    start = _skip_foreign(buffer, unit)
    frame = _frame_at(buffer, start)
    if frame:
        reply = frame[1:-2]
        return Found(reply, check_reply(request, reply), True)
    for offset in range(start, len(buffer) - FRAME_SIZE_MIN):
        reply = _acceptable_at(buffer, offset, unit, request)
        if reply:
            return Found(reply, check_reply(request, reply), True)
    size = request.size + 3 if request.size else FRAME_SIZE_MIN + 1
    exception = buffer[start : start + 2] == bytes((unit, request.pdu[0] | EXCEPTION_FLAG))
    return _NOTHING._replace(complete=len(buffer) - start >= (5 if exception else size))


def _skip_foreign(buffer: bytes, unit: int) -> int:
    """Where the first frame begins that is not a valid one of another unit."""
    start = 0
    while len(buffer) - start >= FRAME_SIZE_MIN and buffer[start] != unit:
        frame = _frame_at(buffer, start)
        if not frame:
            break
        start += len(frame)
    return start


def _frame_at(buffer: bytes, start: int) -> bytes:
    """The valid reply frame, of whatever unit and function, that begins at ``start``; b"" if there is none."""
    size = reply_size(buffer, start + 1)
    frame = buffer[start : start + size + 3] if size else b""
    return frame if len(frame) == size + 3 and size and is_frame(frame) else b""


def _acceptable_at(buffer: bytes, offset: int, unit: int, request: Request) -> bytes:
    """The PDU at ``offset`` if it is what the request waits for, checksum included."""
    if buffer[offset] != unit:
        return b""
    function = request.pdu[0]
    if buffer[offset + 1] == function | EXCEPTION_FLAG:
        size = 2
    elif buffer.startswith(request.head, offset + 1):
        size = request.size or reply_size(buffer, offset + 1)
    else:
        return b""
    frame = buffer[offset : offset + size + 3]
    return frame[1:-2] if size and len(frame) == size + 3 and is_frame(frame) else b""


def reply_size(buffer: bytes, start: int) -> int:
    """Length of the reply PDU at ``start`` as its function tells; 0 while that cannot be known."""
    if len(buffer) <= start:
        return 0
    function = buffer[start]
    if function & EXCEPTION_FLAG:
        return 2
    match function:
        case 1 | 2 | 3 | 4 | 17 | 20 | 21 | 23:
            return 2 + buffer[start + 1] if len(buffer) > start + 1 else 0
        case 5 | 6 | 8 | 11 | 15 | 16:
            return 5
        case 7:
            return 2
        case 22:
            return 7
        case Function.ENCAPSULATED_INTERFACE:
            return _identification_size(buffer, start)
        case _:
            return 0


def _identification_size(buffer: bytes, start: int) -> int:
    """FC 43/14 carries no length: its objects are walked."""
    if len(buffer) < start + 7:
        return 0
    position = start + 7
    for _ in range(buffer[start + 6]):
        if len(buffer) < position + 2:
            return 0
        position += 2 + buffer[position + 1]
    return position - start


def request_size(buffer: bytes, start: int) -> int:
    """Length of the request PDU at ``start``; 0 while that cannot be known, -1 for an unknown function."""
    if len(buffer) <= start:
        return 0
    match buffer[start]:
        case 1 | 2 | 3 | 4 | 5 | 6 | 8:
            return 5
        case 7 | 11 | 12 | 17:
            return 1
        case 15 | 16:
            return 6 + buffer[start + 5] if len(buffer) > start + 5 else 0
        case 22:
            return 7
        case 23:
            return 10 + buffer[start + 9] if len(buffer) > start + 9 else 0
        case 24:
            return 3
        case Function.ENCAPSULATED_INTERFACE:
            return 4
        case _:
            return -1


def damaged(unit: int) -> Failure:
    return Failure(FailureKind.FRAME, f"unit {unit}: the reply is damaged (checksum)")
