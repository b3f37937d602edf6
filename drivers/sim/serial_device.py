"""A simulated Modbus RTU slave on a pseudo terminal, at the speed of a real line, that misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import time
import tty

from pymodbus import FramerType

from drivers.sim.registers import RegisterDevice
from drivers.sim.units import SimulatedUnits

CHARACTER_BITS = 11
OUTPUT_SPEED = 5  # in what termios.tcgetattr gives


class RtuDevice(SimulatedUnits):
    """Serves ``units`` at the port ``path``. With a ``baud`` it answers as fast as a line of that speed would, and
    understands nothing that is sent at another one.

    ``gaps`` collects the silence between the end of each reply and the next request as it would be on the line, in
    seconds.
    """

    def __init__(self, units: dict[int, RegisterDevice], *, baud: int = 0) -> None:
        super().__init__(units, FramerType.RTU)
        self.path = ""
        self.gaps: list[float] = []
        self.requests = 0
        self._baud = baud
        self._speed = getattr(termios, f"B{baud}", 0)
        self._character_s = CHARACTER_BITS / baud if baud else 0.0
        self._silence_s = (3.5 * CHARACTER_BITS / baud if baud <= 19200 else 0.00175) if baud else 0.0
        self._master = -1
        self._slave = -1
        self._buffer = b""
        self._free_at = 0.0  # when the line falls silent
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def shortest_silence(self) -> float:
        """Of the master before a request, in units of the silence that must be."""
        return min(self.gaps, default=0.0) / self._silence_s if self._silence_s else 0.0

    def start(self) -> str:
        """Opens the pseudo terminal and returns the path of the port for the master."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self.path

    async def stop(self) -> None:
        """Takes the port away, as pulling the adapter does."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _readable(self) -> None:
        now = time.monotonic()
        try:
            self._buffer += os.read(self._master, 4096)
        except OSError:
            return
        if self._baud and termios.tcgetattr(self._slave)[OUTPUT_SPEED] != self._speed:
            self._buffer = b""
            return
        size = self.frame_size(self._buffer)
        if size < 0:
            self._buffer = b""
        if size <= 0 or len(self._buffer) < size:
            return
        frame, self._buffer = self._buffer[:size], self._buffer[size:]
        self.requests += 1
        if self._free_at:
            self.gaps.append(now - self._free_at)
        task = asyncio.create_task(self._answer(frame, now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, frame: bytes, heard_at: float) -> None:
        steps = await self.respond(frame)
        if not steps:
            return
        # The request still has to leave the master's port at line speed; then comes the silence.
        await self._pause(heard_at + len(frame) * self._character_s + self._silence_s)
        for step in steps:
            await self._pause(time.monotonic() + step.delay_s + len(step.data) * self._character_s)
            self._free_at = time.monotonic()  # the line falls silent as the last byte is handed over
            with contextlib.suppress(OSError):
                os.write(self._master, step.data)

    async def _pause(self, end: float) -> None:
        """Sleeps most of the time and spins the rest: the event loop's clock is too coarse for a fast line."""
        if end - time.monotonic() > 0.002:
            await asyncio.sleep(end - time.monotonic() - 0.002)
        while time.monotonic() < end:  # noqa: ASYNC110 - spinning is the point
            await asyncio.sleep(0)
