"""``tickwork test``: step tables on the water plant, and on programs that are wrong."""

import json
import pathlib
import re
import shutil
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from runtime import console
from runtime.cli import app
from runtime.step_coverage import Coverage
from runtime.step_player import holds
from runtime.step_report import as_junit
from runtime.step_runner import run_tables
from runtime.step_table import parse_table
from scan.abi import IecType, Symbol
from scan.problem import TickworkError

WATER = pathlib.Path(__file__).parents[2] / "examples" / "water"
HERE = pathlib.Path("tests/a.toml")
COUNTER = """
FUNCTION Twice : DINT VAR_INPUT x : DINT; END_VAR Twice := 2 * x; END_FUNCTION
FUNCTION_BLOCK Counter
VAR_INPUT Up : BOOL; Divisor : DINT := 1; END_VAR
VAR_OUTPUT Count : DINT; Name : STRING[8]; Mean : REAL; Parts : ARRAY[1..3] OF INT; END_VAR
IF Up THEN Count := Count + 1; END_IF;
Name := 'cnt';
Parts[2] := 7;
Mean := DINT_TO_REAL(Count / Divisor);
END_FUNCTION_BLOCK
FUNCTION_BLOCK Adder VAR_IN_OUT Sum : DINT; END_VAR Sum := Sum + 2; END_FUNCTION_BLOCK
PROGRAM Main VAR c : Counter; Held : BOOL; END_VAR
c(Up := TRUE);
Held := FALSE;
END_PROGRAM
"""


def plant(folder: pathlib.Path, table: str, text: str = COUNTER) -> pathlib.Path:
    (folder / "plant.toml").write_text('[node]\nname = "p"\n[program]\nsources = ["*.st"]\n')
    (folder / "main.st").write_text(text)
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "a.toml").write_text(table)
    return folder


def unit(steps: str, name: str = "Counter") -> str:
    return f'unit = "{name}"\nperiod = "T#10ms"\n[[case]]\nname = "one"\n{steps}'


def codes(folder: pathlib.Path, table: str) -> list[str]:
    (result,) = run_tables([plant(folder, table)], lambda _text: None)
    return [problem.code for problem in result.problems]


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["test", *arguments])
    console.use_json(False)
    return done.exit_code, done.output


@pytest.mark.parametrize(("plant_folder", "count"), [(WATER, 10), (WATER.parent / "blocks", 2)])
def test_example_when_the_program_is_right_then_all_cases_pass(
    plant_folder: pathlib.Path, count: int
) -> None:
    results = run_tables([plant_folder], lambda _text: None)
    assert len(results) >= count
    assert [one.problems for one in results if not one.passed] == []


@pytest.mark.parametrize(
    ("file", "right", "wrong", "failing"),
    [
        ("pump.st", "MinStandstill : TIME := T#3s", "MinStandstill : TIME := T#2s", "minimum standstill"),
        ("pump.st", "PT := T#500ms", "PT := T#50ms", "lost feedback"),
        ("main.st", "PT := T#3s", "PT := T#2s", "horn"),
        ("main.st", "Level2 > Level2High", "Level2 > Level2Low", "tank 2"),
        ("main.st", "* 0.1;", "* 0.2;", "totals"),
        ("main.st", "AND PlantOnline AND NOT SensorFault", "AND PlantOnline", "broken sensor"),
    ],
)
def test_water_when_the_program_is_broken_then_the_case_about_it_fails(
    tmp_path: pathlib.Path, file: str, right: str, wrong: str, failing: str
) -> None:
    folder = tmp_path / "water"
    shutil.copytree(WATER, folder)
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong, 1))
    failed = [one for one in run_tables([folder], lambda _text: None) if not one.passed]
    assert any(failing in one.name for one in failed), [one.name for one in failed]


def test_case_when_an_expectation_fails_then_message_has_values_line_scan_and_trace(
    tmp_path: pathlib.Path,
) -> None:
    table = unit('[[case.step]]\nset = { Up = true }\n[[case.step]]\nat = "T#50ms"\nexpect = { Count = 5 }\n')
    (result,) = run_tables([plant(tmp_path, table)], lambda _text: None)
    (problem,) = result.problems
    assert (problem.code, problem.expected, problem.found) == ("CL5004", "5", "6")
    assert problem.place.line == 9
    assert "scan 6" in problem.message
    assert "T#50ms" in problem.message
    assert re.split(r"\s{2,}", problem.notes[0]) == [
        "time", "scan", "Unit.Counter.Up", "Unit.Counter.Count"
    ]  # fmt: skip
    assert [re.split(r"\s{2,}", row)[3] for row in problem.notes[1:]] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[[case.step]]\nset = { Up = true }\nexpect = { Count = 1, Name = 'cnt', Parts = [0, 7, 0] }", []),
        ("[[case.step]]\nset = { Up = true }\nexpect = { Count = 3 }\nwithin = 'T#20ms'", []),
        ("[[case.step]]\nset = { Up = true }\nexpect = { Count = 4 }\nwithin = 'T#20ms'", ["CL5004"]),
        ("[[case.step]]\nalways = { Count = '< 3' }\nset.Up = true\n[[case.step]]\nat = 'T#20ms'", []),
        (
            "[[case.step]]\nalways = { Count = '< 3' }\nset.Up = true\n[[case.step]]\nat = 'T#30ms'",
            ["CL5004"],
        ),
        ("[[case.step]]\nset = { Divisor = 0 }", ["CL5005"]),
        ("[[case.step]]\nset = { Upp = true }", ["SC2001"]),
        ("[[case.step]]\nset = { Up = 17 }", ["SC2003"]),
        ("[[case.step]]\nexpect = { Count = 'many' }", ["SC2003"]),
        ("[[case.step]]\nrelease = ['Up']", ["CL5006"]),
        ("[[case.step]]\nat = 'T#400d'", ["CL5003"]),
        ("[[case.step]]\nexpect = { Count = '<> 0' }", ["CL5004"]),
        ("[[case.step]]\nset = { Up = true }\nexpect = { Mean = '>= 1.0', Name = '<= d' }", []),
    ],
)
def test_unit_when_played_then_the_result_is(tmp_path: pathlib.Path, steps: str, expected: list[str]) -> None:
    assert codes(tmp_path, unit(steps)) == expected


def test_unit_when_it_is_a_function_then_its_result_has_its_name(tmp_path: pathlib.Path) -> None:
    assert codes(tmp_path, unit("[[case.step]]\nset.x = 4\nexpect = { Twice = 8 }", "Twice")) == []


def test_unit_when_it_has_an_in_out_then_a_variable_of_the_test_is_bound(tmp_path: pathlib.Path) -> None:
    steps = '[[case.step]]\nset = { "Unit.Sum" = 4 }\nexpect = { "Unit.Sum" = 6 }'
    assert codes(tmp_path, unit(steps, "Adder")) == []


def test_program_when_a_variable_is_forced_then_it_holds_until_released(tmp_path: pathlib.Path) -> None:
    steps = (
        '[[case.step]]\nforce = { "Main.Held" = true }\nexpect = { "Main.Held" = true }\n'
        '[[case.step]]\nat = "T#50ms"\nrelease = ["Main.Held"]\nexpect = { "Main.Held" = false }\n'
    )
    assert codes(tmp_path, f'[[case]]\nname = "one"\n{steps}') == []


def test_table_when_it_brings_sources_then_a_unit_of_them_runs(tmp_path: pathlib.Path) -> None:
    table = 'sources = ["own.st"]\n' + unit("[[case.step]]\nexpect = { Passed = true }", "OwnTest")
    folder = plant(tmp_path, table)
    (folder / "tests" / "own.st").write_text(
        "FUNCTION_BLOCK OwnTest VAR_OUTPUT Passed : BOOL; END_VAR Passed := Twice(2) = 4; END_FUNCTION_BLOCK"
    )
    (result,) = run_tables([folder], lambda _text: None)
    assert result.problems == ()


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("[[case]", "PL1001"),
        ("", "PL1003"),
        ('[[case]]\nname = "a"', "PL1003"),
        ('[[case]]\nname = "a"\n[[case.step]]\nat = "soon"', "PL1004"),
        ('[[case]]\nname = "a"\n[[case.step]]\nat = "T#2s"\n[[case.step]]\nat = "T#1s"', "PL1005"),
        ('[[case]]\nname = "a"\n[[case.step]]\nexpects = { a = 1 }', "PL1002"),
        ('[[case]]\nname = "a"\n[[case.step]]\nset = { a.b = 1 }', "PL1004"),
        ('unit = "Countre"\n[[case]]\nname = "a"\n[[case.step]]', "AR2005"),
        ('sources = ["../main.st"]\n[[case]]\nname = "a"\n[[case.step]]', "CL5002"),
    ],
)
def test_table_when_it_is_wrong_then_the_place_is_told(tmp_path: pathlib.Path, table: str, code: str) -> None:
    with pytest.raises(TickworkError) as caught:
        run_tables([plant(tmp_path, table)], lambda _text: None)
    assert caught.value.code == code
    assert caught.value.problems[0].place.file.endswith("a.toml")


_DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.text("[]={}\"'#.\nTab1 ", max_size=6)), max_size=6)


@given(_DAMAGE)
def test_table_when_damaged_anyhow_then_it_is_read_or_refused_in_our_form(
    damage: list[tuple[int, str]],
) -> None:
    text = unit('[[case.step]]\nat = "T#1s"\nset = { Up = true }\nexpect = { Count = "> 3" }\n')
    for position, added in damage:
        at = position % (len(text) + 1)
        text = text[:at] + added + text[at + len(added) // 2 :]
    try:
        parse_table(text, HERE)
    except TickworkError as error:
        assert all(problem.code.startswith("PL10") for problem in error.problems)


@pytest.mark.parametrize(
    ("found", "sign", "wanted", "tolerance", "expected"),
    [
        (1.05, "=", 1.0, 0.1, True),
        (1.05, "=", 1.0, 0.01, False),
        (1.0000001, ">", 1.0, 0.0, False),
        (2.0, ">", 1.0, 0.0, True),
        (1.0, "<=", 1.0, 0.0, True),
        (float("nan"), "=", 1.0, 9.0, False),
        (float("nan"), ">=", 1.0, 9.0, False),
        (float("nan"), "<", 1.0, 9.0, False),
        (0.5, ">=", 1.0, 0.1, False),
    ],
)
def test_holds_when_reals_are_compared_then_tolerance_counts(
    found: float, sign: str, wanted: float, tolerance: float, expected: bool
) -> None:
    assert holds(Symbol("x", IecType.LREAL, 0, 8), found, sign, wanted, tolerance) is expected


def test_command_when_a_case_fails_then_exit_code_is_1_and_reports_say_so(tmp_path: pathlib.Path) -> None:
    folder = plant(tmp_path, unit("[[case.step]]\nexpect = { Count = 5 }"))
    report = tmp_path / "report.xml"
    code, output = command(str(folder), "--json", "--junit", str(report))
    assert code == 1
    assert json.loads(output)["cases"][0]["problems"][0]["code"] == "CL5004"
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "expected: 5; found: 0" in (failure.text or "")


def test_command_when_all_pass_then_exit_code_is_0(tmp_path: pathlib.Path) -> None:
    folder = plant(tmp_path, unit("[[case.step]]\nexpect = { Count = 0 }"))
    code, output = command(str(folder / "tests" / "a.toml"))
    assert (code, "1 of 1 cases passed" in output) == (0, True)


def test_plant_when_it_has_no_tests_then_that_is_no_success(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TickworkError, match="CL5001"):
        run_tables([tmp_path], lambda _text: None)


def test_junit_when_a_name_has_control_characters_then_the_file_is_still_xml(tmp_path: pathlib.Path) -> None:
    table = unit("[[case.step]]\nexpect = { Count = 5 }").replace('"one"', '"a\\u0001b"')
    results = run_tables([plant(tmp_path, table)], lambda _text: None)
    ElementTree.fromstring(as_junit(results))


def test_coverage_when_a_branch_is_not_reached_then_its_line_is_told(tmp_path: pathlib.Path) -> None:
    folder = plant(tmp_path, unit("[[case.step]]\nexpect = { Count = 0 }"))
    code, output = command(str(folder), "--coverage", "--json")
    lines = COUNTER.splitlines()
    counting = 1 + next(at for at, line in enumerate(lines) if "Count + 1" in line)
    assert code == 0
    # The IF and what it guards stand on one line; the lines of Twice and of Main have not run at all.
    found = json.loads(output)["coverage"]["main.st"]
    assert counting not in found["missing"]
    assert found["missing"] == [
        1 + at
        for at, line in enumerate(lines)
        if "Twice :=" in line or "Sum :=" in line or "c(Up" in line or "Held :=" in line
    ]
    assert found["run"] == found["lines"] - len(found["missing"])


def test_coverage_when_variables_are_forced_then_the_evaluator_holds_them_too(tmp_path: pathlib.Path) -> None:
    text = "PROGRAM Main VAR Go : BOOL; n : INT; END_VAR\nIF Go THEN\nn := n + 1;\nELSE\nn := 0;\nEND_IF;\nEND_PROGRAM"
    table = '[[case]]\nname = "a"\n[[case.step]]\nforce = { "Main.Go" = true }\nexpect = { "Main.n" = 1 }'
    coverage = Coverage()
    (result,) = run_tables([plant(tmp_path, table, text)], lambda _text: None, coverage)
    assert result.passed
    assert coverage.as_json() == {
        "main.st": {
            "lines": 3, "run": 2, "missing": [5], "branches": 2, "taken": 1, "missing_branches": ["2 ELSE"],
        }
    }  # fmt: skip
    assert coverage.report() == [
        " 66 % of 3 lines in main.st; not reached: 5",
        " 50 % of 2 branches in main.st; not taken: 2 ELSE",
    ]
