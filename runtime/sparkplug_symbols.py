"""The symbol table of a program as the metrics of a Sparkplug edge node, and values between the two."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import msgspec

from drivers.mqtt.edge_config import ROLES, SparkplugSection
from drivers.mqtt.sparkplug import DataType, SparkplugError, id_fault
from drivers.mqtt.sparkplug_space import Definition, Item, Space
from scan.abi import Application, IecType, Symbol
from scan.iomap import Channel, IoMap

T, D = IecType, DataType
NS_PER_MS = 1_000_000
ARRAY_ELEMENTS_MAX = 10_000

SCALAR: dict[IecType, DataType] = {
    T.BOOL: D.BOOLEAN, T.SINT: D.INT8, T.INT: D.INT16, T.DINT: D.INT32, T.LINT: D.INT64, T.USINT: D.UINT8,
    T.UINT: D.UINT16, T.UDINT: D.UINT32, T.ULINT: D.UINT64, T.BYTE: D.UINT8, T.WORD: D.UINT16, T.DWORD: D.UINT32,
    T.LWORD: D.UINT64, T.REAL: D.FLOAT, T.LREAL: D.DOUBLE, T.TIME: D.INT64, T.LTIME: D.INT64, T.TOD: D.INT64,
    T.LTOD: D.INT64, T.DATE: D.DATETIME, T.LDATE: D.DATETIME, T.DT: D.DATETIME, T.LDT: D.DATETIME, T.CHAR: D.UINT8,
    T.WCHAR: D.UINT16, T.STRING: D.STRING, T.WSTRING: D.STRING,
}  # fmt: skip
ARRAY: dict[DataType, DataType] = {
    D.BOOLEAN: D.BOOLEANARRAY, D.INT8: D.INT8ARRAY, D.INT16: D.INT16ARRAY, D.INT32: D.INT32ARRAY,
    D.INT64: D.INT64ARRAY, D.UINT8: D.UINT8ARRAY, D.UINT16: D.UINT16ARRAY, D.UINT32: D.UINT32ARRAY,
    D.UINT64: D.UINT64ARRAY, D.FLOAT: D.FLOATARRAY, D.DOUBLE: D.DOUBLEARRAY, D.STRING: D.STRINGARRAY,
    D.DATETIME: D.DATETIMEARRAY,
}  # fmt: skip
_NANOSECONDS = frozenset({T.TIME, T.LTIME, T.TOD, T.LTOD})


class Metrics(msgspec.Struct, frozen=True):
    """``symbols[row]`` is what ``space.items[row]`` shows."""

    space: Space
    symbols: tuple[Symbol, ...]
    row_of: dict[tuple[str, str], int]


def metrics_of(application: Application | None, section: SparkplugSection, channels: IoMap) -> Metrics:
    """All selected variables; () while the node is empty."""
    if application is None:
        return Metrics(Space(()), (), {})
    symbols = [one for one in application.symbols if _is_shown(one, section)]
    owners = _owners(application, channels) if section.devices else {}
    groups = _structures(application, symbols) if section.templates else {}
    definitions, instances = _templates(groups, symbols, owners)
    items = tuple(_item(one, section, owners.get(one.path, ""), instances.get(one.path)) for one in symbols)
    devices = tuple(dict.fromkeys(item.owner for item in items if item.owner))
    space = Space(items, definitions, devices)
    return Metrics(space, tuple(symbols), {(item.owner, item.name): row for row, item in enumerate(items)})


def _is_shown(symbol: Symbol, section: SparkplugSection) -> bool:
    if symbol.access == "none" or symbol.constant or symbol.type not in SCALAR:
        return False
    count = 1
    for low, high in symbol.dims:
        count *= high - low + 1
    if count > ARRAY_ELEMENTS_MAX:
        return False
    return _matches(symbol.path, section.tags) and not _matches(symbol.path, section.exclude)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.upper(), pattern.upper()) for pattern in patterns)


# ---------------------------------------------------------------- devices


def _owners(application: Application, channels: IoMap) -> dict[str, str]:
    """The field device of each variable in the process image."""
    places: dict[tuple[str, int, int], str] = {}
    for channel in (*channels.inputs, *channels.outputs):
        device = channel.device if not id_fault(channel.device) else ""
        for place in _places(channel):
            places.setdefault(place, device)
    found = {}
    for symbol in application.symbols:
        for direction, region in (("in", application.inputs), ("out", application.outputs)):
            offset = symbol.offset - region.offset
            if 0 <= offset < region.size:
                device = places.get((direction, offset, symbol.bit), places.get((direction, offset, -1), ""))
                if device:
                    found[symbol.path] = device
    return found


def _places(channel: Channel) -> list[tuple[str, int, int]]:
    if channel.bit >= 0:
        return [(channel.direction, channel.offset, channel.bit)]
    return [(channel.direction, byte, -1) for byte in range(channel.offset, channel.offset + channel.size)]


# ---------------------------------------------------------------- templates


def _structures(application: Application, symbols: Sequence[Symbol]) -> dict[str, tuple[str, list[Symbol]]]:
    """(type, leaves) of each outermost structure variable by its path; those inside are part of it."""
    kinds = {one.path: one for one in application.aggregates}
    found: dict[str, tuple[str, list[Symbol]]] = {}
    for symbol in symbols:
        path = _outermost(symbol.path, kinds)
        if path:
            found.setdefault(path, (kinds[path].type_name, []))[1].append(symbol)
    return found


def _outermost(path: str, kinds: dict[str, Any]) -> str:
    for at, character in enumerate(path):
        if character == "." and (found := kinds.get(path[:at])) is not None and found.kind == "struct":
            return path[:at]
    return ""


def _templates(
    groups: dict[str, tuple[str, list[Symbol]]], symbols: Sequence[Symbol], owners: dict[str, str]
) -> tuple[list[Definition], dict[str, tuple[str, str]]]:
    """Definitions, and (instance, template) of each leaf. Structures of which a part is not shown have their own."""
    definitions: dict[tuple[str, tuple[tuple[str, int], ...]], str] = {}
    instances: dict[str, tuple[str, str]] = {}
    taken: dict[str, int] = {}
    for path, (type_name, leaves) in groups.items():
        if len({owners.get(leaf.path, "") for leaf in leaves}) > 1:
            continue  # parts of it belong to different devices: plain metrics
        members = tuple((leaf.path[len(path) + 1 :], int(_datatype(leaf))) for leaf in leaves)
        name = definitions.get((type_name, members))
        if name is None:
            taken[type_name] = taken.get(type_name, 0) + 1
            name = type_name if taken[type_name] == 1 else f"{type_name}_{taken[type_name]}"
            definitions[type_name, members] = name
        for leaf in leaves:
            instances[leaf.path] = (path, name)
    return [Definition(name, members) for (_, members), name in definitions.items()], instances


# ---------------------------------------------------------------- items


def _datatype(symbol: Symbol) -> DataType:
    scalar = SCALAR[symbol.type]
    return ARRAY[scalar] if symbol.dims else scalar


def _item(symbol: Symbol, section: SparkplugSection, owner: str, instance: tuple[str, str] | None) -> Item:
    path, template = instance or ("", "")
    return Item(
        name=symbol.path,
        datatype=int(_datatype(symbol)),
        owner=owner,
        instance=path,
        template=template,
        member=symbol.path[len(path) + 1 :] if path else "",
        writable=_may_write(symbol, section),
        description=symbol.comment,
        properties=_properties(symbol, section),
    )


def _may_write(symbol: Symbol, section: SparkplugSection) -> bool:
    if symbol.access != "rw" or not _matches(symbol.path, section.writable):
        return False
    wanted = symbol.write_role
    return wanted not in ROLES or ROLES.index(section.role) >= ROLES.index(wanted)


def _properties(symbol: Symbol, section: SparkplugSection) -> tuple[tuple[str, int, object], ...]:
    found: list[tuple[str, int, object]] = []
    unit = symbol.unit or ("ns" if symbol.type in _NANOSECONDS else "")
    if unit:
        found.append(("engUnit", D.STRING, unit))
    if symbol.low is not None:
        found.append(("engLow", D.DOUBLE, float(symbol.low)))
    if symbol.high is not None:
        found.append(("engHigh", D.DOUBLE, float(symbol.high)))
    if symbol.enum_values:
        found.append(("enum", D.STRING, ", ".join(f"{number}={name}" for name, number in symbol.enum_values)))
    found.append(("readOnly", D.BOOLEAN, not _may_write(symbol, section)))
    return tuple(found)


# ---------------------------------------------------------------- values


def to_metric(symbol: Symbol, value: Any) -> Any:
    """A value of the block as its metric has it; None for a date before 1970, which Sparkplug cannot say."""
    if SCALAR[symbol.type] != D.DATETIME:
        return value
    if symbol.dims:
        return [max(one // NS_PER_MS, 0) for one in value]
    return value // NS_PER_MS if value >= 0 else None


def from_metric(symbol: Symbol, value: Any) -> Any:
    """A value of the block from a command. Raises SparkplugError when it is outside the variable's limits."""
    if SCALAR[symbol.type] == D.DATETIME:
        value = [one * NS_PER_MS for one in value] if symbol.dims else value * NS_PER_MS
    for one in value if isinstance(value, list) else [value]:
        _check_limits(symbol, one)
    return value


def _check_limits(symbol: Symbol, value: Any) -> None:
    if isinstance(value, str | bool):
        return
    if symbol.enum_values and value not in {number for _, number in symbol.enum_values}:
        raise SparkplugError(f"{value} is no value of {symbol.type_name}")
    low = symbol.low is not None and not value >= symbol.low
    if low or (symbol.high is not None and not value <= symbol.high):
        raise SparkplugError(f"{value} is outside the limits of {symbol.path}")
