"""Commands for plants and programs on this machine: check, build, explain."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer
from rich.markdown import Markdown

from runtime import console, errors_pages
from runtime.cli_node import JsonOption
from runtime.plant import load_plant
from scan.problem import Problem, TickworkError

app = typer.Typer()

PlantArgument = Annotated[pathlib.Path, typer.Argument(help="Folder with plant.toml.")]


@app.command()
def check(
    plant: PlantArgument = pathlib.Path(),
    json: JsonOption = False,
    sarif: Annotated[
        pathlib.Path | None, typer.Option("--sarif", help="Also write the problems as SARIF 2.1.0.")
    ] = None,
) -> None:
    """Check a plant file and its program, without running anything.

    Exit code 0 without errors, 1 with errors. Example: tickwork check examples/water
    """
    console.use_json(json)
    try:
        problems, ok, summary = _checked(plant)
    except TickworkError as error:
        problems, ok, summary = error.problems, False, ""
    if sarif is not None:
        from runtime.sarif import as_sarif

        console.write_report(sarif, as_sarif(problems, plant))
    console.show_problems(problems)
    if not ok:
        console.leave(console.PROBLEMS)
    console.say(summary)


def _checked(plant: pathlib.Path) -> tuple[tuple[Problem, ...], bool, str]:
    """Problems, whether there is no error among them, and a summary for people."""
    from runtime.build_job import check_plant

    read = load_plant(plant)
    with console.progress(f"checking {read.name}"):
        report = check_plant(read)
    return (*read.warnings, *report.problems), report.ok, f"{read.name}: {report.summary}"


@app.command()
def build(
    plant: PlantArgument = pathlib.Path(),
    output: Annotated[
        pathlib.Path | None, typer.Option("--output", "-o", help="Artifact to write; default: NAME.twa here.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Build a plant into an artifact that can be deployed.

    Example: tickwork build examples/water -o water.twa
    """
    import hashlib

    from runtime.build_job import artifact_of

    console.use_json(json)
    read = load_plant(plant)
    with console.progress(f"building {read.name}"):
        data = artifact_of(read.folder)
    path = output or pathlib.Path(f"{read.name}.twa")
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    if json:
        console.give({"ok": True, "artifact": str(path), "digest": digest, "size": len(data)})
    console.say(f"{path} ({len(data)} bytes, {digest[:12]})")


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="Code of a message, for example ST2001.")] = "",
    json: JsonOption = False,
) -> None:
    """Explain the code of a message: when, example, why, fix. Without a code: list all.

    Example: tickwork explain PL1002
    """
    console.use_json(json)
    if code:
        text = errors_pages.page(code)
        if json:
            console.give({"code": code.upper(), "page": text})
        else:
            console.out.print(Markdown(text))
        return
    titles = {name: errors_pages.title(path) for name, path in errors_pages.known().items()}
    if json:
        console.give(titles)
    for name, title in titles.items():
        console.say(f"{name}  {title}")
