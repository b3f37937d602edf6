"""The parts that several contexts are made of: live cells, times, marks, devices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """A live text. ``quality``: "g" good, "u" uncertain, "b" bad, "s" stale, "f" forced, "w" write pending."""

    key: str
    text: str
    quality: str = "g"


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as people read it, and as a script localises it. ``key``: of a time that follows the plant."""

    ms: int
    text: str  # UTC
    key: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    level: int
    word: str


@dataclass(frozen=True, slots=True)
class GroupView:
    """A scan group of a device."""

    name: str
    quality: str
    counts: Cell
    replies: Cell
    failures: Cell
    latency: Cell


@dataclass(frozen=True, slots=True)
class DeviceView:
    key: str
    name: str
    protocol: str
    address: str
    state: str
    quality: str
    requests: Cell
    errors: Cell
    latency: Cell
    since: Moment | None
    last_error: str
    mark: Mark
    counts: Cell | None = None  # rate, time-outs, retries, exceptions by code
    groups: tuple[GroupView, ...] = ()
