"""Reading protobuf bytes of Sparkplug B; see ``sparkplug_codec``."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from drivers.mqtt.sparkplug import (
    METADATA_FIELDS,
    PROPERTY_SET,
    PROPERTY_SET_LIST,
    DataSet,
    Kind,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    PropertySet,
    SparkplugError,
    Template,
)

PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
ITEMS_MAX = 1_000_000  # metrics, properties, cells: two bytes of message can be an object of two hundred
COMPRESSED = "SPBV1.0_COMPRESSED"  # the uuid by which Eclipse Tahu marks a payload inside ``body``
_ANY_HEADER = 32  # zlib's word for: look whether it is zlib or gzip
DEPTH_MAX = 8  # templates in templates, property sets in property sets
_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1
_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Budget:
    """How much one message may still make."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items = ITEMS_MAX

    def take(self, count: int = 1) -> None:
        self.items -= count
        if self.items < 0:
            raise SparkplugError(f"more than {ITEMS_MAX} items")


def decode_payload(data: bytes) -> Payload:
    """Raises SparkplugError, nothing else."""
    if len(data) > PAYLOAD_BYTES_MAX:
        raise SparkplugError(f"{len(data)} bytes, at most {PAYLOAD_BYTES_MAX} are taken")
    try:
        payload = _payload(data)
        return _payload(_inflated(payload.body)) if payload.uuid == COMPRESSED and payload.body else payload
    except zlib.error:
        raise SparkplugError("the compressed body is damaged") from None
    except (IndexError, struct.error):
        raise SparkplugError("the message ends in the middle of a field") from None
    except UnicodeDecodeError:
        raise SparkplugError("a text is not UTF-8") from None


def _inflated(body: bytes) -> bytes:
    """DEFLATE or GZIP, as Eclipse Tahu compresses; bounded, as a kilobyte may hold a gigabyte."""
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | _ANY_HEADER)
    data = inflate.decompress(body, PAYLOAD_BYTES_MAX)
    if inflate.unconsumed_tail or not inflate.eof:
        raise SparkplugError("the compressed body is too large or not whole")
    return data


def _payload(data: bytes) -> Payload:
    payload = Payload(metrics=[])
    budget = _Budget()
    metrics = payload.metrics
    size = len(data)
    position = 0
    memory = _Memory()
    while position < size:
        key = data[position]
        position += 1
        if key == 0x12:
            length = data[position]
            position += 1
            if length > 127:
                length, position = _varint(data, position - 1)
            end = position + length
            if end > size:
                raise IndexError
            metrics.append(_metric(data, position, end, budget, 0, memory))
            position = end
        elif key == 0x08:
            payload.timestamp, position = _varint(data, position)
        elif key == 0x18:
            payload.seq, position = _varint(data, position)
        elif key in (0x22, 0x2A):
            start, position = _span(data, position, size)
            if key == 0x22:
                payload.uuid = data[start:position].decode("utf-8")
            else:
                payload.body = data[start:position]
        else:
            position = _skip(data, position - 1, size)
    if position != size:
        raise IndexError
    return payload


class _Memory:
    """What was read before and is likely to come again: the last time, and sets of properties."""

    __slots__ = ("properties", "time", "time_bytes")

    def __init__(self) -> None:
        self.time_bytes = b""
        self.time = 0
        self.properties: dict[bytes, PropertySet] = {}


def _metric(data: bytes, position: int, end: int, budget: _Budget, depth: int, memory: _Memory) -> Metric:
    """One metric in ``data[position:end]``. Equal sets of properties may be one object."""
    name = alias = timestamp = datatype = value = metadata = properties = None
    kind = flags = 0  # of flags bit 5: historical, 6: transient, 7: null, as their fields are numbered
    budget.take()
    while position < end:
        key = data[position]
        position += 1
        if key == 0x10:
            alias, position = _varint(data, position)
        elif key == 0x18:
            known = memory.time_bytes
            if data[position : position + len(known)] == known and known:
                timestamp = memory.time
                position += len(known)
            else:
                start = position
                timestamp, position = _varint(data, position)
                memory.time_bytes, memory.time = data[start:position], timestamp
        elif key == 0x69:
            kind, value = 13, _DOUBLE.unpack_from(data, position)[0]
            position += 8
        elif key == 0x65:
            kind, value = 12, _FLOAT.unpack_from(data, position)[0]
            position += 4
        elif key == 0x50 or key == 0x58:
            value = data[position]
            position += 1
            if value > 127:
                value, position = _varint(data, position - 1)
            kind = key >> 3
            if kind == 10:
                value &= _U32
        elif key == 0x70:
            value, position = _varint(data, position)
            kind, value = 14, value != 0
        elif key == 0x20:
            datatype, position = _varint(data, position)
            datatype &= _U32
        elif key == 0x28 or key == 0x30 or key == 0x38:
            flag, position = _varint(data, position)
            flags |= (flag != 0) << (key >> 3)
        elif key == 0x0A or key == 0x7A:
            start, position = _span(data, position, end)
            text = data[start:position].decode("utf-8")
            if key == 0x0A:
                name = text
            else:
                kind, value = 15, text
        elif key == 0x4A:
            start, position = _span(data, position, end)
            known = data[start:position]
            properties = memory.properties.get(known)
            if properties is None:
                properties = memory.properties[known] = _property_set(
                    data, start, position, budget, depth + 1
                )
        elif key == 0x42:
            start, position = _span(data, position, end)
            metadata = _metadata(data, start, position)
        elif key == 0x82 or key == 0x8A or key == 0x92:
            kind, value, position = _large_value(data, position - 1, end, budget, depth, kind, value)
        else:
            position = _skip(data, position - 1, end)
    if position != end:
        raise IndexError
    null, historical, transient = flags & 128 != 0, flags & 32 != 0, flags & 64 != 0
    return Metric(
        name, alias, timestamp, datatype, kind, value, null, historical, transient, metadata, properties
    )


def _large_value(
    data: bytes, position: int, end: int, budget: _Budget, depth: int, kind: int, value: object
) -> tuple[int, object, int]:
    """Bytes, data sets and templates: fields whose keys have two bytes."""
    key, after = _varint(data, position)
    if key not in (0x82, 0x8A, 0x92):
        return kind, value, _skip(data, position, end)
    start, position = _span(data, after, end)
    if key == 0x82:
        return Kind.BYTES, data[start:position], position
    if key == 0x8A:
        return Kind.DATASET, _dataset(data, start, position, budget), position
    return Kind.TEMPLATE, _template(data, start, position, budget, depth + 1), position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _U64, position
        shift += 7
        if shift > 63:
            raise SparkplugError("a number has more than ten bytes")


def _span(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Start and end of a field with a length."""
    length, position = _varint(data, position)
    if position + length > end:
        raise IndexError
    return position, position + length


def _skip(data: bytes, position: int, end: int) -> int:
    """Behind a field that is not known."""
    key, position = _varint(data, position)
    wire = key & 7
    if key >> 3 == 0:
        raise SparkplugError("a field has the number 0")
    if wire == _VARINT:
        _, position = _varint(data, position)
    elif wire == _BYTES:
        _, position = _span(data, position, end)
    elif wire == _FIXED64:
        position += 8
    elif wire == _FIXED32:
        position += 4
    else:
        raise SparkplugError(f"a field has the wire type {wire}")
    if position > end:
        raise IndexError
    return position


def _fields(data: bytes, position: int, end: int) -> list[tuple[int, Any]]:
    """(key, value) of all fields of a small message: integers, or (start, end) of bytes."""
    found: list[tuple[int, Any]] = []
    while position < end:
        start = position
        key, position = _varint(data, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            found.append((key, value))
        elif wire == _BYTES:
            span = _span(data, position, end)
            found.append((key, span))
            position = span[1]
        else:
            inside = position
            position = _skip(data, start, end)
            found.append((key, (inside, position)))
    if position != end:
        raise IndexError
    return found


def _text(data: bytes, span: tuple[int, int]) -> str:
    return data[span[0] : span[1]].decode("utf-8")


def _scalar(data: bytes, key: int, first: int, value: Any) -> tuple[int, object] | None:
    """The value of a oneof whose fields are int, long, float, double, boolean, string from ``first`` on."""
    field, wire = key >> 3, key & 7
    index = field - first
    if not 0 <= index <= 5 or wire != (_VARINT, _VARINT, _FIXED32, _FIXED64, _VARINT, _BYTES)[index]:
        return None
    kind = Kind.INT + index
    if kind == Kind.INT:
        return kind, value & _U32
    if kind == Kind.LONG:
        return kind, value
    if kind == Kind.FLOAT:
        return kind, _FLOAT.unpack_from(data, value[0])[0]
    if kind == Kind.DOUBLE:
        return kind, _DOUBLE.unpack_from(data, value[0])[0]
    return (kind, value != 0) if kind == Kind.BOOLEAN else (kind, _text(data, value))


def _property_set(data: bytes, position: int, end: int, budget: _Budget, depth: int) -> PropertySet:
    if depth > DEPTH_MAX:
        raise SparkplugError(f"property sets are more than {DEPTH_MAX} deep")
    found = PropertySet([], [])
    for key, value in _fields(data, position, end):
        if key == 0x0A:
            budget.take()
            found.keys.append(_text(data, value))
        elif key == 0x12:
            budget.take()
            found.values.append(_property(data, value[0], value[1], budget, depth))
    if len(found.keys) != len(found.values):
        raise SparkplugError(f"a property set has {len(found.keys)} keys and {len(found.values)} values")
    return found


def _property(data: bytes, position: int, end: int, budget: _Budget, depth: int) -> Property:
    found = Property()
    for key, value in _fields(data, position, end):
        scalar = _scalar(data, key, 3, value)
        if scalar is not None:
            found.kind, found.value = scalar
        elif key == 0x08:
            found.type = value & _U32
        elif key == 0x10:
            found.is_null = value != 0
        elif key == 0x4A:
            found.kind, found.value = PROPERTY_SET, _property_set(data, value[0], value[1], budget, depth + 1)
        elif key == 0x52:
            sets = [
                _property_set(data, span[0], span[1], budget, depth + 1)
                for inner, span in _fields(data, *value)
                if inner == 0x0A
            ]
            found.kind, found.value = PROPERTY_SET_LIST, sets
    return found


def _metadata(data: bytes, position: int, end: int) -> MetaData:
    found = MetaData()
    for key, value in _fields(data, position, end):
        field = METADATA_FIELDS.get(key)
        if field is not None:
            shown = _text(data, value) if key & 7 == _BYTES else value != 0 if key == 0x08 else value
            setattr(found, field, shown)
    return found


def _dataset(data: bytes, position: int, end: int, budget: _Budget) -> DataSet:
    found = DataSet([], [], [])
    count = None
    for key, value in _fields(data, position, end):
        budget.take()
        if key == 0x08:
            count = value
        elif key == 0x12:
            found.columns.append(_text(data, value))
        elif key == 0x18:
            found.types.append(value & _U32)
        elif key == 0x1A:  # packed: a reader must take both forms
            at, stop = value
            while at < stop:
                one, at = _varint(data, at)
                found.types.append(one & _U32)
        elif key == 0x22:
            found.rows.append(_row(data, value[0], value[1], budget))
    width = len(found.columns)
    if (
        len(found.types) != width
        or (count is not None and count != width)
        or any(len(r) != width for r in found.rows)
    ):
        raise SparkplugError("a data set has rows, types and columns of different lengths")
    return found


def _row(data: bytes, position: int, end: int, budget: _Budget) -> tuple[tuple[int, object], ...]:
    cells: list[tuple[int, object]] = []
    for key, value in _fields(data, position, end):
        if key == 0x0A:
            budget.take()
            cell: tuple[int, object] = (0, None)
            for inner, part in _fields(data, *value):
                cell = _scalar(data, inner, 1, part) or cell
            cells.append(cell)
    return tuple(cells)


def _template(data: bytes, position: int, end: int, budget: _Budget, depth: int) -> Template:
    if depth > DEPTH_MAX:
        raise SparkplugError(f"templates are more than {DEPTH_MAX} deep")
    found = Template(metrics=[], parameters=[])
    memory = _Memory()
    for key, value in _fields(data, position, end):
        if key == 0x0A:
            found.version = _text(data, value)
        elif key == 0x12:
            found.metrics.append(_metric(data, value[0], value[1], budget, depth, memory))
        elif key == 0x1A:
            budget.take()
            found.parameters.append(_parameter(data, *value))
        elif key == 0x22:
            found.template_ref = _text(data, value)
        elif key == 0x28:
            found.is_definition = value != 0
    return found


def _parameter(data: bytes, position: int, end: int) -> Parameter:
    found = Parameter()
    for key, value in _fields(data, position, end):
        scalar = _scalar(data, key, 3, value)
        if scalar is not None:
            found.kind, found.value = scalar
        elif key == 0x0A:
            found.name = _text(data, value)
        elif key == 0x10:
            found.type = value & _U32
    return found
