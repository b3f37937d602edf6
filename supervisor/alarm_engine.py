"""The supervisor's own alarm engine: conditions over several runtimes, lost runtimes, and the supervisor itself.

Variables are named ``"runtime:path"`` in definitions. The inputs of the supervisor's own alarms are there without any
definition; a definition of the same name stands in. States, timers and journal are in the configuration file, in the
transaction of the transition.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from cryptography import x509
from sqlite_utils import Database

from runtime.alarms import store as engine_store
from runtime.alarms.clock import AlarmClock, Stored
from runtime.alarms.conditions import TagInfo
from runtime.alarms.engine import Engine, Moment
from runtime.alarms.inputs import variables_of
from runtime.alarms.life import Kept, Life
from runtime.alarms.model import Definition, Entry, Health, Order, Outcome
from runtime.alarms.parse import parse_text
from runtime.link import AlarmTable
from scan import quality as q
from scan.problem import Problem, TickworkError
from supervisor import alarm_store
from supervisor.alarms import OWN, AlarmService
from supervisor.config_store import ConfigStore
from supervisor.fleet import FleetService
from supervisor.node_state import NodeState

log = logging.getLogger("tickwork.supervisor.alarms")

PERIOD_S = 0.25
SYSTEM_S = 1.0
SECOND = 1_000_000_000
KEEP_CLOCK_NS = 10 * SECOND
LOST_DELAY_MS = 5000
CLOCK_LIMIT_S = 2.0


class FleetAlarms:
    """``alarms.OwnEngine``. ``watch`` runs until it is cancelled."""

    def __init__(
        self,
        config: ConfigStore,
        fleet: FleetService,
        service: AlarmService,
        *,
        data_dir: Path,
        certificate: Path | None,
        history_problem: Callable[[], bool],
        now_ns: Callable[[], int],
    ) -> None:
        self._config, self._fleet, self._service = config, fleet, service
        self._data_dir, self._certificate = data_dir, certificate
        self._history_problem = history_problem
        self._now_ns = now_ns
        self.channels: Callable[[], dict[str, bool]] = dict  # of notifications, and whether each is broken
        self._engine: Engine | None = None
        self._clock = AlarmClock(Stored(), wall_ns=0, mono_ns=0)
        self._page = ""
        self._bound: tuple[object, ...] = ()
        self._paths: tuple[str, ...] = ()
        self._system: dict[str, float] = {}
        self._system_s = -math.inf
        self._last = (np.zeros(0), np.zeros(0, np.uint16))
        self._unsaved: tuple[dict[str, Life], list[Entry]] = ({}, [])
        self._stored_ns = 0
        self._health = Health(problem="it has not been started")
        self._lock = asyncio.Lock()
        self._expiry_days = (0.0, math.inf)

    @property
    def health(self) -> Health:
        return self._health

    async def watch(self) -> None:
        kept = await self._load()
        while True:
            started = time.monotonic()
            try:
                async with self._lock:
                    await self._cycle(kept)
                self._health = self._engine.health() if self._engine else self._health
            except (TickworkError, ValueError) as error:
                problem = str(error).splitlines()[0]
                if problem != self._health.problem:
                    log.error("the alarm engine does not work: %s", problem)
                self._health = Health(self._health.evaluated_ns, problem=problem)
            await asyncio.sleep(max(started + PERIOD_S - time.monotonic(), 0.01))

    async def _load(self) -> Kept:
        def work(db: Database) -> tuple[Kept, Stored, str]:
            kept, stored = engine_store.load(db.conn)
            found = alarm_store.versions(db, OWN)
            return kept, stored, found[0].text if found else ""

        kept, stored, self._page = await self._config.run(work)
        self._clock = AlarmClock(stored, wall_ns=self._now_ns(), mono_ns=time.monotonic_ns())
        return kept

    def _moment(self) -> Moment:
        return Moment(self._clock.at(time.monotonic_ns()), self._now_ns())

    # ------------------------------------------------------------ one step

    async def _cycle(self, kept: Kept) -> None:
        at = self._moment()
        fresh = time.monotonic() - self._system_s >= SYSTEM_S
        if fresh:
            self._system_s = time.monotonic()
            self._system = await asyncio.to_thread(self._of_disk) | self._of_fleet()
        await self._bind(kept)
        assert self._engine is not None
        values, quality, times = self._values(at.wall_ns)
        before_values, before_quality = self._last
        same = (values == before_values) | (np.isnan(values) & np.isnan(before_values))
        changed = np.flatnonzero(~same | (quality != before_quality))
        self._last = (values, quality)
        entries = self._engine.update(at, changed, values, quality, times)
        await self._save(entries, at)

    async def _bind(self, kept: Kept) -> None:
        """A new engine when runtimes, programs or definitions are other ones."""
        nodes = self._fleet.bus.nodes.values()
        boards = tuple((node.name, node.board.describe.digest if node.board else "") for node in nodes)
        bound = (boards, tuple(self._system), self._page)
        if self._engine is not None and bound == self._bound:
            return
        page = parse_text(self._page, origin="page") if self._page else ()
        definitions = {one.name: one for one in (*system_definitions(tuple(self._system)), *page)}
        wanted = variables_of(definitions.values())
        found = [(name, self._find(name)) for name in wanted]
        self._paths = tuple(name for name, place in found if place is not None)
        tags = tuple(
            TagInfo(name, place[0].name, place[0].board.describe.tags[place[1]].enum_values)
            for name, place in found
            if place is not None and place[0].board is not None
        ) + tuple(TagInfo(name) for name in self._system)
        self._engine = Engine(tuple(definitions.values()), tags, self._engine.kept if self._engine else kept)
        self._bound = bound
        self._last = (np.full(len(tags), np.nan), np.full(len(tags), 0xFFFF, np.uint16))
        await self._tell()

    async def _tell(self) -> None:
        assert self._engine is not None
        engine = self._engine
        standing = {name: life.standing() for name, life in engine.standing().items()}
        table = AlarmTable(engine.kept.epoch, engine.kept.seq, engine.definitions, standing, self._page)
        now = self._now_ns()
        await self._config.run(lambda db: alarm_store.insert_table(db, OWN, table, now))
        self._service.take_table(OWN, table)
        self._service.wake(0)

    def _find(self, name: str) -> tuple[NodeState, int] | None:
        runtime, _, path = name.partition(":")
        for node in self._fleet.bus.nodes.values():
            if node.name == runtime and node.board is not None:
                upper = {known.upper(): index for known, index in node.board.index_of_path.items()}
                index = upper.get(path.upper())
                return (node, index) if index is not None else None
        return None

    def _values(self, now_ns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(self._paths)
        size = count + len(self._system)
        values, quality = np.full(size, np.nan), np.zeros(size, np.uint16)
        times = np.full(size, now_ns, np.int64)
        for row, name in enumerate(self._paths):
            place = self._find(name)
            if place is None or place[0].board is None:
                quality[row] = q.BAD_NO_COMMUNICATION
                continue
            node, index = place
            board = node.board
            assert board is not None
            values[row], times[row] = board.values[index], board.times[index]
            quality[row] = q.BAD_NO_COMMUNICATION if node.stale else board.quality[index]
        values[count:] = list(self._system.values())
        return values, quality, times

    async def _save(self, entries: Sequence[Entry], at: Moment) -> None:
        """In one transaction: what the engine keeps, and the entries in the common journal."""
        assert self._engine is not None
        engine = self._engine
        changed, _ = engine.take_kept()
        lives, waiting = self._unsaved[0] | changed, [*self._unsaved[1], *entries]
        self._unsaved = (lives, waiting)
        late = engine.next_deadline() and at.engine_ns - self._stored_ns > KEEP_CLOCK_NS
        if not lives and not waiting and not late:
            return
        now, epoch = self._now_ns(), engine.kept.epoch

        def work(db: Database) -> int:
            engine_store.save(db.conn, engine.kept, lives, (), Stored(at.engine_ns, at.wall_ns))
            if waiting:
                alarm_store.insert_entries(db, OWN, epoch, waiting, now, True)
            return alarm_store.last_id(db)

        last_id = await self._config.run(work)
        self._unsaved = ({}, [])
        self._stored_ns = at.engine_ns
        if waiting:
            self._service.took(OWN, epoch, waiting)
            self._service.wake(last_id)

    # ------------------------------------------------------------ inputs of its own

    def _of_fleet(self) -> dict[str, float]:
        found = {"$history": float(self._history_problem())}
        for node in self._fleet.bus.nodes.values():
            if node.link in ("revoked", "never"):
                continue
            found[f"$runtime.{node.name}"] = float(node.stale)
            found[f"$clock.{node.name}"] = abs(node.clock_offset_ns) / SECOND
            found[f"$lost.{node.name}"] = float(node.status.lost if node.status else 0)
        return found | {f"$channel.{name}": float(broken) for name, broken in self.channels().items()}

    def _of_disk(self) -> dict[str, float]:
        found = {}
        try:
            usage = shutil.disk_usage(self._data_dir)
            found["$disk"] = 100.0 * usage.free / usage.total
        except OSError:
            found["$disk"] = math.nan
        if self._certificate is not None:
            found["$certificate"] = self._days_of_certificate(self._certificate)
        return found

    def _days_of_certificate(self, path: Path) -> float:
        looked_s, days = self._expiry_days
        if looked_s == 0.0 or time.monotonic() - looked_s > 3600:
            try:
                loaded = x509.load_pem_x509_certificate(path.read_bytes())
                days = (loaded.not_valid_after_utc.timestamp() - self._now_ns() / 1e9) / 86_400
            except (OSError, ValueError):
                days = math.nan
            self._expiry_days = (time.monotonic(), days)
        return days

    # ------------------------------------------------------------ for the service

    async def order(self, order: Order) -> Outcome:
        async with self._lock:
            if self._engine is None or self._health.problem:
                raise TickworkError(
                    Problem("AL3001", "the alarm engine does not work", found=self._health.problem)
                )
            at = self._moment()
            outcome, entries = self._engine.order(order, at)
            await self._save(entries, at)
            return outcome

    async def redefine(self, text: str) -> None:
        async with self._lock:
            self._page = text


def _system(name: str, text: str, **more: object) -> Definition:
    fields = {"group": "system", "origin": "system", "tag": name, "kind": "limit"} | more
    return Definition(name, text=text, **fields)  # type: ignore[arg-type]  # the keywords of the struct


def system_definitions(names: Sequence[str]) -> tuple[Definition, ...]:
    """For the inputs that there are at present."""
    found = []
    for name in names:
        what, _, node = name[1:].partition(".")
        if what == "runtime":
            found.append(_system(name, f"Runtime {node} is lost", kind="digital", priority=2,
                                 on_delay_ms=LOST_DELAY_MS, unit=node, consequence="its values and alarms are old",
                                 response="look at the machine and its network"))  # fmt: skip
        elif what == "clock":
            found.append(_system(name, f"The clock of {node} is off", h=CLOCK_LIMIT_S, h_deadband=1.0, priority=4,
                                 unit=node, on_delay_ms=10_000, response="look at its time service"))  # fmt: skip
        elif what == "channel":
            found.append(_system(name, f"Messages by {node} reach nobody", kind="digital", priority=2, unit=node,
                                 response="see the reason on the page of notifications"))  # fmt: skip
        elif what == "lost":
            found.append(_system(name, f"{node} lost messages while it was away", h=1.0, priority=3,
                                 unit=node))  # fmt: skip
    by_name = {
        "$history": _system("$history", "History cannot be written", kind="digital", priority=1,
                            response="make room on the disk of the supervisor"),
        "$disk": _system("$disk", "Little room on the disk of the supervisor", l=10.0, ll=3.0, l_deadband=2.0,
                         ll_deadband=1.0, ll_priority=1),
        "$certificate": _system("$certificate", "The TLS certificate expires soon", l=30.0, ll=7.0, ll_priority=2,
                                priority=4, response="renew it"),
    }  # fmt: skip
    return tuple(found) + tuple(by_name[name] for name in names if name in by_name)
