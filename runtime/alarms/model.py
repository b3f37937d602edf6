"""Vocabulary of alarms: definitions, what stands at present, journal entries, orders of people.

Rules.
* A definition says when (condition), how (delays, latching, acknowledgement) and what to do about it (rationalisation).
* An *occurrence* is one excursion, numbered within the engine's ``epoch``; it is never used again for the next one.
* ``Standing`` is all that is to be known of one alarm now; each journal ``Entry`` carries the one that it led to, so
  whoever has the entries in order has the state.
* Times are UTC nanoseconds here; the engine's own timers are in its own time (``clock``).
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from runtime.alarms.states import State

Kind = Literal["digital", "limit", "deviation", "rate", "state", "expression", "comms"]
KINDS: tuple[str, ...] = ("digital", "limit", "deviation", "rate", "state", "expression")
LEVELS = {-2: "LL", -1: "L", 0: "", 1: "H", 2: "HH"}
PRIORITIES = {1: "urgent", 2: "high", 3: "medium", 4: "low"}
DEFINITIONS_MAX = 100_000  # of one engine
SHELVE_S_MAX = 8 * 3600  # one shift, unless the definition says less (IEC 62682 §11.7 asks for a bound)
TEXT_MAX = 500  # characters of what a person adds
SYSTEM = "$"  # first sign of the names of system alarms and their inputs


class Definition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alarm. ``tag`` and the names in expressions are paths of variables; limits in their unit."""

    name: str
    kind: Kind = "digital"
    text: str = ""
    priority: int = 3  # 1 urgent to 4 low
    tag: str = ""
    active_when: bool = True  # digital: the abnormal value
    hh: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the field's own name for the low limit
    ll: float | None = None
    hh_deadband: float = 0.0
    h_deadband: float = 0.0
    l_deadband: float = 0.0
    ll_deadband: float = 0.0
    hh_priority: int = 0  # 0: as ``priority``
    ll_priority: int = 0
    setpoint: str = ""  # deviation: the tag that ``tag`` is compared with
    over_ms: int = 1000  # rate: the change is measured over this time, and given per second
    states: tuple[str, ...] = ()  # state: abnormal values, names of an enumeration or numbers
    expression: str = ""
    depends_on: tuple[str, ...] = ()  # measured variables behind ``tag``: bad there is bad here
    on_delay_ms: int = 0
    off_delay_ms: int = 0
    comms_delay_ms: int = 5000  # bad input for longer raises the communication alarm of its source
    latching: bool = False
    acknowledge: bool = True
    realarm_s: int = 0  # 0: never
    group: str = ""
    first_out: bool = False  # mark the first of the group
    area: str = ""
    unit: str = ""
    cause: str = ""
    consequence: str = ""
    response: str = ""
    respond_within_s: int = 0
    suppress_when: str = ""
    shelve_s_max: int = SHELVE_S_MAX
    page: str = ""
    trend: tuple[str, ...] = ()
    enabled: bool = True
    origin: str = "file"  # "file", "program", "page", "system"
    file: str = ""
    line: int = 0

    def tags(self) -> tuple[str, ...]:
        """The variables to draw when somebody wants to see what happened."""
        own = tuple(tag for tag in (self.tag, self.setpoint) if tag)
        return self.trend or own

    def priority_at(self, level: int) -> int:
        return {2: self.hh_priority, -2: self.ll_priority}.get(level, 0) or self.priority

    def limit_at(self, level: int) -> float | None:
        return {2: self.hh, 1: self.h, -1: self.l, -2: self.ll}.get(level)


class Standing(msgspec.Struct, frozen=True):
    """One alarm now. ``occurrence`` 0: none is open. ``until_ns``: end of the shelf."""

    state: State = State.NORMAL
    occurrence: int = 0
    priority: int = 3
    level: int = 0
    value: str = ""  # when it was raised
    limit: str = ""
    raised_ns: int = 0
    cleared_ns: int = 0
    acked_ns: int = 0
    acked_by: str = ""
    comment: str = ""
    until_ns: int = 0
    once: bool = False
    reason: str = ""  # of shelving, suppressing, taking out of service
    by: str = ""  # who did that
    unknown: bool = False  # its input is bad: the state is held
    first_out: bool = False
    announced: bool = False  # sounds, until acknowledged or gone
    asked_by: str = ""  # who asked to take it out of service and waits for a second person


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal. ``occurrence``: the one that it is about, also when it closed it."""

    seq: int  # grows by one within ``epoch``
    time_ns: int
    alarm: str
    event: str
    occurrence: int
    standing: Standing
    user: str = ""
    comment: str = ""
    value: str = ""


class Order(msgspec.Struct, frozen=True):
    """What a person wants of alarms. ``targets``: names, or ``name#occurrence`` to mean exactly that occurrence."""

    action: Literal[
        "acknowledge",
        "comment",
        "shelve",
        "unshelve",
        "suppress",
        "unsuppress",
        "remove",
        "return",
        "reset",
    ]
    targets: tuple[str, ...]
    user: str
    comment: str = ""
    duration_s: int = 0  # shelve: 0 means until it clears, at most shelve_s_max
    work_order: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """``done``: targets that changed or were so already; ``refused``: the others with the reason."""

    done: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


class Health(msgspec.Struct, frozen=True):
    """The engine itself, so that nobody takes an engine that is down for a plant without alarms."""

    evaluated_ns: int = 0
    definitions: int = 0
    active: int = 0
    epoch: str = ""
    seq: int = 0
    problem: str = ""  # why nothing is evaluated; "" while it works
    digest: str = ""  # of the definitions
    unbound: tuple[str, ...] = ()  # alarms whose variables do not exist in the running program


def digest_of(definitions: tuple[Definition, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(definitions)).hexdigest()[:16]


def target_of(text: str) -> tuple[str, int]:
    """``name#12`` -> (name, 12); without a number 0, which means whichever is open."""
    name, mark, number = text.rpartition("#")
    return (name, int(number)) if mark and number.isdecimal() else (text, 0)
