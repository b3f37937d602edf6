"""Values of symbols between the block, Python and people.

In Python a value is a bool, int, float or str, a list for an array; times, dates and times of day are nanoseconds.
``parse_literal`` and ``format_value`` speak IEC 61131-3 literals (6.3.1) and are inverse to each other.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from scan._literals import format_scalar, parse_scalar
from scan.abi import NUMPY_TYPE, IecType, Symbol
from scan.problem import TickworkError, fail
from scan.segments import Bytes

Value = bool | int | float | str | list["Value"]

_STRINGS = (IecType.STRING, IecType.WSTRING)
_REALS = (IecType.REAL, IecType.LREAL)


def element_size(symbol: Symbol) -> int:
    """Bytes of one element, of the symbol itself if it is no array."""
    count = element_count(symbol)
    return symbol.size // count if count else symbol.size


def element_count(symbol: Symbol) -> int:
    return math.prod(high - low + 1 for low, high in symbol.dims)


def read_value(block: Bytes | bytes, symbol: Symbol) -> Value:
    """The exact value of a symbol in a block; arrays are flat lists, last index fastest."""
    data = bytes(block[symbol.offset : symbol.offset + symbol.size])
    if len(data) != symbol.size:
        raise _unfit(symbol, f"a block of {len(block)} bytes", f"{symbol.offset + symbol.size} bytes")
    if not symbol.dims:
        return decode_scalar(data, symbol)
    size = element_size(symbol)
    return [decode_scalar(data[start : start + size], symbol) for start in range(0, symbol.size, size)]


def decode_scalar(data: bytes, symbol: Symbol) -> bool | int | float | str:
    kind = symbol.type
    if kind == IecType.BOOL:
        return bool(data[0] >> symbol.bit & 1) if symbol.bit >= 0 else data[0] != 0
    if kind == IecType.STRING:
        return data.split(b"\0", 1)[0].decode("latin-1")
    if kind == IecType.WSTRING:
        return data.decode("utf-16-le", "replace").split("\0", 1)[0]
    if kind in _REALS:
        return float(struct.unpack("<f" if kind == IecType.REAL else "<d", data)[0])
    return int.from_bytes(data, "little", signed=NUMPY_TYPE[kind].lstrip("<")[0] == "i")


def encode_value(symbol: Symbol, value: object) -> bytes:
    """Bytes of a value as the block holds it; a located BOOL is one byte, 0 or 1.

    Raises TickworkError SC2003 when the value has not the type or the range of the symbol.
    """
    if not symbol.dims:
        return _encode_scalar(symbol, value)
    count = element_count(symbol)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != count:
        raise _unfit(symbol, repr(value), f"a list of {count} values")
    return b"".join(_encode_scalar(symbol, element) for element in value)


def _encode_scalar(symbol: Symbol, value: object) -> bytes:
    kind = symbol.type
    if kind in _STRINGS:
        return _encode_string(symbol, value)
    if kind == IecType.BOOL:
        if isinstance(value, bool | np.bool_) or (isinstance(value, int | np.integer) and value in (0, 1)):
            return bytes([int(value)])
        raise _unfit(symbol, repr(value), "TRUE or FALSE")
    if kind in _REALS:
        return _encode_real(symbol, value)
    return _encode_integer(symbol, value)


def _encode_string(symbol: Symbol, value: object) -> bytes:
    wide = symbol.type == IecType.WSTRING
    size = element_size(symbol)
    if not isinstance(value, str):
        raise _unfit(symbol, repr(value), "a text")
    try:
        data = value.encode("utf-16-le" if wide else "latin-1")
    except UnicodeEncodeError as error:
        raise _unfit(symbol, repr(value), "characters of ISO 8859-1") from error
    if len(data) > size - (2 if wide else 1) or "\0" in value:
        raise _unfit(
            symbol, f"{len(value)} characters", f"at most {symbol.length} characters, none of them NUL"
        )
    return data.ljust(size, b"\0")


def _encode_real(symbol: Symbol, value: object) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise _unfit(symbol, repr(value), "a number")
    try:
        return struct.pack("<f" if symbol.type == IecType.REAL else "<d", float(value))
    except OverflowError as error:
        raise _unfit(symbol, repr(value), f"a number in the range of {symbol.type.name}") from error


def _encode_integer(symbol: Symbol, value: object) -> bytes:
    kind = NUMPY_TYPE[symbol.type].lstrip("<")
    size = int(kind[1])
    signed = kind[0] == "i"
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise _unfit(symbol, repr(value), "an integer")
    try:
        return int(value).to_bytes(size, "little", signed=signed)
    except OverflowError as error:
        bits = 8 * size
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        raise _unfit(symbol, str(value), f"{low} to {high}") from error


def parse_literal(symbol: Symbol, text: str) -> Value:
    """A value from an IEC literal: ``TRUE``, ``16#FF``, ``T#1m30s``, ``'text'``, ``[1, 2, 3]``, an enumeration value.

    Raises TickworkError SC2003 with what is expected.
    """
    try:
        value = _parse(symbol, text.strip())
        encode_value(symbol, value)
    except ValueError as error:
        raise _unfit(
            symbol, repr(text[:80]), f"a literal of {symbol.type_name or symbol.type.name}: {error}"
        ) from error
    return value


def _parse(symbol: Symbol, text: str) -> Value:
    if not symbol.dims:
        return parse_scalar(symbol.type, text, symbol.enum_values)
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("an array is written [a, b, …]")
    return [parse_scalar(symbol.type, part, symbol.enum_values) for part in split_elements(text[1:-1])]


def split_elements(text: str) -> list[str]:
    """Splits at commas outside quotes."""
    parts, quote, start, position = [], "", 0, 0
    while position < len(text):
        character = text[position]
        if quote:
            if character == "$":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == ",":
            parts.append(text[start:position].strip())
            start = position + 1
        position += 1
    last = text[start:].strip()
    return [*parts, last] if parts or last else []


def format_value(symbol: Symbol, value: Value) -> str:
    """The IEC literal of a value, as ``parse_literal`` reads it."""
    if isinstance(value, list):
        return "[" + ", ".join(format_scalar(symbol.type, one, symbol.enum_values) for one in value) + "]"
    return format_scalar(symbol.type, value, symbol.enum_values)


def _unfit(symbol: Symbol, found: str, expected: str) -> TickworkError:
    return fail("SC2003", f"the value does not fit {symbol.path}", expected=expected, found=found)
