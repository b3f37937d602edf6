"""Libraries: vendored, pinned by digest, in their own namespace and dialect."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import programs
from programs.building import check_folder, read_folder
from programs.libraries import (
    FOLDER,
    LOCK,
    Locked,
    digest_of,
    read_library,
    read_lock,
    read_manifest,
    satisfies,
    split,
    write_lock,
)
from scan.problem import TickworkError

MANIFEST = '[library]\nname = "drives"\nversion = "1.4.2"\nnamespace = "Drives"\ndialect = "codesys"\n'
DRIVES = """
VAR_GLOBAL CONSTANT LIMIT_RPM : INT := 3000; END_VAR
TYPE Mode : (Off, Slow, Fast); END_TYPE
FUNCTION Half : INT VAR_INPUT pt : POINTER TO INT; END_VAR Half := pt^ / 2; END_FUNCTION
FUNCTION Unused : INT Unused := 1; END_FUNCTION
FUNCTION_BLOCK Motor
VAR_INPUT Rpm : INT; M : Mode; END_VAR VAR_OUTPUT Run : BOOL; w : WORD; END_VAR VAR unused : INT; END_VAR
Run := Half(ADR(Rpm)) > 0 AND Rpm < LIMIT_RPM;
w := Rpm;
END_FUNCTION_BLOCK
PROGRAM Demo VAR m : Motor; END_VAR m(); END_PROGRAM
"""
PLANT = """
PROGRAM Main VAR m : Motor; n : Drives.Motor; k : INT; END_VAR
m(Rpm := 100, M := Drives.Mode#Fast);
n(Rpm := Drives.LIMIT_RPM);
k := LIMIT_RPM;
END_PROGRAM
"""


def plant(folder: Path, text: str = PLANT, manifest: str = MANIFEST, drives: str = DRIVES) -> Path:
    """A plant with one library, as `tickwork library add` leaves it."""
    folder.joinpath("plant.toml").write_text('[node]\nname = "p"\n[program]\nsources = ["**/*.st"]\n')
    folder.joinpath("main.st").write_text(text)
    vendored = folder / FOLDER / "drives"
    vendored.mkdir(parents=True)
    vendored.joinpath("library.toml").write_text(manifest)
    vendored.joinpath("motor.st").write_text(drives)
    found, files = read_library(vendored)
    folder.joinpath(LOCK).write_bytes(write_lock((Locked("drives", found.version, digest_of(files)),)))
    return folder


def codes(folder: Path) -> list[str]:
    return [problem.code for problem in check_folder(folder).problems if problem.code != "ST4107"]


def test_plant_when_it_uses_a_library_of_another_dialect_then_only_that_is_kept(tmp_path: Path) -> None:
    result = check_folder(plant(tmp_path))
    assert [problem.code for problem in result.problems] == ["ST4107"]
    assert result.program is not None
    assert sorted(result.program.pous) == ["Drives.Half", "Drives.Motor", "Main"]
    assert [one.pou for one in result.program.instances] == ["Main"]


def test_plant_when_its_own_text_uses_the_librarys_dialect_then_it_is_refused(tmp_path: Path) -> None:
    text = "PROGRAM Main VAR w : WORD; i : INT; m : Motor; END_VAR m(Rpm := i); w := i; END_PROGRAM"
    assert "ST3006" in codes(plant(tmp_path, text))


def test_library_when_only_qualified_names_are_allowed_then_others_are_unknown(tmp_path: Path) -> None:
    assert "ST3002" in codes(plant(tmp_path, manifest=MANIFEST + "qualified_only = true\n"))


def test_library_when_the_plant_declares_the_same_name_then_the_plants_is_meant(tmp_path: Path) -> None:
    own = "FUNCTION_BLOCK Motor VAR_INPUT Rpm : INT; END_VAR END_FUNCTION_BLOCK\n"
    text = own + "PROGRAM Main VAR m : Motor; END_VAR m(Rpm := 1); END_PROGRAM"
    result = check_folder(plant(tmp_path, text))
    assert result.program is not None
    assert "Drives.Motor" not in result.program.pous


def test_library_when_it_is_changed_or_gone_then_the_build_ends(tmp_path: Path) -> None:
    folder = plant(tmp_path)
    source = folder / FOLDER / "drives" / "motor.st"
    source.write_text(DRIVES + " ")
    assert codes(folder) == ["AR3003"]
    with pytest.raises(TickworkError):
        programs.build(folder)
    source.parent.joinpath("library.toml").unlink()
    with pytest.raises(TickworkError) as missing:
        check_folder(folder)
    assert missing.value.problems[0].code == "AR3002"


@pytest.mark.parametrize("requires", ["base = '>=1'", "drives = '<1.4'"])
def test_library_when_what_it_requires_is_not_there_then_that_is_told(tmp_path: Path, requires: str) -> None:
    assert codes(plant(tmp_path, manifest=f"{MANIFEST}requires = {{ {requires} }}\n")) == ["AR3004"]


def test_artifact_when_the_plant_has_libraries_then_it_carries_them(tmp_path: Path) -> None:
    folder = plant(tmp_path)
    artifact = programs.build(folder)
    assert artifact.sources().keys() == read_folder(folder)[2].keys()
    assert {LOCK, f"{FOLDER}/drives/motor.st"} <= artifact.sources().keys()
    before = artifact.manifest.program
    vendored = folder / FOLDER / "drives"
    vendored.joinpath("motor.st").write_text(DRIVES.replace("3000", "1500"))
    folder.joinpath(LOCK).write_bytes(
        write_lock((Locked("drives", "1.4.2", digest_of(read_library(vendored)[1])),))
    )
    assert programs.build(folder).manifest.program != before


@pytest.mark.parametrize(
    ("version", "condition", "fits"),
    [
        ("1.4.2", ">=1.2, <2", True), ("2.0", ">=1.2, <2", False), ("1.4.2", "1.4", True), ("1.40", "1.4", False),
        ("1.4", "=1.4.0", True), ("1.4", ">1.4.0", False), ("1.10", ">1.9", True),
    ],
)  # fmt: skip
def test_version_when_there_is_a_condition_then_numbers_decide(
    version: str, condition: str, fits: bool
) -> None:
    assert satisfies(version, condition) == fits


@pytest.mark.parametrize(
    "line",
    [
        'version = "new"', 'name = "a b"', 'namespace = "A..B"', 'dialect = "st"', "sources = 3", 'other = "x"',
        'requires = { a = "~1" }',
    ],
)  # fmt: skip
def test_manifest_when_a_value_is_not_possible_then_it_says_which(line: str) -> None:
    key = line.split(" ")[0]
    lines = ['name = "a"', 'version = "1"']
    text = "[library]\n" + "\n".join([*(one for one in lines if not one.startswith(key)), line])
    with pytest.raises(TickworkError) as failed:
        read_manifest(text.encode(), "library.toml")
    assert failed.value.problems[0].code == "AR3001"


@given(st.binary(max_size=200))
def test_manifest_and_lock_when_any_bytes_then_read_or_refused(data: bytes) -> None:
    for read in (lambda: read_manifest(data, "x"), lambda: read_lock(data)):
        try:
            read()
        except TickworkError as error:
            assert error.problems[0].code == "AR3001"
    split({LOCK: data, f"{FOLDER}/a/library.toml": data})
