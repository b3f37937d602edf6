"""Control lines: two peers on a real pair of sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runtime.control import Handler, Peer, refuse
from scan.problem import TickworkError, fail


async def _echo(op: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if op == "fail":
        raise fail("CL3003", "no")
    if op == "need":
        return {"got": arguments["missing"]}
    if op == "never":
        await asyncio.Event().wait()
    return {"said": [op, arguments]}


@contextlib.asynccontextmanager
async def pair(handler: Handler = _echo) -> AsyncIterator[tuple[Peer, Peer, list[Any], asyncio.StreamWriter]]:
    left, right = socket.socketpair()
    heard: list[Any] = []
    one = Peer(*await asyncio.open_connection(sock=left), handler=refuse)
    reader, writer = await asyncio.open_connection(sock=right)
    two = Peer(reader, writer, handler=handler, listener=lambda name, fields: heard.append((name, fields)))
    tasks = [asyncio.create_task(peer.run()) for peer in (one, two)]
    try:
        yield one, two, heard, writer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_request_when_answered_then_the_fields_come_back() -> None:
    async with pair() as (one, _, _, _):
        answers = await asyncio.gather(*(one.request("say", n=n) for n in range(20)))
        assert [answer["said"][1]["n"] for answer in answers] == list(range(20))


async def test_request_when_the_other_end_raises_then_its_problem_arrives() -> None:
    async with pair() as (one, two, _, _):
        for op, code in (("fail", "CL3003"), ("need", "CL3004")):
            with pytest.raises(TickworkError) as raised:
                await one.request(op)
            assert raised.value.code == code
        with pytest.raises(TickworkError) as raised:
            await two.request("anything")
        assert raised.value.code == "CL3003"


async def test_request_when_nobody_answers_then_it_times_out() -> None:
    async with pair() as (one, _, _, _):
        with pytest.raises(TickworkError) as raised:
            await one.request("never", timeout_s=0.05)
        assert raised.value.code == "CL3002"


async def test_request_when_the_other_end_closes_then_it_fails_at_once() -> None:
    async with pair() as (one, _, _, writer):
        waiting = asyncio.create_task(one.request("never"))
        await asyncio.sleep(0)
        writer.close()
        with pytest.raises(TickworkError) as raised:
            await waiting
        assert raised.value.code == "CL3001"
        with pytest.raises(TickworkError):
            await one.request("say")


async def test_event_when_sent_then_the_listener_hears_it() -> None:
    async with pair() as (one, _, heard, _):
        one.event("state", state="running")
        await one.request("say")
        assert heard == [("state", {"state": "running"})]


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b'{"id": 77, "ok": true}\n', b"{}\n", b"\xff\xfe\n"]
)
async def test_line_when_it_is_nonsense_then_it_is_counted_and_the_peer_lives(line: bytes) -> None:
    async with pair() as (one, two, _, writer):
        writer.write(line)
        await two.drain()
        assert (await two_way(one))["said"][0] == "say"
        assert one.nonsense_count == 1


async def two_way(peer: Peer) -> dict[str, Any]:
    return await peer.request("say")
