"""IEC 61131-3 types as OPC UA types and back.

Source: OPC 30000 1.02 (PLCopen and OPC Foundation, *OPC UA Information Model for IEC 61131-3*) §9.2, type mapping; TIME
is Int64 milliseconds, DATE and DT are DateTime, TOD is UInt32 milliseconds, their L-variants are Int64 nanoseconds.
In the block all of these are signed 64-bit nanoseconds (``scan.abi``). An enumeration is Int32, as OPC 10000-6 §5.2.4
has it; one whose values do not fit stays its base type.
"""

from __future__ import annotations

import datetime

from asyncua import ua

from scan.abi import IecType, Symbol

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NS_PER_MS = 1_000_000
_NS_PER_US = 1_000
# DateTime cannot say more (OPC 10000-6 §5.2.2.5); what lies outside is clamped, never an exception.
_DATE_LOW_NS = -11_644_473_600 * 1_000_000_000
_DATE_HIGH_NS = 253_402_300_799 * 1_000_000_000

VARIANT_TYPE: dict[IecType, ua.VariantType] = {
    IecType.BOOL: ua.VariantType.Boolean,
    IecType.SINT: ua.VariantType.SByte,
    IecType.INT: ua.VariantType.Int16,
    IecType.DINT: ua.VariantType.Int32,
    IecType.LINT: ua.VariantType.Int64,
    IecType.USINT: ua.VariantType.Byte,
    IecType.UINT: ua.VariantType.UInt16,
    IecType.UDINT: ua.VariantType.UInt32,
    IecType.ULINT: ua.VariantType.UInt64,
    IecType.BYTE: ua.VariantType.Byte,
    IecType.WORD: ua.VariantType.UInt16,
    IecType.DWORD: ua.VariantType.UInt32,
    IecType.LWORD: ua.VariantType.UInt64,
    IecType.REAL: ua.VariantType.Float,
    IecType.LREAL: ua.VariantType.Double,
    IecType.TIME: ua.VariantType.Int64,
    IecType.LTIME: ua.VariantType.Int64,
    IecType.DATE: ua.VariantType.DateTime,
    IecType.LDATE: ua.VariantType.Int64,
    IecType.TOD: ua.VariantType.UInt32,
    IecType.LTOD: ua.VariantType.Int64,
    IecType.DT: ua.VariantType.DateTime,
    IecType.LDT: ua.VariantType.Int64,
    IecType.CHAR: ua.VariantType.Byte,
    IecType.WCHAR: ua.VariantType.UInt16,
    IecType.STRING: ua.VariantType.String,
    IecType.WSTRING: ua.VariantType.String,
}

# Identifiers of data types: (companion model of PLCopen, number), else of OPC UA itself.
PLC_DATA_TYPE: dict[IecType, int] = {
    IecType.BYTE: 3001, IecType.WORD: 3002, IecType.DWORD: 3003, IecType.LWORD: 3004, IecType.TIME: 3005,
    IecType.LTIME: 3006, IecType.DATE: 3007, IecType.TOD: 3008, IecType.LTOD: 3009, IecType.DT: 3010,
    IecType.CHAR: 3011, IecType.WCHAR: 3012, IecType.STRING: 3013, IecType.LDATE: 3014, IecType.LDT: 3015,
}  # fmt: skip

_MILLISECONDS = {IecType.TIME, IecType.TOD}
_DATES = {IecType.DATE, IecType.DT}
_REALS = {IecType.REAL, IecType.LREAL}

INTEGER_RANGE: dict[ua.VariantType, tuple[int, int]] = {
    ua.VariantType.SByte: (-(2**7), 2**7 - 1),
    ua.VariantType.Int16: (-(2**15), 2**15 - 1),
    ua.VariantType.Int32: (-(2**31), 2**31 - 1),
    ua.VariantType.Int64: (-(2**63), 2**63 - 1),
    ua.VariantType.Byte: (0, 2**8 - 1),
    ua.VariantType.UInt16: (0, 2**16 - 1),
    ua.VariantType.UInt32: (0, 2**32 - 1),
    ua.VariantType.UInt64: (0, 2**64 - 1),
}


def is_enumeration(symbol: Symbol) -> bool:
    """Whether a variable (or the elements of an array) goes over the wire as an enumeration."""
    low, high = INTEGER_RANGE[ua.VariantType.Int32]
    return bool(symbol.enum_values) and all(low <= number <= high for _, number in symbol.enum_values)


def variant_type(symbol: Symbol) -> ua.VariantType:
    """The built-in type of a variable's values, of its elements if it is an array."""
    return ua.VariantType.Int32 if is_enumeration(symbol) else VARIANT_TYPE[symbol.type]


def can_serve(symbol: Symbol) -> bool:
    """References have no meaning outside; hidden symbols stay hidden."""
    return symbol.type in VARIANT_TYPE and symbol.access != "none"


def to_datetime(nanoseconds: int) -> datetime.datetime:
    clamped = min(max(nanoseconds, _DATE_LOW_NS), _DATE_HIGH_NS)
    return _EPOCH + datetime.timedelta(microseconds=clamped // _NS_PER_US)


def _scalar_to_ua(kind: IecType, value: object) -> object:
    if kind in _DATES:
        return to_datetime(int(value))  # type: ignore[call-overload]
    if kind in _MILLISECONDS:
        # Toward zero, as TIME_TO_LINT would: -1 ns is 0 ms, not -1 ms.
        count = int(value)  # type: ignore[call-overload]
        return -(-count // _NS_PER_MS) if count < 0 else count // _NS_PER_MS
    return value


def to_ua(symbol: Symbol, value: object) -> ua.Variant:
    """A block value (times in nanoseconds, strings as str, arrays as nested or flat lists) as a Variant."""
    kind = variant_type(symbol)
    if symbol.dims:
        flat = [_scalar_to_ua(symbol.type, item) for item in _flatten(value)]
        dimensions = [high - low + 1 for low, high in symbol.dims]
        return ua.Variant(flat, kind, Dimensions=dimensions if len(dimensions) > 1 else None, is_array=True)
    return ua.Variant(_scalar_to_ua(symbol.type, value), kind)


def _flatten(value: object) -> list[object]:
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _flatten(item)]
    return [value]


def _scalar_from_ua(kind: IecType, value: object) -> object:
    if kind in _DATES:
        assert isinstance(value, datetime.datetime)
        moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        nanoseconds = round((moment - _EPOCH) / datetime.timedelta(microseconds=1)) * _NS_PER_US
        if kind == IecType.DATE:
            nanoseconds -= nanoseconds % (86_400 * 1_000_000_000)
        return nanoseconds
    if kind in _MILLISECONDS:
        return int(value) * _NS_PER_MS  # type: ignore[call-overload]
    return value


def from_ua(symbol: Symbol, variant: ua.Variant) -> tuple[object, int]:
    """The block value of a written Variant, and a StatusCode: Good, BadTypeMismatch or BadOutOfRange.

    Type and rank must be exactly the variable's (OPC 10000-4 §5.11.4): a server that converts silently writes what
    nobody meant.
    """
    bad_type, out_of_range = ua.StatusCodes.BadTypeMismatch, ua.StatusCodes.BadOutOfRange
    if variant.VariantType != variant_type(symbol) or bool(variant.is_array) != bool(symbol.dims):
        return None, bad_type
    items = _flatten(variant.Value) if symbol.dims else [variant.Value]
    if any(item is None for item in items):
        return None, bad_type
    if symbol.dims:
        count = 1
        for low, high in symbol.dims:
            count *= high - low + 1
        if len(items) != count:
            return None, bad_type
    values = [_scalar_from_ua(symbol.type, item) for item in items]
    if not all(_in_range(symbol, value) for value in values):
        return None, out_of_range
    return (values if symbol.dims else values[0]), ua.StatusCodes.Good


def _in_range(symbol: Symbol, value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= symbol.length and "\0" not in value
    if isinstance(value, bool):
        return True
    if symbol.type in _REALS:
        number = float(value)  # type: ignore[arg-type]
        finite = number - number == 0.0
        if not finite and (symbol.low is not None or symbol.high is not None):
            return False
    else:
        number = float(value)  # type: ignore[arg-type]
        whole = int(value)  # type: ignore[call-overload]
        if symbol.type in (IecType.TIME, IecType.TOD) and not -(2**63) <= whole < 2**63:
            return False
        if symbol.enum_values and whole not in {number for _, number in symbol.enum_values}:
            return False
    return (symbol.low is None or number >= symbol.low) and (symbol.high is None or number <= symbol.high)
