"""A runtime as the supervisor sees it, in the hands of a test."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from typing import Any

import httpx
import msgspec
import numpy as np
import websockets
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime import link
from scan.abi import IecType


class FakeNode:
    """A runtime as the supervisor sees it; every message it sends is the test's own."""

    def __init__(self, url: str, name: str = "water-1") -> None:
        self.url = url
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.node_id = ""
        self.boot = "boot-1"
        self.seq = 0
        self.supervisor_key = ""
        self.digest = "d" * 64
        self.received: list[Any] = []
        self.socket: Any = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def public_key(self) -> str:
        raw = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode()

    async def enrol(self, token: str) -> httpx.Response:
        request = link.EnrolRequest(token, self.name, self.public_key, "0.1.0")
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{self.url}/link/enrol", content=msgspec.json.encode(request))
        if answer.status_code == 200:
            reply = msgspec.json.decode(answer.content, type=link.EnrolReply)
            self.node_id, self.supervisor_key = reply.node_id, reply.supervisor_key
        return answer

    async def dial(self, *, key: Ed25519PrivateKey | None = None) -> Any:
        """Connect and greet; the supervisor's answer (Welcome or Refused)."""
        self.socket = await websockets.connect(
            self.url.replace("http", "ws") + "/link/ws", max_size=link.FRAME_SIZE_MAX
        )
        challenge: Any = link.decode_down(await self.socket.recv())
        signature = (key or self.key).sign(b"tickwork-link-1" + challenge.nonce + self.node_id.encode())
        await self.send(link.Hello(link.LINK_VERSION, self.node_id, signature, self.boot, time.time_ns()))
        answer = link.decode_down(await self.socket.recv())
        if isinstance(answer, link.Welcome):
            self._reader = asyncio.create_task(self._read())
        return answer

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for frame in self.socket:
                self.received.append(link.decode_down(frame))

    async def send(self, message: Any) -> None:
        await self.socket.send(link.encode(message))

    async def describe(self, tags: tuple[link.Tag, ...] | None = None) -> None:
        if tags is None:
            tags = (
                link.Tag(0, "Main.Level", int(IecType.REAL), "m", 0.0, 5.0),
                link.Tag(1, "Main.Pump", int(IecType.BOOL), writable=True),
                link.Tag(2, "Main.Text", int(IecType.STRING)),
                link.Tag(7, "Main.Setpoint", int(IecType.REAL), "m", writable=True),
            )
        await self.send(link.Describe("water", self.digest, "", tags, ("Fast",), ("plant",), "0.1.0"))

    async def batch(self, rows: list[tuple[int, int, float, int]], **options: Any) -> int:
        """``rows``: (tag id, time, value, quality). The batch's seq."""
        self.seq += 1
        ids, times, values, quality = (list(c) for c in zip(*rows, strict=True))
        await self.send(
            link.Batch(
                options.pop("seq", self.seq), options.pop("digest", self.digest), np.array(ids, "<u4").tobytes(),
                np.array(times, "<i8").tobytes(), np.array(values, "<f8").tobytes(),
                np.array(quality, "<u2").tobytes(), **options,
            )
        )  # fmt: skip
        return self.seq

    async def journal(self, *events: link.Event) -> int:
        self.seq += 1
        await self.send(link.Journal(self.seq, events))
        return self.seq

    async def status(self, **options: Any) -> None:
        values = {
            "state": "running",
            "scan": 100,
            "digest": self.digest,
            "tasks": (),
            "devices": (),
        } | options
        await self.send(link.Status(time.time_ns(), **values))

    async def wait_for(self, kind: type, timeout_s: float = 5.0) -> Any:
        """The next received message of that kind; it is taken out."""
        async with asyncio.timeout(timeout_s):
            while True:
                for message in self.received:
                    if isinstance(message, kind):
                        self.received.remove(message)
                        return message
                await asyncio.sleep(0.005)

    async def committed(self, seq: int) -> None:
        while (await self.wait_for(link.Committed)).seq < seq:
            pass

    async def hang_up(self) -> None:
        if self.socket is not None:
            await self.socket.close()
        if self._reader is not None:
            await self._reader
