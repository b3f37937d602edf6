"""Positions to files, lines and columns; problems with their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.diagnostics import PROBLEMS_MAX, SOURCE_LINE_CHARACTERS_MAX, Diagnostics, closest
from programs.source import Source, SourceSet
from scan.problem import Place


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_place_when_lines_end_in_any_way_then_line_and_column_count_from_one(line_end: str) -> None:
    text = line_end.join(["ab", "", "cde"])
    source = Source("a.st", text)
    position = text.index("d")
    assert source.place(position, position + 2) == Place("a.st", 3, 2, 2)
    assert source.line_text(3) == "cde"


def test_place_when_span_runs_over_the_line_then_length_stays_within_it() -> None:
    assert Source("a.st", "abc\ndef").place(1, 6).length == 2


def test_source_set_when_positions_of_two_files_then_each_finds_its_own() -> None:
    sources = SourceSet()
    first, second = sources.add("a.st", "one"), sources.add("b.st", b"two\nthree")
    assert str(sources.place(first.base + 1)) == "a.st:1:2"
    assert str(sources.place(second.base + 4)) == "b.st:2:1"
    assert sources.line(second.base + 4) == 2
    assert sources.source(first.base + 3) is first


@given(st.text(alphabet="a\r\n", max_size=30))
def test_line_column_when_any_text_then_agrees_with_splitlines(text: str) -> None:
    source = Source("a.st", text)
    lines = text.splitlines(keepends=True)
    expected = [(row + 1, column + 1) for row, line in enumerate(lines) for column in range(len(line))]
    assert [source.line_column(offset) for offset in range(len(text))] == expected


def test_report_when_same_code_at_same_place_then_kept_once() -> None:
    diagnostics = Diagnostics(Source("a.st", "abc"))
    diagnostics.report("ST2001", (1, 2), "first")
    diagnostics.report("ST2001", (1, 3), "second")
    diagnostics.report("ST2002", (0, 1), "third")
    assert [problem.message for problem in diagnostics.problems()] == ["third", "first"]


def test_report_when_more_than_the_limit_then_counts_the_rest() -> None:
    diagnostics = Diagnostics(Source("a.st", "x" * 1000))
    for offset in range(PROBLEMS_MAX + 5):
        diagnostics.report("ST2001", (offset, offset + 1), "again")
    assert (len(diagnostics.problems()), diagnostics.dropped_count) == (PROBLEMS_MAX, 5)


def test_report_when_line_is_endless_then_only_its_beginning_is_shown() -> None:
    diagnostics = Diagnostics(Source("a.st", "x" * 10_000))
    diagnostics.report("ST2001", (5, 6), "near")
    diagnostics.report("ST2001", (9_000, 9_001), "far")
    near, far = diagnostics.problems()
    assert len(near.source_line) == SOURCE_LINE_CHARACTERS_MAX
    assert far.source_line == ""


def test_problem_when_rendered_then_caret_stands_under_the_place() -> None:
    diagnostics = Diagnostics(Source("a.st", "x := y;"))
    diagnostics.report("ST3001", (5, 6), "unknown", remedy="declare it")
    assert diagnostics.problems()[0].render().splitlines() == [
        "a.st:1:6: error[ST3001]: unknown",
        "    x := y;",
        "         ^",
        "  remedy: declare it",
    ]


@pytest.mark.parametrize(("name", "found"), [("WHIEL", "WHILE"), ("pmup", "Pump"), ("xyz", ""), ("", "")])
def test_closest_when_name_is_near_a_known_one_then_that_one(name: str, found: str) -> None:
    assert closest(name, ["WHILE", "Pump", "FOR"]) == found
