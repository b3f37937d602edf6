"""The field process, ``python -m runtime.field``: masters that move inputs into the scan and outputs out of it.

It speaks ``runtime.control`` over its standard streams: ``configure`` {segments, devices, state, watchdog_ms},
``status``, ``stop``; events ``ready``, ``devices`` (once a second and at each change) and ``device`` (a state change).
The end of standard input, SIGTERM and ``stop`` mean the same: safe values go out where they are declared, then the
process ends.

The scan never waits for this process, nor this process for the scan: both only look at memory (``scan.segments``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from runtime import control
from runtime.control import Message, Peer
from runtime.field_devices import FieldDevices
from scan.problem import TickworkError

STATUS_INTERVAL_S = 1.0


class FieldProcess:
    """Answers the parent and holds the devices of the current configuration."""

    def __init__(self) -> None:
        self._devices: FieldDevices | None = None
        self._told: dict[str, str] = {}  # the state of each device that people were last told of
        self._stop = asyncio.Event()
        self._peer: Peer

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        reader, writer = await control.standard_streams()
        self._peer = Peer(reader, writer, handler=self._handle, name="the runtime")
        reading = asyncio.create_task(self._peer.run(), name="control line")
        reading.add_done_callback(lambda _: self._stop.set())
        reporting = asyncio.create_task(self._report(), name="device reports")
        self._peer.event("ready")
        await self._stop.wait()
        reporting.cancel()
        if self._devices is not None:
            await self._devices.stop()
        reading.cancel()
        await asyncio.gather(reading, reporting, return_exceptions=True)

    async def _handle(self, op: str, arguments: Message) -> Message:
        if op == "configure":
            await self._configure(arguments)
            return {}
        if op == "status":
            return self._devices.report() if self._devices else {"devices": [], "statistics": {}}
        if op == "stop":
            self._stop.set()
            return {}
        raise control.unknown(op, ("configure", "status", "stop"))

    async def _configure(self, arguments: Message) -> None:
        tables = arguments["devices"]
        devices = FieldDevices(
            Path(arguments["segments"]), tables, Path(arguments["state"]), on_state=self._changed
        )  # raises before anything that runs is touched
        if self._devices is not None:
            await self._devices.stop(keep=devices.parsed)
        self._devices = devices
        devices.start(watchdog_ms=int(arguments.get("watchdog_ms", 1000)))
        gc.collect()
        gc.freeze()  # the configuration lives long: later collections need not look at it

    def _changed(self, device: str, state: str, text: str) -> None:
        """Tells once that a device has gone and once that it is back, however often a connection is tried."""
        if state != "connecting" and self._told.get(device) != state:
            self._told[device] = state
            log("device", device=device, state=state, text=text)
            self._peer.event("device", device=device, state=state, text=text, time_ns=time.time_ns())
        self._tell_devices()

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(STATUS_INTERVAL_S)
            self._tell_devices()

    def _tell_devices(self) -> None:
        if self._devices is not None:
            self._peer.event("devices", **self._devices.report())


def log(event: str, **fields: Any) -> None:
    """One JSON object a line on standard error."""
    line = {"time_ns": time.time_ns(), "process": "field", "event": event, **fields}
    with contextlib.suppress(OSError):
        sys.stderr.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stderr.buffer.flush()


def main() -> int:
    try:
        with _runner() as runner:
            runner.run(FieldProcess().run())
    except TickworkError as error:
        log("failed", problems=control.plain(error.problems))
        return 2
    return 0


def _runner() -> asyncio.Runner:
    """uvloop where it is installed: half the CPU for many devices (docs/adr/0002)."""
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    sys.exit(main())
