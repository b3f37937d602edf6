import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.sim.device_server import TcpDevice
from drivers.sim.faults import TCP, Step
from drivers.sim.registers import RegisterDevice
from scan.quality import BAD_DEVICE_FAILURE, BAD_NO_COMMUNICATION, BAD_NOT_CONNECTED, GOOD, is_bad


@pytest.fixture
async def registers() -> RegisterDevice:
    device = RegisterDevice(size=200)
    device.holding[:4] = [1, 2, 0xABCD, 65535]
    return device


@pytest.fixture
async def server(registers: RegisterDevice) -> AsyncIterator[TcpDevice]:
    server = TcpDevice({1: registers})
    await server.start()
    yield server
    await server.stop()


async def test_inputs_when_the_device_answers_then_value_quality_and_time(
    world: Any, server: TcpDevice
) -> None:
    before_ns = time.time_ns()
    async with world.polling(world.table(server.port, read=[world.read()])) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        assert image.words(4) == [1, 2, 0xABCD, 65535]
        assert set(image.quality) == {GOOD}
        assert before_ns < image.times.min() <= time.time_ns()


async def test_inputs_when_bits_are_unaligned_then_neighbours_stay(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    registers.discrete[5:8] = [True, False, True]
    block = world.read(function="discrete-inputs", address=5, count=3, to="%IX1.6")
    async with world.polling(world.table(server.port, read=[block])) as (poller, image):
        image.image[1] = 0b00111111
        image.image[2] = 0b11111110
        await world.until(lambda: poller.state == "online", "online")
        assert list(image.image[1:3]) == [0b01111111, 0b11111111]


async def test_inputs_when_the_device_goes_and_returns_then_bad_and_good_again(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    states: list[str] = []
    definition = world.table(server.port, read=[world.read()], status="%IX20.0")
    async with world.polling(definition, on_state=lambda _, state, __: states.append(state)) as (
        _,
        image,
    ):
        await world.until(lambda: image.image[20] & 1, "status bit")
        await server.stop()
        await world.until(lambda: image.quality[0] == BAD_NOT_CONNECTED, "bad")
        assert image.image[20] & 1 == 0
        assert image.words(4) == [1, 2, 0xABCD, 65535]  # held
        registers.holding[0] = 77
        await server.start(port=server.port)
        await world.until(lambda: image.quality[0] == GOOD, "good again")
        assert image.words(1) == [77]
    assert states[:3] == ["online", "offline", "connecting"]
    assert states[-1] == "online"


async def test_inputs_when_on_loss_is_zero_then_the_value_is_zero(world: Any, server: TcpDevice) -> None:
    async with world.polling(world.table(server.port, read=[world.read(on_loss="zero")])) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        await server.stop()
        await world.until(lambda: is_bad(int(image.quality[0])), "bad")
        assert image.words(4) == [0, 0, 0, 0]


async def test_block_when_its_address_is_illegal_then_only_that_block_is_bad(
    world: Any, server: TcpDevice
) -> None:
    blocks = [world.read(), world.read(address=500, count=1, to="%IW10")]
    async with world.polling(world.table(server.port, read=blocks)) as (poller, image):
        await world.until(lambda: image.quality[4] == BAD_DEVICE_FAILURE, "the second block is bad")
        await world.until(lambda: image.quality[0] == GOOD, "the first block is good")
        assert poller.state == "online"
        assert poller.statistics.exceptions[2] >= 1


async def test_device_when_silent_then_demoted_and_probed_and_back(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    definition = world.table(server.port, read=[world.read()], timeout_ms=30, failures_max=2)
    async with world.polling(definition) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        server.always = TCP["drop"]
        await world.until(lambda: poller.state == "offline", "offline")
        assert image.quality[0] == BAD_NO_COMMUNICATION
        asked = registers.requests
        await asyncio.sleep(0.3)
        assert registers.requests - asked <= 5  # probes, not polls: 15 would have been due
        server.always = None
        await world.until(lambda: poller.state == "online", "online again")
        assert poller.statistics.demotions == 1


async def test_outputs_when_they_change_then_written_once_and_refreshed(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    write = {
        "function": "coils",
        "address": 0,
        "count": 3,
        "from": "%QX0.2",
        "mode": "both",
        "refresh_ms": 60,
    }
    async with world.polling(world.table(server.port, write=[write])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(bytes([0b10111]), live=True)
        await world.until(lambda: registers.coils[:4] == [True, False, True, False], "first write")
        for _ in range(5):
            poller.follow(bytes([0b10111]), live=True)
            await asyncio.sleep(0)
        assert len(registers.writes) == 1
        await asyncio.sleep(0.07)
        poller.follow(bytes([0b10111]), live=True)
        await world.until(lambda: len(registers.writes) == 2, "refresh")


async def test_outputs_when_mode_is_change_then_no_refresh_but_again_after_a_reconnect(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    write = {
        "function": "holding-registers",
        "address": 9,
        "from": "%QW0",
        "mode": "change",
        "refresh_ms": 10,
    }
    async with world.polling(world.table(server.port, write=[write])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x34\x12", live=True)
        await world.until(lambda: registers.holding[9] == 0x1234, "written")
        await asyncio.sleep(0.03)
        poller.follow(b"\x34\x12", live=True)
        assert poller.statistics.writes == 1
        await server.stop()
        await world.until(lambda: not poller.link.connected, "lost")
        registers.holding[9] = 0
        await server.start(port=server.port)
        await world.until(lambda: poller.link.connected, "connected again")
        poller.follow(b"\x34\x12", live=True)
        await world.until(lambda: registers.holding[9] == 0x1234, "written again")


async def test_outputs_when_the_scan_is_gone_then_safe_values_or_hold(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    writes = [
        {"function": "holding-registers", "address": 0, "count": 2, "from": "%QW0", "safe": [5, 6]},
        {"function": "holding-registers", "address": 10, "from": "%QW2", "safe": "hold"},
    ]
    async with world.polling(world.table(server.port, write=writes)) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x01\x00\x02\x00\x03\x00", live=True)
        await world.until(lambda: poller.settled, "written")
        assert registers.holding[10] == 3
        poller.follow(b"\x00" * 6, live=False)
        await world.until(lambda: poller.settled, "safe")
        assert registers.holding[:2] == [5, 6]
        assert registers.holding[10] == 3


async def test_outputs_when_read_back_differs_then_counted_and_tried_again(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    write = {"function": "holding-registers", "address": 0, "from": "%QW0", "verify": "read-back"}
    server.faults.extend([TCP["none"], lambda x: [Step(x.frame(b"\x03\x02\x00\x09"))]])
    async with world.polling(world.table(server.port, write=[write])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x07\x00", live=True)
        await world.until(lambda: poller.statistics.mismatches == 1, "difference seen")
        assert "read-back" in poller.statistics.last_error
        assert not poller.settled


async def test_read_when_triggered_by_an_output_then_only_at_its_rising_edge(
    world: Any, server: TcpDevice, registers: RegisterDevice
) -> None:
    async with world.polling(world.table(server.port, read=[world.read(trigger="%QX0.3")])) as (
        poller,
        image,
    ):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x00", live=True)
        poller.follow(b"\x08", live=True)
        poller.follow(b"\x08", live=True)
        await world.until(lambda: image.quality[0] == GOOD, "read")
        assert registers.requests == 1


async def test_statistics_when_blocks_differ_then_each_has_its_own(world: Any, server: TcpDevice) -> None:
    blocks = [world.read(), world.read(address=500, count=1, to="%IW10")]
    async with world.polling(world.table(server.port, read=blocks)) as (poller, _):
        await world.until(lambda: poller.statistics.exceptions[2] >= 2, "two exceptions")
        await world.until(lambda: poller.statistics.replies >= 5, "replies")
        good, bad = poller.report()["blocks"]
        assert (good["failures"], good["quality"], good["period_ms"]) == (0, GOOD, 20)
        assert good["replies"] >= 1
        assert 0 < good["latency_p50_ns"] <= good["latency_max_ns"]
        assert bad["replies"] == 0
        assert bad["exceptions"]["2"] >= 2
        assert bad["quality"] == BAD_DEVICE_FAILURE


async def test_inputs_when_the_device_is_gone_then_substitutes_where_given(
    world: Any, server: TcpDevice
) -> None:
    blocks = [
        world.read(count=2, on_loss="substitute", substitute=[7, 8]),
        world.read(function="coils", count=3, to="%IX4.1", on_loss="substitute", substitute=1),
    ]
    points = [
        {"name": "a", "function": "holding-registers", "address": 2, "type": "uint16", "scale": 0.1, "to": "%ID2",
         "substitute": -2.5},
        {"name": "b", "function": "holding-registers", "address": 3, "type": "bit", "bit": 0, "to": "%IX12.3",
         "substitute": 0},
        {"name": "c", "function": "holding-registers", "address": 3, "to": "%IW7"},
    ]  # fmt: skip
    async with world.polling(world.table(server.port, read=blocks, point=points)) as (poller, image):
        await world.until(lambda: set(image.quality) == {GOOD}, "all good")
        assert image.words(2) == [1, 2]
        assert image.image[12] == 0b1000
        await server.stop()
        await world.until(lambda: is_bad(int(image.quality.min())), "all bad")
        assert image.words(2) == [7, 8]
        assert image.image[4] == 0b1110
        assert float(image.image[8:12].view("<f4")[0]) == -2.5
        assert image.image[12] == 0
        assert image.words(8)[7] == 65535  # held
        assert poller.state == "offline"
