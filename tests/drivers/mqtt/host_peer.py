"""A Sparkplug host on a broker: the machine with a connection, its news in lists and its values by name."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from drivers.mqtt import Connection
from drivers.mqtt.client import MqttClient
from drivers.mqtt.sparkplug_edge import Disconnect, Publish, Subscribe
from drivers.mqtt.sparkplug_host import (
    Data,
    DeviceBirth,
    DeviceDeath,
    Host,
    HostConfig,
    NodeBirth,
    NodeDeath,
    Sample,
    Step,
)
from tests.drivers.mqtt.broker import until


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class HostPeer:
    def __init__(self, connection: Connection, config: HostConfig) -> None:
        self.host = Host(config)
        self.news: list[Step] = []
        self.values: dict[tuple[str, str], Sample] = {}  # by device and metric
        self.history: list[Sample] = []
        self.client = MqttClient(
            connection,
            on_message=lambda topic, payload, _: self.do(self.host.message(topic, payload, now_ms())),
            on_up=lambda _: self.do(self.host.connected(now_ms())),
            on_down=lambda _: self.do(self.host.disconnected(now_ms())),
            prepare=lambda _: self.host.will(now_ms()),
        )

    def do(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Publish):
                self.client.publish(step.topic, step.payload, qos=step.qos, retain=step.retain)
            elif isinstance(step, Subscribe):
                self.client.subscribe(step.filters)
            elif isinstance(step, Disconnect):
                self.client.disconnect()
            else:
                self.news.append(step)
                self._note(step)

    def _note(self, step: Step) -> None:
        if isinstance(step, Data) and step.historical:
            self.history += step.samples
        elif isinstance(step, Data):
            for sample in step.samples:
                self.values[sample.metric.device, sample.metric.name] = sample

    def births(self) -> list[NodeBirth | DeviceBirth]:
        return [one for one in self.news if isinstance(one, NodeBirth | DeviceBirth)]

    def deaths(self) -> list[NodeDeath | DeviceDeath]:
        return [one for one in self.news if isinstance(one, NodeDeath | DeviceDeath)]

    def value(self, name: str, device: str = "") -> Any:
        sample = self.values.get((device, name))
        return sample.value if sample is not None else None

    def write(self, key: tuple[str, str], name: str, value: Any, device: str = "") -> None:
        metric = self.host.nodes[key].table.find(device, name)
        assert metric is not None
        self.do(self.host.write(key, device, [(metric, value)], now_ms()))


@contextlib.asynccontextmanager
async def host_peer(connection: Connection, config: HostConfig) -> AsyncIterator[HostPeer]:
    peer = HostPeer(connection, config)

    async def ticks() -> None:
        while True:
            await asyncio.sleep(0.05)
            peer.do(peer.host.tick(now_ms()))

    peer.client.start()
    ticking = asyncio.create_task(ticks())
    await until(lambda: peer.client.connected, "the host is connected")
    try:
        yield peer
    finally:
        ticking.cancel()
        peer.do(peer.host.stop(now_ms()))
        await peer.client.stop()
