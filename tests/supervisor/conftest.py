"""A supervisor on a free port in this process, and a runtime that speaks the link, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime import link
from supervisor.app import create_app
from supervisor.main import Server, _config
from supervisor.model import Actor, Role
from supervisor.settings import Settings
from tests.supervisor.fake_node import FakeNode

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
