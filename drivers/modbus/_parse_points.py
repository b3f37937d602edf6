"""``[[device.point]]`` and ``[[device.scan]]``: typed points, joined into as few requests as their limits allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from drivers._places import point_location
from drivers._table import Table
from drivers.location import Location
from drivers.modbus.config import Point, ReadBlock, WriteBlock
from drivers.modbus.pdu import ADDRESSES, READ_BITS_MAX, READ_REGISTERS_MAX, Function
from drivers.modbus.points import KINDS, ORDERS, STORES
from scan.iomap import Channel

MS = 1_000_000
PERIOD_MS_MAX = 24 * 3600 * 1000
PRIORITIES = ("high", "normal", "low")
GAP_MAX = 8  # registers that are cheaper read along than asked for apart
WRITE_PRIORITY = -1  # before every read
STRING_REGISTERS_MAX = READ_REGISTERS_MAX
READ_FUNCTIONS = {
    "coils": Function.READ_COILS,
    "discrete-inputs": Function.READ_DISCRETE_INPUTS,
    "holding-registers": Function.READ_HOLDING_REGISTERS,
    "input-registers": Function.READ_INPUT_REGISTERS,
}
BIT_TABLES = ("coils", "discrete-inputs")


class ScanGroup(NamedTuple):
    """How often a set of points is read, and how far apart neighbours may be to share a request."""

    name: str
    period_ns: int
    phase_ns: int
    priority: int
    on_loss: str
    gap_max: int
    registers_max: int
    bits_max: int


class _Wanted(NamedTuple):
    function: str
    address: int
    point: Point


def parse_points(
    table: Table,
    device: str,
    template: Mapping[str, Mapping[str, object]],
    inputs: list[Channel],
    outputs: list[Channel],
) -> tuple[list[ReadBlock], list[WriteBlock]]:
    """The blocks for all ``[[device.point]]`` tables; their channels are appended."""
    order = table.choice("order", ORDERS, "ABCD")
    groups = _scan_groups(table)
    reads: dict[str, list[_Wanted]] = {}
    writes: list[WriteBlock] = []
    for item in table.tables("point"):
        name = item.text("name")
        item = item.with_defaults(template.get(name, {}))
        if "from" in item:
            writes.append(_output(item, name, device, order, outputs))
        else:
            group = item.choice("scan", tuple(groups), next(iter(groups)))
            reads.setdefault(group, []).append(_input(item, name, order))
        item.finish()
    blocks = [
        block for group, wanted in reads.items() for block in _coalesce(groups[group], wanted, device, inputs)
    ]
    return blocks, writes


def _scan_groups(table: Table) -> dict[str, ScanGroup]:
    gap_max = table.integer("gap_max", GAP_MAX, low=0, high=READ_REGISTERS_MAX)
    registers_max = table.integer("registers_max", READ_REGISTERS_MAX, low=1, high=READ_REGISTERS_MAX)
    groups = {}
    for item in table.tables("scan"):
        group = ScanGroup(
            name=item.text("name"),
            period_ns=item.integer("period_ms", low=1, high=PERIOD_MS_MAX) * MS,
            phase_ns=item.integer("phase_ms", 0, low=0, high=PERIOD_MS_MAX) * MS,
            priority=PRIORITIES.index(item.choice("priority", PRIORITIES, "normal")),
            on_loss=item.choice("on_loss", ("hold", "zero"), "hold"),
            gap_max=item.integer("gap_max", gap_max, low=0, high=READ_REGISTERS_MAX),
            registers_max=item.integer("registers_max", registers_max, low=1, high=READ_REGISTERS_MAX),
            bits_max=item.integer("bits_max", READ_BITS_MAX, low=1, high=READ_BITS_MAX),
        )
        item.finish()
        groups[group.name] = group
    default = ScanGroup("default", 100 * MS, 0, 1, "hold", gap_max, registers_max, READ_BITS_MAX)
    return groups or {"default": default}


# ---------------------------------------------------------------- one point


def _input(table: Table, name: str, order: str) -> _Wanted:
    function = table.choice("function", tuple(READ_FUNCTIONS))
    address = table.integer("address", low=0, high=ADDRESSES - 1)
    target = point_location(table, "to", "in")
    if function in BIT_TABLES:
        _expect_bit(table, target, "to")
        point = Point(name, 0, "bit", target.offset, 0, bit=max(target.bit, 0))
    else:
        point = _register_point(table, name, order, target, key="to")
    substitute = _image_value(table, "substitute", point) or b""
    return _Wanted(function, address, msgspec.structs.replace(point, substitute=substitute))


def _register_point(table: Table, name: str, order: str, place: Location, *, key: str) -> Point:
    kind = table.choice("type", (*KINDS, "bit", "string"), "bit" if place.bit >= 0 else "uint16")
    order = table.choice("order", ORDERS, order)
    if kind == "bit":
        bit = table.integer("bit", low=0, high=15)
        _expect_bit(table, place, key)
        return Point(name, 0, kind, place.offset, 0, bit=max(place.bit, 0), register_bit=bit, order=order)
    if kind == "string":
        registers = table.integer("registers", low=1, high=STRING_REGISTERS_MAX)
        return Point(name, 0, kind, place.offset, 2 * registers, order=order, registers=registers)
    registers, dtype = KINDS[kind]
    scale = table.number("scale", 1.0)
    if scale == 0:
        table.problem(
            "DV1003", "scale must not be 0", key="scale", remedy="leave scale out for the raw value"
        )
        scale = 1.0
    clamp = _pair(table, "clamp")
    store = _store(table, place, dtype, scaled=scale != 1.0 or "offset" in table)
    return Point(
        name, 0, kind, place.offset, place.size, order=order, registers=registers,
        scale=scale, deadband=_deadband(table), shift=table.number("offset", 0.0), low=clamp[0], high=clamp[1],
        store=store, invalid=_invalid(table),
    )  # fmt: skip


def _store(table: Table, place: Location, dtype: str, *, scaled: bool) -> str:
    """The numpy type of the value in the image: as told, or what suits the size of the location."""
    if "as" in table:
        store = STORES[table.choice("as", tuple(STORES))]
    elif "f" in dtype and not scaled:
        store = "<f8" if place.size == 8 else "<f4"  # a real is not rounded to an integer unless told
    elif scaled:
        store = {4: "<f4", 8: "<f8"}.get(place.size, f"<i{place.size}" if place.size in (1, 2) else "<i2")
    else:
        store = dtype if place.size == int(dtype[2:]) else f"{dtype[:2]}{place.size or 2}"
    if int(store[-1]) != place.size:
        table.problem(
            "DV1004",
            "the location is too wide or too narrow for the value",
            key="to" if "to" in table else "from",
            expected=f"a location of {store[-1]} bytes",
            remedy="use %IW for 2 bytes, %ID for 4, %IL for 8, or another type with as = …",
        )
    return store


def _pair(table: Table, key: str) -> tuple[float | None, float | None]:
    value = table.raw(key)
    if value is None:
        return None, None
    numbers = [float(v) for v in value if _is_number(v)] if isinstance(value, list) else []
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        table.problem("DV1003", f"{key} has a wrong value", key=key, expected="[lowest, highest]")
        return None, None
    return numbers[0], numbers[1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _deadband(table: Table) -> float:
    deadband = table.number("deadband", 0.0)
    if deadband < 0:
        table.problem(
            "DV1003", "deadband has a wrong value", key="deadband", expected="0 or a positive number"
        )
    return max(deadband, 0.0)


def _invalid(table: Table) -> tuple[int, ...]:
    value = table.raw("invalid")
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    numbers = tuple(v for v in values if isinstance(v, int) and not isinstance(v, bool) and v >= 0)
    if len(numbers) != len(values):
        table.problem("DV1003", "invalid has a wrong value", key="invalid", expected="raw values like 0x8000")
    return numbers


def _output(table: Table, name: str, device: str, order: str, outputs: list[Channel]) -> WriteBlock:
    address = table.integer("address", low=0, high=ADDRESSES - 1)
    table.choice("function", ("holding-registers",), "holding-registers")
    source = point_location(table, "from", "out")
    point = _register_point(table, name, order, source, key="from")
    safe = _image_value(table, "safe", point)
    outputs.append(
        Channel(f"{device}.{name}", device, "out", point.offset, point.size or 1, point.bit, safe=safe or b"")
    )
    several = table.choice("write_with", ("auto", "multiple"), "auto") == "multiple" or point.registers > 1
    function = Function.WRITE_MULTIPLE_REGISTERS if several else Function.WRITE_SINGLE_REGISTER
    return WriteBlock(
        function=Function.MASK_WRITE_REGISTER if point.kind == "bit" else function,
        address=address,
        count=point.registers,
        mode=table.choice("mode", ("change", "cyclic", "both"), "both"),
        refresh_ns=table.integer("refresh_ms", 1000, low=10, high=PERIOD_MS_MAX) * MS,
        offset=point.offset,
        bit=point.bit,
        priority=WRITE_PRIORITY,
        safe=safe,
        verify=table.choice("verify", ("echo", "read-back"), "echo"),
        points=(point,),
        gap_ns=table.integer("gap_ms", 0, low=0, high=60_000) * MS,
    )


def _image_value(table: Table, key: str, point: Point) -> bytes | None:
    """A value in engineering units, as bytes of the image; None holds."""
    value = table.raw(key)
    if value is None or value == "hold":
        return None
    if not isinstance(value, int | float) or not _is_number(value) or point.kind == "string":
        table.problem("DV1003", f"{key} has a wrong value", key=key, expected='a number or "hold"')
        return None
    if point.bit >= 0:
        return bytes((value != 0,))
    try:
        with np.errstate(over="raise"):
            return np.array([value], point.store).tobytes()
    except (OverflowError, FloatingPointError):
        expected = f"a value for {8 * point.size} bits"
        table.problem("DV1003", f"{key} does not fit into its place", key=key, expected=expected)
        return None


def _expect_bit(table: Table, place: Location, key: str) -> None:
    if place.bit < 0:
        table.problem(
            "DV1004", "a bit needs the location of a bit", key=key, expected="a location like %IX0.0"
        )


# ---------------------------------------------------------------- joining


def _coalesce(group: ScanGroup, wanted: list[_Wanted], device: str, inputs: list[Channel]) -> list[ReadBlock]:
    """Neighbours share a request while the hole between them and the whole stay within the group's limits."""
    blocks = []
    for function in dict.fromkeys(item.function for item in wanted):
        bits = function in BIT_TABLES
        limit = group.bits_max if bits else group.registers_max
        run: list[_Wanted] = []
        end = 0
        for item in sorted((w for w in wanted if w.function == function), key=lambda w: w.address):
            stop = item.address + (1 if bits else item.point.registers)
            if run and (item.address - end > group.gap_max or stop - run[0].address > limit):
                blocks.append(_block(group, run, end, device, inputs))
                run = []
            run.append(item)
            end = max(end, stop) if len(run) > 1 else stop
        blocks.append(_block(group, run, end, device, inputs))
    return blocks


def _block(group: ScanGroup, run: list[_Wanted], end: int, device: str, inputs: list[Channel]) -> ReadBlock:
    address = run[0].address
    points = tuple(msgspec.structs.replace(item.point, at=item.address - address) for item in run)
    first_row = len(inputs)
    inputs += [Channel(f"{device}.{p.name}", device, "in", p.offset, p.size or 1, p.bit) for p in points]
    return ReadBlock(
        function=READ_FUNCTIONS[run[0].function],
        address=address,
        count=end - address,
        period_ns=group.period_ns,
        phase_ns=group.phase_ns,
        priority=group.priority,
        on_loss=group.on_loss,
        group=group.name,
        points=points,
        first_row=first_row,
        rows=len(points),
    )
