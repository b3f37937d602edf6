"""Alarm entries on their way to the supervisor, in order, through the buffer that waits on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from runtime.alarms.model import Entry
from runtime.gate_alarms import NodeAlarms
from runtime.link import Alarms
from runtime.uplink import Uplink
from scan.problem import TickworkError

log = structlog.get_logger("tickwork.alarms")

RETRY_S = 2.0


class AlarmForwarder:
    """Entries that the engine has stored go into the link's buffer; the table of alarms goes out as it is now."""

    def __init__(self, alarms: NodeAlarms, uplink: Uplink, wake: Callable[[], None]) -> None:
        self._alarms = alarms
        self._uplink = uplink
        self._wake = wake
        self._due = asyncio.Event()
        self._due.set()
        self._describe_due = False
        alarms.listeners.append(self._heard)
        alarms.changed.append(self.describe)

    def describe(self) -> None:
        """Tell the supervisor all definitions and what stands, when there is a connection."""
        self._describe_due = True
        self._due.set()

    def _heard(self, _entries: Sequence[Entry]) -> None:
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._forward()
            except TickworkError as error:  # the engine or the disk does not work: it is told by both
                log.debug("alarms are not forwarded", problem=str(error))
                self._due.set()
                await asyncio.sleep(RETRY_S)

    async def _forward(self) -> None:
        while True:
            epoch, entries = await self._alarms.unforwarded()
            if not entries:
                break

            def numbered(seq: int, epoch: str = epoch, entries: Sequence[Entry] = entries) -> Alarms:
                return Alarms(seq, epoch, tuple(entries))

            self._uplink.append(numbered, time.time_ns())
            await self._alarms.forwarded(entries[-1].seq)
            self._wake()
        if self._describe_due:
            self._describe_due = False
            self._uplink.say(await self._alarms.table())
            self._wake()
