"""What the checker says: places, suggestions, no cascades, warnings."""

from __future__ import annotations

import pytest

from programs.check import check
from programs.source import Source
from scan.problem import Problem
from tests.programs.st_machine import body, check_text, codes


def only(text: str, *, dialect: str = "iec") -> Problem:
    problems = [p for p in check_text(text, dialect=dialect).problems if p.code != "ST4107"]
    assert len(problems) == 1, "\n".join(problem.render() for problem in problems)
    return problems[0]


def test_problem_when_rendered_then_place_caret_and_remedy() -> None:
    problem = only("PROGRAM Main\nVAR Level : INT; END_VAR\n  Level := Levle;\nEND_PROGRAM\n")
    assert problem.render() == (
        "main.st:3:12: error[ST3001]: the name Levle is not declared\n"
        "      Level := Levle;\n"
        "               ^^^^^\n"
        "  remedy: did you mean Level?"
    )


SUGGESTIONS = {
    "variable": ("Motor : BOOL;", "Mottor := TRUE;", "Motor"),
    "type": ("x : DNIT;", "", "DINT"),
    "block": ("x : TOM;", "", "TON"),
    "member": ("t : CTUD; x : INT;", "t(CU := TRUE, PV := 3); x := t.CVV;", "CV"),
    "parameter": ("t : TON;", "t(INN := TRUE);", "IN"),
    "function": ("x : INT;", "x := LIMITT(0, x, 9);", "LIMIT"),
}


@pytest.mark.parametrize("name", SUGGESTIONS)
def test_name_when_misspelt_then_suggestion(name: str) -> None:
    declarations, statements, meant = SUGGESTIONS[name]
    problems = [p for p in check_text(body(declarations, statements)).problems if p.severity == "error"]
    assert f"did you mean {meant}?" in [p.remedy for p in problems]


ONCE = {
    "unknown type": (
        "x : Missing; y : INT;",
        "x.a := 1; y := x + 2; x(); x[3] := x; y := x.b.c(1);",
        "ST3002",
    ),
    "unknown name in an expression": ("y : INT;", "y := a * 2 + SQRT(a) - MAX(a, 3);", "ST3001"),
    "wrong argument": ("r : REAL;", "r := SQRT('text') * 2.0 + 1;", "ST3006"),
    "wrong operand": ("b : BOOL; r : REAL;", "r := (b + 1) * 2.0;", "ST3014"),
}


@pytest.mark.parametrize("name", ONCE)
def test_mistake_when_used_on_and_on_then_told_once(name: str) -> None:
    declarations, statements, code = ONCE[name]
    assert set(codes(body(declarations, statements))) == {code}


def test_mistakes_when_independent_then_all_told() -> None:
    text = body("i : INT; b : BOOL; r : REAL;", "i := TRUE;\nb := i;\nj := 1;\nr := 'x';\nEXIT;")
    assert codes(text) == ["ST3006", "ST3006", "ST3001", "ST3006", "ST4008"]


CONVERSIONS = {
    ("SINT", "INT"): "",
    ("USINT", "INT"): "",
    ("UINT", "INT"): "error",
    ("INT", "UINT"): "error",
    ("DINT", "INT"): "error",
    ("INT", "REAL"): "",
    ("DINT", "REAL"): "ST4104",
    ("DINT", "LREAL"): "",
    ("LINT", "LREAL"): "ST4104",
    ("LREAL", "REAL"): "ST4104",
    ("REAL", "INT"): "error",
    ("BYTE", "WORD"): "",
    ("WORD", "BYTE"): "error",
    ("BOOL", "BYTE"): "error",
    ("BYTE", "USINT"): "error",
    ("INT", "BOOL"): "error",
    ("TIME", "LTIME"): "",
    ("TIME", "DINT"): "error",
    ("CHAR", "STRING"): "",
    ("STRING", "WSTRING"): "error",
}


@pytest.mark.parametrize(("source", "target"), CONVERSIONS)
def test_value_when_assigned_to_another_type_then_as_the_standard_says(source: str, target: str) -> None:
    text = f"PROGRAM Main VAR_INPUT a : {source}; END_VAR VAR b : {target}; END_VAR b := a; END_PROGRAM"
    found = codes(text, warnings=True)
    expected = {"": [], "error": ["ST3006"]}.get(CONVERSIONS[source, target], [CONVERSIONS[source, target]])
    assert found == expected


def test_bits_and_integers_when_mixed_then_only_codesys_converts() -> None:
    text = body("w : WORD := 5; i : UINT;", "i := w; w := w + i;")
    assert codes(text) == ["ST3006", "ST3014"]
    assert codes(text, dialect="codesys") == []
    assert "codesys" in check_text(text).problems[0].remedy


WARNINGS = {
    "unused": ("x : INT;", "", "ST4101"),
    "never written": ("x : INT; y : INT;", "y := x;", "ST4102"),
    "behind RETURN": ("x : INT;", "RETURN; x := 1;", "ST4103"),
    "constant condition": ("x : INT;", "IF FALSE THEN x := 1; END_IF; x := 2;", "ST4103"),
    "digits": ("x : LINT := 1; y : LREAL;", "y := x;", "ST4104"),
    "text cut": ("x : STRING[2];", "x := 'abc';", "ST4104"),
    "label taken": ("x : INT := 1; y : INT;", "CASE x OF 1: y := 1; 1: y := 2; END_CASE;", "ST4110"),
    "result unused": ("x : INT := 1; y : INT;", "MAX(x, 2); y := x;", "ST4108"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_doubtful_text_when_checked_then_warned_and_still_a_program(name: str) -> None:
    declarations, statements, code = WARNINGS[name]
    result = check_text(body(declarations, statements))
    assert [p.code for p in result.problems if p.code != "ST4107"] == [code]
    assert result.program is not None


def test_variable_when_it_has_access_from_outside_then_no_warning() -> None:
    text = body("{attribute 'access' := 'rw'} Setpoint : REAL; y : REAL;", "y := Setpoint;")
    assert codes(text, warnings=True) == []


def test_recursion_when_through_others_then_the_circle_is_shown() -> None:
    text = """
    FUNCTION A : INT A := B(); END_FUNCTION
    FUNCTION B : INT B := C(); END_FUNCTION
    FUNCTION C : INT C := A(); END_FUNCTION
    """
    problem = only(text)
    assert (problem.code, problem.found) == ("ST4011", "A calls B calls C calls A")


def test_super_when_method_overrides_then_no_recursion() -> None:
    text = """
    CLASS A METHOD PUBLIC M : INT M := 1; END_METHOD END_CLASS
    CLASS B EXTENDS A METHOD PUBLIC OVERRIDE M : INT M := SUPER.M() + 1; END_METHOD END_CLASS
    """
    assert codes(text) == []


def test_files_when_several_then_each_problem_names_its_own() -> None:
    sources = [
        Source("a.st", "FUNCTION F : INT F := G(1); END_FUNCTION"),
        Source("b.st", "FUNCTION G : INT VAR_INPUT x : INT; END_VAR G := y; END_FUNCTION"),
    ]
    (problem,) = check(sources).problems
    assert (problem.place.file, problem.code, problem.source_line) == ("b.st", "ST3001", sources[1].text)


def test_dialect_when_auto_then_decided_by_what_is_used() -> None:
    assert codes(body("p : POINTER TO INT; i : INT;", "p := ADR(i); p^ := 3;"), dialect="auto") == []
    with pytest.raises(ValueError, match="pascal"):
        check([], dialect="pascal")


def test_syntax_error_when_in_one_unit_then_the_others_are_checked() -> None:
    text = "FUNCTION F : INT F := 1 + ; END_FUNCTION\nFUNCTION G : INT G := q; END_FUNCTION"
    assert codes(text)[-1] == "ST3001"
    assert len(codes(text)) == 2


MISTAKES = """\
TYPE
    Colour : (Red, Green;
    Level : INT (5..1);
    Tank : STRUCT a : REAL b : INT; END_STRUCT;
    Text : STRNG;
END_TYPE
FUNCTION Half : REAL
VAR_INPUT x : REAL; END_VAR
    Half = x / 2.0;
END_FUNCTION
FUNCTION_BLOCK Pump
VAR_INPUT run : BOOL; speed : INT := 'fast'; END_VAR
VAR_OUTPUT on : BOL; END_VAR
VAR n : INT; n : DINT; a : ARRAY[1..3] OF INT; END_VAR
    IF run THEN
        on := TRUE
    ELSE IF n > 3 THEN
        on := FALSE;
    END_IF;
    a[7] := 1;
    WHILE n DO n := n - 1; END_WHILE;
END_FUNCTION_BLOCK
PROGRAM Main
VAR p : Pump; t : TON; i : INT; r : REAL; s : STRING[5]; b : BOOL; w : WORD; END_VAR
    p(run := TRUE, sped := 3);
    p.speeed := 4;
    t(IN := b, PT := 5);
    r := Haf(2.0);
    i := 3.5;
    i := i +;
    b := i;
    s := 5;
    FOR i = 1 TO 10 DO r := r + 1; END_FOR
    b := b AND (i > 2;
    EXIT;
    x := 1;
    w := w + 1;
    i := 1 / 0;
    r := SQRT('a');
    i := INT#70000;
    s := 'not closed;
    i := 12abc;
    REPEAT i := i + 1; UNTIL i > 5
    RETURN 5;
END_PROGRAM
"""


def test_check_when_a_file_has_thirty_mistakes_then_each_is_told_once_where_it_is() -> None:
    errors = [problem for problem in check_text(MISTAKES).problems if problem.severity == "error"]
    found = [(problem.place.line, problem.code) for problem in errors]
    assert found == [
        (2, "ST2013"), (3, "ST3009"), (4, "ST2002"), (5, "ST3002"), (9, "ST2005"), (12, "ST3006"), (13, "ST3002"),
        (14, "ST3003"), (16, "ST2002"), (17, "ST2004"), (20, "ST3010"), (21, "ST3006"), (25, "ST4001"), (26, "ST3012"),
        (27, "ST3006"), (28, "ST3001"), (29, "ST3006"), (30, "ST2011"), (31, "ST3006"), (32, "ST3006"), (33, "ST2005"),
        (34, "ST2013"), (35, "ST4008"), (36, "ST3001"), (37, "ST3014"), (38, "ST4023"), (39, "ST3006"), (40, "ST3007"),
        (41, "ST1002"), (42, "ST1006"), (43, "ST2003"), (44, "ST2001"),
    ]  # fmt: skip
    assert [problem.place.line for problem in errors if not problem.remedy] == [30]
