"""``[[device.init]]`` and ``[[device.statistic]]``."""

from __future__ import annotations

from collections.abc import Set

from drivers._table import Table
from drivers.location import Location, parse_location
from drivers.modbus.config import InitWrite, StatisticTag
from drivers.modbus.pdu import ADDRESSES, WRITE_BITS_MAX, WRITE_REGISTERS_MAX, Function
from drivers.modbus.statistics import DEVICE_FIGURES, GROUP_FIGURES
from scan.iomap import Channel

STORES = {2: "<u2", 4: "<u4", 8: "<u8"}
REALS = {4: "<f4", 8: "<f8"}


def parse_inits(table: Table) -> tuple[InitWrite, ...]:
    """In the order of the file."""
    return tuple(_init(item) for item in table.tables("init"))


def _init(table: Table) -> InitWrite:
    bits = table.choice("function", ("coils", "holding-registers")) == "coils"
    address = table.integer("address", low=0, high=ADDRESSES - 1)
    values = _values(table, bits=bits)
    multiple = table.choice("write_with", ("auto", "multiple"), "auto") == "multiple" or len(values) > 1
    if address + len(values) > ADDRESSES:
        table.problem(
            "DV1007", f"address {address} and {len(values)} values go beyond 65535", key="address",
            remedy="write fewer values",
        )  # fmt: skip
    table.finish()
    if bits:
        packed = sum(bit << index for index, bit in enumerate(values))
        data = packed.to_bytes((len(values) + 7) // 8, "little")
        function = Function.WRITE_MULTIPLE_COILS if multiple else Function.WRITE_SINGLE_COIL
    else:
        data = b"".join((value & 0xFFFF).to_bytes(2, "big") for value in values)
        function = Function.WRITE_MULTIPLE_REGISTERS if multiple else Function.WRITE_SINGLE_REGISTER
    return InitWrite(function=function, address=address, count=len(values), data=data)


def _values(table: Table, *, bits: bool) -> list[int]:
    value = table.raw("value")
    if value is None:
        table.problem("DV1002", "value is missing", remedy="add value = … to this table")
        return [0]
    values = value if isinstance(value, list) else [value]
    low, high = (0, 1) if bits else (-32768, 65535)
    limit = WRITE_BITS_MAX if bits else WRITE_REGISTERS_MAX
    numbers = [int(v) for v in values if isinstance(v, int) and low <= int(v) <= high]
    if not 1 <= len(values) <= limit or len(numbers) != len(values):
        table.problem(
            "DV1003",
            "value has a wrong value",
            key="value",
            expected=f"a number from {low} to {high}, or a list of up to {limit} of them",
        )
        return [0]
    return numbers


def parse_statistics(
    table: Table, device: str, groups: Set[str], inputs: list[Channel]
) -> tuple[StatisticTag, ...]:
    """Their channels are appended to ``inputs``."""
    tags = tuple(_statistic(item, device, groups) for item in table.tables("statistic"))
    inputs += [Channel(tag.name, device, "in", tag.offset, tag.size) for tag in tags]
    return tags


def _statistic(table: Table, device: str, groups: Set[str]) -> StatisticTag:
    group = (
        table.choice("scan", tuple(sorted(groups)) or ("a declared scan group",)) if "scan" in table else ""
    )
    value = table.choice("value", GROUP_FIGURES if group else DEVICE_FIGURES)
    exception = table.integer("exception", 0, low=0, high=255)
    if exception and value != "exceptions":
        table.problem(
            "DV1003", 'exception belongs to value = "exceptions"', key="exception", remedy="remove exception"
        )
    place = _place(table)
    stores = REALS if value == "rate" and place.size in REALS else STORES
    table.finish()
    name = ".".join(part for part in (device, group, "statistic", value) if part)
    return StatisticTag(
        name=f"{name}[{exception}]" if exception else name,
        value=value,
        group=group,
        exception=exception,
        offset=place.offset,
        size=place.size,
        store=stores[place.size],
    )


def _place(table: Table) -> Location:
    place = parse_location(table.text("to"))
    if place is None or place.direction != "in" or place.size not in STORES:
        if "to" in table:
            expected = "a location of 2, 4 or 8 bytes like %IW10, %ID5, %IL3"
            table.problem("DV1004", "to is no place for a statistic", key="to", expected=expected)
        return Location("in", 0, 2, -1)
    return place
