"""A supervisor on a free port in this process, and a runtime that speaks the link, for the tests of this folder."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
import websockets
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime import link
from scan.abi import IecType
from supervisor.app import create_app
from supervisor.main import Server, _config
from supervisor.model import Actor, Role
from supervisor.settings import Settings

PASSWORD = "four green valves open"
ADMIN = Actor("test", Role.ADMIN, "system")


@dataclass
class Supervisor:
    """A running one. ``http`` sends the API key of the asked role."""

    url: str
    app: Any
    server: Server
    task: asyncio.Task[None]
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    @property
    def services(self) -> Any:
        return self.app.state.services

    @property
    def parts(self) -> Any:
        return self.app.state.parts

    async def http(self, role: Role = Role.ADMIN, **key: Any) -> httpx.AsyncClient:
        secret = await self.services.people.create_api_key(ADMIN, f"{role} key", role, **key)
        client = httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {secret.secret}"}, timeout=30
        )
        self.clients.append(client)
        return client

    def anonymous(self, **options: Any) -> httpx.AsyncClient:
        client = httpx.AsyncClient(base_url=self.url, timeout=30, **options)
        self.clients.append(client)
        return client

    async def stop(self) -> None:
        for client in self.clients:
            await client.aclose()
        self.server.should_exit = True
        await self.task


@contextlib.asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[Supervisor]:
    settings = Settings(folder, port=0, argon2_kib=64, **options)
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    app = create_app(settings)
    server = Server(_config(app, settings), app.state.parts, settings)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    found = Supervisor(f"http://127.0.0.1:{listener.getsockname()[1]}", app, server, task)
    try:
        yield found
    finally:
        await found.stop()
        listener.close()


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    async with running(tmp_path / "data") as found:
        yield found


@pytest.fixture
def run_supervisor() -> Callable[..., contextlib.AbstractAsyncContextManager[Supervisor]]:
    return running


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


@pytest.fixture
async def make_node(supervisor: Supervisor) -> AsyncIterator[Callable[..., Awaitable[FakeNode]]]:
    """Enrols and connects a runtime."""
    nodes: list[FakeNode] = []

    async def make(name: str = "water-1", *, connect: bool = True) -> FakeNode:
        node = FakeNode(supervisor.url, name)
        nodes.append(node)
        token = await supervisor.services.people.create_enrolment_token(ADMIN)
        assert (await node.enrol(token.secret)).status_code == 200
        if connect:
            assert isinstance(await node.dial(), link.Welcome)
            await node.describe()
            await node.status()
            async with asyncio.timeout(5):
                while supervisor.parts.fleet.node(node.node_id).status is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        return node

    yield make
    for node in nodes:
        await node.hang_up()


@pytest.fixture
def fake_node() -> type[FakeNode]:
    return FakeNode


@pytest.fixture
def admin() -> Actor:
    return ADMIN


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Poll until the result is true; it is returned."""

    async def poll(probe: Callable[[], Awaitable[Any]], timeout_s: float = 5.0) -> Any:
        async with asyncio.timeout(timeout_s):
            while not (found := await probe()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return found

    return poll
