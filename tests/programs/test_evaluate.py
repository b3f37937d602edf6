"""Compiled code does what the evaluator does, for programs that nobody wrote."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.programs.hir_builder import Both
from tests.programs.hir_generator import Generator

# A long run sets this to tens of thousands.
PROGRAMS = int(os.environ.get("TICKWORK_GENERATED_PROGRAMS", "40"))


@settings(
    max_examples=PROGRAMS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=PROGRAMS == 40,
)
@given(st.integers(0, 2**40))
def test_program_when_generated_then_compiled_and_evaluated_alike(seed: int) -> None:
    both = Both(Generator(seed, length=12, depth=5).program())
    for scan in range(3):
        if both.scan(scan * 20_000_000):
            break
