"""Between reply bytes and the process image: block forms without types of their own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def store_registers(image: Bytes, offset: int, count: int, reply: bytes, data_at: int) -> None:
    """Big-endian registers from ``reply`` into the little-endian image."""
    image[offset : offset + 2 * count].view("<u2")[:] = np.frombuffer(reply, ">u2", count, data_at)


def store_bits(image: Bytes, offset: int, bit: int, count: int, packed: bytes) -> None:
    """``count`` bits, first in bit 0 of byte 0 of ``packed``, to ``offset``.``bit``; neighbours stay."""
    size = (bit + count + 7) // 8
    mask = ((1 << count) - 1) << bit
    old = int.from_bytes(image[offset : offset + size].tobytes(), "little")
    new = int.from_bytes(packed, "little") << bit
    merged = (old & ~mask) | (new & mask)
    image[offset : offset + size] = np.frombuffer(merged.to_bytes(size, "little"), np.uint8)


def fetch_bits(image: bytes, offset: int, bit: int, count: int) -> bytes:
    """``count`` bits from ``offset``.``bit``, packed with the first in bit 0 of byte 0."""
    size = (bit + count + 7) // 8
    value = int.from_bytes(image[offset : offset + size], "little") >> bit & (1 << count) - 1
    return value.to_bytes((count + 7) // 8, "little")


def fetch_registers(image: bytes, offset: int, count: int) -> bytes:
    return image[offset : offset + 2 * count]


def swap_registers(data: bytes) -> bytes:
    """Little-endian registers to big-endian ones, or back."""
    return np.frombuffer(data, "<u2").astype(">u2").tobytes()
