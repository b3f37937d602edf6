"""The symbol table as metrics: types, templates, devices, rights, values; history on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import Broker, Connection
from drivers.mqtt.edge_config import SparkplugSection
from drivers.mqtt.sparkplug import DataType, SparkplugError
from drivers.mqtt.sparkplug_codec import decode_payload
from drivers.mqtt.sparkplug_edge import EdgeConfig, EdgeNode, Past, Publish
from drivers.mqtt.sparkplug_space import Space
from runtime.sparkplug_backlog import DiskBacklog
from runtime.sparkplug_symbols import from_metric, metrics_of, to_metric
from scan.abi import Aggregate, Application, IecType, Region, Symbol
from scan.iomap import Channel, IoMap
from tests.drivers.mqtt.edge_peer import ITEMS, space

T = IecType
SYMBOLS = (
    Symbol("Main.in", T.INT, 64, 2, location="%IW0"),
    Symbol("Main.flag", T.BOOL, 66, 1, bit=3, location="%IX2.3"),
    Symbol("Main.out", T.REAL, 80, 4, location="%QD0"),
    Symbol("Main.p1.speed", T.REAL, 100, 4, unit="rpm", access="rw"),
    Symbol("Main.p1.inner.on", T.BOOL, 104, 1),
    Symbol("Main.p2.speed", T.REAL, 108, 4, access="rw"),
    Symbol("Main.p2.inner.on", T.BOOL, 112, 1),
    Symbol("Main.sp", T.DINT, 116, 4, access="rw", low=0.0, high=10.0),
    Symbol("Main.secret", T.DINT, 120, 4, access="rw", write_role="engineer"),
    Symbol("Main.mode", T.INT, 124, 2, access="rw", enum_values=(("OFF", 0), ("ON", 1)), type_name="Mode"),
    Symbol("Main.curve", T.REAL, 128, 12, dims=((1, 3),)),
    Symbol("Main.day", T.DT, 144, 8, access="rw"),
    Symbol("Main.t", T.TIME, 152, 8),
    Symbol("Main.hidden", T.INT, 160, 2, access="none"),
    Symbol("Main.big", T.INT, 162, 40_000, dims=((1, 20_000),)),
    Symbol("Main.PI", T.REAL, 170, 4, constant=True),
)
AGGREGATES = (
    Aggregate("Main", "program", "MAIN"),
    Aggregate("Main.p1", "struct", "Pump"),
    Aggregate("Main.p1.inner", "struct", "In"),
    Aggregate("Main.p2", "struct", "Pump"),
    Aggregate("Main.p2.inner", "struct", "In"),
)
APPLICATION = Application(
    1, "a", "d", "t", 50_000, Region(64, 16), Region(80, 16), Region(96, 0), Region(64, 100), b"", SYMBOLS, (), (), (),
    b"", AGGREGATES,
)  # fmt: skip
IO_MAP = IoMap(
    (Channel("drive.in", "drive", "in", 0, 2), Channel("drive.flag", "drive", "in", 2, 1, 3)),
    (Channel("valves.out", "valves", "out", 0, 4),),
)


def section(**more: Any) -> SparkplugSection:
    return SparkplugSection(Connection((Broker("h", 1),), "c"), "g", **({"writable": ("*",)} | more))


def test_metrics_when_made_then_types_templates_devices_and_rights() -> None:
    made = metrics_of(APPLICATION, section(), IO_MAP)
    items = {item.name: item for item in made.space.items}
    assert set(items) == {one.path for one in SYMBOLS} - {"Main.hidden", "Main.big", "Main.PI"}
    assert made.space.devices == ("drive", "valves")
    assert [items[f"Main.{name}"].owner for name in ("in", "flag", "out", "sp")] == [
        "drive",
        "drive",
        "valves",
        "",
    ]
    assert items["Main.p1.inner.on"].instance == "Main.p1"
    assert items["Main.p1.inner.on"].member == "inner.on"
    assert [one.name for one in made.space.definitions.values()] == ["Pump"]
    assert [name for name, item in items.items() if item.writable] == [
        "Main.p1.speed", "Main.p2.speed", "Main.sp", "Main.mode", "Main.day",
    ]  # fmt: skip
    assert items["Main.curve"].datatype == DataType.FLOATARRAY
    assert ("engUnit", DataType.STRING, "rpm") in items["Main.p1.speed"].properties
    assert len({unit.alias for unit in made.space.units}) == len(made.space.units) == 11


@pytest.mark.parametrize(
    ("settings", "writable"),
    [
        ({"writable": ()}, []),
        ({"writable": ("*secret",), "role": "engineer"}, ["Main.secret"]),
        ({"writable": ("*secret",)}, []),
    ],
)
def test_rights_when_section_role_and_program_differ_then_the_narrowest_holds(
    settings: dict[str, Any], writable: list[str]
) -> None:
    made = metrics_of(APPLICATION, section(**settings), IO_MAP)
    assert [item.name for item in made.space.items if item.writable] == writable


def test_metrics_when_switched_off_then_plain() -> None:
    made = metrics_of(
        APPLICATION, section(devices=False, templates=False, tags=("main.p*",), exclude=("*on",)), IO_MAP
    )
    assert [(item.name, item.owner, item.instance) for item in made.space.items] == [
        ("Main.p1.speed", "", ""), ("Main.p2.speed", "", ""),
    ]  # fmt: skip
    assert metrics_of(None, section(), IO_MAP).symbols == ()


def test_values_when_carried_over_then_dates_in_ms_and_limits_hold() -> None:
    by_path = {one.path: one for one in SYMBOLS}
    day = by_path["Main.day"]
    assert to_metric(day, 1_700_000_000_123_000_000) == 1_700_000_000_123
    assert to_metric(day, -1) is None
    assert from_metric(day, 5) == 5_000_000
    assert from_metric(by_path["Main.sp"], 10) == 10
    assert from_metric(by_path["Main.mode"], 1) == 1
    for path, value in (("Main.sp", 11), ("Main.sp", -1), ("Main.mode", 7)):
        with pytest.raises(SparkplugError):
            from_metric(by_path[path], value)


def test_history_when_nobody_listens_then_on_disk_and_sent_later(tmp_path: Path) -> None:
    backlog = DiskBacklog(tmp_path / "h", 1)
    node = EdgeNode(EdgeConfig("G", "N"), space(), backlog=backlog)
    for number in range(3):
        node.space.set(0, float(number), 1000 + number, 192 if number else 0)
        assert node.changed([0], 1000 + number) == []
    node.space.set(4, 7.0, 1005, 192)
    node.changed([4], 1005)
    backlog.buffer.close()
    again = EdgeNode(EdgeConfig("G", "N"), space(), backlog=DiskBacklog(tmp_path / "h", 1))
    assert again.flush(2000) == []
    again.will()
    again.connected(2000)
    messages = [decode_payload(one.payload) for one in again.flush(2001) if isinstance(one, Publish)]
    past = [metric for one in messages for metric in one.metrics]
    assert [(one.value, one.timestamp, one.is_historical) for one in past] == [
        (0.0, 1000, True), (1.0, 1001, True), (2.0, 1002, True), (7.0, 1005, True),
    ]  # fmt: skip
    assert past[0].properties is not None
    assert [one.seq for one in messages] == [2, 3]
    assert again.flush(2002) == []


def test_history_when_the_program_has_changed_then_what_fits_no_more_is_dropped(tmp_path: Path) -> None:
    backlog = DiskBacklog(tmp_path / "h", 1)
    backlog.append(
        [Past("", "gone", 1, 5, 192), Past("", "setpoint", 99_999, 5, 192), Past("", "level", 1.5, 6, 192)]
    )
    node = EdgeNode(EdgeConfig("G", "N"), Space(ITEMS), backlog=backlog)
    node.will()
    node.connected(10)
    (message,) = node.flush(11)
    assert isinstance(message, Publish)
    assert [one.value for one in decode_payload(message.payload).metrics] == [1.5]
    backlog.buffer.close()
