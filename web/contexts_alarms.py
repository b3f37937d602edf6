"""Contexts of the alarm pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import Link, Mark, Moment, ProblemView, Shell
from web.contexts_work import DiffFile


@dataclass(frozen=True, slots=True)
class AlarmRowView:
    """One alarm. ``target`` is what a form sends; ``facts`` are (label, text) for whoever opens the row."""

    key: str
    target: str
    name: str
    text: str
    node: str
    place: str  # area and unit
    mark: Mark
    state: str
    waiting: bool  # for an acknowledgement: its mark blinks
    raised: Moment | None
    value: str
    limit: str
    acked_by: str
    comment: str
    chips: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    links: tuple[Link, ...]
    until: Moment | None = None
    by: str = ""
    reason: str = ""
    actions: tuple[tuple[str, str], ...] = ()  # (action, word) that are possible in this state


@dataclass(frozen=True, slots=True)
class AlarmGroup:
    """Alarms of one unit during a flood; else one group without a title."""

    title: str
    count: int
    rows: tuple[AlarmRowView, ...]


@dataclass(frozen=True, slots=True)
class AlarmList:
    """The active list. ``down``: engines that do not work; then it says so and never looks like an empty plant."""

    TEMPLATE: ClassVar[str] = "alarm_list.html"
    groups: tuple[AlarmGroup, ...]
    total: int
    shown: int
    waiting: int  # of the shown rows
    flood: bool
    can_operate: bool
    can_engineer: bool
    csrf: str
    after: str  # the address of the page
    down: tuple[str, ...]
    checked: Moment | None
    shelves: tuple[tuple[str, str], ...]  # (seconds, words)


@dataclass(frozen=True, slots=True)
class AlarmHidden:
    """Shelved, suppressed, out of service."""

    TEMPLATE: ClassVar[str] = "alarm_hidden.html"
    rows: tuple[AlarmRowView, ...]
    csrf: str
    can_operate: bool
    after: str
    down: tuple[str, ...]
    checked: Moment | None


@dataclass(frozen=True, slots=True)
class AlarmsPage:
    TEMPLATE: ClassVar[str] = "alarms.html"
    shell: Shell
    tabs: tuple[Link, ...]
    body: AlarmList | AlarmHidden
    filters: tuple[Link, ...]
    csv: str
    json: str


@dataclass(frozen=True, slots=True)
class JournalLine:
    id: int
    time: Moment
    node: str
    name: str
    occurrence: int
    event: str
    state: str
    mark: Mark
    value: str
    user: str
    comment: str
    href: str


@dataclass(frozen=True, slots=True)
class AlarmJournalPage:
    TEMPLATE: ClassVar[str] = "alarm_journal.html"
    shell: Shell
    tabs: tuple[Link, ...]
    lines: tuple[JournalLine, ...]
    alarm: str
    event: str
    events: tuple[str, ...]
    user: str
    older: str
    csv: str
    json: str


@dataclass(frozen=True, slots=True)
class FigureRow:
    name: str
    value: str
    target: str
    good: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class BadRow:
    node: str
    name: str
    count: str
    href: str


@dataclass(frozen=True, slots=True)
class AlarmFiguresPage:
    TEMPLATE: ClassVar[str] = "alarm_figures.html"
    shell: Shell
    tabs: tuple[Link, ...]
    ranges: tuple[Link, ...]
    figures: tuple[FigureRow, ...]
    bars: tuple[
        tuple[float, float, float], ...
    ]  # x, y, height of 0 to 100, one for each 10 minutes (or more)
    limit: float  # y of 10 in 10 minutes
    caption: str
    worst: tuple[BadRow, ...]
    chattering: tuple[BadRow, ...]
    json: str
    span: str
    operators: int


@dataclass(frozen=True, slots=True)
class RationaleRow:
    node: str
    name: str
    text: str
    mark: Mark
    condition: str
    cause: str
    consequence: str
    response: str
    within: str
    hides: str
    origin: str
    origin_href: str


@dataclass(frozen=True, slots=True)
class AlarmTablePage:
    TEMPLATE: ClassVar[str] = "alarm_table.html"
    shell: Shell
    tabs: tuple[Link, ...]
    rows: tuple[RationaleRow, ...]
    engines: tuple[Link, ...]  # whose definitions can be edited
    csv: str
    json: str


@dataclass(frozen=True, slots=True)
class WhatIfRow:
    name: str
    before: str
    after: str
    missed: str
    new: str


@dataclass(frozen=True, slots=True)
class AlarmDefinePage:
    TEMPLATE: ClassVar[str] = "alarm_define.html"
    shell: Shell
    tabs: tuple[Link, ...]
    node: str
    engine: str
    text: str
    message: str
    problems: tuple[ProblemView, ...]
    diff: tuple[DiffFile, ...]
    tried: bool
    rows: tuple[WhatIfRow, ...]
    verdict: str
    versions: tuple[tuple[str, str, str, Moment], ...]  # number, who, message, when
    can_save: bool
