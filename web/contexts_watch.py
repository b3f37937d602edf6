"""Contexts of watch tables: chosen tags of any runtimes, read and written together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import Cell, CommandProgress, Moment, Shell


@dataclass(frozen=True, slots=True)
class WatchRow:
    number: int
    key: str  # node:path
    runtime: str
    path: str
    href: str
    trend: str
    value: Cell
    reason: str
    unit: str
    type: str
    writable: bool  # by this person, now
    choices: tuple[str, ...]
    typed: str
    wrong: str
    changed: Moment | None
    remove: str


@dataclass(frozen=True, slots=True)
class FoundTag:
    runtime: str
    path: str
    text: str
    unit: str
    add: str


@dataclass(frozen=True, slots=True)
class TagSearch:
    TEMPLATE: ClassVar[str] = "tag_search.html"
    found: tuple[FoundTag, ...]
    search: str
    more: bool


@dataclass(frozen=True, slots=True)
class SavedList:
    name: str
    owner: str
    href: str
    count: int
    shared: bool
    remove: str  # "" where this person may not


@dataclass(frozen=True, slots=True)
class WatchPage:
    TEMPLATE: ClassVar[str] = "watch.html"
    shell: Shell
    rows: tuple[WatchRow, ...]
    search: TagSearch
    keys: tuple[str, ...]
    can_write: bool
    trend: str
    csv: str
    full: bool
    lists: tuple[SavedList, ...]
    can_share: bool


@dataclass(frozen=True, slots=True)
class PreparedValue:
    key: str
    runtime: str
    path: str
    old: str
    new: str
    unit: str


@dataclass(frozen=True, slots=True)
class WatchConfirm:
    """All prepared values on one page, old beside new, before any of them is written."""

    TEMPLATE: ClassVar[str] = "watch_confirm.html"
    shell: Shell
    values: tuple[PreparedValue, ...]
    keys: tuple[str, ...]
    key: str  # idempotency key
    back: str


@dataclass(frozen=True, slots=True)
class WatchResult:
    TEMPLATE: ClassVar[str] = "watch_result.html"
    shell: Shell
    progress: tuple[CommandProgress, ...]
    back: str
