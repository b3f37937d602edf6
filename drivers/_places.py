"""Keys of a plant file that name places in the process image: what the drivers' parsers share."""

from __future__ import annotations

from collections.abc import Sequence

from drivers._table import Table
from drivers.location import Location, format_location, parse_location
from scan.iomap import Channel


def point_location(table: Table, key: str, direction: str) -> Location:
    """The place of one value of any size. Notes DV1004; then a place to go on with."""
    place = parse_location(table.text(key))
    area = "I" if direction == "in" else "Q"
    if place is None or place.direction != direction:
        if key in table:
            expected = f"a location like %{area}W0, %{area}D1 or %{area}X0.0"
            table.problem("DV1004", f"{key} is no place for this point", key=key, expected=expected)
        return Location(direction, 0, 2, -1)
    return place


def status_location(table: Table, device: str, inputs: list[Channel]) -> tuple[int, int]:
    """Byte and bit of %I that tell whether the device is there, (-1, -1) for none; its channel joins ``inputs``."""
    if "status" not in table:
        return (-1, -1)
    place = point_location(table, "status", "in")
    if place.bit < 0:
        table.problem("DV1004", "status needs the location of a bit", key="status", expected="like %IX8.0")
    inputs.append(Channel(f"{device}.status", device, "in", place.offset, 1, max(place.bit, 0)))
    return place.offset, max(place.bit, 0)


def find_overlaps(table: Table, channels: Sequence[Channel]) -> None:
    """Notes DV1005 where two points write the same input: they would take turns, which is never what was meant."""
    owner: dict[tuple[int, int], Channel] = {}
    for channel in channels:
        bits = range(8) if channel.bit < 0 else (channel.bit,)
        for place in ((channel.offset + byte, bit) for byte in range(channel.size) for bit in bits):
            other = owner.setdefault(place, channel)
            if other is not channel:
                where = format_location(channel.direction, channel.offset, size=channel.size, bit=channel.bit)
                table.problem(
                    "DV1005",
                    f"{channel.name} and {other.name} both use {where}",
                    remedy="give one of them another location",
                )
                return
