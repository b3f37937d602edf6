"""Step tables: tests of a control program as TOML, what to set and what to expect at which time.

This module only reads; ``runtime.step_player`` runs a table. The format is described in docs/language/testing.md.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

from runtime.toml_table import Document, Table, parse
from scan.abi import IecType, Symbol
from scan.problem import Place, TickworkError, fail
from scan.values import parse_literal

FOLDER = "tests"
FILE_SIZE_MAX = 4 * 1024 * 1024
SIGNS = ("<>", "<=", ">=", "<", ">", "=")  # longer ones first
TOLERANCE = 1e-6
PERIOD_NS = 10_000_000
_DURATION = Symbol("at", IecType.TIME, 0, 8)


@dataclass(frozen=True, slots=True)
class Entry:
    """One variable of a step: a value to set, or with ``sign`` one to compare with. ``value`` as written in TOML."""

    path: str
    value: object
    place: Place
    source_line: str = ""
    sign: str = "="


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens at ``at_ns``: values before the scans of that time, expectations after them."""

    at_ns: int
    place: Place
    sets: tuple[Entry, ...] = ()
    forces: tuple[Entry, ...] = ()
    releases: tuple[Entry, ...] = ()
    expects: tuple[Entry, ...] = ()
    always: tuple[Entry, ...] = ()  # holds after each scan from here to the next step
    within_ns: int = 0  # the expectations may come true as late as this after ``at_ns``


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    place: Place
    steps: tuple[Step, ...]
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class StepTable:
    """``unit`` names a block or function to be tested alone, every ``period_ns``; "" is the whole program."""

    path: pathlib.Path
    cases: tuple[Case, ...]
    unit: str = ""
    period_ns: int = PERIOD_NS
    sources: tuple[str, ...] = ()
    mocks: tuple[tuple[str, str], ...] = ()  # units and what stands in for them, "" for nothing


def find_tables(folder: pathlib.Path) -> list[pathlib.Path]:
    """The step tables of a plant, in order of their names."""
    return sorted((folder / FOLDER).glob("*.toml"))


def read_table(path: pathlib.Path) -> StepTable:
    """Raises TickworkError with every problem of the file."""
    try:
        data = path.read_bytes()[: FILE_SIZE_MAX + 1]
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fail(
            "CL5002", "the step table cannot be read", place=Place(str(path)), expected="a TOML file in UTF-8",
            found=str(error), remedy="correct the name or the file",
        ) from error  # fmt: skip
    if len(data) > FILE_SIZE_MAX:
        raise fail(
            "CL5002", "the step table is too large", place=Place(str(path)), expected=f"{FILE_SIZE_MAX} bytes at most",
            remedy="divide it into several files",
        )  # fmt: skip
    return parse_table(text, path)


def parse_table(text: str, path: pathlib.Path) -> StepTable:
    """As ``read_table``, from the text itself."""
    document = parse(text, str(path))
    root = document.root()
    shared = root.table("set")
    tolerance = root.number("tolerance", TOLERANCE, low=0.0)
    table = StepTable(
        path, tuple(_case(one, _entries(shared), tolerance) for one in root.tables("case")),
        root.text("unit"), _duration(root, "period", PERIOD_NS), root.texts("sources"), _mocks(root.table("mock")),
    )  # fmt: skip
    if table.period_ns <= 0:
        root.report("PL1005", "`period` is out of range", "period", expected="more than T#0s")
    if not table.cases:
        root.report("PL1003", "`case` is missing", expected="[[case]]", found="nothing", remedy="add a case")
    root.done()
    document.raise_errors()
    return table


def _mocks(table: Table) -> tuple[tuple[str, str], ...]:
    found = tuple((name, table.text(name)) for name in table.data)
    table.done()
    return found


def _case(table: Table, shared: tuple[Entry, ...], tolerance: float) -> Case:
    name = table.text("name", required=True)
    tolerance = table.number("tolerance", tolerance, low=0.0)
    steps: list[Step] = []
    for one in table.tables("step"):
        step = _step(one, shared if not steps else (), steps[-1].at_ns if steps else 0)
        steps.append(step)
    if not steps:
        table.report(
            "PL1003", "`step` is missing", expected="[[case.step]]", found="nothing", remedy="add a step"
        )
    table.done()
    return Case(name, table.document.place(table.path), tuple(steps), tolerance)


def _step(table: Table, shared: tuple[Entry, ...], before_ns: int) -> Step:
    at_ns = _duration(table, "at", before_ns)
    if at_ns < before_ns:
        table.report(
            "PL1005", "the steps are out of order", "at", expected="a time not before that of the step above",
            found=table.text("at"), remedy="sort the steps by time",
        )  # fmt: skip
    step = Step(
        at_ns,
        table.document.place(table.path),
        (*shared, *_entries(table.table("set"))),
        _entries(table.table("force")),
        tuple(_entry(table, "release", path, True) for path in table.texts("release")),
        _entries(table.table("expect"), compared=True),
        _entries(table.table("always"), compared=True),
        _duration(table, "within", 0),
    )
    table.done()
    return step


def _duration(table: Table, key: str, default_ns: int) -> int:
    text = table.text(key)
    if not text:
        return default_ns
    try:
        value = parse_literal(_DURATION, text)
    except TickworkError:
        value = -1
    if not isinstance(value, int) or value < 0:
        table.report(
            "PL1004", f"`{key}` is no time", key, expected="a duration such as T#1m30s or T#20ms", found=text,
            remedy='write for example "T#1s500ms"',
        )  # fmt: skip
        return default_ns
    return value


def _entries(table: Table, *, compared: bool = False) -> tuple[Entry, ...]:
    found = []
    for path, value in table.data.items():
        if not isinstance(value, bool | int | float | str | list):
            table.report(
                "PL1004", f"`{path}` has no value", path, expected="true, 12.5, \"T#5s\", [1, 2]",
                found=type(value).__name__, remedy='write a path with dots in quotes: "Control.Auto" = true',
            )  # fmt: skip
            continue
        sign, rest = _signed(value) if compared else ("=", value)
        found.append(_entry(table, path, path, rest, sign))
    return tuple(found)


def _entry(table: Table, key: str, path: str, value: object, sign: str = "=") -> Entry:
    place = table.document.place((*table.path, key))
    return Entry(path, value, place, _line(table.document, place), sign)


def _line(document: Document, place: Place) -> str:
    lines = document.text.splitlines()
    return lines[place.line - 1] if 0 < place.line <= len(lines) else ""


def _signed(value: object) -> tuple[str, object]:
    """``"> 40.0"`` is a comparison, every other text a literal."""
    if isinstance(value, str):
        for sign in SIGNS:
            if value.startswith(sign):
                return sign, value[len(sign) :].strip()
    return "=", value
