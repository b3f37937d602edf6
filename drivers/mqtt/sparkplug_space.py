"""What an edge node publishes: its metrics with aliases and present values, ready to be written.

Theory. A symbol table becomes *items*, one a leaf. An item is a metric of its own, or a member of a template instance;
it belongs to the node or to one device. All that never changes of a metric is encoded once, so that a data message is
three short copies a metric, and a birth of ten thousand metrics a fraction of a second.
"""

from __future__ import annotations

import bisect
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from drivers.mqtt.sparkplug import (
    QUALITY,
    QUALITY_GOOD,
    DataType,
    Kind,
    MetaData,
    Metric,
    Property,
    PropertySet,
    Template,
)
from drivers.mqtt.sparkplug_codec import encode_metric, metric_body, properties_body, value_field, varint
from drivers.mqtt.sparkplug_values import KIND_OF, to_wire

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")


class Item(msgspec.Struct, frozen=True):
    """A leaf. ``owner``: its device, "" for the node. ``instance``: the template instance that it is part of."""

    name: str
    datatype: int
    owner: str = ""
    instance: str = ""
    template: str = ""  # of the instance
    member: str = ""  # its name in the template
    writable: bool = False
    description: str = ""
    properties: tuple[tuple[str, int, object], ...] = ()  # (key, data type, value)


class Definition(msgspec.Struct, frozen=True):
    """A template: its members with their data types, in order."""

    name: str
    members: tuple[tuple[str, int], ...]


class Unit(msgspec.Struct):
    """A metric: one item, or all items of a template instance."""

    name: str
    alias: int
    owner: str
    rows: list[int]
    template: str = ""


class Space:
    """Items with their present values. Rows are positions in ``items``; times in UTC ms, quality 0, 192 or 500."""

    def __init__(
        self, items: Sequence[Item], definitions: Sequence[Definition] = (), devices: Sequence[str] = ()
    ) -> None:
        self.items = tuple(items)
        self.definitions = {one.name: one for one in definitions}
        self.devices = tuple(devices)
        count = len(self.items)
        self.values: list[Any] = [None] * count
        self.times: list[int] = [0] * count
        self.quality: list[int] = [QUALITY_GOOD] * count
        self._told: list[int] = [QUALITY_GOOD] * count  # the quality that the hosts know
        self.units, self.unit_of = _units(self.items)
        self.by_name = {(unit.owner, unit.name): unit for unit in self.units}
        self.by_alias = {unit.alias: unit for unit in self.units}
        self.row_of = {(item.owner, item.name): row for row, item in enumerate(self.items)}
        self._alias = [b"\x10" + varint(self.units[unit].alias) for unit in self.unit_of]
        self._writers = [_writer(item.datatype) for item in self.items]
        self._single = [not item.instance for item in self.items]
        self._heads: list[bytes] = []  # of births: name, alias, data type, description
        self._property_fields: dict[tuple[object, int], bytes] = {}

    def set(self, row: int, value: Any, time_ms: int, quality: int) -> None:
        self.values[row], self.times[row], self.quality[row] = value, time_ms, quality

    # ------------------------------------------------------------ data

    def data(self, rows: Sequence[int]) -> dict[str, list[bytes]]:
        """Metrics of a data message for the present values of these rows, by owner, in the order of their times."""
        times, values, quality, told = self.times, self.values, self.quality, self._told
        found: dict[str, list[bytes]] = {}
        parts: dict[int, list[int]] = {}
        last_ms, time_field = -1, b""
        for row in rows if _in_order(times, rows) else sorted(rows, key=times.__getitem__):
            if not self._single[row]:
                parts.setdefault(self.unit_of[row], []).append(row)
                continue
            if times[row] != last_ms:
                last_ms = times[row]
                time_field = b"\x18" + varint(last_ms)
            value = values[row]
            body = (
                self._alias[row] + time_field + (b"\x38\x01" if value is None else self._writers[row](value))
            )
            if quality[row] != QUALITY_GOOD or told[row] != QUALITY_GOOD:
                told[row] = quality[row]
                body += _quality_field(quality[row])
            owner = self.items[row].owner
            metrics = found.get(owner)
            if metrics is None:
                metrics = found[owner] = []
            size = len(body)
            metrics.append((b"\x12" + bytes((size,)) if size < 128 else b"\x12" + varint(size)) + body)
        if parts:
            self._add_instances(found, parts, rows)
        return found

    def _add_instances(
        self, found: dict[str, list[bytes]], parts: dict[int, list[int]], rows: Sequence[int]
    ) -> None:
        """Template instances among the other metrics, each at the place of its time."""
        at: dict[str, list[int]] = {}
        for row in rows:
            if self._single[row]:
                at.setdefault(self.items[row].owner, []).append(self.times[row])
        for index, members in parts.items():
            unit = self.units[index]
            metric = self._instance(unit, members, birth=False)
            times = at.setdefault(unit.owner, [])
            times.sort()
            place = bisect.bisect_right(times, metric.timestamp or 0)
            times.insert(place, metric.timestamp or 0)
            found.setdefault(unit.owner, []).insert(place, encode_metric(metric))

    def historical(self, row: int, value: Any, time_ms: int, quality: int) -> bytes:
        """A metric of a data message about the past."""
        item = self.items[row]
        if item.instance:
            unit = self.units[self.unit_of[row]]
            return encode_metric(
                Metric(
                    None, unit.alias, time_ms, None, Kind.TEMPLATE,
                    Template(None, [_member(item, value, time_ms)], [], unit.template, False), is_historical=True,
                )
            )  # fmt: skip
        body = self._alias[row] + b"\x18" + varint(time_ms) + b"\x28\x01"
        body += b"\x38\x01" if value is None else self._writers[row](value)
        if quality != QUALITY_GOOD:
            body += _quality_field(quality)
        return b"\x12" + varint(len(body)) + body

    # ------------------------------------------------------------ birth

    def birth(self, owner: str, now_ms: int) -> list[bytes]:
        """All metrics of the node ("") or of a device, by time; the node's with all template definitions before."""
        units = [unit for unit in self.units if unit.owner == owner]
        for unit in units:
            for row in unit.rows:
                if self.times[row] == 0:
                    self.times[row] = now_ms
                self._told[row] = self.quality[row]
        units.sort(key=self._unit_time)
        first_ms = self._unit_time(units[0]) if units else now_ms
        metrics = (
            [] if owner else [encode_metric(_definition(one, first_ms)) for one in self.definitions.values()]
        )
        metrics += [self._birth_metric(unit) for unit in units]
        return metrics

    def _unit_time(self, unit: Unit) -> int:
        return max(self.times[row] for row in unit.rows)

    def _birth_metric(self, unit: Unit) -> bytes:
        if unit.template:
            return encode_metric(self._instance(unit, unit.rows, birth=True))
        row = unit.rows[0]
        item, value = self.items[row], self.values[row]
        body = (
            self._head(row)
            + b"\x18"
            + varint(self.times[row])
            + self._property_field(item, self.quality[row])
        )
        body += b"\x38\x01" if value is None else self._writers[row](value)
        return b"\x12" + varint(len(body)) + body

    def _head(self, row: int) -> bytes:
        if not self._heads:
            self._heads = [
                _head(item, self.units[unit]) for item, unit in zip(self.items, self.unit_of, strict=True)
            ]
        return self._heads[row]

    def _property_field(self, item: Item, quality: int) -> bytes:
        """Many variables have the same unit and limits."""
        key = (item.properties, quality)
        field = self._property_fields.get(key)
        if field is None:
            body = properties_body(_properties(item, quality))
            field = self._property_fields[key] = b"\x4a" + varint(len(body)) + body
        return field

    def _instance(self, unit: Unit, rows: Iterable[int], *, birth: bool) -> Metric:
        rows = list(rows)
        members = [_member(self.items[row], self.values[row], self.times[row]) for row in rows]
        for member, row in zip(members, rows, strict=True):
            if birth:
                member.datatype = self.items[row].datatype
            if birth or self.quality[row] != QUALITY_GOOD or self._told[row] != QUALITY_GOOD:
                self._told[row] = self.quality[row]
                member.properties = _properties(self.items[row] if birth else None, self.quality[row])
        return Metric(
            unit.name if birth else None,
            unit.alias,
            max(self.times[row] for row in rows),
            DataType.TEMPLATE if birth else None,
            Kind.TEMPLATE,
            Template(None, members, [], unit.template, False),
        )


def _in_order(times: Sequence[int], rows: Sequence[int]) -> bool:
    last = 0
    for row in rows:
        if times[row] < last:
            return False
        last = times[row]
    return True


def _units(items: Sequence[Item]) -> tuple[list[Unit], list[int]]:
    """The metrics with their aliases, and the metric of each item."""
    units: list[Unit] = []
    index_of: dict[tuple[str, str], int] = {}
    unit_of = []
    for row, item in enumerate(items):
        key = (item.owner, item.instance or item.name)
        index = index_of.get(key)
        if index is None:
            index = index_of[key] = len(units)
            units.append(Unit(key[1], index, item.owner, [], item.template))
        units[index].rows.append(row)
        unit_of.append(index)
    return units, unit_of


def _member(item: Item, value: Any, time_ms: int) -> Metric:
    null = value is None
    kind = Kind.NONE if null else KIND_OF[item.datatype]
    return Metric(
        item.member, None, time_ms, None, kind, None if null else to_wire(item.datatype, value), null
    )


def _definition(definition: Definition, time_ms: int) -> Metric:
    members = [Metric(name, None, time_ms, datatype, is_null=True) for name, datatype in definition.members]
    return Metric(
        definition.name,
        None,
        time_ms,
        DataType.TEMPLATE,
        Kind.TEMPLATE,
        Template(None, members, [], None, True),
    )


def _properties(item: Item | None, quality: int) -> PropertySet:
    found = PropertySet([QUALITY], [Property(DataType.INT32, Kind.INT, quality)])
    for key, datatype, value in item.properties if item is not None else ():
        found.keys.append(key)
        found.values.append(Property(datatype, KIND_OF[datatype], to_wire(datatype, value)))
    return found


def _head(item: Item, unit: Unit) -> bytes:
    metadata = MetaData(description=item.description) if item.description else None
    return metric_body(Metric(unit.name, unit.alias, None, item.datatype, metadata=metadata))


def _quality_field(quality: int) -> bytes:
    body = properties_body(PropertySet([QUALITY], [Property(DataType.INT32, Kind.INT, quality)]))
    return b"\x4a" + varint(len(body)) + body


def _writer(datatype: int) -> Callable[[Any], bytes]:
    """Writes a value that is known to fit."""
    if datatype == DataType.DOUBLE:
        return lambda value: b"\x69" + _DOUBLE.pack(value)
    if datatype == DataType.FLOAT:
        return lambda value: b"\x65" + _FLOAT.pack(value)
    if datatype == DataType.BOOLEAN:
        return lambda value: b"\x70\x01" if value else b"\x70\x00"
    kind = KIND_OF[datatype]
    return lambda value: value_field(kind, to_wire(datatype, value))
