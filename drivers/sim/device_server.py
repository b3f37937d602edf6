"""A simulated Modbus TCP device, or gateway with several units, that misbehaves on request."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct

from pymodbus import FramerType

from drivers.sim.faults import Step
from drivers.sim.registers import RegisterDevice
from drivers.sim.units import SimulatedUnits


class TcpDevice(SimulatedUnits):
    """Serves ``units`` at a loopback port.

    ``one_at_a_time`` makes it a gateway that handles one request after another, waiting ``dead_s`` for a unit that is
    missing.
    """

    def __init__(
        self,
        units: dict[int, RegisterDevice],
        *,
        delay_s: float = 0.0,
        one_at_a_time: bool = False,
        dead_s: float = 0.0,
    ) -> None:
        super().__init__(units, FramerType.SOCKET)
        self.connections = 0
        self.port = 0
        self._delay_s = delay_s
        self._dead_s = dead_s
        self._serial = asyncio.Lock() if one_at_a_time else None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._half_open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> int:
        """Listens, at a free port if it is 0, and returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                header = await reader.readexactly(7)
                length, unit = struct.unpack(">HB", header[4:])
                if length < 2:
                    break
                frame = header + await reader.readexactly(length - 1)
                task = asyncio.create_task(self._answer(writer, unit, frame))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._writers.discard(writer)
        self._half_open.discard(writer)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, unit: int, frame: bytes) -> None:
        async with self._serial or contextlib.nullcontext():
            await asyncio.sleep(self._delay_s if unit in self.units else self._dead_s)
            for step in await self.respond(frame):
                await self._take(writer, step)

    async def _take(self, writer: asyncio.StreamWriter, step: Step) -> None:
        if step.delay_s:
            await asyncio.sleep(step.delay_s)
        if step.end == "reset":
            writer.transport.abort()
        elif step.end == "close":
            writer.close()
        elif step.end == "half-open":
            self._half_open.add(writer)
        elif writer not in self._half_open:
            with contextlib.suppress(ConnectionError):
                writer.write(step.data)
