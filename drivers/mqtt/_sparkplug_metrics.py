"""The metrics of an edge node as its births declared them: aliases to names and types, values with time and quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from drivers.mqtt.sparkplug import (
    BDSEQ,
    QUALITY,
    QUALITY_BAD,
    QUALITY_GOOD,
    DataType,
    Kind,
    Metric,
    Payload,
    PropertySet,
    SparkplugError,
    Template,
)
from drivers.mqtt.sparkplug_values import KIND_OF, from_wire

METRICS_MAX = 1_000_000  # of a node
_EXACT = frozenset(
    {DataType.DOUBLE, DataType.FLOAT, DataType.BOOLEAN, DataType.STRING, DataType.TEXT, DataType.UUID}
)


class HostMetric:
    """A metric that a host knows. ``tag`` is the host's own number for it. Members of templates are metrics too."""

    __slots__ = ("alias", "datatype", "description", "device", "exact", "member", "name", "properties", "tag")

    def __init__(self, name: str, device: str, datatype: int, alias: int | None, member: bool) -> None:
        self.name = name
        self.device = device
        self.datatype = datatype
        self.alias = alias
        self.member = member  # of a template instance: its name is ``instance/member``
        self.exact = (
            int(KIND_OF[datatype]) if datatype in _EXACT else -1
        )  # the kind whose content is the value
        self.properties: PropertySet | None = None
        self.description = ""
        self.tag = -1

    def property(self, key: str) -> Any:
        """The value of a property, None if it has none."""
        found = self.properties.get(key) if self.properties is not None else None
        if found is None or found.is_null:
            return None
        if found.type in KIND_OF and found.kind == KIND_OF[found.type]:
            return from_wire(found.type, found.kind, found.value)
        return found.value


class Sample(NamedTuple):
    """A value as the node says it; None with a quality that is not good."""

    metric: HostMetric
    value: Any
    time_ms: int
    quality: int


class UnknownMetricError(Exception):
    """Data named a metric that no birth declared; ``now`` and ``past``: the samples of those that it did."""

    def __init__(self, now: list[Sample], past: list[Sample]) -> None:
        super().__init__("unknown metric")
        self.now, self.past = now, past


class MetricTable:
    """All metrics of one node in its present session."""

    def __init__(self) -> None:
        self._by_alias: dict[int, HostMetric] = {}
        self._by_name: dict[tuple[str, str], HostMetric] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, device: str, name: str) -> HostMetric | None:
        return self._by_name.get((device, name))

    def by_alias(self, alias: int) -> HostMetric | None:
        return self._by_alias.get(alias)

    def metrics(self, device: str | None = None) -> Iterator[HostMetric]:
        """All that are declared, or those of a device ("": of the node itself)."""
        return (one for one in self._by_name.values() if device is None or one.device == device)

    # ------------------------------------------------------------ births

    def birth(
        self, device: str, content: Payload, now_ms: int
    ) -> tuple[tuple[HostMetric, ...], list[Sample]]:
        """Declares the metrics of the node or of a device anew. Raises SparkplugError; then nothing is declared."""
        declared: list[HostMetric] = []
        samples: list[Sample] = []
        taken = {alias for alias, metric in self._by_alias.items() if metric.device != device}
        for metric in content.metrics:
            if metric.name is None:
                raise SparkplugError("a metric of a birth has no name")
            if metric.name == BDSEQ and not device:
                continue
            if metric.alias is not None:
                if metric.alias in taken:
                    raise SparkplugError(f"two metrics have the alias {metric.alias}")
                taken.add(metric.alias)
            for found, sample in _declare(metric, metric.name, device, now_ms, top=True):
                declared.append(found)
                samples.append(sample)
        others = sum(1 for owner, _ in self._by_name if owner != device)
        if len(declared) + others > METRICS_MAX:
            raise SparkplugError(f"more than {METRICS_MAX} metrics")
        self._replace(device, declared)
        return tuple(declared), samples

    def _replace(self, device: str, declared: list[HostMetric]) -> None:
        self._by_name = {key: one for key, one in self._by_name.items() if key[0] != device}
        self._by_alias = {alias: one for alias, one in self._by_alias.items() if one.device != device}
        for one in declared:
            self._by_name[device, one.name] = one
            if one.alias is not None:
                self._by_alias[one.alias] = one

    # ------------------------------------------------------------ data

    def data(self, device: str, content: Payload, now_ms: int) -> tuple[list[Sample], list[Sample]]:
        """Present and historical samples. Raises UnknownMetricError after taking all that is known."""
        now: list[Sample] = []
        past: list[Sample] = []
        unknown = False
        message_ms = content.timestamp or now_ms
        by_alias, by_name = self._by_alias, self._by_name
        for metric in content.metrics:
            alias = metric.alias
            known = by_alias.get(alias) if alias is not None else by_name.get((device, metric.name or ""))
            target = past if metric.is_historical else now
            if known is None or known.device != device:
                if isinstance(metric.value, Template) and self._members(device, metric, message_ms, target):
                    continue
                unknown = True
            elif metric.kind == known.exact and metric.properties is None and not metric.is_null:
                target.append(Sample(known, metric.value, metric.timestamp or message_ms, QUALITY_GOOD))
            elif isinstance(metric.value, Template):
                unknown |= not self._members(device, metric, message_ms, target, known)
            else:
                target.append(_sample(known, metric, message_ms))
        if unknown:
            raise UnknownMetricError(now, past)
        return now, past

    def _members(
        self,
        device: str,
        metric: Metric,
        message_ms: int,
        target: list[Sample],
        known: HostMetric | None = None,
    ) -> bool:
        """The members of a template instance that a data message has; False if one of them is not declared."""
        name = known.name if known is not None else metric.name
        if name is None or not isinstance(metric.value, Template):
            return False
        complete = True
        for path, member in _flat(metric.value, name):
            found = self._by_name.get((device, path))
            if found is None:
                complete = False
                continue
            target.append(_sample(found, member, metric.timestamp or message_ms))
        return complete


def _declare(
    metric: Metric, name: str, device: str, now_ms: int, *, top: bool
) -> Iterator[tuple[HostMetric, Sample]]:
    """The metric, or for a template instance a metric for itself (its alias) and one for each member."""
    datatype = metric.datatype
    if datatype is None or (datatype not in KIND_OF and datatype != DataType.UNKNOWN):
        raise SparkplugError(f"the metric {name} has the data type {datatype}")
    template = metric.value if isinstance(metric.value, Template) else None
    if template is not None and template.is_definition:
        return
    found = HostMetric(name, device, datatype, metric.alias if top else None, not top)
    found.properties = metric.properties
    found.description = (metric.metadata.description or "") if metric.metadata is not None else ""
    at = metric.timestamp or now_ms
    if template is None:
        yield found, _sample(found, metric, at)
        return
    yield found, Sample(found, template.template_ref or "", at, QUALITY_GOOD)
    for path, member in _flat(template, name):
        yield from _declare(member, path, device, at, top=False)


def _flat(template: Template, name: str) -> Iterator[tuple[str, Metric]]:
    """The members that are no templates themselves, with their names below ``name``."""
    for member in template.metrics:
        path = f"{name}/{member.name or ''}"
        if isinstance(member.value, Template):
            yield from _flat(member.value, path)
        else:
            yield path, member


def _sample(known: HostMetric, metric: Metric, default_ms: int) -> Sample:
    at = metric.timestamp or default_ms
    quality = _quality(metric.properties)
    if metric.is_null or metric.kind == Kind.NONE:
        return Sample(known, None, at, quality if quality != QUALITY_GOOD else QUALITY_BAD)
    try:
        return Sample(known, from_wire(known.datatype, metric.kind, metric.value), at, quality)
    except SparkplugError:
        return Sample(known, None, at, QUALITY_BAD)


def _quality(properties: PropertySet | None) -> int:
    found = properties.get(QUALITY) if properties is not None else None
    if found is None or not isinstance(found.value, int):
        return QUALITY_GOOD
    return found.value if found.value in (QUALITY_GOOD, 500) else QUALITY_BAD
