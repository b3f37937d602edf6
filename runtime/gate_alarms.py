"""The alarm engine of a node, hosted in the gate: reads the snapshot, keeps its file, tells what happened.

Rules.
* One thread of its own does everything but listening: no loop waits for its disk, and no scan knows of it.
* Entries are stored in the transaction of their transition, and only then told to the link, OPC UA and local tools.
  What was stored and not yet handed to the link when the process died is handed over by the next one; whoever
  receives an entry twice knows it by epoch and number.
* While the engine cannot work, ``health`` says why. An engine that is silent is never an empty list.
"""

from __future__ import annotations

import asyncio
import pathlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
import numpy as np
import structlog

import scan
from runtime.alarms import store
from runtime.alarms.clock import AlarmClock, Stored
from runtime.alarms.conditions import TagInfo
from runtime.alarms.engine import Engine, Moment
from runtime.alarms.inputs import variables_of
from runtime.alarms.model import Definition, Entry, Health, Order, Outcome, Standing
from runtime.alarms.parse import parse_attribute, parse_text
from runtime.facts import Facts
from runtime.link import AlarmTable
from runtime.system_alarms import SystemInputs, system_definitions, system_tags
from scan import quality as q
from scan.problem import Problem, TickworkError

log = structlog.get_logger("tickwork.alarms")

FILE_NAME = "alarms.db"
PERIOD_S = 0.1
SYSTEM_NS = 1_000_000_000
KEEP_CLOCK_NS = 10_000_000_000  # the clocks are stored at least so often while a deadline waits
ENTRIES_IN_MESSAGE = 500
PAGE_SIZE_MAX = 1024 * 1024  # of the definitions that were made on a page

_T = TypeVar("_T")
Told = Callable[[Sequence[Entry]], None]


class _Page(msgspec.Struct, array_like=True):
    """The definitions that were made on a page."""

    version: int = 0
    text: str = ""


class NodeAlarms:
    """One node's alarms. ``view`` is its own. Coroutines on the gate's loop; ``listeners`` are called there."""

    def __init__(
        self,
        view: scan.NodeView,
        *,
        state: pathlib.Path,
        definitions: tuple[Definition, ...],
        facts: Callable[[], Facts],
        buffered: Callable[[], int],
        sources: Callable[[int], str] = lambda _row: "inputs",
    ) -> None:
        self._view = view
        self._file = state / FILE_NAME
        self._own = definitions
        self._facts = facts
        self._sources = sources
        self._inputs = SystemInputs(state, buffered)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="alarms")
        self._work: _Work | None = None
        self._problem = "it has not been started"
        self._epoch = ""
        self._health = Health(problem=self._problem)
        self.listeners: list[Told] = []
        self.changed: list[Callable[[], None]] = []  # other definitions

    async def run(self) -> None:
        """Until cancelled. A disk that refuses does not end it: it says so and tries again."""
        try:
            while True:
                started = time.monotonic()
                entries, other = await self._on_thread(self._cycle)
                self._tell(entries)
                if other:
                    for listener in self.changed:
                        listener()
                await asyncio.sleep(max(started + PERIOD_S - time.monotonic(), 0.01))
        finally:
            await self._on_thread(self._close)
            self._thread.shutdown()

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _tell(self, entries: Sequence[Entry]) -> None:
        if entries:
            for listener in self.listeners:
                listener(entries)

    # ---------------------------------------------------------------- for others

    @property
    def health(self) -> Health:
        return self._health

    async def order(self, order: Order) -> Outcome:
        """What a person wants. Raises TickworkError when the engine does not work."""
        outcome, entries = await self._on_thread(lambda: self._ready().order(order))
        self._tell(entries)
        return outcome

    async def define(self, text: str, version: int) -> None:
        """Definitions made on a page: they stand beside those of the plant file, or in for those of the same name."""
        await self._on_thread(lambda: self._ready().define(text, version))

    async def table(self) -> AlarmTable:
        """All definitions and what stands."""
        return await self._on_thread(lambda: self._ready().table())

    async def journal(self, count: int) -> list[Entry]:
        return await self._on_thread(lambda: self._ready().newest(count))

    async def unforwarded(self) -> tuple[str, list[Entry]]:
        """Entries that nobody has yet said ``forwarded`` of, at most a message's worth."""
        return await self._on_thread(lambda: self._ready().unforwarded())

    async def forwarded(self, seq: int) -> None:
        await self._on_thread(lambda: self._ready().forwarded(seq))

    # ---------------------------------------------------------------- on the thread

    def _ready(self) -> _Work:
        if self._work is None or self._problem:
            raise TickworkError(
                Problem("AL3001", "the alarm engine does not work", found=self._problem,
                        remedy="remove the cause; the engine goes on by itself")
            )  # fmt: skip
        return self._work

    def _cycle(self) -> tuple[Sequence[Entry], bool]:
        try:
            if self._work is None:
                self._work = _Work(self._view, self._file, self._own, self._inputs, self._sources)
            entries, other = self._work.cycle(self._facts())
            self._problem = ""
            self._health = self._work.health()
        except (TickworkError, ValueError, OSError) as error:
            problem = str(error).splitlines()[0]
            if problem != self._problem:
                log.error("the alarm engine does not work", problem=problem)
            self._problem = problem
            self._health = msgspec.structs.replace(self._health, problem=problem)
            return (), False
        return entries, other

    def _close(self) -> None:
        if self._work is not None:
            self._work.close()


class _Work:
    """What happens on the thread: engine, file and inputs."""

    def __init__(
        self,
        view: scan.NodeView,
        file: pathlib.Path,
        own: tuple[Definition, ...],
        inputs: SystemInputs,
        sources: Callable[[int], str],
    ) -> None:
        self._view, self._own, self._inputs, self._sources = view, own, inputs, sources
        self._connection = store.open_file(file)
        self._kept, stored = store.load(self._connection)
        self._clock = AlarmClock(stored, wall_ns=time.time_ns(), mono_ns=time.monotonic_ns())
        mark = store.get_mark(self._connection, "forwarded")
        self._forwarded = int(mark or b"0")
        page = store.get_mark(self._connection, "page")
        self._page = msgspec.msgpack.decode(page, type=_Page) if page else _Page()
        self._engine: Engine | None = None
        self._gather: scan.Gather | None = None
        self._bound: tuple[object, ...] = ()
        self._names: tuple[str, ...] = ()
        self._system: dict[str, float] = {}
        self._system_ns = -SYSTEM_NS
        self._stored_ns = 0
        self._trimmed = 0

    def close(self) -> None:
        self._connection.close()

    def _moment(self) -> Moment:
        return Moment(self._clock.at(time.monotonic_ns()), time.time_ns())

    # ---------------------------------------------------------------- definitions and engine

    def _bind(self, facts: Facts) -> bool:
        """A new engine when the program, the devices or the definitions are other ones."""
        self._view.refresh()
        self._names = tuple(self._system)
        bound = (self._view.generation, self._names, self._page.version, self._page.text)
        if self._engine is not None and bound == self._bound:
            return False
        kept = self._engine.kept if self._engine is not None else self._kept
        definitions = self._definitions()
        symbols = self._symbols(definitions)
        tags = tuple(
            TagInfo(symbol.path, self._source_of(symbol), symbol.enum_values) for symbol in symbols
        ) + system_tags(self._names)
        self._gather = scan.Gather(self._view, symbols) if symbols else None
        self._engine = Engine(definitions, tags, kept)
        self._bound = bound
        return True

    def _definitions(self) -> tuple[Definition, ...]:
        """By name: the system's, then the program's, the plant file's, the page's; a later one stands in."""
        found = {definition.name: definition for definition in system_definitions(self._names)}
        application = self._view.application
        for symbol in application.symbols if application else ():
            if symbol.alarm:
                try:
                    definition = parse_attribute(
                        symbol.alarm, symbol.path, file=symbol.file, line=symbol.line
                    )
                except TickworkError as error:
                    log.error("an alarm of the program is not understood", problem=str(error))
                    continue
                found[definition.name] = definition
        page = parse_text(self._page.text, origin="page") if self._page.text else ()
        found.update((definition.name, definition) for definition in (*self._own, *page))
        return tuple(found.values())

    def _symbols(self, definitions: tuple[Definition, ...]) -> tuple[scan.Symbol, ...]:
        found = []
        for name in variables_of(definitions):
            try:
                found.append(self._view.symbol(name))
            except TickworkError:
                continue  # the engine tells which alarms have no input
        return tuple(found)

    def _source_of(self, symbol: scan.Symbol) -> str:
        row = self._view.channel_of(symbol)
        return self._sources(row) if row >= 0 else ""

    # ---------------------------------------------------------------- one step

    def cycle(self, facts: Facts) -> tuple[Sequence[Entry], bool]:
        at, mono_ns = self._moment(), time.monotonic_ns()
        fresh = mono_ns - self._system_ns >= SYSTEM_NS
        if fresh:
            self._system_ns = mono_ns
            self._view.refresh()
            self._system = self._inputs.read(facts, self._view, wall_ns=at.wall_ns, mono_ns=mono_ns)
        other = self._bind(facts)
        assert self._engine is not None
        entries = self._evaluate(at, with_system=fresh or other)
        self._save(entries, at)
        return entries, other

    def _evaluate(self, at: Moment, *, with_system: bool) -> list[Entry]:
        assert self._engine is not None
        count = len(self._names)
        own = np.array([self._system.get(name, np.nan) for name in self._names])
        good = np.zeros(count, np.uint16)
        if self._gather is None:
            rows = np.arange(count) if with_system else np.zeros(0, np.intp)
            return self._engine.update(at, rows, own, good, np.full(count, at.wall_ns))
        gather = self._gather
        rows = gather.update(self._view.snapshot())
        if not self._view.alive:  # nobody computes: what the snapshot says is over
            quality = np.full(len(gather.quality), q.BAD_NO_COMMUNICATION, np.uint16)
            rows = np.arange(len(gather.quality))
        else:
            quality = gather.quality
        if with_system:
            rows = np.concatenate((rows, np.arange(count) + len(gather.values)))
        values = np.concatenate((gather.values, own))
        times = np.concatenate((gather.times, np.full(count, at.wall_ns)))
        return self._engine.update(at, rows, values, np.concatenate((quality, good)), times)

    def _save(self, entries: Sequence[Entry], at: Moment) -> None:
        assert self._engine is not None
        changed, _ = self._engine.take_kept()
        waiting = self._engine.next_deadline() and at.engine_ns - self._stored_ns > KEEP_CLOCK_NS
        if not changed and not entries and not waiting:
            return
        with store.transaction(self._connection):
            store.save(
                self._connection, self._engine.kept, changed, entries, Stored(at.engine_ns, at.wall_ns)
            )
            if self._engine.kept.seq - self._trimmed > store.JOURNAL_KEPT // 10:
                store.trim(self._connection, self._forwarded)
                self._trimmed = self._engine.kept.seq
        self._stored_ns = at.engine_ns

    # ---------------------------------------------------------------- what is asked of it

    def order(self, order: Order) -> tuple[Outcome, Sequence[Entry]]:
        assert self._engine is not None
        at = self._moment()
        outcome, entries = self._engine.order(order, at)
        self._save(entries, at)
        return outcome, entries

    def define(self, text: str, version: int) -> None:
        if len(text) > PAGE_SIZE_MAX:
            raise TickworkError(
                Problem("AL1001", "too many alarms", expected=f"{PAGE_SIZE_MAX} bytes of text")
            )
        parse_text(text, origin="page")
        self._page = _Page(version, text)
        with store.transaction(self._connection):
            store.set_mark(self._connection, "page", msgspec.msgpack.encode(self._page))

    def table(self) -> AlarmTable:
        assert self._engine is not None
        standing: dict[str, Standing] = {
            name: life.standing() for name, life in self._engine.standing().items()
        }
        kept = self._engine.kept
        return AlarmTable(
            kept.epoch, kept.seq, self._engine.definitions, standing, self._page.text, self._page.version
        )

    def health(self) -> Health:
        assert self._engine is not None
        return self._engine.health()

    def newest(self, count: int) -> list[Entry]:
        return store.newest_entries(self._connection, count)

    def unforwarded(self) -> tuple[str, list[Entry]]:
        return self._kept.epoch, store.entries_after(self._connection, self._forwarded, ENTRIES_IN_MESSAGE)

    def forwarded(self, seq: int) -> None:
        self._forwarded = seq
        with store.transaction(self._connection):
            store.set_mark(self._connection, "forwarded", str(seq).encode())
