"""Values with a type of their own: how a device stores them, and how they become bytes of the process image.

Theory. Any byte and word order is a permutation of the reply's bytes. So all points of a request are prepared once:
integers that need no arithmetic are one indexed copy; the others are gathered, viewed as their type, converted as
vectors in one go for each pair of types, and scattered into the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drivers.modbus.config import Point
from scan.quality import BAD_SENSOR_FAILURE, GOOD

Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.intp]

# How a device stores a value: registers, and the numpy type of the bytes in little-endian order.
KINDS: dict[str, tuple[int, str]] = {
    "int16": (1, "<i2"), "uint16": (1, "<u2"), "int32": (2, "<i4"), "uint32": (2, "<u4"),
    "int64": (4, "<i8"), "uint64": (4, "<u8"), "float32": (2, "<f4"), "float64": (4, "<f8"),
    "bcd16": (1, "<u2"), "bcd32": (2, "<u4"),
}  # fmt: skip
# IEC types that a value may take in the image.
STORES: dict[str, str] = {
    "SINT": "<i1", "USINT": "u1", "INT": "<i2", "UINT": "<u2", "WORD": "<u2", "DINT": "<i4", "UDINT": "<u4",
    "DWORD": "<u4", "LINT": "<i8", "ULINT": "<u8", "LWORD": "<u8", "REAL": "<f4", "LREAL": "<f8",
}  # fmt: skip
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")  # of 32 bits; A is the most significant byte


def byte_order(order: str, *, registers: int) -> tuple[int, ...]:
    """Where in the ``2 * registers`` bytes on the wire each byte of the little-endian value stands."""
    swapped_bytes = order in ("BADC", "DCBA")
    low_word_first = order in ("CDAB", "DCBA")
    places = []
    for significance in range(2 * registers):  # 0 is the least significant byte
        word, high = divmod(significance, 2)
        word_at = word if low_word_first else registers - 1 - word
        places.append(2 * word_at + (high if swapped_bytes else 1 - high))
    return tuple(places)


class _Group(NamedTuple):
    """Points with the same pair of types; vectors over the points."""

    source: Index  # (points, bytes)
    kind: str
    target: Index  # (points, bytes in the image)
    store: np.dtype[np.generic]
    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    invalid: tuple[tuple[int, ...], ...]
    rows: Index
    deadband: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]  # the value in the image, NaN: none that counts


class PointDecoder:
    """All points of one reply. ``store`` returns the quality of each point, in the order given."""

    def __init__(self, points: Sequence[Point], *, bits: bool) -> None:
        self._bits = [
            (row, p.at, -1, p.offset, p.bit) if bits else (row, 2 * p.at, p.register_bit, p.offset, p.bit)
            for row, p in enumerate(points)
            if p.bit >= 0
        ]
        self._count = len(points)
        plain = [p for p in points if p.bit < 0 and _is_plain(p)]
        self._source = _flat([_source(p) for p in plain])
        self._target = _flat([np.arange(p.offset, p.offset + p.size) for p in plain])
        self._groups = _groups([(row, p) for row, p in enumerate(points) if p.bit < 0 and not _is_plain(p)])

    def store(self, image: Bytes, data: bytes) -> npt.NDArray[np.uint16]:
        """``data``: the reply behind its byte count."""
        wire = np.frombuffer(data, np.uint8)
        quality = np.full(self._count, GOOD, np.uint16)
        image[self._target] = wire[self._source]
        for _row, at, register_bit, offset, bit in self._bits:
            if register_bit < 0:
                on = data[at >> 3] >> (at & 7) & 1
            else:
                on = (data[at] << 8 | data[at + 1]) >> register_bit & 1
            image[offset] = int(image[offset]) & ~(1 << bit) & 0xFF | on << bit
        for group in self._groups:
            _store_group(group, image, wire, quality)
        return quality

    def forget(self) -> None:
        """The image may hold substitutes: the next value counts however small its change is."""
        for group in self._groups:
            group.last[:] = np.nan


def encode_point(point: Point, image: bytes) -> bytes:
    """The registers (big-endian, as on the wire) for an output point; out of range saturates."""
    registers = point.registers
    if point.kind == "string":
        raw = image[point.offset : point.offset + point.size]
    else:
        _, dtype = KINDS[point.kind]
        value = np.frombuffer(image, np.dtype(point.store or dtype), 1, point.offset)
        raw = _encode_number(point, value, dtype)
    wire = bytearray(2 * registers)
    if point.kind == "string":
        for at in range(registers):
            pair = raw[2 * at : 2 * at + 2]
            wire[2 * at : 2 * at + 2] = pair[::-1] if point.order in ("BADC", "DCBA") else pair
    else:
        for place, byte in zip(byte_order(point.order, registers=registers), raw, strict=True):
            wire[place] = byte
    return bytes(wire)


def _encode_number(point: Point, value: npt.NDArray[np.generic], dtype: str) -> bytes:
    if _is_plain(point):
        return value.tobytes()
    number = (float(value[0]) - point.shift) / point.scale
    if dtype.startswith("<f"):
        low, high = _limits(np.dtype(dtype))
        return np.clip(np.array([number]), low, high).astype(dtype).tobytes()
    if number != number:
        number = 0.0
    if point.kind.startswith("bcd"):
        digits = 4 * point.registers
        return int(str(min(max(round(number), 0), 10**digits - 1)), 16).to_bytes(
            2 * point.registers, "little"
        )
    limits = np.iinfo(np.dtype(dtype))
    clipped = min(max(round(min(max(number, -1e19), 1e19)), int(limits.min)), int(limits.max))
    return np.array([clipped], dtype).tobytes()


def _is_plain(point: Point) -> bool:
    """The bytes go as they are: an integer of equal type without arithmetic, or a text."""
    if point.kind == "string":
        return True
    _, dtype = KINDS[point.kind]
    arithmetic = (
        point.deadband > 0
        or point.scale != 1
        or point.shift != 0
        or point.low is not None
        or point.high is not None
    )
    same = point.store in ("", dtype)
    return same and not arithmetic and not point.invalid and "f" not in dtype and "bcd" not in point.kind


def _source(point: Point) -> Index:
    """Places in the reply of the point's bytes, in the order in which the image has them."""
    first = 2 * point.at
    if point.kind == "string":
        swap = point.order in ("BADC", "DCBA")
        order = [first + (at ^ 1 if swap else at) for at in range(point.size)]
        return np.array(order, np.intp)
    return np.array([first + at for at in byte_order(point.order, registers=point.registers)], np.intp)


def _flat(parts: Sequence[Index]) -> Index:
    return np.concatenate(parts) if parts else np.zeros(0, np.intp)


def _groups(points: Sequence[tuple[int, Point]]) -> tuple[_Group, ...]:
    together: dict[tuple[str, str], list[tuple[int, Point]]] = {}
    for row, point in points:
        together.setdefault((point.kind, point.store or KINDS[point.kind][1]), []).append((row, point))
    return tuple(_group(kind, store, members) for (kind, store), members in together.items())


def _group(kind: str, store: str, members: Sequence[tuple[int, Point]]) -> _Group:
    dtype = np.dtype(store)
    points = [point for _, point in members]
    low, high = _limits(dtype)
    return _Group(
        source=np.array([_source(p) for p in points]),
        kind=kind,
        target=np.array([np.arange(p.offset, p.offset + dtype.itemsize) for p in points]),
        store=dtype,
        scale=np.array([p.scale for p in points]),
        shift=np.array([p.shift for p in points]),
        low=np.array([low if p.low is None else max(p.low, low) for p in points]),
        high=np.array([high if p.high is None else min(p.high, high) for p in points]),
        invalid=tuple(p.invalid for p in points),
        rows=np.array([row for row, _ in members], np.intp),
        deadband=np.array([p.deadband for p in points]),
        last=np.full(len(points), np.nan),
    )


def _limits(dtype: np.dtype[np.generic]) -> tuple[float, float]:
    """What the image's type can hold."""
    if dtype.kind == "f":
        limit = float(np.finfo(dtype.str).max)
        return -limit, limit
    info = np.iinfo(dtype.str)
    # float64 cannot hold 2**63 - 1: the next lower number that it can hold still fits.
    return float(info.min), float(info.max) if dtype.itemsize < 8 else float(np.nextafter(float(info.max), 0))


def _store_group(group: _Group, image: Bytes, wire: Bytes, quality: npt.NDArray[np.uint16]) -> None:
    raw = np.ascontiguousarray(wire[group.source]).view(KINDS[group.kind][1])[:, 0]
    value, bad = _numbers(group.kind, raw)
    for position, invalid in enumerate(group.invalid):
        if invalid and int(raw.view(f"u{raw.itemsize}")[position]) in invalid:
            bad[position] = True
    scaled = np.clip(value * group.scale + group.shift, group.low, group.high)
    scaled[bad] = 0.0
    if group.store.kind != "f":
        scaled = np.rint(scaled)
    result = scaled.astype(group.store)
    good = ~bad & ~(np.abs(scaled - group.last) < group.deadband)
    group.last[good] = scaled[good]
    group.last[bad] = np.nan
    image[group.target[good]] = result[good].view(np.uint8).reshape(-1, group.store.itemsize)
    quality[group.rows[bad]] = BAD_SENSOR_FAILURE


def _numbers(
    kind: str, raw: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The values as float64, and which of them are none (NaN, infinity, a BCD digit above 9)."""
    if not kind.startswith("bcd"):
        value = raw.astype(np.float64)
        return np.nan_to_num(value), ~np.isfinite(value)
    value = np.zeros(len(raw))
    bad = np.zeros(len(raw), np.bool_)
    number = raw.astype(np.int64)
    for digit in range(2 * raw.itemsize):
        nibble = number >> 4 * digit & 0xF
        bad |= nibble > 9
        value += nibble * 10.0**digit
    return value, bad
