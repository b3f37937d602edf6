"""What compilers of the field get wrong, a row each: compiled code and oracle do what the semantics page says."""

from __future__ import annotations

import re

import pytest

from scan.abi import Fault
from tests.programs.st_machine import body, both

# Title, variables besides ``r#``, type of r#, statements, value. ``#`` becomes the row's number in all names.
ROWS: tuple[tuple[str, str, str, str, object], ...] = (
    ("INT 300 * 300 / 100 is computed wider", "i# : INT := 300;", "INT", "r# := i# * i# / 100;", 900),
    ("SINT 100 + 100 wraps when stored", "s# : SINT := 100;", "SINT", "r# := s# + s#;", -56),
    ("UINT 0 - 1 wraps when stored", "u# : UINT;", "UINT", "r# := u# - 1;", 65535),
    ("DINT of INT * INT loses nothing", "i# : INT := 300;", "DINT", "r# := i# * i#;", 90000),
    ("DINT wraps at 32 bits", "d# : DINT := 2147483647;", "DINT", "r# := d# + 1;", -2147483648),
    ("LINT wraps at 64 bits", "l# : LINT := 9223372036854775807;", "LINT", "r# := l# + 1;", -(2**63)),
    ("MOD has the sign of the dividend", "i# : INT := -7;", "INT", "r# := i# MOD 3;", -1),
    ("division truncates", "i# : INT := -7;", "INT", "r# := i# / 2;", -3),
    ("smallest DINT / -1 wraps", "d# : DINT := -2147483648; m# : DINT := -1;", "DINT", "r# := d# / m#;", -(2**31)),
    ("smallest LINT MOD -1 is 0", "d# : LINT := -9223372036854775808; m# : LINT := -1;", "LINT", "r# := d# MOD m#;", 0),
    ("LREAL / 0 is infinite", "x# : LREAL; y# : LREAL := 1.0;", "BOOL", "r# := y# / x# > 1.0E300;", True),
    ("2.5 rounds to even", "x# : REAL := 2.5;", "INT", "r# := REAL_TO_INT(x#);", 2),
    ("3.5 rounds to even", "x# : REAL := 3.5;", "INT", "r# := REAL_TO_INT(x#);", 4),
    ("-2.5 rounds to even", "x# : REAL := -2.5;", "INT", "r# := REAL_TO_INT(x#);", -2),
    ("TRUNC truncates", "x# : REAL := -2.9;", "DINT", "r# := TRUNC(x#);", -2),
    ("REAL beyond INT saturates", "x# : REAL := 1.0E9;", "INT", "r# := REAL_TO_INT(x#);", 32767),
    ("not-a-number becomes 0", "x# : REAL; y# : REAL;", "INT", "r# := REAL_TO_INT(x# / y#);", 0),
    ("REAL stays binary32", "x# : REAL := 16777216.0;", "BOOL", "r# := x# + 1.0 = x#;", True),
    ("OR does not evaluate the right side", "a# : ARRAY[0..1] OF BOOL; i# : INT := 9;", "BOOL",
     "r# := i# > 5 OR a#[i#];", True),
    ("AND does not evaluate the right side", "z# : INT;", "BOOL", "r# := z# <> 0 AND 5 / z# > 1;", False),
    ("FOR keeps its first end", "n# : INT := 3; i# : INT;", "INT",
     "FOR i# := 1 TO n# DO n# := 5; r# := r# + 1; END_FOR;", 3),
    ("the variable ends past the end", "i# : INT;", "INT", "FOR i# := 1 TO 5 DO ; END_FOR; r# := i#;", 6),
    ("FOR to the limit of INT ends", "i# : INT;", "INT", "FOR i# := 32765 TO 32767 DO r# := r# + 1; END_FOR;", 3),
    ("FOR down to 0 of USINT ends", "i# : USINT;", "INT", "FOR i# := 3 TO 0 BY -1 DO r# := r# + 1; END_FOR;", 4),
    ("FOR to the limit of ULINT ends", "i# : ULINT;", "INT",
     "FOR i# := 18446744073709551614 TO 18446744073709551615 DO r# := r# + 1; END_FOR;", 2),
    ("the step's sign counts at run time", "i# : INT; b# : INT := -2;", "INT",
     "FOR i# := 5 TO 1 BY b# DO r# := r# + 1; END_FOR;", 3),
    ("step 0 makes no pass", "i# : INT; b# : INT;", "INT", "FOR i# := 1 TO 3 BY b# DO r# := r# + 1; END_FOR;", 0),
    ("EXIT leaves the innermost loop", "i#, j# : INT;", "INT",
     "FOR i# := 1 TO 3 DO FOR j# := 1 TO 9 DO IF j# = 2 THEN EXIT; END_IF; r# := r# + 1; END_FOR; END_FOR;", 3),
    ("CASE takes the first match", "i# : INT := 5;", "INT", "CASE i# OF 1..9: r# := 1; 20: r# := 2; END_CASE;", 1),
    ("a text is cut to its length", "s# : STRING[3];", "STRING[9]", "s# := 'abcde'; r# := s#;", "abc"),
    ("a cut text leaves its neighbour", "s# : STRING[3]; n# : INT := 7;", "INT", "s# := 'abcdefgh'; r# := n#;", 7),
    ("CONCAT is cut at its target", "s# : STRING[6] := 'abcde';", "STRING[6]", "r# := CONCAT(s#, 'XY');", "abcdeX"),
    ("INSERT stands after the position", "", "STRING[9]", "r# := INSERT('ABCD', 'xy', 2);", "ABxyCD"),
    ("REPLACE puts all of the text", "", "STRING[9]", "r# := REPLACE('ABCD', 'xyz', 1, 2);", "AxyzCD"),
    ("LEFT beyond the text is the text", "", "STRING[9]", "r# := LEFT('AB', 9);", "AB"),
    ("MID behind the text is empty", "", "STRING[9]", "r# := CONCAT('<', MID('AB', 2, 9));", "<"),
    ("DELETE of a negative count changes nothing", "n# : INT := -1;", "STRING[9]", "r# := DELETE('AB', n#, 1);", "AB"),
    ("FIND of nothing is 0", "", "INT", "r# := FIND('AB', '');", 0),
    ("SHL by the width is 0", "w# : DWORD := 1; n# : INT := 32;", "DWORD", "r# := SHL(w#, n#);", 0),
    ("SHR of a BYTE by 8 is 0", "b# : BYTE := 255; n# : INT := 8;", "BYTE", "r# := SHR(b#, n#);", 0),
    ("ROL counts modulo the width", "b# : BYTE := 16#81; n# : INT := 9;", "BYTE", "r# := ROL(b#, n#);", 3),
    ("MUX beyond its inputs takes the last", "k# : INT := 9;", "INT", "r# := MUX(k#, 10, 20, 30);", 30),
    ("MUX below takes the first", "k# : INT := -1;", "INT", "r# := MUX(k#, 10, 20, 30);", 10),
    ("LIMIT above its upper end", "k# : INT := 99;", "INT", "r# := LIMIT(1, k#, 10);", 10),
    ("left before right", "c# : Count;", "INT", "r# := c#.Next() * 10 + c#.Next();", 12),
    ("an unused EN keeps the outputs", "t# : CTU; e# : BOOL;", "INT", "t#(EN := TRUE, CU := TRUE, PV := 9);"
     " t#(EN := e#, CU := FALSE); t#(EN := e#, CU := TRUE); r# := t#.CV;", 1),
    ("an input left out keeps its value", "t# : CTU;", "INT",
     "t#(CU := TRUE, PV := 1); t#(CU := FALSE); r# := t#.PV;", 1),
    ("an argument left out takes its default", "", "INT", "r# := Plus(a := 1);", 42),
    ("TON with PT 0 is on in its first call", "t# : TON;", "BOOL", "t#(IN := TRUE, PT := T#0s); r# := t#.Q;", True),
    ("TOF is off before its input was on", "t# : TOF;", "BOOL", "t#(IN := FALSE, PT := T#1s); r# := t#.Q;", False),
    ("a timer called twice sees the second IN", "t# : TON;", "BOOL",
     "t#(IN := TRUE, PT := T#0s); t#(IN := FALSE); r# := t#.Q;", False),
    ("CTU stops at its type, not at PV", "t# : CTU;", "INT",
     "t#(CU := TRUE, PV := 0); t#(CU := FALSE); t#(CU := TRUE); r# := t#.CV;", 2),
    ("CTD goes below zero", "t# : CTD;", "INT", "t#(CD := TRUE, PV := 1); r# := t#.CV;", -1),
    ("CTUD counts CD at its rising edge", "t# : CTUD;", "INT",
     "t#(CU := TRUE, CD := FALSE, PV := 5); t#(CU := FALSE, CD := TRUE); r# := t#.CV;", 0),
    ("time of day wraps at midnight", "t# : TOD := TOD#23:59:59;", "BOOL", "r# := t# + T#2s = TOD#00:00:01;", True),
)  # fmt: skip
BEFORE = """FUNCTION_BLOCK Count VAR n : INT; END_VAR
METHOD PUBLIC Next : INT n := n + 1; Next := n; END_METHOD END_FUNCTION_BLOCK
FUNCTION Plus : INT VAR_INPUT a : INT; b : INT := 41; END_VAR Plus := a + b; END_FUNCTION
"""


@pytest.fixture(scope="module")
def values() -> dict[str, object]:
    declarations, statements = "", ""
    for number, (_, own, kind, text, _) in enumerate(ROWS):
        declarations += f"r{number} : {kind}; {_numbered(own, number)}\n"
        statements += _numbered(text, number) + "\n"
    ran = both(body(declarations, statements, BEFORE))
    assert ran.scan(task="main") == 0, ran.machine.fault
    return {title: ran.read(f"Main.r{number}") for number, (title, *_) in enumerate(ROWS)}


def _numbered(text: str, number: int) -> str:
    """``name#`` with the row's number; the # of literals (T#0s, 16#81) stays."""
    return re.sub(r"\b([a-z])#", rf"\g<1>{number}", text)


@pytest.mark.parametrize(("title", "expected"), [(row[0], row[4]) for row in ROWS])
def test_pitfall_when_run_then_as_documented(values: dict[str, object], title: str, expected: object) -> None:
    assert values[title] == expected


@pytest.mark.parametrize(
    ("declarations", "statements", "fault"),
    [
        ("p : POINTER TO ARRAY[0..99999] OF INT; n : INT;", "n := p^[2000];", Fault.NULL_REFERENCE),
        (
            "p : POINTER TO ARRAY[0..99999] OF INT; n : INT;",
            "p := ADR(n); n := p^[99999];",
            Fault.NULL_REFERENCE,
        ),
        (
            "p : POINTER TO ARRAY[0..99999] OF INT; n : INT;",
            "p := ADR(n); n := p^[-1];",
            Fault.INDEX_OUT_OF_RANGE,
        ),
    ],
)
def test_pointer_to_a_long_array_when_used_beyond_memory_then_fault(
    declarations: str, statements: str, fault: Fault
) -> None:
    assert (
        both(body(declarations, statements.replace("[-1]", "[n - 1]")), dialect="codesys").scan(task="main")
        == fault
    )


def test_pointer_to_a_long_array_when_the_element_is_there_then_it_is_used() -> None:
    declarations = (
        "a : ARRAY[0..3] OF INT := [1, 2, 3, 4]; p : POINTER TO ARRAY[0..32000] OF INT; n, size : INT;"
    )
    ran = both(
        body(declarations, "p := ADR(a); p^[3] := 9; n := p^[1] + a[3]; size := SIZEOF(p);"),
        dialect="codesys",
    )
    assert ran.scan(task="main") == 0
    assert (ran.read("Main.n"), ran.read("Main.size")) == (11, 4)
