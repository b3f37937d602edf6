"""What the OPC UA server gets of its node: orders through the commander, states of devices, alarms as conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import scan
from drivers.opcua.conditions import Condition
from drivers.opcua.diagnostics import Device
from drivers.opcua.node import Surroundings
from runtime.alarms.model import SYSTEM, Definition, Entry, Order, Standing
from runtime.alarms.states import HIDDEN, WAITING, State
from runtime.commander import Commander
from runtime.gate_alarms import NodeAlarms
from runtime.link import Command, DeviceStatus
from scan.abi import Symbol
from scan.problem import TickworkError

VIA = "opcua"
# OPC 10000-9 §5.5.2: 1 to 1000; the middle of four equal parts.
SEVERITIES = {1: 875, 2: 625, 3: 375, 4: 125}
_ACTIVE = (State.UNACKNOWLEDGED, State.ACKNOWLEDGED)


def surroundings(
    commander: Commander, devices: Callable[[], tuple[DeviceStatus, ...]], alarms: NodeAlarms
) -> Surroundings:
    def known() -> Sequence[Device]:
        return [_Device(one.name, one.state == "online", one.state) for one in devices()]

    return Surroundings(CommanderOrders(commander), known, AlarmConditions(alarms))


@dataclass(frozen=True, slots=True)
class _Device:
    name: str
    online: bool
    state: str


class CommanderOrders:
    """Orders of clients through the one way in; every one is audited there."""

    def __init__(self, commander: Commander) -> None:
        self._commander = commander

    async def write(self, values: Mapping[Symbol, object], user: str) -> str:
        return await self._commander.write_values(values, user, via=VIA)

    async def force(self, symbol: Symbol, value: object, *, user: str, reason: str, lease_s: int) -> str:
        texts = {symbol.path: scan.format_value(symbol, value)}  # type: ignore[arg-type]
        command = Command("", "force", texts, user, reason=reason or "over OPC UA", lease_s=lease_s)
        return (await self._commander.execute(command, VIA)).reason

    async def unforce(self, symbol: Symbol, user: str) -> str:
        command = Command("", "unforce", {symbol.path: ""}, user)
        return (await self._commander.execute(command, VIA)).reason

    async def order(self, action: str, user: str) -> str:
        if action not in ("start", "stop"):
            return "only start and stop can be ordered"
        try:
            command = Command("", action, {}, user)  # type: ignore[arg-type]
            return (await self._commander.execute(command, VIA)).reason
        except (ConnectionError, TimeoutError) as error:
            return str(error) or "the node does not answer"


class AlarmConditions:
    """The node's alarm engine as a source of conditions."""

    def __init__(self, alarms: NodeAlarms) -> None:
        self._alarms = alarms
        self._definitions: dict[str, Definition] = {}

    def watch(self, told: Callable[[Sequence[Condition]], None]) -> Callable[[], None]:
        def heard(entries: Sequence[Entry]) -> None:
            told([self._condition(one.alarm, one.standing, one) for one in entries])

        self._alarms.listeners.append(heard)
        return lambda: self._alarms.listeners.remove(heard)

    async def conditions(self) -> Sequence[Condition]:
        try:
            table = await self._alarms.table()
        except TickworkError:
            return ()
        self._definitions = {one.name: one for one in table.definitions}
        return [self._condition(name, standing, None) for name, standing in table.standing.items()]

    def _condition(self, name: str, standing: Standing, entry: Entry | None) -> Condition:
        definition = self._definitions.get(name) or Definition(name)
        state = standing.state
        shelved = "" if state != State.SHELVED else "once" if standing.once else "timed"
        moment_ns = entry.time_ns if entry is not None else standing.cleared_ns or standing.raised_ns
        hidden = state in HIDDEN
        return Condition(
            name=name,
            message=definition.text or name,
            severity=SEVERITIES.get(standing.priority, SEVERITIES[4]),
            active=state in _ACTIVE or (hidden and bool(standing.occurrence)),
            acked=state not in WAITING,
            time_ns=moment_ns,
            occurrence=entry.occurrence if entry is not None else standing.occurrence,
            source=definition.tag if not definition.tag.startswith(SYSTEM) else "",
            enabled=state != State.OUT_OF_SERVICE,
            shelved=shelved,
            suppressed=state == State.SUPPRESSED,
            retain=state != State.NORMAL and not hidden,
            good=not standing.unknown,
            comment=(entry.comment if entry is not None else "") or standing.comment,
            user=(entry.user if entry is not None else "") or standing.acked_by,
            system=name.startswith(SYSTEM),
        )

    # ---------------------------------------------------------------- orders

    async def _order(self, order: Order) -> str:
        try:
            outcome = await self._alarms.order(order)
        except TickworkError as error:
            return error.problems[0].message
        return "" if outcome.done else outcome.refused[0][1] if outcome.refused else "nothing changed"

    async def acknowledge(self, name: str, occurrence: int, comment: str, user: str) -> str:
        return await self._order(Order("acknowledge", (_target(name, occurrence),), user, comment))

    async def confirm(self, name: str, occurrence: int, comment: str, user: str) -> str:
        return "alarms here need no confirmation"

    async def comment(self, name: str, occurrence: int, comment: str, user: str) -> str:
        return await self._order(Order("comment", (_target(name, occurrence),), user, comment))

    async def shelve(self, name: str, duration_s: int, user: str) -> str:
        return await self._order(Order("shelve", (name,), user, "over OPC UA", duration_s))

    async def unshelve(self, name: str, user: str) -> str:
        return await self._order(Order("unshelve", (name,), user))


def _target(name: str, occurrence: int) -> str:
    return f"{name}#{occurrence}" if occurrence else name
