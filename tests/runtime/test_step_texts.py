"""``tickwork test``: tests written in Structured Text, mocks, branches."""

import pathlib
from xml.etree import ElementTree

import pytest

from runtime.step_coverage import Coverage
from runtime.step_report import as_junit
from runtime.step_runner import run_tables
from scan.problem import TickworkError

PLANT = """
FUNCTION_BLOCK Valve
VAR_INPUT Open : BOOL; END_VAR VAR_OUTPUT Opened : BOOL; END_VAR VAR t : TON; END_VAR
t(IN := Open, PT := T#2s);
Opened := t.Q;
END_FUNCTION_BLOCK
FUNCTION Level : REAL
VAR_INPUT raw : INT; END_VAR
IF raw < 0 THEN
    Level := 0.0;
ELSE
    Level := INT_TO_REAL(raw) / 10.0;
END_IF;
END_FUNCTION
FUNCTION_BLOCK Filling
VAR_INPUT Start : BOOL; Raw : INT; END_VAR VAR_OUTPUT Running : BOOL; END_VAR VAR v : Valve; END_VAR
v(Open := Start);
Running := v.Opened AND Level(Raw) < 50.0;
CASE Raw OF 1..9: ; 600: Running := FALSE; END_CASE;
END_FUNCTION_BLOCK
PROGRAM Main VAR f : Filling; END_VAR f(Start := TRUE); END_PROGRAM
"""
TESTS = """
FUNCTION_BLOCK FastValve
VAR_INPUT Open : BOOL; END_VAR VAR_OUTPUT Opened : BOOL; END_VAR
Opened := Open;
END_FUNCTION_BLOCK
FUNCTION HalfFull : REAL VAR_INPUT raw : INT; END_VAR HalfFull := 50.0; END_FUNCTION

TEST 'runs when the valve is open'
VAR f : Filling; n : INT; END_VAR
    f(Start := TRUE, Raw := 100);
    ASSERT_FALSE(f.Running);
    FOR n := 1 TO 20 DO
        ADVANCE_TIME(T#100ms);
        f();
    END_FOR;
    ASSERT_EQ(f.v.t.ET, T#2s, 'the timer of the valve');
    ASSERT_TRUE(f.Running);
    ASSERT_NEAR(Level(123), 12.3, 1.0E-5);
    ASSERT_GT(n, 20);
END_TEST

{attribute 'mock' := 'Valve = FastValve'}
TEST 'runs at once with a fast valve'
VAR f : Filling; END_VAR
    f(Start := TRUE, Raw := 100);
    ASSERT_TRUE(f.Running);
END_TEST

{attribute 'mock' := 'Level = HalfFull, TON'}
TEST 'does not run when it is full'
VAR f : Filling; END_VAR
    f.v.t.Q := TRUE;
    f(Start := TRUE, Raw := 100);
    ASSERT_TRUE(f.v.Opened);
    ASSERT_FALSE(f.Running);
END_TEST

TEST 'a whole program'
VAR p : Main; END_VAR
    p(); ADVANCE_TIME(T#3s); p();
    ASSERT_TRUE(p.f.Running);
END_TEST
"""
FAILING = """
TEST 'too early'
VAR f : Filling; n : INT; END_VAR
    FOR n := 1 TO 3 DO
        f(Start := TRUE, Raw := 100);
        ADVANCE_TIME(T#1s);
    END_FOR;
    ASSERT_EQ(n + 1, 7, CONCAT('n is ', INT_TO_STRING(n)));
END_TEST
TEST 'divides'
VAR a, b : INT; END_VAR
    a := 1 / b;
END_TEST
"""


def plant(folder: pathlib.Path, tests: str, table: str = "") -> pathlib.Path:
    (folder / "plant.toml").write_text('[node]\nname = "p"\n[program]\nsources = ["*.st"]\n')
    (folder / "main.st").write_text(PLANT)
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "filling.st").write_text(tests)
    if table:
        (folder / "tests" / "a.toml").write_text(table)
    return folder


def test_tests_in_st_when_they_hold_then_passed_with_their_time_and_branches(tmp_path: pathlib.Path) -> None:
    coverage = Coverage()
    results = run_tables([plant(tmp_path, TESTS)], lambda _text: None, coverage)
    assert [(one.name, one.problems, one.duration_ns) for one in results] == [
        ("runs when the valve is open", (), 2_000_000_000),
        ("runs at once with a fast valve", (), 0),
        ("does not run when it is full", (), 0),
        ("a whole program", (), 3_000_000_000),
    ]
    assert [line for line in coverage.report() if "branches in main.st" in line] == [
        " 40 % of 5 branches in main.st; not taken: 9 THEN, 19 1..9, 19 600"
    ]


def test_tests_in_st_when_one_fails_then_place_values_and_trace(tmp_path: pathlib.Path) -> None:
    results = run_tables([plant(tmp_path, FAILING) / "tests" / "filling.st"], lambda _text: None)
    (early,), (divides,) = (one.problems for one in results)
    assert (early.code, early.place.line, early.place.column) == ("CL5004", 8, 5)
    assert early.message == "too early: n is 4"
    assert (early.expected, early.found) == ("7", "5")
    assert any("T#2s" in note and "TRUE" in note for note in early.notes)
    assert (divides.code, divides.place.line) == ("CL5005", 12)
    suites = ElementTree.fromstring(as_junit(results))
    assert [case.get("name") for case in suites.iter("testcase")] == ["too early", "divides"]


def test_step_table_when_units_are_mocked_then_they_stand_in(tmp_path: pathlib.Path) -> None:
    table = """
sources = ["filling.st"]
unit = "Filling"
[mock]
Valve = ""
Level = "HalfFull"
[[case]]
name = "the outputs of the valve are what the steps set"
[[case.step]]
set = { Start = true, "v.Opened" = true, Raw = 100 }
expect = { Running = false }
"""
    results = run_tables([plant(tmp_path, TESTS, table) / "tests" / "a.toml"], lambda _text: None)
    assert [one.problems for one in results] == [()]


@pytest.mark.parametrize(
    ("mock", "meant"), [("Valve = FastValv", "FastValve"), ("Valv", "Valve"), ("Nothing = Nobody", "")]
)
def test_mock_when_there_is_none_then_it_says_so(tmp_path: pathlib.Path, mock: str, meant: str) -> None:
    text = TESTS.replace("'Valve = FastValve'", f"'{mock}'")
    with pytest.raises(TickworkError) as failed:
        run_tables([plant(tmp_path, text)], lambda _text: None)
    errors = [problem.code for problem in failed.value.problems if problem.severity == "error"]
    assert errors == ["AR2006"]
    assert meant in failed.value.problems[0].remedy


def test_program_when_its_sources_hold_tests_then_they_are_no_part_of_it(tmp_path: pathlib.Path) -> None:
    import programs

    folder = plant(tmp_path, TESTS)
    (folder / "more.st").write_text("TEST 'x' ASSERT_TRUE(TRUE); END_TEST")
    program = programs.check_folder(folder).program
    assert program is not None
    assert not [key for key in program.pous if "Test" in key]
