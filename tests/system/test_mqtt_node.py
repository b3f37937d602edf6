"""A whole node between MQTT devices and a Sparkplug host on one Mosquitto: values out, commands in, faults between."""

from __future__ import annotations

import asyncio
import json
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.mqtt.sparkplug_host import DeviceDeath, HostConfig, NodeDeath
from tests.drivers.mqtt.broker import Mosquitto, running, until
from tests.drivers.mqtt.conftest import Peer, connection_to, peer_of
from tests.drivers.mqtt.host_peer import HostPeer, host_peer, now_ms
from tests.runtime.node_process import PLANT, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PROGRAM = """
TYPE Pump : STRUCT
  speed : REAL;
  running : BOOL;
END_STRUCT END_TYPE
PROGRAM Main
VAR
  temperature AT %IW0 : INT;
  valve AT %QW0 : INT;
  count : DINT;
  label : STRING[20] := 'ready';
  pump : Pump;
  {attribute 'access' := 'rw'}
  setpoint : INT := 7;
  {attribute 'access' := 'rw'}
  secret : INT := 1;
END_VAR
count := count + 1;
pump.speed := INT_TO_REAL(setpoint) * 0.5;
valve := setpoint + temperature;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""
TABLES = """
[[device]]
name = "furnace"
protocol = "mqtt"
brokers = ["{broker}"]
backoff_min_ms = 50
backoff_max_ms = 200
availability = {{ topic = "furnace/state" }}
[[device.subscribe]]
topic = "furnace/temperature"
point = [{{ name = "temperature", to = "%IW0", path = "value", scale = 10.0 }}]
[[device.publish]]
topic = "furnace/valve"
interval_ms = 10
point = [{{ name = "valve", from = "%QW0", path = "position", safe = -1 }}]

[sparkplug]
brokers = ["{broker}"]
backoff_min_ms = 50
backoff_max_ms = 200
version = "5"
group = "works"
primary_host = "scada"
exclude = ["*.count"]
writable = ["Main.setpoint"]
interval_ms = 50
"""
KEY = ("works", "tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("mqtt")


@pytest.fixture
async def host(folder: pathlib.Path) -> AsyncIterator[tuple[HostPeer, Mosquitto]]:
    with running(folder) as broker:
        async with host_peer(
            connection_to(broker, "host"), HostConfig("scada", reorder_ms=300, rebirth_ms=200)
        ) as peer:
            yield peer, broker


async def test_node_when_it_runs_with_mqtt_then_values_commands_and_faults_pass_as_they_should(
    folder: pathlib.Path, host: tuple[HostPeer, Mosquitto], tmp_path_factory: pytest.TempPathFactory
) -> None:
    peer, broker = host
    plant = write_plant(folder / "plant", plant=PLANT + TABLES.format(broker=broker.address), program=PROGRAM)
    cache = tmp_path_factory.getbasetemp() / "cache"
    with NodeProcess(plant, folder / "state", cache) as node:
        await asyncio.to_thread(node.until_running)
        async with peer_of(connection_to(broker, "furnace"), "furnace/valve") as furnace:
            furnace.client.publish("furnace/state", b"online", qos=1, retain=True)
            furnace.client.publish("furnace/temperature", b'{"value": 3}', qos=1, retain=True)
            await until(
                lambda: _last(furnace.payloads("furnace/valve")) == 37, "the valve follows", within_s=30
            )
            await until(lambda: peer.value("Main.temperature", "furnace") == 30, "the device's metric")
            assert peer.value("Main.valve", "furnace") == 37
            assert peer.value("Main.label") == "ready"
            assert peer.value("Main.pump") == "Pump"
            assert (peer.value("Main.pump/speed"), peer.value("Main.pump/running")) == (3.5, False)
            await _commands(peer, node)
            await _device_goes(peer, furnace)
            await _broker_restarts(peer, broker, node)
            await until(lambda: len(furnace.ups) == 2, "the furnace is back")
            await until(lambda: _last(furnace.payloads("furnace/valve")) == 44, "the outputs are there again")
            await asyncio.to_thread(node.stop)
            await until(lambda: _last(furnace.payloads("furnace/valve")) == -1, "the safe value went out")
    await until(lambda: isinstance(peer.deaths()[-1], NodeDeath), "the node says that it goes")


def _last(payloads: list[bytes]) -> int | None:
    return int(json.loads(payloads[-1])["position"]) if payloads else None


async def _commands(peer: HostPeer, node: NodeProcess) -> None:
    peer.write(KEY, "Main.setpoint", 12)
    await until(lambda: peer.value("Main.setpoint") == 12, "the command is confirmed by data")
    assert peer.value("Main.pump/speed") in (3.5, 6.0)
    peer.write(KEY, "Main.secret", 99)
    written = await asyncio.to_thread(_refused, node)
    effective = [one["fields"] for one in written if one["fields"].get("result") == "effective"]
    assert [effective[-1][key] for key in ("path", "new", "via")] == ["Main.setpoint", "12", "sparkplug"]
    assert node.value("Main.secret") == 1
    births = len(peer.births())
    peer.do(peer.host.rebirth(KEY, now_ms()))
    await until(lambda: len(peer.births()) == births + 2, "node and device are born again")


def _refused(node: NodeProcess) -> list[dict[str, Any]]:
    """The writes in the journal, when the refusal of the read-only one is among them."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = node.events("write")
        return any("read-only" in one["text"] for one in found)

    wait_for(there, "the refusal")
    return found


async def _device_goes(peer: HostPeer, furnace: Peer) -> None:
    peer.news.clear()
    furnace.client.publish("furnace/state", b"offline", qos=1, retain=True)
    await until(lambda: any(isinstance(one, DeviceDeath) for one in peer.news), "DDEATH")
    assert not peer.host.nodes[KEY].devices["furnace"]
    furnace.client.publish("furnace/state", b"online", qos=1, retain=True)
    await until(lambda: peer.host.nodes[KEY].devices["furnace"], "DBIRTH")


async def _broker_restarts(peer: HostPeer, broker: Mosquitto, node: NodeProcess) -> None:
    broker.stop()
    await until(lambda: not peer.host.nodes[KEY].online, "all is stale")
    await asyncio.to_thread(node.command, "write", "Main.setpoint", "13")
    await asyncio.to_thread(node.command, "write", "Main.setpoint", "14")
    broker.start()
    await until(
        lambda: peer.host.nodes[KEY].online and peer.value("Main.setpoint") == 14, "back", within_s=20
    )
    await until(
        lambda: [s.value for s in peer.history if s.metric.name == "Main.setpoint"][:1] == [13], "history"
    )
