"""What the value of a metric means for its data type (Sparkplug 3.0.0 §6.4.16), both ways.

Integers with a sign travel as two's complement in a field without one: of 32 bits up to Int32, of 64 for Int64.
Readers are lenient where peers differ (UInt32 in either field, Int8 in 8 bits), writers are not.
"""

from __future__ import annotations

import struct
from typing import Any

from drivers.mqtt.sparkplug import DataType, Kind, SparkplugError

T = DataType
_INTEGERS: dict[int, tuple[int, bool]] = {
    T.INT8: (8, True), T.INT16: (16, True), T.INT32: (32, True), T.INT64: (64, True),
    T.UINT8: (8, False), T.UINT16: (16, False), T.UINT32: (32, False), T.UINT64: (64, False),
}  # fmt: skip
_TEXTS = (T.STRING, T.TEXT, T.UUID)
ARRAY_FORMAT: dict[int, str] = {
    T.INT8ARRAY: "b", T.INT16ARRAY: "h", T.INT32ARRAY: "i", T.INT64ARRAY: "q", T.UINT8ARRAY: "B", T.UINT16ARRAY: "H",
    T.UINT32ARRAY: "I", T.UINT64ARRAY: "Q", T.FLOATARRAY: "f", T.DOUBLEARRAY: "d", T.DATETIMEARRAY: "Q",
}  # fmt: skip
# The field that holds a value of each data type.
KIND_OF: dict[int, Kind] = {
    **dict.fromkeys((T.INT8, T.INT16, T.INT32, T.UINT8, T.UINT16), Kind.INT),
    # UInt32 stands in the 64-bit field, as in the reference implementation and its TCK.
    **dict.fromkeys((T.UINT32, T.INT64, T.UINT64, T.DATETIME), Kind.LONG),
    T.FLOAT: Kind.FLOAT, T.DOUBLE: Kind.DOUBLE, T.BOOLEAN: Kind.BOOLEAN,
    **dict.fromkeys(_TEXTS, Kind.STRING),
    **dict.fromkeys((T.BYTES, T.FILE, T.BOOLEANARRAY, T.STRINGARRAY, *ARRAY_FORMAT), Kind.BYTES),
    T.DATASET: Kind.DATASET, T.TEMPLATE: Kind.TEMPLATE,
}  # fmt: skip
_COUNT = struct.Struct("<I")


def to_wire(datatype: int, value: Any) -> Any:
    """The content of the field for a value. Raises SparkplugError when it does not fit the data type."""
    integer = _INTEGERS.get(datatype)
    if integer is not None:
        return _integer_to_wire(datatype, value, *integer)
    if datatype in (T.FLOAT, T.DOUBLE):
        return _real_to_wire(datatype, value)
    if datatype == T.BOOLEAN and isinstance(value, bool):
        return value
    if datatype == T.DATETIME and isinstance(value, int) and 0 <= value < 1 << 64:
        return value
    if datatype in _TEXTS and isinstance(value, str):
        return value
    if datatype in ARRAY_FORMAT or datatype in (T.BOOLEANARRAY, T.STRINGARRAY):
        return _array_to_wire(datatype, value)
    if KIND_OF.get(datatype) in (Kind.BYTES, Kind.DATASET, Kind.TEMPLATE) and not isinstance(
        value, str | int
    ):
        return value
    raise _unfit(datatype, value)


def _integer_to_wire(datatype: int, value: Any, bits: int, signed: bool) -> int:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _unfit(datatype, value)
    return value & ((1 << max(bits, 32)) - 1)


def _real_to_wire(datatype: int, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unfit(datatype, value)
    try:
        if datatype == T.FLOAT:
            struct.pack("<f", value)
        return float(value)
    except OverflowError:
        raise _unfit(datatype, value) from None


def _array_to_wire(datatype: int, value: Any) -> bytes:
    if not isinstance(value, list | tuple):
        raise _unfit(datatype, value)
    try:
        if datatype == T.STRINGARRAY:
            if any("\0" in one for one in value):
                raise _unfit(datatype, value)
            return b"".join(one.encode("utf-8") + b"\0" for one in value)
        if datatype == T.BOOLEANARRAY:
            bits = "".join("1" if one else "0" for one in value)
            packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0") or "0", 2).to_bytes(
                -(-len(bits) // 8), "big"
            )
            return _COUNT.pack(len(value)) + packed
        return struct.pack(f"<{len(value)}{ARRAY_FORMAT[datatype]}", *value)
    except (struct.error, OverflowError, TypeError, AttributeError):
        raise _unfit(datatype, value) from None


def from_wire(datatype: int, kind: int, raw: Any) -> Any:
    """The value that a field means. Raises SparkplugError when the field does not suit the data type."""
    integer = _INTEGERS.get(datatype)
    if integer is not None:
        if kind in (Kind.INT, Kind.LONG):
            return _integer_from_wire(datatype, kind, raw, *integer)
    elif datatype in (T.FLOAT, T.DOUBLE):
        if kind in (Kind.FLOAT, Kind.DOUBLE):
            return raw
    elif datatype == T.DATETIME:
        if kind in (Kind.LONG, Kind.INT):
            return raw
    elif KIND_OF.get(datatype) == kind:
        if kind != Kind.BYTES or datatype in (T.BYTES, T.FILE):
            return raw
        return _array_from_wire(datatype, raw)
    raise _unfit(datatype, raw)


def _integer_from_wire(datatype: int, kind: int, raw: int, bits: int, signed: bool) -> int:
    if not signed:
        if raw >> bits:
            raise _unfit(datatype, raw)
        return raw
    half = 1 << bits - 1
    if raw < half:
        return raw
    for width in {bits, 32, 64} if kind == Kind.LONG else {bits, 32}:
        value = raw - (1 << width)
        if -half <= value < 0:
            return value
    raise _unfit(datatype, raw)


def _array_from_wire(datatype: int, raw: bytes) -> list[Any]:
    if datatype == T.STRINGARRAY:
        if raw and raw[-1]:
            raise SparkplugError("an array of texts does not end with NUL")
        try:
            return [part.decode("utf-8") for part in raw.split(b"\0")[:-1]]
        except UnicodeDecodeError:
            raise SparkplugError("a text is not UTF-8") from None
    if datatype == T.BOOLEANARRAY:
        count = _COUNT.unpack_from(raw)[0] if len(raw) >= 4 else -1
        if count < 0 or len(raw) - 4 != -(-count // 8):
            raise SparkplugError("an array of Booleans has not the length that it says")
        return [bool(raw[4 + i // 8] >> (7 - i % 8) & 1) for i in range(count)]
    form = ARRAY_FORMAT[datatype]
    count, rest = divmod(len(raw), struct.calcsize("<" + form))
    if rest:
        raise SparkplugError(f"an array of {len(raw)} bytes is no whole number of elements")
    return list(struct.unpack(f"<{count}{form}", raw))


def type_name(datatype: int) -> str:
    try:
        return DataType(datatype).name.capitalize()
    except ValueError:
        return f"data type {datatype}"


def _unfit(datatype: int, value: Any) -> SparkplugError:
    return SparkplugError(f"{str(value)[:60]} does not fit {type_name(datatype)}")
