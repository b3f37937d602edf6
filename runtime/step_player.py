"""Runs step tables: the production scan in virtual time, each case from a cold start.

A scan time is a multiple of the greatest common divisor of the tasks' periods. At each, in this order: the values
of the steps that are due are set, the tasks that are due run by priority, the expectations are looked at. Nothing is
traced while a case passes; a case that fails is run a second time, which shows the same, up to the failure with
its variables recorded.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from runtime.step_table import Case, Entry, Step, StepTable
from scan.abi import Application, IecType, Symbol, TaskSpec
from scan.problem import Place, Problem, TickworkError, fail
from scan.state import AckStatus
from scan.values import Value, encode_value, format_value, parse_literal
from scan.virtual import ProgramFault, ScanResult, VirtualEngine

SCANS_MAX = 20_000_000  # of one case: some minutes
TRACE_ROWS = 12
_TEXTS = (IecType.STRING, IecType.WSTRING)
_REALS = (IecType.REAL, IecType.LREAL)
_TIMES = (
    IecType.TIME, IecType.LTIME, IecType.DATE, IecType.LDATE, IecType.TOD, IecType.LTOD, IecType.DT, IecType.LDT,
)  # fmt: skip
_AT = Symbol("at", IecType.TIME, 0, 8)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case ended. ``scans`` of all tasks; ``duration_ns`` of virtual time."""

    table: str
    name: str
    place: Place
    scans: int
    duration_ns: int
    problems: tuple[Problem, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems


class _FailedError(Exception):
    """An expectation that did not hold, or a fault of the program; ``problem`` has no trace yet."""

    def __init__(self, problem: Problem, now_ns: int) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.now_ns = now_ns


@dataclass(slots=True)
class Trace:
    """Values of some variables, one row for each scan time at which one of them changed."""

    paths: tuple[str, ...]
    second: str = "scan"  # what the second column counts
    rows: list[tuple[int, int, tuple[str, ...]]] = field(default_factory=list)

    def lines(self) -> tuple[str, ...]:
        head = ("time", self.second, *self.paths)
        rows = [(_shown_time(now_ns), str(scan), *values) for now_ns, scan, values in self.rows[-TRACE_ROWS:]]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        return tuple(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in (head, *rows)
        )


class Engine(Protocol):
    """What plays a case: ``VirtualEngine``, or the evaluator where coverage is wanted."""

    def symbol(self, path: str) -> Symbol: ...
    def read(self, path: str) -> Value: ...
    def write(self, path: str, value: object) -> None: ...
    def set_input(self, path: str, value: object) -> None: ...
    def force(self, path: str, value: Value) -> None: ...
    def unforce(self, path: str) -> None: ...
    def acks(self) -> list[tuple[AckStatus, int]]: ...
    def scan(self, now_ns: int, *, task: str = "") -> ScanResult: ...


class Player:
    """Plays the cases of one table on one application. ``prefix`` is put before paths that are not known without."""

    def __init__(
        self,
        application: Application,
        table: StepTable,
        *,
        prefix: str = "",
        engine: Callable[[], Engine] | None = None,
    ) -> None:
        self._application = application
        self._table = table
        self._prefix = prefix
        self.engine: Callable[[], Engine] = engine or (lambda: VirtualEngine(application))
        self._symbols = {symbol.path.upper(): symbol for symbol in application.symbols}
        self._schedule = Schedule(application.tasks)

    def play(self, case: Case) -> CaseResult:
        """Never raises for what the case or the program does wrong: that is in the result."""
        run = _Run(self, case, None)
        try:
            run.play()
        except _FailedError as failed:
            return self._result(case, run, self._traced(case, failed))
        except TickworkError as error:
            return self._result(case, run, *error.problems)
        return self._result(case, run)

    def _result(self, case: Case, run: _Run, *problems: Problem) -> CaseResult:
        return CaseResult(str(self._table.path), case.name, case.place, run.scans, run.now_ns, problems)

    def _traced(self, case: Case, failed: _FailedError) -> Problem:
        paths = {
            self.symbol(entry).path: None
            for step in case.steps
            if step.at_ns <= failed.now_ns
            for entry in (*step.sets, *step.forces, *step.expects, *step.always)
        }
        trace = Trace(tuple(paths))
        again = _Run(self, case, trace)
        try:
            again.play()
        except _FailedError as same:
            return msgspec.structs.replace(same.problem, notes=trace.lines())
        return failed.problem

    def symbol(self, entry: Entry) -> Symbol:
        """Raises SC2001 with the place of the entry."""
        for path in (entry.path, self._prefix + entry.path):
            found = self._symbols.get(path.upper())
            if found is not None:
                return found
        known = [symbol.path.removeprefix(self._prefix) for symbol in self._symbols.values()]
        near = difflib.get_close_matches(entry.path, known, n=1)
        raise TickworkError(
            Problem(
                "SC2001", f"the program has no variable {entry.path}", entry.place, source_line=entry.source_line,
                remedy=f"did you mean {near[0]}?" if near else "write the path as `tickwork tags` shows it",
            )
        )  # fmt: skip

    def value(self, entry: Entry) -> tuple[Symbol, Value]:
        """The variable and the value of an entry. Raises SC2001, SC2003 with the place of the entry."""
        symbol = self.symbol(entry)
        try:
            return symbol, _value(symbol, entry.value)
        except TickworkError as error:
            first = error.problems[0]
            placed = msgspec.structs.replace(first, place=entry.place, source_line=entry.source_line)
            raise TickworkError(placed) from error

    @property
    def application(self) -> Application:
        return self._application

    @property
    def schedule(self) -> Schedule:
        return self._schedule


def _value(symbol: Symbol, given: object) -> Value:
    if isinstance(given, str):
        if symbol.type in _TEXTS and not symbol.dims and given[:1] not in ("'", '"'):
            return given
        return parse_literal(symbol, given)
    if symbol.type in _TIMES and not symbol.dims:
        raise fail(
            "SC2003", f"the value does not fit {symbol.path}", expected='a literal, "T#5s"', found=repr(given)
        )
    encode_value(symbol, given)
    assert isinstance(given, bool | int | float | list)
    return given


class Schedule:
    """When which task runs."""

    def __init__(self, tasks: Iterable[TaskSpec]) -> None:
        self._tasks = sorted(tasks, key=lambda task: task.priority)
        periods = [task.period_ns for task in self._tasks if task.kind == "cyclic" and task.period_ns > 0]
        self.base_ns = math.gcd(*periods) if periods else 10_000_000

    def due(self, now_ns: int) -> Iterator[TaskSpec]:
        """The cyclic and free tasks of a time; those with an event are ``events``."""
        for task in self._tasks:
            if task.kind == "free" or (task.kind == "cyclic" and now_ns % max(task.period_ns, 1) == 0):
                yield task

    @property
    def events(self) -> list[TaskSpec]:
        return [task for task in self._tasks if task.kind == "event"]


class _Run:
    """One pass through a case."""

    def __init__(self, player: Player, case: Case, trace: Trace | None) -> None:
        self._player = player
        self._case = case
        self._trace = trace
        self._engine = player.engine()
        self._events: dict[str, bool] = {}
        self.now_ns = 0
        self.scans = 0

    def play(self) -> None:
        steps = self._case.steps
        base_ns = self._player.schedule.base_ns
        last = max(step.at_ns + step.within_ns for step in steps)
        if last // base_ns > SCANS_MAX:
            raise fail(
                "CL5003", f"the case {self._case.name!r} takes too long", place=self._case.place,
                expected=f"{SCANS_MAX} scans at most", found=f"{last // base_ns}", remedy="divide the case",
            )  # fmt: skip
        for step in steps:
            for entry in (*step.sets, *step.forces, *step.expects, *step.always):
                self._player.value(entry)  # a table with a wrong name fails before anything runs
        waiting: list[Step] = []
        always: tuple[Entry, ...] = ()
        position = 0
        for now_ns in range(0, last + base_ns, base_ns):
            self.now_ns = now_ns
            while position < len(steps) and steps[position].at_ns <= now_ns:
                self._set(steps[position])
                always = steps[position].always
                waiting.append(steps[position])
                position += 1
            self._scan()
            self._record()
            for entry in always:
                self._expect(entry)
            waiting = [step for step in waiting if not self._fulfilled(step)]
            if position == len(steps) and not waiting:
                return

    def _set(self, step: Step) -> None:
        inputs = self._player.application.inputs
        for entry in step.sets:
            symbol, value = self._player.value(entry)
            if 0 <= symbol.offset - inputs.offset < inputs.size:
                self._engine.set_input(symbol.path, value)
            else:
                self._engine.write(symbol.path, value)
        for entry in step.forces:
            symbol, value = self._player.value(entry)
            self._engine.force(symbol.path, value)
        for entry in step.releases:
            self._engine.unforce(self._player.symbol(entry).path)

    def _scan(self) -> None:
        schedule = self._player.schedule
        for task in schedule.due(self.now_ns):
            self._run_task(task)
        for task in schedule.events:
            high = bool(self._engine.read(task.event))
            if high and not self._events.get(task.name, False):
                self._run_task(task)
            self._events[task.name] = high

    def _run_task(self, task: TaskSpec) -> None:
        result = self._engine.scan(self.now_ns, task=task.name)
        self.scans += 1
        if result.fault is not None:
            self._record()
            raise _FailedError(self._faulted(result.fault), self.now_ns)
        for status, _ in self._engine.acks():
            if status is not AckStatus.APPLIED:
                raise fail(
                    "CL5006", "a force or its release was not accepted", place=self._case.place,
                    expected="applied", found=status.name.lower(), remedy="release only what is forced",
                )  # fmt: skip

    def _faulted(self, fault: ProgramFault) -> Problem:
        return Problem(
            "CL5005", f"{self._case.name}: the program stopped with {fault.code} at {_shown_time(self.now_ns)}",
            Place(fault.file, fault.line), expected="no fault", found=f"{fault.code} in {fault.pou}",
            remedy=f"`tickwork explain {fault.code}` tells what it means",
        )  # fmt: skip

    def _record(self) -> None:
        if self._trace is None:
            return
        found = []
        for path in self._trace.paths:
            symbol = self._engine.symbol(path)
            found.append(format_value(symbol, self._engine.read(path)))
        values = tuple(found)
        if not self._trace.rows or self._trace.rows[-1][2] != values:
            self._trace.rows.append((self.now_ns, self.scans, values))

    def _fulfilled(self, step: Step) -> bool:
        """Raises _FailedError for what did not come true in time."""
        if self.now_ns >= step.at_ns + step.within_ns:
            for entry in step.expects:
                self._expect(entry)
            return True
        return all(self._holds(entry) for entry in step.expects)

    def _holds(self, entry: Entry) -> bool:
        symbol, value = self._player.value(entry)
        return holds(symbol, self._engine.read(symbol.path), entry.sign, value, self._case.tolerance)

    def _expect(self, entry: Entry) -> None:
        if self._holds(entry):
            return
        symbol, value = self._player.value(entry)
        wanted = format_value(symbol, value)
        problem = Problem(
            "CL5004", f"{self._case.name}: {entry.path} at {_shown_time(self.now_ns)}, scan {self.scans}",
            entry.place, expected=wanted if entry.sign == "=" else f"{entry.sign} {wanted}",
            found=format_value(symbol, self._engine.read(symbol.path)), source_line=entry.source_line,
        )  # fmt: skip
        raise _FailedError(problem, self.now_ns)


def holds(symbol: Symbol, found: Value, sign: str, wanted: Value, tolerance: float) -> bool:
    """Whether a comparison holds. Reals are equal within ``tolerance`` or one millionth of what is wanted."""
    if isinstance(found, list) or isinstance(wanted, list):
        assert isinstance(found, list)
        assert isinstance(wanted, list)
        same = all(holds(symbol, one, "=", two, tolerance) for one, two in zip(found, wanted, strict=True))
        return same if sign == "=" else sign == "<>" and not same
    if symbol.type in _REALS:
        equal = math.isclose(float(found), float(wanted), rel_tol=1e-6, abs_tol=tolerance)
    else:
        equal = found == wanted
    if sign in ("=", "<>"):
        return equal == (sign == "=")
    low, high = (str(found), str(wanted)) if isinstance(found, str) else (found, wanted)
    if sign[0] == "<":
        low, high = high, low
    return bool(low > high and not equal) or (equal and sign in ("<=", ">="))  # type: ignore[operator]


def _shown_time(now_ns: int) -> str:
    return format_value(_AT, now_ns)
