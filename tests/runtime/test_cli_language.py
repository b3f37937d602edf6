"""``tickwork fmt`` on files, and ``tickwork lsp`` being there."""

import pathlib

import pytest
from typer.testing import CliRunner

from runtime.cli import app

UGLY = "PROGRAM p\nVAR x:INT;END_VAR\nIF x=1 THEN x:=2;END_IF;\nEND_PROGRAM\n"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["fmt", *arguments])
    return done.exit_code, done.output


def test_fmt_when_a_file_is_ugly_then_it_is_laid_out_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.st"
    path.write_text(UGLY)
    assert run("--check", str(path))[0] == 1
    assert path.read_text() == UGLY, "--check changes nothing"
    assert run(str(tmp_path))[0] == 0
    laid_out = path.read_text()
    assert laid_out != UGLY
    assert "".join(laid_out.split()) == "".join(UGLY.split())
    assert run("--check", str(path))[0] == 0


@pytest.mark.parametrize("data", [b"PROGRAM p IF END_PROGRAM", b"\xff\xfe\x00"])
def test_fmt_when_a_file_is_not_understood_then_it_stays_and_the_reason_is_told(
    tmp_path: pathlib.Path, data: bytes
) -> None:
    path = tmp_path / "a.st"
    path.write_bytes(data)
    assert run(str(path))[0] == 1
    assert path.read_bytes() == data


def test_fmt_when_a_file_is_missing_then_says_so(tmp_path: pathlib.Path) -> None:
    assert run(str(tmp_path / "none.st"))[0] == 1
