"""One broker for the tests that only need a broker; a device, its image and a second client to talk to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.mqtt import Broker, Connection, parse_device
from drivers.mqtt.client import MqttClient
from drivers.mqtt.device import MqttSession
from scan.problem import Problem
from tests.drivers.mqtt.broker import Mosquitto, running, until

IMAGE_SIZE = 64


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


class FakeImage:
    """%I as the field process keeps it."""

    def __init__(self, rows: int = 32) -> None:
        self.image = np.zeros(IMAGE_SIZE, np.uint8)
        self.quality = np.zeros(rows, np.uint16)
        self.times = np.zeros(rows, np.int64)
        self.changes = 0

    def changed(self) -> None:
        self.changes += 1

    def value(self, kind: str, offset: int) -> Any:
        return self.image[offset : offset + np.dtype(kind).itemsize].view(kind)[0].item()


class Peer:
    """A client that the tests hold."""

    def __init__(self, connection: Connection) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.problems: list[Problem] = []
        self.ups: list[bool] = []
        self.client = MqttClient(
            connection,
            on_message=lambda topic, payload, retained: self.messages.append((topic, payload, retained)),
            on_up=self._up,
            on_down=self.problems.append,
            on_failed=self.problems.append,
        )
        self.filters: list[tuple[str, int]] = []

    def _up(self, session_present: bool) -> None:
        self.ups.append(session_present)
        self.client.subscribe(self.filters)

    def payloads(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in self.messages if name == topic]


@contextlib.asynccontextmanager
async def peer_of(connection: Connection, *filters: str) -> AsyncIterator[Peer]:
    peer = Peer(connection)
    peer.filters = [(one, 1) for one in filters]
    peer.client.start()
    await until(lambda: peer.client.connected, "the peer is connected")
    try:
        yield peer
    finally:
        await peer.client.stop()


@contextlib.asynccontextmanager
async def session_of(
    table: dict[str, Any], *, rows: int = 32
) -> AsyncIterator[tuple[MqttSession, FakeImage]]:
    image = FakeImage(rows)
    session = MqttSession(parse_device(table), image, first_row=0, on_state=lambda state, text: None)
    session.start()
    try:
        yield session, image
    finally:
        await session.stop()


def connection_to(broker: Mosquitto, name: str, **more: Any) -> Connection:
    usual = {"backoff_min_ms": 20, "backoff_max_ms": 100}
    return Connection((Broker("127.0.0.1", broker.port),), name, **(usual | more))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
