"""The states of one alarm and every way from one to another, as a table (ISA-18.2 / IEC 62682).

Rules.
* One row: from which states, on which event, under which condition, to which state, with which effects. The first row
  that fits holds. An event without a row does nothing (it is *refused* when a person asked for it).
* A to F are what the process and the operator made of it; G, H and I hide it: out of service goes before suppressed by
  design, that before shelved. Under each of them the alarm runs on: occurrences begin and end, without any noise.
* Whoever leaves G, H or I is evaluated anew without on-delay: the condition holds: B, else A.

The diagram in docs/alarms.md is made from this table.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"  # to normal, unacknowledged
    LATCHED = "latched"  # unacknowledged
    LATCHED_ACKNOWLEDGED = "latched, acknowledged"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed by design"
    OUT_OF_SERVICE = "out of service"


LETTERS = dict(zip(State, "ABCDEFGHI", strict=True))
ACTIVE_LIST = (
    State.UNACKNOWLEDGED,
    State.ACKNOWLEDGED,
    State.RETURNED,
    State.LATCHED,
    State.LATCHED_ACKNOWLEDGED,
)
WAITING = (State.UNACKNOWLEDGED, State.RETURNED, State.LATCHED)  # for somebody to acknowledge
HIDDEN = (State.SHELVED, State.SUPPRESSED, State.OUT_OF_SERVICE)


class Event(enum.StrEnum):
    RAISE = "raised"  # the condition held for the on-delay, on usable input
    CLEAR = "cleared"  # it was gone, past its deadband, for the off-delay
    ACKNOWLEDGE = "acknowledged"
    RESET = "reset"
    REALARM = "re-alarmed"  # time elapsed, or the priority rose
    SHELVE = "shelved"
    UNSHELVE = "unshelved"
    SUPPRESS = "suppressed"
    UNSUPPRESS = "unsuppressed"
    REMOVE = "out of service"
    RETURN = "in service"


class Effect(enum.StrEnum):
    OPEN = "open an occurrence"
    KEEP = "keep the occurrence, or open one"
    CLOSE = "close the occurrence"
    ANNOUNCE = "announce"
    SILENCE = "silence"
    HIDE = "hide from the active list"


class When(enum.StrEnum):
    """Conditions of a row."""

    ALWAYS = ""
    LATCHING = "latching"
    ACK_NEEDED = "acknowledgement needed"
    HOLDS = "the condition holds"
    ONCE = "shelved until it clears"
    SHELVED = "still shelved"
    SUPPRESSED = "still suppressed"


@dataclass(frozen=True, slots=True)
class Row:
    sources: tuple[State, ...]
    event: Event
    when: When
    target: State | None  # None: stays where it is
    effects: tuple[Effect, ...] = ()


_A, _B, _C, _D, _E, _F, _G, _H, _I = State
_OPEN_FOR_G = (_A, _B, _C, _D, _E, _F)
_NEW = (Effect.CLOSE, Effect.OPEN, Effect.ANNOUNCE)

TABLE: tuple[Row, ...] = (
    Row((_A,), Event.RAISE, When.ALWAYS, _B, (Effect.OPEN, Effect.ANNOUNCE)),
    Row((_B,), Event.ACKNOWLEDGE, When.ALWAYS, _C, (Effect.SILENCE,)),
    Row((_B,), Event.CLEAR, When.LATCHING, _E, (Effect.SILENCE,)),
    Row((_B,), Event.CLEAR, When.ACK_NEEDED, _D, (Effect.SILENCE,)),
    Row((_B,), Event.CLEAR, When.ALWAYS, _A, (Effect.SILENCE, Effect.CLOSE)),
    Row((_B, _C), Event.REALARM, When.ALWAYS, _B, (Effect.ANNOUNCE,)),
    Row((_C,), Event.CLEAR, When.LATCHING, _F),
    Row((_C,), Event.CLEAR, When.ALWAYS, _A, (Effect.CLOSE,)),
    Row((_D,), Event.ACKNOWLEDGE, When.ALWAYS, _A, (Effect.CLOSE,)),
    Row((_D, _E, _F), Event.RAISE, When.ALWAYS, _B, _NEW),
    Row((_E,), Event.ACKNOWLEDGE, When.ALWAYS, _F),
    Row((_E, _F), Event.RESET, When.ALWAYS, _A, (Effect.CLOSE,)),
    Row(_OPEN_FOR_G, Event.SHELVE, When.ALWAYS, _G, (Effect.SILENCE, Effect.HIDE)),
    Row((_G, _H, _I), Event.SHELVE, When.ALWAYS, None),
    Row((*_OPEN_FOR_G, _G), Event.SUPPRESS, When.ALWAYS, _H, (Effect.SILENCE, Effect.HIDE)),
    Row((_H, _I), Event.SUPPRESS, When.ALWAYS, None),
    Row((*_OPEN_FOR_G, _G, _H), Event.REMOVE, When.ALWAYS, _I, (Effect.SILENCE, Effect.HIDE)),
    Row((_G, _H, _I), Event.RAISE, When.ALWAYS, None, (Effect.CLOSE, Effect.OPEN)),
    Row((_G,), Event.CLEAR, When.ONCE, _A, (Effect.CLOSE,)),
    Row((_G, _H, _I), Event.CLEAR, When.ALWAYS, None, (Effect.CLOSE,)),
    Row((_G,), Event.UNSHELVE, When.HOLDS, _B, (Effect.KEEP, Effect.ANNOUNCE)),
    Row((_G,), Event.UNSHELVE, When.ALWAYS, _A, (Effect.CLOSE,)),
    Row((_H, _I), Event.UNSHELVE, When.ALWAYS, None),
    Row((_H,), Event.UNSUPPRESS, When.SHELVED, _G),
    Row((_H,), Event.UNSUPPRESS, When.HOLDS, _B, (Effect.KEEP, Effect.ANNOUNCE)),
    Row((_H,), Event.UNSUPPRESS, When.ALWAYS, _A, (Effect.CLOSE,)),
    Row((_I,), Event.UNSUPPRESS, When.ALWAYS, None),
    Row((_I,), Event.RETURN, When.SUPPRESSED, _H),
    Row((_I,), Event.RETURN, When.SHELVED, _G),
    Row((_I,), Event.RETURN, When.HOLDS, _B, (Effect.KEEP, Effect.ANNOUNCE)),
    Row((_I,), Event.RETURN, When.ALWAYS, _A, (Effect.CLOSE,)),
)

_BY_CAUSE: dict[tuple[State, Event], tuple[Row, ...]] = {
    (state, event): tuple(row for row in TABLE if state in row.sources and row.event is event)
    for state in State
    for event in Event
}


def unconditional(state: State, event: Event) -> Row | None:
    """The row that applies whatever holds, when it is the first one."""
    rows = _BY_CAUSE[state, event]
    return rows[0] if rows and rows[0].when is When.ALWAYS else None


def find_row(state: State, event: Event, holding: frozenset[When]) -> Row | None:
    """The row that applies; ``holding`` are the conditions that are met. None: the event does nothing here."""
    for row in _BY_CAUSE[state, event]:
        if row.when is When.ALWAYS or row.when in holding:
            return row
    return None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> A"]
    lines += [f"    {letter}: {letter} · {state}" for state, letter in LETTERS.items()]
    for row in TABLE:
        if row.target is None:
            continue
        words = f"{row.event}" + (f" [{row.when}]" if row.when else "")
        lines += [f"    {LETTERS[source]} --> {LETTERS[row.target]}: {words}" for source in row.sources]
    return "\n".join(lines) + "\n"
