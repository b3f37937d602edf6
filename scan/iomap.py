"""Which part of the process image belongs to which device point: the vocabulary of scan, drivers and gate."""

from __future__ import annotations

import msgspec


class Channel(msgspec.Struct, frozen=True):
    """One point of a device in the process image.

    ``offset`` is in bytes from the start of %I (direction "in") or %Q ("out"), ``bit`` is 0–7 or -1 for whole bytes.
    The index of a channel in ``IoMap.inputs`` is also its row in the quality and time columns of the inputs segment.
    """

    name: str
    device: str
    direction: str
    offset: int
    size: int
    bit: int = -1
    safe: bytes = b""  # little-endian safe value of an output, b"" = hold


class IoMap(msgspec.Struct, frozen=True):
    inputs: tuple[Channel, ...] = ()
    outputs: tuple[Channel, ...] = ()
    inputs_size: int = 0  # bytes of %I that the application uses
    outputs_size: int = 0
