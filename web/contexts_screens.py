"""Contexts of screens: drawings bound to tags, shown and edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from web.contexts import Link, Moment, ProblemView, Shell


@dataclass(frozen=True, slots=True)
class ScreenRow:
    name: str
    href: str
    runtime: str
    number: int
    changed: Moment | None
    changed_by: str
    edit: str


@dataclass(frozen=True, slots=True)
class ScreensPage:
    TEMPLATE: ClassVar[str] = "screens.html"
    shell: Shell
    screens: tuple[ScreenRow, ...]
    runtimes: tuple[str, ...]
    can_edit: bool
    name: str
    problems: tuple[ProblemView, ...]


@dataclass(frozen=True, slots=True)
class ScreenPage:
    """``drawing`` is markup of allowed elements whose texts are escaped; ``missing``: tags that are not there."""

    TEMPLATE: ClassVar[str] = "screen.html"
    shell: Shell
    name: str
    drawing: Markup
    missing: tuple[str, ...]
    runtimes: tuple[Link, ...]
    download: str
    edit: str
    empty: bool


@dataclass(frozen=True, slots=True)
class PaletteSymbol:
    name: str
    title: str
    parameters: str
    view: str
    shapes: Markup


@dataclass(frozen=True, slots=True)
class ScreenVersionRow:
    number: int
    created: Moment | None
    created_by: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class ScreenEditor:
    """``drawing``: the drawing with its symbols expanded, to work on; ``svg``: the text that is saved."""

    TEMPLATE: ClassVar[str] = "screen_edit.html"
    shell: Shell
    name: str
    number: int
    runtime: str
    runtimes: tuple[str, ...]
    drawing: Markup
    svg: str
    symbols: tuple[PaletteSymbol, ...]
    tags: tuple[str, ...]
    versions: tuple[ScreenVersionRow, ...]
    dropped: tuple[str, ...]
    problems: tuple[ProblemView, ...]
    save: str
    remove: str
    back: str
