"""Each page of a code of the checker shows what it says: its bad example gives the code, its good one no problem."""

from __future__ import annotations

import pathlib
import re

import pytest

from programs.check import check
from programs.codes import MEANING, TYPES
from programs.source import Source
from scan.problem import Problem

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "errors"

NOTE = "ST4107"  # examples have no configuration
CODES = sorted(TYPES | MEANING)


def problems(code: str, kind: str) -> list[Problem]:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```st {kind}(?: (\w+))?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    dialect, source = found[0]
    return list(check([Source(code, source)], dialect=dialect or "iec").problems)


@pytest.mark.parametrize("code", CODES)
def test_page_when_bad_example_is_checked_then_its_code(code: str) -> None:
    found = problems(code, "bad")
    assert {problem.code for problem in found} - {NOTE} == {code} - {NOTE}
    assert found
    assert all(problem.place.line > 0 and problem.source_line and problem.remedy for problem in found)


@pytest.mark.parametrize("code", CODES)
def test_page_when_good_example_is_checked_then_no_problem(code: str) -> None:
    assert [problem.code for problem in problems(code, "good") if problem.code != NOTE or code == NOTE] == []
