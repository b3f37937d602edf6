"""What checked programs do: each text is compiled and evaluated side by side, and the values are what IEC says."""

from __future__ import annotations

import math

import pytest

from tests.programs.st_machine import body, both, run

PRELUDE = """
TYPE
  Color : (Red, Green := 5, Blue);
  Level : INT (1..10);
  Point : STRUCT x, y : REAL; c : Color := Green; END_STRUCT;
  Line : STRUCT a, b : Point; tag : STRING[4] := 'abcd'; END_STRUCT;
END_TYPE
VAR_GLOBAL CONSTANT
  N : INT := 5;
  TABLE : ARRAY[0..2] OF INT := [10, 20, 30];
END_VAR
FUNCTION Sum : LREAL
VAR_INPUT a : ARRAY[*] OF LREAL; END_VAR
VAR i : DINT; END_VAR
  FOR i := LOWER_BOUND(a, 1) TO UPPER_BOUND(a, 1) DO Sum := Sum + a[i]; END_FOR;
END_FUNCTION
FUNCTION Add3 : INT
VAR_INPUT a : INT; b : INT := 20; c : INT := 300; END_VAR
VAR_OUTPUT big : BOOL; END_VAR
  Add3 := a + b + c;
  big := Add3 > 100;
END_FUNCTION
FUNCTION Swap
VAR_IN_OUT a, b : INT; END_VAR
VAR t : INT; END_VAR
  t := a; a := b; b := t;
END_FUNCTION
FUNCTION_BLOCK Count
VAR_INPUT up : BOOL R_EDGE; END_VAR
VAR_OUTPUT n : INT; END_VAR
  IF up THEN n := n + 1; END_IF;
END_FUNCTION_BLOCK
"""

CASES = {
    "arithmetic of INT is done in 32 bits": ("i : INT := 300; r : INT;", "r := i * i / 100;", "r", 900),
    "arithmetic of INT reaches DINT unharmed": ("i : INT := 300; r : DINT;", "r := i * i;", "r", 90_000),
    "a store wraps at the declared width": ("i : SINT := 100; r : SINT;", "r := i + i;", "r", -56),
    "an unsigned store wraps": ("i : UINT; r : UINT;", "r := i - 1;", "r", 65_535),
    "a comparison sees the wide value": ("i : INT := 30000; r : BOOL;", "r := i + i > 32767;", "r", 1),
    "a conversion takes the declared width": (
        "i : INT := 300; r : DINT;",
        "r := INT_TO_DINT(i * i);",
        "r",
        24_464,
    ),
    "division truncates": ("i : INT := -7; r : INT;", "r := i / 2;", "r", -3),
    "MOD has the sign of the dividend": ("i : INT := -7; r : INT;", "r := i MOD 3;", "r", -1),
    "UDINT with DINT meets in LINT": ("u : UDINT := 1; d : DINT := -5; r : BOOL;", "r := u > d;", "r", 1),
    "REAL rounds half to even": ("x : REAL := 2.5; r : INT;", "r := REAL_TO_INT(x);", "r", 2),
    "TRUNC cuts": ("x : REAL := -2.9; r : INT;", "r := TRUNC(x);", "r", -2),
    "INT becomes REAL": ("i : INT := 3; r : REAL;", "r := i * 0.5;", "r", 1.5),
    "a function of literals takes the wanted type": ("r : REAL;", "r := SQRT(2.0);", "r", 1.4142135381698608),
    "a power is real": ("i : INT := 3; r : REAL;", "r := EXPT(2.0, i) + 2 ** 3;", "r", 16.0),
    "operators bind as in table 71": ("r : BOOL;", "r := TRUE OR FALSE AND FALSE XOR TRUE;", "r", 1),
    "NOT works on bits": ("w : WORD := 16#F0; r : WORD;", "r := NOT w AND 16#FF;", "r", 0x0F),
    "shift by the width gives 0": ("w : BYTE := 255; r : BYTE;", "r := SHL(w, 8);", "r", 0),
    "a rotation goes round": ("w : BYTE := 3; r : BYTE;", "r := ROR(w, 1);", "r", 0x81),
    "TIME scales": ("t : TIME := T#3s; r : TIME;", "r := t * 2 - t / 2;", "r", 4_500_000_000),
    "DT minus DT is a TIME": (
        "r : TIME;",
        "r := DT#2024-03-01-00:00:00 - DT#2024-02-28-00:00:00;",
        "r",
        172_800 * 10**9,
    ),
    "TOD goes round midnight": ("r : TOD;", "r := TOD#23:00:00 + T#2h;", "r", 3_600 * 10**9),
    "TIME_TO_DINT counts milliseconds": ("r : DINT;", "r := TIME_TO_DINT(T#1s500ms);", "r", 1500),
    "a string is cut at its target": ("r : STRING[3];", "r := CONCAT('ab', 'cd', 'ef');", "r", "abc"),
    "INSERT inserts behind the position": ("r : STRING;", "r := INSERT('ABCD', 'xy', 2);", "r", "ABxyCD"),
    "REPLACE takes all of IN2": ("r : STRING;", "r := REPLACE('ABCD', 'xyz', 1, 2);", "r", "AxyzCD"),
    "FIND counts from 1": ("r : INT;", "r := FIND('hello', 'l') * 10 + LEN('hello');", "r", 35),
    "a character of a string counts from 1": ("s : STRING := 'xyz'; r : CHAR;", "r := s[2];", "r", ord("y")),
    "strings compare": ("s : STRING[5] := 'abc'; r : BOOL;", "r := s < 'abd' AND s = 'abc';", "r", 1),
    "WSTRING is apart": ("r : WSTRING;", 'r := CONCAT("é", "€");', "r", "é€"),
    "an enumeration starts with its first value": ("c : Color; r : BOOL;", "r := c = Red;", "r", 1),
    "values of an enumeration count on": ("r : Color;", "r := Color#Blue;", "r", 6),
    "a subrange starts with its lower limit": ("l : Level; r : INT;", "r := l;", "r", 1),
    "structures carry their defaults": ("p : Point; r : Color;", "r := p.c;", "r", 5),
    "structures are copied": (
        "p : Point := (x := 2.0); q : Line; r : REAL;",
        "q.b := p; p.x := 9.0; r := q.b.x;",
        "r",
        2.0,
    ),
    "array initials repeat": (
        "a : ARRAY[1..2, 0..2] OF INT := [1, 2(7), 3]; r : INT;",
        "r := a[1, 2] * 10 + a[2, 0];",
        "r",
        73,
    ),
    "constants fold": ("a : ARRAY[0..N] OF INT := [N(2)]; r : INT;", "r := a[N - 1] + TABLE[1];", "r", 22),
    "ARRAY[*] knows its bounds": (
        "a : ARRAY[-1..2] OF LREAL := [1.0, 2.0, 3.0, 4.0]; r : LREAL;",
        "r := Sum(a);",
        "r",
        10.0,
    ),
    "inputs have defaults": ("r : INT;", "r := Add3(a := 1, c := 4);", "r", 25),
    "outputs are taken": ("n : INT; r : BOOL;", "n := Add3(1, 2, 3, big => r);", "r", 0),
    "outputs may be inverted": ("n : INT; r : BOOL;", "n := Add3(a := 1, NOT big => r);", "r", 0),
    "in-outs work on the caller": ("i : INT := 1; r : INT := 2;", "Swap(i, r);", "r", 1),
    "CASE takes ranges and enumerations": (
        "i : INT := 7; r : INT;",
        "CASE i OF 1..6: r := 1; 7, 9: r := 2; END_CASE;",
        "r",
        2,
    ),
    "CASE falls to ELSE": (
        "c : Color := Green; r : INT;",
        "CASE c OF Red: r := 1; ELSE r := 3; END_CASE;",
        "r",
        3,
    ),
    "FOR leaves the first value past the end": (
        "i, r : INT;",
        "FOR i := 1 TO 5 DO ; END_FOR; r := i;",
        "r",
        6,
    ),
    "FOR goes to the limit of its type": (
        "i : SINT; r : INT;",
        "FOR i := 120 TO 127 DO r := r + 1; END_FOR;",
        "r",
        8,
    ),
    "FOR counts down": (
        "i : USINT; r : INT;",
        "FOR i := 5 TO 1 BY -2 DO r := r * 10 + i; END_FOR;",
        "r",
        531,
    ),
    "EXIT leaves one loop": (
        "i, j, r : INT;",
        "FOR i := 1 TO 3 DO FOR j := 1 TO 9 DO IF j = 2 THEN EXIT; END_IF; r := r + 1; END_FOR; END_FOR;",
        "r",
        3,
    ),
    "CONTINUE goes on with the condition": (
        "i, r : INT;",
        "REPEAT i := i + 1; IF i MOD 2 = 0 THEN CONTINUE; END_IF; r := r + i; UNTIL i >= 5 END_REPEAT;",
        "r",
        9,
    ),
    "parts are read and written": (
        "d : DWORD := 16#12345678; r : DWORD;",
        "r := d; r.%B0 := d.%B3; r.31 := TRUE;",
        "r",
        0x92345612,
    ),
    "a function form is its operator": ("r : BOOL;", "r := GT(5, 4, 3) AND NE(ADD(1, 2, 3), 7);", "r", 1),
    "SEL and MUX choose": ("i : INT := 2; r : INT;", "r := SEL(i > 1, 10, 20) + MUX(i, 1, 2, 3);", "r", 23),
    "LIMIT keeps within": (
        "i : INT := 77; r : INT;",
        "r := LIMIT(0, i, 50) + MAX(1, i, 3) + MIN(i, 4);",
        "r",
        131,
    ),
    "references follow": (
        "x : INT := 3; p : REF_TO INT; r : INT;",
        "p := REF(x); p^ := p^ + 1; r := x;",
        "r",
        4,
    ),
    "EN skips and ENO tells": (
        "n : INT; r : BOOL := TRUE;",
        "n := Add3(EN := FALSE, a := 1, ENO => r);",
        "r",
        0,
    ),
    "EN of a standard function": ("r : INT;", "r := MAX(EN := TRUE, IN1 := 3, IN2 := 8);", "r", 8),
    "SPLIT_DATE gives parts": (
        "y, m, d : INT; r : INT;",
        "SPLIT_DATE(D#2024-02-29, y, m, d); r := m * 100 + d;",
        "r",
        229,
    ),
    "BCD converts": ("r : UINT;", "r := WORD_BCD_TO_UINT(16#1234);", "r", 1234),
}


@pytest.mark.parametrize("name", CASES)
def test_text_when_run_once_then_value(name: str) -> None:
    declarations, statements, path, expected = CASES[name]
    (found,) = run(body(declarations, statements, PRELUDE), path)
    assert found == expected


def test_and_when_left_side_decides_then_right_side_is_not_evaluated() -> None:
    before = """
    VAR_GLOBAL n : INT; END_VAR
    FUNCTION Touch : BOOL
    VAR_INPUT unused : BOOL; END_VAR
      n := n + 1; Touch := NOT unused;
    END_FUNCTION
    """
    text = body("b : BOOL; r : INT;", "b := FALSE AND Touch(b); b := TRUE OR Touch(b); r := n;", before)
    assert run(text, "r") == [0]


def test_edge_input_when_level_stays_then_one_count() -> None:
    assert run(body("f : Count; b : BOOL := TRUE;", "f(up := b);", PRELUDE), "f.n", scans=3) == [1]


def test_standard_block_when_called_in_time_then_output() -> None:
    text = body("t : TON; r : BOOL;", "t(IN := TRUE, PT := T#20ms, Q => r);")
    assert run(text, "r", "t.ET", scans=2) == [0, 10_000_000]
    assert run(text, "r", "t.ET", scans=4) == [1, 20_000_000]


def test_temp_when_program_has_actions_then_fresh_in_each_scan() -> None:
    text = """
    PROGRAM Main
    VAR r : INT; END_VAR
    VAR_TEMP t : INT := 3; END_VAR
      Step(); r := t;
    ACTION Step: t := t + 1; END_ACTION
    END_PROGRAM
    """
    assert run(text, "r", scans=3) == [4]


def test_real_when_divided_by_zero_then_infinity() -> None:
    (found,) = run(body("z : REAL; r : REAL;", "r := 1.0 / z;"), "r")
    assert math.isinf(found)


OBJECTS = """
INTERFACE Shape
  METHOD Area : REAL END_METHOD
  METHOD Grow VAR_INPUT f : REAL; END_VAR END_METHOD
  PROPERTY Name : STRING GET END_GET END_PROPERTY
END_INTERFACE
CLASS ABSTRACT Base
VAR PROTECTED k : REAL := 1.0; END_VAR
METHOD PUBLIC ABSTRACT Area : REAL END_METHOD
METHOD PUBLIC Rounded : INT
  Rounded := REAL_TO_INT(THIS.Area() * k);
END_METHOD
END_CLASS
CLASS Square EXTENDS Base IMPLEMENTS Shape
VAR PUBLIC side : REAL := 2.0; END_VAR
METHOD PUBLIC OVERRIDE Area : REAL  Area := side * side; END_METHOD
METHOD PUBLIC Grow VAR_INPUT f : REAL; END_VAR side := side * f; END_METHOD
PROPERTY PUBLIC Name : STRING GET Name := 'square'; END_GET END_PROPERTY
END_CLASS
CLASS Big EXTENDS Square
METHOD PUBLIC OVERRIDE Area : REAL  Area := SUPER.Area() + 100.0; END_METHOD
END_CLASS
FUNCTION_BLOCK Motor
VAR_INPUT on : BOOL; END_VAR
VAR_OUTPUT speed : REAL; END_VAR
VAR top : REAL := 50.0; END_VAR
PROPERTY PUBLIC Limit : REAL
GET Limit := top; END_GET
SET top := Limit; END_SET
END_PROPERTY
  IF on THEN speed := MIN(speed + 10.0, Limit); END_IF;
END_FUNCTION_BLOCK
FUNCTION_BLOCK Servo EXTENDS Motor
VAR_OUTPUT calls : INT; END_VAR
  SUPER(); calls := calls + 1;
END_FUNCTION_BLOCK
NAMESPACE Lib.Math
  FUNCTION Twice : INT VAR_INPUT x : INT; END_VAR Twice := x * 2; END_FUNCTION
END_NAMESPACE
"""


def test_objects_when_used_through_interface_and_base_then_the_instance_decides() -> None:
    text = f"""{OBJECTS}
    PROGRAM Main
    USING Lib.Math;
    VAR sq : Square; bg : Big; sh : Shape; a, b : REAL; d, e, t : INT; n : STRING; p : REF_TO Square; END_VAR
      sh := sq; sh.Grow(3.0); a := sh.Area(); n := sh.Name;
      sh := bg; b := sh.Area(); d := bg.Rounded(); e := sq.Rounded();
      p := REF(bg); t := Twice(Lib.Math.Twice(REAL_TO_INT(p^.Area())));
    END_PROGRAM
    """
    assert run(text, "a", "b", "d", "e", "n", "t") == [36.0, 104.0, 104, 36, "square", 416]


def test_blocks_when_derived_then_super_runs_the_base_body() -> None:
    text = f"""{OBJECTS}
    PROGRAM Main
    VAR m : Motor; s : Servo; l : REAL; END_VAR
      m.Limit := 12.0; m(on := TRUE); m(); l := m.Limit;
      s(on := TRUE); s();
    END_PROGRAM
    """
    assert run(text, "m.speed", "l", "s.speed", "s.calls") == [12.0, 12.0, 20.0, 2]


CODESYS = """
{attribute 'qualified_only'}
TYPE E_Mode : (Idle, Busy := 5, Done) DINT; END_TYPE
TYPE U : UNION w : DWORD; b : ARRAY[0..3] OF BYTE; r : REAL; END_UNION END_TYPE
TYPE B : STRUCT id : INT; END_STRUCT END_TYPE
TYPE D EXTENDS B : STRUCT v : REAL; END_STRUCT END_TYPE
FUNCTION Fill : BOOL
VAR_INPUT p : POINTER TO BYTE; n : UINT; END_VAR
VAR i : UINT; q : POINTER TO BYTE; END_VAR
  q := p;
  FOR i := 1 TO n DO q^ := 16#55; q := q + 1; END_FOR
END_FUNCTION
FUNCTION Rev : STRING(20)
VAR_INPUT s : STRING(20); END_VAR
VAR pt : POINTER TO ARRAY[0..20] OF BYTE; n, i : INT; END_VAR
  pt := ADR(Rev); n := LEN(s);
  FOR i := 1 TO n DO pt^[i - 1] := s[n - i]; END_FOR
  pt^[n] := 0;
END_FUNCTION
PROGRAM Helper
VAR_INPUT k : INT; END_VAR
VAR_OUTPUT o : INT; END_VAR
  o := k * 2;
END_PROGRAM
"""

CODESYS_CASES = {
    "values behind the type": (
        "m, r : E_Mode := E_Mode.Busy;",
        "IF m = E_Mode.Busy THEN r := E_Mode.Done; END_IF",
        "r",
        6,
    ),
    "a union shares its bytes": ("u : U; r : DWORD;", "u.r := 1.0; r := u.w;", "r", 0x3F800000),
    "a structure extends another": ("d : D; r : INT;", "d.id := 4; d.v := 1; r := d.id;", "r", 4),
    "pointers walk": (
        "b : ARRAY[0..3] OF BYTE; r : BYTE;",
        "Fill(ADR(b[1]), SIZEOF(b) - 1); r := b[0] + b[3];",
        "r",
        0x55,
    ),
    "ADR of a local string": ("r : STRING(20);", "r := Rev('hello');", "r", "olleh"),
    "assignments chain": ("a, r : INT;", "r := a := 5;", "r", 5),
    "S= keeps": ("c : BOOL := TRUE; r : BOOL;", "r S= c; c := FALSE; r S= c;", "r", 1),
    "bits and integers mix": ("w : WORD := 16#1234; r : DWORD;", "r := w + 1;", "r", 0x1235),
    "REFERENCE TO stands for its target": (
        "a : INT := 1; f : REFERENCE TO INT; r : INT;",
        "f REF= a; f := f + 1; r := a;",
        "r",
        2,
    ),
    "a program is its own instance": ("r : INT;", "Helper(k := 4); r := Helper.o;", "r", 8),
    "a string is indexed from 0": ("s : STRING := 'AB'; r : BYTE;", "r := s[1];", "r", 66),
    "unbracketed initials": ("a : ARRAY[0..2] OF INT := 1, 2, 3; r : INT;", "r := a[2];", "r", 3),
    "a structure is assigned by members": (
        "d : D; r : REAL;",
        "d := (id := 3, v := 2.5); r := d.v;",
        "r",
        2.5,
    ),
    "TIME is a number of milliseconds": ("t : TIME := T#5S; r : DWORD;", "r := TIME_TO_DWORD(t);", "r", 5000),
    "pins have CODESYS's names": (
        "c : CTU; r : INT;",
        "c(CU := TRUE, RESET := FALSE, PV := 3); r := c.CV;",
        "r",
        1,
    ),
}


@pytest.mark.parametrize("name", CODESYS_CASES)
def test_codesys_text_when_run_once_then_value(name: str) -> None:
    declarations, statements, path, expected = CODESYS_CASES[name]
    (found,) = run(body(declarations, statements, CODESYS), path, dialect="codesys")
    assert found == expected


CHART = """
PROGRAM Main
VAR go : BOOL := TRUE; n, m, e : INT; lamp, late, pulse, stored, lim, sd, ds, sl : BOOL; END_VAR
INITIAL_STEP Init: lamp(N); stored(R); END_STEP
TRANSITION FROM Init TO Run := go; END_TRANSITION
STEP Run:
  Count(N); late(D, T#20ms); Enter(P1); Leave(P0); pulse(P); stored(S); lim(L, T#20ms);
  sd(SD, T#20ms); ds(DS, T#20ms); sl(SL, T#20ms);
END_STEP
TRANSITION (PRIORITY := 2) FROM Run TO Init := Run.T >= T#40ms; END_TRANSITION
TRANSITION (PRIORITY := 1) FROM Run TO (A, B) :
  LD Run.T
  GE T#40ms
END_TRANSITION
STEP A: END_STEP
STEP B: END_STEP
TRANSITION FROM (A, B) TO Init := TRUE; END_TRANSITION
ACTION Count: n := n + 1; END_ACTION
ACTION Enter: e := e + 1; END_ACTION
ACTION Leave: m := m + 1; END_ACTION
END_PROGRAM
"""
# Scan: active steps, then lamp late pulse stored lim sd ds sl, then n e m.
CHART_TRACE = [
    ("Init", "10000000", 0, 0, 0),
    ("Run", "00111001", 1, 1, 0),
    ("Run", "00011001", 2, 1, 0),
    ("Run", "01010110", 3, 1, 0),
    ("Run", "01010110", 4, 1, 0),
    ("A B", "00010110", 4, 1, 1),
    ("Init", "10000110", 4, 1, 1),
    ("Run", "00111110", 5, 2, 1),
]


def test_chart_when_scanned_then_steps_and_actions_follow_the_standard() -> None:
    found = both(CHART)
    flags = ("lamp", "late", "pulse", "stored", "lim", "sd", "ds", "sl")
    trace = []
    for scan in range(len(CHART_TRACE)):
        assert found.scan(now_ns=scan * 10_000_000, task="main") == 0
        active = " ".join(step for step in ("Init", "Run", "A", "B") if found.read(f"Main.{step}.X"))
        shown = "".join(str(int(found.read(f"Main.{flag}"))) for flag in flags)
        trace.append((active, shown, *(found.read(f"Main.{name}") for name in ("n", "e", "m"))))
    assert trace == CHART_TRACE


LIST = """
FUNCTION Twice : INT
VAR_INPUT x : INT; END_VAR
  LD x
  MUL 2
  ST Twice
END_FUNCTION
PROGRAM Main
VAR a : INT := 3; b, c, k, s : INT; q, p : BOOL := TRUE; ct : CTU; END_VAR
  LD a
  ADD 4
  ST b
  SUB( a
  MUL 2
  )
  ST c
  LD 0
  ST k
again: LD k
  ADD 1
  ST k
  LT 10
  JMPC again
  LD TRUE
  ANDN q
  ST q
  LD p
  CU ct
  CAL ct(CU := FALSE, PV := 1)
  LD ct.CV
  Twice
  LIMIT 1, 9
  ST s
  LD p
  R p
END_PROGRAM
"""


def test_instruction_list_when_run_then_values() -> None:
    assert run(LIST, "b", "c", "k", "q", "p", "ct.CV", "s") == [7, 1, 10, 0, 0, 1, 2]


def test_subrange_when_left_at_run_time_then_fault_names_the_line() -> None:
    found = both(body("l : Level; i : INT := 11;", "\nl := i;", PRELUDE))
    assert found.scan(task="main") == 1007


def test_configured_address_when_in_a_block_then_image_is_copied() -> None:
    text = """
    FUNCTION_BLOCK Valve
    VAR_INPUT open : BOOL; END_VAR
    VAR coil AT %Q* : BOOL; n : INT; END_VAR
      coil := open; n := n + 1;
    END_FUNCTION_BLOCK
    PROGRAM Main
    VAR v1, v2 : Valve; k : INT; i AT %IW* : INT; END_VAR
      k := k + i; v1(open := TRUE); v2(open := k > 3);
      IF k >= 0 THEN RETURN; END_IF;
    END_PROGRAM
    CONFIGURATION C
    RESOURCE R ON CPU
      TASK main(INTERVAL := T#10ms, PRIORITY := 1);
      PROGRAM p WITH main : Main;
    END_RESOURCE
    VAR_CONFIG
      R.p.v1.coil AT %QX0.0 : BOOL;
      R.p.v2.coil AT %QX0.1 : BOOL;
      R.p.i AT %IW1 : INT;
      R.p.v2.n : INT := 7;
    END_VAR
    END_CONFIGURATION
    """
    found = both(text)
    assert found.scan(task="main") == 0
    assert [found.read(path) for path in ("%QX0.0", "%QX0.1", "p.v1.n", "p.v2.n")] == [True, False, 1, 8]


@pytest.mark.parametrize("configured", [False, True])
def test_program_when_others_read_it_by_name_then_it_still_runs_in_its_task(configured: bool) -> None:
    text = """
    PROGRAM Main VAR seen : INT; END_VAR seen := Source.n * 10; END_PROGRAM
    PROGRAM Source VAR n : INT := 4; END_VAR n := n + 1; END_PROGRAM
    """
    if configured:
        text += """
        CONFIGURATION C RESOURCE R ON PLC
          TASK main(INTERVAL := T#10ms);
          PROGRAM Source WITH main : Source;
          PROGRAM Main WITH main : Main;
        END_RESOURCE END_CONFIGURATION
        """
    found = both(text, dialect="codesys")
    for scan in range(2):
        assert found.scan(now_ns=scan * 10_000_000, task="main") == 0
    assert found.read("Source.n") == 6
    assert found.read("Main.seen") == (60 if configured else 50)


def test_interface_when_nothing_implements_it_then_null_is_a_fault() -> None:
    interface = "INTERFACE Shape METHOD Area : INT END_METHOD END_INTERFACE"
    found = both(
        body("s : Shape; go : BOOL; r : INT;", "IF go THEN r := s.Area(); END_IF; go := TRUE;", interface)
    )
    assert [found.scan(task="main"), found.scan(task="main")] == [0, 1003]


METHODS = {
    "arguments of a method": (
        "CLASS C METHOD PUBLIC M VAR_INPUT a : INT; END_VAR VAR_OUTPUT o : INT; END_VAR VAR_IN_OUT io : INT; END_VAR "
        "o := a + 1; io := io + a; END_METHOD END_CLASS",
        "c : C; x, y : INT;",
        "c.M(a := 3, o => x, io := y); x := x * 10 + y;",
        43,
    ),
    "an inherited action": (
        "FUNCTION_BLOCK F VAR_OUTPUT n : INT; END_VAR Up(); ACTION Up: n := n + 10; END_ACTION END_FUNCTION_BLOCK "
        "FUNCTION_BLOCK G EXTENDS F SUPER(); Up(); END_FUNCTION_BLOCK",
        "f : G; x : INT;",
        "f(); x := f.n;",
        20,
    ),
    "a block in a namespace": (
        "NAMESPACE A FUNCTION_BLOCK F VAR_OUTPUT n : INT; END_VAR n := K; END_FUNCTION_BLOCK "
        "VAR_GLOBAL CONSTANT K : INT := 6; END_VAR END_NAMESPACE",
        "f : A.F; x : INT;",
        "f(); x := f.n + A.K;",
        12,
    ),
    "a generic function": (
        "FUNCTION twice<T : ANY_NUM> : T VAR_INPUT a : T; END_VAR twice := a + a; END_FUNCTION",
        "r : REAL; x : INT;",
        "r := twice(1.5); x := twice(4) + REAL_TO_INT(r);",
        11,
    ),
    "another name": ("", "a : INT := 4; b AT a : INT; x : INT;", "b := 7; x := a;", 7),
}


@pytest.mark.parametrize("name", METHODS)
def test_unit_when_used_then_value(name: str) -> None:
    before, declarations, statements, expected = METHODS[name]
    assert run(body(declarations, statements, before), "x", dialect="rusty") == [expected]
