"""Interoperability: brokers of two makers (Mosquitto, Aedes), Eclipse Tahu's JavaScript client in both directions."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import Broker, Connection
from drivers.mqtt.sparkplug_edge import EdgeConfig
from drivers.mqtt.sparkplug_host import HostConfig, NodeDeath
from tests.drivers.mqtt.broker import Mosquitto, until
from tests.drivers.mqtt.conftest import peer_of
from tests.drivers.mqtt.edge_peer import edge_peer
from tests.drivers.mqtt.host_peer import HostPeer, host_peer, now_ms
from tests.runtime.node_process import wait_for

FOLDER = Path(__file__).parent / "mqtt_peer"
pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
KEY = ("tahu", "js")


class NodePeer:
    """``peer.mjs`` in a role: its events as they come, orders to it."""

    def __init__(self, role: str, *arguments: str) -> None:
        program = shutil.which("node") or "node"
        self.events: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [program, "peer.mjs", role, *arguments],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def order(self, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields) + "\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def peer(role: str, *arguments: str) -> Iterator[NodePeer]:
    found = NodePeer(role, *arguments)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module", params=["mosquitto", "aedes"])
def port(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if request.param == "mosquitto":
        broker = Mosquitto(tmp_path_factory.mktemp("broker")).start()
        yield broker.port
        broker.stop()
    else:
        with peer("broker") as aedes:
            wait_for(lambda: aedes.of("listening"), "aedes listens", deadline_s=30)
            yield int(aedes.events[0]["port"])


def connection(port: int, name: str) -> Connection:
    return Connection((Broker("127.0.0.1", port),), name, backoff_min_ms=20, backoff_max_ms=100)


async def test_host_when_a_foreign_node_is_there_then_values_commands_rebirth_and_death(port: int) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    async with host_peer(connection(port, "host"), HostConfig("h", reorder_ms=200, rebirth_ms=100)) as host:
        with peer("edge", url, *KEY) as edge:
            await until(lambda: host.value("level", "tank") == 2.5, "births", within_s=30)
            names = ("temperature", "count", "big", "on", "name", "at", "motor/speed")
            assert [host.value(name) for name in names] == [20.5, -5, 7, False, "tahu", 1700000000000, 1.5]
            edge.order(name="temperature", value=21.25)
            await until(lambda: host.value("temperature") == 21.25, "data")
            for name, value in (("count", -12345), ("big", 4_000_000_000), ("on", True), ("name", "Käse")):
                host.write(KEY, name, value)
                await until(lambda n=name, v=value: host.value(n) == v, f"{name} is confirmed")
            births = len(edge.of("born"))
            host.do(host.host.rebirth(KEY, now_ms()))
            await until(lambda: len(edge.of("born")) == births + 1, "born again")
            await until(lambda: host.host.nodes[KEY].expected == 2, "the new birth is taken")
            edge.order(name="stop")
            await until(lambda: not host.host.nodes[KEY].online, "dead")
        await _returns(host, url)


async def _returns(host: HostPeer, url: str) -> None:
    """This client begins each life with bdSeq 0, as the one that just died had; and it can compress."""
    with peer("edge", url, *KEY, "compress") as edge:
        await until(lambda: host.host.nodes[KEY].online, "alive again", within_s=30)
        edge.order(name="temperature", value=3.5)
        await until(lambda: host.value("temperature") == 3.5, "compressed data")
    await until(lambda: isinstance(host.deaths()[-1], NodeDeath), "its will")


async def test_edge_when_a_foreign_host_looks_then_it_reads_and_writes(port: int) -> None:
    url = f"mqtt://127.0.0.1:{port}"
    with peer("look", url, "works") as look:
        await until(lambda: look.of("ready"), "the listener", within_s=30)
        async with edge_peer(connection(port, "edge"), EdgeConfig("works", "n1")) as edge:

            def metrics(verb: str) -> list[dict[str, Any]]:
                return [
                    m for one in look.of("message") if f"/{verb}/" in one["topic"] for m in one["metrics"]
                ]

            await until(lambda: metrics("DBIRTH"), "births")
            born = {one["name"]: one for one in metrics("NBIRTH")}
            assert (born["level"]["value"], born["level"]["type"]) == (1, "Double")
            assert born["level"]["properties"]["engUnit"]["value"] == "m"
            assert born["motor"]["value"]["templateRef"] == "Motor"
            assert born["Node Control/Rebirth"]["value"] is False
            look.order(
                topic="spBv1.0/works/NCMD/n1",
                metrics=[
                    {"name": "setpoint", "type": "Int16", "value": -77},
                    {"name": "label", "type": "String", "value": "ö"},
                ],
            )  # fmt: skip
            await until(lambda: edge.writes, "the command")
            assert [value for _, value in edge.writes[0].values] == [-77, "ö"]
            await until(lambda: len(metrics("NDATA")) >= 2, "its data")
            look.order(
                topic="spBv1.0/works/DCMD/n1/meter",
                metrics=[{"name": "valve", "type": "Boolean", "value": True}],
            )
            await until(lambda: len(metrics("DDATA")) == 1, "the device's data")
            look.order(
                topic="spBv1.0/works/NCMD/n1",
                metrics=[{"name": "Node Control/Rebirth", "type": "Boolean", "value": True}],
            )
            valves = [False, True]
            await until(
                lambda: [m["value"] for m in metrics("DBIRTH") if m["name"] == "valve"] == valves, "births"
            )
            assert {one["name"]: one["value"] for one in metrics("NBIRTH")}["setpoint"] == -77
        await until(lambda: metrics("NDEATH"), "death")
        assert [one["name"] for one in metrics("NDEATH")] == ["bdSeq"]
        seqs = [one["seq"] for one in look.of("message") if "seq" in one and "NCMD" not in one["topic"]]
        assert seqs[0] == 0


async def test_client_when_the_transport_is_websocket_then_the_same() -> None:
    with peer("broker", "websockets") as aedes:
        await until(lambda: aedes.of("listening"), "aedes listens", within_s=30)
        port = int(aedes.events[0]["port"])
        wanted = Connection((Broker("127.0.0.1", port),), "web", transport="websockets")
        async with peer_of(wanted, "echo") as client:
            client.client.publish("echo", b"x" * 70_000, qos=1)
            await until(lambda: client.payloads("echo") == [b"x" * 70_000], "the echo")
