"""Orders about alarms as texts: from the supervisor's commands and from local tools, to the engine and back."""

from __future__ import annotations

import msgspec

from runtime import control
from runtime.alarms.model import Order, Outcome
from runtime.control import Message
from runtime.gate_alarms import NodeAlarms
from runtime.link import Command, CommandResult
from scan.problem import Problem, TickworkError, fail

TARGETS_MAX = 20_000
JOURNAL_MAX = 10_000


class AlarmDesk:
    def __init__(self, alarms: NodeAlarms) -> None:
        self._alarms = alarms

    # ---------------------------------------------------------------- the supervisor

    async def carry_out(self, command: Command, now_ns: int) -> CommandResult:
        """``values`` of a command of kind "alarm": action, targets (one a line), comment, duration_s, work_order;
        action "define" has text and version instead. ``value`` of the result is an ``Outcome`` as JSON."""
        values = command.values
        try:
            if values.get("action") == "define":
                await self._alarms.define(values.get("text", ""), int(values.get("version", "0")))
                return CommandResult(command.id, "effective", time_ns=now_ns)
            outcome = await self._alarms.order(_order_of(values, command.user))
        except TickworkError as error:
            return CommandResult(command.id, "rejected", time_ns=now_ns, problem=error.problems[0])
        value = msgspec.json.encode(outcome).decode()
        if outcome.done:
            return CommandResult(command.id, "effective", time_ns=now_ns, value=value)
        return CommandResult(command.id, "rejected", time_ns=now_ns, value=value, problem=_refusal(outcome))

    # ---------------------------------------------------------------- local tools

    async def answer(self, op: str, arguments: Message, user: str) -> Message:
        """Operations ``alarms``, ``alarm_order`` and ``alarm_journal`` of the local socket."""
        if op == "alarms":
            table = await self._alarms.table()
            return {"table": msgspec.to_builtins(table), "health": msgspec.to_builtins(self._alarms.health)}
        if op == "alarm_journal":
            count = min(int(arguments.get("count", 100)), JOURNAL_MAX)
            return {"entries": msgspec.to_builtins(await self._alarms.journal(count))}
        if op == "alarm_order":
            values = {str(key): str(value) for key, value in dict(arguments["values"]).items()}
            return {"outcome": msgspec.to_builtins(await self._alarms.order(_order_of(values, user)))}
        raise control.unknown(op, {"alarms": None, "alarm_order": None, "alarm_journal": None})


def _order_of(values: dict[str, str], user: str) -> Order:
    """Raises TickworkError AL3002 for what is no order."""
    targets = tuple(line for line in values.get("targets", "").split("\n") if line)
    if not targets or len(targets) > TARGETS_MAX:
        raise _no_order(f"1 to {TARGETS_MAX} alarms", str(len(targets)))
    plain = {
        "action": values.get("action", ""), "targets": targets, "user": user, "comment": values.get("comment", ""),
        "duration_s": values.get("duration_s", "0"), "work_order": values.get("work_order", ""),
    }  # fmt: skip
    try:
        return msgspec.convert(plain, Order, strict=False)
    except msgspec.ValidationError as error:
        raise _no_order("an action of alarms with its fields", str(error)) from error


def _no_order(expected: str, found: str) -> TickworkError:
    return fail("AL3002", "the order about alarms is not understood", expected=expected, found=found[:200])


def _refusal(outcome: Outcome) -> Problem:
    name, reason = outcome.refused[0] if outcome.refused else ("", "nothing was asked for")
    return Problem("AL3003", f"{name}: {reason}" if name else reason, found=f"{len(outcome.refused)} refused")
