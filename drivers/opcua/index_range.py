"""Parts of arrays and texts by NumericRange (OPC 10000-4 §7.27)."""

from __future__ import annotations

import math
from dataclasses import replace as _replace
from typing import Any

import msgspec
from asyncua import ua

from scan.abi import Symbol
from scan.values import element_size

Bounds = list[tuple[int, int]]
_DIGITS_MAX = 9


def parse(text: str) -> Bounds | None:
    """First and last index of each dimension, from 0; None when the text is no range."""
    found = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        numbers = (first, last) if colon else (first, first)
        if not all(n.isdecimal() and n.isascii() and len(n) <= _DIGITS_MAX for n in numbers):
            return None
        low, high = int(numbers[0]), int(numbers[1])
        if low > high or (colon and low == high):
            return None
        found.append((low, high))
    return found


def _positions(lengths: list[int], bounds: Bounds) -> list[int]:
    """Places in a flat list, last index fastest."""
    places = [0]
    for length, (low, high) in zip(lengths, bounds, strict=True):
        places = [place * length + index for place in places for index in range(low, high + 1)]
    return places


def clip(lengths: list[int], bounds: Bounds) -> Bounds | None:
    """The part of the bounds that exists; None when nothing does (a read takes what is there)."""
    if len(bounds) != len(lengths):
        return None
    clipped = [(low, min(high, length - 1)) for (low, high), length in zip(bounds, lengths, strict=True)]
    return clipped if all(low <= high for low, high in clipped) else None


def select(value: ua.DataValue, text: str) -> ua.DataValue:
    """A read value with its part only; BadIndexRangeInvalid or BadIndexRangeNoData instead."""
    bounds = parse(text)
    if bounds is None:
        return _failed(ua.StatusCodes.BadIndexRangeInvalid)
    variant = value.Value
    if variant is None or variant.Value is None:
        return value
    if isinstance(variant.Value, str | bytes):
        part = clip([len(variant.Value)], bounds)
        if part is None:
            return _failed(ua.StatusCodes.BadIndexRangeNoData)
        low, high = part[0]
        return _replace(value, Value=ua.Variant(variant.Value[low : high + 1], variant.VariantType))
    if not isinstance(variant.Value, list):
        return _failed(ua.StatusCodes.BadIndexRangeNoData)
    lengths = list(variant.Dimensions) if variant.Dimensions else [len(variant.Value)]
    part = clip(lengths, bounds)
    if part is None:
        return _failed(ua.StatusCodes.BadIndexRangeNoData)
    flat = [variant.Value[place] for place in _positions(lengths, part)]
    sizes = [high - low + 1 for low, high in part]
    dimensions = sizes if len(sizes) > 1 else None
    return _replace(value, Value=ua.Variant(flat, variant.VariantType, Dimensions=dimensions, is_array=True))


def part_of(symbol: Symbol, text: str) -> tuple[Symbol, list[tuple[Symbol, slice]], int]:
    """What a write to a part of an array means.

    Returns (a variable of the part's shape to check the value with, its contiguous pieces with their places in the flat
    value, StatusCode). Pieces are written on their own, so elements outside the range are never touched.
    """
    codes = ua.StatusCodes
    bounds = parse(text)
    if bounds is None:
        return symbol, [], int(codes.BadIndexRangeInvalid)
    if not symbol.dims:
        return symbol, [], int(codes.BadWriteNotSupported if symbol.length else codes.BadIndexRangeNoData)
    lengths = [high - low + 1 for low, high in symbol.dims]
    if clip(lengths, bounds) != bounds:
        return symbol, [], int(codes.BadIndexRangeNoData)
    size = element_size(symbol)
    shape = _sized(symbol, tuple((0, high - low) for low, high in bounds), symbol.offset, size, symbol.path)
    row = bounds[-1][1] - bounds[-1][0] + 1
    starts = _positions(lengths, [*bounds[:-1], (bounds[-1][0], bounds[-1][0])])
    pieces = []
    for number, place in enumerate(starts):
        name = f"{symbol.path}[{_spelled(symbol, lengths, place, row)}]"
        piece = _sized(symbol, ((0, row - 1),), symbol.offset + place * size, size, name)
        pieces.append((piece, slice(number * row, (number + 1) * row)))
    return shape, pieces, int(codes.Good)


def _sized(symbol: Symbol, dims: tuple[tuple[int, int], ...], offset: int, size: int, path: str) -> Symbol:
    count = math.prod(high - low + 1 for low, high in dims)
    made: Any = msgspec.structs.replace(symbol, path=path, dims=dims, offset=offset, size=size * count)
    assert isinstance(made, Symbol)
    return made


def _spelled(symbol: Symbol, lengths: list[int], place: int, count: int) -> str:
    """The indices of a run of elements as the program has them: ``2,3..5``."""
    indices = []
    for length in reversed(lengths):
        indices.append(place % length)
        place //= length
    told = [index + low for index, (low, _) in zip(reversed(indices), symbol.dims, strict=True)]
    texts = [str(index) for index in told]
    if count > 1:
        texts[-1] += f"..{told[-1] + count - 1}"
    return ",".join(texts)


def _failed(code: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(code))
