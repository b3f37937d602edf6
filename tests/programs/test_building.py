"""From folders and artifacts to applications, and the job that does it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import programs
from programs.native_cache import Cache
from scan.abi import decode_application
from scan.loader import load
from scan.problem import TickworkError

PLANT = '[node]\nname = "demo"\n\n[program]\nsources = ["*.st"]\n'
SOURCE = """
PROGRAM Main
VAR n : DINT; t : TON; END_VAR
n := n + 1;
t(IN := n > 3, PT := T#50ms);
END_PROGRAM
CONFIGURATION C
TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
PROGRAM Main WITH Fast : Main;
END_CONFIGURATION
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    plant = tmp_path / "plant"
    plant.mkdir()
    (plant / "plant.toml").write_text(PLANT)
    (plant / "main.st").write_text(SOURCE)
    return plant


def code_of(folder: Path) -> str:
    with pytest.raises(TickworkError) as caught:
        programs.build(folder)
    return caught.value.code


def test_build_when_folder_is_good_then_artifact_compiles_to_the_same_program(
    folder: Path, tmp_path: Path
) -> None:
    artifact = programs.build(folder)
    again = programs.open_artifact(artifact.data)
    application = programs.compile_artifact(again, cache_dir=tmp_path / "cache")
    assert again.digest == artifact.digest
    assert application.digest == artifact.manifest.program
    assert application.symbols == artifact.symbols()
    assert application == programs.compile_artifact(folder, cache_dir=tmp_path / "cache")
    assert load(application).entry("task.Fast") != 0


def test_build_when_sources_change_then_program_digest_changes(folder: Path) -> None:
    before = programs.build(folder).manifest.program
    (folder / "main.st").write_text(SOURCE.replace("n + 1", "n + 2"))
    assert programs.build(folder).manifest.program != before


def test_build_when_only_devices_change_then_program_digest_stays(folder: Path) -> None:
    before = programs.build(folder)
    (folder / "plant.toml").write_text(PLANT + "\n[scan]\nwatchdog_ms = 5\n")
    after = programs.build(folder)
    assert after.manifest.program == before.manifest.program and after.digest != before.digest


def test_build_when_plant_file_sets_a_period_then_the_task_has_it(folder: Path, tmp_path: Path) -> None:
    (folder / "plant.toml").write_text(PLANT + '\n[[task]]\nname = "fast"\nperiod_ms = 2.5\n')
    application = programs.compile_artifact(folder, cache_dir=tmp_path)
    assert application.tasks[0].period_ns == 2_500_000


def test_build_when_plant_file_names_an_unknown_task_then_problem(folder: Path) -> None:
    (folder / "plant.toml").write_text(PLANT + '\n[[task]]\nname = "fats"\n')
    assert code_of(folder) == "AR2004"


def test_build_when_folder_is_wrong_then_problem(folder: Path, tmp_path: Path) -> None:
    assert code_of(tmp_path) == "AR2001"
    (folder / "plant.toml").write_text("[program\n")
    assert code_of(folder) == "AR2001"
    (folder / "plant.toml").write_text('[program]\nsources = "main.st"\n')
    assert code_of(folder) == "AR2001"
    (folder / "plant.toml").write_text('[program]\nsources = ["src/*.st"]\n')
    assert code_of(folder) == "AR2002"


def test_build_when_a_source_leads_out_of_the_folder_then_problem(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.st").write_text("")
    (folder / "link.st").symlink_to(tmp_path / "outside.st")
    assert code_of(folder) == "AR2003"


def test_build_when_the_program_is_wrong_then_its_problems(folder: Path) -> None:
    (folder / "main.st").write_text(SOURCE.replace("n + 1", "missing + 1"))
    assert code_of(folder).startswith("ST")
    result = programs.check_folder(folder)
    assert result.program is None and result.problems[0].place.line == 4


def test_build_when_variables_need_too_much_memory_then_problem(folder: Path) -> None:
    (folder / "main.st").write_text(
        SOURCE.replace("n : DINT;", "n : DINT; a : ARRAY[1..300000000] OF LREAL;")
    )
    assert code_of(folder) in ("ST5004", "ST3024") or code_of(folder).startswith("ST")


def test_job_when_run_then_it_tells_in_json_lines_and_writes_the_application(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "demo.app"
    command = [
        sys.executable,
        "-m",
        "programs.native",
        str(folder),
        "--out",
        str(out),
        "--cache",
        str(tmp_path / "c"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert events[-1]["event"] == "built" and {one["event"] for one in events[:-1]} == {"progress"}
    assert decode_application(out.read_bytes()).digest == events[-1]["digest"]


def test_job_when_the_artifact_is_bad_then_problems_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad.twa").write_bytes(b"bad")
    command = [
        sys.executable,
        "-m",
        "programs.native",
        str(tmp_path / "bad.twa"),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert event["event"] == "problems" and event["problems"][0]["code"] == "AR1001"


def test_cache_when_a_file_is_torn_or_foreign_then_it_counts_as_missing(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("abcd", b"content")
    assert cache.get("abcd") == b"content"
    (tmp_path / "ab" / "abcd").write_bytes((tmp_path / "ab" / "abcd").read_bytes()[:-1])
    assert cache.get("abcd") is None
    assert Cache(None).get("abcd") is None


def test_cache_when_folder_cannot_be_written_then_compiling_goes_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert programs.compile_artifact(folder, cache_dir=tmp_path / "file").tasks


def test_recompile_when_one_pou_changes_then_only_it_and_its_users_are_compiled(
    folder: Path, tmp_path: Path
) -> None:
    from programs.building import checked, read_folder
    from programs.native import compile_program

    pous = "".join(
        f"FUNCTION F{n} : DINT VAR_INPUT x : DINT; END_VAR F{n} := x * {n}; END_FUNCTION\n" for n in range(6)
    )
    calls = "".join(f"n := F{n}(n);" for n in range(3))
    (folder / "main.st").write_text(pous + SOURCE.replace("n := n + 1;", calls))

    def misses() -> int:
        settings, _, sources = read_folder(folder)
        cache = Cache(tmp_path / "cache")
        compile_program(checked(settings, sources)[0], digest="", cache=cache)
        return cache.misses

    misses()
    assert misses() == 0
    text = (folder / "main.st").read_text()
    (folder / "main.st").write_text(text.replace("x * 2", "x * 22"))
    assert misses() == 2  # F2, and Main into which it is inlined
