"""The RTU slave: silent for other units, for broadcasts and for whatever is damaged; awake again after a silence."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from drivers.modbus import rtu
from drivers.modbus.serial import SerialTransport, open_port
from drivers.modbus.server_pdu import Order
from scan.problem import fail

if TYPE_CHECKING:
    from drivers.modbus.server import ModbusServer

RESET_MIN_S = 0.005  # serial adapters deliver in blocks of some milliseconds
BROADCAST = 0


class SerialServer(asyncio.Protocol):
    """Serves ``server`` at its serial port, under the units of its section (unit 1 if none is given)."""

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        section = server.section
        self._units = section.units or (1,)
        self._silence_s = rtu.silence_s(section.baud)
        self._reset_s = max(self._silence_s, RESET_MIN_S)
        self._buffer = b""
        self._heard_at = 0.0
        self._lost = False  # the buffer holds what cannot be followed; wait for silence
        self._transport: asyncio.WriteTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises TickworkError DV2007 when the port cannot be used."""
        section = self._server.section
        try:
            port = open_port(
                section.serial_port, baudrate=section.baud, parity=section.parity, stopbits=section.stop_bits,
                timeout=0, exclusive=True,
            )  # fmt: skip
        except OSError as error:
            raise fail(
                "DV2007",
                f"the Modbus server cannot use the serial port {section.serial_port}",
                found=str(error),
                remedy="check its name and who else uses it",
            ) from error
        SerialTransport(port, self, asyncio.get_running_loop())

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if now - self._heard_at >= self._reset_s:
            self._buffer = b""
            self._lost = False
        self._heard_at = now
        if self._lost:
            return
        self._buffer += data
        size = rtu.request_size(self._buffer, 1)
        if size < 0 or len(self._buffer) > rtu.FRAME_SIZE_MAX:
            self._unknown()
        elif size and len(self._buffer) >= size + 3:
            self._frame(self._buffer[: size + 3])

    def _unknown(self) -> None:
        """An unknown function has no known length: it is whole when its checksum fits."""
        if rtu.is_frame(self._buffer):
            self._frame(self._buffer)
        elif len(self._buffer) > rtu.FRAME_SIZE_MAX:
            self._lost = True

    def _frame(self, frame: bytes) -> None:
        if not rtu.is_frame(frame):
            self._lost = True
            return
        self._buffer = b""
        # What follows may be another slave's answer, which looks like anything: wait for silence after foreign frames.
        self._lost = frame[0] not in self._units
        if not self._lost or frame[0] == BROADCAST:
            task = asyncio.get_running_loop().create_task(self._serve(frame[0], frame[1:-2]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, unit: int, pdu: bytes) -> None:
        client = self._server.section.serial_port
        answer = self._server.answer(pdu, client)
        reply = await self._server.carry_out(pdu[0], answer, client) if isinstance(answer, Order) else answer
        if unit == BROADCAST:
            return
        await asyncio.sleep(max(self._heard_at + self._silence_s - time.monotonic(), 0.0))
        if self._transport is not None:
            self._transport.write(rtu.encode(unit, reply))
