"""Bridges: an outbox emptied to an MQTT broker or a web server, and the supervisor as a Sparkplug edge node.

A slow or absent receiver costs room on the disk, never memory, and delays nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from drivers.mqtt.client import MqttClient
from runtime.http import tls_context
from scan.problem import Problem, TickworkError
from supervisor.alarms import AlarmService
from supervisor.live import Bus
from supervisor.mqtt.config import BridgeSection
from supervisor.mqtt.gatherer import Gatherer
from supervisor.mqtt.outbox import Message, Outbox
from supervisor.signature import sign

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
TAKEN_POLL_S = 0.01
WEBHOOK_TIMEOUT_S = 10.0
PERMANENT = frozenset({400, 413, 422})  # the same message would be refused for ever

_LOST = "the connection was lost before the broker had everything"

log = logging.getLogger("tickwork.supervisor.mqtt")


class BridgeState(msgspec.Struct, frozen=True):
    """For the page of the administrator."""

    name: str
    kind: str
    receiver: str
    connected: bool
    sent: int
    waiting: int
    lost: int
    problem: str


class Bridge:
    """What all bridges have: an outbox with its gatherer. A kind says how a part is delivered."""

    def __init__(self, section: BridgeSection, folder: Path, bus: Bus, alarms: AlarmService) -> None:
        self.section = section
        self.sent = 0
        self.problem = ""
        own = folder / "mqtt" / section.name
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.outbox = Outbox(own / "outbox", size_mb=section.buffer_mb, days=section.buffer_days)
        self._gatherer = Gatherer(section, bus, alarms, self.outbox, own)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._gatherer.run())
                group.create_task(self._deliver_all())
        finally:
            self.outbox.close()

    async def _deliver_all(self) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            messages, number = await self.outbox.part()
            try:
                await self.deliver(messages)
            except (TickworkError, OSError) as error:
                self._failed(str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                continue
            pause_s = RETRY_FIRST_S
            self.problem = ""
            self.sent += len(messages)
            self.outbox.sent(number)

    def _failed(self, text: str) -> None:
        if text and text != self.problem:
            log.warning("bridge %s: %s", self.section.name, text)
        self.problem = text

    async def deliver(self, messages: list[Message]) -> None:
        """Returns when the receiver has them. Raises OSError or TickworkError to have it tried again."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        return not self.problem

    @property
    def receiver(self) -> str:
        return self.section.url

    def status(self) -> BridgeState:
        return BridgeState(
            self.section.name, self.section.kind, self.receiver, self.connected, self.sent, self.outbox.pending,
            self.outbox.lost, self.problem,
        )  # fmt: skip


class JsonBridge(Bridge):
    """One message a value, alarm or event: ``topic/RUNTIME/tags/TAG``, ``…/alarms/ALARM``, ``…/events/KIND``."""

    def __init__(self, section: BridgeSection, folder: Path, bus: Bus, alarms: AlarmService) -> None:
        super().__init__(section, folder, bus, alarms)
        assert section.connection is not None
        self.client = MqttClient(
            section.connection, on_message=lambda topic, payload, retained: None,
            on_up=lambda _: self._failed(""), on_down=self._lost, on_failed=self._lost,
        )  # fmt: skip

    def _lost(self, problem: Problem) -> None:
        self._failed(f"{problem.code}: {problem.message}: {problem.found}")

    async def run(self) -> None:
        self.client.start()
        try:
            await super().run()
        finally:
            await self.client.stop()

    async def deliver(self, messages: list[Message]) -> None:
        client, attempt = self.client, self.client.attempts
        for message in messages:
            topic = f"{self.section.topic}/{message.channel}"
            while not client.publish(topic, message.body, qos=self.section.qos, retain=message.retain):
                await self._same(attempt)
        while client.waiting:
            await self._same(attempt)
        if not client.connected:
            raise ConnectionError(_LOST)

    async def _same(self, attempt: int) -> None:
        """A little later, if the connection is still the one that got the first of this part."""
        await asyncio.sleep(TAKEN_POLL_S)
        if self.client.attempts != attempt:
            raise ConnectionError(_LOST)

    @property
    def connected(self) -> bool:
        return self.client.connected

    @property
    def receiver(self) -> str:
        return self.client.broker


class WebhookBridge(Bridge):
    """POSTs a JSON list of messages, signed. 2xx: taken. Others: tried again, but for those that never will be."""

    def __init__(self, section: BridgeSection, folder: Path, bus: Bus, alarms: AlarmService) -> None:
        super().__init__(section, folder, bus, alarms)
        self._secret = Path(section.secret_file).read_bytes().strip() if section.secret_file else b""
        self._http = httpx.AsyncClient(
            timeout=WEBHOOK_TIMEOUT_S, verify=tls_context(section.ca_file), follow_redirects=False
        )

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            await self._http.aclose()

    async def deliver(self, messages: list[Message]) -> None:
        rows = [{"channel": one.channel, "message": msgspec.Raw(one.body)} for one in messages]
        body = msgspec.json.encode({"bridge": self.section.name, "messages": rows})
        headers = {"Content-Type": "application/json"} | sign(self._secret, body, int(time.time()))
        try:
            response = await self._http.post(self.section.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        if response.status_code in PERMANENT:
            log.error(
                "bridge %s: %d messages were refused: %d",
                self.section.name,
                len(messages),
                response.status_code,
            )
        elif not response.is_success:
            raise ConnectionError(f"HTTP {response.status_code}")


Make = Callable[[BridgeSection, Path, Bus, AlarmService], Any]
KINDS: dict[str, Make] = {"json": JsonBridge, "webhook": WebhookBridge}
