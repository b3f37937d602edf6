"""Which statements and branches tests reach.

A test is played a second time by the evaluator, which gives the same results as the machine code and knows its lines.
For the branches a mark is put at the beginning of each: of IF with and without ELSE, of CASE, and of loops.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from programs import hir
from programs.evaluate import Evaluator
from programs.evaluate_memory import FaultError
from scan.abi import Symbol
from scan.state import AckStatus
from scan.values import Value, read_value
from scan.virtual import ProgramFault, ScanResult, poke

Line = tuple[str, int]  # source and line
Branch = tuple[str, int, str]  # source, line, and which one: "THEN", "ELSE", "2..5", "DO"


@dataclasses.dataclass(slots=True, eq=False)
class _Mark:
    """Stands at the beginning of a branch; not a statement of the program."""

    branch: Branch
    line: int = 0


class Coverage:
    """Lines with statements, and those that have run."""

    def __init__(self) -> None:
        self.all: set[Line] = set()
        self.run: set[Line] = set()
        self.branches: set[Branch] = set()
        self.taken: set[Branch] = set()

    def add_program(self, program: hir.Program) -> None:
        """Count a program's statements and branches, tests left out, and put marks into it."""
        tests = {test.key for test in program.tests}
        for key, pou in program.pous.items():
            if key in tests or not pou.file:
                continue
            self.all |= {(pou.file, line) for line in _lines(pou.body) if line > 0}
            self.branches |= {mark.branch for mark in _put_marks(pou.file, pou.body)}

    def as_json(self) -> dict[str, object]:
        """By source: lines with statements, how many of them have run, and which have not."""
        found: dict[str, object] = {}
        for file in sorted({file for file, _ in self.all}):
            lines = {line for name, line in self.all if name == file}
            missing = sorted(lines - {line for name, line in self.run if name == file})
            branches = {branch for branch in self.branches if branch[0] == file}
            left = sorted(branches - self.taken)
            found[file] = {
                "lines": len(lines), "run": len(lines) - len(missing), "missing": missing,
                "branches": len(branches), "taken": len(branches) - len(left),
                "missing_branches": [f"{line} {which}" for _, line, which in left],
            }  # fmt: skip
        return found

    def report(self) -> list[str]:
        """Lines for people."""
        shown = []
        for file in sorted({file for file, _ in self.all}):
            lines = {line for name, line in self.all if name == file}
            missing = sorted(lines - {line for name, line in self.run if name == file})
            shown.append(_share(file, "lines", len(lines), "not reached", [str(line) for line in missing]))
            branches = {branch for branch in self.branches if branch[0] == file}
            left = [f"{line} {which}" for _, line, which in sorted(branches - self.taken)]
            if branches:
                shown.append(_share(file, "branches", len(branches), "not taken", left))
        return shown


def _share(file: str, what: str, count: int, missing: str, which: list[str]) -> str:
    percent = 100 * (count - len(which)) // count
    rest = f"; {missing}: {', '.join(which)}" if which else ""
    return f"{percent:3} % of {count} {what} in {file}{rest}"


def _put_marks(file: str, body: list[hir.Statement]) -> Iterator[_Mark]:
    """Put a mark at the beginning of each branch, and give it."""
    for statement in body:
        match statement:
            case hir.If():
                if statement.branches[-1][0] is not None:
                    statement.branches.append((None, []))
                for condition, inner in statement.branches:
                    line = condition.line if condition is not None else statement.line
                    yield from _begin(file, inner, line or statement.line, "THEN" if condition else "ELSE")
            case hir.Case():
                for labels, inner in statement.branches:
                    which = ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in labels)
                    yield from _begin(file, inner, statement.line, which)
                yield from _begin(file, statement.otherwise, statement.line, "ELSE")
            case hir.For() | hir.While() | hir.Repeat():
                yield from _begin(file, statement.body, statement.line, "DO")


def _begin(file: str, body: list[hir.Statement], line: int, which: str) -> Iterator[_Mark]:
    yield from _put_marks(file, body)
    mark = _Mark((file, line, which))
    body.insert(0, mark)  # type: ignore[arg-type]
    yield mark


def _lines(part: object) -> Iterator[int]:
    """Lines of the statements in a body, nested ones too."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from _lines(one)
    elif isinstance(part, hir.Statement):
        yield part.line
        for field in dataclasses.fields(part):
            yield from _lines(getattr(part, field.name))


class _Watched(Evaluator):
    """Remembers the lines of the statements that it runs, and the branches that it takes."""

    def __init__(self, program: hir.Program, coverage: Coverage) -> None:
        super().__init__(program)
        self._seen = coverage.run
        self._taken = coverage.taken

    def statement(self, statement: hir.Statement | _Mark) -> None:
        if isinstance(statement, _Mark):
            self._taken.add(statement.branch)
            return
        self._seen.add((self.frames[-1].pou.file, statement.line))
        super().statement(statement)


class EvaluatedEngine:
    """The evaluator in the form of ``scan.virtual.VirtualEngine``, as far as step tables use it."""

    def __init__(self, program: hir.Program, coverage: Coverage) -> None:
        self._evaluator = _Watched(program, coverage)
        self._forces: dict[str, Value] = {}
        self._begun: set[str] = set()
        self._scan = 0

    def symbol(self, path: str) -> Symbol:
        return self._evaluator.symbols[path.lower()]

    def read(self, path: str) -> Value:
        return read_value(self._evaluator.block, self.symbol(path))

    def write(self, path: str, value: object) -> None:
        symbol = self.symbol(path)
        poke(self._evaluator.block, symbol.offset, symbol, value)

    set_input = write

    def force(self, path: str, value: Value) -> None:
        self._forces[path] = value

    def unforce(self, path: str) -> None:
        self._forces.pop(path, None)

    def acks(self) -> list[tuple[AckStatus, int]]:
        return []

    def scan(self, now_ns: int, *, task: str = "") -> ScanResult:
        self._hold()
        self._evaluator.context.first_scan = task not in self._begun
        self._begun.add(task)
        self._scan += 1
        code = self._evaluator.scan(now_ns, task)
        self._hold()
        return ScanResult(self._scan, _fault(self._evaluator.fault, code) if code else None)

    def _hold(self) -> None:
        for path, value in self._forces.items():
            self.write(path, value)


def _fault(error: FaultError | None, code: int) -> ProgramFault:
    return ProgramFault(f"RF{code:04}", "", "", error.line if error else 0, 0)
