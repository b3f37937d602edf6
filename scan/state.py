"""States of a node as everybody on it sees them."""

from __future__ import annotations

import dataclasses
import enum

from scan import layout as w
from scan.problem import fail


class NodeState(enum.IntEnum):
    """EMPTY no program · STOPPED and FAULT: safe outputs · TRIAL: a new program runs, the old one waits."""

    EMPTY = w.STATE_EMPTY
    STOPPED = w.STATE_STOPPED
    RUNNING = w.STATE_RUNNING
    TRIAL = w.STATE_TRIAL
    FAULT = w.STATE_FAULT


@dataclasses.dataclass(frozen=True, slots=True)
class Transition:
    """``event`` takes a node from ``state`` to ``after``. Requests of the parent are events like any other."""

    state: NodeState
    event: str
    after: NodeState
    outputs: str


TRANSITIONS = (
    Transition(NodeState.EMPTY, "load", NodeState.STOPPED, "safe"),
    Transition(NodeState.STOPPED, "load", NodeState.STOPPED, "safe"),
    Transition(NodeState.FAULT, "load", NodeState.STOPPED, "safe"),
    Transition(
        NodeState.STOPPED, "start", NodeState.RUNNING, "safe until the first scan ends, then computed"
    ),
    Transition(NodeState.FAULT, "start", NodeState.RUNNING, "safe until the first scan ends, then computed"),
    Transition(NodeState.RUNNING, "stop", NodeState.STOPPED, "safe"),
    Transition(NodeState.TRIAL, "stop", NodeState.STOPPED, "safe"),
    Transition(NodeState.RUNNING, "swap", NodeState.RUNNING, "go on from their last values"),
    Transition(NodeState.RUNNING, "swap on trial", NodeState.TRIAL, "go on from their last values"),
    Transition(NodeState.TRIAL, "end of trial", NodeState.RUNNING, "computed"),
    Transition(NodeState.TRIAL, "fault", NodeState.RUNNING, "those of the old program at the exchange"),
    Transition(NodeState.RUNNING, "fault", NodeState.FAULT, "safe"),
)


def require_transition(state: NodeState, event: str) -> None:
    """Raises TickworkError SC3004 unless the event is one that this state knows."""
    allowed = [one.state for one in TRANSITIONS if one.event == event]
    if state not in allowed:
        expected = " or ".join(one.name.lower() for one in allowed)
        remedy = "bring the node into that state first"
        raise fail(
            "SC3004",
            f"{event} is not possible now",
            expected=expected,
            found=state.name.lower(),
            remedy=remedy,
        )


class AckStatus(enum.IntEnum):
    """What became of a command or a group."""

    APPLIED = w.ACK_APPLIED
    STALE = w.ACK_STALE  # made for another generation of the program
    REFUSED = w.ACK_REFUSED  # a place outside the block, or a kind that the engine does not know
    EXPECTED_DIFFERS = (
        w.ACK_EXPECTED_DIFFERS
    )  # a precondition of the group does not hold; nothing was written
    TABLE_FULL = w.ACK_TABLE_FULL  # no more forces
    NOT_FORCED = w.ACK_NOT_FORCED


@dataclasses.dataclass(frozen=True, slots=True)
class FaultRecord:
    """A program fault. ``code`` is "RF1001"; ``line`` is 1-based in ``file``; ``detail`` depends on the code."""

    code: str
    task: str
    pou: str
    file: str
    line: int
    detail: int
    scan: int
    wall_ns: int
    generation: int


@dataclasses.dataclass(frozen=True, slots=True)
class Force:
    """A held variable. Values are as ``read_value`` gives them; ``remaining_ns`` None = until released."""

    path: str
    value: bool | int | float
    actual: bool | int | float  # the true input, or what the program computed in the last scan
    owner: str
    reason: str
    remaining_ns: int | None
    id: int


@dataclasses.dataclass(frozen=True, slots=True)
class Ack:
    id: int
    status: AckStatus
    scan: int  # the scan in which it took effect, or in which it was judged
    task: int


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """Since the scan process started."""

    scans: int
    snapshots: int
    commands: int
    acks_lost: int
    records_lost: int
    inputs_torn: int
    inputs_stale: int
    forces: int
    forces_expired: int
    swaps: int
    rollbacks: int
    swap_pause_ns: int
    trial_left: int
    faults: int
