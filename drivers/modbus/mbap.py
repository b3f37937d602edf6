"""The frame of Modbus TCP: the seven-byte MBAP header (Modbus Messaging on TCP/IP V1.0b §3.1.3), without I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple

from drivers.modbus.pdu import PDU_SIZE_MAX

HEADER = struct.Struct(">HHHB")  # transaction, protocol, length of what follows, unit
HEADER_SIZE = 7
LENGTH_MIN = 2  # unit and function
LENGTH_MAX = PDU_SIZE_MAX + 1
FRAME_SIZE_MAX = HEADER_SIZE + PDU_SIZE_MAX


class FrameError(Exception):
    """The byte stream cannot be followed any more: the connection must be closed."""


class Frame(NamedTuple):
    transaction: int
    unit: int
    pdu: bytes


def encode(transaction: int, unit: int, pdu: bytes) -> bytes:
    return HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class Decoder:
    """Cuts a byte stream into frames. Raises FrameError once the stream is no Modbus TCP; it stays unusable."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        if self._rest:
            data = self._rest + data
        frames = []
        position = 0
        end = len(data)
        while end - position >= HEADER_SIZE:
            transaction, protocol, length, unit = HEADER.unpack_from(data, position)
            if protocol or not LENGTH_MIN <= length <= LENGTH_MAX:
                raise FrameError(f"protocol {protocol}, length {length} is no Modbus TCP header")
            stop = position + 6 + length
            if stop > end:
                break
            frames.append(Frame(transaction, unit, data[position + 7 : stop]))
            position = stop
        self._rest = data[position:]
        return frames
