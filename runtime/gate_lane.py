"""The gate's one command lane, shared by all its clients: each command gets its own acknowledgement.

The scan's lane has one producer (a ring without locks), so OPC UA clients, the supervisor and local tools all come
through here. What a command did is read back from a snapshot taken after it, never assumed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

import scan
from scan.abi import Symbol
from scan.problem import Problem, TickworkError

ACK_S = 2.0  # a scan of the slowest usual task plus the time that a loaded machine adds
POLL_S = 0.005


class Outcome(msgspec.Struct, frozen=True):
    """What became of a command. ``state`` as in the link's CommandResult; ``value`` is the text read back."""

    state: str  # "effective", "rejected", "uncertain"
    scan: int = 0
    value: str = ""
    problem: Problem | None = None

    @property
    def reason(self) -> str:
        """ "" when it took effect, else one sentence."""
        if self.state == "effective":
            return ""
        return self.problem.message if self.problem else self.state


_REFUSALS = {
    "STALE": ("LK4001", "the program changed meanwhile", "look at the new values and try again"),
    "REFUSED": ("LK4002", "the scan refused the value", "see the type and limits of the variable"),
    "EXPECTED_DIFFERS": (
        "LK4003",
        "the variable no longer has the expected value",
        "look at it and try again",
    ),
    "TABLE_FULL": ("LK4004", "too many forces at once", "end a force first"),
    "NOT_FORCED": ("LK4005", "the variable is not forced", "see the list of forces"),
}


class GateLane:
    """Commands to the scan, by whoever; ``view`` is the node's, refreshed here before each command."""

    def __init__(self, view: scan.NodeView, lane: scan.CommandLane) -> None:
        self._view = view
        self._lane = lane
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._polling: asyncio.Task[None] | None = None

    async def write(
        self, values: Mapping[Symbol, object], expected: Mapping[Symbol, object] | None = None
    ) -> Outcome:
        """All values in one scan or none. Raises SC codes for what cannot even be asked."""
        self._view.refresh()
        if expected or len(values) > 1:
            number = self._lane.write_group(self._view, dict(values), expected=dict(expected or {}))
        else:
            symbol, value = next(iter(values.items()))
            number = self._lane.write(self._view, symbol, value)
        return await self._outcome(number, tuple(values))

    async def force(self, symbol: Symbol, value: object, *, owner: str, reason: str, lease_s: int) -> Outcome:
        self._view.refresh()
        number = self._lane.force(self._view, symbol, value, owner=owner, reason=reason, lease_s=lease_s)
        return await self._outcome(number, (symbol,))

    async def unforce(self, symbol: Symbol) -> Outcome:
        self._view.refresh()
        return await self._outcome(self._lane.unforce(self._view, symbol), (symbol,))

    async def reset_statistics(self) -> Outcome:
        self._view.refresh()
        return await self._outcome(self._lane.reset_statistics(self._view), ())

    async def close(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _outcome(self, number: int, symbols: tuple[Symbol, ...]) -> Outcome:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="polls the command lane")
        try:
            ack = await asyncio.wait_for(future, ACK_S)
        except TimeoutError:
            problem = Problem("LK4006", "the scan did not take the command in time", expected=f"within {ACK_S:g} s",
                              remedy="is the program running? look at the variable before trying again")  # fmt: skip
            return Outcome("uncertain", problem=problem)
        finally:
            self._waiting.pop(number, None)
        name = ack.status.name
        if name != "APPLIED":
            code, message, remedy = _REFUSALS.get(name, _REFUSALS["REFUSED"])
            return Outcome(
                "rejected", ack.scan, problem=Problem(code, message, found=name.lower(), remedy=remedy)
            )
        return Outcome("effective", ack.scan, await self._read_back(ack.scan, symbols))

    async def _poll(self) -> None:
        while self._waiting:
            for ack in self._lane.poll():
                future = self._waiting.get(ack.id)
                if future is not None and not future.done():
                    future.set_result(ack)
            await asyncio.sleep(POLL_S)

    async def _read_back(self, scan_number: int, symbols: tuple[Symbol, ...]) -> str:
        """The values in the first snapshot that shows the scan of the command."""
        deadline = asyncio.get_running_loop().time() + ACK_S
        snapshot = self._view.snapshot()
        while snapshot.scan < scan_number and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_S)
            snapshot = self._view.snapshot()
        texts = []
        for symbol in symbols:
            with contextlib.suppress(TickworkError):
                texts.append(scan.format_value(symbol, scan.read_value(snapshot.block, symbol)))
        return ", ".join(texts)
