"""A simulated Modbus RTU slave on a pseudo terminal, at the speed of a real line, that misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import time
import tty
from collections import deque
from collections.abc import Mapping

from drivers.sim.faults import Exchange, Fault, Step, crc16
from drivers.sim.registers import RegisterDevice

CHARACTER_BITS = 11


class RtuDevice:
    """Serves ``units`` at the port ``path``. With a ``baud`` it answers as fast as a line of that speed would.

    ``gaps`` collects the silence between the end of each reply and the next request as it would be on the line, in
    seconds.
    """

    def __init__(self, units: Mapping[int, RegisterDevice], *, baud: int = 0) -> None:
        self.units = units
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.path = ""
        self.gaps: list[float] = []
        self.requests = 0
        self._character_s = CHARACTER_BITS / baud if baud else 0.0
        self._silence_s = (3.5 * CHARACTER_BITS / baud if baud <= 19200 else 0.00175) if baud else 0.0
        self._master = -1
        self._slave = -1
        self._buffer = b""
        self._free_at = 0.0  # when the line falls silent
        self._tasks: set[asyncio.Task[None]] = set()

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
        size = _request_size(self._buffer)
        if not size or len(self._buffer) < size:
            return
        frame, self._buffer = self._buffer[:size], self._buffer[size:]
        if crc16(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
            self._buffer = b""
            return
        self.requests += 1
        if self._free_at:
            self.gaps.append(now - self._free_at)
        device = self.units.get(frame[0])
        if device is None:
            return
        task = asyncio.create_task(self._answer(device, frame))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, device: RegisterDevice, frame: bytes) -> None:
        exchange = Exchange(-1, frame[0], frame[1:-2], device.answer(frame[1:-2]))
        if frame[0] == 0:
            return
        # The request still has to leave the master's port at line speed; then comes the silence.
        await self._pause(len(frame) * self._character_s + self._silence_s)
        fault = self.faults.popleft() if self.faults else self.always
        for step in fault(exchange) if fault else [Step(exchange.frame())]:
            await self._pause(step.delay_s + len(step.data) * self._character_s)
            with contextlib.suppress(OSError):
                os.write(self._master, step.data)
        self._free_at = time.monotonic()

    async def _pause(self, duration_s: float) -> None:
        """Sleeps most of the time and spins the rest: the event loop's clock is too coarse for a fast line."""
        end = time.monotonic() + duration_s
        if duration_s > 0.002:
            await asyncio.sleep(duration_s - 0.002)
        while time.monotonic() < end:  # noqa: ASYNC110 - spinning is the point
            await asyncio.sleep(0)


def _request_size(buffer: bytes) -> int:
    """Length of the RTU request that ``buffer`` begins with; 0 while unknown."""
    if len(buffer) < 8:
        return 0
    if buffer[1] in (15, 16):
        return 9 + buffer[6]
    return 10 if buffer[1] == 22 else 8
