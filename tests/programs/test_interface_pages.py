"""``tickwork doc``: pages from declarations, comments and attributes."""

import pathlib

import pytest
from typer.testing import CliRunner

from programs.building import check_sources, read_settings
from programs.interface_pages import interface_page
from runtime.cli import app

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
TEXT = b"""
(* A <b>pump</b> | with *stars*. *)
FUNCTION_BLOCK Pump
VAR_INPUT
    {attribute 'unit' := 'l/s'} {attribute 'low' := '0'} {attribute 'high' := '12'}
    Flow : REAL := 1.5;  (* what is wanted *)
END_VAR
VAR_OUTPUT Run : BOOL; END_VAR
VAR Inner : INT; END_VAR
METHOD PUBLIC Start : BOOL  VAR_INPUT Fast : BOOL; END_VAR  Start := Fast; END_METHOD
METHOD PRIVATE Secret : BOOL  Secret := TRUE; END_METHOD
Inner := Inner + 1;
Run := Flow > 0.0;
END_FUNCTION_BLOCK
PROGRAM Main VAR p : Pump; END_VAR p(); END_PROGRAM
"""


def page(sources: dict[str, bytes]) -> str:
    settings = read_settings('[node]\nname = "plant"\n', "plant")
    program = check_sources(settings, sources).program
    assert program is not None
    return interface_page(settings, sources, program.blocks)


def test_page_when_a_block_is_declared_then_pins_and_comments_are_on_it() -> None:
    text = page({"a.st": TEXT})
    assert "`FUNCTION_BLOCK Pump` in a.st" in text
    assert "| `Flow : REAL := 1.5` | 0 to 12 l/s | what is wanted |" in text
    assert "| `Run : BOOL` |  |  |" in text
    assert "`METHOD Start : BOOL`" in text


def test_page_when_a_member_is_private_then_it_is_left_out() -> None:
    text = page({"a.st": TEXT})
    assert "Secret" not in text
    assert "Inner" not in text


def test_page_when_a_comment_has_markup_then_it_is_shown_as_text() -> None:
    assert r"A &lt;b>pump&lt;/b> \| with \*stars\*." in page({"a.st": TEXT})


def test_page_when_a_block_is_written_in_python_then_it_is_on_it() -> None:
    head = b'@block(inputs="X : INT := 3", outputs="Y : INT")\n'
    python = head + b'def twice(b, context):\n    "Doubles."\n    b.Y = 2 * b.X'
    text = page({"a.st": TEXT, "own.py": python})
    assert "### TWICE" in text
    assert "Doubles." in text
    assert "| `X : INT := 3` |" in text


@pytest.mark.parametrize(("plant", "expected"), [("water", "### PumpSequence"), ("blocks", "### LEAD\\_LAG")])
def test_doc_when_called_for_an_example_then_its_units_are_written(
    tmp_path: pathlib.Path, plant: str, expected: str
) -> None:
    output = tmp_path / "page.md"
    done = CliRunner().invoke(app, ["doc", str(EXAMPLES / plant), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert expected in output.read_text()


def test_doc_when_the_program_has_errors_then_there_is_no_page(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plant.toml").write_text('[node]\nname = "p"\n')
    (tmp_path / "a.st").write_text("PROGRAM p x := 1; END_PROGRAM")
    output = tmp_path / "page.md"
    assert CliRunner().invoke(app, ["doc", str(tmp_path), "-o", str(output)]).exit_code == 1
    assert not output.exists()


def test_page_when_written_as_html_then_it_stands_alone_and_texts_are_escaped() -> None:
    from programs.interface_pages import as_html

    page = as_html("# P\n\n### Pump\n\n| Inputs |\n|---|\n| `a : INT` |\n\n<script>x</script>\n", "P & Q")
    assert '<a href="#u0">Pump</a>' in page
    assert '<h3 id="u0">Pump</h3>' in page
    assert "<td><code>a : INT</code></td>" in page
    assert "<title>P &amp; Q</title>" in page
    assert "<script" not in page
    assert "http" not in page
