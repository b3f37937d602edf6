"""Alarms: definitions, their evaluation and the life of each occurrence. Pure but for ``store``, which writes SQLite.

Node and supervisor run the same engine (docs/adr/0004-alarms.md); it knows neither of them.
"""

from __future__ import annotations

from runtime.alarms.clock import AlarmClock, Stored
from runtime.alarms.conditions import TagInfo
from runtime.alarms.engine import Engine, Moment
from runtime.alarms.expression import Expression
from runtime.alarms.life import Kept, Life
from runtime.alarms.model import (
    LEVELS,
    PRIORITIES,
    Definition,
    Entry,
    Health,
    Order,
    Outcome,
    Standing,
    digest_of,
)
from runtime.alarms.parse import parse_attribute, parse_tables, parse_text, to_toml
from runtime.alarms.states import ACTIVE_LIST, HIDDEN, TABLE, WAITING, Event, State, diagram

__all__ = [
    "ACTIVE_LIST",
    "HIDDEN",
    "LEVELS",
    "PRIORITIES",
    "TABLE",
    "WAITING",
    "AlarmClock",
    "Definition",
    "Engine",
    "Entry",
    "Event",
    "Expression",
    "Health",
    "Kept",
    "Life",
    "Moment",
    "Order",
    "Outcome",
    "Standing",
    "State",
    "Stored",
    "TagInfo",
    "diagram",
    "digest_of",
    "parse_attribute",
    "parse_tables",
    "parse_text",
    "to_toml",
]
