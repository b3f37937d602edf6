"""Metrics of a Sparkplug node as tags of a runtime: types, names and values between the two worlds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from drivers.mqtt._sparkplug_metrics import HostMetric, Sample
from drivers.mqtt.sparkplug import QUALITY_GOOD, QUALITY_STALE, DataSet, DataType, SparkplugError, Template
from runtime.link import Batch, Describe, Tag
from scan import quality as q
from scan.abi import IecType, Symbol
from scan.values import parse_literal

NS_PER_MS = 1_000_000
TEXT_MAX = 4000  # characters of a value that is shown as text
STRING_MAX = 254

D, T = DataType, IecType
TYPES: dict[int, IecType] = {
    D.INT8: T.SINT, D.INT16: T.INT, D.INT32: T.DINT, D.INT64: T.LINT, D.UINT8: T.USINT, D.UINT16: T.UINT,
    D.UINT32: T.UDINT, D.UINT64: T.ULINT, D.FLOAT: T.REAL, D.DOUBLE: T.LREAL, D.BOOLEAN: T.BOOL, D.DATETIME: T.LDT,
}  # fmt: skip
WRITABLE = frozenset({*TYPES, D.STRING, D.TEXT, D.UUID})
_QUALITY = {QUALITY_GOOD: q.GOOD, QUALITY_STALE: q.UNCERTAIN_LAST_USABLE}


def path_of(metric: HostMetric) -> str:
    """Metrics of a device stand below its name."""
    return f"{metric.device}/{metric.name}" if metric.device else metric.name


def type_of(metric: HostMetric) -> IecType:
    return TYPES.get(metric.datatype, IecType.STRING)


def describe(name: str, metrics: Sequence[HostMetric], devices: Sequence[str], version: str) -> Describe:
    """Numbers the metrics: ``HostMetric.tag`` is the id of the tag. Equal lists have an equal digest."""
    tags = []
    for number, metric in enumerate(metrics):
        metric.tag = number
        tags.append(
            Tag(
                number, path_of(metric), int(type_of(metric)), str(metric.property("engUnit") or "")[:40],
                _number(metric.property("engLow")), _number(metric.property("engHigh")), is_writable(metric),
                metric.description[:400],
            )
        )  # fmt: skip
    facts = msgspec.msgpack.encode(
        [(tag.path, tag.type, tag.unit, tag.low, tag.high, tag.writable) for tag in tags]
    )
    digest = hashlib.sha256(facts).hexdigest()
    return Describe(name, digest, "", tuple(tags), (), tuple(devices), version)


def is_writable(metric: HostMetric) -> bool:
    """Sparkplug has no word for it; the property is what many nodes say. Who does not say may refuse."""
    return metric.datatype in WRITABLE and not metric.member and metric.property("readOnly") is not True


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def batch(seq: int, digest: str, samples: Sequence[Sample], *, historical: bool) -> Batch:
    """Samples of metrics that have a tag."""
    rows = [one for one in samples if one.metric.tag >= 0]
    count = len(rows)
    values = np.full(count, np.nan)
    texts: list[tuple[int, str]] = []
    for index, sample in enumerate(rows):
        value = sample.value
        kind = type(value)
        if kind is float or kind is bool:
            values[index] = value
        elif kind is int:
            values[index] = value * NS_PER_MS if sample.metric.datatype == DataType.DATETIME else value
        elif value is not None:
            texts.append((index, shown(value)))
    return Batch(
        seq,
        digest,
        np.array([one.metric.tag for one in rows], "<u4").tobytes(),
        (np.array([min(one.time_ms, 2**53) for one in rows], "<i8") * NS_PER_MS).tobytes(),
        values.astype("<f8").tobytes(),
        np.array([_QUALITY.get(one.quality, q.BAD) for one in rows], "<u2").tobytes(),
        tuple(texts),
        historical,
    )


def shown(value: Any) -> str:
    """Arrays, data sets and bytes as text."""
    if isinstance(value, str):
        return value[:TEXT_MAX]
    if isinstance(value, bytes):
        return value[: TEXT_MAX // 2].hex()
    if isinstance(value, DataSet):
        rows = [[cell for _, cell in row] for row in value.rows]
        return msgspec.json.encode({"columns": value.columns, "rows": rows}).decode()[:TEXT_MAX]
    if isinstance(value, Template):
        return value.template_ref or ""
    plain = [None if isinstance(one, float) and not math.isfinite(one) else one for one in value]
    return msgspec.json.encode(plain).decode()[:TEXT_MAX]


def parse_value(metric: HostMetric, text: str) -> Any:
    """The value of an IEC literal as the metric has it. Raises TickworkError or SparkplugError."""
    if metric.datatype not in WRITABLE or metric.member:
        raise SparkplugError(f"{metric.name} cannot be written by its type")
    kind = type_of(metric)
    symbol = Symbol(path_of(metric), kind, 0, STRING_MAX + 1 if kind == T.STRING else 8, length=STRING_MAX)
    if kind in (T.SINT, T.USINT, T.BOOL):
        symbol = msgspec.structs.replace(symbol, size=1)
    value = parse_literal(symbol, text)
    return value // NS_PER_MS if kind == T.LDT and isinstance(value, int) else value


def same(metric: HostMetric, wanted: Any, found: Any) -> bool:
    """Whether data confirm a command: exactly, but for the precision of a Float."""
    if isinstance(wanted, float) or isinstance(found, float):
        if not isinstance(wanted, int | float) or not isinstance(found, int | float):
            return False
        tolerance = 1e-6 if metric.datatype == DataType.FLOAT else 1e-12
        return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=1e-30)
    return bool(wanted == found)
