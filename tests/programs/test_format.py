"""Layout of Structured Text: only white space changes, twice is once, what was aligned stays aligned."""

from __future__ import annotations

import pathlib
import re

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from programs.diagnostics import Diagnostics
from programs.format import format_source
from programs.lexer import tokenize
from programs.source import Source
from scan.problem import TickworkError

EXAMPLES = sorted((pathlib.Path(__file__).parents[2] / "examples").rglob("*.st"))

MESSY = """
TYPE Mode:(Off,On:=5):=Off;Point:STRUCT x,y:REAL;END_STRUCT;END_TYPE
function_block Tank extends Base
var_input level:REAL:=1.5; (* cm *) END_VAR
VAR timer:TON;a:ARRAY [ 0 .. 3 ] OF INT:=[1,3(0)];

  b:INT; // one
  longer:INT; // two
  {attribute 'unit' := 'bar'} p:REF_TO INT:=NULL;
END_VAR
METHOD PUBLIC Fill:BOOL
VAR_INPUT amount:INT;END_VAR
Fill:=amount>3 AND NOT(level<=2.0);
END_METHOD


(* starts the timer *)
timer ( IN:=level>3.0,
PT:=T#1m30s,Q=>a[ 0 ].2 );
CASE a[1] OF 1,3..5:level:=-level*2.0**3.0;
Mode#On:
RETURN;
ELSE FOR i:=0 TO 3 BY -2 DO a[i]:=a[i] MOD 7;EXIT;END_FOR;END_CASE;
IF level=3.0 THEN a[2]:=16#FF;ELSIF timer.Q THEN;ELSE REPEAT level:=level+1.0;UNTIL level>5.0 END_REPEAT;END_IF
p^:=p^-1; x:=(a[1]+
2)*3; /* end */ END_FUNCTION_BLOCK
CONFIGURATION C RESOURCE r ON PLC VAR_GLOBAL g:INT;END_VAR TASK t(INTERVAL:=T#10ms,PRIORITY:=1);
PROGRAM main WITH t:Main(x:=y);END_RESOURCE END_CONFIGURATION
"""

NEAT = """\
TYPE
    Mode : (Off, On := 5) := Off;
    Point : STRUCT
        x, y : REAL;
    END_STRUCT;
END_TYPE
function_block Tank extends Base
var_input
    level : REAL := 1.5; (* cm *)
END_VAR
VAR
    timer : TON;
    a : ARRAY[0..3] OF INT := [1, 3(0)];

    b : INT; // one
    longer : INT; // two
    {attribute 'unit' := 'bar'} p : REF_TO INT := NULL;
END_VAR
    METHOD PUBLIC Fill : BOOL
    VAR_INPUT
        amount : INT;
    END_VAR
        Fill := amount > 3 AND NOT (level <= 2.0);
    END_METHOD

    (* starts the timer *)
    timer(IN := level > 3.0,
        PT := T#1m30s, Q => a[0].2);
    CASE a[1] OF
        1, 3..5: level := -level * 2.0 ** 3.0;
        Mode#On:
            RETURN;
    ELSE
        FOR i := 0 TO 3 BY -2 DO
            a[i] := a[i] MOD 7;
            EXIT;
        END_FOR;
    END_CASE;
    IF level = 3.0 THEN
        a[2] := 16#FF;
    ELSIF timer.Q THEN
        ;
    ELSE
        REPEAT
            level := level + 1.0;
        UNTIL level > 5.0
        END_REPEAT;
    END_IF
    p^ := p^ - 1;
    x := (a[1] +
        2) * 3; /* end */
END_FUNCTION_BLOCK
CONFIGURATION C
    RESOURCE r ON PLC
        VAR_GLOBAL
            g : INT;
        END_VAR
        TASK t(INTERVAL := T#10ms, PRIORITY := 1);
        PROGRAM main WITH t : Main(x := y);
    END_RESOURCE
END_CONFIGURATION
"""


def content(text: str) -> tuple[list[str], list[str]]:
    """Tokens, and comments and pragmas in order, without what a line end may change in them."""
    source = Source("t.st", text)
    tokens = tokenize(source, Diagnostics(source))
    spans = [span for kept in (tokens.comments, tokens.pragmas) for group in kept.values() for span in group]
    return tokens.texts, [text[start:end].replace("\r\n", "\n").rstrip() for start, end in sorted(spans)]


def test_format_when_source_is_messy_then_neat() -> None:
    assert format_source(MESSY) == NEAT


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_format_when_example_of_the_project_then_unchanged(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_source(text) == text


def test_format_when_columns_were_aligned_then_they_stay_aligned() -> None:
    text = """\
PROGRAM P
VAR
    a      : INT  := 1;    (* one *)
    longer : REAL := 2.0;  (* two *)
END_VAR
    a      := 1;
    longer := 2.0;
END_PROGRAM
"""
    assert format_source(text) == text
    assert format_source(text.replace("    ", "\t", 1)) == text


def test_format_when_lines_end_with_crlf_then_they_still_do() -> None:
    formatted = format_source("PROGRAM P\r\nx:=1;\r\n(* a\r\n b *)\r\nEND_PROGRAM")
    assert formatted == "PROGRAM P\r\n    x := 1;\r\n    (* a\r\n b *)\r\nEND_PROGRAM\r\n"


def test_format_when_source_has_errors_then_raises_all_of_them() -> None:
    with pytest.raises(TickworkError) as caught:
        format_source("PROGRAM P\nx := ;\ny = 2;\nEND_PROGRAM")
    assert [problem.code for problem in caught.value.problems] == ["ST2011", "ST2005"]


def test_format_when_chart_and_instruction_list_then_laid_out() -> None:
    text = """\
FUNCTION_BLOCK B
INITIAL_STEP Start: Fill(N);Warn(D,T#5s); END_STEP
TRANSITION go FROM Start TO Run:=level>3; END_TRANSITION
ACTION Fill: x:=1; END_ACTION
END_FUNCTION_BLOCK
FUNCTION F : INT
VAR a : INT; END_VAR
loop:  LD   a
  ADD( 1
   MUL 2
 )
   JMPC loop
END_FUNCTION
"""
    assert (
        format_source(text)
        == """\
FUNCTION_BLOCK B
    INITIAL_STEP Start:
        Fill(N);
        Warn(D, T#5s);
    END_STEP
    TRANSITION go FROM Start TO Run := level > 3;
    END_TRANSITION
    ACTION Fill:
        x := 1;
    END_ACTION
END_FUNCTION_BLOCK
FUNCTION F : INT
VAR
    a : INT;
END_VAR
    loop: LD a
    ADD(1
    MUL 2
    )
    JMPC loop
END_FUNCTION
"""
    )


PARTS = re.findall(
    r"\s+|\w+#[\w.]+|\w+|'[^']*'|\(\*.*?\*\)|/\*.*?\*/|//[^\n]*\n|\{.*?\}|:=|=>|\.\.|\*\*|<=|.",
    MESSY,
    re.DOTALL,
)
GAPS = st.sampled_from(
    ["", " ", "   ", "\t", "\n", "\n\n\n", " (* note *) ", "\n// line\n", " {pragma}\n", "\r\n"]
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_format_when_any_white_space_and_comments_then_content_is_kept_and_twice_is_once(
    data: st.DataObject,
) -> None:
    changes = data.draw(st.dictionaries(st.integers(0, len(PARTS) - 1), GAPS, max_size=12))
    text = "".join(
        changes[at] or " " if at in changes and part.isspace() else part + changes.get(at, "")
        for at, part in enumerate(PARTS)
    )
    try:
        formatted = format_source(text)
    except TickworkError:
        reject()  # the gap split a literal
    assert content(formatted) == content(text)
    assert format_source(formatted) == formatted
