"""Alarms of the fake plant."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from runtime.alarms.model import Definition, Entry, Health, Standing
from runtime.alarms.states import ACTIVE_LIST, HIDDEN, WAITING, State
from supervisor.alarm_figures import figures_of
from supervisor.alarm_model import (
    AlarmCounts,
    AlarmFilter,
    AlarmLine,
    AlarmRow,
    DefinitionVersion,
    EngineState,
    Figures,
    OrderResult,
)
from supervisor.alarm_whatif import Trial, TrialAlarm
from supervisor.alarms import EVERYTHING, ROLES, order_of
from supervisor.model import NEWEST, Actor, Page
from supervisor.problems import require

SECOND = 1_000_000_000


def definition(name: str, priority: int, **more: Any) -> Definition:
    return Definition(
        name, kind="limit", text=f"{name} of tank 1", priority=priority, tag="Main.Level", h=4.0, unit="tank 1",
        cause="inlet valve stuck", consequence="overflow", response="close the hand valve", respond_within_s=300,
        group="tank", file="plant.toml", line=12, **more,
    )  # fmt: skip


class FakeAlarms:
    def __init__(self, node_id: str, node: str) -> None:
        self.closed = False
        now = time.time_ns()
        self.node_id, self.node = node_id, node
        self.problem = ""
        self.rows: dict[str, AlarmRow] = {}
        self.orders: list[tuple[str, tuple[str, ...], str]] = []
        self.texts: dict[str, str] = {}
        for number, (name, priority, state) in enumerate(
            (
                ("Level high", 1, State.UNACKNOWLEDGED),
                ("Flow low", 2, State.ACKNOWLEDGED),
                ("Pump trip", 2, State.LATCHED),
                ("Door open", 4, State.RETURNED),
                ("Noise", 3, State.SHELVED),
                ("Drain", 3, State.SUPPRESSED),
                ("Sensor", 1, State.OUT_OF_SERVICE),
                ("Quiet", 3, State.NORMAL),
            ),
            1,
        ):
            standing = Standing(
                state, number if state is not State.NORMAL else 0, priority, 1, "4.2", "H 4",
                now - number * 60 * SECOND,
                announced=state is State.UNACKNOWLEDGED, first_out=name == "Level high", by="otto", reason="greased",
                until_ns=now + 600 * SECOND if state is State.SHELVED else 0,
            )  # fmt: skip
            self.rows[name] = AlarmRow(node_id, node, name, standing, definition(name, priority))
        self.lines = [
            AlarmLine(
                number, node_id, node, "e", now, Entry(number, now, name, "raised", number, row.standing, value="4.2")
            )
            for number, (name, row) in enumerate(self.rows.items(), 1)
        ]  # fmt: skip

    def _of(self, states: tuple[State, ...]) -> tuple[AlarmRow, ...]:
        return tuple(
            sorted((row for row in self.rows.values() if row.standing.state in states), key=order_of)
        )

    async def active(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        return self._of(ACTIVE_LIST)

    async def hidden(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        return self._of(HIDDEN)

    async def definitions(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        return tuple(self.rows.values())

    async def counts(self, actor: Actor) -> AlarmCounts:
        waiting = self._of(WAITING)
        by = [sum(row.standing.priority == p for row in self._of(ACTIVE_LIST)) for p in (1, 2, 3, 4)]
        unacked = [sum(row.standing.priority == p for row in waiting) for p in (1, 2, 3, 4)]
        return AlarmCounts(
            tuple(by), tuple(unacked), sum(row.standing.announced for row in waiting), 1, 1, 1,  # type: ignore[arg-type]
            waiting[0] if waiting else None, (f"{self.node}: {self.problem}",) if self.problem else (),
            time.time_ns(), len(self.lines),
        )  # fmt: skip

    async def engines(self, actor: Actor) -> tuple[EngineState, ...]:
        now = time.time_ns()
        return (EngineState(self.node_id, self.node, self.problem, Health(now, len(self.rows)), now),)

    async def journal(
        self, actor: Actor, wanted: AlarmFilter = EVERYTHING, *, page: Page = NEWEST, after: int = -1
    ) -> tuple[AlarmLine, ...]:
        return tuple(
            reversed([line for line in self.lines if wanted.alarm.lower() in line.entry.alarm.lower()])
        )

    async def next_lines(
        self, actor: Actor, after: int, *, limit: int = 500, wait_s: float = 15.0
    ) -> tuple[tuple[AlarmLine, ...], int]:
        await asyncio.sleep(wait_s)
        return (), after

    async def figures(
        self, actor: Actor, *, from_ns: int, to_ns: int, operators: int = 1, node_id: str = ""
    ) -> Figures:
        raised = [
            (line.entry.time_ns, line.node_id, line.entry.alarm, line.entry.standing.priority)
            for line in self.lines
            if from_ns <= line.entry.time_ns < to_ns
        ]
        return figures_of(
            raised,
            [],
            from_ns=from_ns,
            to_ns=to_ns,
            operators=operators,
            stale=1,
            name_of=lambda _: self.node,
        )

    async def order(
        self,
        actor: Actor,
        node_id: str,
        action: str,
        targets: tuple[str, ...],
        *,
        comment: str = "",
        duration_s: int = 0,
        work_order: str = "",
    ) -> OrderResult:
        require(actor, ROLES[action], node_id)
        self.orders.append((action, targets, comment))
        for target in targets:
            row = self.rows[target.partition("#")[0]]
            if action == "acknowledge" and row.standing.state is State.UNACKNOWLEDGED:
                standing = msgspec.structs.replace(row.standing, state=State.ACKNOWLEDGED, announced=False)
                self.rows[row.name] = msgspec.structs.replace(row, standing=standing)
        return OrderResult((), targets, (), len(targets))

    async def attempt(self, actor: Actor, node_id: str, text: str, *, from_ns: int, to_ns: int) -> Trial:
        row = TrialAlarm("Level high", 12, 3, (from_ns,), ())
        return Trial(from_ns, to_ns, 100, 5000, (1.2, 0.3), (9, 2), (1, 0), (row,))

    async def versions(self, actor: Actor, node_id: str) -> tuple[DefinitionVersion, ...]:
        text = self.texts.get(node_id, "")
        return (DefinitionVersion(node_id, 1, text, time.time_ns(), "eva", "first"),) if text else ()

    async def page_text(self, actor: Actor, node_id: str) -> str:
        return self.texts.get(node_id, "")

    async def define(self, actor: Actor, node_id: str, text: str, *, message: str = "") -> DefinitionVersion:
        self.texts[node_id] = text
        return DefinitionVersion(node_id, 1, text, time.time_ns(), actor.name, message)
