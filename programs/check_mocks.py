"""Mocks: a unit that stands in for another one in a test.

``Valve = MockValve`` takes the unit Valve out of the sources and lets MockValve have its name, before anything is
checked: so every use of Valve is checked against the mock, and it may be a standard block, a function or a class as
well. ``Valve`` alone keeps the unit's pins and takes its body away: its outputs are what the test sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from programs import ast, hir
from programs.diagnostics import Diagnostics, closest
from scan.problem import Place, Problem

Mocks = Mapping[str, str]


def read_mocks(text: str) -> dict[str, str]:
    """``Valve = MockValve; Pump`` as ``{"Valve": "MockValve", "Pump": ""}``."""
    found = {}
    for part in text.replace(";", ",").split(","):
        name, _, mock = part.partition("=")
        if name.strip():
            found[name.strip()] = mock.strip().removeprefix(":").strip()
    return found


def put_in(units: Sequence[ast.Unit], mocks: Mocks, diagnostics: Diagnostics) -> list[Problem]:
    """Rename in the trees. Problems for mocks that no source declares."""
    declared = {name.upper(): (home, pou) for unit in units for name, home, pou in _units(unit.declarations)}
    problems = []
    for name, mock in mocks.items():
        if not mock:
            continue
        found = declared.get(mock.upper())
        if found is None:
            meant = closest(mock, [pou.name.name for _, pou in declared.values()])
            problems.append(
                Problem(
                    "AR2006", f"there is no unit {mock} to stand in for {name}", Place(""), found=mock,
                    expected="the name of a unit in the tests' sources",
                    remedy=f"did you mean {meant}?" if meant else "declare it beside the tests",
                )
            )  # fmt: skip
            continue
        real = declared.get(name.upper())
        if real is not None:
            _take_out(*real, mock=found[1])
        pou = found[1]
        pou.alias = pou.name
        pou.name = ast.Name(pou.name.start, pou.name.end, name)
    return problems


def keep_tests(units: Sequence[ast.Unit], mocks: Mocks) -> None:
    """Only the tests that ask for these mocks stay: others are about other units."""
    asked = {name.upper(): mock.upper() for name, mock in mocks.items()}
    for unit in units:
        for _, home, pou in _units(unit.declarations):
            given = read_mocks(pou.attributes.get("mock", ""))
            own = {name.upper(): mock.upper() for name, mock in given.items()}
            if pou.kind == "TEST" and own != asked:
                home.remove(pou)


def tests_in(units: Sequence[ast.Unit]) -> list[ast.Pou]:
    """Every TEST of some sources."""
    return [pou for unit in units for _, _, pou in _units(unit.declarations) if pou.kind == "TEST"]


def _units(declarations: Sequence[ast.Declaration]) -> list[tuple[str, list[ast.Declaration], ast.Pou]]:
    found: list[tuple[str, list[ast.Declaration], ast.Pou]] = []
    for declaration in declarations:
        if isinstance(declaration, ast.Pou):
            assert isinstance(declarations, list)
            found.append((declaration.name.name, declarations, declaration))
        elif isinstance(declaration, ast.Namespace):
            found += _units(declaration.declarations)
    return found


def _take_out(home: list[ast.Declaration], real: ast.Pou, mock: ast.Pou) -> None:
    """The real unit is away, or under another name where the mock extends it."""
    bases = [base for base in mock.extends if isinstance(base, ast.Name)]
    if not any(base.name.upper() == real.name.name.upper() for base in bases):
        home.remove(real)
        return
    name = f"{real.name.name}_Real"
    real.alias = real.name
    real.name = ast.Name(real.name.start, real.name.end, name)
    mock.extends = [ast.Name(base.start, base.end, name) for base in bases]


def without_bodies(program: hir.Program, mocks: Mocks) -> list[Problem]:
    """Units whose outputs are given by the test: the body is gone, methods stay."""
    keys = {key.upper(): key for key in program.pous}
    problems = []
    for name in (name for name, mock in mocks.items() if not mock):
        key = keys.get(name.upper())
        if key is not None:
            program.pous[key] = replace(program.pous[key], body=[], builtin="")
            continue
        meant = closest(name, keys.values())
        problems.append(
            Problem(
                "AR2006", f"the program uses no unit {name}", Place(""), found=name,
                expected="a function block that the program uses",
                remedy=f"did you mean {meant}?" if meant else "correct the name",
            )
        )  # fmt: skip
    return problems
