"""Modbus devices in the field process: sessions on shared links, and their figures for the parent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.modbus import DevicePoller, Link, ModbusDevice, open_link
from drivers.modbus.statistics import BlockStatistics
from runtime.field_driver import InputImage, StateListener
from runtime.link import LATENCY_BOUNDS_NS, DeviceStatus, GroupStatus
from scan.quality import BAD_NOT_CONNECTED, GOOD

TOGETHER = 8


def phase_ns(index: int, count: int, period_ns: int) -> int:
    """When in its period a device begins: eight at a time share a wake-up, which costs more than their requests.

    All at once would let the last one wait for the others; each alone takes three times the CPU (docs/adr/0002).
    """
    return period_ns * (index // TOGETHER) // -(-count // TOGETHER)


class ModbusFamily:
    """Devices with the same connection share one link: a gateway or a serial bus."""

    def __init__(self, state: Path) -> None:
        self._links: dict[Any, Link] = {}
        self._sessions: list[ModbusSession] = []

    def add(
        self, device: ModbusDevice, image: InputImage, *, first_row: int, on_state: StateListener
    ) -> ModbusSession:
        link = self._links.get(device.connection)
        if link is None:
            link = self._links[device.connection] = open_link(device.connection)
        session = ModbusSession(device, link, image, first_row, on_state)
        self._sessions.append(session)
        return session

    def start(self) -> None:
        for index, session in enumerate(self._sessions):
            period_ns = min((block.period_ns for block in session.device.reads), default=0)
            session.poller.phase_ns = phase_ns(index, len(self._sessions), period_ns)
            session.poller.start()
        for link in self._links.values():
            link.start()

    async def stop(self) -> None:
        for session in self._sessions:
            session.poller.stop()
        await asyncio.gather(*(link.stop() for link in self._links.values()))


class ModbusSession:
    """A poller with the name by which people know it."""

    def __init__(
        self, device: ModbusDevice, link: Link, image: InputImage, first_row: int, on_state: StateListener
    ) -> None:
        self.device = device
        self.poller = DevicePoller(
            device,
            link,
            image,
            first_row=first_row,
            on_state=lambda _, state, text: on_state(device.name, state, text),
        )

    @property
    def settled(self) -> bool:
        return self.poller.settled

    def follow(self, image: bytes, *, live: bool) -> None:
        self.poller.follow(image, live=live)

    def report(self) -> dict[str, Any]:
        return self.poller.report()

    def status(self) -> DeviceStatus:
        statistics = self.poller.statistics
        groups = self.poller.groups
        return DeviceStatus(
            name=self.device.name,
            protocol=self.device.protocol,
            address=f"{self.device.connection.address} unit {self.device.unit}",
            state=self.poller.state,
            quality=GOOD if self.poller.state == "online" else BAD_NOT_CONNECTED,
            requests=statistics.requests,
            errors=statistics.errors,
            latency_p50_ns=statistics.latency.percentile_ns(50),
            latency_p99_ns=statistics.latency.percentile_ns(99),
            since_ns=self.poller.since_ns,
            last_error=statistics.last_error,
            rate_per_s=statistics.rate.update(statistics.replies, time.monotonic_ns()),
            timeouts=statistics.timeouts,
            retries=statistics.retries,
            exceptions=_by_code(statistics.exceptions),
            latency_counts=statistics.latency.counts_within(LATENCY_BOUNDS_NS),
            groups=tuple(_group(name, groups[name], self.poller.worst_quality(name)) for name in groups),
        )


def _group(name: str, statistics: BlockStatistics, quality: int) -> GroupStatus:
    return GroupStatus(
        name=name,
        quality=quality,
        rate_per_s=statistics.rate.update(statistics.replies, time.monotonic_ns()),
        replies=statistics.replies,
        failures=statistics.failures,
        timeouts=statistics.timeouts,
        retries=statistics.retries,
        missed=statistics.missed,
        exceptions=_by_code(statistics.exceptions),
        latency_p50_ns=statistics.latency.percentile_ns(50),
        latency_p99_ns=statistics.latency.percentile_ns(99),
    )


def _by_code(exceptions: Mapping[int, int]) -> dict[str, int]:
    return {str(code): count for code, count in sorted(exceptions.items())}
