"""Contexts of recorded scans: a program at one scan, and why a variable changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import Link


@dataclass(frozen=True, slots=True)
class FrozenValue:
    path: str
    text: str
    changed: bool  # by this scan
    why: str


@dataclass(frozen=True, slots=True)
class FrozenScan:
    """A scan of the recording: its values beside the lines, and the ways to other scans."""

    scan: int
    time: str
    tasks: str
    steps: tuple[Link, ...]
    values: tuple[FrozenValue, ...]
    window: str  # the scans around it as JSON for the script
    first: int
    last: int
    when: str
    at: str
    live: str
    line: int  # to show first, 0: the top
    hidden: tuple[tuple[str, str], ...]  # what the forms carry along


@dataclass(frozen=True, slots=True)
class WhySheet:
    """Who gave a variable its value, and when."""

    TEMPLATE: ClassVar[str] = "why.html"
    path: str
    scan: int
    answer: str
    before: str
    after: str
    time: str
    writer: str
    source: str  # the program page at that scan and line
    until: int
