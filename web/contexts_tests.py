"""Contexts of a program's own tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import ProblemView, Shell


@dataclass(frozen=True, slots=True)
class CaseRow:
    table: str
    name: str
    passed: bool
    scans: str
    duration: str
    problems: tuple[ProblemView, ...]


@dataclass(frozen=True, slots=True)
class CaseResults:
    """What the program's own tests said. ``problems``: why they could not run."""

    TEMPLATE: ClassVar[str] = "test_results.html"
    cases: tuple[CaseRow, ...]
    passed: int
    failed: int
    problems: tuple[ProblemView, ...]
    elapsed: str


@dataclass(frozen=True, slots=True)
class CasesPage:
    TEMPLATE: ClassVar[str] = "tests.html"
    shell: Shell
    results: CaseResults
    back: str
