"""Commands around sources: ``fmt`` lays them out, ``lsp`` serves an editor."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Annotated

import typer

from runtime import console
from runtime.cli_node import JsonOption
from scan.problem import Place, Problem, TickworkError

app = typer.Typer()

SUFFIXES = (".st", ".ST", ".iecst")
DialectOption = Annotated[str, typer.Option("--dialect", help="iec, codesys, rusty or auto.")]


@app.command()
def fmt(
    paths: Annotated[list[pathlib.Path], typer.Argument(help="Files, or folders with *.st.")],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if something would.")
    ] = False,
    dialect: DialectOption = "auto",
    json: JsonOption = False,
) -> None:
    """Lay out sources of Structured Text; only white space changes.

    A file with errors of syntax is left as it is and its errors are shown. Example: tickwork fmt examples/water
    """
    from programs.format import format_source

    console.use_json(json)
    problems: list[Problem] = []
    changed: list[str] = []
    for path in _sources(paths, problems):
        try:
            text = path.read_bytes().decode("utf-8")
            laid_out = format_source(text, dialect, path=str(path))
        except TickworkError as error:
            problems += error.problems
            continue
        except (OSError, UnicodeDecodeError) as error:
            problems.append(_unreadable(path, str(error)))
            continue
        if laid_out != text:
            changed.append(str(path))
            if not check:
                path.write_bytes(laid_out.encode("utf-8"))
    if problems:
        console.show_problems(problems)
    if json and not problems:
        console.give({"ok": not (check and changed), "changed": changed})
    for name in changed:
        console.say(f"{name}: {'would change' if check else 'laid out'}")
    if problems or (check and changed):
        console.leave(console.PROBLEMS)


def _sources(paths: list[pathlib.Path], problems: list[Problem]) -> Iterator[pathlib.Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        elif path.exists():
            yield path
        else:
            problems.append(_unreadable(path, "there is no such file"))


def _unreadable(path: pathlib.Path, found: str) -> Problem:
    return Problem(
        "CL1010", "the source cannot be read", Place(str(path)), expected="a file in UTF-8", found=found,
        remedy="name existing files or folders with *.st",
    )  # fmt: skip


@app.command()
def lsp(dialect: DialectOption = "auto") -> None:
    """Serve an editor: the language server protocol on standard input and output.

    The VS Code extension in programs/lsp/vscode starts this. Example: tickwork lsp --dialect codesys
    """
    from programs.lsp.server import serve

    serve(dialect)
