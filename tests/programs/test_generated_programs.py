"""Programs as text that nobody wrote: parsed, checked, compiled; they do what the evaluator does."""

from __future__ import annotations

import os
import sys

import pytest

from programs.check import check
from programs.source import Source
from tests.programs.hir_builder import Both, same_block
from tests.programs.st_generator import application

PROGRAMS = int(os.environ.get("TICKWORK_GENERATED_PROGRAMS", "100000"))
# Programs in one source: they share the fixed cost of compiling and loading.
TOGETHER = 25
SCANS = 4
PERIOD_NS = 20_000_000


def run(seeds: range) -> int:
    """Compiles the programs of these seeds as one application and runs both sides; how many ended with a fault."""
    text = application(seeds)
    result = check([Source("generated.st", text)])
    assert result.program is not None, "\n".join(problem.render() for problem in result.errors)
    both = Both(result.program)
    going = set(range(len(seeds)))
    for scan in range(SCANS):
        for number in sorted(going):
            status = both.step(scan * PERIOD_NS, f"T{number}")
            if status:
                going.discard(number)
    _compare(both, going)
    return len(seeds) - len(going)


def _compare(both: Both, going: set[int]) -> None:
    """The memory of each program that ended without a fault."""
    one, other = both.machine.block, both.evaluator.block
    for placed in both.evaluator.layout.instances:
        if int(placed.instance.name[1:]) not in going:
            continue
        start = placed.offset
        end = start + both.evaluator.types.pou(placed.instance.pou).size
        if not (one[start:end] == other[start:end]).all():
            symbols = [symbol for symbol in both.machine.application.symbols if start <= symbol.offset < end]
            assert not same_block(one, other, symbols)


def test_programs_when_generated_as_text_then_compiled_and_evaluated_alike() -> None:
    assert run(range(8)) < 5


def test_programs_when_every_body_is_divided_then_compiled_and_evaluated_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("programs.lower_parts.DIVIDED_FROM", 3)
    monkeypatch.setattr("programs.lower_parts.PART_STATEMENTS", 3)
    assert run(range(20, 26)) < 4


@pytest.mark.soak
def test_programs_when_a_hundred_thousand_are_generated_then_all_are_evaluated_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One source in five is optimised as all programs are; the others little, which takes a third of the time."""
    monkeypatch.setattr("programs.native_workers.TEXT_MIN", sys.maxsize)  # one process does it all
    faults = 0
    for first in range(0, PROGRAMS, TOGETHER):
        seeds = range(first, min(first + TOGETHER, PROGRAMS))
        whole = first // TOGETHER % 5 == 0
        monkeypatch.setattr("programs.native_code.LONG_TEXT", sys.maxsize if whole else 0)
        try:
            faults += run(seeds)
        except AssertionError as error:
            raise AssertionError(f"seeds {seeds.start} to {seeds.stop - 1}") from error
    assert faults < PROGRAMS / 2
