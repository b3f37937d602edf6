"""Conditions of many definitions at once: tag values in, levels out (LL = -2 … 0 … HH = 2, digital and the like 1).

Theory. Every condition becomes a quantity x and limits on it: digital is 0 or 1 against 0.5, deviation is a difference,
rate a quotient, an expression its value. What changed picks the definitions that look at it (an index from tags to
definitions), numpy compares them in columns, and only levels that moved come back. 50,000 definitions cost nothing
while their tags rest.

Hysteresis: a limit that is passed is left only beyond its deadband. A value that is bad or NaN moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runtime.alarms.expression import Expression
from runtime.alarms.model import Definition
from scan import quality as q
from scan.problem import Problem, TickworkError

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]
Levels = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

NS = 1_000_000_000
_NONE: Rows = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class TagInfo:
    """An input. ``source``: what its quality depends on (a device, a runtime): one communication alarm for each."""

    path: str
    source: str = ""
    enum_values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """Definitions whose level or whose usability of input is another one now; levels where unknown are the old ones."""

    rows: Rows
    levels: Levels
    unknown: Flags


@dataclass(slots=True)
class _Formula:
    """A definition or predicate that is evaluated one by one."""

    row: int
    expression: Expression
    inputs: Rows
    accept: frozenset[float] | None = None  # kind "state": the value is one of these
    predicate: bool = False


@dataclass(slots=True)
class Conditions:
    """``definitions`` over ``tags``. ``raw`` and ``unknown`` are the present level and usability of each definition."""

    definitions: Sequence[Definition]
    tags: Sequence[TagInfo]
    raw: Levels = field(init=False)
    unknown: Flags = field(init=False)
    problems: dict[int, Problem] = field(init=False, default_factory=dict)
    sources: tuple[frozenset[str], ...] = field(init=False, default=())
    suppressed: dict[int, bool] = field(init=False, default_factory=dict)
    _first: Rows = field(init=False, repr=False)
    _second: Rows = field(init=False, repr=False)
    _limits: Floats = field(init=False, repr=False)
    _backs: Floats = field(init=False, repr=False)
    _over: Floats = field(init=False, repr=False)
    _reference: Floats = field(init=False, repr=False)
    _reference_ns: npt.NDArray[np.int64] = field(init=False, repr=False)
    _formulas: list[_Formula] = field(init=False, default_factory=list, repr=False)
    _starts: Rows = field(init=False, repr=False)
    _items: Rows = field(init=False, repr=False)
    _formulas_of: dict[int, list[int]] = field(init=False, default_factory=dict, repr=False)
    _rates: Rows = field(init=False, repr=False)
    _columnar: Flags = field(init=False, repr=False)
    _guards: dict[int, Rows] = field(init=False, default_factory=dict, repr=False)
    _guarded: Flags = field(init=False, repr=False)
    _formula_of: dict[int, _Formula] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        count = len(self.definitions)
        self.raw = np.zeros(count, np.int8)
        self.unknown = np.zeros(count, bool)
        self._first = np.full(count, -1, np.intp)
        self._second = np.full(count, -1, np.intp)
        self._limits = np.full((4, count), np.nan)  # HH, H, L, LL
        self._backs = np.full((4, count), np.nan)  # where each is left again
        self._over = np.zeros(count)
        self._reference = np.full(count, np.nan)
        self._reference_ns = np.zeros(count, np.int64)
        self._columnar = np.zeros(count, bool)
        self._guarded = np.zeros(count, bool)
        places = {tag.path.upper(): row for row, tag in enumerate(self.tags)}
        enumerations = {
            tag.path.upper(): {name.upper(): number for name, number in tag.enum_values}
            for tag in self.tags
            if tag.enum_values
        }
        for row, definition in enumerate(self.definitions):
            try:
                self._add(row, definition, places, enumerations)
            except TickworkError as error:
                self.problems[row] = error.problems[0]
                self._first[row] = -1
                self._columnar[row] = False
        self._rates = np.flatnonzero((self._over > 0) & self._columnar)
        self._index()

    # ---------------------------------------------------------------- making the columns

    def _add(
        self,
        row: int,
        definition: Definition,
        places: Mapping[str, int],
        enumerations: Mapping[str, Mapping[str, int]],
    ) -> None:
        if definition.kind == "comms":
            return
        if definition.kind == "expression":
            self._formula(row, definition.expression, places, enumerations)
            self._set_limits(row, (None, 0.5, None, None), (0.0,) * 4)
        elif definition.kind == "state":
            accept = _state_values(definition, enumerations)
            self._formula(row, f'"{definition.tag}"', places, enumerations, accept)
            self._set_limits(row, (None, 0.5, None, None), (0.0,) * 4)
        else:
            self._first[row] = _place(places, definition.tag)
            self._columnar[row] = True
            if definition.kind == "deviation":
                self._second[row] = _place(places, definition.setpoint)
            if definition.kind == "rate":
                self._over[row] = definition.over_ms * 1_000_000
            if definition.kind == "digital":
                limits = (None, 0.5, None, None) if definition.active_when else (None, None, 0.5, None)
                self._set_limits(row, limits, (0.0,) * 4)
            else:
                d = definition
                self._set_limits(
                    row,
                    (d.hh, d.h, d.l, d.ll),
                    (d.hh_deadband, d.h_deadband, d.l_deadband, d.ll_deadband),
                )
        if definition.depends_on:
            self._guards[row] = np.array([_place(places, tag) for tag in definition.depends_on], np.intp)
            self._guarded[row] = True
        if definition.suppress_when:
            self._formula(row, definition.suppress_when, places, enumerations, predicate=True)

    def _set_limits(self, row: int, limits: tuple[float | None, ...], deadbands: tuple[float, ...]) -> None:
        for index, (limit, deadband) in enumerate(zip(limits, deadbands, strict=True)):
            if limit is not None:
                self._limits[index, row] = limit
                self._backs[index, row] = limit - deadband if index < 2 else limit + deadband

    def _formula(
        self,
        row: int,
        text: str,
        places: Mapping[str, int],
        enumerations: Mapping[str, Mapping[str, int]],
        accept: frozenset[float] | None = None,
        *,
        predicate: bool = False,
    ) -> None:
        expression = Expression(text, enumerations)
        inputs = np.array([_place(places, tag) for tag in expression.tags], np.intp)
        made = _Formula(row, expression, inputs, accept, predicate)
        self._formulas.append(made)
        if not predicate:
            self._formula_of[row] = made

    def _index(self) -> None:
        """From each tag to the definitions that look at it, as one list cut into runs."""
        pairs = [
            (int(tag), row)
            for column in (self._first, self._second)
            for row, tag in enumerate(column.tolist())
            if tag >= 0 and self._columnar[row]
        ]
        pairs += [
            (int(tag), row) for row, tags in self._guards.items() if self._columnar[row] for tag in tags
        ]
        pairs.sort()
        tags = np.array([tag for tag, _ in pairs], np.intp)
        self._items = np.array([row for _, row in pairs], np.intp)
        self._starts = np.searchsorted(tags, np.arange(len(self.tags) + 1)).astype(np.intp)
        for number, formula in enumerate(self._formulas):
            guards = () if formula.predicate else self._guards.get(formula.row, _NONE).tolist()
            for tag in {*formula.inputs.tolist(), *guards}:
                self._formulas_of.setdefault(tag, []).append(number)
        names = [tag.source for tag in self.tags]
        found: list[set[str]] = [set() for _ in self.definitions]
        for tag, row in pairs:
            found[row].add(names[tag])
        for formula in self._formulas:
            if not formula.predicate:
                found[formula.row].update(names[tag] for tag in formula.inputs.tolist())
                found[formula.row].update(names[tag] for tag in self._guards.get(formula.row, _NONE).tolist())
        self.sources = tuple(frozenset(one) - {""} for one in found)

    # ---------------------------------------------------------------- evaluating

    def update(
        self, changed: Rows, values: Floats, quality: npt.NDArray[np.uint16], now_ns: int, *, everything: bool
    ) -> Moved:
        """Evaluates what looks at ``changed`` (rows of tags); ``everything``: all definitions."""
        usable = ~((quality >= q.BAD) | np.isnan(values))
        rows = self._touched(changed, everything=everything)
        moved: list[tuple[Rows, Levels, Flags]] = []
        if len(rows):
            moved.append(self._columns(rows, values, usable, now_ns))
        singles = self._singles(changed, values, usable, everything=everything)
        if singles is not None:
            moved.append(singles)
        if not moved:
            return Moved(np.zeros(0, np.intp), np.zeros(0, np.int8), np.zeros(0, bool))
        found = Moved(*(np.concatenate(parts) for parts in zip(*moved, strict=True)))
        self.raw[found.rows] = found.levels
        self.unknown[found.rows] = found.unknown
        return found

    def _touched(self, changed: Rows, *, everything: bool) -> Rows:
        if everything:
            return np.flatnonzero(self._columnar)
        starts, ends = self._starts[changed], self._starts[changed + 1]
        counts = ends - starts
        total = int(counts.sum())
        found = self._rates
        if total:
            offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
            rows = self._items[np.arange(total) + offsets]
            found = np.concatenate((rows, found)) if len(found) else rows
        return np.unique(found)

    def _columns(self, rows: Rows, values: Floats, usable: Flags, now_ns: int) -> tuple[Rows, Levels, Flags]:
        first, second = self._first[rows], self._second[rows]
        x = values[first].copy()
        known = usable[first].copy()
        pair = second >= 0
        if pair.any():
            x[pair] -= values[second[pair]]
            known[pair] &= usable[second[pair]]
        for at in np.flatnonzero(self._guarded[rows]).tolist():
            known[at] &= bool(usable[self._guards[int(rows[at])]].all())
        timed = self._over[rows] > 0
        if timed.any():
            self._rate(rows, timed, x, known, now_ns)
        levels = self._levels(rows, x, self.raw[rows])
        levels = np.where(known, levels, self.raw[rows])
        other = (levels != self.raw[rows]) | (self.unknown[rows] == known)
        return rows[other], levels[other].astype(np.int8), ~known[other]

    def _rate(self, rows: Rows, timed: Flags, x: Floats, known: Flags, now_ns: int) -> None:
        """Change per second since the reference; the reference moves on when its time is over."""
        at = rows[timed]
        value, good = x[timed], known[timed]
        elapsed = now_ns - self._reference_ns[at]
        fresh = np.isnan(self._reference[at]) | ~good
        due = ~fresh & (elapsed >= self._over[at])
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = (value - self._reference[at]) / (elapsed / NS)
        usable = due
        start = fresh | due
        self._reference[at[start]] = np.where(good, value, np.nan)[start]
        self._reference_ns[at[start]] = now_ns
        # Between two references nothing is decided: the level stays, the input counts as known.
        middle = self._middle(at)
        x[timed] = np.where(usable, rate, middle)
        known[timed] = good

    def _middle(self, rows: Rows) -> Floats:
        """A quantity that keeps the present level: the limit of that level, or NaN (no limit is passed)."""
        raw = self.raw[rows]
        found = np.full(len(rows), np.nan)
        for index, level in enumerate((2, 1, -1, -2)):
            found = np.where(raw == level, self._limits[index, rows], found)
        return found

    def _levels(self, rows: Rows, x: Floats, raw: Levels) -> npt.NDArray[np.int8]:
        limits, backs = self._limits[:, rows], self._backs[:, rows]
        hh = (x >= limits[0]) | ((raw >= 2) & (x > backs[0]))
        h = (x >= limits[1]) | ((raw >= 1) & (x > backs[1]))
        l = (x <= limits[2]) | ((raw <= -1) & (x < backs[2]))  # noqa: E741
        ll = (x <= limits[3]) | ((raw <= -2) & (x < backs[3]))
        return np.where(hh, 2, np.where(h, 1, np.where(ll, -2, np.where(l, -1, 0)))).astype(np.int8)

    def _singles(
        self, changed: Rows, values: Floats, usable: Flags, *, everything: bool
    ) -> tuple[Rows, Levels, Flags] | None:
        if not self._formulas:
            return None
        if everything:
            numbers = range(len(self._formulas))
        else:
            touched = self._formulas_of
            numbers = sorted({n for tag in changed.tolist() for n in touched.get(tag, ())})  # type: ignore[assignment]
        rows: list[int] = []
        levels: list[int] = []
        unknown: list[bool] = []
        for number in numbers:
            formula = self._formulas[number]
            known = bool(usable[formula.inputs].all())
            if not formula.predicate and self._guarded[formula.row]:
                known = known and bool(usable[self._guards[formula.row]].all())
            value = formula.expression.evaluate(values[formula.inputs].tolist()) if known else np.nan
            known = known and not np.isnan(value)
            if formula.predicate:
                if known:
                    self.suppressed[formula.row] = bool(value)
                continue
            level = int(value in formula.accept if formula.accept is not None else bool(value))
            level = level if known else int(self.raw[formula.row])
            if level != self.raw[formula.row] or self.unknown[formula.row] == known:
                rows.append(formula.row)
                levels.append(level)
                unknown.append(not known)
        return np.array(rows, np.intp), np.array(levels, np.int8), np.array(unknown, bool)

    # ---------------------------------------------------------------- what must survive a restart

    def references(self) -> dict[str, tuple[float, int]]:
        """Where the rates are measured from, by name of the definition."""
        return {
            self.definitions[row].name: (float(self._reference[row]), int(self._reference_ns[row]))
            for row in self._rates.tolist()
            if not np.isnan(self._reference[row])
        }

    def set_references(self, kept: Mapping[str, tuple[float, int]]) -> None:
        for row in self._rates.tolist():
            if self.definitions[row].name in kept:
                self._reference[row], self._reference_ns[row] = kept[self.definitions[row].name]

    def first_tag(self, rows: Rows) -> Rows:
        """The tag whose time is that of the condition, -1 where there is none."""
        return self._first[rows]

    def value_of(self, row: int, values: Floats) -> float:
        """What a person is shown: the tag's value, or the result of the expression as a number."""
        if self._first[row] >= 0:
            x = float(values[self._first[row]])
            return x - float(values[self._second[row]]) if self._second[row] >= 0 else x
        formula = self._formula_of.get(row)
        return formula.expression.evaluate(values[formula.inputs].tolist()) if formula else float("nan")


def _place(places: Mapping[str, int], tag: str) -> int:
    found = places.get(tag.upper())
    if found is None:
        raise TickworkError(
            Problem("AL1004", f"the variable {tag} of an alarm does not exist", found=tag,
                    remedy="correct the name, or deploy the program that has it")
        )  # fmt: skip
    return found


def _state_values(definition: Definition, enumerations: Mapping[str, Mapping[str, int]]) -> frozenset[float]:
    names = enumerations.get(definition.tag.upper(), {})
    values = set()
    for text in definition.states:
        number = names.get(text.split("#")[-1].upper())
        if number is None and text.lstrip("-").isdecimal():
            number = int(text)
        if number is None:
            raise TickworkError(
                Problem("AL1005", f"{definition.tag} has no state {text}",
                        expected=", ".join(names) or "whole numbers", found=text)
            )  # fmt: skip
        values.add(float(number))
    return frozenset(values)
