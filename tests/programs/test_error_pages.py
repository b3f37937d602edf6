"""Each page of a code of text or syntax shows what it says: its bad example gives the code, its good one none."""

from __future__ import annotations

import pathlib
import re

import pytest

from programs.codes import LEXICAL, SYNTAX
from programs.parser import parse
from programs.source import Source

PAGES = pathlib.Path(__file__).parents[2] / "docs" / "errors"
WITHOUT_EXAMPLE = {"ST1012"}  # five million characters are no example
CODES = sorted(set(LEXICAL | SYNTAX) - WITHOUT_EXAMPLE)


def examples(code: str, kind: str) -> list[str]:
    text = (PAGES / f"{code}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```st {kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", CODES)
def test_page_when_bad_example_is_parsed_then_exactly_its_code(code: str) -> None:
    bad = examples(code, "bad")
    assert bad
    assert [[problem.code for problem in parse(Source(code, text))[1]] for text in bad] == [[code]] * len(bad)


@pytest.mark.parametrize("code", CODES)
def test_page_when_good_example_is_parsed_then_no_problem(code: str) -> None:
    good = examples(code, "good")
    assert good
    assert [parse(Source(code, text))[1] for text in good] == [[]] * len(good)


@pytest.mark.parametrize("code", CODES)
def test_page_when_bad_example_is_parsed_then_message_has_place_and_way_out(code: str) -> None:
    (problem,) = parse(Source(code, examples(code, "bad")[0]))[1]
    assert problem.place.line > 0
    assert problem.source_line
    assert problem.remedy or problem.expected
