"""Values of a remote server as bytes of the process image, and back. No I/O and no protocol library here.

A number is converted only where it fits: what the image's type cannot hold makes the point bad, it is never wrapped
or cut. Reals are rounded to the nearest integer where the image has one.
"""

from __future__ import annotations

import datetime
import math
import struct
from collections.abc import Sequence

import msgspec

from scan.quality import BAD

BAD_TYPE_MISMATCH = 0x8074
BAD_OUT_OF_RANGE = 0x803C
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# IEC type in the image -> (struct code, bytes). Times and dates are nanoseconds (scan.abi).
STORES: dict[str, tuple[str, int]] = {
    "SINT": ("b", 1), "USINT": ("B", 1), "BYTE": ("B", 1), "INT": ("h", 2), "UINT": ("H", 2), "WORD": ("H", 2),
    "DINT": ("i", 4), "UDINT": ("I", 4), "DWORD": ("I", 4), "LINT": ("q", 8), "ULINT": ("Q", 8), "LWORD": ("Q", 8),
    "REAL": ("f", 4), "LREAL": ("d", 8), "DT": ("q", 8), "STRING": ("", 0),
}  # fmt: skip
_REALS = ("REAL", "LREAL")


class Point(msgspec.Struct, frozen=True):
    """Place and form of a value in the image. ``count`` elements of ``size`` bytes (or bits, from ``bit`` on)."""

    kind: str
    offset: int
    size: int
    bit: int = -1
    count: int = 1
    index: int = -1  # element of the remote array, -1: the whole value
    scale: float = 1.0
    shift: float = 0.0  # value in the image = remote value * scale + shift

    @property
    def scaled(self) -> bool:
        return self.scale != 1.0 or self.shift != 0.0


def decode(point: Point, value: object) -> tuple[list[bytes] | None, int]:
    """Image form of each element of a remote value, or None with the quality that says why not."""
    if point.index >= 0:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes) or point.index >= len(value):
            return None, BAD_TYPE_MISMATCH
        value = value[point.index]
    values: Sequence[object]
    if point.count == 1 and not isinstance(value, list):
        values = (value,)
    elif isinstance(value, list):
        values = value
    else:
        return None, BAD_TYPE_MISMATCH
    if len(values) != point.count:
        return None, BAD_TYPE_MISMATCH
    parts = []
    for element in values:
        data = _element(point, element)
        if isinstance(data, int):
            return None, data
        parts.append(data)
    return parts, 0


def encode_image(point: Point, values: Sequence[object]) -> bytes | None:
    """Values in the units of the image in image form (one byte a bit), None where one does not fit."""
    plain = msgspec.structs.replace(point, scale=1.0, shift=0.0)
    parts = [_element(plain, value) for value in values]
    return None if any(isinstance(part, int) for part in parts) else b"".join(parts)  # type: ignore[arg-type]


def _element(point: Point, value: object) -> bytes | int:
    """Image form of one value, or the quality that says why not."""
    kind = point.kind
    if kind == "STRING":
        return _text(point, value)
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        value = (moment - _EPOCH) // datetime.timedelta(microseconds=1) * 1000
    if not isinstance(value, int | float):  # bool is an int: TRUE may go into a number
        return BAD_TYPE_MISMATCH
    if kind == "BOOL":
        return BAD_TYPE_MISMATCH if isinstance(value, float) or value not in (0, 1) else bytes((value,))
    number = value * point.scale + point.shift if point.scaled else value
    try:
        if kind not in _REALS:
            number = round(number)
        return struct.pack("<" + STORES[kind][0], number)
    except (struct.error, OverflowError, ValueError):  # ValueError: NaN has no nearest integer
        return BAD_OUT_OF_RANGE


def _text(point: Point, value: object) -> bytes | int:
    if not isinstance(value, str):
        return BAD_TYPE_MISMATCH
    try:
        data = value.encode("latin-1")
    except UnicodeEncodeError:
        return BAD_OUT_OF_RANGE
    return data.ljust(point.size, b"\0") if len(data) < point.size and b"\0" not in data else BAD_OUT_OF_RANGE


def fetch(point: Point, image: bytes) -> bytes:
    """What the outputs say, in image form: elements one after another, a byte for each bit."""
    if point.bit < 0:
        return image[point.offset : point.offset + point.size * point.count]
    first = point.offset * 8 + point.bit
    return bytes(image[at >> 3] >> (at & 7) & 1 for at in range(first, first + point.count))


def engineering(point: Point, data: bytes) -> list[object]:
    """Values for the remote server from their image form, before they take its data type."""
    if point.kind == "BOOL":
        return [bool(byte) for byte in data]
    parts = [data[start : start + point.size] for start in range(0, len(data), point.size)]
    if point.kind == "STRING":
        return [part.split(b"\0", 1)[0].decode("latin-1") for part in parts]
    numbers = [struct.unpack("<" + STORES[point.kind][0], part)[0] for part in parts]
    if not point.scaled:
        return list(numbers)
    return [(number - point.shift) / point.scale for number in numbers]


def to_integer(value: object, low: int, high: int) -> int | None:
    """The nearest integer, limited to what fits: an output at its stop stays there. None for what is no number."""
    if isinstance(value, str) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = round(value) if math.isfinite(value) else (high if value > 0 else low)
    return min(max(int(value), low), high)


def is_bad_status(quality: int) -> bool:
    return quality >= BAD
