"""Runs tests written in Structured Text (TEST … END_TEST), each from a cold start, on the production scan.

A test is one call of a block; ADVANCE_TIME inside moves the scan's time. A test that fails is played a second time by
the evaluator of the typed program, which shows the same values with the times at which they changed.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator

import msgspec

import programs
from programs import hir
from programs.evaluate import Evaluator
from programs.source import decode
from programs.testing import (
    FAILED,
    FOUND,
    MESSAGE,
    NOW,
    TASK,
    WANTED,
    WHICH,
    TestProgram,
    compile_tests,
    prefix_of,
    read_mocks,
    tests_of,
)  # fmt: skip
from runtime.scan_host import engine_cache
from runtime.step_coverage import Coverage, EvaluatedEngine
from runtime.step_player import CaseResult, Trace
from runtime.step_table import FOLDER
from scan.abi import Symbol
from scan.problem import Place, Problem, TickworkError
from scan.values import format_value, read_value
from scan.virtual import ProgramFault, VirtualEngine, poke

TRACE_COLUMNS = 8
_DEPTH_MAX = 3  # variables of a test, and pins of its blocks
_SIGNS = {
    "ASSERT_NEQ": "<> ", "ASSERT_NE": "<> ", "ASSERT_GT": "> ", "ASSERT_GE": ">= ", "ASSERT_LT": "< ",
    "ASSERT_LE": "<= ", "ASSERT_NEAR": "about ",
}  # fmt: skip


def run_texts(
    folder: pathlib.Path,
    files: list[str],
    tell: Callable[[str], None],
    coverage: Coverage | None = None,
) -> list[CaseResult]:
    """The tests in ST of a plant, in its sources and in its folder of tests; ``files`` names some, none: all.

    Raises TickworkError with the problems of the sources.
    """
    settings, _, sources = programs.read_folder(folder)
    for path in sorted((folder / FOLDER).glob("*.st")):
        sources.setdefault(f"{FOLDER}/{path.name}", path.read_bytes())
    try:
        found = [one for one in tests_of(settings, sources) if not files or one.file in files]
        results: dict[tuple[str, int], CaseResult] = {}
        for mocks in dict.fromkeys(one.mocks for one in found):
            wanted = {(one.file, one.line) for one in found if one.mocks == mocks}
            tell(f"compiling {len(wanted)} tests")
            cache = engine_cache(folder / ".tickwork-cache")
            built = compile_tests(settings, sources, read_mocks(mocks), cache_dir=cache)
            numbers = [n for n, test in enumerate(built.tests, start=1) if (test.file, test.line) in wanted]
            texts = {name: decode(data) for name, data in sources.items()}
            for result in run_tests(built, numbers, texts):
                results[result.table, result.place.line] = result
            if coverage is not None:
                tell("coverage")
                _cover(built, numbers, coverage)
    except TickworkError as error:
        raise TickworkError(*(_in_folder(problem, folder) for problem in error.problems)) from error
    return [_result_in(results[one.file, one.line], folder) for one in found]


def run_tests(built: TestProgram, numbers: list[int], texts: dict[str, str]) -> Iterator[CaseResult]:
    """Results of some of the tests of a program. ``texts``: the sources, for the lines of what failed."""
    engine = VirtualEngine(built.application)
    for number in numbers:
        yield _Run(built, number, texts, engine).play()


def _cover(built: TestProgram, numbers: list[int], coverage: Coverage) -> None:
    coverage.add_program(built.program)
    for number in numbers:
        engine = EvaluatedEngine(built.program, coverage)
        engine.write(WHICH, number)
        engine.scan(0, task=TASK)


def _in_folder(problem: Problem, folder: pathlib.Path) -> Problem:
    place = msgspec.structs.replace(problem.place, file=str(folder / problem.place.file))
    return msgspec.structs.replace(problem, place=place) if problem.place.file else problem


def _result_in(result: CaseResult, folder: pathlib.Path) -> CaseResult:
    """Named by the files as the user sees them."""
    problems = tuple(_in_folder(problem, folder) for problem in result.problems)
    place = Place(str(folder / result.place.file), result.place.line)
    return CaseResult(
        str(folder / result.table), result.name, place, result.scans, result.duration_ns, problems
    )


class _Run:
    """One test."""

    def __init__(self, built: TestProgram, number: int, texts: dict[str, str], engine: VirtualEngine) -> None:
        self.built = built
        self.number = number
        self.test = built.tests[number - 1]
        self.texts = texts
        self.engine = engine
        self.symbols = {symbol.path.upper(): symbol for symbol in built.application.symbols}

    def play(self) -> CaseResult:
        self.engine.reset()
        self.engine.write(WHICH, self.number)
        result = self.engine.scan(0, task=TASK)
        problems: tuple[Problem, ...] = ()
        if result.fault is not None:
            problems = (self._faulted(result.fault),)
        elif failed := self._read(FAILED):
            problems = (self._failed(int(failed)),)
        duration_ns = int(self._read(NOW) or 0)
        place = Place(self.test.file, self.test.line)
        return CaseResult(self.test.file, self.test.title, place, 1, duration_ns, problems)

    def _symbol(self, name: str) -> Symbol | None:
        return self.symbols.get(f"{prefix_of(self.number)}{name}".upper())

    def _read(self, name: str) -> int | float | str:
        symbol = self._symbol(name)
        found = read_value(self.engine.block, symbol) if symbol is not None else 0
        return found if isinstance(found, int | float | str) else 0

    def _shown(self, name: str) -> str:
        symbol = self._symbol(name)
        return format_value(symbol, read_value(self.engine.block, symbol)) if symbol is not None else ""

    def _failed(self, number: int) -> Problem:
        assertion = self.test.assertions[number - 1]
        message = str(self._read(MESSAGE)) if assertion.kept else assertion.message
        source_line = self._line(assertion.line)
        return Problem(
            "CL5004", f"{self.test.title}: {message or source_line.strip()}",
            Place(self.test.file, assertion.line, len(source_line) - len(source_line.lstrip()) + 1),
            expected=f"{_SIGNS.get(assertion.name, '')}{self._shown(f'{WANTED}{number}')}",
            found=self._shown(f"{FOUND}{number}"), source_line=source_line, notes=self._trace(),
        )  # fmt: skip

    def _line(self, line: int) -> str:
        lines = self.texts.get(self.test.file, "").splitlines()
        return lines[line - 1] if 0 < line <= len(lines) else ""

    def _faulted(self, fault: ProgramFault) -> Problem:
        return Problem(
            "CL5005", f"{self.test.title}: the program stopped with {fault.code}",
            Place(fault.file, fault.line), expected="no fault", found=f"{fault.code} in {fault.pou}",
            remedy=f"`tickwork explain {fault.code}` tells what it means", notes=self._trace(),
        )  # fmt: skip

    def _trace(self) -> tuple[str, ...]:
        watched = _Watched(self.built, self.number)
        watched.scan(0, TASK)
        watched.record()
        return watched.lines()


class _Watched(Evaluator):
    """Keeps the values of a test's variables at each of its statements."""

    def __init__(self, built: TestProgram, number: int) -> None:
        super().__init__(built.program)
        self._key = built.tests[number - 1].key
        prefix = prefix_of(number).lower()
        self._watched = [symbol for path, symbol in self.symbols.items() if _of_interest(path, prefix)]
        self._prefix_length = len(prefix)
        self._rows: list[tuple[int, int, tuple[str, ...]]] = []
        self._line = 0
        which = self.symbols[WHICH.lower()]
        poke(self.block, which.offset, which, number)

    def statement(self, statement: hir.Statement) -> None:
        if self.frames[-1].pou.key == self._key:
            self.record()
            self._line = statement.line or self._line
        super().statement(statement)

    def record(self) -> None:
        """A row, if something changed."""
        values = tuple(format_value(symbol, read_value(self.block, symbol)) for symbol in self._watched)
        if not self._rows or self._rows[-1][2] != values:
            self._rows.append((int(self.context.now_ns), self._line, values))

    def lines(self) -> tuple[str, ...]:
        """The variables that changed, as a table."""
        changed = [
            column
            for column in range(len(self._watched))
            if len({values[column] for _, _, values in self._rows}) > 1
        ][:TRACE_COLUMNS]
        paths = tuple(self._watched[column].path[self._prefix_length :] for column in changed)
        trace = Trace(paths, second="line")
        for now_ns, line, values in self._rows:
            row = tuple(values[column] for column in changed)
            if not trace.rows or trace.rows[-1][2] != row:
                trace.rows.append((now_ns, line, row))
        return trace.lines()


def _of_interest(path: str, prefix: str) -> bool:
    name = path.removeprefix(prefix)
    return path.startswith(prefix) and name.count(".") < _DEPTH_MAX and re.search(r"(^|\.)_|\[", name) is None
