"""What clients write falls back to a declared value when they stop writing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from drivers.modbus.server_config import WriteRule
from drivers.modbus.server_map import AddressMap, Refusal
from scan.abi import Symbol

USER = "modbus watchdog"
AGAIN_S = 1.0  # after the scan has refused, or while no program has the addresses

Submit = Callable[[Mapping[Symbol, object], str], Awaitable[str]]


class Watchdogs:
    """One for each write rule with ``watchdog_ms``. ``current_map`` gives the addresses of the running program.

    The time also runs from the start: after the server was away nobody knows for how long no client has written.
    """

    def __init__(
        self, rules: Sequence[WriteRule], submit: Submit, current_map: Callable[[], AddressMap]
    ) -> None:
        self._rules = [rule for rule in rules if rule.watchdog_ms]
        self._submit = submit
        self._map = current_map
        self._timers: dict[WriteRule, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.fallen = 0

    def start(self) -> None:
        for rule in self._rules:
            self._arm(rule, rule.watchdog_ms / 1000)

    async def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def written(self, table: str, address: int, count: int) -> None:
        """A client's write has taken effect."""
        for rule in self._rules:
            if rule.table == table and address <= rule.last and address + count > rule.first:
                self._arm(rule, rule.watchdog_ms / 1000)

    def _arm(self, rule: WriteRule, delay_s: float) -> None:
        timer = self._timers.get(rule)
        if timer is not None:
            timer.cancel()
        self._timers[rule] = asyncio.get_running_loop().call_later(delay_s, self._expired, rule)

    def _expired(self, rule: WriteRule) -> None:
        task = asyncio.get_running_loop().create_task(self._fall_back(rule), name="modbus server: watchdog")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fall_back(self, rule: WriteRule) -> None:
        timer = self._timers[rule]
        try:
            reason = await self._submit(_values(rule, self._map()), USER)
        except Refusal:
            reason = "the program has no such addresses"
        if not reason:
            self.fallen += 1
        elif self._timers[rule] is timer:  # no client has written meanwhile
            self._arm(rule, AGAIN_S)


def _values(rule: WriteRule, address_map: AddressMap) -> dict[Symbol, object]:
    count = rule.last - rule.first + 1
    values = rule.fallback * count if len(rule.fallback) == 1 else rule.fallback
    if rule.table == "coils":
        packed = sum(bit << index for index, bit in enumerate(values))
        return address_map.coils(rule.first, count, packed.to_bytes((count + 7) // 8, "little"))
    return address_map.registers(
        rule.first, b"".join((value & 0xFFFF).to_bytes(2, "big") for value in values)
    )
