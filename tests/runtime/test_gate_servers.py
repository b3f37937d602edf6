"""Servers in the gate: one that fails is told once, tried again, and never anybody else's trouble."""

import asyncio

import pytest

from runtime import gate_servers
from runtime.gate_servers import Hosted
from runtime.link import Event
from scan.problem import fail


class FakeServer:
    def __init__(self, failures: list[Exception], deaf: bool = False) -> None:
        self.failures = failures
        self.deaf = deaf
        self.starts = self.stops = 0

    async def start(self) -> None:
        self.starts += 1
        if self.failures:
            raise self.failures.pop(0)

    async def stop(self) -> None:
        self.stops += 1

    async def rebind(self) -> None:
        if self.deaf:
            self.deaf = False
            raise RuntimeError("cannot follow")

    def clients(self) -> list[str]:
        return ["one"]

    def endpoints(self) -> list[str]:
        return ["opc.tcp://x"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_servers, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(gate_servers, "RETRY_MAX_S", 0.001)


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_server_when_it_fails_at_first_then_it_serves_later_and_each_reason_is_told_once() -> None:
    taken = fail("UA1001", "the port is taken")
    server = FakeServer([taken, fail("UA1001", "the port is taken"), ValueError("odd")])
    events: list[Event] = []
    hosted = Hosted("opcua", lambda: server, events.append, lambda: None)
    task = asyncio.create_task(hosted.run())
    await until(lambda: server.starts == 4 and hosted.endpoints())
    assert [event.fields.get("code", "") for event in events] == ["UA1001", "CL9001", ""]
    assert hosted.clients() == ["one"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert hosted.endpoints() == []
    assert server.stops == 4


async def test_server_when_it_cannot_follow_a_new_program_then_it_starts_anew() -> None:
    server = FakeServer([], deaf=True)
    changes: list[int] = []
    hosted = Hosted("opcua", lambda: server, lambda _event: None, lambda: changes.append(1))
    task = asyncio.create_task(hosted.run())
    await until(hosted.endpoints)
    await hosted.rebind()
    await until(lambda: server.starts == 2 and hosted.endpoints())
    await hosted.rebind()
    assert server.starts == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(changes) == 4
