"""Statements, instruction lists and charts."""

from __future__ import annotations

import pytest

from programs import ast
from programs.parser import parse
from programs.source import Source


def body(text: str, dialect: str = "iec") -> ast.Body:
    unit, problems = parse(Source("t.st", f"FUNCTION_BLOCK B\n{text}\nEND_FUNCTION_BLOCK"), dialect)
    assert problems == []
    (pou,) = unit.declarations
    assert isinstance(pou, ast.Pou)
    assert pou.body is not None
    return pou.body


def statements(text: str, dialect: str = "iec") -> list[ast.Statement]:
    found = body(text, dialect)
    assert isinstance(found, ast.StatementBody)
    return found.statements


def kinds(found: list[ast.Statement]) -> list[str]:
    return [type(statement).__name__ for statement in found]


def test_if_when_it_has_all_branches_then_each_has_its_statements() -> None:
    (found,) = statements("IF a THEN x := 1; ELSIF b THEN x := 2; y := 3; ELSE z := 4; END_IF")
    assert isinstance(found, ast.If)
    assert [len(branch.body) for branch in found.branches] == [1, 2]
    assert found.otherwise is not None and len(found.otherwise) == 1


def test_if_when_else_is_empty_then_otherwise_is_an_empty_list() -> None:
    (found,) = statements("IF a THEN ELSE END_IF;")
    assert isinstance(found, ast.If)
    assert found.otherwise == []


def test_case_when_labels_are_values_ranges_and_names_then_branches_are_told_apart() -> None:
    (found,) = statements(
        "CASE s OF\n1, 3..5: x := 1; y := 2;\nSTATE#RUN: f(a, b := 1);\nMAX_N - 1: ;\n-2: x.y := 1;\n"
        "16#FF: a[1] := 2;\nELSE z := 0;\nEND_CASE;"
    )
    assert isinstance(found, ast.Case)
    assert [len(branch.labels) for branch in found.branches] == [2, 1, 1, 1, 1]
    assert [kinds(branch.body) for branch in found.branches] == [
        ["Assign", "Assign"],
        ["CallStatement"],
        ["Empty"],
        ["Assign"],
        ["Assign"],
    ]
    assert found.branches[0].labels[1].high is not None
    assert found.otherwise is not None


def test_loops_when_parsed_then_have_their_parts() -> None:
    for_, while_, repeat = statements(
        "FOR i := 1 TO n - 1 BY 2 DO IF q THEN EXIT; END_IF; CONTINUE; END_FOR;\n"
        "WHILE a < b DO a := a + 1; END_WHILE\nREPEAT a := a + 1; UNTIL a > b END_REPEAT;"
    )
    assert isinstance(for_, ast.For) and for_.step is not None
    assert kinds(for_.body) == ["If", "Continue"]
    assert isinstance(while_, ast.While) and len(while_.body) == 1
    assert isinstance(repeat, ast.Repeat) and isinstance(repeat.until, ast.Binary)


def test_simple_statements_when_parsed_then_told_apart() -> None:
    found = statements("x := 1; r ?= s; inst(a := 1, q => b); inst.act; ; RETURN;")
    assert kinds(found) == ["Assign", "Assign", "CallStatement", "ExpressionStatement", "Empty", "Return"]
    assert [statement.op for statement in found if isinstance(statement, ast.Assign)] == [":=", "?="]


@pytest.mark.parametrize(
    ("text", "op"), [("x S= y;", "S="), ("x R= y;", "R="), ("x REF= y;", "REF="), ("x := y := z;", ":=")]
)
def test_assignment_when_of_codesys_then_operator_is_kept(text: str, op: str) -> None:
    (found,) = statements(text, "codesys")
    assert isinstance(found, ast.Assign)
    assert found.op == op


def test_return_when_it_has_a_condition_then_an_if_around_it() -> None:
    (found,) = statements("RETURN(a AND b);", "codesys")
    assert isinstance(found, ast.If)
    assert kinds(found.branches[0].body) == ["Return"]


def test_codesys_statements_when_parsed_then_have_nodes() -> None:
    found = statements(
        "again:\nJMP again;\n__TRY\nx := 1;\n__CATCH(e)\nx := 2;\n__FINALLY\nx := 3;\n__ENDTRY", "codesys"
    )
    assert kinds(found) == ["Label", "Jump", "Try"]


@pytest.mark.parametrize(
    "name",
    [
        "STEP",
        "SET",
        "TIME",
        "END",
        "OVERRIDE",
        "ON",
        "TASK",
        "CONTINUE",
        "METHOD",
        "GET",
        "R",
        "S",
        "DT",
        "ACTION",
    ],
)
def test_word_when_only_a_keyword_elsewhere_then_may_be_a_variable(name: str) -> None:
    (found,) = statements(f"VAR {name} : INT; END_VAR\n{name} := {name} + 1;")
    assert isinstance(found, ast.Assign)


def test_instruction_list_when_parsed_then_one_instruction_a_line() -> None:
    found = body(
        "VAR a, b : INT; t : TON; END_VAR\nstart: LD a\nADD( b\nMUL 2\n)\nST b\nCAL t(IN := a, PT := T#1s)\n"
        "LIMIT 0, 10\nEQ 3\nJMPC start\nRET"
    )
    assert isinstance(found, ast.IlBody)
    assert [entry.operator for entry in found.instructions] == [
        "LD", "ADD", "ST", "CAL", "LIMIT", "EQ", "JMPC", "RET",
    ]  # fmt: skip
    assert found.instructions[0].label is not None
    nested = found.instructions[1].nested
    assert nested is not None
    assert [entry.operator for entry in nested] == ["LD", "MUL"]
    assert found.instructions[3].arguments is not None and len(found.instructions[3].arguments) == 2
    assert len(found.instructions[4].operands) == 2


def test_chart_when_parsed_then_has_steps_transitions_and_actions() -> None:
    text = """FUNCTION_BLOCK B
INITIAL_STEP Start: Fill(N); Warn(D, T#5s, lamp); END_STEP
STEP Run: Heat(P1); END_STEP
TRANSITION go (PRIORITY := 2) FROM Start TO (Run, Other) := level > 3; END_TRANSITION
TRANSITION FROM (Run, Other) TO Start: LD a END_TRANSITION
ACTION Fill: x := 1; END_ACTION
END_FUNCTION_BLOCK"""
    unit, problems = parse(Source("t.st", text))
    assert problems == []
    (pou,) = unit.declarations
    assert isinstance(pou, ast.Pou) and isinstance(pou.body, ast.SfcBody)
    assert [(step.name.name, step.initial) for step in pou.body.steps] == [("Start", True), ("Run", False)]
    assert [action.qualifier for action in pou.body.steps[0].actions] == ["N", "D"]
    first, second = pou.body.transitions
    assert first.priority is not None and len(first.targets) == 2 and first.condition is not None
    assert second.il is not None and len(second.sources) == 2
    assert [action.name.name for action in pou.actions] == ["Fill"]
