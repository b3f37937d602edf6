"""What is known of all alarms: entries and tables as engines tell them, stored before they count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import numpy as np
from sqlite_utils import Database

from runtime.alarms.model import Entry
from runtime.link import Alarms, AlarmTable
from scan.problem import TickworkError
from supervisor import alarm_store as store
from supervisor.alarm_store import KnownNode
from supervisor.config_store import ConfigStore
from supervisor.fleet import FleetService, Link
from supervisor.history_codec import no_samples
from supervisor.history_store import Arrival
from supervisor.ingest import Ingest
from supervisor.node_state import NodeState

log = logging.getLogger("tickwork.supervisor.alarms")

OWN = ""  # node id of the supervisor's own engine
ARRIVALS_WAITING_MAX = 100  # messages of all runtimes; then links are read no faster than the disk writes
RETRY_S = 1.0


class AlarmBoard:
    """State and intake. Used on the event loop."""

    def __init__(
        self,
        config: ConfigStore,
        fleet: FleetService,
        ingest: Ingest,
        now_ns: Callable[[], int],
    ) -> None:
        self._config = config
        self._fleet = fleet
        self._ingest = ingest
        self._now_ns = now_ns
        self._nodes: dict[str, KnownNode] = {}
        self._retired: set[tuple[str, str]] = set()  # (node, epoch): journals that ended
        self._arrivals: list[tuple[str, str, Alarms, Link]] = []
        self._writing: asyncio.Task[None] | None = None
        self._pending: dict[tuple[str, str], tuple[int, str]] = {}
        self._news = asyncio.Event()
        self.closed = False
        self.last_id = 0
        self.generation = 0
        self.listeners: list[Callable[[str, Sequence[Entry]], None]] = []

    async def load(self) -> None:
        """What was known when the supervisor last ran."""
        self._nodes = await self._config.run(store.load)
        self.last_id = await self._config.run(store.last_id)
        self._nodes.setdefault(OWN, KnownNode())

    # ------------------------------------------------------------ what runtimes tell

    async def arrived(self, node: NodeState, boot: str, message: Alarms, link: Link) -> None:
        """Entries of a runtime: stored first, then acknowledged by the mark of the link. While one transaction is on
        its way to the disk the next one gathers, so a flood costs few of them."""
        self._arrivals.append((node.node_id, boot, message, link))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="alarms")
        if len(self._arrivals) > ARRIVALS_WAITING_MAX:
            await asyncio.shield(self._writing)

    async def _write(self) -> None:
        while self._arrivals and not self.closed:
            part, self._arrivals = self._arrivals, []
            try:
                await self._store([(one, message.epoch, message.entries) for one, _, message, _ in part])
            except TickworkError as error:  # a full disk: nothing is acknowledged, nothing is thrown away
                log.error("alarms cannot be stored: %s", error)
                self._arrivals[:0] = part
                await asyncio.sleep(RETRY_S)
                continue
            nothing = np.empty(0, np.uint32)
            for node_id, boot, message, link in part:
                await self._ingest.submit(Arrival(node_id, boot, message.seq, nothing, no_samples()), link)

    async def take(self, node_id: str, epoch: str, entries: Sequence[Entry]) -> None:
        """Entries of one engine, also of the supervisor's own."""
        await self._store([(node_id, epoch, entries)])

    async def _store(self, parts: Sequence[tuple[str, str, Sequence[Entry]]]) -> None:
        now = self._now_ns()
        wanted = [
            (node, epoch, entries, (node, epoch) not in self._retired) for node, epoch, entries in parts
        ]

        def work(db: Database) -> tuple[list[set[int]], int]:
            new = [
                set(store.insert_entries(db, node, epoch, entries, now, current)) if entries else set()
                for node, epoch, entries, current in wanted
            ]
            return new, store.last_id(db)

        new, last_id = await self._config.run(work)
        for (node, epoch, entries, current), numbers in zip(wanted, new, strict=True):
            self.took(node, epoch, [entry for entry in entries if entry.seq in numbers], current=current)
        self.wake(last_id)

    def took(self, node_id: str, epoch: str, entries: Sequence[Entry], *, current: bool = True) -> None:
        """They are stored: now they stand."""
        known = self._nodes.setdefault(node_id, KnownNode())
        for entry in entries if current else ():
            before = known.standing.get(entry.alarm)
            if before is None or before[0] != epoch or before[1] < entry.seq:
                known.standing[entry.alarm] = (epoch, entry.seq, entry.standing)
            self._pending.pop((node_id, entry.alarm), None)
        if entries:
            for listener in self.listeners:
                listener(node_id, entries)

    async def told(self, node: NodeState, table: AlarmTable) -> None:
        """All definitions of a runtime and what stands on it; after the entries that came before."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        now = self._now_ns()
        await self._config.run(lambda db: store.insert_table(db, node.node_id, table, now))
        self.take_table(node.node_id, table)
        self.wake(self.last_id)

    def take_table(self, node_id: str, table: AlarmTable) -> None:
        known = self._nodes.setdefault(node_id, KnownNode())
        if known.epoch and known.epoch != table.epoch:
            self._retired.add((node_id, known.epoch))
        self._retired.discard((node_id, table.epoch))
        newer = {
            name: one for name, one in known.standing.items() if one[0] == table.epoch and one[1] > table.at_seq
        }  # fmt: skip
        known.standing = {
            name: (table.epoch, table.at_seq, standing) for name, standing in table.standing.items()
        } | newer
        known.epoch = table.epoch
        known.definitions = {definition.name: definition for definition in table.definitions}
        known.page, known.page_version = table.page, table.page_version

    def wake(self, last_id: int) -> None:
        """Tell pages and streams that there is news, up to that line of the journal."""
        self.last_id = max(self.last_id, last_id)
        self.generation += 1
        self._fleet.bus.alarms_changed()
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """End streams that wait."""
        self.closed = True
        self._news.set()
