"""Arithmetic of the language on Python numbers: the meaning of each operator, written down a second time.

Integers are Python integers wrapped to their width after each operation. REAL is computed in LREAL and rounded,
which for one operation is the correctly rounded result (53 >= 2 × 24 + 2 bits). Functions beyond IEEE 754 are
the C library's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import math
import struct

import numpy as np

from scan.abi import NUMPY_TYPE, IecType

DAY_NS = 86_400_000_000_000
FLOATS = (IecType.REAL, IecType.LREAL)
MILLISECOND_TYPES = (IecType.TIME, IecType.TOD)
SECOND_TYPES = (IecType.DATE, IecType.DT)
TIME_TYPES = (*MILLISECOND_TYPES, *SECOND_TYPES, IecType.LTIME, IecType.LTOD, IecType.LDATE, IecType.LDT)
UNSIGNED = (
    IecType.USINT, IecType.UINT, IecType.UDINT, IecType.ULINT, IecType.BYTE, IecType.WORD, IecType.DWORD,
    IecType.LWORD, IecType.CHAR, IecType.WCHAR,
)  # fmt: skip

Number = int | float


def bit_width(kind: IecType) -> int:
    return 1 if kind is IecType.BOOL else 8 * np.dtype(NUMPY_TYPE[kind]).itemsize


def wrap(kind: IecType, value: Number) -> Number:
    """A value as the type holds it."""
    if kind is IecType.REAL:
        return to_real(float(value))
    if kind is IecType.LREAL:
        return float(value)
    bits = bit_width(kind)
    value = int(value) & ((1 << bits) - 1)
    if kind is IecType.BOOL or kind in UNSIGNED or not value >> (bits - 1):
        return value
    return value - (1 << bits)


def to_real(value: float) -> float:
    """Nearest float32 as a Python float; too large becomes infinite."""
    with np.errstate(all="ignore"):
        return float(np.float32(value))


def limits(kind: IecType) -> tuple[int, int]:
    bits = bit_width(kind)
    return (0, (1 << bits) - 1) if kind in UNSIGNED else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


@functools.cache
def _library(name: str) -> ctypes._CFuncPtr:  # type: ignore[name-defined]
    function = getattr(ctypes.CDLL(ctypes.util.find_library("m")), name)
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_double] * (2 if name in ("pow", "atan2", "fmod") else 1)
    return function


def library(name: str, *values: float) -> float:
    """A function of the C library on LREAL."""
    return float(_library(name)(*values))


def float_operation(op: str, left: float, right: float) -> float:
    with np.errstate(all="ignore"):
        a, b = np.float64(left), np.float64(right)
        if op == "add":
            return float(a + b)
        if op == "sub":
            return float(a - b)
        if op == "mul":
            return float(a * b)
        return float(a / b) if op == "div" else library("fmod", left, right)


def truncated_quotient(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def integer_operation(op: str, left: int, right: int) -> int:
    """Unwrapped result; the caller has made sure that a divisor is not 0."""
    match op:
        case "add":
            return left + right
        case "sub":
            return left - right
        case "mul":
            return left * right
        case "and":
            return left & right
        case "or":
            return left | right
        case "xor":
            return left ^ right
        case "div":
            return truncated_quotient(left, right)
    return left - right * truncated_quotient(left, right)


def compare(op: str, left: Number, right: Number) -> bool:
    return {
        "eq": left == right, "ne": left != right, "lt": left < right,
        "le": left <= right, "gt": left > right, "ge": left >= right,
    }[op]  # fmt: skip


def saturated(kind: IecType, value: float, *, truncate: bool = False) -> int:
    """A float as an integer of the type: half to even (or towards zero), at its limits, 0 for no number."""
    if math.isnan(value):
        return 0
    low, high = limits(kind)
    if math.isinf(value):
        return high if value > 0 else low
    return max(low, min(high, math.trunc(value) if truncate else round(value)))


def _unit(kind: IecType) -> int:
    if kind in MILLISECOND_TYPES:
        return 1_000_000
    return 1_000_000_000 if kind in SECOND_TYPES else 1


def convert(value: Number, source: IecType, target: IecType, kind: str) -> Number:
    """All conversions between elementary types other than strings."""
    if kind == "bits":
        return reinterpret(value, source, target)
    if kind in ("bcd", "from_bcd"):
        return _bcd(int(value), source, target, kind)
    if source is target:
        return value
    if target is IecType.BOOL:
        return int(value != 0)
    if source in FLOATS:
        return _from_float(float(value), target, kind)
    if source in TIME_TYPES and target in TIME_TYPES:
        return _between_times(int(value), source, target)
    if target in FLOATS:
        unit = _unit(source)
        if unit == 1:
            return wrap(target, value) if target is IecType.LREAL else to_real_from_integer(int(value))
        return wrap(target, float(int(value)) / float(unit))
    number = int(value)
    if source in TIME_TYPES:
        number = truncated_quotient(number, _unit(source))
    # The number takes the width of the target before it is scaled, as a time takes 64 bits.
    return wrap(target, int(wrap(target, number)) * _unit(target))


def to_real_from_integer(value: int) -> float:
    """One rounding, not two by way of LREAL."""
    return (
        float(np.int64(value).astype(np.float32))
        if -(2**63) <= value < 2**63
        else float(np.uint64(value).astype(np.float32))
    )


def _from_float(value: float, target: IecType, kind: str) -> Number:
    if target in FLOATS:
        return wrap(target, value)
    if _unit(target) != 1:
        value = float_operation("mul", value, float(_unit(target)))
    return saturated(target, value, truncate=kind == "trunc")


def _between_times(value: int, source: IecType, target: IecType) -> int:
    if source in (IecType.DT, IecType.LDT):
        if target in (IecType.DATE, IecType.LDATE):
            return int(wrap(target, value - value % DAY_NS))
        if target in (IecType.TOD, IecType.LTOD):
            return value % DAY_NS
    return value


def reinterpret(value: Number, source: IecType, target: IecType) -> Number:
    """The same bits as another type."""
    if source in FLOATS:
        form = "<f" if source is IecType.REAL else "<d"
        bits = int.from_bytes(struct.pack(form, value), "little")
    else:
        bits = int(value) & ((1 << bit_width(source)) - 1)
    if target in FLOATS:
        size, form = (4, "<f") if target is IecType.REAL else (8, "<d")
        return float(struct.unpack(form, (bits & ((1 << 8 * size) - 1)).to_bytes(size, "little"))[0])
    return wrap(target, bits)


def _bcd(value: int, source: IecType, target: IecType, kind: str) -> Number:
    if kind == "bcd":
        digits = bit_width(target) // 4
        value &= (1 << bit_width(source)) - 1
        value = int(wrap(IecType.LINT, value))
        text = str(max(value, 0))[-digits:]
        return wrap(target, int(text, 16))
    bits = value & ((1 << bit_width(source)) - 1)
    return wrap(target, sum((bits >> 4 * place & 15) * 10**place for place in range(16)))
