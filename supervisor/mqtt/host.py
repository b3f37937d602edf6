"""A Sparkplug host application on one broker: the machine, its connection, and the runtimes made of the nodes."""

from __future__ import annotations

import asyncio
import fnmatch
import functools
import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from sqlite_utils import Database

from drivers.mqtt._sparkplug_metrics import HostMetric
from drivers.mqtt.client import MqttClient
from drivers.mqtt.config import Broker, Will
from drivers.mqtt.sparkplug import SparkplugError
from drivers.mqtt.sparkplug_edge import Disconnect, Publish, Subscribe
from drivers.mqtt.sparkplug_host import (
    Data,
    DeviceBirth,
    DeviceDeath,
    Host,
    HostConfig,
    Key,
    NodeBirth,
    NodeDeath,
    Step,
    Trouble,
)
from scan.problem import Problem, TickworkError
from supervisor import audit
from supervisor.commands import CommandService
from supervisor.config_store import ConfigStore, one
from supervisor.deployments import DeploymentService
from supervisor.fleet import FleetService
from supervisor.model import Actor, Role
from supervisor.mqtt.config import HostSection
from supervisor.mqtt.edge_runtime import EdgeRuntime

TURN_S = 0.25
STATUS_TURNS = 8  # every other second
SHUTDOWN_S = 1.0

log = logging.getLogger("tickwork.supervisor.mqtt")


class HostState(msgspec.Struct, frozen=True):
    """For the page of the administrator."""

    name: str
    broker: str
    host_id: str
    connected: bool
    nodes: int
    online: int
    rebirths: int
    malformed: int
    problem: str


class SparkplugHost:
    """One broker. ``start`` and ``stop`` on the event loop."""

    def __init__(
        self,
        section: HostSection,
        broker: Broker,
        *,
        store: ConfigStore,
        fleet: FleetService,
        commands: CommandService,
        deployments: DeploymentService,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.section, self.broker = section, broker
        self.machine = Host(
            HostConfig(section.host_id, section.groups, section.reorder_ms, section.rebirth_ms)
        )
        self.runtimes: dict[Key, EdgeRuntime] = {}
        self._store, self._fleet, self._commands, self._deployments = store, fleet, commands, deployments
        self._now_ns = now_ns
        self._problem = ""
        self._stopping = False
        self._waiting: dict[Key, list[Step]] = {}  # news of nodes that are being made known
        self._refused: set[Key] = set()
        self._task: asyncio.Task[None] | None = None
        connection = msgspec.structs.replace(section.connection, brokers=(broker,))
        self.client = MqttClient(
            connection,
            on_message=self._message,
            on_up=lambda _: self._up(),
            on_down=self._down,
            on_failed=self._failed,
            prepare=self._will,
        )

    @property
    def _now_ms(self) -> int:
        return self._now_ns() // 1_000_000

    # ------------------------------------------------------------ life

    def start(self) -> None:
        self.client.start()
        self._task = asyncio.create_task(self._run(), name=f"sparkplug host {self.broker}")

    async def stop(self) -> None:
        """Says that the host goes; all its runtimes are down then."""
        self._stopping = True
        self._do(self.machine.stop(self._now_ms))
        await self.client.stop()
        self._do(self.machine.disconnected(self._now_ms))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for runtime in self.runtimes.values():
            await runtime.turn(self._now_ms)

    def status(self) -> HostState:
        nodes = self.machine.nodes.values()
        return HostState(
            self.section.name, str(self.broker), self.section.host_id, self.client.connected, len(nodes),
            sum(node.online for node in nodes), sum(node.rebirths for node in nodes),
            sum(node.malformed for node in nodes), self._problem,
        )  # fmt: skip

    # ------------------------------------------------------------ connection

    def _will(self, _index: int) -> Will | None:
        return self.machine.will(self._now_ms)

    def _up(self) -> None:
        self._problem = ""
        self._do(self.machine.connected(self._now_ms))

    def _down(self, problem: Problem) -> None:
        self._failed(problem)
        self._do(self.machine.disconnected(self._now_ms))

    def _failed(self, problem: Problem) -> None:
        text = f"{problem.code}: {problem.message}: {problem.found}"
        if text != self._problem and not self._stopping:
            log.warning("%s", text)
        self._problem = text

    def _message(self, topic: str, payload: bytes, _retained: bool) -> None:
        self._do(self.machine.message(topic, payload, self._now_ms))

    # ------------------------------------------------------------ steps

    def _do(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Publish):
                self.client.publish(step.topic, step.payload, qos=step.qos, retain=step.retain)
            elif isinstance(step, Subscribe):
                self.client.subscribe(step.filters)
            elif not isinstance(step, Disconnect):
                self._news(step)

    def _news(self, step: Any) -> None:
        runtime = self.runtimes.get(step.key)
        if runtime is not None:
            self._tell(runtime, step)
        elif step.key in self._waiting:
            self._waiting[step.key].append(step)
        elif isinstance(step, NodeBirth) and step.key not in self._refused:
            if self._is_wanted(step.key):
                self._waiting[step.key] = [step]
            else:
                self._refused.add(step.key)

    def _is_wanted(self, key: Key) -> bool:
        if len(self.runtimes) + len(self._waiting) >= self.section.nodes_max:
            log.warning("%s/%s is not taken: nodes_max = %d", *key, self.section.nodes_max)
            return False
        return any(fnmatch.fnmatchcase("/".join(key), pattern) for pattern in self.section.nodes)

    def _tell(self, runtime: EdgeRuntime, step: Any) -> None:
        if isinstance(step, Data):
            runtime.take(step.samples, historical=step.historical)
        elif isinstance(step, NodeBirth | DeviceBirth):
            runtime.born()
        elif isinstance(step, NodeDeath):
            runtime.died(step.reason, step.time_ms, tuple(runtime.node.table.metrics()))
        elif isinstance(step, DeviceDeath):
            runtime.stale(step.time_ms, tuple(runtime.node.table.metrics(step.device)))
            runtime.tell_status(self._now_ms)
        elif isinstance(step, Trouble):
            log.warning("%s/%s: %s", *step.key, step.text)
            self._fleet.tell(runtime.state.node_id, "sparkplug", "warning", step.text, {})

    # ------------------------------------------------------------ a few times a second

    async def _run(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(TURN_S)
            turns += 1
            try:
                self._do(self.machine.tick(self._now_ms))
                await self._make_known()
                for runtime in list(self.runtimes.values()):
                    await runtime.turn(self._now_ms)
                    if turns % STATUS_TURNS == 0:
                        runtime.tell_status(self._now_ms)
            except TickworkError as error:
                log.error("sparkplug host %s: %s", self.broker, error)
            except Exception:  # a defect of ours must not end the hosting of everybody
                log.exception("sparkplug host %s", self.broker)

    async def _make_known(self) -> None:
        """Nodes that were born for the first time become runtimes of the fleet."""
        for key in list(self._waiting):
            name = runtime_name(key)
            identifier = "s" + hashlib.sha256("/".join((self.section.name, *key)).encode()).hexdigest()[:16]
            await self._store.run(functools.partial(self._insert, identifier=identifier, name=name, key=key))
            state = await self._fleet.enrolled(identifier)
            steps = self._waiting.pop(key)
            if state.link == "revoked":
                self._refused.add(key)
                continue
            runtime = self.runtimes[key] = EdgeRuntime(
                state, self.machine.nodes[key], address=str(self.broker), fleet=self._fleet,
                commands=self._commands, deployments=self._deployments, write=self._write,
                confirm_ms=self.section.confirm_ms,
            )  # fmt: skip
            for step in steps:
                self._tell(runtime, step)

    def _insert(self, db: Database, *, identifier: str, name: str, key: Key) -> None:
        if one(db, "SELECT 1 AS found FROM node WHERE node_id=?", identifier):
            return
        if one(db, "SELECT 1 AS found FROM node WHERE name=?", name):
            name = f"{name[:50]}-{identifier[1:7]}"
        now = self._now_ns()
        db.table("node").insert(
            {
                "node_id": identifier,
                "name": name,
                "public_key": "",
                "version": "Sparkplug B",
                "enrolled_ns": now,
            }
        )
        actor = Actor(f"sparkplug {self.section.name}", Role.VIEWER, "system", str(self.broker))
        audit.record(
            db, actor, "runtime.enrol", f"runtime {name}", now_ns=now, new=identifier,
            reason=f"birth of the Sparkplug edge node {'/'.join(key)}",
        )  # fmt: skip

    def _write(self, key: Key, device: str, values: list[tuple[HostMetric, Any]]) -> None:
        for step in self.machine.write(key, device, values, self._now_ms):
            if isinstance(step, Publish) and not self.client.publish(step.topic, step.payload, qos=step.qos):
                raise SparkplugError("the broker does not take the command")


def runtime_name(key: Key) -> str:
    """A name for people, of the signs that names of runtimes may have."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", ".".join(key)).strip("-._") or "node"
    return name[:63]
