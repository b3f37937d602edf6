"""The fleet: which runtimes there are, what they report, and the messages that go to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec
import numpy as np
from sqlite_utils import Database

from runtime.link import Batch, Describe, Down, Journal, Status
from scan import quality as q
from scan.problem import fail
from supervisor import audit
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.history_codec import no_samples
from supervisor.history_store import Arrival, NewEvent, SeriesSpec
from supervisor.iec_text import type_name
from supervisor.ingest import Acknowledge, Ingest
from supervisor.live import Bus
from supervisor.model import NEWEST, Actor, EventRow, Force, Page, Role, Runtime, RuntimeDetail, TagValue
from supervisor.node_state import TAG_ID_MAX, Board, NodeState, unpack
from supervisor.problems import exists_already, not_found, not_understood, require
from supervisor.services import Subscription

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
DESCRIBED_KEPT = 8  # descriptions of a runtime's earlier programs: their samples may still be on the way
EVENTS_PER_PAGE_MAX = 1000


class Link(Acknowledge, Protocol):
    """A connected runtime."""

    def send(self, message: Down) -> None: ...

    def cut(self, code: int, reason: str) -> None: ...


class Watcher(Protocol):
    """Who must know that a runtime came or went: commands and deployments."""

    async def link_up(self, node_id: str) -> None: ...

    async def link_down(self, node_id: str) -> None: ...


class FleetService:
    """``services.Fleet`` and what the link needs. Used on the event loop."""

    def __init__(self, store: ConfigStore, ingest: Ingest, bus: Bus, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._ingest = ingest
        self.bus = bus
        self._now_ns = now_ns
        self._links: dict[str, Link] = {}
        self._ready: set[str] = set()  # connected, and has told what runs on it
        self.watchers: list[Watcher] = []

    async def load(self) -> None:
        """What was known when the supervisor last ran: every tag with its last value, stale."""
        found = await self._store.run(lambda db: rows(db, "SELECT * FROM node"))
        for row in found:
            node = self._add(row)
            node.link = "revoked" if row["revoked_ns"] else "down" if row["seen_ns"] else "never"
            node.seen_ns = node.link_since_ns = row["seen_ns"]
            if row["status"]:
                node.status = msgspec.msgpack.decode(row["status"], type=Status)
            await self._load_described(node)

    async def _load_described(self, node: NodeState) -> None:
        sql = "SELECT describe FROM described WHERE node_id=? ORDER BY at_ns"
        found = await self._store.run(lambda db: rows(db, sql, node.node_id))
        for row in found:
            await self._take_description(node, msgspec.msgpack.decode(row["describe"], type=Describe))
        board = node.board
        if board is None:
            return
        series = board.series[[tag.id for tag in board.describe.tags]]
        last = await self._ingest.on_history_thread(partial(self._ingest.store.last, series))
        known = last.times > 0
        board.times[:], board.values[:] = last.times, last.values
        board.quality[known] = last.quality[known]

    def _add(self, row: Row) -> NodeState:
        node = NodeState(row["node_id"], row["name"], row["public_key"], row["enrolled_ns"], row["version"])
        self.bus.nodes[node.node_id] = node
        self.bus.node_changed(node)
        return node

    # ------------------------------------------------------------ what the link does

    def node(self, node_id: str) -> NodeState:
        node = self.bus.nodes.get(node_id)
        if node is None:
            raise not_found("runtime", node_id)
        return node

    def find(self, name_or_id: str) -> NodeState:
        """By node id or by name."""
        for node in self.bus.nodes.values():
            if name_or_id in (node.node_id, node.name):
                return node
        raise not_found("runtime", name_or_id)

    async def enrolled(self, node_id: str) -> NodeState:
        row = await self._store.run(lambda db: one(db, "SELECT * FROM node WHERE node_id=?", node_id))
        if row is None:
            raise not_found("runtime", node_id)
        return self.bus.nodes.get(node_id) or self._add(row)

    async def connected(self, node: NodeState, link: Link, address: str, offset_ns: int) -> None:
        older = self._links.get(node.node_id)
        self._links[node.node_id] = link
        self._ready.discard(node.node_id)
        if older is not None:
            older.cut(4001, "the runtime connected anew")
        self._set_link(node, "up")
        node.address, node.clock_offset_ns = address, offset_ns
        self.tell(node.node_id, "link", "info", "connected", {"address": address})

    async def described(self, node: NodeState, describe: Describe) -> None:
        await self._take_description(node, describe)
        now = self._now_ns()

        def work(db: Database) -> None:
            data = msgspec.msgpack.encode(describe)
            db.execute(
                "INSERT OR REPLACE INTO described VALUES(?,?,?,?)", [node.node_id, describe.digest, data, now]
            )
            db.execute(
                "DELETE FROM described WHERE node_id=?1 AND digest NOT IN "
                "(SELECT digest FROM described WHERE node_id=?1 ORDER BY at_ns DESC LIMIT ?2)",
                [node.node_id, DESCRIBED_KEPT],
            )
            db.execute("UPDATE node SET version=? WHERE node_id=?", [describe.version, node.node_id])

        await self._store.run(work)
        self._ready.add(node.node_id)
        for watcher in self.watchers:
            await watcher.link_up(node.node_id)

    async def _take_description(self, node: NodeState, describe: Describe) -> None:
        if any(not 0 <= tag.id <= TAG_ID_MAX for tag in describe.tags):
            raise fail("SV3004", "a tag id is out of range", expected=f"0 to {TAG_ID_MAX}")
        board = Board(describe)
        specs = tuple(SeriesSpec(t.path, type_name(t.type), t.unit, t.low, t.high) for t in describe.tags)
        open_series = self._ingest.store.open_series
        numbers = await self._ingest.on_history_thread(partial(open_series, node.node_id, specs))
        board.series[[tag.id for tag in describe.tags]] = numbers
        node.series_by_digest.pop(describe.digest, None)
        node.series_by_digest[describe.digest] = board.series
        if node.board is not None:
            board.carry_over(node.board)
        node.board = board
        board.changed[:] = self.bus.next_generation()
        self.bus.node_changed(node)

    async def disconnected(self, node: NodeState, link: Link) -> None:
        """Every tag of the runtime is stale from now on, with its last value."""
        if self._links.get(node.node_id) is not link:
            return
        del self._links[node.node_id]
        self._ready.discard(node.node_id)
        self.silent(node)
        self.tell(node.node_id, "link", "warning", "connection lost", {})
        status = msgspec.msgpack.encode(node.status) if node.status else None
        seen = node.seen_ns
        await self._store.run(
            lambda db: db.execute(
                "UPDATE node SET seen_ns=?, status=? WHERE node_id=?", [seen, status, node.node_id]
            )
        )
        for watcher in self.watchers:
            await watcher.link_down(node.node_id)

    def silent(self, node: NodeState) -> None:
        """Nothing was heard for too long, or the link is gone."""
        if node.link == "up":
            self._set_link(node, "down")

    def heard(self, node: NodeState) -> None:
        node.seen_ns = self._now_ns()
        if node.link == "down" and node.node_id in self._links:
            self._set_link(node, "up")

    def _set_link(self, node: NodeState, state: str) -> None:
        node.link, node.link_since_ns = state, self._now_ns()
        if node.board is not None:
            node.board.changed[:] = self.bus.next_generation()
        self.bus.node_changed(node)
        self.bus.values_changed(node.node_id)

    def status(self, node: NodeState, status: Status) -> None:
        node.status = status
        node.clock_offset_ns = status.time_ns - self._now_ns()
        self.bus.node_changed(node)

    async def batch(self, node: NodeState, boot: str, batch: Batch, link: Link) -> None:
        sample = unpack(batch)
        board = node.board
        if board is not None and board.describe.digest == batch.digest and not batch.historical:
            board.apply(sample, self.bus.next_generation())
            self.bus.values_changed(node.node_id)
        by_id = node.series_by_digest.get(batch.digest, np.zeros(1, np.uint32))
        known = sample.ids < len(by_id)
        series = by_id[np.where(known, sample.ids, 0)]
        keep = known & (series > 0)
        node.dropped += int(len(keep) - keep.sum())
        columns = sample.columns
        texts = tuple(
            (int(series[row]), int(columns.times[row]), int(columns.quality[row]), text)
            for row, text in sample.texts.items()
            if keep[row]
        )
        if not keep.all():
            columns = type(columns)(columns.times[keep], columns.values[keep], columns.quality[keep])
            series = series[keep]
        await self._ingest.submit(Arrival(node.node_id, boot, batch.seq, series, columns, texts), link)

    async def journal(self, node: NodeState, boot: str, journal: Journal, link: Link) -> None:
        events = tuple(
            NewEvent(node.node_id, e.time_ns, e.kind, e.severity, e.source, e.text, e.fields)
            for e in journal.events
        )
        nothing = np.empty(0, np.uint32)
        await self._ingest.submit(
            Arrival(node.node_id, boot, journal.seq, nothing, no_samples(), events=events), link
        )

    def tell(self, node_id: str, kind: str, severity: str, text: str, fields: dict[str, str]) -> None:
        """An event that the supervisor itself noticed."""
        self._ingest.event(NewEvent(node_id, self._now_ns(), kind, severity, "supervisor", text, fields))

    def send(self, node_id: str, message: Down) -> bool:
        """False when the runtime is not connected."""
        link = self._links.get(node_id)
        if link is not None:
            link.send(message)
        return link is not None

    def is_ready(self, node_id: str) -> bool:
        """Orders may be sent: the runtime is connected and has described itself."""
        return node_id in self._ready

    def cut_all(self) -> None:
        for link in tuple(self._links.values()):
            link.cut(1001, "the supervisor stops")

    # ------------------------------------------------------------ services.Fleet

    async def runtimes(self, actor: Actor) -> tuple[Runtime, ...]:
        require(actor, Role.VIEWER)
        found = [n.summary() for n in self.bus.nodes.values() if not actor.nodes or n.node_id in actor.nodes]
        return tuple(sorted(found, key=lambda r: (r.rank, r.name)))

    def _visible(self, actor: Actor, node_id: str, role: Role = Role.VIEWER) -> NodeState:
        require(actor, role, node_id)
        return self.node(node_id)

    async def runtime(self, actor: Actor, node_id: str) -> RuntimeDetail:
        return self._visible(actor, node_id).detail()

    async def tags(self, actor: Actor, node_id: str, paths: tuple[str, ...] = ()) -> tuple[TagValue, ...]:
        node = self._visible(actor, node_id)
        if node.board is None:
            return ()
        if not paths:
            return node.tags(range(len(node.board.describe.tags)))
        found = [node.board.index_of_path[path] for path in paths if path in node.board.index_of_path]
        return node.tags(np.array(found, np.int64))

    async def forces(self, actor: Actor, node_id: str) -> tuple[Force, ...]:
        """Tags whose quality says that they are held, with what the supervisor knows of who held them."""
        node = self._visible(actor, node_id)
        if node.board is None:
            return ()
        held = np.flatnonzero(node.board.quality == q.GOOD_LOCAL_OVERRIDE)
        forced = "node_id=? AND kind='force' AND state='effective'"
        sql = f"SELECT * FROM command WHERE {forced} ORDER BY number DESC LIMIT 500"  # noqa: S608
        orders = await self._store.run(lambda db: rows(db, sql, node_id))
        by_path: dict[str, Row] = {}
        for order in orders:
            for path in msgspec.json.decode(order["values"], type=dict[str, str]):
                by_path.setdefault(path, order)
        return tuple(_force(tag, by_path.get(tag.path)) for tag in node.tags(held))

    async def rename(self, actor: Actor, node_id: str, name: str) -> Runtime:
        node = self._visible(actor, node_id, Role.ENGINEER)
        check_node_name(name)

        def work(db: Database) -> None:
            if one(db, "SELECT 1 AS found FROM node WHERE name=? AND node_id<>?", name, node_id):
                raise exists_already("runtime", name)
            db.execute("UPDATE node SET name=? WHERE node_id=?", [name, node_id])
            audit.record(
                db,
                actor,
                "runtime.rename",
                f"runtime {node.name}",
                now_ns=self._now_ns(),
                old=node.name,
                new=name,
            )

        await self._store.run(work)
        node.name = name
        self.bus.node_changed(node)
        return node.summary()

    async def revoke(self, actor: Actor, node_id: str, reason: str) -> None:
        node = self._visible(actor, node_id, Role.ADMIN)
        now = self._now_ns()

        def work(db: Database) -> None:
            # The name becomes free, so that a replacement may enrol with it.
            db.execute(
                "UPDATE node SET revoked_ns=?, name=? WHERE node_id=?",
                [now, f"{node.name} ({node_id})", node_id],
            )
            audit.record(db, actor, "runtime.revoke", f"runtime {node.name}", now_ns=now, reason=reason)

        await self._store.run(work)
        self.tell(node_id, "link", "warning", f"revoked by {actor.name}", {"reason": reason})
        link = self._links.get(node_id)
        if link is not None:
            link.cut(4003, "revoked")
            await self.disconnected(node, link)
        node.name = f"{node.name} ({node_id})"
        self._set_link(node, "revoked")

    async def events(
        self, actor: Actor, *, node_id: str = "", kind: str = "", page: Page = NEWEST
    ) -> tuple[EventRow, ...]:
        require(actor, Role.VIEWER, node_id)
        limit = min(page.limit, EVENTS_PER_PAGE_MAX)
        found = await self._ingest.on_query_thread(
            partial(self._ingest.store.events, node_id, kind, page.before, limit)
        )
        return tuple(self._named(e) for e in found if not actor.nodes or e.node_id in actor.nodes)

    def _named(self, event: EventRow) -> EventRow:
        node = self.bus.nodes.get(event.node_id)
        return msgspec.structs.replace(event, node=node.name) if node else event

    def subscribe(
        self,
        actor: Actor,
        *,
        tags: dict[str, tuple[str, ...]] | None = None,
        fleet: bool = False,
        after_seq: int | None = None,
    ) -> Subscription:
        require(actor, Role.VIEWER)
        for node_id in tags or {}:
            require(actor, Role.VIEWER, node_id)
        return self.bus.subscribe(actor, tags or {}, fleet, after_seq)


def check_node_name(name: str) -> None:
    if not NODE_NAME.fullmatch(name):
        raise not_understood("a name of letters, digits, '.', '_' and '-', at most 63 characters", name)


def _force(tag: TagValue, order: Row | None) -> Force:
    if order is None:
        return Force(tag.node_id, tag.path, tag.text, since_ns=tag.time_ns)
    since = order["changed_ns"]
    expires = since + order["lease_s"] * 1_000_000_000 if order["lease_s"] else 0
    return Force(tag.node_id, tag.path, tag.text, order["user"], order["reason"], since, expires)


__all__ = ["FleetService", "Link", "Watcher", "check_node_name"]
