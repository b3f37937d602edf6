"""Payloads of Sparkplug B as protobuf bytes and back, by hand: the field numbers are those of the specification, §6.2.

Theory. Nine of ten messages are data: an alias, a time, a value, some twenty bytes a metric. The reader therefore looks
at whole key bytes (field number and wire type at once) in order of their frequency, and remembers the last time it
read. ``bench/mqtt.py`` measures it.

Any bytes give a payload or a ``SparkplugError``. Fields that are not known are skipped, as protobuf demands.
"""

from __future__ import annotations

from drivers.mqtt._sparkplug_read import PAYLOAD_BYTES_MAX, decode_payload
from drivers.mqtt._sparkplug_write import (
    assemble,
    encode_metric,
    encode_payload,
    metric_body,
    properties_body,
    value_field,
    varint,
)

__all__ = [
    "PAYLOAD_BYTES_MAX",
    "assemble",
    "decode_payload",
    "encode_metric",
    "encode_payload",
    "metric_body",
    "properties_body",
    "value_field",
    "varint",
]
