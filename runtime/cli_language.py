"""Commands around sources: ``fmt`` lays out, ``test`` runs step tables, ``doc`` writes pages, ``lsp`` serves."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Annotated

import typer

from programs.libraries import MANIFEST
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


@app.command("test")
def run_tests(
    paths: Annotated[
        list[pathlib.Path] | None,
        typer.Argument(help="Plant folders, or step tables in their tests/ folder."),
    ] = None,
    junit: Annotated[
        pathlib.Path | None, typer.Option("--junit", help="Also write the results as JUnit XML.")
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Also tell which lines the cases do not reach.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run the step tables of a plant: its program in virtual time, what it must do at which time.

    Exit code 0 if all pass, 1 otherwise. Example: tickwork test examples/water
    """
    from runtime.step_coverage import Coverage
    from runtime.step_report import as_json, as_junit
    from runtime.step_runner import run_tables

    console.use_json(json)
    with console.progress("testing") as tell:
        reached = Coverage() if coverage else None
        results = run_tables(paths or [pathlib.Path()], tell, reached)
    if junit is not None:
        console.write_report(junit, as_junit(results))
    if json:
        console.give(as_json(results) | ({"coverage": reached.as_json()} if reached else {}))
    for result in results:
        console.say(
            f"{'passed' if result.passed else 'FAILED'}  {pathlib.Path(result.table).name}: {result.name}"
        )
    for line in reached.report() if reached else ():
        console.say(line)
    failed = [problem for result in results for problem in result.problems]
    if failed and not json:
        console.show_problems(failed)
    passed = sum(result.passed for result in results)
    seconds = sum(result.duration_ns for result in results) / 1e9
    console.say(f"{passed} of {len(results)} cases passed; {seconds:g} s of virtual time")
    if passed != len(results):
        console.leave(console.PROBLEMS)


@app.command()
def doc(
    plant: Annotated[
        pathlib.Path, typer.Argument(help="Folder with plant.toml or library.toml.")
    ] = pathlib.Path(),
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", help="File to write, .md or .html; default: Markdown, shown here."),
    ] = None,
) -> None:
    """Write the interface of a program or library: its units with pins, units, ranges and comments.

    Example: tickwork doc examples/water -o water.html
    """
    from programs.interface_pages import as_html

    title, page = _library_page(plant) if (plant / MANIFEST).exists() else _plant_page(plant)
    if output is None:
        typer.echo(page, nl=False)
        return
    html = output.suffix.lower() in (".html", ".htm")
    console.write_report(output, (as_html(page, title) if html else page).encode())
    console.say(f"{output}: {len(page.splitlines())} lines")


def _plant_page(plant: pathlib.Path) -> tuple[str, str]:
    import programs
    from programs.interface_pages import interface_page

    settings, _, sources = programs.read_folder(plant)
    result = programs.check_sources(settings, sources)
    if result.program is None:
        raise TickworkError(*result.problems)
    return settings.name, interface_page(settings, sources, result.program.blocks)


def _library_page(folder: pathlib.Path) -> tuple[str, str]:
    from programs.building import Settings
    from programs.interface_pages import interface_page
    from programs.libraries import read_library

    manifest, files = read_library(folder)
    settings = Settings(f"{manifest.name} {manifest.version}", manifest.sources, manifest.dialect, ())
    sources = {path: data for path, data in files.items() if path != MANIFEST}
    return settings.name, interface_page(settings, sources, {})
