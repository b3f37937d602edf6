"""Forms that libraries in use have, compiled and evaluated side by side; one program a group, so it stays quick."""

from __future__ import annotations

import pytest

from tests.programs.st_machine import check_text, codes, run

STRICT = """
TYPE
    Status : WORD (Idle := 16#7000, Bad := 16#8001);   // named values: others may be used as well
    Mode : INT (Off, On, Auto);
    One : (X, Y);
    Two : (Z, X) := X;
END_TYPE
INTERFACE Named METHOD Id : INT END_METHOD END_INTERFACE
INTERFACE Node EXTENDS Named METHOD Sum : INT END_METHOD END_INTERFACE
CLASS Leaf IMPLEMENTS Node
    VAR PUBLIC v : INT; buffer : ARRAY[0..SIZE - 1] OF INT; END_VAR
    VAR CONSTANT SIZE : INT := 3; END_VAR
    METHOD PUBLIC Id : INT Id := UPPER_BOUND(buffer, 1); END_METHOD
    METHOD PUBLIC Sum : INT Sum := v; END_METHOD
END_CLASS
CLASS Pair IMPLEMENTS Node
    VAR PUBLIC a, b : Node; END_VAR
    METHOD PUBLIC Id : INT Id := 7; END_METHOD
    METHOD PUBLIC Sum : INT Sum := a.Sum() + b.Sum(); END_METHOD     // ends in other instances
END_CLASS
FUNCTION Size : DINT
    VAR_IN_OUT a : ARRAY[*, *] OF INT; END_VAR
    VAR d : INT; END_VAR
    FOR d := 1 TO 2 DO Size := Size + UPPER_BOUND(a, d) - LOWER_BOUND(a, d) + 1; END_FOR;
END_FUNCTION
VAR_GLOBAL first : Leaf; second : Pair; given : Named := second; END_VAR
PROGRAM Main
VAR
    calculated, chosen, letter, late, total, id, size1, listed : INT; status_ok, same : BOOL;
    s : Status; w : WORD; m : Mode := 7; c : CHAR := 'c'; t : TIME := T#5s; two : Two := X;
    l1, l2 : Leaf; p : Pair; n : Named; grid : ARRAY[0..2, 1..4] OF INT;
    list : ARRAY[0..1] OF Named := [l1, p]; k : INT; text : STRING[3] := 'bc'; worded : INT;
END_VAR
    w := Status#Bad; s := 16#8001;
    status_ok := w = Status#Bad AND s > WORD#16#8000 AND (s AND Status#Idle) = 0;
    calculated := Mode#Auto + 1;
    CASE m OF Mode#Off: chosen := 1; 7: chosen := 3; -1: chosen := 4; END_CASE;
    CASE c OF 'a': letter := 1; 'b'..'d': letter := 2; ELSE letter := 3; END_CASE;
    CASE t OF T#1s..T#2s: late := 1; T#5s: late := 5; END_CASE;
    CASE two OF X: k := 1; Z: k := 2; END_CASE;
    CASE text OF 'a', 'b': worded := 1; 'ba'..'bz': worded := 2; ELSE worded := 3; END_CASE;
    l1.v := 1; l2.v := 2; p.a := l1; p.b := l2; total := p.Sum() + k;
    n := p.a; same := n = p.a AND n = l1 AND n <> p.b;
    id := given.Id() * 10 + n.Id();
    size1 := DINT_TO_INT(Size(grid));
    FOR k := 0 TO 1 DO listed := listed + list[k].Id(); END_FOR;
END_PROGRAM
"""


def test_third_edition_forms_when_run_then_each_means_what_the_standard_says() -> None:
    paths = [
        "status_ok",
        "calculated",
        "chosen",
        "letter",
        "late",
        "total",
        "same",
        "id",
        "size1",
        "listed",
        "worded",
    ]
    assert run(STRICT, *paths) == [1, 3, 3, 2, 5, 4, 1, 72, 7, 9, 2]


CODESYS = """
INTERFACE IParent EXTENDS __SYSTEM.IQueryInterface METHOD Id : INT END_METHOD END_INTERFACE
FUNCTION_BLOCK Base
    VAR b : INT; END_VAR
    VAR CONSTANT MAXN : INT := 5; END_VAR
    METHOD FB_Init : BOOL
        VAR_INPUT bInitRetains, bInCopyCode : BOOL; v : INT; END_VAR
        b := b + v;
    END_METHOD
END_FUNCTION_BLOCK
FUNCTION_BLOCK Derived EXTENDS Base
    VAR c : INT; p : IParent; END_VAR
    METHOD FB_Init : BOOL
        VAR_INPUT bInitRetains, bInCopyCode : BOOL; v : INT; parent : IParent; END_VAR
        c := 2 * v; p := parent;
    END_METHOD
    METHOD Sum : INT Sum := b + c; END_METHOD
    METHOD Up : INT Up := p.Id(); END_METHOD
    PROPERTY FINAL Level : INT
        GET PRIVATE
        Level := 9; END_GET
    END_PROPERTY
END_FUNCTION_BLOCK
VAR_GLOBAL shared : Derived(v := 10, parent := 0); many : ARRAY[0..1] OF Base(3); END_VAR
FUNCTION_BLOCK Own IMPLEMENTS IParent
    VAR d : Derived(v := 1, parent := THIS^); END_VAR
    METHOD Id : INT Id := 11; END_METHOD
    METHOD Ask : INT Ask := d.Up(); END_METHOD
END_FUNCTION_BLOCK
PROGRAM Main
VAR
    a : ARRAY[1..2, 0..1] OF Derived(2, o); o : Own; empty : Own := ();
    sum, asked, i, j, x, referred, bound, outside : INT; none : BOOL; y : REFERENCE TO INT REF= x; h : IParent;
    t : Standard.TON; u : Tc2_Standard.R_TRIG; room : ARRAY[1..Base.MAXN] OF INT;
END_VAR
    sum := 0;
    FOR i := 1 TO 2 DO FOR j := 0 TO 1 DO sum := sum + a[i, j].Sum(); END_FOR; END_FOR;
    asked := o.Ask() + empty.Ask();
    y := 9; referred := x;
    none := h = 0;
    t(IN := FALSE, PT := T#1s); u(CLK := t.Q);
    bound := UPPER_BOUND(room, 1);
    outside := shared.Sum() + many[1].b;
END_PROGRAM
"""


def test_codesys_forms_when_run_then_constructors_references_and_qualified_names_work() -> None:
    found = run(CODESYS, "sum", "asked", "referred", "none", "bound", "outside", dialect="codesys", scans=2)
    assert found == [24, 22, 9, 1, 5, 33]


def test_chart_when_a_body_holds_two_networks_then_both_run() -> None:
    def network(name: str) -> str:
        return (
            f"INITIAL_STEP {name}1: {name}A(P); END_STEP STEP {name}2: END_STEP\n"
            f"TRANSITION FROM {name}1 TO {name}2 := TRUE; END_TRANSITION\n"
            f"TRANSITION FROM {name}2 TO {name}1 := FALSE; END_TRANSITION\n"
            f"ACTION {name}A: n{name} := n{name} + 1; END_ACTION\n"
        )

    text = f"PROGRAM Main VAR nS, nT : INT; END_VAR\n{network('S')}{network('T')}END_PROGRAM"
    assert run(text, "nS", "nT", scans=3) == [1, 1]
    joined = text.replace("FROM T2 TO T1", "FROM T2 TO S1")
    assert codes(joined) == ["ST4021"]


BOUNDS = """
TYPE
    Step : INT(LOW..HIGH) := LOW;
    Colour : (Red := LOW, Green, Blue);
    Counts : ARRAY[Red..Blue] OF INT;
    Grid : ARRAY[Colour#Red..Colour#Blue, 0..HIGH - 1] OF BOOL;
    Part : STRUCT x : REAL := FACTOR; n : STRING[HIGH] := TAG; a : ARRAY[1..3] OF INT := TABLE; END_STRUCT;
END_TYPE
NAMESPACE Lib
TYPE Line : ARRAY[1..WIDTH] OF INT; END_TYPE VAR_GLOBAL CONSTANT WIDTH : INT := HIGH; END_VAR
END_NAMESPACE
VAR_GLOBAL CONSTANT
    LOW : INT := 2; HIGH : INT := LOW * 2 + 1; FACTOR : REAL := 2.5; TAG : STRING := 'ab';
    TABLE : ARRAY[1..3] OF INT := [10, 20, 30];
END_VAR
PROGRAM Main
VAR
    counts : Counts; c : Colour := Blue; step : Step := 5; grid : Grid; part : Part; row : ARRAY[1..OWN] OF INT;
    lib_line : Lib.Line;
    a, b, d, e, f : INT; x : REAL; n : STRING;
END_VAR
VAR CONSTANT OWN : INT := HIGH + 1; END_VAR
    counts[Green] := 7; a := counts[Colour#Green]; b := UPPER_BOUND(counts, 1);
    grid[c, HIGH - 1] := TRUE; row[OWN] := step; d := row[6]; x := part.x; n := part.n; e := part.a[3];
    f := UPPER_BOUND(lib_line, 1);
END_PROGRAM
"""


def test_declarations_when_constants_stand_further_down_then_they_count() -> None:
    found = run(BOUNDS, "a", "b", "d", "e", "f", "x", "n")
    assert found[:6] == [7, 4, 5, 30, 5, 2.5]
    assert str(found[6]) == "ab"


VERSIONS = """
FUNCTION Kind : INT VAR_INPUT x : INT; END_VAR Kind := 1; END_FUNCTION
FUNCTION Kind : INT VAR_INPUT x : REAL; END_VAR Kind := 2; END_FUNCTION
FUNCTION Kind : INT VAR_INPUT x : STRING; y : INT; END_VAR Kind := 3; END_FUNCTION
FUNCTION Try : BOOL VAR_OUTPUT v : INT; END_VAR v := 4; Try := TRUE; END_FUNCTION
FUNCTION Try : BOOL VAR_OUTPUT v : REAL; END_VAR v := 2.5; Try := TRUE; END_FUNCTION
INTERFACE Keyed
    METHOD K : INT VAR_INPUT x : REAL; END_VAR END_METHOD
    METHOD K : INT VAR_INPUT x : INT; END_VAR END_METHOD
END_INTERFACE
CLASS C IMPLEMENTS Keyed
    METHOD PUBLIC K : INT VAR_INPUT x : INT; END_VAR K := 1; END_METHOD
    METHOD PUBLIC K : INT VAR_INPUT x : REAL; END_VAR K := 2; END_METHOD
    METHOD PUBLIC K : INT VAR_INPUT x : INT; y : INT; END_VAR K := 3; END_METHOD
END_CLASS
CLASS D EXTENDS C
    METHOD PUBLIC OVERRIDE K : INT VAR_INPUT x : REAL; END_VAR K := 20; END_METHOD
    METHOD PUBLIC OVERRIDE K : INT VAR_INPUT x : INT; y : INT; END_VAR K := 300; END_METHOD
END_CLASS
PROGRAM Main
VAR o : D; i : Keyed; p : REF_TO C; whole : INT; part : REAL; ok : BOOL; a, b, c, d, e, f, g, h, k : INT; END_VAR
    p := REF(o); i := o; ok := Try(v => whole) AND Try(v => part);
    a := Kind(INT#4); b := Kind(REAL#2.0); c := Kind('abc', 3); d := Kind(7);
    e := p^.K(4); f := p^.K(REAL#4.0); g := p^.K(4, 5); h := i.K(INT#4); k := i.K(REAL#4.0);
END_PROGRAM
"""


def test_versions_of_a_name_when_called_then_the_arguments_choose_also_through_interfaces() -> None:
    assert run(VERSIONS, *"abcdefghk", "whole", "part") == [1, 2, 3, 1, 1, 20, 300, 1, 20, 4, 2.5]


PLACED = """
TYPE
    Frame : STRUCT
        head AT %B0 : BYTE := 16#A5; length AT %W1 : UINT; value AT %D1 : REAL := 1.5; tail AT %B8 : BYTE;
    END_STRUCT;
    Either : STRUCT OVERLAP whole AT %W0 : WORD; low AT %B0 : BYTE; high AT %B1 : BYTE := 16#12; END_STRUCT;
END_TYPE
PROGRAM Main
VAR f : Frame; e : Either; size : INT; head, low : BYTE; whole : WORD; value : REAL; END_VAR
    f.tail := 1; head := f.head; value := f.value;
    e.low := 16#34; whole := e.whole;
    low := e.low;
END_PROGRAM
"""


def test_structures_when_members_have_addresses_then_they_lie_there() -> None:
    assert run(PLACED, "head", "value", "whole", "low") == [0xA5, 1.5, 0x1234, 0x34]
    assert codes(PLACED.replace("OVERLAP ", "")) == ["ST3017", "ST3017"]
    assert codes(PLACED.replace("%W1 : UINT", "%W1 : DINT")) == ["ST3017"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("PROGRAM Main VAR a : One; END_VAR a := 1; END_PROGRAM TYPE One : (X, Y); END_TYPE", ["ST3006"]),
        ("FUNCTION F : INT F := F(); END_FUNCTION PROGRAM Main END_PROGRAM", ["ST4011"]),
        (f"{VERSIONS} PROGRAM P VAR n : INT; END_VAR n := Kind(TRUE); END_PROGRAM", ["ST4003"]),
        ("FUNCTION F : INT F := 1; END_FUNCTION FUNCTION F : INT F := 2; END_FUNCTION", ["ST3003"]),
        ("PROGRAM Main VAR r : REAL; END_VAR CASE r OF 1: ; END_CASE; END_PROGRAM", ["ST4010"]),
    ],
)
def test_strictness_when_the_standard_says_no_then_it_stays_an_error(text: str, found: list[str]) -> None:
    assert codes(text) == found


def test_outputs_when_two_units_write_bits_in_common_then_a_warning() -> None:
    one = "PROGRAM {} VAR x AT {} : {}; END_VAR x := {}; END_PROGRAM\n"
    word, bit = one.format("A", "%QW0", "WORD", 1), one.format("B", "%QX0.1", "BOOL", "TRUE")
    apart = one.format("B", "%QX2.0", "BOOL", "TRUE")
    assert codes(word + bit, warnings=True) == ["ST4105"]
    assert codes(word + apart, warnings=True) == []


def test_names_when_thousands_are_unknown_then_suggestions_stay_right() -> None:
    names = "; ".join(f"variable_number_{at:04} : INT" for at in range(400))
    text = f"PROGRAM Main VAR {names}; END_VAR\n" + "varible_number_0001 := 1;\n" * 3 + "END_PROGRAM"
    first = check_text(text).problems[0]
    assert (first.code, first.remedy) == ("ST3001", "did you mean variable_number_0001?")
