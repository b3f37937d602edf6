"""Any text: problems or a program, never an exception; and a program's tree keeps its invariants."""

from __future__ import annotations

import pathlib
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from programs.check import DIALECTS, check
from programs.source import Source
from tests.programs.verify_hir import violations

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "errors"
EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TOKEN = re.compile(
    r"\s+|\(\*.*?\*\)|//[^\n]*|'[^'\n]*'|[A-Za-z_]\w*|\d[\w#.]*|:=|=>|<=|>=|<>|\*\*|.", re.DOTALL
)


def _texts() -> list[str]:
    found = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.rglob("*.st"))]
    for page in sorted(PAGES.glob("ST*.md")):
        blocks = re.findall(
            r"^```st \w+[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        found += blocks
    return found


TOKENS = [TOKEN.findall(text) for text in _texts()]
POOL = sorted({token for tokens in TOKENS for token in tokens if not token.isspace()})


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real text with a few tokens removed, replaced, inserted, exchanged or repeated."""
    tokens = list(draw(st.sampled_from(TOKENS)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(len(tokens) - 1, 0)))
        other = draw(st.integers(0, max(len(tokens) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                del tokens[at : at + 1]
            case 1:
                tokens[at : at + 1] = [draw(st.sampled_from(POOL))]
            case 2:
                tokens.insert(at, draw(st.sampled_from(POOL)))
            case 3 if tokens:
                tokens[at], tokens[other] = tokens[other], tokens[at]
            case 4:
                tokens[at:at] = tokens[at : at + 20]
    return "".join(tokens)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(text=mutated(), dialect=st.sampled_from(DIALECTS))
def test_check_when_text_is_mutated_then_problems_or_a_sound_program(text: str, dialect: str) -> None:
    result = check([Source("any.st", text)], dialect=dialect)
    assert (result.program is None) == bool(result.errors)
    assert all(problem.render() for problem in result.problems)
    if result.program is not None:
        assert violations(result.program) == []


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200), dialect=st.sampled_from(DIALECTS))
def test_check_when_text_is_anything_then_no_exception(text: str, dialect: str) -> None:
    result = check([Source("any.st", text)], dialect=dialect)
    assert (result.program is None) == bool(result.errors)
