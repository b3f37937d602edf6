"""Hosts and bridges as ``mqtt.toml`` names them, followed when the file changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from scan.problem import TickworkError
from supervisor.alarms import AlarmService
from supervisor.commands import CommandService
from supervisor.config_store import ConfigStore
from supervisor.deployments import DeploymentService
from supervisor.fleet import FleetService
from supervisor.model import MqttLine
from supervisor.mqtt.bridge import KINDS, BridgeState, JsonBridge
from supervisor.mqtt.config import FILE_NAME, BridgeSection, HostSection, MqttSettings, load_settings
from supervisor.mqtt.edge_bridge import EdgeBridge
from supervisor.mqtt.host import HostState, SparkplugHost
from supervisor.mqtt.outbox import Message

LOOK_S = 1.0
RESTART_S = 5.0

log = logging.getLogger("tickwork.supervisor.mqtt")


class Runs(Protocol):
    async def run(self) -> None: ...

    def status(self) -> BridgeState: ...


class MqttService:
    """``watch`` runs until it is cancelled; then all hosts have said that they go."""

    def __init__(
        self,
        folder: Path,
        *,
        store: ConfigStore,
        fleet: FleetService,
        commands: CommandService,
        deployments: DeploymentService,
        alarms: AlarmService,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.folder = folder
        self.problem = ""
        self.hosts: list[SparkplugHost] = []
        self._store, self._fleet, self._alarms = store, fleet, alarms
        self._commands, self._deployments, self._now_ns = commands, deployments, now_ns
        self._settings = MqttSettings()
        self._bridges: dict[str, Runs] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def watch(self) -> None:
        stamp: tuple[int, int] | None = (0, 0)
        try:
            while True:
                if (now := self._stamp()) != stamp:
                    stamp = now
                    await self._follow()
                await asyncio.sleep(LOOK_S)
        finally:
            await self._stop()

    def status(self) -> tuple[tuple[HostState, ...], tuple[BridgeState, ...]]:
        return (
            tuple(host.status() for host in self.hosts),
            tuple(bridge.status() for bridge in self._bridges.values()),
        )

    def publish(self, bridge: str, channel: str, body: bytes) -> None:
        """Into the outbox of a JSON bridge, under its topic. Raises LookupError when there is none of this name."""
        found = self._bridges.get(bridge)
        if not isinstance(found, JsonBridge):
            raise LookupError(f"there is no bridge of kind json named {bridge} in {FILE_NAME}")
        found.outbox.put(Message(channel, body))

    def lines(self) -> tuple[tuple[MqttLine, ...], str]:
        """For the page of settings, and why ``mqtt.toml`` is not used."""
        hosts, bridges = self.status()
        found = [
            MqttLine(
                one.name, "host", one.broker, one.connected,
                f"{one.online} of {one.nodes} nodes online, {one.rebirths} rebirths, {one.malformed} damaged messages",
                one.problem,
            )
            for one in hosts
        ]  # fmt: skip
        found += [
            MqttLine(
                one.name, one.kind, one.receiver, one.connected,
                f"{one.sent} sent, {one.waiting} waiting, {one.lost} lost", one.problem,
            )
            for one in bridges
        ]  # fmt: skip
        return tuple(found), self.problem

    def _stamp(self) -> tuple[int, int] | None:
        try:
            facts = (self.folder / FILE_NAME).stat()
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_size

    async def _follow(self) -> None:
        """A file with a mistake changes nothing."""
        try:
            settings = load_settings(self.folder)
        except TickworkError as error:
            self.problem = str(error)
            log.error("mqtt.toml is not used: %s", error)
            self._fleet.tell(
                "", "mqtt", "error", "mqtt.toml is not used", {"problem": error.problems[0].render()}
            )
            return
        self.problem = ""
        if settings != self._settings:
            await self._stop()
            self._settings = settings
            self._start(settings)

    def _start(self, settings: MqttSettings) -> None:
        for section in settings.hosts:
            self._start_host(section)
        for bridge in settings.bridges:
            self._tasks.append(asyncio.create_task(self._keep(bridge), name=f"bridge {bridge.name}"))

    def _start_host(self, section: HostSection) -> None:
        for broker in section.connection.brokers:
            host = SparkplugHost(
                section, broker, store=self._store, fleet=self._fleet, commands=self._commands,
                deployments=self._deployments, now_ns=self._now_ns,
            )  # fmt: skip
            self.hosts.append(host)
            host.start()

    async def _keep(self, section: BridgeSection) -> None:
        """A bridge that fails is told and made anew; the others go on."""
        while True:
            try:
                bridge: Runs = (EdgeBridge if section.kind == "sparkplug" else KINDS[section.kind])(
                    section, self.folder, self._fleet.bus, self._alarms
                )
                self._bridges[section.name] = bridge
                await bridge.run()
            except Exception:
                log.exception("bridge %s", section.name)
            await asyncio.sleep(RESTART_S)

    async def _stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(host.stop() for host in self.hosts), return_exceptions=True)
        self.hosts.clear()
        self._bridges.clear()
