"""The supervisor as a Sparkplug edge node: each chosen runtime is a device, each chosen tag a metric."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from drivers.mqtt.client import MqttClient
from drivers.mqtt.config import Will
from drivers.mqtt.sparkplug import DataType
from drivers.mqtt.sparkplug_edge import Action, Disconnect, EdgeConfig, EdgeNode, Publish, Stage, Subscribe
from drivers.mqtt.sparkplug_space import Item, Space
from runtime.sparkplug_backlog import DiskBacklog
from scan import quality as q
from scan.abi import IecType
from scan.problem import Problem
from supervisor.alarms import AlarmService
from supervisor.live import Bus
from supervisor.mqtt.bridge import BridgeState
from supervisor.mqtt.config import BridgeSection
from supervisor.mqtt.gatherer import TagChoice
from supervisor.mqtt.tags import NS_PER_MS
from supervisor.node_state import Board, NodeState

CONGESTED = 200
MESSAGES_MAX = 1_000_000
FLUSHES = 4

D, T = DataType, IecType
_DATATYPES: dict[IecType, DataType] = {
    T.BOOL: D.BOOLEAN, T.SINT: D.INT8, T.INT: D.INT16, T.DINT: D.INT32, T.LINT: D.INT64, T.USINT: D.UINT8,
    T.UINT: D.UINT16, T.UDINT: D.UINT32, T.ULINT: D.UINT64, T.BYTE: D.UINT8, T.WORD: D.UINT16, T.DWORD: D.UINT32,
    T.LWORD: D.UINT64, T.REAL: D.FLOAT, T.LREAL: D.DOUBLE, T.STRING: D.STRING, T.WSTRING: D.STRING, T.DATE: D.DATETIME,
    T.LDATE: D.DATETIME, T.DT: D.DATETIME, T.LDT: D.DATETIME,
}  # fmt: skip


class EdgeBridge:
    """Read-only: commands to its metrics are refused, as nothing is writable."""

    def __init__(self, section: BridgeSection, folder: Path, bus: Bus, _alarms: AlarmService) -> None:
        assert section.connection is not None
        self.section = section
        self.sent = 0
        self.problem = ""
        self._bus = bus
        self._choice = TagChoice(section)
        self._seen = 0
        self._boards: dict[str, Board] = {}
        self._first_row: dict[str, dict[int, int]] = {}  # node id -> row of each chosen tag
        self._folder = folder / "mqtt" / section.name
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._backlog = DiskBacklog(self._folder / "history", section.buffer_mb)
        servers = len(section.connection.brokers)
        self.edge = EdgeNode(
            EdgeConfig(section.group, section.name, "", servers),
            Space(()),
            bdseq=self._bdseq(),
            backlog=self._backlog,
        )
        connection = msgspec.structs.replace(section.connection, waiting_max=MESSAGES_MAX)
        self.client = MqttClient(
            connection,
            on_message=lambda topic, payload, _: self._do(self.edge.message(topic, payload, _now_ms())),
            on_up=lambda _: self._up(),
            on_down=self._lost,
            on_failed=self._lost,
            prepare=self._will,
        )

    async def run(self) -> None:
        """Until cancelled."""
        self._turn()
        self.client.start()
        try:
            while True:
                await asyncio.sleep(self.section.interval_ms / 1000)
                self._turn()
        finally:
            self._do(self.edge.stop(_now_ms()))
            await self.client.stop()
            self._backlog.buffer.close()

    def status(self) -> BridgeState:
        return BridgeState(
            self.section.name, "sparkplug", self.client.broker, self.client.connected, self.sent, len(self._backlog),
            self._backlog.buffer.lost, self.problem,
        )  # fmt: skip

    # ------------------------------------------------------------ connection

    def _bdseq(self) -> int:
        try:
            return int((self._folder / "bdseq").read_text())
        except (OSError, ValueError):
            return 0

    def _will(self, _index: int) -> Will:
        will = self.edge.will()
        (self._folder / "bdseq").write_text(str(self.edge.next_bdseq))
        return will

    def _up(self) -> None:
        self.problem = ""
        self._do(self.edge.connected(_now_ms()))

    def _lost(self, problem: Problem) -> None:
        self.edge.disconnected()
        self.problem = f"{problem.code}: {problem.message}: {problem.found}"

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self.sent += self.client.publish(action.topic, action.payload, qos=action.qos)
            elif isinstance(action, Subscribe):
                self.client.subscribe(action.filters)
            elif isinstance(action, Disconnect):
                self.client.disconnect(with_will=action.with_will, next_broker=action.next_server)

    # ------------------------------------------------------------ values

    def _turn(self) -> None:
        if self.client.connected and self.client.waiting > CONGESTED:
            return
        nodes = [
            node for node in self._bus.nodes.values() if node.board is not None and self._choice.node(node)
        ]
        now_ms = _now_ms()
        if {node.node_id: node.board for node in nodes} != self._boards:
            self._renew(nodes, now_ms)
        for node in nodes:
            self._do(self.edge.device(node.name, present=node.link == "up", now_ms=now_ms))
        since, self._seen = self._seen, self._bus.generation
        rows = [row for node in nodes for row in self._changed(node, since)]
        if rows:
            self._do(self.edge.changed(rows, now_ms))
        self._do(self.edge.tick(now_ms))
        for _ in range(FLUSHES):
            if self.edge.stage == Stage.BORN and len(self._backlog):
                self._do(self.edge.flush(now_ms))

    def _renew(self, nodes: list[NodeState], now_ms: int) -> None:
        """Other runtimes or other tags: all metrics anew."""
        self._boards = {node.node_id: node.board for node in nodes if node.board is not None}
        self._first_row = {}
        items: list[Item] = []
        for node in nodes:
            board = self._boards[node.node_id]
            rows = self._first_row[node.node_id] = {}
            for index in np.flatnonzero(self._choice.mask(node, board)).tolist():
                rows[index] = len(items)
                items.append(_item(node, board, index))
        space = Space(items, (), tuple(dict.fromkeys(item.owner for item in items)))
        for node in nodes:
            self._fill(space, node, list(self._first_row[node.node_id]))
        self._seen = self._bus.generation
        self._do(self.edge.renew(space, now_ms))

    def _changed(self, node: NodeState, since: int) -> list[int]:
        board, rows = self._boards[node.node_id], self._first_row[node.node_id]
        changed = [index for index in np.flatnonzero(board.changed > since).tolist() if index in rows]
        self._fill(self.edge.space, node, changed)
        return [rows[index] for index in changed]

    def _fill(self, space: Space, node: NodeState, indices: list[int]) -> None:
        board, rows = self._boards[node.node_id], self._first_row[node.node_id]
        for index in indices:
            quality = int(board.quality[index])
            level = 192 if q.is_good(quality) else 0 if q.is_bad(quality) else 500
            if node.stale and level == 192:
                level = 500
            value = _value(
                space.items[rows[index]].datatype, float(board.values[index]), board.texts.get(index)
            )
            space.set(rows[index], value, int(board.times[index]) // NS_PER_MS, level)


def _item(node: NodeState, board: Board, index: int) -> Item:
    tag = board.describe.tags[index]
    datatype = _DATATYPES.get(_iec(tag.type), D.INT64)
    properties: list[tuple[str, int, object]] = [("readOnly", D.BOOLEAN, True)]
    if tag.unit:
        properties.append(("engUnit", D.STRING, tag.unit))
    if tag.low is not None:
        properties.append(("engLow", D.DOUBLE, tag.low))
    if tag.high is not None:
        properties.append(("engHigh", D.DOUBLE, tag.high))
    return Item(
        tag.path, int(datatype), owner=node.name, description=tag.comment, properties=tuple(properties)
    )


def _iec(number: int) -> IecType:
    try:
        return IecType(number)
    except ValueError:
        return IecType.LINT


def _value(datatype: int, number: float, text: str | None) -> Any:
    if datatype == D.STRING:
        return text
    if number != number:
        return number if datatype in (D.FLOAT, D.DOUBLE) else None
    if datatype in (D.FLOAT, D.DOUBLE):
        return number
    if datatype == D.BOOLEAN:
        return number != 0
    if datatype == D.DATETIME:
        return max(int(number) // NS_PER_MS, 0)
    return min(int(number), 2**63 - 1) if datatype == D.INT64 else min(int(number), 2**64 - 1)


def _now_ms() -> int:
    return time.time_ns() // NS_PER_MS
