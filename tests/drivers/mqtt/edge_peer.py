"""A Sparkplug edge node on a broker: the machine with a connection, for tests of hosts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from drivers.mqtt import Connection
from drivers.mqtt.client import MqttClient
from drivers.mqtt.sparkplug import DataType
from drivers.mqtt.sparkplug_edge import (
    Action,
    Disconnect,
    EdgeConfig,
    EdgeNode,
    Publish,
    Refuse,
    Subscribe,
    Write,
)
from drivers.mqtt.sparkplug_space import Definition, Item, Space
from tests.drivers.mqtt.broker import until
from tests.drivers.mqtt.host_peer import now_ms

ITEMS = (
    Item(
        "level",
        DataType.DOUBLE,
        properties=(("engUnit", DataType.STRING, "m"), ("engHigh", DataType.DOUBLE, 9.0)),
    ),
    Item("setpoint", DataType.INT16, writable=True, properties=(("readOnly", DataType.BOOLEAN, False),)),
    Item("label", DataType.STRING, writable=True),
    Item("motor.speed", DataType.FLOAT, instance="motor", template="Motor", member="speed"),
    Item("flow", DataType.FLOAT, owner="meter", description="of the meter"),
    Item("valve", DataType.BOOLEAN, owner="meter", writable=True),
)
DEFINITIONS = (Definition("Motor", (("speed", int(DataType.FLOAT)),)),)


def space(items: Sequence[Item] = ITEMS) -> Space:
    """Each item with a first value, and times of one second."""
    found = Space(items, DEFINITIONS, tuple(dict.fromkeys(item.owner for item in items if item.owner)))
    first = {DataType.STRING: "a", DataType.BOOLEAN: False}
    for row, item in enumerate(found.items):
        found.set(row, first.get(DataType(item.datatype), 1), now_ms(), 192)
    return found


class EdgePeer:
    """``obeys``: commands take effect and are reported, as by a node that permits them."""

    def __init__(
        self, connection: Connection, config: EdgeConfig, space: Space, *, obeys: bool = True
    ) -> None:
        self.edge = EdgeNode(config, space)
        self.writes: list[Write] = []
        self.refused: list[Refuse] = []
        self._obeys = obeys
        self.client = MqttClient(
            connection,
            on_message=lambda topic, payload, _: self.do(self.edge.message(topic, payload, now_ms())),
            on_up=lambda _: self.do(self.edge.connected(now_ms())),
            on_down=lambda _: self.edge.disconnected(),
            prepare=lambda _: self.edge.will(),
        )

    def do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self.client.publish(action.topic, action.payload, qos=action.qos, retain=action.retain)
            elif isinstance(action, Subscribe):
                self.client.subscribe(action.filters)
            elif isinstance(action, Disconnect):
                self.client.disconnect(with_will=action.with_will, next_broker=action.next_server)
            elif isinstance(action, Write):
                self.writes.append(action)
                if self._obeys:
                    for item, value in action.values:
                        self.set(item.name, value, item.owner)
            else:
                self.refused.append(action)

    def set(self, name: str, value: Any, owner: str = "", *, quality: int = 192) -> None:
        row = self.edge.space.row_of[owner, name]
        self.edge.space.set(row, value, now_ms(), quality)
        self.do(self.edge.changed([row], now_ms()))


@contextlib.asynccontextmanager
async def edge_peer(
    connection: Connection, config: EdgeConfig, found: Space | None = None, *, obeys: bool = True
) -> AsyncIterator[EdgePeer]:
    peer = EdgePeer(connection, config, found or space(), obeys=obeys)

    async def ticks() -> None:
        while True:
            await asyncio.sleep(0.05)
            peer.do(peer.edge.tick(now_ms()))

    peer.client.start()
    ticking = asyncio.create_task(ticks())
    await until(lambda: peer.client.connected, "the edge node is connected")
    try:
        yield peer
    finally:
        ticking.cancel()
        peer.do(peer.edge.stop(now_ms()))
        await peer.client.stop()
