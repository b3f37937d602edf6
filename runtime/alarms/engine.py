"""The alarm engine: values, time and orders in; journal entries and what has to be kept out. It does no I/O.

Rules.
* The owner calls ``update`` with what changed, or with nothing when time has passed, and stores ``take_kept`` together
  with the entries in one transaction before anybody hears of them. An engine made from what was stored goes on as if
  nothing had happened.
* The first ``update`` of an engine evaluates everything before any deadline counts: what the process did while the
  engine was away decides, not what it did before.
* A deadline that passed between two updates takes effect at its own time, in the order of the deadlines. Changes of
  values take effect in the order of their times, ties in the order of the definitions.
* Bad input moves nothing. It is marked on what stands, and each source of bad input has a communication alarm.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.alarms.conditions import Conditions, Floats, Moved, Rows, TagInfo
from runtime.alarms.life import Kept, Life
from runtime.alarms.model import LEVELS, SYSTEM, Definition, Entry, Health, Order, Outcome, digest_of
from runtime.alarms.orders import Orders
from runtime.alarms.states import Effect, Event, State, When, find_row, unconditional

MS = 1_000_000
SECOND = 1_000_000_000
_NOTHING: Rows = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: the engine's own time, and UTC for people."""

    engine_ns: int
    wall_ns: int


class Engine:
    """``definitions`` over ``tags``; ``kept`` is what an earlier engine left (or a new ``Kept``)."""

    def __init__(self, definitions: Sequence[Definition], tags: Sequence[TagInfo], kept: Kept) -> None:
        self.definitions = with_communication(definitions, tags)
        self.tags = tuple(tags)
        self._kept = kept
        self._rows = {definition.name: row for row, definition in enumerate(self.definitions)}
        self._conditions = Conditions(self.definitions, self.tags)
        self._lives: dict[int, Life] = {}
        self._timers: list[tuple[int, int]] = []  # (deadline, row), stale ones are passed over
        self._groups: dict[str, int] = {}
        self._unknown_rows: set[int] = set()
        self._bad: dict[str, int] = {}  # source -> definitions with unusable input
        self._comms = {d.tag: row for row, d in enumerate(self.definitions) if d.kind == "comms"}
        self._dirty: set[int] = set()
        self._entries: list[Entry] = []
        self._removed: dict[str, Life] = {}
        self._gone: list[str] = []  # defined no more, with an open occurrence
        self._fresh = True
        self._values: Floats = np.full(len(self.tags), np.nan)
        self._at = Moment(0, 0)
        self.digest = digest_of(self.definitions)
        self._orders = Orders(self)
        self._take_over(kept)

    def _take_over(self, kept: Kept) -> None:
        for name, life in kept.lives.items():
            row = self._rows.get(name)
            if row is None or not self.definitions[row].enabled:
                if life.occurrence:
                    self._gone.append(name)
                continue
            self._lives[row] = life
            self._conditions.raw[row] = life.raw
            self._arm(row, life)
            self._count(row, int(life.level != 0))
        self._conditions.set_references(kept.references)

    # ---------------------------------------------------------------- what the owner sees

    @property
    def problems(self) -> dict[str, str]:
        """Definitions that cannot be evaluated, with the reason."""
        return {
            self.definitions[row].name: problem.message for row, problem in self._conditions.problems.items()
        }

    def standing(self) -> dict[str, Life]:
        """Alarms that are anything but untouched, by name. Not to be changed."""
        return {self.definitions[row].name: life for row, life in self._lives.items()}

    def health(self, problem: str = "") -> Health:
        active = sum(life.occurrence != 0 for life in self._lives.values())
        return Health(
            self._at.wall_ns, len(self.definitions), active, self._kept.epoch, self._kept.seq, problem, self.digest,
            tuple(sorted(self.problems))[:50],
        )  # fmt: skip

    def take_kept(self) -> tuple[dict[str, Life], dict[str, tuple[float, int]]]:
        """Lives that changed since the last call, and where rates are measured from."""
        changed = {self.definitions[row].name: self._lives[row] for row in sorted(self._dirty)}
        self._dirty.clear()
        changed |= self._removed
        self._removed = {}
        self._kept.lives.update(changed)
        self._kept.references = self._conditions.references()
        return changed, self._kept.references

    @property
    def kept(self) -> Kept:
        """For the engine that follows this one with other definitions or tags."""
        self.take_kept()
        return self._kept

    def next_deadline(self) -> int:
        """Engine time of the next deadline, 0: none."""
        return self._timers[0][0] if self._timers else 0

    # ---------------------------------------------------------------- time and values

    def update(
        self,
        at: Moment,
        changed: Rows = _NOTHING,
        values: Floats | None = None,
        quality: npt.NDArray[np.uint16] | None = None,
        times: npt.NDArray[np.int64] | None = None,
    ) -> list[Entry]:
        """Time has come to ``at``, and the tags in ``changed`` have these values (columns over all tags)."""
        first, self._fresh = self._fresh and values is not None, self._fresh and values is None
        if not first:
            self._pass_time(at)
        self._at = at
        self._close_gone(at)
        if values is not None:
            assert quality is not None
            self._values = values
            moved = self._conditions.update(changed, values, quality, at.engine_ns, everything=first)
            self._usability(moved, first=first)
            rows = np.union1d(moved.rows, self._held()) if first else moved.rows
            for row in rows[self._in_order(rows, times)].tolist():
                self._moved(row, int(self._conditions.raw[row]), times)
            self._predicates(at)
        if first:
            self._pass_time(at)
        return self._taken()

    def _taken(self) -> list[Entry]:
        found, self._entries = self._entries, []
        return found

    def _close_gone(self, at: Moment) -> None:
        """An occurrence does not outlive its definition, and the journal says so."""
        for name in self._gone:
            life = self._kept.lives.pop(name)
            before, self._kept.lives[name] = life.occurrence, Life()
            self._kept.seq += 1
            standing = Life(priority=life.priority).standing()
            entry = Entry(self._kept.seq, at.wall_ns, name, "definition removed", before, standing)
            self._entries.append(entry)
            self._removed[name] = self._kept.lives[name]
        self._gone.clear()

    def _in_order(self, rows: Rows, times: npt.NDArray[np.int64] | None) -> Rows:
        if times is None or len(rows) < 2:
            return np.argsort(rows, kind="stable").astype(np.intp)
        tags = self._conditions.first_tag(rows)
        stamps = np.where(tags >= 0, times[np.maximum(tags, 0)], self._at.wall_ns)
        return np.lexsort((rows, stamps)).astype(np.intp)

    def _moved(self, row: int, raw: int, times: npt.NDArray[np.int64] | None) -> None:
        if not self.definitions[row].enabled:
            return
        life = self._lives.get(row)
        if (life.raw if life else 0) == raw:
            if (
                life is not None
                and life.raw != life.level
                and not life.due_at
                and row not in self._unknown_rows
            ):
                self._dirty.add(row)
                self._follow(
                    row, life, self._at.wall_ns
                )  # its delay ended while the input was bad: it begins anew
            return
        life = self._life(row)
        life.raw = raw
        self._dirty.add(row)
        self._follow(row, life, self._stamp(row, times))

    def _held(self) -> Rows:
        """Rows whose delay ended while their input was bad."""
        return np.array(
            [row for row, life in self._lives.items() if life.raw != life.level and not life.due_at], np.intp
        )

    def _stamp(self, row: int, times: npt.NDArray[np.int64] | None) -> int:
        """UTC of the value that moved a level: its own time when that is a sensible one."""
        tag = int(self._conditions.first_tag(np.array([row]))[0])
        if times is None or tag < 0:
            return self._at.wall_ns
        stamp = int(times[tag])
        return stamp if 0 <= self._at.wall_ns - stamp < 10 * SECOND else self._at.wall_ns

    def _follow(self, row: int, life: Life, now_ns: int) -> None:
        """The level follows the condition, at once or after the delay."""
        definition = self.definitions[row]
        if life.raw == life.level:
            life.due_at = 0
            return
        worse = life.raw != 0 and abs(life.raw) >= abs(life.level)
        delay_ms = definition.on_delay_ms if worse or life.level == 0 else definition.off_delay_ms
        if delay_ms == 0:
            self._settle(row, life, now_ns)
        elif life.due_at == 0:
            life.due_at = self._at.engine_ns + delay_ms * MS
            heapq.heappush(self._timers, (life.due_at, row))

    def _settle(self, row: int, life: Life, now_ns: int) -> None:
        before, life.level, life.due_at = life.level, life.raw, 0
        definition = self.definitions[row]
        if life.level == 0:
            self._count(row, -1)
            life.cleared_ns = now_ns
            self.fire(row, Event.CLEAR, now_ns)
            return
        priority, was = definition.priority_at(life.level), life.priority
        self._describe(row, life)
        if before == 0:
            alone = self._groups.get(definition.group, 0) == 0
            self._count(row, 1)
            self.fire(row, Event.RAISE, now_ns, first_out=definition.first_out and alone)
        elif priority >= was or not self.fire(row, Event.REALARM, now_ns):
            self.enter(row, "level", now_ns)

    def _describe(self, row: int, life: Life) -> None:
        definition = self.definitions[row]
        value, limit = self._conditions.value_of(row, self._values), definition.limit_at(life.level)
        life.priority = definition.priority_at(life.level)
        life.value = self._shown(definition, value)
        life.limit = f"{LEVELS[life.level]} {limit:g}" if limit is not None else ""

    def _shown(self, definition: Definition, value: float) -> str:
        if math.isnan(value):
            return ""
        if definition.kind in ("digital", "expression"):
            return "TRUE" if value else "FALSE"
        if definition.kind == "comms":
            return f"{self._bad.get(definition.tag, 0)} alarms"
        return f"{value:.6g}"

    # ---------------------------------------------------------------- time

    def _pass_time(self, at: Moment) -> None:
        while self._timers and self._timers[0][0] <= at.engine_ns:
            due, row = heapq.heappop(self._timers)
            life = self._lives.get(row)
            if life is None:
                continue
            wall = at.wall_ns - (at.engine_ns - due)
            self._at = Moment(due, wall)
            if life.due_at == due:
                self._dirty.add(row)
                if row in self._unknown_rows:
                    life.due_at = 0  # held: whether the condition held all the time is not known
                else:
                    self._settle(row, life, wall)
            if life.shelf_at == due:
                life.unshelve()
                self.fire(row, Event.UNSHELVE, wall)
            if life.realarm_at == due:
                self.fire(row, Event.REALARM, wall)
        self._at = at

    def _arm(self, row: int, life: Life) -> None:
        for deadline in (life.due_at, life.shelf_at, life.realarm_at):
            if deadline:
                heapq.heappush(self._timers, (deadline, row))

    # ---------------------------------------------------------------- input that cannot be used

    def _usability(self, moved: Moved, *, first: bool) -> None:
        """Which inputs can be used; then the sources' own alarms, then the marks on what stands: always in this order,
        so that an engine that begins anew writes the same journal as one that went on."""
        sources = set(self._comms) if first else set()
        changed: dict[int, bool] = {}
        for row, unknown in zip(moved.rows.tolist(), moved.unknown.tolist(), strict=True):
            if self.definitions[row].enabled and (row in self._unknown_rows) != unknown:
                changed[row] = unknown
                (self._unknown_rows.add if unknown else self._unknown_rows.discard)(row)
                for source in self._conditions.sources[row]:
                    self._bad[source] = self._bad.get(source, 0) + (1 if unknown else -1)
                    sources.add(source)
        for source in sorted(sources):
            self._communication(source)
        for row in sorted({*changed, *self._lives} if first else changed):
            life, unknown = self._lives.get(row), row in self._unknown_rows
            if life is not None and life.occurrence and life.unknown != unknown:
                life.unknown = unknown
                self.enter(row, "input bad" if unknown else "input good", self._at.wall_ns)

    def _communication(self, source: str) -> None:
        row = self._comms.get(source)
        if row is None:
            return
        raw = int(self._bad.get(source, 0) > 0)
        life = self._lives.get(row)
        if (life.raw if life else 0) != raw:
            life = self._life(row)
            life.raw = raw
            self._dirty.add(row)
            self._follow(row, life, self._at.wall_ns)

    # ---------------------------------------------------------------- suppression by design

    def _predicates(self, at: Moment) -> None:
        for row, holds in self._conditions.suppressed.items():
            life = self._lives.get(row)
            if (life.suppressed if life else False) == holds or not self.definitions[row].enabled:
                continue
            life = self._life(row)
            life.suppressed = holds
            if not life.suppressed_by:
                life.reason = self.definitions[row].suppress_when if holds else ""
                self.fire(row, Event.SUPPRESS if holds else Event.UNSUPPRESS, at.wall_ns)
            self._dirty.add(row)

    # ---------------------------------------------------------------- the table

    def fire(
        self,
        row: int,
        event: Event,
        now_ns: int,
        *,
        user: str = "",
        comment: str = "",
        first_out: bool = False,
    ) -> bool:
        """One event on one alarm, as the table says; False when nothing follows."""
        life = self._life(row)
        found = unconditional(life.state, event) or find_row(life.state, event, self._holding(row, life))
        if found is None:
            return False
        before = life.occurrence
        if found.target is not None:
            leaving = event in (Event.UNSHELVE, Event.UNSUPPRESS, Event.RETURN)
            life.state = found.target
            if leaving and found.target in (State.UNACKNOWLEDGED, State.NORMAL):
                self._reevaluated(row, life, now_ns)
            if event is Event.CLEAR and life.once:
                life.unshelve()
        if event is Event.ACKNOWLEDGE:
            life.acked_ns, life.acked_by = now_ns, user
        if Effect.CLOSE in found.effects and Effect.OPEN in found.effects and before:
            self.enter(row, "closed", now_ns, occurrence=before)
        for effect in found.effects:
            if life.apply(effect, self._kept.occurrence + 1, now_ns):
                self._kept.occurrence += 1
                life.unknown = row in self._unknown_rows
        if event is Event.RAISE:
            life.first_out = first_out
        self._announce(row, life, found.effects)
        self.enter(row, str(event), now_ns, user=user, comment=comment, occurrence=life.occurrence or before)
        return True

    def _holding(self, row: int, life: Life) -> frozenset[When]:
        definition = self.definitions[row]
        facts = {
            When.LATCHING: definition.latching,
            When.ACK_NEEDED: definition.acknowledge,
            When.HOLDS: life.raw != 0,
            When.ONCE: life.once,
            When.SHELVED: bool(life.shelf_at),
            When.SUPPRESSED: life.suppressed or bool(life.suppressed_by),
        }
        return frozenset(when for when, holds in facts.items() if holds)

    def _reevaluated(self, row: int, life: Life, now_ns: int) -> None:
        """Leaving G, H or I: the condition decides at once, without its delay."""
        life.due_at = 0
        if life.level == life.raw:
            return
        self._count(row, int(life.raw != 0) - int(life.level != 0))
        life.level = life.raw
        if life.level:
            self._describe(row, life)
        else:
            life.cleared_ns = now_ns

    def _announce(self, row: int, life: Life, effects: tuple[Effect, ...]) -> None:
        realarm_s = self.definitions[row].realarm_s
        if life.state is State.ACKNOWLEDGED and realarm_s:
            life.realarm_at = self._at.engine_ns + realarm_s * SECOND
            heapq.heappush(self._timers, (life.realarm_at, row))
        elif Effect.ANNOUNCE in effects or life.state is not State.ACKNOWLEDGED:
            life.realarm_at = 0

    def enter(
        self,
        row: int,
        event: str,
        now_ns: int,
        *,
        user: str = "",
        comment: str = "",
        occurrence: int | None = None,
    ) -> None:
        """A line of the journal with what stands now."""
        life = self._life(row)
        self._dirty.add(row)
        self._kept.seq += 1
        number = life.occurrence if occurrence is None else occurrence
        name = self.definitions[row].name
        self._entries.append(
            Entry(self._kept.seq, now_ns, name, event, number, life.standing(), user, comment, life.value)
        )

    # ---------------------------------------------------------------- orders

    def order(self, order: Order, at: Moment) -> tuple[Outcome, list[Entry]]:
        """What a person wants. Time passes first, so that a shelf that is over is over."""
        self._pass_time(at)
        outcome = self._orders.carry_out(order, at)
        return outcome, self._taken()

    def row_of(self, name: str) -> int | None:
        return self._rows.get(name)

    def set_timer(self, deadline: int, row: int) -> None:
        heapq.heappush(self._timers, (deadline, row))

    def touch(self, row: int) -> None:
        """Its life was changed and has to be stored."""
        self._dirty.add(row)

    def life_of(self, row: int) -> Life:
        return self._life(row)

    def _life(self, row: int) -> Life:
        life = self._lives.get(row)
        if life is None:
            life = self._lives[row] = Life(priority=self.definitions[row].priority)
        return life

    def _count(self, row: int, change: int) -> None:
        group = self.definitions[row].group
        if group:
            self._groups[group] = self._groups.get(group, 0) + change


def with_communication(definitions: Sequence[Definition], tags: Sequence[TagInfo]) -> tuple[Definition, ...]:
    """The definitions, and one communication alarm for each source that they depend on, unless it is defined."""
    delays: dict[str, int] = {}
    sources = {tag.path.upper(): tag.source for tag in tags}
    for definition in definitions:
        for tag in (definition.tag, definition.setpoint, *definition.depends_on):
            source = sources.get(tag.upper(), "")
            if source:
                delays[source] = max(delays.get(source, 0), definition.comms_delay_ms)
    for source in {tag.source for tag in tags} - {""}:
        delays.setdefault(source, Definition("").comms_delay_ms)
    names = {definition.name for definition in definitions}
    added = tuple(
        Definition(
            f"{SYSTEM}comms.{source}", kind="comms", tag=source, priority=2, on_delay_ms=delay_ms, origin="system",
            text=f"No usable input from {source}", group="system", response="look at the device and its connection",
        )
        for source, delay_ms in sorted(delays.items())
        if f"{SYSTEM}comms.{source}" not in names
    )  # fmt: skip
    return (*definitions, *added)
