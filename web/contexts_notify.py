"""Contexts of notifications: what is under way, where each message stands, settings and their forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import Link, Mark, Moment, ProblemView, Shell


@dataclass(frozen=True, slots=True)
class NoteRow:
    time: Moment
    text: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """``stop``: where the form that ends it goes; empty when it has ended."""

    mark: Mark
    text: str
    place: str
    rule: str
    pipeline: str
    state: str
    state_word: str
    escalation: int
    started: Moment
    next: Moment | None
    notes: tuple[NoteRow, ...]
    stop: str
    messages: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    id: int
    subject: str
    count: int
    person: str
    channel: str
    address: str
    state: str
    state_word: str
    changed: Moment
    next: Moment | None
    tries: int
    problem: str


@dataclass(frozen=True, slots=True)
class ChannelRow:
    name: str
    kind: str
    mark: Mark
    problem: str
    until: Moment | None
    waiting: int


@dataclass(frozen=True, slots=True)
class MuteRow:
    rule: str
    by: str
    reason: str
    until: Moment


@dataclass(frozen=True, slots=True)
class NotifyBoard:
    """What changes by itself. ``chosen``: the run whose messages are listed, in words."""

    TEMPLATE: ClassVar[str] = "notify_board.html"
    csrf: str
    filters: tuple[Link, ...]
    runs: tuple[RunRow, ...]
    channels: tuple[ChannelRow, ...]
    mutes: tuple[MuteRow, ...]
    deliveries: tuple[DeliveryRow, ...]
    chosen: str
    older: str
    csv: str
    json: str


@dataclass(frozen=True, slots=True)
class NotificationsPage:
    TEMPLATE: ClassVar[str] = "notifications.html"
    shell: Shell
    tabs: tuple[Link, ...]
    board: NotifyBoard
    rules: tuple[str, ...]
    durations: tuple[tuple[int, str], ...]
    problems: tuple[ProblemView, ...]


@dataclass(frozen=True, slots=True)
class SettingRow:
    name: str
    href: str
    facts: tuple[str, ...]
    off: bool


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """``add``: links to empty forms; none when the reader may not."""

    kind: str
    title: str
    about: str
    items: tuple[SettingRow, ...]
    add: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class NotifySettingsPage:
    TEMPLATE: ClassVar[str] = "notify_settings.html"
    shell: Shell
    tabs: tuple[Link, ...]
    groups: tuple[SettingGroup, ...]
    csv: str
    json: str


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    text: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Field:
    """``form``: "text", "number", "area", "select", "check", "checks" or "secret"."""

    name: str
    label: str
    form: str
    value: str
    help: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class NotifyItemPage:
    """``name`` is empty in the form of a new item. ``test``: where a test message is asked for; ``tested``: its end."""

    TEMPLATE: ClassVar[str] = "notify_item.html"
    shell: Shell
    title: str
    about: str
    name: str
    fields: tuple[Field, ...]
    save: str
    remove: str
    back: str
    can_edit: bool
    test: str
    test_to: str
    tested: str
    problems: tuple[ProblemView, ...]
