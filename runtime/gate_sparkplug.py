"""The node as a Sparkplug edge node, hosted by the gate: the state machine between the snapshot and a broker.

The machine (``drivers.mqtt.sparkplug_edge``) decides what is said; here are the clock, the connection, the disk and the
command lane. While the broker takes nothing, nothing is gathered: what follows is the latest values, not a queue.
"""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import structlog

import scan
from drivers.mqtt.client import MqttClient
from drivers.mqtt.config import Will
from drivers.mqtt.edge_config import SparkplugSection
from drivers.mqtt.sparkplug import SEQ_COUNT, SparkplugError
from drivers.mqtt.sparkplug_edge import (
    Action,
    Disconnect,
    EdgeConfig,
    EdgeNode,
    Publish,
    Refuse,
    Stage,
    Subscribe,
    Write,
)
from drivers.mqtt.sparkplug_space import Item
from runtime.link import DeviceStatus, Event
from runtime.sparkplug_backlog import DiskBacklog
from runtime.sparkplug_symbols import NS_PER_MS, from_metric, metrics_of, to_metric
from runtime.state import write_atomically
from scan.abi import IecType, Symbol
from scan.iomap import IoMap
from scan.problem import Problem, TickworkError
from scan.quality import is_bad, is_good

log = structlog.get_logger("tickwork.sparkplug")

CONGESTED = 200  # messages that the broker has not taken: wait
FLUSHES = 4  # messages of history in one turn
REFUSALS_PER_MINUTE = 60  # that the journal is told of
WRITES_MAX = 16  # commands at work at once
MESSAGES_MAX = 1_000_000  # births must not fail half-way: the edge limits itself by CONGESTED
_MAKERS: dict[IecType, Callable[[float], Any]] = {
    IecType.BOOL: bool, IecType.REAL: float, IecType.LREAL: float,
    **dict.fromkeys((
        IecType.SINT, IecType.INT, IecType.DINT, IecType.USINT, IecType.UINT, IecType.UDINT, IecType.BYTE, IecType.WORD,
        IecType.DWORD, IecType.CHAR, IecType.WCHAR,
    ), int),
}  # fmt: skip

Submit = Callable[[Mapping[Symbol, Any], str], Awaitable[str]]


class SparkplugServer:
    """A hosted server of the gate (``gate_servers.Server``). ``devices`` tells the states of the field devices."""

    def __init__(
        self,
        view: scan.NodeView,
        submit: Submit,
        section: SparkplugSection,
        *,
        node: str,
        channels: IoMap,
        folder: pathlib.Path,
        devices: Callable[[], tuple[DeviceStatus, ...]],
        note: Callable[[Event], None],
    ) -> None:
        self._view, self._submit, self._section, self._note = view, submit, section, note
        self._channels, self._folder, self._devices = channels, folder, devices
        self._name = section.node or node
        connection = section.connection
        self._user = f"sparkplug:{connection.user or connection.brokers[0].host}"
        identifier = connection.client_id or f"tickwork-{section.group}-{self._name}"[:120]
        self._connection = msgspec.structs.replace(connection, client_id=identifier, waiting_max=MESSAGES_MAX)
        self._generation = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._writes: set[asyncio.Task[None]] = set()
        self._told = ""
        self._refusals = (0.0, 0)  # minute, refused commands in it
        self.published = 0

    # ------------------------------------------------------------ hosting

    async def start(self) -> None:
        """Never fails for a broker that is away: it is tried again and again."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._backlog = DiskBacklog(self._folder / "history", self._section.buffer_mb)
        self._metrics = metrics_of(None, self._section, self._channels)
        self.edge = EdgeNode(
            EdgeConfig(
                self._section.group, self._name, self._section.primary_host, len(self._connection.brokers),
                self._section.history,
            ),
            self._metrics.space,
            bdseq=self._stored_bdseq(),
            backlog=self._backlog,
        )  # fmt: skip
        self._follow_program()
        self.client = MqttClient(
            self._connection, on_message=self._message, on_up=self._up, on_down=self._down,
            on_failed=self._failed, prepare=self._will,
        )  # fmt: skip
        self.client.start()
        self._tasks = [asyncio.create_task(self._run(), name="sparkplug")]

    async def stop(self) -> None:
        for task in (*self._tasks, *self._writes):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._writes, return_exceptions=True)
        if self._tasks:
            self._carry_out(self.edge.stop(_now_ms()))
            await self.client.stop()
            self._backlog.buffer.close()
        self._tasks = []

    async def rebind(self) -> None:
        self._follow_program()

    def clients(self) -> list[str]:
        return [f"sparkplug {self.client.broker}"] if self._tasks and self.client.connected else []

    def endpoints(self) -> list[str]:
        return (
            [f"mqtt://{self.client.broker}/spBv1.0/{self._section.group}/{self._name}"] if self._tasks else []
        )

    def _stored_bdseq(self) -> int:
        """Goes on over restarts, so that a late will of the last life cannot be taken for one of this life."""
        try:
            return int((self._folder / "bdseq").read_text("ascii")) % SEQ_COUNT
        except (OSError, ValueError):
            return 0

    # ------------------------------------------------------------ connection

    def _will(self, _index: int) -> Will:
        will = self.edge.will()
        try:
            write_atomically(self._folder / "bdseq", str(self.edge.next_bdseq).encode())
        except OSError as error:
            log.warning("bdSeq cannot be stored", error=str(error))
        return will

    def _up(self, _session_present: bool) -> None:
        self._tell("", f"sparkplug: connected to {self.client.broker}")
        self._carry_out(self.edge.connected(_now_ms()))

    def _down(self, problem: Problem) -> None:
        self.edge.disconnected()
        self._tell(problem.code, f"{problem.message}: {problem.found}")

    def _failed(self, problem: Problem) -> None:
        self._tell(problem.code, f"{problem.message}: {problem.found}")

    def _tell(self, code: str, text: str) -> None:
        """Once per reason, not once per attempt."""
        if code != self._told or not code:
            fields = {"code": code} if code else {}
            self._note(
                Event(time.time_ns(), "server", "sparkplug", text, fields, "warning" if code else "info")
            )
        self._told = code

    def _message(self, topic: str, payload: bytes, _retained: bool) -> None:
        self._carry_out(self.edge.message(topic, payload, _now_ms()))

    # ------------------------------------------------------------ actions

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self.published += self.client.publish(
                    action.topic, action.payload, qos=action.qos, retain=action.retain
                )
            elif isinstance(action, Subscribe):
                self.client.subscribe(action.filters)
            elif isinstance(action, Disconnect):
                self.client.disconnect(with_will=action.with_will, next_broker=action.next_server)
            elif isinstance(action, Write):
                self._begin_write(action)
            else:
                self._refused(action)

    def _begin_write(self, action: Write) -> None:
        if len(self._writes) >= WRITES_MAX:
            self._refused(Refuse(action.owner, "too many commands at once"))
            return
        task = asyncio.create_task(self._write(action), name="sparkplug command")
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, action: Write) -> None:
        try:
            values = {
                self._symbol(item): from_metric(self._symbol(item), value) for item, value in action.values
            }
            for symbol, value in values.items():
                scan.encode_value(symbol, value)
            await self._submit(values, self._user)  # audits, also what the scan refuses
        except SparkplugError as error:
            self._refused(Refuse(action.owner, str(error)))
        except TickworkError as error:
            self._refused(Refuse(action.owner, error.problems[0].message))

    def _symbol(self, item: Item) -> Symbol:
        row = self._metrics.row_of.get((item.owner, item.name))
        if row is None:
            raise SparkplugError("the program changed meanwhile")
        return self._metrics.symbols[row]

    def _refused(self, action: Refuse) -> None:
        """In the journal, but not without end: who may publish could fill it otherwise."""
        minute = time.monotonic() // 60
        if minute != self._refusals[0]:
            self._refusals = (minute, 0)
        self._refusals = (minute, self._refusals[1] + 1)
        if self._refusals[1] > REFUSALS_PER_MINUTE:
            return
        log.warning("command refused", device=action.owner, reason=action.reason)
        fields = {"code": "MQ3002", "device": action.owner, "via": "sparkplug", "result": "rejected"}
        self._note(
            Event(time.time_ns(), "write", self._user, f"MQ3002: {action.reason}", fields, severity="warning")
        )

    # ------------------------------------------------------------ values

    def _follow_program(self) -> None:
        self._view.refresh()
        if self._view.generation == self._generation:
            return
        self._generation = self._view.generation
        self._metrics = metrics_of(self._view.application, self._section, self._channels)
        self._gather = scan.Gather(self._view, self._metrics.symbols)
        self._make = _makers(self._metrics.symbols)
        self._take()
        self._carry_out(self.edge.renew(self._metrics.space, _now_ms()))

    def _take(self) -> Sequence[int]:
        """The rows that changed, whose values are now in the space."""
        if self._view.application is None:
            return ()
        snapshot = self._view.snapshot()
        if snapshot.generation != self._generation:
            return ()
        rows = self._gather.update(snapshot)
        found: list[int] = rows.tolist()
        gather, space, makers, symbols = self._gather, self._metrics.space, self._make, self._metrics.symbols
        values = gather.values[rows].tolist()
        times = (gather.times[rows] // NS_PER_MS).tolist()
        quality = _qualities(gather.quality[rows])
        for at, row in enumerate(found):
            make = makers[row]
            value = make(values[at]) if make is not None else to_metric(symbols[row], gather.exact(row))
            space.set(row, value, times[at], quality[at])
        return found

    async def _run(self) -> None:
        while True:
            try:
                self._turn()
            except TickworkError as error:  # the scan process starts anew, or the disk is full: next time
                log.warning("sparkplug waits", reason=error.code)
            except Exception:  # one value that cannot be told must not silence the others for good
                log.exception("sparkplug")
            await asyncio.sleep(self._section.interval_ms / 1000)

    def _turn(self) -> None:
        self._follow_program()
        now_ms = _now_ms()
        for device in self._devices():
            self._carry_out(self.edge.device(device.name, present=device.state == "online", now_ms=now_ms))
        self._carry_out(self.edge.tick(now_ms))
        if self.client.connected and self.client.waiting > CONGESTED:
            return
        rows = self._take()
        if len(rows):
            self._carry_out(self.edge.changed(rows, now_ms))
        for _ in range(FLUSHES):
            if self.edge.stage != Stage.BORN or not len(self._backlog) or self.client.waiting > CONGESTED:
                break
            self._carry_out(self.edge.flush(now_ms))


def _makers(symbols: Sequence[Symbol]) -> list[Callable[[float], Any] | None]:
    """What makes the value of each row of its float64; None where that does not hold it exactly."""
    return [None if symbol.dims else _MAKERS.get(symbol.type) for symbol in symbols]


def _qualities(column: np.ndarray) -> list[int]:
    if not column.any():
        return [192] * len(column)
    return [192 if is_good(one) else 0 if is_bad(one) else 500 for one in column.tolist()]


def _now_ms() -> int:
    return time.time_ns() // NS_PER_MS
