"""Which statements the cases of step tables reach.

A case is played a second time by the evaluator, which gives the same results as the machine code and knows its lines.
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


class Coverage:
    """Lines with statements, and those that have run."""

    def __init__(self) -> None:
        self.all: set[Line] = set()
        self.run: set[Line] = set()

    def add_program(self, program: hir.Program) -> None:
        for pou in program.pous.values():
            self.all |= {(pou.file, line) for line in _lines(pou.body) if line > 0 and pou.file}

    def as_json(self) -> dict[str, object]:
        """By source: lines with statements, how many of them have run, and which have not."""
        found: dict[str, object] = {}
        for file in sorted({file for file, _ in self.all}):
            lines = {line for name, line in self.all if name == file}
            missing = sorted(lines - {line for name, line in self.run if name == file})
            found[file] = {"lines": len(lines), "run": len(lines) - len(missing), "missing": missing}
        return found

    def report(self) -> list[str]:
        """Lines for people."""
        shown = []
        for file in sorted({file for file, _ in self.all}):
            lines = {line for name, line in self.all if name == file}
            missing = sorted(lines - {line for name, line in self.run if name == file})
            share = 100 * (len(lines) - len(missing)) // len(lines)
            rest = f"; not reached: {', '.join(map(str, missing))}" if missing else ""
            shown.append(f"{share:3} % of {len(lines)} lines in {file}{rest}")
        return shown


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
    """Remembers the lines of the statements that it runs."""

    def __init__(self, program: hir.Program, seen: set[Line]) -> None:
        super().__init__(program)
        self._seen = seen

    def statement(self, statement: hir.Statement) -> None:
        self._seen.add((self.frames[-1].pou.file, statement.line))
        super().statement(statement)


class EvaluatedEngine:
    """The evaluator in the form of ``scan.virtual.VirtualEngine``, as far as step tables use it."""

    def __init__(self, program: hir.Program, coverage: Coverage) -> None:
        self._evaluator = _Watched(program, coverage.run)
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
