"""Syntax errors: each independent one is found in one run, none brings others with it, none stops anything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs import ast
from programs.diagnostics import PROBLEMS_MAX
from programs.parse_cursor import NESTING_MAX
from programs.parser import DIALECTS, parse
from programs.source import Source, decode
from scan.problem import Problem


def problems(text: str, dialect: str = "iec") -> list[Problem]:
    return parse(Source("t.st", text), dialect)[1]


def places(text: str) -> list[tuple[str, int]]:
    return [(problem.code, problem.place.line) for problem in problems(text)]


def in_program(body: str) -> str:
    return f"PROGRAM Main\n{body}\nEND_PROGRAM"


def test_errors_when_several_are_independent_then_each_is_reported_once_at_its_line() -> None:
    text = """PROGRAM Main
VAR
  a : INT
  b : ;
  c := INT;
  d : INT;
END_VAR
a := ;
IF a > THEN
  b = 1;
ENDIF;
WHILE a < 3
  a := a + 1;
END_WHILE;
c := (1 + 2;
d := 'open;
FOR i = 1 TO 3 DO d := 1 END_FOR;
END_PROGRAM

FUNCTION f : INT
f := 2#12;
END_FUNCTION"""
    assert places(text) == [
        ("ST2002", 3),
        ("ST2016", 4),
        ("ST2001", 5),
        ("ST2011", 8),
        ("ST2011", 9),
        ("ST2005", 10),
        ("ST2007", 11),
        ("ST2014", 12),
        ("ST2013", 15),
        ("ST1002", 16),
        ("ST2005", 17),
        ("ST2002", 17),
        ("ST1006", 21),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("IF a THEN\nx := 1;\nELSE IF b THEN\nx := 2;\nEND_IF;\ny := 1;", [("ST2004", 4)]),
        ("FOR i := 1 TO 3 DO\nIF a THEN\nx := 1;\nEND_FOR;\ny := 1;", [("ST2003", 3)]),
        ("IF a THEN\nx := 1;\nEND_FOR;\ny := 1;", [("ST2003", 4)]),
        ("x := 1;\nEND_IF;\ny := 2;", [("ST2012", 3)]),
        ("WHLE a DO\nx := 1;\nEND_WHILE;", [("ST2007", 2)]),
        ("IF a THN\nx := 1;\nELSEIF b THEN\nx := 2;\nEND_FI;", [("ST2007", 2), ("ST2007", 4), ("ST2007", 6)]),
        ("CASE s OF\n1: x := 1;\n2 x := 2;\n3: x := 3;\nEND_CASE;", [("ST2001", 4)]),
        ("REPEAT\nx := 1;\nEND_REPEAT;", [("ST2014", 4)]),
        ("f(a := 1, b := );\nx := 2 +;\ny := 3;", [("ST2011", 3)]),
        ("a b c;\nx := 1;", [("ST2001", 2)]),
        ("x := a ! b;\ny := 1;", [("ST1011", 2)]),
        ("x := 12abc;\ny := 1;", [("ST1006", 2)]),
        ("x : = 1;", [("ST2005", 2)]),
        ("x := 'it''s';", [("ST1002", 2)]),
    ],
)
def test_body_when_something_is_wrong_then_exactly_these_problems(
    body: str, expected: list[tuple[str, int]]
) -> None:
    assert places(in_program(body)) == expected


def test_pou_when_its_end_is_missing_then_next_pou_is_still_read() -> None:
    unit, found = parse(Source("t.st", "PROGRAM A\nx := 1;\n\nFUNCTION_BLOCK B\nEND_FUNCTION_BLOCK"))
    assert [problem.code for problem in found] == ["ST2003"]
    assert [pou.name.name for pou in unit.declarations if isinstance(pou, ast.Pou)] == ["A", "B"]


def test_keyword_when_misspelt_then_message_proposes_the_right_one() -> None:
    (section, block) = problems("FUNCTON_BLOCK B\nVAR_INPT x : INT; END_VAR\nEND_FUNCTION_BLOCK")[::-1]
    assert section.remedy == "write VAR_INPUT"
    assert block.remedy == "write FUNCTION_BLOCK"


def test_chained_assignment_when_in_iec_then_message_names_codesys() -> None:
    (problem,) = problems(in_program("a := b := c;"))
    assert problem.code == "ST2009"
    assert "codesys" in problem.message
    assert problems(in_program("a := b := c;"), "codesys") == []


def test_problem_when_block_is_not_closed_then_points_at_its_beginning() -> None:
    (problem,) = problems(in_program("x := 1;\nIF a THEN\n  x := 2;"))
    assert (problem.place.line, problem.place.column, problem.place.length) == (3, 1, 2)
    assert problem.source_line == "IF a THEN"


@pytest.mark.parametrize(
    "text",
    [
        in_program("x := " + "(" * 5_000 + "1" + ")" * 5_000 + ";"),
        in_program("IF a THEN " * 5_000 + "END_IF; " * 5_000),
        in_program("x := " + "NOT " * 5_000 + "a;"),
        in_program("x := a" + "[b" * 5_000 + "]" * 5_000 + ";"),
        in_program("x" + ".a" * 5_000 + " := 1;"),
        "TYPE T : " + "ARRAY[0..1] OF " * 5_000 + "INT; END_TYPE",
        "TYPE T : " + "STRUCT a : " * 5_000 + "INT; END_TYPE",
        "NAMESPACE a\n" * 5_000,
        "PROGRAM P\nLD a\n" + "AND(\n" * 5_000,
    ],
)
def test_source_when_nested_too_deep_then_reported_and_not_followed(text: str) -> None:
    assert "ST2010" in {problem.code for problem in problems(text)}


def test_nesting_when_at_the_limit_then_accepted() -> None:
    levels = NESTING_MAX - 1
    assert problems(in_program("x := " + "(" * levels + "1" + ")" * levels + ";")) == []


def test_problems_when_text_is_no_program_then_bounded() -> None:
    assert len(problems("IF ) x := ] § ;\n" * 20_000)) == PROBLEMS_MAX


WORD_LIST = """
IF THEN ELSE ELSIF END_IF CASE OF END_CASE FOR TO BY DO END_FOR WHILE END_WHILE REPEAT UNTIL END_REPEAT EXIT RETURN
CONTINUE VAR VAR_INPUT VAR_GLOBAL VAR_CONFIG VAR_ACCESS END_VAR CONSTANT RETAIN AT TYPE END_TYPE STRUCT END_STRUCT
ARRAY STRING REF_TO POINTER FUNCTION END_FUNCTION FUNCTION_BLOCK END_FUNCTION_BLOCK PROGRAM END_PROGRAM CLASS END_CLASS
METHOD END_METHOD PROPERTY END_PROPERTY GET END_GET SET END_SET INTERFACE END_INTERFACE ACTION END_ACTION ACTIONS
NAMESPACE END_NAMESPACE USING CONFIGURATION END_CONFIGURATION RESOURCE END_RESOURCE TASK WITH ON STEP INITIAL_STEP
END_STEP TRANSITION FROM END_TRANSITION LD ST AND OR XOR NOT MOD CAL JMP RET TRUE NULL THIS SUPER S R REF __NEW __TRY
__CATCH __ENDTRY EXTENDS IMPLEMENTS PUBLIC ABSTRACT a b INT x1 ENDIF ELSEIF WHLE VAR_INPT ( ) [ ] := = => ; : , . .. ...
+ - * / ** < <> ^ # & 1 2#1 16#F 1.5 'a' "b" T#1s D#2024-01-01 %IX0.0 %I* (* *) // { } ' " @ ! \\ $ §
"""
WORDS = st.sampled_from([*WORD_LIST.split(), "\n", "\n"])


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=120), st.sampled_from(DIALECTS))
def test_parse_when_any_sequence_of_words_then_returns(words: list[str], dialect: str) -> None:
    unit, found = parse(Source("t.st", " ".join(words)), dialect)
    assert unit.dialect in DIALECTS
    assert all(problem.code.startswith("ST") and problem.message for problem in found)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(DIALECTS))
def test_parse_when_any_bytes_then_returns(data: bytes, dialect: str) -> None:
    assert parse(Source("t.st", decode(data)), dialect)[0].source.path == "t.st"


SOURCE = """TYPE Mode : (Off, On := 5) := Off; END_TYPE
FUNCTION_BLOCK Tank EXTENDS Base
VAR_INPUT level : REAL := 1.5; (* cm *) END_VAR
VAR timer : TON; a : ARRAY[0..3] OF INT := [1, 3(0)]; END_VAR
METHOD PUBLIC Fill : BOOL
  VAR_INPUT amount : INT; END_VAR
  Fill := amount > 3 AND NOT (level <= 2.0);
END_METHOD
timer(IN := level > 3.0, PT := T#1m30s, Q => a[0].2);
CASE a[1] OF
  1, 3..5: level := level * 2.0 ** 3.0;
  Mode#On: RETURN;
ELSE
  FOR i := 0 TO 3 BY 2 DO a[i] := a[i] MOD 7; EXIT; END_FOR;
END_CASE;
IF level = 3.0 THEN a[2] := 16#FF; ELSIF timer.Q THEN ; ELSE
  REPEAT level := level + 1.0; UNTIL level > 5.0 END_REPEAT;
END_IF
WHILE TRUE DO CONTINUE; END_WHILE;
END_FUNCTION_BLOCK
CONFIGURATION C
  RESOURCE r ON PLC
    TASK t(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM main WITH t : Main(x := y);
  END_RESOURCE
END_CONFIGURATION
"""


def test_source_of_the_mutations_when_unchanged_then_clean() -> None:
    assert problems(SOURCE) == []


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(SOURCE)), st.integers(0, 6), st.text(max_size=3) | WORDS),
        min_size=1,
        max_size=6,
    )
)
def test_parse_when_source_is_mutated_then_returns_with_places_inside_of_it(
    edits: list[tuple[int, int, str]],
) -> None:
    text = SOURCE
    for at, removed, inserted in edits:
        text = text[:at] + inserted + text[at + removed :]
    lines = len(text.splitlines()) + 1
    assert all(1 <= problem.place.line <= lines for problem in problems(text))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SOURCE)))
def test_parse_when_source_is_cut_anywhere_then_few_problems(at: int) -> None:
    assert len(problems(SOURCE[:at])) <= 6
