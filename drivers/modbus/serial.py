"""Links on a serial port. pyserial opens and sets up the port; reading and writing is the event loop's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
from typing import Any

import serial
from serial.rs485 import RS485Settings

from drivers.modbus.stream import StreamLink

READ_SIZE = 4096


PSEUDO_TERMINALS = "/dev/pts/"


def open_port(path: str, *, parity: str, **settings: Any) -> Any:
    """An open ``serial.Serial``. Raises OSError, also where pyserial lets an error of the terminal's driver through."""
    if _is_pseudo_terminal(path):
        settings["bytesize"] = serial.EIGHTBITS
    try:
        return serial.Serial(path, parity=line_parity(path, parity), **settings)
    except (serial.SerialException, ValueError, termios.error) as error:
        raise OSError(f"DV2007: {error}") from error


def line_parity(path: str, parity: str) -> str:
    """``parity``, but none where there is no line: pseudo terminals refuse it when they are opened again."""
    return str(serial.PARITY_NONE) if _is_pseudo_terminal(path) else parity


def _is_pseudo_terminal(path: str) -> bool:
    return os.path.realpath(path).startswith(PSEUDO_TERMINALS)


class SerialLink(StreamLink):
    """RTU or ASCII on ``port``; opened again whenever it vanishes, as a USB adapter does."""

    def __init__(
        self,
        port: str,
        *,
        framing: str,
        baud: int,
        parity: str,
        stop_bits: int,
        rs485: bool = False,
        **options: object,
    ) -> None:
        super().__init__(framing=framing, baud=baud, **options)  # type: ignore[arg-type]  # as in StreamTcpLink
        self.address = port
        self._port = port
        self._settings: dict[str, Any] = {
            "baudrate": baud,
            "bytesize": serial.SEVENBITS if framing == "ascii" else serial.EIGHTBITS,
            "parity": parity,
            "stopbits": stop_bits,
        }
        self._rs485 = rs485

    async def _open(self) -> None:
        port = await asyncio.get_running_loop().run_in_executor(None, self._open_port)
        SerialTransport(port, self, asyncio.get_running_loop())

    def _open_port(self) -> Any:
        port = open_port(self._port, timeout=0, exclusive=True, **self._settings)
        try:
            if self._rs485:
                port.rs485_mode = RS485Settings()
        except (OSError, ValueError) as error:
            port.close()
            raise OSError(f"DV2007: {error}") from error
        with contextlib.suppress(OSError, ValueError, AttributeError):
            port.set_low_latency_mode(True)
        return port


class SerialTransport(asyncio.WriteTransport):
    """An open serial port as a transport: just what links and servers need."""

    def __init__(self, port: Any, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._port = port
        self._fd = port.fileno()
        self._protocol = protocol
        self._loop = loop
        self._waiting = b""
        os.set_blocking(self._fd, False)
        loop.add_reader(self._fd, self._readable)
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._port is None:
            return
        self._waiting += bytes(data)
        self._writable()

    def abort(self) -> None:
        self._end(None)

    def close(self) -> None:
        self._end(None)

    def is_closing(self) -> bool:
        return self._port is None

    def _writable(self) -> None:
        try:
            written = os.write(self._fd, self._waiting)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._end(error)
            return
        self._waiting = self._waiting[written:]
        if self._waiting:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._end(OSError("the port was closed"))

    def _end(self, error: Exception | None) -> None:
        if self._port is None:
            return
        port, self._port = self._port, None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError):
            port.close()
        self._loop.call_soon(self._protocol.connection_lost, error)
