"""``tickwork check --sarif``: what a code host shows beside the line."""

import json
import pathlib

from typer.testing import CliRunner

from runtime import console
from runtime.cli import app
from runtime.sarif import as_sarif
from scan.problem import Place, Problem

PLANT = '[node]\nname = "p"\n[program]\nsources = ["*.st"]\n'


def check(folder: pathlib.Path, text: str, plant: str = PLANT) -> tuple[int, list[dict[str, object]]]:
    (folder / "plant.toml").write_text(plant)
    (folder / "main.st").write_text(text)
    report = folder / "report.sarif"
    done = CliRunner().invoke(app, ["check", str(folder), "--sarif", str(report)])
    console.use_json(False)
    document = json.loads(report.read_text())
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
    return done.exit_code, run["results"]


def test_sarif_when_there_are_errors_then_each_has_its_place(tmp_path: pathlib.Path) -> None:
    code, results = check(tmp_path, "PROGRAM p VAR x : INT; END_VAR\n  x := yy;\nEND_PROGRAM\n")
    assert code == 1
    (found,) = [one for one in results if one["level"] == "error"]
    assert found["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "main.st", "uriBaseId": "PLANT"},
                "region": {"startLine": 2, "startColumn": 8, "endColumn": 10},
            }
        }
    ]


def test_sarif_when_all_is_well_then_there_is_no_error(tmp_path: pathlib.Path) -> None:
    code, results = check(tmp_path, "PROGRAM p VAR x : INT; END_VAR\n  x := x + 1;\nEND_PROGRAM\n")
    assert code == 0
    assert [one for one in results if one["level"] == "error"] == []


def test_sarif_when_the_plant_file_is_wrong_then_that_is_a_result_too(tmp_path: pathlib.Path) -> None:
    code, results = check(tmp_path, "", PLANT + "wrong_key = 1\n")
    assert code == 1
    assert "PL1002" in [one["ruleId"] for one in results]


def test_sarif_when_a_file_is_elsewhere_or_unknown_then_the_address_is_whole_or_left_out() -> None:
    problems = [Problem("ST2001", "a", Place("/other/a b.st", 3)), Problem("ST2001", "b", severity="warning")]
    first, second = json.loads(as_sarif(problems, pathlib.Path("/plant")))["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "file:///other/a%20b.st"},
        "region": {"startLine": 3},
    }
    assert "locations" not in second


def test_sarif_when_the_report_cannot_be_written_then_says_so(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plant.toml").write_text(PLANT)
    (tmp_path / "main.st").write_text("PROGRAM p END_PROGRAM")
    done = CliRunner().invoke(app, ["check", str(tmp_path), "--sarif", str(tmp_path / "none" / "x")])
    assert done.exit_code == 1
