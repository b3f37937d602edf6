"""The listener of the server: frames, back-pressure, and an end for connections that lead nowhere.

What one connection can make us hold is bounded: a frame in the making, the frames that wait (reading pauses), and the
answers that it does not read (its requests pause, then it is cut off).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import Buffer
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.ua.ua_binary import header_from_binary, uatcp_to_binary

log = structlog.get_logger("tickwork.opcua")

CHUNK_SIZE_MAX = 65_535
MESSAGE_SIZE_MAX = 4 * 1024 * 1024  # OPC 10000-7: a server need not take more; clients split larger requests
CHUNK_COUNT_MAX = MESSAGE_SIZE_MAX // CHUNK_SIZE_MAX + 1
ACTIVATION_S = 10.0
STRANGERS_MAX = 20  # connections of one address without a session
WAITING_SIZE_MAX = 1024 * 1024  # frames of one connection that wait to be processed
WRITE_BUFFER_MAX = 4 * 1024 * 1024
BLOCKED_S_MAX = 30.0  # answers that nobody reads
LOOK_S = 1.0
_HEADER = struct.Struct("<3scI")
_SIZE_MIN = {b"HEL": 8 + 24, b"OPN": 12 + 20, b"MSG": 12 + 12, b"CLO": 12 + 12}
_CHUNKS = (b"F", b"C", b"A")


def limits() -> TransportLimits:
    return TransportLimits(
        max_recv_buffer=CHUNK_SIZE_MAX,
        max_send_buffer=CHUNK_SIZE_MAX,
        max_chunk_count=CHUNK_COUNT_MAX,
        max_message_size=MESSAGE_SIZE_MAX,
    )


class Connection(OPCUAProtocol):
    """One TCP connection."""

    processor: Any
    listener: Listener

    def connection_made(self, transport: Any) -> None:
        self._received = bytearray()
        self._waiting: deque[int] = deque()  # sizes of the frames in the queue
        self._waiting_size = 0
        self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self.blocked_since_s = 0.0
        self.idle_since_s = time.monotonic()  # without an active session
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if not self.listener.admits(self.address):
            transport.abort()
            return
        super().connection_made(transport)
        if self.processor is not None:
            _tend(transport)
            self.processor = self.listener.make_processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)

    def data_received(self, data: bytes) -> None:
        if self.processor is None or self.transport is None or self.transport.is_closing():
            return
        self._received += data
        self._parse()

    def _parse(self) -> None:
        """Whole frames go to the queue until it holds enough; then nothing more is read for a while."""
        assert self.transport is not None
        while len(self._received) >= _HEADER.size and not self._is_full:
            kind, chunk, size = _HEADER.unpack_from(self._received)
            if kind not in _SIZE_MIN or chunk not in _CHUNKS or size < _SIZE_MIN[kind]:
                self.refuse(ua.StatusCodes.BadTcpMessageTypeInvalid, "malformed frame")
                return
            if size > CHUNK_SIZE_MAX:
                self.refuse(ua.StatusCodes.BadTcpMessageTooLarge, "frame too large")
                return
            if len(self._received) < size:
                return
            frame = Buffer(bytes(self._received[:size]))
            del self._received[:size]
            self._waiting.append(size)
            self._waiting_size += size
            self.messages.put_nowait((header_from_binary(frame), frame))
        if self._is_full and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    @property
    def _is_full(self) -> bool:
        return self._waiting_size > WAITING_SIZE_MAX or len(self._waiting) >= self.messages.maxsize // 2

    def refuse(self, code: int, why: str) -> None:
        """Tells the peer a code, then ends the connection."""
        log.warning("connection closed", peer=self.address, why=why)
        self.iserver.guard.failed(self.address)
        if self.transport is not None:
            self.transport.write(
                uatcp_to_binary(ua.MessageType.Error, ua.ErrorMessage(ua.StatusCode(code), ""))
            )
            self.transport.close()

    async def _process_one_msg(self, header: Any, buf: Any) -> bool:
        await self._writable.wait()
        goes_on = bool(await super()._process_one_msg(header, buf))
        if self._waiting:
            self._waiting_size -= self._waiting.popleft()
        if (
            self._paused
            and not self._waiting
            and self.transport is not None
            and not self.transport.is_closing()
        ):
            self._paused = False
            self.transport.resume_reading()
            self._parse()
        await asyncio.sleep(0)  # a connection with much to ask takes turns with the others
        return goes_on

    def pause_writing(self) -> None:
        self._writable.clear()
        self.blocked_since_s = time.monotonic()

    def resume_writing(self) -> None:
        self._writable.set()
        self.blocked_since_s = 0.0

    def overdue(self, now_s: float) -> str:
        """Why this connection has to end, "" if it may stay."""
        if self.processor.is_active:
            self.idle_since_s = now_s
        elif now_s - self.idle_since_s > ACTIVATION_S:
            return "no session was activated in time"
        if self.blocked_since_s and now_s - self.blocked_since_s > BLOCKED_S_MAX:
            return "it does not read its answers"
        return "the secure channel was not renewed" if now_s > self.processor.expires_s else ""

    def cut(self, why: str) -> None:
        log.warning("connection cut off", peer=self.address, why=why)
        if self.transport is not None:
            self.transport.abort()


def _tend(transport: Any) -> None:
    """A peer that is gone without a word is noticed within a minute; a large answer is not yet "too much"."""
    transport.set_write_buffer_limits(high=WRITE_BUFFER_MAX)
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * BLOCKED_S_MAX))


class Listener(BinaryServer):
    """Admits connections and looks after them once a second."""

    def __init__(self, iserver: Any, host: Any, port: Any, make_processor: Callable[..., Any]) -> None:
        super().__init__(iserver, host, port, limits())
        self.make_processor = make_processor
        self._looking: asyncio.Task[None] | None = None

    def admits(self, address: str) -> bool:
        """Whether a connection from ``address`` may be taken now; one without a session makes room for it."""
        if not self.iserver.guard.admits(address):
            return False
        strangers = [one for one in self.clients if not one.processor.is_active]
        if sum(one.address == address for one in strangers) >= STRANGERS_MAX:
            return False
        if len(self.clients) >= self.iserver.max_connections:
            now_s = time.monotonic()
            oldest = min(strangers, key=lambda one: one.idle_since_s, default=None)
            if oldest is None or now_s - oldest.idle_since_s < 1.0:
                return False
            oldest.cut("its place is needed")
            self.clients.remove(oldest)
        return True

    def _make_protocol(self) -> Connection:
        connection = Connection(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )
        connection.listener = self
        return connection

    async def start(self) -> None:
        await super().start()
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await super().stop()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            for connection in list(self.clients):
                why = connection.overdue(now_s)
                if why:
                    connection.cut(why)
