"""Writes, forces and orders to the program on behalf of people, each audited with who, what, old and new.

The supervisor's link, the OPC UA server and local tools all use this one way in. Paths and values are texts as people
write them (IEC literals); outcomes carry what was read back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import scan
from runtime.gate_lane import GateLane, Outcome
from runtime.link import Command, Event
from scan.abi import Symbol
from scan.problem import Problem, TickworkError, fail

VALUES_MAX = 1000  # of one command; a recipe is larger than a hand's worth, and still bounded
LEASE_MAX_S = 24 * 3600  # IEC 62443 thinking: a force that nobody renews must end
LEASE_S = 600

Note = Callable[[Event], None]
Order = Callable[[str, str], Awaitable[None]]  # (action, user): start, stop, restart the program


class Commander:
    """Carries out commands. ``note`` takes audit events, ``order`` reaches the parent process."""

    def __init__(
        self, view: scan.NodeView, lane: GateLane, note: Note, order: Order, clock_ns: Callable[[], int]
    ) -> None:
        self._view = view
        self._lane = lane
        self._note = note
        self._order = order
        self._clock_ns = clock_ns

    async def execute(self, command: Command, via: str) -> Outcome:
        """Never raises for what a client may do wrong: the outcome is "rejected" with the problem."""
        try:
            outcome = await self._execute(command, via)
        except TickworkError as error:
            outcome = Outcome("rejected", problem=error.problems[0])
            self._audit(command, via, outcome, command.values or {"": ""}, {})
        return outcome

    async def _execute(self, command: Command, via: str) -> Outcome:
        if len(command.values) > VALUES_MAX:
            raise fail("LK4007", "too many values in one command", expected=f"at most {VALUES_MAX}",
                       found=str(len(command.values)))  # fmt: skip
        if command.kind in ("start", "stop", "restart"):
            await self._order(command.kind, command.user)  # the parent audits it
            return Outcome("effective")
        if command.kind == "reset_statistics":
            outcome = await self._lane.reset_statistics()
            self._audit(command, via, outcome, {"": ""}, {})
            return outcome
        if not command.values:
            raise fail("LK4008", "the command names no variable", expected="at least one path")
        if command.kind == "write":
            return await self._write(command, via)
        return await self._force(command, via)

    async def _write(self, command: Command, via: str) -> Outcome:
        values = self._parsed(command.values)
        old = self._texts(values)
        outcome = await self._lane.write(values, self._parsed(command.expected))
        self._audit(command, via, outcome, command.values, old)
        return outcome

    async def _force(self, command: Command, via: str) -> Outcome:
        outcome = Outcome("rejected")
        for path, text in command.values.items():
            self._view.refresh()
            symbol = self._view.symbol(path)
            old = self._texts({symbol: None})
            if command.kind == "unforce":
                outcome = await self._lane.unforce(symbol)
            else:
                lease_s = min(command.lease_s or LEASE_S, LEASE_MAX_S)
                value = scan.parse_literal(symbol, text)
                outcome = await self._lane.force(
                    symbol, value, owner=command.user, reason=command.reason, lease_s=lease_s
                )
            self._audit(command, via, outcome, {path: text}, old)
            if outcome.state != "effective":
                break
        return outcome

    async def write_values(self, values: Mapping[Symbol, Any], user: str, *, via: str = "opcua") -> str:
        """For servers that already have typed values: "" when effective, else the reason."""
        texts = {symbol.path: scan.format_value(symbol, value) for symbol, value in values.items()}
        command = Command("", "write", texts, user)
        old = self._texts(values)
        try:
            outcome = await self._lane.write(values)
        except TickworkError as error:
            outcome = Outcome("rejected", problem=error.problems[0])
        self._audit(command, via, outcome, texts, old)
        return outcome.reason

    def _parsed(self, texts: Mapping[str, str]) -> dict[Symbol, scan.Value]:
        """Symbols and values of paths and literals; all problems at once."""
        self._view.refresh()
        found: dict[Symbol, scan.Value] = {}
        problems: list[Problem] = []
        for path, text in texts.items():
            try:
                symbol = self._view.symbol(path)
                found[symbol] = scan.parse_literal(symbol, text)
            except TickworkError as error:
                problems.extend(error.problems)
        if problems:
            raise TickworkError(*problems)
        return found

    def _texts(self, symbols: Mapping[Symbol, object]) -> dict[str, str]:
        block = self._view.snapshot().block
        return {symbol.path: scan.format_value(symbol, scan.read_value(block, symbol)) for symbol in symbols}

    def _audit(
        self, command: Command, via: str, outcome: Outcome, new: Mapping[str, str], old: Mapping[str, str]
    ) -> None:
        """One event a variable. Old and new values are kept, as 21 CFR Part 11 §11.10(e) wants them."""
        base = {"command": command.id, "reason": command.reason, "via": via, "result": outcome.state}
        if outcome.scan:
            base["scan"] = str(outcome.scan)
        if outcome.problem is not None:
            base["problem"] = f"{outcome.problem.code} {outcome.problem.message}"
        severity = "info" if outcome.state == "effective" else "warning"
        now_ns = self._clock_ns()
        previous = {path.upper(): text for path, text in old.items()}
        for path, value in new.items():
            fields = base | {"path": path, "old": previous.get(path.upper(), ""), "new": value}
            text = f"{command.kind} {path} := {value}" if value else f"{command.kind} {path}".rstrip()
            kept = {key: part for key, part in fields.items() if part}
            self._note(Event(now_ns, command.kind, command.user, text, kept, severity))
