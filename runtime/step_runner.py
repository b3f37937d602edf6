"""From plants, step tables and tests in ST on disk to results.

What is to be tested is compiled once for each table, and once for each set of mocks of the tests in ST.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

import programs
from programs import hir
from programs.building import checked
from programs.unit import compile_mocked, compile_unit
from runtime.plant import FILE_NAME
from runtime.scan_host import engine_cache
from runtime.step_coverage import Coverage, EvaluatedEngine
from runtime.step_player import CaseResult, Player
from runtime.step_table import FOLDER, StepTable, find_tables, read_table
from runtime.step_texts import run_texts
from scan.abi import Application
from scan.problem import Place, Problem, TickworkError, fail


def run_tables(
    paths: Sequence[pathlib.Path], tell: Callable[[str], None], coverage: Coverage | None = None
) -> list[CaseResult]:
    """The cases of all tables and tests in ``paths`` (plant folders, single tables or sources), in order.

    ``coverage`` takes the lines that they reach.

    Raises TickworkError for tables and programs that are wrong; a case that fails is a result.
    """
    tables, texts = _find(paths)
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
    for plant, files in texts.items():
        results += run_texts(plant, files, tell, coverage)
    if not results:
        raise _nothing(next(iter(paths), pathlib.Path()))
    return results


def _find(paths: Iterable[pathlib.Path]) -> tuple[list[pathlib.Path], dict[pathlib.Path, list[str]]]:
    """Step tables, and by plant the sources whose tests are to run (none named: all)."""
    tables: list[pathlib.Path] = []
    texts: dict[pathlib.Path, list[str]] = {}
    for path in paths:
        if path.is_dir():
            tables += find_tables(path)
            if (path / FILE_NAME).exists():
                texts.setdefault(path, [])
        elif path.suffix.lower() == ".st":
            texts.setdefault(plant_of(path), []).append(f"{FOLDER}/{path.name}")
        else:
            tables.append(path)
    return tables, texts


def _nothing(folder: pathlib.Path) -> TickworkError:
    return fail(
        "CL5001", f"there are no tests in {folder}", place=Place(str(folder / FOLDER)),
        expected=f"step tables, {FOLDER}/*.toml, or TEST … END_TEST in a source",
        remedy="write one; docs/language/testing.md shows how",
    )  # fmt: skip


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
                settings, sources, table.unit, table.period_ns, cache_dir=cache, mocks=dict(table.mocks)
            )
            return application, prefix, lambda: alone
        if table.mocks:
            application, program = compile_mocked(settings, sources, dict(table.mocks), cache_dir=cache)
            return application, "", lambda: program
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
