"""``tickwork library``: folders and archives into a plant and out of it."""

import io
import pathlib
import tarfile
import zipfile

import pytest
from typer.testing import CliRunner

from runtime import console
from runtime.cli import app
from scan.problem import TickworkError

MANIFEST = '[library]\nname = "drives"\nversion = "{}"\n'
SOURCE = "FUNCTION Twice : INT VAR_INPUT x : INT; END_VAR Twice := 2 * x; END_FUNCTION\n"


def library(folder: pathlib.Path, version: str = "1.0") -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "library.toml").write_text(MANIFEST.format(version))
    (folder / "LICENSE").write_text("free")
    (folder / "twice.st").write_text(SOURCE)
    return folder


def plant(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    (folder / "plant.toml").write_text('[node]\nname = "p"\n[program]\nsources = ["*.st"]\n')
    (folder / "main.st").write_text("PROGRAM Main VAR n : INT; END_VAR n := Twice(n + 1); END_PROGRAM\n")
    return folder


def run(*arguments: str | pathlib.Path) -> None:
    console.use_json(False)
    result = CliRunner().invoke(app, ["library", *map(str, arguments)])
    if isinstance(result.exception, TickworkError):
        raise result.exception
    assert result.exit_code == 0, result.output


def refused(*arguments: str | pathlib.Path) -> str:
    with pytest.raises(TickworkError) as failed:
        run(*arguments)
    return failed.value.problems[0].code


def test_library_when_packed_and_added_then_the_plant_uses_it(tmp_path: pathlib.Path) -> None:
    home = plant(tmp_path / "plant")
    archive = tmp_path / "drives.zip"
    run("pack", library(tmp_path / "lib"), "-o", archive)
    first = archive.read_bytes()
    run("pack", tmp_path / "lib", "-o", archive)
    assert archive.read_bytes() == first
    run("add", archive, "--plant", home)
    run("list", "--plant", home)
    assert CliRunner().invoke(app, ["check", str(home)]).exit_code == 0
    run("remove", "DRIVES", "--plant", home)
    assert not (home / "libraries.lock").exists()
    assert CliRunner().invoke(app, ["check", str(home)]).exit_code == 1


def test_library_when_there_is_another_version_then_only_replace_changes_it(tmp_path: pathlib.Path) -> None:
    home = plant(tmp_path / "plant")
    run("add", library(tmp_path / "one"), "--plant", home)
    assert (home / "libraries" / "drives" / "LICENSE").read_text() == "free"
    two = library(tmp_path / "two", "2.0")
    assert refused("add", two, "--plant", home) == "AR3004"
    assert refused("add", two, "--plant", home, "--replace", "--sha256", "00") == "AR3003"
    run("add", two, "--plant", home, "--replace")
    assert 'version = "2.0"' in (home / "libraries.lock").read_text()


def tar_with(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


def zip_with(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zip_with("../evil")), ("a.zip", zip_with("/evil")), ("a.tar.gz", tar_with("../evil")),
        ("a.tgz", tar_with("a/b")), ("a.zip", b"PK\x03\x04 no"), ("a.tar.gz", b"no"), ("a.rar", b"x"),
    ],
    ids=range(7),  # the archives hold the time at which they were made
)  # fmt: skip
def test_library_when_the_archive_is_none_then_it_is_refused(
    tmp_path: pathlib.Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    assert refused("add", tmp_path / name, "--plant", plant(tmp_path / "plant")) == "AR3005"
    assert not (tmp_path / "evil").exists()
