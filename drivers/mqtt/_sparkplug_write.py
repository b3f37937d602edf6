"""Writing protobuf bytes of Sparkplug B; see ``sparkplug_codec``."""

from __future__ import annotations

import struct
from collections.abc import Callable
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
    Template,
)

_U64 = (1 << 64) - 1
_U32 = (1 << 32) - 1
_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_FIXED64, _BYTES, _FIXED32 = 1, 2, 5


def varint(value: int) -> bytes:
    """An unsigned number of at most 64 bits."""
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | _BYTES) + varint(len(data)) + data


def _string(field: int, text: str) -> bytes:
    return _block(field, text.encode("utf-8"))


def encode_payload(payload: Payload) -> bytes:
    """The bytes of a message."""
    return assemble(
        [encode_metric(metric) for metric in payload.metrics], timestamp=payload.timestamp, seq=payload.seq,
        uuid=payload.uuid, body=payload.body,
    )  # fmt: skip


def assemble(
    metrics: list[bytes],
    *,
    timestamp: int | None,
    seq: int | None,
    uuid: str | None = None,
    body: bytes | None = None,
) -> bytes:
    """A payload of metrics that are encoded already, each as ``encode_metric`` gives it."""
    parts = [_number(1, timestamp)] if timestamp is not None else []
    parts += metrics
    if seq is not None:
        parts.append(_number(3, seq))
    if uuid is not None:
        parts.append(_string(4, uuid))
    if body is not None:
        parts.append(_block(5, body))
    return b"".join(parts)


def encode_metric(metric: Metric) -> bytes:
    """A metric as a field of a payload."""
    return _block(2, metric_body(metric))


def metric_body(metric: Metric) -> bytes:
    """A metric without key and length."""
    parts = []
    if metric.name is not None:
        parts.append(_string(1, metric.name))
    if metric.alias is not None:
        parts.append(_number(2, metric.alias))
    if metric.timestamp is not None:
        parts.append(_number(3, metric.timestamp))
    if metric.datatype is not None:
        parts.append(_number(4, metric.datatype))
    if metric.is_historical:
        parts.append(b"\x28\x01")
    if metric.is_transient:
        parts.append(b"\x30\x01")
    if metric.is_null:
        parts.append(b"\x38\x01")
    if metric.metadata is not None:
        parts.append(_block(8, _metadata_body(metric.metadata)))
    if metric.properties is not None:
        parts.append(_block(9, properties_body(metric.properties)))
    parts.append(value_field(metric.kind, metric.value))
    return b"".join(parts)


def value_field(kind: int, value: Any) -> bytes:
    """The field of a metric that holds its value, empty for none."""
    if kind == Kind.NONE:
        return b""
    return _WRITERS[Kind(kind)](value)


_WRITERS: dict[Kind, Callable[[Any], bytes]] = {
    Kind.INT: lambda value: b"\x50" + varint(value & _U32),
    Kind.LONG: lambda value: b"\x58" + varint(value & _U64),
    Kind.FLOAT: lambda value: b"\x65" + _FLOAT.pack(value),
    Kind.DOUBLE: lambda value: b"\x69" + _DOUBLE.pack(value),
    Kind.BOOLEAN: lambda value: b"\x70\x01" if value else b"\x70\x00",
    Kind.STRING: lambda value: _string(15, value),
    Kind.BYTES: lambda value: _block(16, value),
    Kind.DATASET: lambda value: _block(17, _dataset_body(value)),
    Kind.TEMPLATE: lambda value: _block(18, _template_body(value)),
}


def _scalar_field(first: int, kind: int, value: Any) -> bytes:
    field = first + kind - Kind.INT
    if kind == Kind.NONE:
        return b""
    if kind == Kind.FLOAT:
        return varint(field << 3 | _FIXED32) + _FLOAT.pack(value)
    if kind == Kind.DOUBLE:
        return varint(field << 3 | _FIXED64) + _DOUBLE.pack(value)
    if kind == Kind.STRING:
        return _string(field, value)
    return _number(field, int(value) & (_U32 if kind == Kind.INT else _U64))


def _metadata_body(metadata: MetaData) -> bytes:
    parts = []
    for key, name in METADATA_FIELDS.items():
        value = getattr(metadata, name)
        if value is not None:
            parts.append(_string(key >> 3, value) if key & 7 == _BYTES else _number(key >> 3, int(value)))
    return b"".join(parts)


def properties_body(properties: PropertySet) -> bytes:
    keys = [_string(1, key) for key in properties.keys]
    return b"".join(keys + [_block(2, _property_body(value)) for value in properties.values])


def _property_body(found: Property) -> bytes:
    value: Any = found.value
    head = _number(1, found.type) if found.type is not None else b""
    if found.is_null:
        return head + b"\x10\x01"
    if found.kind == PROPERTY_SET:
        return head + _block(9, properties_body(value))
    if found.kind == PROPERTY_SET_LIST:
        return head + _block(10, b"".join(_block(1, properties_body(one)) for one in value))
    return head + _scalar_field(3, found.kind, value)


def _dataset_body(dataset: DataSet) -> bytes:
    parts = [_number(1, len(dataset.columns))]
    parts += [_string(2, name) for name in dataset.columns]
    parts += [_number(3, type_) for type_ in dataset.types]
    for row in dataset.rows:
        cells = [_block(1, _scalar_field(1, kind, value)) for kind, value in row]
        parts.append(_block(4, b"".join(cells)))
    return b"".join(parts)


def _template_body(template: Template) -> bytes:
    parts = [_string(1, template.version)] if template.version is not None else []
    parts += [_block(2, metric_body(metric)) for metric in template.metrics]
    parts += [_block(3, _parameter_body(parameter)) for parameter in template.parameters]
    if template.template_ref is not None:
        parts.append(_string(4, template.template_ref))
    if template.is_definition is not None:
        parts.append(b"\x28\x01" if template.is_definition else b"\x28\x00")
    return b"".join(parts)


def _parameter_body(parameter: Parameter) -> bytes:
    head = _string(1, parameter.name) if parameter.name is not None else b""
    if parameter.type is not None:
        head += _number(2, parameter.type)
    return head + _scalar_field(3, parameter.kind, parameter.value)
