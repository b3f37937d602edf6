"""ST texts as running machines, for tests that are about meaning."""

from __future__ import annotations

from typing import Any

from programs.check import CheckResult, check
from programs.source import Source
from tests.programs.hir_builder import Both, Machine
from tests.programs.verify_hir import violations

NOTE = "ST4107"  # test programs have no configuration


def check_text(text: str, *, dialect: str = "iec") -> CheckResult:
    return check([Source("main.st", text)], dialect=dialect)


def codes(text: str, *, dialect: str = "iec", warnings: bool = False) -> list[str]:
    """Codes of the errors (or of all problems), in order; the note about a missing configuration is left out."""
    problems = check_text(text, dialect=dialect).problems
    return [p.code for p in problems if (warnings or p.severity == "error") and p.code != NOTE]


def machine(text: str, *, dialect: str = "iec") -> Machine:
    """A checked, verified and compiled application; without a configuration its programs run in the task ``main``."""
    return Machine(_program(text, dialect))


def both(text: str, *, dialect: str = "iec") -> Both:
    """The same, compiled and evaluated side by side."""
    return Both(_program(text, dialect))


def _program(text: str, dialect: str) -> Any:
    result = check_text(text, dialect=dialect)
    assert result.program is not None, "\n".join(problem.render() for problem in result.problems)
    assert violations(result.program) == []
    return result.program


def run(
    text: str, *paths: str, dialect: str = "iec", scans: int = 1, period_ns: int = 10_000_000
) -> list[Any]:
    """Values of variables of ``Main`` after some scans, which compiled code and the oracle agree on."""
    found = both(text, dialect=dialect)
    for scan in range(scans):
        assert found.scan(now_ns=scan * period_ns, task="main") == 0, found.machine.fault
    return [found.read(f"Main.{path}") for path in paths]


def body(declarations: str, statements: str, before: str = "") -> str:
    """A program ``Main`` with these variables and statements."""
    return f"{before}\nPROGRAM Main\nVAR {declarations} END_VAR\n{statements}\nEND_PROGRAM\n"
