"""The alarm strip that every page carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts_parts import Mark


@dataclass(frozen=True, slots=True)
class StripMark:
    mark: Mark
    count: int
    waiting: int


@dataclass(frozen=True, slots=True)
class AlarmStrip:
    """What every page shows: how many by priority, the newest, the sound, engines that are down."""

    TEMPLATE: ClassVar[str] = "alarm_strip.html"
    marks: tuple[StripMark, ...]
    total: int
    newest: str
    newest_mark: Mark | None
    sounding: int
    sound_key: str  # another one: something new was announced, and a silenced client sounds again
    down: tuple[str, ...]
