"""The devices of a plant, by families of drivers, between the input and output segments and the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from drivers.protocols import parse_device
from runtime.field_driver import FieldDevice, Session, StateListener, family_name, open_families
from scan import InputsWriter, Outputs, OutputsReader
from scan.field_io import NO_OUTPUTS
from scan.iomap import IoMap
from scan.problem import TickworkError

OUTPUTS_INTERVAL_S = 0.01
HEARTBEAT_S = 0.05  # the scan takes inputs for stale after several of these
STOP_S = 1.0  # for safe values to go out at the end


def io_map(devices: Sequence[FieldDevice]) -> IoMap:
    """The channels of all devices in order: row numbers of the inputs segment."""
    return IoMap(
        inputs=tuple(channel for device in devices for channel in device.inputs),
        outputs=tuple(channel for device in devices for channel in device.outputs),
        inputs_size=max((device.input_bytes for device in devices), default=0),
        outputs_size=max((device.output_bytes for device in devices), default=0),
    )


class SegmentImage:
    """The inputs segment as the sessions see it; publishes once for all that changed in a turn of the loop."""

    def __init__(self, writer: InputsWriter) -> None:
        self._writer = writer
        self.image = writer.image
        self.quality = writer.quality
        self.times = writer.times
        self._scheduled = False

    def changed(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.publish)

    def publish(self) -> None:
        self._scheduled = False
        self._writer.publish()


class FieldDevices:
    """All devices of one configuration. Raises TickworkError with every problem of the tables."""

    def __init__(
        self, segments: Path, tables: Sequence[Mapping[str, object]], state: Path, *, on_state: StateListener
    ) -> None:
        self.parsed: tuple[FieldDevice, ...] = tuple(parse_device(table) for table in tables)
        self._segments = segments
        self._on_state = on_state
        self._map = io_map(self.parsed)
        self._families = open_families(self.parsed, state)
        self._sessions: list[Session] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, watchdog_ms: int) -> None:
        self._image = SegmentImage(InputsWriter.create(self._segments, self._map))
        self._outputs = OutputsReader.open(self._segments, timeout_ns=watchdog_ms * 1_000_000)
        first_row = 0
        for device in self.parsed:
            family = self._families[family_name(device.protocol)]
            self._sessions.append(
                family.add(device, self._image, first_row=first_row, on_state=self._on_state)
            )
            first_row += len(device.inputs)
        for family in self._families.values():
            family.start()
        self._tasks = [
            asyncio.create_task(self._follow_outputs(), name="outputs"),
            asyncio.create_task(self._beat(), name="inputs heartbeat"),
        ]

    async def stop(self, *, keep: Sequence[FieldDevice] = ()) -> None:
        """Ends all traffic; devices that are not in ``keep`` get their safe values first, within a second."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        leaving = [session for session in self._sessions if session.device not in keep]
        nothing = bytes(self._map.outputs_size)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            for session in leaving:
                session.follow(nothing, live=False)
            if all(session.settled for session in leaving):
                break
            await asyncio.sleep(OUTPUTS_INTERVAL_S)
        await asyncio.gather(*(family.stop() for family in self._families.values()))

    def report(self) -> dict[str, Any]:
        """States for the parent, with the detailed statistics by device name."""
        return {
            "devices": [msgspec.to_builtins(session.status()) for session in self._sessions],
            "statistics": {session.device.name: session.report() for session in self._sessions},
        }

    async def _follow_outputs(self) -> None:
        size = self._map.outputs_size
        while True:
            outputs = self._read_outputs()
            image = outputs.image.tobytes()
            if len(image) < size:  # the program uses fewer outputs than the devices have
                image += bytes(size - len(image))
            for session in self._sessions:
                session.follow(image, live=outputs.running)
            await asyncio.sleep(OUTPUTS_INTERVAL_S)

    def _read_outputs(self) -> Outputs:
        """Outputs that cannot be read count as a scan that is gone; the parent hears of it from the scan itself."""
        try:
            return self._outputs.read()
        except TickworkError:
            return NO_OUTPUTS

    async def _beat(self) -> None:
        while True:
            self._image.publish()
            await asyncio.sleep(HEARTBEAT_S)
