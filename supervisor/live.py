"""The live bus: pages and API clients hear what changed, each at its own pace.

Values are latest-wins: a subscription remembers a generation and asks the boards for what is newer, so a slow client
costs no memory and sees fewer steps. Events, commands and deployments are an ordered list, bounded; a client that
cannot keep up is told to load anew (``resync``) and never gets a list with a hole in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

import numpy as np

from scan.problem import fail
from supervisor.model import Actor, CommandRow, Deployment, EventRow, Runtime, TagValue, Update
from supervisor.node_state import NodeState
from supervisor.services import StreamEnded

EVENTS_QUEUED_MAX = 1000
CLIENTS_MAX = 500

Item = EventRow | CommandRow | Deployment


class Bus:
    """One per supervisor; used on its event loop only."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        self.generation = 0
        self._clients: set[Client] = set()
        self._recent: deque[EventRow] = deque(maxlen=EVENTS_QUEUED_MAX)
        self.last_event = 0  # seq of the newest event that is stored

    def next_generation(self) -> int:
        self.generation += 1
        return self.generation

    def values_changed(self, node_id: str) -> None:
        for client in self._clients:
            client.hear_values(node_id)

    def node_changed(self, node: NodeState) -> None:
        node.generation = self.next_generation()
        for client in self._clients:
            client.hear_node(node.node_id)

    def alarms_changed(self) -> None:
        for client in self._clients:
            client.hear_alarms()

    def publish(self, item: Item) -> None:
        if isinstance(item, EventRow):
            self._recent.append(item)
            self.last_event = item.seq
        for client in self._clients:
            client.hear(item)

    def subscribe(
        self, actor: Actor, tags: dict[str, tuple[str, ...]], fleet: bool, after_seq: int | None
    ) -> Client:
        if len(self._clients) >= CLIENTS_MAX:
            raise fail(
                "SV1008",
                "too many live pages are open",
                expected=f"at most {CLIENTS_MAX}",
                remedy="close pages that are not needed",
            )
        client = Client(self, actor, tags, fleet)
        self._clients.add(client)
        if after_seq is not None:
            client.catch_up(after_seq, self._recent, self.last_event)
        return client

    def forget(self, client: Client) -> None:
        self._clients.discard(client)

    @property
    def clients(self) -> int:
        return len(self._clients)

    def close(self) -> None:
        for client in tuple(self._clients):
            client.close()


class Client:
    """``services.Subscription``."""

    def __init__(
        self,
        bus: Bus,
        actor: Actor,
        tags: dict[str, tuple[str, ...]],
        fleet: bool,
    ) -> None:
        self._bus = bus
        self._actor = actor
        self._tags = tags
        self._fleet = fleet
        self._seen = 0  # generation: 0 makes the first update carry everything
        self._items: deque[Item] = deque()
        self._overflow = False
        self._alarms = False
        self._wake = asyncio.Event()
        self._closed = False
        self._last_return = 0.0
        self._wake.set()

    def catch_up(self, after_seq: int, recent: deque[EventRow], newest: int) -> None:
        """Queue the events since then; when they are not all at hand the client must load anew."""
        first = recent[0].seq if recent else newest + 1
        if after_seq > newest or after_seq + 1 < first:
            self._overflow = True
            return
        self._items.extend(e for e in recent if e.seq > after_seq and self._sees(e))

    def hear_values(self, node_id: str) -> None:
        if node_id in self._tags:
            self._wake.set()

    def hear_node(self, node_id: str) -> None:
        if self._fleet or node_id in self._tags:
            self._wake.set()

    def hear_alarms(self) -> None:
        self._alarms = True
        self._wake.set()

    def hear(self, item: Item) -> None:
        if not self._sees(item):
            return
        if len(self._items) >= EVENTS_QUEUED_MAX:
            self._items.clear()
            self._overflow = True
        if not self._overflow:
            self._items.append(item)
        self._wake.set()

    def _sees(self, item: Item) -> bool:
        allowed = self._actor.nodes
        if not allowed:
            return True
        if isinstance(item, Deployment):
            return any(target.node_id in allowed for target in item.targets)
        return item.node_id in allowed

    async def next(self, *, interval_ms: int = 250, beat_ms: int = 2000) -> Update:
        early = self._last_return + interval_ms / 1000 - time.monotonic()
        if early > 0:
            await asyncio.sleep(early)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), beat_ms / 1000)
        if self._closed:
            raise StreamEnded
        self._wake.clear()
        update = self._collect()
        self._last_return = time.monotonic()
        return update

    def _collect(self) -> Update:
        since, self._seen = self._seen, self._bus.generation
        items, self._items = self._items, deque()
        resync, self._overflow = self._overflow, False
        alarms, self._alarms = self._alarms, False
        return Update(
            self._values(since),
            self._runtimes(since),
            tuple(i for i in items if isinstance(i, EventRow)),
            tuple(i for i in items if isinstance(i, CommandRow)),
            tuple(i for i in items if isinstance(i, Deployment)),
            resync,
            alarms,
        )

    def _values(self, since: int) -> tuple[TagValue, ...]:
        found: list[TagValue] = []
        for node_id, paths in self._tags.items():
            node = self._bus.nodes.get(node_id)
            if node is None or node.board is None:
                continue
            changed = np.flatnonzero(node.board.changed > since)
            if since == 0:
                changed = np.arange(len(node.board.changed))
            if paths:
                wanted = {node.board.index_of_path.get(path, -1) for path in paths}
                changed = np.array([i for i in changed if int(i) in wanted], np.int64)
            found.extend(node.tags(changed))
        return tuple(found)

    def _runtimes(self, since: int) -> tuple[Runtime, ...]:
        allowed = self._actor.nodes
        return tuple(
            node.summary()
            for node in self._bus.nodes.values()
            if node.generation > since
            and (self._fleet or node.node_id in self._tags)
            and (not allowed or node.node_id in allowed)
        )

    def close(self) -> None:
        self._closed = True
        self._bus.forget(self)
        self._wake.set()
