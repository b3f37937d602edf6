"""What a bridge publishes: changed values of chosen tags, alarms and events, as JSON messages into its outbox.

Values are latest-wins within an interval. Alarms are read from their journal by number, events by sequence, so that
nothing of these is left out while the supervisor runs, and alarms not even over its restarts.
"""

from __future__ import annotations

import asyncio
import datetime
import fnmatch
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from scan import quality as q
from supervisor.alarms import AlarmService
from supervisor.live import Bus
from supervisor.model import Actor, EventRow, Role
from supervisor.mqtt.config import BridgeSection
from supervisor.mqtt.outbox import Message, Outbox
from supervisor.node_state import Board, NodeState

WAIT_S = 5.0


class TagChoice:
    """Which tags of which runtimes are meant; what was found is kept while a description stays."""

    def __init__(self, section: BridgeSection) -> None:
        self._section = section
        self._masks: dict[str, tuple[Board, npt.NDArray[np.bool_]]] = {}

    def node(self, node: NodeState) -> bool:
        return node.link != "revoked" and _matches(node.name, self._section.nodes)

    def mask(self, node: NodeState, board: Board) -> npt.NDArray[np.bool_]:
        known = self._masks.get(node.node_id)
        if known is None or known[0] is not board:
            tags, exclude = self._section.tags, self._section.exclude
            chosen = [
                _matches(tag.path, tags) and not _matches(tag.path, exclude) for tag in board.describe.tags
            ]
            known = self._masks[node.node_id] = (board, np.array(chosen, bool))
        return known[1]


class Gatherer:
    """Feeds one outbox. ``run`` until cancelled."""

    def __init__(
        self, section: BridgeSection, bus: Bus, alarms: AlarmService, outbox: Outbox, folder: Path
    ) -> None:
        self._section, self._bus, self._alarms, self._outbox = section, bus, alarms, outbox
        self._cursor = folder / "alarms.seen"
        self._choice = TagChoice(section)
        self._seen = 0  # generation of the bus
        self._links: dict[str, str] = {}
        self._actor = Actor(f"bridge {section.name}", Role.VIEWER, "system", "")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            if "values" in self._section.what:
                group.create_task(self._values())
            if "alarms" in self._section.what:
                group.create_task(self._follow_alarms())
            if "events" in self._section.what:
                group.create_task(self._follow_events())

    # ------------------------------------------------------------ values

    async def _values(self) -> None:
        while True:
            self.gather_values()
            await asyncio.sleep(self._section.interval_ms / 1000)

    def gather_values(self) -> int:
        """Messages for what changed since the last call."""
        since, self._seen = self._seen, self._bus.generation
        count = 0
        for node in list(self._bus.nodes.values()):
            board = node.board
            if board is None or not self._choice.node(node):
                continue
            if self._links.get(node.node_id) != node.link:
                self._links[node.node_id] = node.link
                body = {"runtime": node.name, "link": node.link, "time": _time(node.link_since_ns)}
                self._put(f"{_level(node.name)}/link", body, retain=self._section.retain)
            changed = np.flatnonzero(
                (board.changed > since) & self._choice.mask(node, board) & (board.times > 0)
            )
            for index in changed.tolist():
                self._put_value(node, board, index)
            count += len(changed)
        return count

    def _put_value(self, node: NodeState, board: Board, index: int) -> None:
        tag = board.tag(node.node_id, index, node.stale)
        body = {
            "runtime": node.name, "tag": tag.path, "value": _plain(tag.value), "type": tag.type,
            "quality": "good" if q.is_good(tag.quality) else "bad" if q.is_bad(tag.quality) else "uncertain",
            "time": _time(tag.time_ns),
        }  # fmt: skip
        if tag.unit:
            body["unit"] = tag.unit
        self._put(f"{_level(node.name)}/tags/{_level(tag.path)}", body, retain=self._section.retain)

    # ------------------------------------------------------------ alarms and events

    async def _follow_alarms(self) -> None:
        after = _read_number(self._cursor, self._alarms.last_id)
        while True:
            lines, after_new = await self._alarms.next_lines(self._actor, after, wait_s=WAIT_S)
            for line in lines:
                if _matches(line.node or "supervisor", self._section.nodes):
                    body = msgspec.to_builtins(line)
                    self._put(f"{_level(line.node or 'supervisor')}/alarms/{_level(line.entry.alarm)}", body)
            if after_new != after:
                after = after_new
                self._cursor.write_text(str(after))

    async def _follow_events(self) -> None:
        client = self._bus.subscribe(self._actor, {}, False, None)
        try:
            while True:
                update = await client.next(interval_ms=250)
                self._events(update.events)
        finally:
            self._bus.forget(client)

    def _events(self, events: Sequence[EventRow]) -> None:
        for event in events:
            name = event.node or "supervisor"
            if _matches(name, self._section.nodes):
                body = msgspec.to_builtins(event) | {"time": _time(event.time_ns)}
                self._put(f"{_level(name)}/events/{_level(event.kind)}", body)

    def _put(self, channel: str, body: Any, *, retain: bool = False) -> None:
        self._outbox.put(Message(channel, msgspec.json.encode(body), retain))


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text.upper(), pattern.upper()) for pattern in patterns)


def _level(text: str) -> str:
    """A text as one level of a topic."""
    return "".join("_" if character in "+#/\0" else character for character in text) or "_"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _time(time_ns: int) -> str:
    """RFC 3339 in UTC, microseconds."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=time_ns // 1000)
    return moment.isoformat(timespec="microseconds") + "Z"


def _read_number(path: Path, default: int) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return default
