"""A process image, a device table and a way to wait: what the tests of the Modbus driver share."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from drivers.modbus import DevicePoller, ModbusDevice, open_link, parse_device
from scan.quality import BAD_WAITING_FOR_INITIAL_DATA

DEADLINE_S = 5.0


class FakeImage:
    """The working copy of the inputs segment, without a segment. ``history`` keeps each published state."""

    def __init__(self, device: ModbusDevice) -> None:
        self.image = np.zeros(max(device.input_bytes, 1), np.uint8)
        self.quality = np.full(len(device.inputs), BAD_WAITING_FOR_INITIAL_DATA, np.uint16)
        self.times = np.zeros(len(device.inputs), np.int64)
        self.history: list[tuple[bytes, bytes]] = []

    def changed(self) -> None:
        self.history.append((self.image.tobytes(), self.quality.tobytes()))

    def words(self, count: int) -> list[int]:
        return [int(word) for word in self.image[: 2 * count].view("<u2")]


class World:
    def table(self, port: int, **changes: Any) -> dict[str, Any]:
        """A device table with quick times for a simulated device at ``port``."""
        return {
            "name": "plant", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": port,
            "timeout_ms": 200, "retries": 0, "probe_ms": 100, "backoff_max_ms": 500, **changes,
        }  # fmt: skip

    def read(self, **changes: Any) -> dict[str, Any]:
        return {
            "function": "holding-registers", "address": 0, "count": 4, "to": "%IW0", "period_ms": 20, **changes,
        }  # fmt: skip

    def image(self, device: ModbusDevice) -> FakeImage:
        return FakeImage(device)

    @contextlib.asynccontextmanager
    async def polling(
        self, definition: dict[str, Any], **options: Any
    ) -> AsyncIterator[tuple[DevicePoller, FakeImage]]:
        """A running poller on its own link, and its image."""
        device = parse_device(definition)
        image = FakeImage(device)
        link = open_link(device.connection)
        poller = DevicePoller(device, link, image, **options)
        poller.start()
        link.start()
        try:
            yield poller, image
        finally:
            poller.stop()
            await link.stop()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Waits for ``condition``, at most five seconds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            await asyncio.sleep(0.002)


@pytest.fixture
def world() -> World:
    return World()
