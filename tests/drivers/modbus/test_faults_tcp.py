"""Whatever a device sends back, no wrong value reaches the image, and the connection lives on."""

import asyncio
import time
from typing import Any

import pytest

from drivers.sim.device_server import TcpDevice
from drivers.sim.faults import TCP, Step
from drivers.sim.registers import RegisterDevice
from scan.quality import is_good

OLD, NEW = 0x1111, 0x2222
AT_ONCE = [
    "exception-2", "exception-11", "exception-85", "exception-of-other-function", "exception-too-long",
    "other-function", "fewer-registers", "more-registers", "byte-count-too-high", "byte-count-too-low",
    "function-only", "wrong-unit", "close", "reset", "half-then-close", "length-0", "length-1", "length-300",
    "length-65535", "protocol-1", "protocol-1-then-right", "garbage-then-right", "web-page", "length-one-short",
]  # fmt: skip
READ_FAULTS = [name for name in TCP if not name.startswith("echo-of-other")]


@pytest.mark.parametrize("name", READ_FAULTS)
async def test_reading_when_a_reply_is_faulty_then_no_wrong_value_and_the_next_is_right(
    world: Any, name: str
) -> None:
    registers = RegisterDevice(size=8)
    registers.holding[:4] = [OLD] * 4
    server = TcpDevice({1: registers})
    definition = world.table(await server.start(), read=[world.read(period_ms=30)], busy_retries=0)
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: poller.state == "online", "online")
            server.faults.append(TCP[name])
            await world.until(lambda: not server.faults, "the fault has been sent")
            registers.holding[:4] = [NEW] * 4
            mark = len(image.history)
            await world.until(lambda: image.words(4) == [NEW] * 4, "the new values")
            await world.until(lambda: is_good(int(image.quality[0])), "good again")
            for words, _quality in image.history[mark:]:
                assert words in (OLD.to_bytes(2, "little") * 4, NEW.to_bytes(2, "little") * 4)
            assert poller.link.connects <= 2
    finally:
        await server.stop()


@pytest.mark.parametrize("name", AT_ONCE)
async def test_request_when_the_reply_is_plainly_wrong_then_it_fails_long_before_the_timeout(
    world: Any, name: str
) -> None:
    registers = RegisterDevice(size=8)
    server = TcpDevice({1: registers})
    definition = world.table(await server.start(), read=[world.read(period_ms=30)], timeout_ms=5000)
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: poller.state == "online", "online")
            server.faults.append(TCP[name])
            await world.until(lambda: not server.faults, "the fault has been sent")
            began = time.monotonic()
            await world.until(lambda: not is_good(int(image.quality[0])), "the failure is seen")
            assert time.monotonic() - began < 1.0
    finally:
        await server.stop()


@pytest.mark.parametrize("name", ["echo-of-other-address", "echo-of-other-value", "other-function", "drop"])
async def test_writing_when_the_echo_is_wrong_then_it_counts_as_unwritten_and_is_repeated(
    world: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.modbus._write.REFUSED_WAIT_NS", 50_000_000)
    registers = RegisterDevice(size=8)
    server = TcpDevice({1: registers})
    write = {"function": "holding-registers", "address": 2, "from": "%QW0", "mode": "change"}
    definition = world.table(await server.start(), write=[write])
    server.faults.append(TCP[name])
    try:
        async with world.polling(definition) as (poller, _):
            await world.until(lambda: poller.link.connected, "connected")
            while poller.statistics.writes < 2:
                poller.follow(b"\x05\x00", live=True)
                await asyncio.sleep(0.01)
            await world.until(lambda: poller.settled, "written")
            assert poller.statistics.errors == 1
    finally:
        await server.stop()


async def test_reply_when_it_comes_after_the_timeout_then_it_is_not_taken_for_the_next(world: Any) -> None:
    registers = RegisterDevice(size=8)
    server = TcpDevice({1: registers})
    blocks = [world.read(count=1, period_ms=40), world.read(address=4, count=1, to="%IW4", period_ms=40)]
    registers.holding[0], registers.holding[4] = 100, 400
    server.always = lambda x: [Step(x.frame(), 0.15 if x.request[2] == 0 else 0.0)]
    definition = world.table(await server.start(), read=blocks, timeout_ms=100, failures_max=30)
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: poller.link.late_replies >= 5, "late replies")
            assert {words[8:10] for words, _ in image.history} <= {b"\0\0", (400).to_bytes(2, "little")}
            assert {words[0:2] for words, _ in image.history} == {b"\0\0"}
    finally:
        await server.stop()


async def test_open_requests_when_the_server_closes_then_all_fail_within_20_ms(world: Any) -> None:
    registers = RegisterDevice(size=8)
    server = TcpDevice({1: registers})
    blocks = [world.read(address=i, count=1, to=f"%IW{i}") for i in range(4)]
    server.always = TCP["drop"]
    definition = world.table(await server.start(), read=blocks, timeout_ms=5000, max_outstanding=4)
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: registers.requests == 4, "four open requests")
            mark = len(image.history)
            began = time.monotonic()
            await server.stop()
            await world.until(lambda: len(image.history) > mark, "failure")
            assert not poller.link.connected
            assert time.monotonic() - began < 0.5
    finally:
        await server.stop()


async def test_connection_when_half_open_then_it_is_given_up_and_made_again(world: Any) -> None:
    """The peer swallows everything, as after a pulled cable: silence for three time-outs ends the connection."""
    registers = RegisterDevice(size=8)
    server = TcpDevice({1: registers})
    definition = world.table(await server.start(), read=[world.read()], timeout_ms=30)
    try:
        async with world.polling(definition) as (poller, _):
            await world.until(lambda: poller.state == "online", "online")
            server.always = TCP["drop"]
            await world.until(lambda: server.connections >= 2, "a second connection")
            server.always = None
            await world.until(lambda: poller.state == "online", "online again")
    finally:
        await server.stop()
