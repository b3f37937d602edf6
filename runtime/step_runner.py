"""From plants and step tables on disk to results: what is compiled once for each table, and its cases played."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable

import msgspec

import programs
from programs import hir
from programs.building import checked
from programs.unit import compile_unit
from runtime.plant import FILE_NAME
from runtime.scan_host import engine_cache
from runtime.step_coverage import Coverage, EvaluatedEngine
from runtime.step_player import CaseResult, Player
from runtime.step_table import FOLDER, StepTable, find_tables, read_table
from scan.abi import Application
from scan.problem import Place, Problem, TickworkError, fail


def run_tables(
    paths: Iterable[pathlib.Path], tell: Callable[[str], None], coverage: Coverage | None = None
) -> list[CaseResult]:
    """The cases of all tables in ``paths`` (plant folders or single tables), in order.

    ``coverage`` takes the lines that they reach.

    Raises TickworkError for tables and programs that are wrong; a case that fails is a result.
    """
    tables = [table for path in paths for table in (find_tables(path) if path.is_dir() else [path])]
    read = [read_table(path) for path in tables]
    results = []
    for table in read:
        tell(f"compiling for {table.path.name}")
        application, prefix, program = _compile(table)
        player = Player(application, table, prefix=prefix)
        for case in table.cases:
            tell(f"{table.path.name}: {case.name}")
            results.append(_in_plant(player.play(case), plant_of(table.path)))
        if coverage is not None:
            tell(f"coverage of {table.path.name}")
            _cover(table, application, prefix, program(), coverage)
    return results


def plant_of(table: pathlib.Path) -> pathlib.Path:
    """The plant that a table belongs to: the folder around ``tests``. Raises CL5002."""
    folder = table.absolute().parent.parent
    if table.absolute().parent.name != FOLDER or not (folder / FILE_NAME).exists():
        raise fail(
            "CL5002", "the step table belongs to no plant", place=Place(str(table)),
            expected=f"PLANT/{FOLDER}/{table.name} beside PLANT/{FILE_NAME}", remedy="move it into a plant's folder",
        )  # fmt: skip
    return folder


def _cover(
    table: StepTable, application: Application, prefix: str, program: hir.Program, coverage: Coverage
) -> None:
    coverage.add_program(program)
    player = Player(application, table, prefix=prefix, engine=lambda: EvaluatedEngine(program, coverage))
    for case in table.cases:
        player.play(case)


def _compile(table: StepTable) -> tuple[Application, str, Callable[[], hir.Program]]:
    folder = plant_of(table.path)
    cache = engine_cache(folder / ".tickwork-cache")
    settings, _, sources = programs.read_folder(folder)
    for name in table.sources:
        sources[f"{FOLDER}/{name}"] = _read_source(table, name)
    try:
        if table.unit:
            application, prefix, alone = compile_unit(
                settings, sources, table.unit, table.period_ns, cache_dir=cache
            )
            return application, prefix, lambda: alone
        application = programs.compile_sources(settings, sources, cache_dir=cache)
        return application, "", lambda: checked(settings, sources)[0]
    except TickworkError as error:
        raise TickworkError(*(_placed(problem, folder, table) for problem in error.problems)) from error


def _read_source(table: StepTable, name: str) -> bytes:
    try:
        path = (table.path.parent / name).resolve()
        path.relative_to(table.path.parent.resolve())
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise fail(
            "CL5002", f"the source {name} of the step table cannot be read", place=Place(str(table.path)),
            found=str(error), remedy="name a file beside the table",
        ) from error  # fmt: skip


def _placed(problem: Problem, folder: pathlib.Path, table: StepTable) -> Problem:
    """Sources are named relative to the plant; a problem without a place is one of the table."""
    place = problem.place
    name = str(folder / place.file) if place.file else str(table.path)
    return msgspec.structs.replace(problem, place=msgspec.structs.replace(place, file=name))


def _in_plant(result: CaseResult, folder: pathlib.Path) -> CaseResult:
    """Faults of the program name its source as the user sees it."""
    problems = tuple(
        msgspec.structs.replace(
            one, place=msgspec.structs.replace(one.place, file=str(folder / one.place.file))
        )
        if one.code == "CL5005"
        else one
        for one in result.problems
    )
    return CaseResult(result.table, result.name, result.place, result.scans, result.duration_ns, problems)
