"""Locations in the process image as a plant file writes them: ``%IX1.2``, ``%QW3`` (IEC 61131-3 §6.5.5).

Addresses count in units of their size: ``%IW3`` is bytes 6 and 7, ``%ID1`` bytes 4 to 7.
"""

from __future__ import annotations

import re
from typing import NamedTuple

IMAGE_SIZE_MAX = 1 << 20
SIZES = {"X": 0, "B": 1, "W": 2, "D": 4, "L": 8}
_PATTERN = re.compile(r"%([IQ])([XBWDL]?)(\d{1,7})(?:\.(\d))?", re.ASCII)


class Location(NamedTuple):
    """``offset`` in bytes; ``size`` in bytes, 0 for a bit; ``bit`` 0–7 or -1."""

    direction: str  # "in" or "out"
    offset: int
    size: int
    bit: int


def parse_location(text: str) -> Location | None:
    """None if ``text`` is no location of an input or output."""
    match = _PATTERN.fullmatch(text.strip().upper())
    if match is None:
        return None
    area, letter, number, bit = match.groups()
    size = SIZES[letter or "X"]
    if (bit is not None) != (size == 0) or int(bit or 0) > 7:
        return None
    offset = int(number) * max(size, 1)
    if offset + max(size, 1) > IMAGE_SIZE_MAX:
        return None
    return Location("in" if area == "I" else "out", offset, size, int(bit) if bit is not None else -1)


def format_location(direction: str, offset: int, *, size: int, bit: int = -1) -> str:
    """``%IX3.1``, or the widest form that fits: ``%QW2``; bytes where the offset is no multiple of the size."""
    area = "I" if direction == "in" else "Q"
    if bit >= 0:
        return f"%{area}X{offset}.{bit}"
    letter = {1: "B", 2: "W", 4: "D", 8: "L"}.get(size, "B")
    unit = SIZES[letter]
    return f"%{area}{letter}{offset // unit}" if offset % unit == 0 else f"%{area}B{offset}"
