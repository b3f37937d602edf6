"""One Sparkplug edge node as a runtime of the fleet: it speaks for the node as a link would.

What the host machine tells gathers here and goes to the fleet four times a second, so that a birth of the node and of
its devices is one description, and a thousand small messages are one batch. Commands become NCMD or DCMD; they are
effective when data of the node show the value.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from drivers.mqtt._sparkplug_metrics import HostMetric, Sample
from drivers.mqtt.sparkplug import QUALITY_STALE, SparkplugError
from drivers.mqtt.sparkplug_host import Key, Node
from runtime.link import Batch, Command, CommandResult, Deploy, DeployState, DeviceStatus, Down, Status
from scan.problem import Problem, TickworkError
from scan.quality import BAD_NOT_CONNECTED, GOOD
from supervisor.commands import CommandService
from supervisor.deployments import DeploymentService
from supervisor.fleet import FleetService
from supervisor.mqtt import tags
from supervisor.node_state import NodeState

PENDING_MAX = 2_000_000  # samples that wait for the history; beyond it the oldest go
COMMANDS_MAX = 200

Write = Callable[[Key, str, list[tuple[HostMetric, Any]]], None]  # raises SparkplugError


class _Open:
    """A command that waits for its confirmation."""

    def __init__(self, command: Command, wanted: list[tuple[HostMetric, Any]], due_ms: int) -> None:
        self.command = command
        self.wanted = {tags.path_of(metric): (metric, value) for metric, value in wanted}
        self.due_ms = due_ms
        self.seen: dict[str, str] = {}


class EdgeRuntime:
    """``fleet.Link`` for one node. ``write`` publishes a command of the host machine."""

    def __init__(
        self,
        state: NodeState,
        node: Node,
        *,
        address: str,
        fleet: FleetService,
        commands: CommandService,
        deployments: DeploymentService,
        write: Write,
        confirm_ms: int,
    ) -> None:
        self.state, self.node, self.address = state, node, address
        self.lost = 0
        self._fleet, self._commands, self._deployments, self._write = fleet, commands, deployments, write
        self._confirm_ms = confirm_ms
        self._boot = secrets.token_hex(8)
        self._seq = 0
        self._digest = ""
        self._linked = False
        self._cut = False
        self._born = False
        self._died: str | None = None
        self._now: list[Sample] = []
        self._past: list[Sample] = []
        self._before: list[Batch] = []  # ready for the history, oldest first
        self._orders: list[Down] = []
        self._open: list[_Open] = []

    # ------------------------------------------------------------ fleet.Link

    def committed(self, seq: int) -> None:
        """Sparkplug has no acknowledgement."""

    def send(self, message: Down) -> None:
        if len(self._orders) < COMMANDS_MAX:
            self._orders.append(message)

    def cut(self, code: int, reason: str) -> None:
        """Revoked: nothing of this node is taken any more."""
        self._cut = self._cut or self.state.link == "revoked" or code == 4003

    # ------------------------------------------------------------ what the host machine tells

    def born(self) -> None:
        """What has gathered belongs to the metrics of before: it keeps their numbers."""
        if not self._born:
            self._before += self._gathered()
        self._born, self._died = True, None

    def died(self, reason: str, time_ms: int, metrics: tuple[HostMetric, ...]) -> None:
        self._died = reason
        self.stale(time_ms, metrics)

    def stale(self, time_ms: int, metrics: tuple[HostMetric, ...]) -> None:
        """These metrics are stale since then, with the values that they had."""
        board = self.state.board
        if board is None or board.describe.digest != self._digest:
            return
        for metric in metrics:
            if metric.tag < 0:
                continue
            last_ms = int(board.times[metric.tag]) // tags.NS_PER_MS
            text = board.texts.get(metric.tag)
            value: Any = text if text is not None else _number(metric, float(board.values[metric.tag]))
            self.take([Sample(metric, value, max(time_ms, last_ms), QUALITY_STALE)], historical=False)

    def take(self, samples: list[Sample], *, historical: bool) -> None:
        target = self._past if historical else self._now
        target += samples
        if len(target) > PENDING_MAX:
            self.lost += len(target) - PENDING_MAX
            del target[:-PENDING_MAX]
        if not historical and self._open:
            self._confirm(samples)

    # ------------------------------------------------------------ a few times a second

    async def turn(self, now_ms: int) -> None:
        """Brings the fleet up to date. Waits while the history cannot take more."""
        if self._cut:
            self._now, self._past, self._orders = [], [], []
            return
        await self._pass_on()
        if self._born:
            self._born = False
            await self._describe(now_ms)
            await self._pass_on()
        if self._died is not None and self._linked:
            self._linked = False
            self._open.clear()
            await self._fleet.disconnected(self.state, self)
        self._died = None
        if self._linked:
            await self._serve_orders(now_ms)

    async def _describe(self, now_ms: int) -> None:
        metrics = list(self.node.table.metrics())
        description = tags.describe("/".join(self.node.key), metrics, tuple(self.node.devices), "Sparkplug B")
        if not self._linked:
            self._linked = True
            await self._fleet.connected(self.state, self, self.address, 0)
            self._digest = ""
        if description.digest != self._digest:
            self._digest = description.digest
            await self._fleet.described(self.state, description)
        self.tell_status(now_ms)

    def tell_status(self, now_ms: int) -> None:
        """State and devices for the pages."""
        if not self._linked:
            return
        devices = tuple(
            DeviceStatus(
                name,
                "sparkplug",
                "",
                "online" if there else "offline",
                GOOD if there else BAD_NOT_CONNECTED,
                0,
                0,
            )
            for name, there in self.node.devices.items()
        )
        now_ns = now_ms * tags.NS_PER_MS
        self._fleet.heard(self.state)
        self._fleet.status(self.state, Status(now_ns, "running", 0, self._digest, (), devices))

    def _gathered(self) -> list[Batch]:
        past, now, self._past, self._now = self._past, self._now, [], []
        found = []
        for samples, historical in ((past, True), (now, False)):
            if samples:
                self._seq += 1
                found.append(tags.batch(self._seq, self._digest, samples, historical=historical))
        return found

    async def _pass_on(self) -> None:
        """In the order of the numbers, each behind its description; the next birth may come while this waits."""
        if not self._born:
            self._before += self._gathered()
        while self._before:
            await self._fleet.batch(self.state, self._boot, self._before.pop(0), self)

    # ------------------------------------------------------------ commands

    async def _serve_orders(self, now_ms: int) -> None:
        orders, self._orders = self._orders, []
        for order in orders:
            if isinstance(order, Command):
                await self._begin(order, now_ms)
            elif isinstance(order, Deploy):
                state = DeployState(
                    order.id, "refused", problems=(_not_here(),), time_ns=now_ms * tags.NS_PER_MS
                )
                await self._deployments.progressed(self.state.node_id, state)
        for one in [one for one in self._open if now_ms >= one.due_ms or len(one.seen) == len(one.wanted)]:
            self._open.remove(one)
            await self._finish(one, now_ms)

    async def _begin(self, command: Command, now_ms: int) -> None:
        try:
            self._check(command, now_ms)
            wanted = [(self._metric(path), text) for path, text in command.values.items()]
            values = [(metric, tags.parse_value(metric, text)) for metric, text in wanted]
            opened = _Open(command, values, now_ms + self._confirm_ms)
            self._open.append(opened)
            self._already(opened)
            for device in dict.fromkeys(metric.device for metric, _ in values):
                self._write(self.node.key, device, [one for one in values if one[0].device == device])
        except (SparkplugError, TickworkError) as error:
            self._open = [one for one in self._open if one.command is not command]
            problem = error.problems[0] if isinstance(error, TickworkError) else _refused(str(error))
            await self._result(
                CommandResult(command.id, "rejected", 0, now_ms * tags.NS_PER_MS, problem=problem)
            )

    def _check(self, command: Command, now_ms: int) -> None:
        if command.kind != "write":
            raise TickworkError(_not_here())
        if command.expires_ns and command.expires_ns < now_ms * tags.NS_PER_MS:
            raise SparkplugError("the command came too late")
        board = self.state.board
        for path, text in command.expected.items():
            index = board.index_of_path.get(path) if board is not None else None
            if board is None or index is None or board.tag(self.state.node_id, index, False).text != text:
                raise SparkplugError(f"{path} no longer has the expected value")

    def _metric(self, path: str) -> HostMetric:
        for metric in self.node.table.metrics():
            if tags.path_of(metric) == path:
                return metric
        raise SparkplugError(f"there is no metric {path}")

    def _already(self, opened: _Open) -> None:
        """A value that is there already makes no data: nodes report by exception."""
        board = self.state.board
        for path, (metric, value) in opened.wanted.items():
            index = board.index_of_path.get(path) if board is not None else None
            if board is None or index is None:
                continue
            text = board.texts.get(index)
            now: Any = text if text is not None else _number(metric, float(board.values[index]))
            if now is not None and tags.same(metric, value, now):
                opened.seen[path] = tags_text(now)

    def _confirm(self, samples: list[Sample]) -> None:
        for one in self._open:
            for sample in samples:
                path = tags.path_of(sample.metric)
                wanted = one.wanted.get(path)
                if wanted is not None and tags.same(sample.metric, wanted[1], sample.value):
                    one.seen[path] = tags_text(sample.value)

    async def _finish(self, one: _Open, now_ms: int) -> None:
        time_ns = now_ms * tags.NS_PER_MS
        if len(one.seen) == len(one.wanted):
            text = ", ".join(one.seen.values())
            await self._result(CommandResult(one.command.id, "effective", 0, time_ns, text))
            return
        missing = ", ".join(path for path in one.wanted if path not in one.seen)
        problem = Problem(
            "SV4007", "whether the command took effect is not known", expected="data of the node with the new value",
            found=f"none for {missing}", remedy="look at the tag; a node that does not permit the write says nothing",
        )  # fmt: skip
        await self._result(CommandResult(one.command.id, "uncertain", 0, time_ns, problem=problem))

    async def _result(self, result: CommandResult) -> None:
        await self._commands.result(self.state.node_id, result)


def _number(metric: HostMetric, value: float) -> Any:
    if value != value:
        return None
    kind = tags.type_of(metric)
    if kind.name in ("REAL", "LREAL"):
        return value
    if kind.name == "BOOL":
        return value != 0
    return int(value) // tags.NS_PER_MS if kind.name == "LDT" else int(value)


def tags_text(value: Any) -> str:
    return ("TRUE" if value else "FALSE") if isinstance(value, bool) else str(value)


def _refused(text: str) -> Problem:
    return Problem("SV4006", text, remedy="compare it with the tags of the node")


def _not_here() -> Problem:
    return Problem(
        "SV4006", "this runtime is reached by Sparkplug, which knows only the writing of metrics",
        remedy="ask the owner of the edge node",
    )  # fmt: skip


__all__ = ["EdgeRuntime"]
