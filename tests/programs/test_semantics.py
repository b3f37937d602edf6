"""Every decision of docs/language/semantics.md: compiled code, the evaluator and the written value agree."""

from __future__ import annotations

import math
from typing import Any

import pytest

from scan.abi import Fault
from tests.programs.hir_builder import Both
from tests.programs.st_machine import body, check_text

Values = dict[str, Any]


def both(text: str, dialect: str = "iec") -> Both:
    result = check_text(text, dialect=dialect)
    assert result.program is not None, "\n".join(problem.render() for problem in result.problems)
    return Both(result.program)


def expect(
    declarations: str, statements: str, values: Values, *, before: str = "", dialect: str = "iec"
) -> None:
    machine = both(body(declarations, statements, before), dialect)
    assert machine.scan(task="main") == 0, machine.machine.fault
    assert {path: machine.read(f"Main.{path}") for path in values} == values


def expect_fault(
    fault: Fault, declarations: str, statements: str, *, before: str = "", dialect: str = "iec"
) -> None:
    machine = both(body(declarations, statements, before), dialect)
    assert machine.scan(task="main") == fault
    assert machine.machine.fault[1] == "Main"


INTEGERS = [
    ("sint wraps", "a : SINT := 100;", "a := a + a;", {"a": -56}),
    ("uint below zero wraps", "a : UINT;", "a := a - 1;", {"a": 65535}),
    ("dint product", "a : DINT := 300; b : DINT;", "b := a * a;", {"b": 90000}),
    (
        "lint minimum negated wraps",
        "a : LINT := -9223372036854775807; b : LINT;",
        "b := -(a - 1);",
        {"b": -(2**63)},
    ),
    ("abs of the minimum wraps", "a : INT := -32768; b : INT;", "b := ABS(a);", {"b": -32768}),
    (
        "division truncates",
        "a : INT := -7; b : INT; c : INT;",
        "b := a / 2; c := 7 / -2;",
        {"b": -3, "c": -3},
    ),
    (
        "mod has the sign of the dividend",
        "a : INT := -7; b : INT; c : INT := 7; d : INT;",
        "b := a MOD 3; d := c MOD -3;",
        {"b": -1, "d": 1},
    ),
    (
        "minimum by -1 wraps",
        "a : DINT := -2147483648; n : DINT := -1; q : DINT; r : DINT;",
        "q := a / n; r := a MOD n;",
        {"q": -(2**31), "r": 0},
    ),
]
REALS = [
    (
        "half to even",
        "a : INT; b : INT; c : INT;",
        "a := REAL_TO_INT(2.5); b := REAL_TO_INT(3.5); c := REAL_TO_INT(-2.5);",
        {"a": 2, "b": 4, "c": -2},
    ),
    ("trunc", "a : INT; b : DINT;", "a := TRUNC(-7.9); b := TRUNC(7.9);", {"a": -7, "b": 7}),
    (
        "too large saturates",
        "r : REAL := 1.0E30; a : DINT; b : USINT; c : UINT;",
        "a := REAL_TO_DINT(r); b := REAL_TO_USINT(-1.0); c := REAL_TO_UINT(r);",
        {"a": 2**31 - 1, "b": 0, "c": 65535},
    ),
    ("no number is zero", "z : REAL; a : INT;", "a := REAL_TO_INT(z / z);", {"a": 0}),
    (
        "division by zero is infinite",
        "z : LREAL; o : LREAL := 1.0; a : LREAL; b : LREAL;",
        "a := o / z; b := -o / z;",
        {"a": math.inf, "b": -math.inf},
    ),
    ("real stays real", "a : REAL := 16777216.0; b : REAL;", "b := a + 1.0;", {"b": 16777216.0}),
    (
        "no number is unequal to itself",
        "z : REAL; n : REAL; a : BOOL; b : BOOL;",
        "n := z / z; a := n = n; b := n <> n;",
        {"a": 0, "b": 1},
    ),
]
BITS = [
    (
        "shift by the width gives zero",
        "w : WORD := 16#8001; n : INT := 16; a : WORD; b : WORD;",
        "a := SHL(w, n); b := SHR(w, n);",
        {"a": 0, "b": 0},
    ),
    (
        "negative shift gives zero",
        "w : WORD := 16#8001; n : INT := -1; a : WORD;",
        "a := SHL(w, n);",
        {"a": 0},
    ),
    (
        "rotation takes the count modulo the width",
        "b : BYTE := 16#81; a : BYTE; c : BYTE; n : INT := -1;",
        "a := ROL(b, 9); c := ROL(b, n);",
        {"a": 3, "c": 0xC0},
    ),
    (
        "parts",
        "w : WORD; d : DWORD := 16#12345678; b : BYTE;",
        "w.3 := TRUE; w.%X15 := TRUE; b := d.%B1; d.%W1 := 16#ABCD;",
        {"w": 0x8008, "b": 0x56, "d": 0xABCD5678},
    ),
]
LOOPS = [
    (
        "for reaches the limit of its type",
        "i : SINT; n : INT;",
        "FOR i := 120 TO 127 DO n := n + 1; END_FOR",
        {"n": 8, "i": -128},
    ),
    (
        "for counts down over zero of an unsigned type",
        "i : USINT; n : INT;",
        "FOR i := 250 TO 255 DO n := n + 1; END_FOR",
        {"n": 6, "i": 0},
    ),
    (
        "for evaluates its end once",
        "i : INT; e : INT := 3; n : INT;",
        "FOR i := 1 TO e DO e := 10; n := n + 1; END_FOR",
        {"n": 3, "i": 4},
    ),
    (
        "for takes its direction at run time",
        "i : INT; s : INT := -3; n : INT;",
        "FOR i := 10 TO 1 BY s DO n := n + 1; END_FOR",
        {"n": 4, "i": -2},
    ),
    (
        "for with step zero does nothing",
        "i : INT; s : INT; n : INT;",
        "FOR i := 1 TO 5 BY s DO n := n + 1; END_FOR",
        {"n": 0, "i": 1},
    ),
    (
        "for that is left keeps its counter",
        "i : INT;",
        "FOR i := 1 TO 9 DO IF i = 4 THEN EXIT; END_IF END_FOR",
        {"i": 4},
    ),
    (
        "for runs over 64 bits",
        "i : LINT; n : INT;",
        "FOR i := 9223372036854775805 TO 9223372036854775807 DO n := n + 1; END_FOR",
        {"n": 3, "i": -(2**63)},
    ),
    (
        "exit leaves the innermost loop",
        "i : INT; j : INT; n : INT;",
        "FOR i := 1 TO 3 DO FOR j := 1 TO 9 DO IF j > i THEN EXIT; END_IF n := n + 1; END_FOR END_FOR",
        {"n": 6},
    ),
    (
        "case takes the first match",
        "s : INT := 5; r : INT;",
        "CASE s OF 3..7 : r := 2; 8, 9 : r := 3; ELSE r := 4; END_CASE",
        {"r": 2},
    ),
    (
        "continue",
        "i : INT; n : INT;",
        "WHILE i < 5 DO i := i + 1; IF i = 2 THEN CONTINUE; END_IF n := n + i; END_WHILE",
        {"n": 13},
    ),
]
TEXTS = [
    (
        "assignment truncates",
        "s : STRING[5]; t : STRING := 'hello world'; n : INT := 7;",
        "s := t;",
        {"s": "hello", "n": 7},
    ),
    ("insert stands after the position", "s : STRING;", "s := INSERT('ABCD', 'xy', 2);", {"s": "ABxyCD"}),
    ("replace inserts all of its text", "s : STRING;", "s := REPLACE('ABCD', 'xyz', 1, 2);", {"s": "AxyzCD"}),
    (
        "positions are clamped",
        "a : STRING; b : STRING; c : STRING; n : INT := -1;",
        "a := LEFT('abc', n); b := MID('abc', 9, 2); c := DELETE('abc', 9, 3);",
        {"a": "", "b": "bc", "c": "ab"},
    ),
    (
        "order is by code, a prefix is less",
        "a : BOOL; b : BOOL;",
        "a := 'ab' < 'abc'; b := 'B' < 'a';",
        {"a": 1, "b": 1},
    ),
    (
        "numbers as texts",
        "a : STRING; b : STRING; c : STRING; d : STRING;",
        "a := INT_TO_STRING(-42); b := REAL_TO_STRING(0.1); c := TIME_TO_STRING(T#1h30m5ms); "
        "d := LREAL_TO_STRING(1.0E20);",
        {"a": "-42", "b": "0.1", "c": "T#1h30m5ms", "d": "1.0e+20"},
    ),
    (
        "texts as numbers",
        "a : DINT; b : REAL; c : TIME; d : INT; e : INT;",
        "a := STRING_TO_DINT('-123'); b := STRING_TO_REAL('1.5e3'); c := STRING_TO_TIME('T#2s500ms'); "
        "d := STRING_TO_INT('16#FF'); "
        "e := STRING_TO_INT('none');",
        {"a": -123, "b": 1500.0, "c": 2_500_000_000, "d": 255, "e": 0},
    ),
    (
        "wide texts",
        'w : WSTRING := "äöü€"; v : WSTRING; n : INT;',
        'v := CONCAT(w, "x"); n := LEN(v);',
        {"v": "äöü€x", "n": 5},
    ),
]
TIMES = [
    (
        "time and number count milliseconds",
        "a : DINT; b : TIME;",
        "a := TIME_TO_DINT(T#2s3ms); b := DINT_TO_TIME(250);",
        {"a": 2003, "b": 250_000_000},
    ),
    ("date and number count seconds", "a : DWORD;", "a := DATE_TO_DWORD(D#1970-01-02);", {"a": 86400}),
    (
        "date and time split",
        "d : DATE; t : TOD;",
        "d := DT_TO_DATE(DT#1969-12-31-23:00:00); t := DT_TO_TOD(DT#1969-12-31-23:00:00);",
        {"d": -86_400 * 10**9, "t": 23 * 3600 * 10**9},
    ),
    ("weekday", "n : INT;", "n := DAY_OF_WEEK(D#2024-02-29);", {"n": 4}),
]
SELECTIONS = [
    (
        "mux clamps",
        "a : INT; b : INT; k : INT := -1;",
        "a := MUX(7, 10, 20, 30); b := MUX(k, 10, 20);",
        {"a": 30, "b": 10},
    ),
    ("limit", "a : INT;", "a := LIMIT(1, 20, 10);", {"a": 10}),
    ("sel", "a : STRING;", "a := SEL(TRUE, 'ab', 'cd');", {"a": "cd"}),
]

ALL = [*INTEGERS, *REALS, *BITS, *LOOPS, *TEXTS, *TIMES, *SELECTIONS]


@pytest.mark.parametrize(
    ("declarations", "statements", "values"), [case[1:] for case in ALL], ids=[case[0] for case in ALL]
)
def test_meaning_when_compiled_and_evaluated_then_as_written(
    declarations: str, statements: str, values: Values
) -> None:
    expect(declarations, statements, values)


FAULTS = [
    (Fault.DIVISION_BY_ZERO, "a : INT := 1; z : INT;", "a := a / z;"),
    (Fault.DIVISION_BY_ZERO, "a : UDINT := 1; z : UDINT;", "a := a MOD z;"),
    (Fault.INDEX_OUT_OF_RANGE, "a : ARRAY[1..3] OF INT; i : INT := 4;", "a[i] := 1;"),
    (Fault.INDEX_OUT_OF_RANGE, "a : ARRAY[1..3, 1..4] OF INT; i : INT; j : INT := 5;", "a[i, j] := 1;"),
    (Fault.NULL_REFERENCE, "r : REF_TO INT; x : INT;", "x := r^;"),
    (Fault.SUBRANGE, "s : INT(0..10); i : INT := 11;", "s := i;"),
]


@pytest.mark.parametrize(("fault", "declarations", "statements"), FAULTS)
def test_fault_when_a_check_fails_then_both_name_code_pou_and_line(
    fault: Fault, declarations: str, statements: str
) -> None:
    expect_fault(fault, declarations, statements)


def test_pointer_when_it_leaves_the_block_then_fault() -> None:
    expect_fault(
        Fault.NULL_REFERENCE,
        "p : POINTER TO BYTE; b : BYTE;",
        "p := p + 100000000; b := p^;",
        dialect="codesys",
    )


def test_shift_when_of_a_signed_integer_then_the_sign_comes_in() -> None:
    statements = "a := SHR(i, 1); b := SHR(i, n); c := SHR(INT#7, 1);"
    declarations = "i : INT := -7; n : INT := 99; a : INT; b : INT; c : INT;"
    expect(declarations, statements, {"a": -4, "b": -1, "c": 3}, dialect="codesys")


def test_logical_when_left_side_decides_then_right_side_is_not_evaluated() -> None:
    count = "FUNCTION Count : BOOL VAR_IN_OUT n : INT; END_VAR n := n + 1; Count := TRUE; END_FUNCTION"
    statements = "b := FALSE AND Count(n); b := TRUE OR Count(n); b := TRUE AND Count(n);"
    expect("n : INT; b : BOOL;", statements, {"n": 1}, before=count)


def test_block_when_inputs_are_left_out_then_they_keep_their_value() -> None:
    before = (
        "FUNCTION_BLOCK Count VAR_INPUT Step : INT := 2; END_VAR VAR_OUTPUT N : INT; END_VAR VAR_IN_OUT Total : DINT;"
        " END_VAR N := N + Step; Total := Total + 1; END_FUNCTION_BLOCK"
    )
    statements = "c(Step := 5, Total := t); c(Total := t, N => n);"
    expect("c : Count; t : DINT; n : INT;", statements, {"n": 10, "t": 2, "c.Step": 5}, before=before)


def test_enable_when_false_then_body_is_skipped_and_outputs_stay() -> None:
    expect("t : R_TRIG; q : BOOL := TRUE; o : BOOL := TRUE;", "t(EN := FALSE, CLK := TRUE, Q => q, ENO => o);",
           {"t.Q": 0, "o": 0})  # fmt: skip


SHAPES = """
INTERFACE Shape METHOD Area : REAL END_METHOD END_INTERFACE
FUNCTION_BLOCK Base IMPLEMENTS Shape VAR_INPUT w : REAL := 2.0; END_VAR
METHOD PUBLIC Area : REAL Area := w; END_METHOD
METHOD PUBLIC Twice : REAL Twice := 2.0 * THIS.Area(); END_METHOD
END_FUNCTION_BLOCK
FUNCTION_BLOCK Square EXTENDS Base METHOD PUBLIC OVERRIDE Area : REAL Area := w * w; END_METHOD END_FUNCTION_BLOCK
"""


def test_methods_when_called_through_interface_and_this_then_the_instance_decides() -> None:
    statements = "s(w := 5.0); i := s; a := i.Area(); b := s.Twice(); i := p; c := i.Area();"
    declarations = "s : Square; p : Base; i : Shape; a : REAL; b : REAL; c : REAL;"
    expect(declarations, statements, {"a": 25.0, "b": 50.0, "c": 2.0}, before=SHAPES)


def test_interface_when_unassigned_then_fault() -> None:
    expect_fault(Fault.NULL_REFERENCE, "i : Shape; a : REAL;", "a := i.Area();", before=SHAPES)


def test_open_array_when_passed_then_bounds_travel() -> None:
    before = (
        "FUNCTION Total : LINT VAR_IN_OUT a : ARRAY[*] OF INT; END_VAR VAR i : DINT; END_VAR "
        "FOR i := LOWER_BOUND(a, 1) TO UPPER_BOUND(a, 1) DO Total := Total + a[i]; END_FOR END_FUNCTION"
    )
    expect("a : ARRAY[-1..2] OF INT := [1, 2, 3, 4]; s : LINT;", "s := Total(a);", {"s": 10}, before=before)


def test_located_when_bits_share_a_byte_then_each_keeps_its_own() -> None:
    statements = "q := TRUE; r := NOT i; w := -5; q := q AND r;"
    declarations = "q AT %QX0.3 : BOOL; r AT %QX0.4 : BOOL; w AT %QW1 : INT; i AT %IX1.7 : BOOL;"
    expect(declarations, statements, {"q": True, "r": True, "w": -5})


def test_abort_when_set_then_an_endless_loop_ends_with_a_fault() -> None:
    machine = both(body("i : DINT;", "WHILE TRUE DO i := i + 1; END_WHILE")).machine
    machine.context["abort"] = 1
    assert machine.scan(task="main") == Fault.ABORTED
    assert machine.fault[1] == "Main"
