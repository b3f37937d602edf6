"""Tests written in Structured Text as one program: a block that runs the one whose number is set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from programs import hir, types
from programs.building import Settings, checked, program_digest
from programs.check_mocks import Mocks, read_mocks, tests_in
from programs.check_tests import FAILED, FOUND, MESSAGE, NOW, WANTED
from programs.libraries import split
from programs.native import compile_program
from programs.native_cache import Cache
from programs.parser import parse
from programs.source import SourceSet
from programs.user_blocks import SUFFIX
from scan.abi import Application
from scan.problem import TickworkError

NAME = "Tests"
TASK = "Test"
PERIOD_NS = 10_000_000
WHICH = f"{NAME}.which"

__all__ = [
    "FAILED", "FOUND", "MESSAGE", "NOW", "TASK", "WANTED", "WHICH", "TestProgram", "compile_tests", "prefix_of",
    "read_mocks", "tests_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TestProgram:
    """``tests`` in the order of their numbers, from 1. ``WHICH`` chooses; ``prefix_of`` gives the paths."""

    __test__ = False  # no test of pytest's

    application: Application
    program: hir.Program
    tests: tuple[hir.Test, ...]


def prefix_of(number: int) -> str:
    """Before the names of a test's variables."""
    return f"{NAME}.t{number}."


@dataclass(frozen=True, slots=True)
class Found:
    """A test as it stands in a source."""

    file: str
    line: int
    title: str
    mocks: str


def tests_of(settings: Settings, sources: Mapping[str, bytes]) -> list[Found]:
    """Every test in the sources. Raises TickworkError for sources that cannot be read."""
    texts = SourceSet()
    parsed = [
        parse(texts.add(path, data), settings.dialect)
        for path, data in sorted(split(sources).own.items())
        if not path.endswith(SUFFIX)
    ]
    problems = [problem for _, found in parsed for problem in found if problem.severity == "error"]
    if problems:
        raise TickworkError(*problems)
    return [
        Found(one.source.path, one.source.line(one.start), one.title, one.attributes.get("mock", ""))
        for one in tests_in([unit for unit, _ in parsed])
    ]


def compile_tests(
    settings: Settings, sources: Mapping[str, bytes], mocks: Mocks, *, cache_dir: Path | None = None
) -> TestProgram:
    """All tests of the sources with these mocks in place. Raises TickworkError with the problems of the sources."""
    program, _ = checked(settings, sources, mocks=mocks)
    alone = _alone(program)
    text = f"{program_digest(settings, sources)} tests {sorted(mocks.items())}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    application = compile_program(alone, digest=digest, cache=Cache(cache_dir))
    return TestProgram(application, alone, tuple(program.tests))


def _alone(program: hir.Program) -> hir.Program:
    which = hir.Variable("which", types.DINT, hir.Storage.INSTANCE)
    variables = [which]
    branches: list[tuple[list[tuple[int, int]], list[hir.Statement]]] = []
    for number, test in enumerate(program.tests, start=1):
        kind = hir.Instance(test.key)
        own = hir.Variable(f"t{number}", kind, hir.Storage.INSTANCE, file=test.file, line=test.line)
        variables.append(own)
        call = hir.CallBlock(hir.VariablePlace(own, kind), test.key, [], [], line=test.line)
        branches.append(([(number, number)], [call]))
    selector = hir.Load(hir.VariablePlace(which, types.DINT), types.DINT)
    around = hir.Pou(f"${NAME}", "program", variables, [hir.Case(selector, branches, [])])
    return replace(
        program,
        pous={**program.pous, around.key: around},
        instances=[hir.ProgramInstance(NAME, around.key, TASK)],
        tasks=[hir.Task(TASK, "cyclic", PERIOD_NS, 1)],
    )
