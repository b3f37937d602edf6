"""MQTT devices in the field process: each has a connection of its own, as each may have its own broker and user."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from drivers.mqtt import MqttDevice
from drivers.mqtt.device import MqttSession
from runtime.field_driver import InputImage, StateListener
from runtime.link import DeviceStatus
from scan.quality import BAD_NOT_CONNECTED, GOOD

RATE_WINDOW_S = 5.0


class MqttFamily:
    """All MQTT devices of a plant."""

    def __init__(self, state: Path) -> None:
        self._sessions: list[MqttFieldSession] = []

    def add(
        self, device: MqttDevice, image: InputImage, *, first_row: int, on_state: StateListener
    ) -> MqttFieldSession:
        session = MqttFieldSession(device, image, first_row, on_state)
        self._sessions.append(session)
        return session

    def start(self) -> None:
        for session in self._sessions:
            session.mqtt.start()

    async def stop(self) -> None:
        await asyncio.gather(*(session.mqtt.stop() for session in self._sessions))


class MqttFieldSession:
    """A device with the name by which people know it."""

    def __init__(
        self, device: MqttDevice, image: InputImage, first_row: int, on_state: StateListener
    ) -> None:
        self.device = device
        self.mqtt = MqttSession(
            device,
            image,
            first_row=first_row,
            on_state=lambda state, text: on_state(device.name, state, text),
        )
        self._counted = (time.monotonic(), 0)
        self._rate = 0.0

    @property
    def settled(self) -> bool:
        return self.mqtt.settled

    def follow(self, image: bytes, *, live: bool) -> None:
        self.mqtt.follow(image, live=live)

    def report(self) -> dict[str, Any]:
        counts = self.mqtt.counts
        return {
            "received": counts.received,
            "published": counts.published,
            "errors": counts.errors,
            "waiting": self.mqtt.client.waiting,
            "broker": self.mqtt.client.broker,
        }

    def status(self) -> DeviceStatus:
        counts = self.mqtt.counts
        return DeviceStatus(
            name=self.device.name,
            protocol=self.device.protocol,
            address=self.mqtt.client.broker,
            state=self.mqtt.state,
            quality=GOOD if self.mqtt.state == "online" else BAD_NOT_CONNECTED,
            requests=counts.received + counts.published,
            errors=counts.errors,
            since_ns=self.mqtt.since_ns,
            last_error=counts.last_error,
            rate_per_s=self._update_rate(counts.received + counts.published),
        )

    def _update_rate(self, total: int) -> float:
        since, before = self._counted
        now = time.monotonic()
        if now - since >= RATE_WINDOW_S:
            self._rate = (total - before) / (now - since)
            self._counted = (now, total)
        return self._rate
