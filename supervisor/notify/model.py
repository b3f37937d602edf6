"""Vocabulary of notifications: who is told of which alarms, how, and where each message stands.

Rules.
* A *rule* picks alarms and names a *pipeline*; each occurrence that a rule picks has a *run* of that pipeline, with the
  pipeline as it was when the run began.
* A run makes *mentions*: one alarm for one address. Mentions for the same address that come together become one
  *delivery*: the message, which is durable until it was sent or has failed.
* Times are UTC nanoseconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

ChannelKind = Literal["email", "webhook", "mqtt", "apprise"]
ItemKind = Literal["channel", "person", "roster", "schedule", "pipeline", "rule"]
SECOND = 1_000_000_000
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Channel(msgspec.Struct, frozen=True):
    """A way to send. ``settings`` depend on the kind (``check.SETTINGS``) and hold no secret.

    Messages to one address wait ``gather_s`` for others; of more than ``burst`` in ``window_s`` the rest become one.
    """

    name: str
    kind: ChannelKind
    settings: dict[str, str] = {}
    enabled: bool = True
    gather_s: int = 3
    burst: int = 5
    window_s: int = 60
    fails_max: int = 5  # failures in a row that open the circuit
    tries_max: int = 8


class Address(msgspec.Struct, frozen=True):
    channel: str
    to: str


class Person(msgspec.Struct, frozen=True):
    name: str
    full_name: str = ""
    addresses: tuple[Address, ...] = ()
    enabled: bool = True


class Roster(msgspec.Struct, frozen=True):
    name: str
    people: tuple[str, ...] = ()


class Shift(msgspec.Struct, frozen=True):
    """On ``days`` (0 is Monday) from ``from_min`` to ``to_min`` of the local day; over midnight when the end is not
    after the start."""

    days: tuple[int, ...]
    from_min: int
    to_min: int
    who: tuple[str, ...]


class Override(msgspec.Struct, frozen=True):
    """Instead of the shifts, between two local times ("2026-12-24 18:00"). ``who`` empty: nobody."""

    begin: str
    end: str
    who: tuple[str, ...]


class Schedule(msgspec.Struct, frozen=True):
    name: str
    time_zone: str = "UTC"
    shifts: tuple[Shift, ...] = ()
    overrides: tuple[Override, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """``to``: "person:NAME", "roster:NAME" or "schedule:NAME". ``channels`` empty: every one the person has."""

    kind: Literal["notify", "escalate", "wait"]
    to: str = ""
    channels: tuple[str, ...] = ()
    wait_s: int = 0


class Pipeline(msgspec.Struct, frozen=True):
    """``repeat``: how often all steps are done again when nobody answered."""

    name: str
    steps: tuple[Step, ...] = ()
    stop_on_acknowledge: bool = True
    stop_on_return: bool = False
    repeat: int = 0


class Rule(msgspec.Struct, frozen=True):
    """An alarm is picked when it fits each list that is not empty; texts are patterns with ``*``."""

    name: str
    pipeline: str
    priorities: tuple[int, ...] = ()
    runtimes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    enabled: bool = True


Item = Channel | Person | Roster | Schedule | Pipeline | Rule
TYPES: dict[str, type[msgspec.Struct]] = {
    "channel": Channel,
    "person": Person,
    "roster": Roster,
    "schedule": Schedule,
    "pipeline": Pipeline,
    "rule": Rule,
}


PLURALS = {kind: "people" if kind == "person" else f"{kind}s" for kind in TYPES}  # fields of Settings


class Settings(msgspec.Struct, frozen=True):
    """Everything that was configured, by name. ``secrets``: channels that have one; what it is nobody is told."""

    channels: dict[str, Channel] = {}
    people: dict[str, Person] = {}
    rosters: dict[str, Roster] = {}
    schedules: dict[str, Schedule] = {}
    pipelines: dict[str, Pipeline] = {}
    rules: dict[str, Rule] = {}
    secrets: tuple[str, ...] = ()

    def of(self, kind: str) -> dict[str, Item]:
        found: dict[str, Item] = getattr(self, PLURALS[kind])
        return found


class AlarmFacts(msgspec.Struct, frozen=True):
    """What rules and messages need to know of one occurrence."""

    node_id: str
    node: str
    alarm: str
    occurrence: int
    priority: int
    text: str
    group: str = ""
    area: str = ""
    unit: str = ""
    value: str = ""
    response: str = ""
    raised_ns: int = 0


class Position(msgspec.Struct, frozen=True):
    """Where a run stands in its pipeline: the next step, the round, the level of escalation, when it goes on."""

    step: int = 0
    round: int = 0
    level: int = 0
    due_ns: int = 0
    done: bool = False  # all steps are done

    @property
    def visit(self) -> int:
        """Differs for each time that each step is done."""
        return self.round * 1000 + self.step


class Note(msgspec.Struct, frozen=True):
    time_ns: int
    text: str


class Run(msgspec.Struct, frozen=True):
    """``state``: "running", "done" (all steps are, the alarm still stands) or "ended" with ``why``."""

    id: int
    rule: str
    pipeline: Pipeline
    facts: AlarmFacts
    epoch: str
    position: Position
    started_ns: int
    state: Literal["running", "done", "ended"] = "running"
    why: str = ""
    by: str = ""
    ended_ns: int = 0
    notes: tuple[Note, ...] = ()


class Mention(msgspec.Struct, frozen=True):
    """One alarm in a message."""

    run_id: int
    level: int
    facts: AlarmFacts


DeliveryState = Literal["gathering", "queued", "sent", "delivered", "failed", "cancelled"]


class Delivery(msgspec.Struct, frozen=True):
    """One message to one address. "sent": the service took it; "delivered": the receiver itself said so.

    ``key`` is the same at every try, so that a receiver can tell a repetition.
    """

    id: int
    key: str
    channel: str
    person: str
    address: str
    state: DeliveryState
    created_ns: int
    changed_ns: int
    next_ns: int = 0
    sealed_ns: int = 0
    subject: str = ""
    text: str = ""
    mentions: tuple[Mention, ...] = ()  # the first ones of ``count``
    count: int = 0
    tries: int = 0
    problem: str = ""
    test_by: str = ""


class Breaker(msgspec.Struct, frozen=True):
    """The circuit of a channel. ``open_until_ns`` 0: closed; past: the next message is the probe."""

    failures: int = 0
    opened: int = 0  # how often in a row
    open_until_ns: int = 0
    problem: str = ""


class Mute(msgspec.Struct, frozen=True):
    """``rule`` "": all rules."""

    rule: str
    until_ns: int
    by: str
    reason: str
    since_ns: int


class ChannelState(msgspec.Struct, frozen=True):
    name: str
    kind: str
    enabled: bool
    circuit: Literal["closed", "open", "probing"]
    problem: str
    open_until_ns: int
    waiting: int


class Overview(msgspec.Struct, frozen=True):
    """What is under way."""

    runs: tuple[Run, ...] = ()
    channels: tuple[ChannelState, ...] = ()
    mutes: tuple[Mute, ...] = ()
    rules: tuple[str, ...] = ()
