"""The page on how a program is written: its examples are programs, and they are laid out as the formatter does it."""

from __future__ import annotations

import pathlib
import re

import pytest

from programs.format import format_source
from programs.parse_cursor import NESTING_MAX, OPERATORS_MAX
from programs.parser import parse
from programs.source import SOURCE_CHARACTERS_MAX, Source
from programs.tokens import RESERVED

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "language" / "syntax.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```st\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_example_when_parsed_then_no_problem(example: str) -> None:
    assert parse(Source("syntax.md", example))[1] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_example_when_formatted_then_unchanged(example: str) -> None:
    assert format_source(example, "iec") == example


def test_page_when_it_lists_reserved_words_then_all_of_them() -> None:
    listed = TEXT.split("never names:")[1].split("Every other word")[0]
    words = {word for word in RESERVED if not word.startswith(("END_", "VAR"))}
    assert words - set(re.findall(r"\w+", listed)) == set()


def test_page_when_it_names_limits_then_those_of_the_parser() -> None:
    assert f"{SOURCE_CHARACTERS_MAX:,} characters" in TEXT
    assert f"nested {NESTING_MAX} deep" in TEXT
    assert f"{OPERATORS_MAX:,} operators" in TEXT
