"""The devices of a plant, each on its link, between the input and output segments and the wire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from drivers.modbus import DevicePoller, Link, ModbusDevice, open_link
from drivers.modbus.statistics import BlockStatistics
from drivers.protocols import parse_device
from runtime.link import LATENCY_BOUNDS_NS, DeviceStatus, GroupStatus
from scan import InputsWriter, Outputs, OutputsReader
from scan.field_io import NO_OUTPUTS
from scan.iomap import IoMap
from scan.problem import TickworkError
from scan.quality import BAD_NOT_CONNECTED, GOOD

OUTPUTS_INTERVAL_S = 0.01
HEARTBEAT_S = 0.05  # the scan takes inputs for stale after several of these
TOGETHER = 8
STOP_S = 1.0  # for safe values to go out at the end

StateListener = Callable[[str, str, str], None]


def io_map(devices: Sequence[ModbusDevice]) -> IoMap:
    """The channels of all devices in order: row numbers of the inputs segment."""
    return IoMap(
        inputs=tuple(channel for device in devices for channel in device.inputs),
        outputs=tuple(channel for device in devices for channel in device.outputs),
        inputs_size=max((device.input_bytes for device in devices), default=0),
        outputs_size=max((device.output_bytes for device in devices), default=0),
    )


def phase_ns(index: int, count: int, period_ns: int) -> int:
    """When in its period a device begins: eight at a time share a wake-up, which costs more than their requests.

    All at once would let the last one wait for the others; each alone takes three times the CPU (docs/adr/0002).
    """
    return period_ns * (index // TOGETHER) // -(-count // TOGETHER)


class SegmentImage:
    """The inputs segment as the pollers see it; publishes once for all that changed in a turn of the loop."""

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
        self, segments: Path, tables: Sequence[Mapping[str, object]], *, on_state: StateListener
    ) -> None:
        self.parsed = _parse_all(tables)
        self._segments = segments
        self._on_state = on_state
        self._map = io_map(self.parsed)
        self._links: dict[Any, Link] = {}
        self._pollers: list[DevicePoller] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *, watchdog_ms: int) -> None:
        writer = InputsWriter.create(self._segments, self._map)
        self._image = SegmentImage(writer)
        self._outputs = OutputsReader.open(self._segments, timeout_ns=watchdog_ms * 1_000_000)
        first_row = 0
        for index, device in enumerate(self.parsed):
            period_ns = min((block.period_ns for block in device.reads), default=0)
            poller = DevicePoller(
                device,
                self._link(device),
                self._image,
                first_row=first_row,
                on_state=self._state_changed,
                phase_ns=phase_ns(index, len(self.parsed), period_ns),
            )
            self._pollers.append(poller)
            first_row += len(device.inputs)
            poller.start()
        for link in self._links.values():
            link.start()
        self._tasks = [
            asyncio.create_task(self._follow_outputs(), name="outputs"),
            asyncio.create_task(self._beat(), name="inputs heartbeat"),
        ]

    def _link(self, device: ModbusDevice) -> Link:
        """Devices with the same connection share one link: a gateway or a serial bus."""
        link = self._links.get(device.connection)
        if link is None:
            link = self._links[device.connection] = open_link(device.connection)
        return link

    async def stop(self, *, keep: Sequence[ModbusDevice] = ()) -> None:
        """Ends all traffic; devices that are not in ``keep`` get their safe values first, within a second."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        leaving = [poller for poller in self._pollers if poller.device not in keep]
        nothing = bytes(self._map.outputs_size)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            for poller in leaving:
                poller.follow(nothing, live=False)
            if all(poller.settled for poller in leaving):
                break
            await asyncio.sleep(OUTPUTS_INTERVAL_S)
        for poller in self._pollers:
            poller.stop()
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    def report(self) -> dict[str, Any]:
        """States for the parent, with the detailed statistics by device name."""
        return {
            "devices": [msgspec.to_builtins(_status(poller)) for poller in self._pollers],
            "statistics": {poller.device.name: poller.report() for poller in self._pollers},
        }

    def _state_changed(self, poller: DevicePoller, state: str, text: str) -> None:
        self._on_state(poller.device.name, state, text)

    async def _follow_outputs(self) -> None:
        size = self._map.outputs_size
        while True:
            outputs = self._read_outputs()
            image = outputs.image.tobytes()
            if len(image) < size:  # the program uses fewer outputs than the devices have
                image += bytes(size - len(image))
            for poller in self._pollers:
                poller.follow(image, live=outputs.running)
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


def _parse_all(tables: Sequence[Mapping[str, object]]) -> tuple[ModbusDevice, ...]:
    return tuple(parse_device(table) for table in tables)


def _status(poller: DevicePoller) -> DeviceStatus:
    statistics = poller.statistics
    return DeviceStatus(
        name=poller.device.name,
        protocol=poller.device.protocol,
        address=f"{poller.device.connection.address} unit {poller.device.unit}",
        state=poller.state,
        quality=GOOD if poller.state == "online" else BAD_NOT_CONNECTED,
        requests=statistics.requests,
        errors=statistics.errors,
        latency_p50_ns=statistics.latency.percentile_ns(50),
        latency_p99_ns=statistics.latency.percentile_ns(99),
        since_ns=poller.since_ns,
        last_error=statistics.last_error,
        rate_per_s=statistics.rate.update(statistics.replies, time.monotonic_ns()),
        timeouts=statistics.timeouts,
        retries=statistics.retries,
        exceptions=_by_code(statistics.exceptions),
        latency_counts=statistics.latency.counts_within(LATENCY_BOUNDS_NS),
        groups=tuple(
            _group(name, group, poller.worst_quality(name)) for name, group in poller.groups.items()
        ),
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
