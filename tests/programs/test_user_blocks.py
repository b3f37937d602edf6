"""Blocks in Python as sources of a plant: from text to machine code, and everything that they may not do."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.artifact import open_artifact
from programs.building import (
    build_files,
    check_blocks,
    check_sources,
    compile_sources,
    program_digest,
    read_settings,
)
from programs.evaluate import Evaluator
from programs.native_cache import default_cache_dir
from programs.user_blocks import read_blocks
from scan.problem import TickworkError
from scan.virtual import VirtualEngine

PLANT = b'[node]\nname = "p"\n[program]\nsources = ["*.st", "*.py"]\n'
SETTINGS = read_settings(PLANT.decode(), "p")
LEAD = b'''"""Dynamic elements."""
import math
from typing import Any

from programs import block

LIMIT: float = 50.0


@block(inputs="X : LREAL; GAIN : LREAL := 2.0; TABLE : ARRAY[0..2] OF INT", outputs="Y : LREAL; N : DINT",
       state="_last : LREAL")
def lead(b: Any, context: Any) -> None:
    """A gain with a limit and the change since the last call."""
    change: float = b.X - b._last
    b.Y = min(b.X * b.GAIN + math.sqrt(abs(change)), LIMIT)
    b._last = b.X
    total = 0
    for index in range(3):
        total += b.TABLE[index]
    b.N = total if not context.first_scan else -1
'''
USE = b"""PROGRAM Main
VAR x : LREAL := 4.0; y : LREAL; n : DINT; t : ARRAY[0..2] OF INT := [1, 2, 3]; e : Lead; END_VAR
e(X := x, TABLE := t, Y => y, N => n);
END_PROGRAM
"""
WHERE = '@block(inputs="X : DINT", outputs="Y : DINT")\ndef f(b, context):\n    '


def codes(python: str | bytes, st_text: bytes = USE) -> list[str]:
    data = python.encode() if isinstance(python, str) else python
    found = check_sources(SETTINGS, {"main.st": st_text, "own.py": data})
    return [problem.code for problem in found.problems if problem.severity == "error"]


def test_block_when_called_from_st_then_compiled_and_evaluated_agree() -> None:
    sources = {"main.st": USE, "own.py": LEAD}
    program = check_sources(SETTINGS, sources).program
    assert program is not None
    evaluated = Evaluator(program)
    engine = VirtualEngine(compile_sources(SETTINGS, sources, cache_dir=default_cache_dir()))
    for scan, x in enumerate((4.0, 4.0, 9.0, 100.0)):
        engine.write("Main.x", x)
        assert engine.scan(scan * 10_000_000).fault is None
        symbol = evaluated.symbols["main.x"]
        evaluated.block[symbol.offset : symbol.offset + 8] = engine.block[symbol.offset : symbol.offset + 8]
        evaluated.context.first_scan = scan == 0
        assert evaluated.scan(scan * 10_000_000, program.tasks[0].name) == 0
        assert evaluated.read_path("Main.y") == engine.read("Main.y")
        assert evaluated.read_path("Main.n") == engine.read("Main.n")
    assert (engine.read("Main.y"), engine.read("Main.n")) == (50.0, 6)


def test_block_when_it_divides_by_zero_then_that_is_a_program_fault() -> None:
    sources = {
        "main.st": b"PROGRAM Main VAR e : F; END_VAR e(X := 0); END_PROGRAM",
        "own.py": f"from programs import block\n{WHERE}b.Y = 1 // b.X".encode(),
    }
    engine = VirtualEngine(compile_sources(SETTINGS, sources, cache_dir=default_cache_dir()))
    fault = engine.scan(0).fault
    assert fault is not None
    assert (fault.code, fault.pou, fault.file, fault.line) == ("RF1006", "F", "own.py", 4)


HELPERS = b"""from programs import block
import math

TOP = 8.0


def clamp(x, low, high):
    return min(max(x, low), high)


def root(x):
    guess = x
    while abs(guess * guess - x) > 1.0e-9:
        guess = (guess + x / guess) / 2.0
    return clamp(guess, 0.0, TOP)


@block(inputs="X : LREAL; N : DINT", outputs="Y : LREAL; Sum : DINT")
def shape(b, context):
    b.Y = root(b.X)
    total = 0
    for number in range(b.N):
        total += number
    while b.N < 0:
        total -= 1
    b.Sum = total
"""


def test_block_when_it_calls_functions_of_its_file_then_they_are_compiled_with_it() -> None:
    sources = {
        "main.st": b"PROGRAM Main VAR s : Shape; x : LREAL := 16.0; n : DINT := 5; END_VAR s(x, n); END_PROGRAM",
        "own.py": HELPERS,
    }  # fmt: skip
    engine = VirtualEngine(compile_sources(SETTINGS, sources, cache_dir=default_cache_dir()))
    assert engine.scan(0).fault is None
    assert (engine.read("Main.s.Y"), engine.read("Main.s.Sum")) == (pytest.approx(4.0), 10)
    engine.write("Main.x", 1.0e6)
    assert engine.scan(1).fault is None
    assert engine.read("Main.s.Y") == 8.0


def test_block_when_a_loop_does_not_end_then_the_fault_names_its_line() -> None:
    sources = {
        "main.st": b"PROGRAM Main VAR s : Shape; END_VAR s(X := 1.0, N := -1); END_PROGRAM",
        "own.py": HELPERS,
    }
    fault = VirtualEngine(compile_sources(SETTINGS, sources, cache_dir=default_cache_dir())).scan(0).fault
    assert fault is not None
    assert (fault.code, fault.pou, fault.file, fault.line) == ("RF1006", "SHAPE", "own.py", 24)


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ("b.Y = b.XX", "did you mean X?"), ("b.Y = mni(1, 2)", "did you mean min?"),
        ("context.now_ns = 1", "assign to a pin"),
    ],
)  # fmt: skip
def test_body_when_a_name_is_misspelt_or_read_only_then_the_remedy_says_so(body: str, remedy: str) -> None:
    found = read_blocks({"own.py": (WHERE + body).encode()})[1]
    assert [problem.code for problem in found] == ["ST5006"]
    assert remedy in found[0].remedy


def test_block_when_numba_cannot_compile_it_then_the_line_is_told() -> None:
    sources = {
        "main.st": b"PROGRAM Main VAR e : F; END_VAR e(X := 0); END_PROGRAM",
        "own.py": f'{WHERE}y = b.X\n    y = "text"\n    b.Y = y'.encode(),
    }
    with pytest.raises(TickworkError) as caught:
        compile_sources(SETTINGS, sources)
    (problem,) = caught.value.problems
    assert problem.code == "ST5003"
    assert problem.place.file == "own.py"
    assert problem.place.line >= 2


def test_check_when_numba_cannot_compile_a_block_then_it_says_so_before_anything_is_built() -> None:
    text = f'{WHERE}y = b.X\n    y = "text"\n    b.Y = y'
    program = check_sources(
        SETTINGS, {"main.st": b"PROGRAM Main END_PROGRAM", "own.py": text.encode()}
    ).program
    assert program is not None
    (problem,) = check_blocks(program)
    assert problem.code == "ST5003"
    text = f"def half(x):\n    return x / 2.0\n{WHERE}b.Y = int(half('a'))"
    program = check_sources(
        SETTINGS, {"main.st": b"PROGRAM Main END_PROGRAM", "own.py": text.encode()}
    ).program
    assert program is not None
    (problem,) = check_blocks(program)
    assert "/ cannot be applied to (text, number)" in problem.message
    assert (problem.place.line, problem.notes) == (2, ("called at own.py:5",))


def test_artifact_when_a_block_changes_then_the_program_is_another_one() -> None:
    sources = {"main.st": USE, "own.py": LEAD}
    artifact = open_artifact(build_files(PLANT, sources).data)
    assert artifact.sources()["own.py"] == LEAD
    changed = sources | {"own.py": LEAD.replace(b"50.0", b"60.0")}
    assert program_digest(SETTINGS, changed) != artifact.manifest.program
    engine = VirtualEngine(compile_sources(SETTINGS, changed, cache_dir=default_cache_dir()))
    engine.write("Main.x", 100.0)
    engine.scan(0)
    assert engine.read("Main.y") == 60.0


@pytest.mark.parametrize(
    "text",
    [
        "import os", "import math as m", "from os import system", "from . import x", "x = [1]", "print(1)",
        "class A: pass", "def f(b, x=1): pass", "def abs(x): pass",
        "@other\ndef f(b, context): pass", "f(", "\0", "(" * 500,
        "@block(inputs=TEXT)\ndef f(b, context): pass", "@block()\ndef f(b): pass",
        "@block()\ndef f(b, context=print()): pass", "@block(name='a b')\ndef f(b, context): pass",
        "@block(**x)\ndef f(b, context): pass", "async def f(b, context): pass", "abs = 3", "X = 10 ** 10",
        f"X = {1 << 64}",
    ],
)  # fmt: skip
def test_file_when_it_holds_anything_else_then_it_is_refused(text: str) -> None:
    assert set(codes(text, b"PROGRAM p END_PROGRAM")) == {"ST5006"}


@pytest.mark.parametrize(
    "body",
    [
        "open('x')", "b.Z = 1", "b.dump('x')", "b.__class__", "math.__loader__", "context.tofile('x')",
        "import os", "exec('1')", "(lambda: 1)()", "[x for x in range(3)]", "eval('1')", "x = {}", "b.X.real",
        "global q", "with b: pass", "def g(): pass", "yield", "b = 3", "math = 3", "f'{b.X}'", "__import__('os')",
        "try:\n        pass\n    except: pass", "del b", "max.__self__", "(x := 3)", "print(3)",
    ],
)  # fmt: skip
def test_body_when_it_does_more_than_calculate_then_it_is_refused(body: str) -> None:
    assert set(codes(WHERE + body, b"PROGRAM p END_PROGRAM")) == {"ST5006"}


@pytest.mark.parametrize(
    "body", ["b.Y = " + "not " * 900 + "b.X", "b.Y = " + "+".join(["b.X"] * 3000),
             "if b.X: b.Y = 1\n" + "    elif b.X: b.Y = 2\n" * 2000, "b.Y = " + "-" * 100_000 + "1"],
    ids=["not", "sum", "elif", "minus"],
)  # fmt: skip
def test_body_when_nested_without_measure_then_it_is_refused(body: str) -> None:
    assert set(codes(WHERE + body, b"PROGRAM p END_PROGRAM")) == {"ST5006"}


@pytest.mark.parametrize(
    ("pins", "code"),
    [
        ("X : STRING", "ST5001"), ("X DINT", "ST5002"), ("X : DINT := much", "ST5002"),
        ("X : ARRAY[a..b] OF INT", "ST5002"), ("X : ARRAY[3..1] OF INT", "ST5002"), ("X : INT; x : INT", "ST5002"),
    ],
)  # fmt: skip
def test_pins_when_they_cannot_be_then_the_reason_is_told(pins: str, code: str) -> None:
    text = f'@block(inputs="{pins}")\ndef f(b, context):\n    pass'
    assert codes(text, b"PROGRAM p END_PROGRAM") == [code]


@pytest.mark.parametrize(
    ("python", "st_text"),
    [
        ("@block()\ndef ton(b, context): pass", b"PROGRAM p END_PROGRAM"),
        (
            "@block()\ndef a(b, context): pass\n@block(name='A')\ndef c(b, context): pass",
            b"PROGRAM p END_PROGRAM",
        ),
        ("@block()\ndef p(b, context): pass", b"PROGRAM p END_PROGRAM"),
    ],
)
def test_name_when_it_is_taken_then_it_is_refused(python: str, st_text: bytes) -> None:
    assert codes(python, st_text) == ["ST3003"]


def test_file_when_read_then_nothing_of_it_has_run(tmp_path: pathlib.Path) -> None:
    mark = tmp_path / "ran"
    text = f"open({str(mark)!r}, 'w')\n{WHERE}b.Y = 1\nopen({str(mark)!r}, 'w')\n"
    assert codes(text, b"PROGRAM p END_PROGRAM")
    assert not mark.exists()


@given(st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=5)), max_size=5))
def test_file_when_damaged_anyhow_then_problems_come_in_our_form(damage: list[tuple[int, bytes]]) -> None:
    data = LEAD
    for at, added in damage:
        data = data[:at] + added + data[at + len(added) // 2 :]
    found, problems = read_blocks({"own.py": data})
    assert all(problem.code in ("ST5001", "ST5002", "ST5006", "ST3003") for problem in problems)
    assert found or problems or b"@block" not in data
