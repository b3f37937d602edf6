"""Edge nodes as runtimes of the fleet: a supervisor, a broker and an edge node that is not a runtime of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt.sparkplug_edge import EdgeConfig
from drivers.mqtt.sparkplug_space import Item
from scan import quality as q
from supervisor.model import Actor, Role, SeriesKey
from tests.drivers.mqtt.broker import Mosquitto, running, until
from tests.drivers.mqtt.conftest import connection_to, peer_of
from tests.drivers.mqtt.edge_peer import ITEMS, edge_peer, space

ADMIN = Actor("test", Role.ADMIN, "system")
CONFIG = EdgeConfig("works", "press 7")
SETTINGS = """
[[host]]
name = "plant"
brokers = ["{broker}"]
backoff_min_ms = 20
host_id = "scada"
reorder_ms = 100
rebirth_ms = 200
confirm_ms = 700
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture
async def hosting(tmp_path: Path, broker: Mosquitto, run_supervisor: Any) -> AsyncIterator[Any]:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mqtt.toml").write_text(SETTINGS.format(broker=broker.address))
    async with run_supervisor(folder) as supervisor:
        await until(
            lambda: supervisor.parts.mqtt.hosts and supervisor.parts.mqtt.hosts[0].client.connected, "hosting"
        )
        yield supervisor


def node_of(supervisor: Any, name: str = "works.press-7") -> Any:
    found = [node for node in supervisor.parts.fleet.bus.nodes.values() if node.name == name]
    return found[0] if found else None


def tag(supervisor: Any, path: str, name: str = "works.press-7") -> Any:
    node = node_of(supervisor, name)
    if node is None or node.board is None or path not in node.board.index_of_path:
        return None
    return node.board.tag(node.node_id, node.board.index_of_path[path], node.stale)


async def test_node_when_it_is_born_then_a_runtime_with_tags_values_history_and_commands(
    hosting: Any, broker: Mosquitto
) -> None:
    async with edge_peer(connection_to(broker, "edge", version="5"), CONFIG) as edge:
        await until(lambda: tag(hosting, "meter/flow") is not None, "described")
        level = tag(hosting, "level")
        assert (level.type, level.unit, level.high, level.writable) == ("LREAL", "m", 9.0, True)
        assert (tag(hosting, "setpoint").type, tag(hosting, "motor/speed").writable) == ("INT", False)
        await until(lambda: tag(hosting, "motor/speed").value == 1.0, "first values")
        assert tag(hosting, "meter/flow").comment == "of the meter"
        edge.set("level", 2.5)
        edge.set("flow", 7.0, "meter", quality=0)
        await until(lambda: tag(hosting, "level").value == 2.5, "value")
        await until(lambda: tag(hosting, "meter/flow").quality == q.BAD, "bad quality")
        node = node_of(hosting)
        summary = node.summary()
        assert (summary.link, summary.state, summary.devices) == ("up", "running", 1)
        await _command(hosting, edge, node.node_id)
        await _stored(hosting, node.node_id)
        await _alarm(hosting, edge)
    await until(lambda: node_of(hosting).link == "down", "down when it says so")
    assert tag(hosting, "level").quality == q.UNCERTAIN_LAST_USABLE
    assert tag(hosting, "level").value == 2.5


async def _command(hosting: Any, edge: Any, node_id: str) -> None:
    send, get = hosting.services.commands.send, hosting.services.commands.get
    done = [
        await send(ADMIN, node_id, "write", values)
        for values in (
            {"setpoint": "12"},
            {"label": "'on'", "meter/valve": "TRUE"},
            {"level": "1.0"},
            {"setpoint": "99999"},
        )
    ]
    states = {"queued", "sent"}

    found = done
    while any(one.state in states for one in found):
        await asyncio.sleep(0.02)
        found = [await get(ADMIN, one.id) for one in done]
    assert [one.state for one in found] == ["effective", "effective", "uncertain", "rejected"]
    assert found[0].value == "12"
    assert edge.refused[0].reason == "level is read-only"
    refused = await send(ADMIN, node_id, "restart")
    while (refused := await get(ADMIN, refused.id)).state in states:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert (refused.state, refused.problem.code) == ("rejected", "SV4006")


async def _stored(hosting: Any, node_id: str) -> None:
    found: list[float] = []

    async def read() -> bool:
        trace = await hosting.services.history.raw(ADMIN, SeriesKey(node_id, "level"), from_ns=0, to_ns=2**62)
        found[:] = [float(point) for point in trace.values if point is not None]
        return found[-1:] == [2.5]

    while not await read():  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    assert found == [1.0, 2.5]


async def _alarm(hosting: Any, edge: Any) -> None:
    """The supervisor's own engine looks at tags of any runtime, also at those that have none of its own."""
    text = '[[alarm]]\nname = "Level high"\npriority = 2\nexpression = \'"works.press-7:level" > 5\'\n'
    await hosting.services.alarms.define(Actor("eva", Role.ENGINEER), "", text)
    edge.set("level", 6.0)
    active: list[Any] = []
    while [one.name for one in active] != ["Level high"]:
        await asyncio.sleep(0.02)
        active = [*await hosting.services.alarms.active(ADMIN, node_id="")]
    edge.set("level", 2.5)
    await until(lambda: tag(hosting, "level").value == 2.5, "back")


async def test_node_when_other_metrics_are_born_then_described_anew_and_values_stay(
    hosting: Any, broker: Mosquitto
) -> None:
    config = EdgeConfig("works", "second")
    async with edge_peer(connection_to(broker, "edge2"), config) as edge:
        await until(lambda: tag(hosting, "level", "works.second") is not None, "described")
        edge.set("level", 3.5)
        renewed = space((Item("extra", ITEMS[0].datatype), *ITEMS))
        renewed.set(1, 4.5, 1_800_000_000_000, 192)
        edge.do(edge.edge.renew(renewed, 1_800_000_000_000))
        await until(lambda: tag(hosting, "extra", "works.second") is not None, "described anew")
        await until(lambda: tag(hosting, "level", "works.second").value == 4.5, "the right tag has the value")


async def test_host_when_the_broker_restarts_then_stale_and_back(tmp_path: Path, run_supervisor: Any) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with running(tmp_path) as own:
        (folder / "mqtt.toml").write_text(SETTINGS.format(broker=own.address))
        async with run_supervisor(folder) as supervisor:
            async with edge_peer(connection_to(own, "edge3"), CONFIG):
                await until(lambda: tag(supervisor, "level") is not None, "described")
                own.stop()
                await until(lambda: node_of(supervisor).link == "down", "stale")
                own.start()
                await until(lambda: node_of(supervisor).link == "up", "back")
            async with peer_of(connection_to(own, "looker"), "spBv1.0/STATE/scada") as looker:
                await until(lambda: looker.messages, "the state is retained")
                assert b'"online":true' in looker.messages[-1][1]
        async with peer_of(connection_to(own, "looker"), "spBv1.0/STATE/scada") as looker:
            await until(lambda: looker.messages, "the state is retained")
            assert b'"online":false' in looker.messages[-1][1]


async def test_settings_when_the_file_is_wrong_then_told_and_the_old_ones_stay(hosting: Any) -> None:
    service = hosting.parts.mqtt
    http = await hosting.http()
    about = (await http.get("/api/v1/about")).json()
    assert [(one["name"], one["kind"], one["connected"]) for one in about["mqtt"]] == [
        ("plant", "host", True)
    ]
    assert "MQTT host: plant" in (await http.get("/settings", headers={"Accept": "text/html"})).text
    (service.folder / "mqtt.toml").write_text(
        "[[host]]\nname = 'x'\nbrokers = ['a b']\nhost_id = 'a/b'\nextra = 1\n"
    )
    await until(lambda: service.problem, "the mistake is noticed")
    assert all(code in service.problem for code in ("MQ1002", "MQ1004", "DV1001"))
    assert service.hosts[0].client.connected
    assert "mqtt.toml is not used" in (await http.get("/settings", headers={"Accept": "text/html"})).text
