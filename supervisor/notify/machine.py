"""The pipeline as a pure machine: time and what stands go in, positions and calls come out.

Rules.
* A wait counts from the moment at which its step was reached, so that after an outage nobody gets all steps at once.
* What stands decides, not which event came: the same entry twice, or one that comes late, changes nothing.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from runtime.alarms.model import Standing
from runtime.alarms.states import HIDDEN, WAITING, State
from supervisor.notify.model import SECOND, AlarmFacts, Pipeline, Position, Rule


class Call(msgspec.Struct, frozen=True):
    """Somebody is to be told. ``visit`` tells calls of one run apart."""

    visit: int
    to: str
    channels: tuple[str, ...]
    level: int


def advance(pipeline: Pipeline, position: Position, now_ns: int) -> tuple[Position, tuple[Call, ...]]:
    """Do every step that is due. Each call leaves the position behind its step or at its end."""
    calls: list[Call] = []
    while not position.done and position.due_ns <= now_ns:
        if position.step >= len(pipeline.steps):
            again = position.round < pipeline.repeat and any(step.wait_s for step in pipeline.steps)
            position = (
                msgspec.structs.replace(position, step=0, round=position.round + 1)
                if again
                else msgspec.structs.replace(position, done=True)
            )
            continue
        step, level = pipeline.steps[position.step], position.level
        due_ns = position.due_ns
        if step.kind == "wait":
            due_ns = now_ns + step.wait_s * SECOND
        else:
            level += step.kind == "escalate"
            calls.append(Call(position.visit, step.to, step.channels, level))
        position = msgspec.structs.replace(position, step=position.step + 1, level=level, due_ns=due_ns)
    return position, tuple(calls)


def ended(pipeline: Pipeline, epoch: str, occurrence: int, now: tuple[str, Standing] | None) -> str:
    """Why a run about an occurrence is over, "" while it goes on. ``now``: epoch and what stands of its alarm."""
    if now is None or now[0] != epoch:
        return "the alarm is no longer there"
    standing = now[1]
    if standing.occurrence != occurrence or standing.state is State.NORMAL:
        return "over"
    if standing.state in HIDDEN:
        return str(standing.state)
    if pipeline.stop_on_acknowledge and standing.state not in WAITING:
        return "acknowledged"
    if pipeline.stop_on_return and standing.state in (
        State.RETURNED,
        State.LATCHED,
        State.LATCHED_ACKNOWLEDGED,
    ):
        return "returned to normal"
    return ""


def may_begin(epoch: str, occurrence: int, now: tuple[str, Standing] | None) -> bool:
    """Whether an occurrence still asks for somebody."""
    return (
        now is not None
        and occurrence > 0
        and now[0] == epoch
        and now[1].occurrence == occurrence
        and now[1].state in WAITING
    )


def picks(rule: Rule, facts: AlarmFacts) -> bool:
    """Whether a rule wants to hear of this alarm."""
    return (
        rule.enabled
        and (not rule.priorities or facts.priority in rule.priorities)
        and _fits(rule.runtimes, facts.node)
        and _fits(rule.groups, facts.group)
        and _fits(rule.areas, facts.area, facts.unit)
        and _fits(rule.alarms, facts.alarm)
    )


def _fits(patterns: tuple[str, ...], *texts: str) -> bool:
    return not patterns or any(
        fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns for text in texts
    )
