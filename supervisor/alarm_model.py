"""What the alarm service speaks of: rows of the active list, lines of the journal, figures, versions of definitions."""

from __future__ import annotations

import msgspec

from runtime.alarms.model import Definition, Entry, Health, Standing


class AlarmRow(msgspec.Struct, frozen=True):
    """One alarm as it stands, with how it is defined. ``node_id`` "" is the supervisor's own engine."""

    node_id: str
    node: str
    name: str
    standing: Standing
    definition: Definition
    stale: bool = False  # the runtime is not connected: this is the last that is known
    pending: str = ""  # an order that is on its way to the runtime

    @property
    def target(self) -> str:
        """What an order about exactly this occurrence names."""
        return f"{self.name}#{self.standing.occurrence}" if self.standing.occurrence else self.name


class AlarmLine(msgspec.Struct, frozen=True):
    """One line of the journal. ``id`` grows over the whole supervisor; a stream resumes behind it."""

    id: int
    node_id: str
    node: str
    epoch: str
    received_ns: int
    entry: Entry


class EngineState(msgspec.Struct, frozen=True):
    """One engine. ``problem`` "" while it works; else nobody may take its list for a plant without alarms."""

    node_id: str
    node: str
    problem: str
    health: Health
    checked_ns: int


class AlarmCounts(msgspec.Struct, frozen=True):
    """For the strip of every page."""

    by_priority: tuple[int, int, int, int] = (0, 0, 0, 0)  # in the active list
    unacknowledged: tuple[int, int, int, int] = (0, 0, 0, 0)
    sounding: int = 0  # announced and not yet acknowledged
    shelved: int = 0
    suppressed: int = 0
    out_of_service: int = 0
    newest: AlarmRow | None = None  # newest unacknowledged
    engines_down: tuple[str, ...] = ()
    checked_ns: int = 0
    last_id: int = 0  # of the journal


class OrderResult(msgspec.Struct, frozen=True):
    """``commands``: orders on their way to runtimes, by id; ``done`` and ``refused``: what was decided here."""

    commands: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    count: int = 0


class DefinitionVersion(msgspec.Struct, frozen=True):
    """The definitions of one engine that were made on the page, as TOML."""

    node_id: str
    number: int
    text: str
    created_ns: int
    created_by: str
    message: str
    command_id: str = ""


class AlarmFilter(msgspec.Struct, frozen=True):
    """Part of the journal. Empty: all."""

    node_id: str = ""
    alarm: str = ""  # part of the name
    event: str = ""
    user: str = ""
    priority: int = 0
    from_ns: int = 0
    to_ns: int = 0


class Bad(msgspec.Struct, frozen=True):
    """One of the alarms that are raised most."""

    node_id: str
    node: str
    name: str
    count: int
    share: float


class Figures(msgspec.Struct, frozen=True):
    """Figures of ISA-18.2 / EEMUA 191 over a time. ``rate``: raised per operator and 10 minutes, on average."""

    from_ns: int
    to_ns: int
    operators: int
    raised: int
    rate: float
    peak: int  # most in any 10 minutes
    floods: int
    flood_share: float  # of the time; the target is below 0.01
    stale: int  # standing for more than 24 hours
    chattering: tuple[Bad, ...]  # 3 or more in a minute
    priorities: tuple[float, float, float, float]  # shares; about 0, 0.05, 0.15, 0.80
    worst: tuple[Bad, ...]
    per_interval: tuple[int, ...]  # raised in each 10 minutes
    mean_ack_s: float
