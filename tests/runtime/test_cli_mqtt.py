"""``tickwork mqtt`` at a broker with an edge node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from drivers.mqtt.sparkplug_edge import EdgeConfig
from runtime.cli_mqtt import app
from scan.problem import TickworkError
from tests.drivers.mqtt.broker import Mosquitto, running
from tests.drivers.mqtt.conftest import connection_to
from tests.drivers.mqtt.edge_peer import EdgePeer, edge_peer
from tests.drivers.mqtt.host_peer import now_ms


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[Mosquitto, EdgePeer]]:
    with running(tmp_path) as broker:
        async with edge_peer(connection_to(broker, "edge"), EdgeConfig("works", "n1")) as edge:
            yield broker, edge


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


async def test_mqtt_when_asked_then_shows_nodes_messages_and_rebirths(
    world: tuple[Mosquitto, EdgePeer],
) -> None:
    broker, edge = world

    async def keep_saying() -> None:
        for number in range(10_000):
            if number % 10 == 0:
                edge.do(edge.edge.renew(edge.edge.space, now_ms()))
            edge.set("level", float(number))
            await asyncio.sleep(0.02)

    saying = asyncio.create_task(keep_saying())
    reborn = await asyncio.to_thread(run, "rebirth", broker.address, "works/n1")
    heard = await asyncio.to_thread(run, "listen", broker.address, "--count", "30", "--json")
    seen = await asyncio.to_thread(run, "nodes", broker.address, "--seconds", "0.5", "--json")
    saying.cancel()
    assert "was born again with 6 metrics" in reborn.output
    messages: list[Any] = [json.loads(line) for line in heard.output.splitlines()]
    assert len(messages) == 30
    data = [one for one in messages if "/NDATA/" in one["topic"]]
    assert data[-1]["metrics"][0]["name"] == "level"
    assert [(one["group"], one["node"]) for one in json.loads(seen.output)["nodes"]] == [("works", "n1")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nodes", "a b:x"), "MQ1002"),
        (("listen", "127.0.0.1:1", "--seconds", "1"), "MQ2001"),
        (("listen", "127.0.0.1", "--topic", "a/#/b"), "MQ1001"),
        (("rebirth", "127.0.0.1", "x"), "MQ1004"),
    ],
)
def test_mqtt_when_it_cannot_then_says_why(arguments: tuple[str, ...], expected: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, TickworkError)
    assert error.code == expected
