"""Carries the frames of the link: dials the supervisor, again and again. All decisions are in ``uplink``."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import structlog
import websockets
from websockets.asyncio.client import ClientConnection, connect

from runtime.http import tls_context
from runtime.link import FRAME_SIZE_MAX
from runtime.restart import Backoff
from runtime.uplink import State, Uplink
from runtime.uplink_buffer import Buffer
from scan.problem import TickworkError

log = structlog.get_logger("tickwork.link")

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
OPEN_S = 10.0
PING_S = 15.0  # a dead path is noticed within two of these
QUIET_S = 1.0  # the writer looks after the greeting's deadline this often


def websocket_url(base: str) -> str:
    """``https://host/base`` -> ``wss://host/base/link/ws``."""
    parts = urlsplit(base)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/link/ws", "", ""))


class LinkClient:
    """Keeps one connection. ``came_up`` is called after each Welcome, ``ordered`` when orders wait in the uplink."""

    def __init__(
        self,
        uplink: Uplink,
        buffer: Buffer,
        url: str,
        *,
        ca_file: str = "",
        came_up: Callable[[], None],
        ordered: Callable[[], None],
    ) -> None:
        self.last_error = ""
        self._uplink = uplink
        self._buffer = buffer
        self._url = websocket_url(url)
        self._tls = tls_context(ca_file) if url.startswith("https") else None
        self._came_up = came_up
        self._ordered = ordered
        self._wake = asyncio.Event()
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._connect_once()
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                self._failed(f"{type(error).__name__}: {error}")
            except TickworkError as error:
                self._failed(error.problems[0].message)
            self._uplink.closed()
            await asyncio.sleep(self._backoff.next_s(random.random()))  # noqa: S311 - spreads load, protects nothing

    def _failed(self, reason: str) -> None:
        if reason != self.last_error:  # once per reason, not once per attempt
            log.warning("link to the supervisor is down", url=self._url, reason=reason)
        self.last_error = reason

    async def _connect_once(self) -> None:
        async with connect(
            self._url, ssl=self._tls, max_size=FRAME_SIZE_MAX, open_timeout=OPEN_S, ping_interval=PING_S,
            ping_timeout=PING_S, close_timeout=2.0, compression=None, proxy=None,
        ) as socket:  # fmt: skip
            self._uplink.opened(time.time_ns())
            tasks = (asyncio.create_task(self._read(socket)), asyncio.create_task(self._write(socket)))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._uplink.refused is not None:
            self._failed(f"refused: {self._uplink.refused.message}")

    async def _read(self, socket: ClientConnection) -> None:
        async for frame in socket:
            if isinstance(frame, str):
                continue  # the link is binary; a proxy's text is not for us
            if self._uplink.received(frame, time.time_ns()):
                self._backoff.reset()
                self.last_error = ""
                log.info("link to the supervisor is up", url=self._url)
                self._came_up()
            if self._uplink.orders:
                self._ordered()
            self._wake.set()

    async def _write(self, socket: ClientConnection) -> None:
        while not self._uplink.is_overdue(time.time_ns()):
            self._wake.clear()
            if self._uplink.state is State.UP and self._buffer.synced_seq < self._buffer.next_seq - 1:
                await asyncio.to_thread(self._buffer.sync)
            frames = self._uplink.outgoing()
            for frame in frames:
                await socket.send(frame)
            if not frames:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), QUIET_S)
