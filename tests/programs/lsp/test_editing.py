"""Kinds of words, folds, corrections, and the editor of a page."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.lsp import editing, page
from programs.lsp.workspace import Workspace, problems_of

PUMP = """\
FUNCTION_BLOCK Pump
VAR_INPUT
    Demand : BOOL; // start it
END_VAR
VAR_OUTPUT Run : BOOL; END_VAR
VAR t : TON; END_VAR
    (* over
       two lines *)
    t(IN := Demand, PT := T#1s);
    IF Demand THEN
        Run := t.Q;
    END_IF;
END_FUNCTION_BLOCK
"""
MAIN = "PROGRAM Main\nVAR\n    p : Pump;\nEND_VAR\n    p(Demand := TRUE);\n    p.\nEND_PROGRAM\n"
SOURCES = {"pump.st": PUMP, "main.st": MAIN}


def workspace() -> Workspace:
    made = Workspace("iec")
    for path, text in SOURCES.items():
        made.set(path, text)
    return made


def test_tokens_when_a_file_has_names_then_each_tells_what_it_is() -> None:
    found = {
        (PUMP[one.start : one.end], editing.TOKEN_KINDS[one.kind], one.modifiers)
        for one in editing.tokens(workspace(), "pump.st")
    }
    assert {
        ("Pump", "class", 1),
        ("Demand", "parameter", 1),
        ("Demand", "parameter", 0),
        ("t", "variable", 0),
    } <= found
    assert ("TON", "class", 4) in found


def test_folds_when_blocks_and_comments_span_lines_then_each_up_to_its_end() -> None:
    assert [(one.first, one.last, one.comment) for one in editing.folds(PUMP)] == [
        (0, 11, False), (1, 2, False), (6, 7, True), (9, 10, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("n := contr;", "n := count;"), ("n = 1;", "n := 1;"), ("n := 1\n", "n := 1;\n"),
        ("n := ABSS(n);", "n := ABS(n);"), ("t(INN := TRUE);", "t(IN := TRUE);"),
    ],
)  # fmt: skip
def test_fix_when_it_is_applied_then_the_problem_is_gone(wrong: str, right: str) -> None:
    around = "PROGRAM Main\nVAR n, count : INT; t : TON; END_VAR\n{}\nn := 2;\nEND_PROGRAM\n"
    text = around.format(wrong)
    problem = next(one for one in problems_of({"a": text}, "iec")["a"] if one.severity == "error")
    (fix,) = editing.fixes(text, problem)
    assert text[: fix.start] + fix.text + text[fix.end :] == around.format(right)


def test_page_when_asked_at_a_place_then_members_pins_and_declarations() -> None:
    members = page.complete(SOURCES, "main.st", 6, 7)
    assert [one.label for one in members] == ["Demand", "Run"]
    pins = [one.insert for one in page.complete(SOURCES, "main.st", 5, 7) if one.kind == "pin"]
    assert pins == ["Demand := ", "Run => "]
    hover = page.describe(SOURCES, "main.st", 5, 8)
    assert hover is not None
    assert "start it" in hover.text
    assert page.declared_at(SOURCES, "main.st", 5, 8) == ("pump.st", 3, 5)
    shown = page.parameters(SOURCES, "main.st", 5, 8)
    assert shown is not None
    assert shown.parameters == ("Demand : BOOL", "Run : BOOL")


@settings(max_examples=20)
@given(st.text(max_size=40), st.integers(-2, 20), st.integers(-2, 200))
def test_page_when_any_text_and_place_then_an_answer(text: str, line: int, column: int) -> None:
    sources: dict[str, str | bytes] = {"pump.st": PUMP, "main.st": MAIN + text, "libraries.lock": b"x"}
    page.complete(sources, "main.st", line, column)
    page.describe(sources, "main.st", line, column)
    page.complete(sources, "other.st", line, column)
