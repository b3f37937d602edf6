"""OPC UA servers as devices in the field process: a session each, and its figures for the parent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from drivers.opcua.client_config import OpcUaDevice
from drivers.opcua.client_session import RemoteSession
from runtime.field_driver import InputImage, StateListener
from runtime.link import LATENCY_BOUNDS_NS, DeviceStatus
from scan.quality import BAD_NOT_CONNECTED, GOOD


class OpcUaFamily:
    """Nothing is shared between servers but our certificate and the list of trusted ones."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "opcua"
        self._sessions: list[OpcUaSession] = []

    def add(
        self, device: OpcUaDevice, image: InputImage, *, first_row: int, on_state: StateListener
    ) -> OpcUaSession:
        remote = RemoteSession(device, image, self._directory, first_row=first_row, on_state=on_state)
        self._sessions.append(OpcUaSession(remote))
        return self._sessions[-1]

    def start(self) -> None:
        for session in self._sessions:
            session.remote.start()

    async def stop(self) -> None:
        await asyncio.gather(*(session.remote.stop() for session in self._sessions))


class OpcUaSession:
    """A remote session with the name by which people know it."""

    def __init__(self, remote: RemoteSession) -> None:
        self.device = remote.device
        self.remote = remote

    @property
    def settled(self) -> bool:
        return self.remote.settled

    def follow(self, image: bytes, *, live: bool) -> None:
        self.remote.follow(image, live=live)

    def report(self) -> dict[str, Any]:
        return {**self.remote.figures.as_dict(), "refusals": dict(self.remote.outputs.refusals)}

    def status(self) -> DeviceStatus:
        figures = self.remote.figures
        return DeviceStatus(
            name=self.device.name,
            protocol=self.device.protocol,
            address=self.device.remote.url,
            state=self.remote.state,
            quality=GOOD if self.remote.state == "online" else BAD_NOT_CONNECTED,
            requests=figures.requests,
            errors=figures.failures + self.remote.outputs.refusals.total(),
            latency_p50_ns=figures.percentile_ns(50),
            latency_p99_ns=figures.percentile_ns(99),
            since_ns=self.remote.since_ns,
            last_error=figures.last_error,
            rate_per_s=figures.rate_per_s(),
            exceptions=dict(self.remote.outputs.refusals),
            latency_counts=figures.within(LATENCY_BOUNDS_NS),
        )
