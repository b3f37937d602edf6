"""Modbus ASCII frames without I/O (Modbus over Serial Line V1.02 §2.5.2): ``:`` hexadecimal LRC CR LF."""

from __future__ import annotations

from drivers.modbus.pdu import Request, check_reply
from drivers.modbus.rtu import Found, damaged

FRAME_SIZE_MAX = 513
_END = b"\r\n"


def lrc(data: bytes) -> int:
    return -sum(data) & 0xFF


def encode(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return b":" + (body + bytes((lrc(body),))).hex().upper().encode("ascii") + _END


def decode(line: bytes) -> bytes | None:
    """Unit and PDU of the text between ``:`` and CR LF; None if it is no valid frame."""
    try:
        body = bytes.fromhex(line.decode("ascii")) if b" " not in line else b""
    except ValueError:
        return None
    return body[:-1] if len(body) >= 3 and lrc(body[:-1]) == body[-1] else None


def find_reply(buffer: bytes, unit: int, request: Request) -> Found:
    """Looks in everything received since ``request`` went to ``unit``; frames of other units are passed over."""
    broken = False
    for part in buffer.split(b":")[1:]:
        line, end, _ = part.partition(_END)
        if not end:
            continue
        body = decode(line)
        if body is None:
            broken = True
        elif body[0] == unit:
            return Found(body[1:], check_reply(request, body[1:]), True)
    return Found(b"", damaged(unit) if broken else None, broken)
