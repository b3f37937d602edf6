"""Init writes, divided blocks, deadbands, bits of registers, statistics as inputs."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymodbus.constants import ExcCodes

from drivers.modbus import parse_device
from drivers.modbus._read import divide
from drivers.sim.device_server import TcpDevice
from drivers.sim.faults import TCP, Step
from drivers.sim.registers import RegisterDevice
from scan.problem import TickworkError
from scan.quality import BAD_DEVICE_FAILURE, BAD_NOT_CONNECTED, GOOD


class Holey(RegisterDevice):
    """Registers that the device does not have: each request that touches one is refused."""

    def __init__(self, *missing: int) -> None:
        super().__init__(size=200)
        self.missing = set(missing)
        self.asked: list[tuple[int, int, int]] = []

    def heard(self, pdu: bytes) -> None:
        self.asked.append((pdu[0], *struct.unpack(">HH", pdu[1:5])))
        super().heard(pdu)

    def read(self, function: int, address: int, count: int) -> Any:
        if function in (3, 4) and self.missing & set(range(address, address + count)):
            return ExcCodes.ILLEGAL_ADDRESS
        return super().read(function, address, count)


@pytest.fixture
async def device() -> Holey:
    return Holey()


@pytest.fixture
async def server(device: Holey) -> AsyncIterator[TcpDevice]:
    server = TcpDevice({1: device})
    await server.start()
    yield server
    await server.stop()


def point(address: int, place: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"p{address}", "function": "holding-registers", "address": address, "to": f"%IW{place}", **changes,
    }  # fmt: skip


SCAN = [{"name": "fast", "period_ms": 20}]
INITS = [
    {"function": "holding-registers", "address": 50, "value": [7, -1]},
    {"function": "holding-registers", "address": 60, "value": 9},
    {"function": "coils", "address": 3, "value": 1},
    {"function": "coils", "address": 8, "value": [1, 0, 1]},
]


# ---------------------------------------------------------------- init writes


async def test_init_when_connected_then_written_in_order_before_anything_else(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    async with world.polling(world.table(server.port, read=[world.read()], init=INITS)) as (_, image):
        await world.until(lambda: image.quality[0] == GOOD, "read")
    assert [function for function, _, _ in device.asked[:5]] == [16, 6, 5, 15, 3]
    assert device.holding[50:52] == [7, 65535]
    assert device.holding[60] == 9
    assert [device.coils[at] for at in (3, 8, 9, 10)] == [True, True, False, True]


async def test_init_when_the_device_returns_then_written_again(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    definition = world.table(server.port, read=[world.read()], init=INITS[1:2], timeout_ms=30, failures_max=2)
    async with world.polling(definition) as (poller, image):
        await world.until(lambda: image.quality[0] == GOOD, "good")
        server.always = TCP["drop"]
        await world.until(lambda: poller.state == "offline", "demoted")
        await world.until(lambda: device.asked[-1][0] == 6, "probed with the init write")
        device.holding[60] = 0
        device.asked.clear()
        server.always = None
        await world.until(lambda: image.quality[0] == GOOD, "good again")
    assert device.holding[60] == 9
    assert device.asked[0][0] == 6


async def test_init_when_refused_then_the_inputs_stay_bad_and_it_is_tried_again(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    init = [{"function": "holding-registers", "address": 500, "value": 1}]
    write = {"function": "holding-registers", "address": 9, "from": "%QW0"}
    definition = world.table(server.port, read=[world.read()], write=[write], init=init)
    async with world.polling(definition) as (poller, image):
        await world.until(lambda: "init write 1 refused" in poller.statistics.last_error, "refused")
        poller.follow(b"\x05\x00", live=True)
        assert set(image.quality) == {BAD_NOT_CONNECTED}
        device.holding.extend([0] * 400)
        await world.until(lambda: image.quality[0] == GOOD, "good")
        assert device.holding[500] == 1
        poller.follow(b"\x05\x00", live=True)
        await world.until(lambda: device.holding[9] == 5, "outputs follow")
    assert [function for function, _, _ in device.asked[:2]] == [6, 6]


# ---------------------------------------------------------------- divided blocks


async def test_joined_block_when_one_register_is_illegal_then_only_its_point_is_bad(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    device.holding[:10] = range(100, 110)
    device.missing = {4}
    points = [point(address, address) for address in range(8)]
    async with world.polling(world.table(server.port, scan=SCAN, point=points)) as (poller, image):
        good = [True] * 4 + [False] + [True] * 3
        await world.until(lambda: [q == GOOD for q in image.quality] == good, "all but one")
        assert image.quality[4] == BAD_DEVICE_FAILURE
        assert image.words(8) == [100, 101, 102, 103, 0, 105, 106, 107]
        assert poller.state == "online"
        illegal = poller.statistics.exceptions[2]
        before = poller.statistics.replies
        await world.until(lambda: poller.statistics.replies > before + 20, "more replies")
        assert poller.statistics.exceptions[2] == illegal  # not asked for again and again


async def test_joined_block_when_a_hole_is_illegal_then_every_point_is_good_after_one_refusal(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    device.missing = {3, 4, 5}
    points = [point(address, address) for address in (0, 1, 2, 6, 7)]
    async with world.polling(world.table(server.port, scan=SCAN, point=points)) as (poller, image):
        await world.until(lambda: set(image.quality) == {GOOD}, "all")
        assert poller.statistics.exceptions[2] == 1
        assert [(b["address"], b["count"]) for b in poller.report()["blocks"]] == [(0, 3), (6, 2)]


async def test_joined_block_when_the_connection_is_new_then_asked_as_a_whole_again(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    device.missing = {3}
    points = [point(address, address) for address in (0, 1, 2, 6)]
    async with world.polling(world.table(server.port, scan=SCAN, point=points)) as (poller, image):
        await world.until(lambda: set(image.quality) == {GOOD}, "all")
        await server.stop()
        await world.until(lambda: not poller.link.connected, "lost")
        device.missing = set()
        device.asked.clear()
        await server.start(port=server.port)
        await world.until(lambda: set(image.quality) == {GOOD}, "all again")
    assert set(device.asked) == {(3, 0, 7)}


def test_divide_when_points_share_a_register_then_it_is_not_cut() -> None:
    points = [
        {**point(5, 0), "name": f"b{bit}", "type": "bit", "bit": bit, "to": f"%IX0.{bit}"} for bit in range(4)
    ]
    (block,) = parse_device({"name": "d", "protocol": "modbus-tcp", "host": "h", "point": points}).reads
    assert divide(block) == ()


# ---------------------------------------------------------------- deadband


async def test_input_when_it_moves_within_its_deadband_then_the_value_stays_and_is_fresh(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    device.holding[0] = 100
    points = [point(0, 0, scale=0.1, to="%ID0", deadband=0.45)]
    async with world.polling(world.table(server.port, scan=SCAN, point=points)) as (_, image):
        value = image.image[:4].view("<f4")
        await world.until(lambda: image.quality[0] == GOOD, "read")
        assert value[0] == pytest.approx(10.0)
        device.holding[0] = 104
        read_ns = int(image.times[0])
        await world.until(lambda: image.times[0] > read_ns + 50_000_000, "read again")
        assert value[0] == pytest.approx(10.0)
        device.holding[0] = 105
        await world.until(lambda: value[0] == pytest.approx(10.5), "moved by the deadband")
        device.holding[0] = 107
        await server.stop()
        await world.until(lambda: image.quality[0] != GOOD, "bad")
        await server.start(port=server.port)
        await world.until(lambda: image.quality[0] == GOOD, "good again")
        assert value[0] == pytest.approx(10.7)  # after a loss the first value counts


async def test_output_when_it_moves_within_its_deadband_then_not_written(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    output = {
        "name": "speed", "address": 9, "from": "%QD0", "type": "int16", "as": "REAL", "scale": 0.1,
        "deadband": 1.0, "mode": "change",
    }  # fmt: skip
    async with world.polling(world.table(server.port, point=[output])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        for value in (20.0, 20.4, 20.9, 19.5, 21.0, 20.5):
            poller.follow(struct.pack("<f", value), live=True)
            await world.until(lambda: poller.settled, "written")
    assert [int.from_bytes(pdu[3:5]) for pdu in device.writes] == [200, 210]


async def test_output_when_a_refresh_is_due_then_written_whatever_the_deadband(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    output = {"name": "speed", "address": 9, "from": "%QW0", "deadband": 100, "refresh_ms": 10}
    async with world.polling(world.table(server.port, point=[output])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x05\x00", live=True)
        await world.until(lambda: device.holding[9] == 5, "written")
        for _attempt in range(500):
            poller.follow(b"\x06\x00", live=True)
            await asyncio.sleep(0.002)
            if device.holding[9] == 6:
                return
    pytest.fail("the refresh never brought the new value")


# ---------------------------------------------------------------- one bit of a register


@pytest.mark.parametrize("verify", ["echo", "read-back"])
async def test_bit_when_written_then_by_mask_and_the_others_stay(
    world: Any, server: TcpDevice, device: Holey, verify: str
) -> None:
    device.holding[30] = 0xA5A5
    bits = [
        {"name": "run", "address": 30, "type": "bit", "bit": 1, "from": "%QX0.0", "safe": 0, "verify": verify},
        {"name": "stop", "address": 30, "type": "bit", "bit": 15, "from": "%QX0.1", "verify": verify},
    ]  # fmt: skip
    async with world.polling(world.table(server.port, point=bits)) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x01", live=True)
        await world.until(lambda: poller.settled, "written")
        assert device.holding[30] == 0x25A7
        device.holding[30] |= 0x0008  # somebody else's bit
        poller.follow(b"\x03", live=True)
        await world.until(lambda: poller.settled, "written")
        assert device.holding[30] == 0xA5AF
        poller.follow(b"\x03", live=False)
        await world.until(lambda: poller.settled, "safe value")
        assert device.holding[30] == 0xA5AD
    assert device.writes[0] == bytes.fromhex("16 001e fffd 0002")


# ---------------------------------------------------------------- exchange


async def test_exchange_when_the_device_holds_what_was_written_then_one_request_and_settled(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    write = {"function": "holding-registers", "address": 7, "count": 2, "from": "%QW0", "verify": "exchange"}
    async with world.polling(world.table(server.port, write=[write])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x01\x02\x03\x04", live=True)
        await world.until(lambda: poller.settled, "written")
        assert device.holding[7:9] == [0x0201, 0x0403]
        assert [function for function, _, _ in device.asked] == [23]
        server.faults.append(lambda x: [Step(x.frame(b"\x17\x04\x00\x09\x00\x09"))])
        poller.follow(b"\x05\x00\x06\x00", live=True)
        await world.until(lambda: poller.statistics.mismatches == 1, "difference seen")
        assert not poller.settled


# ---------------------------------------------------------------- statistics as inputs


async def test_statistics_when_declared_then_inputs_follow_the_counters(
    world: Any, server: TcpDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.modbus.device.INTERVAL_S", 0.05)
    tags = [
        {"value": "replies", "to": "%ID10"},
        {"value": "rate", "to": "%ID11", "scan": "fast"},
        {"value": "exceptions", "exception": 2, "to": "%IW24", "scan": "broken"},
        {"value": "exceptions", "exception": 3, "to": "%IW25"},
        {"value": "latency_max_us", "to": "%ID13"},
        {"value": "quality", "to": "%IW28", "scan": "broken"},
    ]
    reads = [world.read(name="fast"), world.read(address=500, count=1, to="%IW8", name="broken")]
    async with world.polling(world.table(server.port, read=reads, statistic=tags)) as (poller, image):
        await world.until(lambda: image.image[48:50].view("<u2")[0] >= 3, "three exceptions counted")
        await world.until(lambda: image.image[44:48].view("<f4")[0] > 10, "a rate")
        assert 0 < image.image[40:44].view("<u4")[0] <= poller.statistics.replies
        assert image.image[50:52].view("<u2")[0] == 0
        assert 0 < image.image[52:56].view("<u4")[0] <= poller.statistics.latency.max_ns // 1000
        assert image.image[56:58].view("<u2")[0] == BAD_DEVICE_FAILURE
        assert set(image.quality[-len(tags) :]) == {GOOD}
        names = [channel.name for channel in poller.device.inputs[-len(tags) :]]
    assert names[0] == "plant.statistic.replies"
    assert names[1:3] == ["plant.fast.statistic.rate", "plant.broken.statistic.exceptions[2]"]


async def test_statistics_when_a_counter_outgrows_its_place_then_it_stays_at_the_limit(
    world: Any, server: TcpDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.modbus.device.INTERVAL_S", 0.02)
    tags = [{"value": "timeouts", "to": "%IW20"}]
    async with world.polling(world.table(server.port, statistic=tags)) as (poller, image):
        poller.statistics.timeouts = 70_000
        await world.until(lambda: image.image[40:42].view("<u2")[0] == 65535, "the limit")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"init": [{"function": "coils", "address": 1}]}, "DV1002"),
        ({"init": [{"function": "coils", "address": 1, "value": 2}]}, "DV1003"),
        ({"init": [{"function": "holding-registers", "address": 1, "value": []}]}, "DV1003"),
        ({"init": [{"function": "holding-registers", "address": 65535, "value": [1, 2]}]}, "DV1007"),
        ({"init": [{"function": "input-registers", "address": 1, "value": 1}]}, "DV1003"),
        ({"statistic": [{"value": "beauty", "to": "%IW0"}]}, "DV1003"),
        ({"statistic": [{"value": "replies", "to": "%IX0.0"}]}, "DV1004"),
        ({"statistic": [{"value": "replies", "to": "%IW0", "exception": 2}]}, "DV1003"),
        ({"statistic": [{"value": "replies", "to": "%IW0", "scan": "none"}]}, "DV1003"),
        ({"statistic": [{"value": v, "to": "%IW0"} for v in ("replies", "writes")]}, "DV1005"),
        ({"point": [point(0, 0, deadband=-1)]}, "DV1003"),
        ({"overtake_max": 0}, "DV1003"),
        ({"write": [{"function": "coils", "address": 0, "from": "%QX0.0", "verify": "exchange"}]}, "DV1007"),
    ],
)
def test_device_when_these_tables_are_wrong_then_their_code(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_device({"name": "d", "protocol": "modbus-tcp", "host": "h", **changes})
    assert {problem.code for problem in caught.value.problems} == {code}


# ---------------------------------------------------------------- read and write in one request


EXCHANGE = {
    "address": 10, "count": 2, "to": "%IW0", "period_ms": 20, "write_address": 40, "write_count": 2, "from": "%QW1",
    "safe": [0, 9],
}  # fmt: skip


async def test_exchange_when_outputs_follow_then_one_request_writes_and_reads_other_registers(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    device.holding[10:12] = [0x1111, 0x2222]
    async with world.polling(world.table(server.port, exchange=[EXCHANGE])) as (poller, image):
        await world.until(lambda: set(image.quality) == {GOOD}, "read, while nothing is known to write")
        assert image.words(2) == [0x1111, 0x2222]
        assert {function for function, _, _ in device.asked} == {3}
        poller.follow(bytes([0, 0, 7, 0, 8, 0]), live=True)
        await world.until(lambda: device.holding[40:42] == [7, 8], "written")
        assert device.writes[0] == bytes.fromhex("17 000a 0002 0028 0002 04 0007 0008")
        device.holding[10] = 5
        await world.until(lambda: image.words(1) == [5], "read with the same request")


async def test_exchange_when_the_scan_is_gone_then_the_safe_values_do_not_wait_for_the_period(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    block = {**EXCHANGE, "period_ms": 60_000}
    async with world.polling(world.table(server.port, exchange=[block])) as (poller, image):
        await world.until(lambda: set(image.quality) == {GOOD}, "read")
        poller.follow(bytes([0, 0, 7, 0, 8, 0]), live=True)
        await world.until(lambda: poller.follow(bytes(6), live=False) or poller.settled, "safe")
        assert device.holding[40:42] == [0, 9]


async def test_exchange_when_the_device_does_not_answer_then_bad_and_only_read_again(
    world: Any, server: TcpDevice, device: Holey
) -> None:
    async with world.polling(world.table(server.port, exchange=[EXCHANGE], failures_max=1)) as (
        poller,
        image,
    ):
        await world.until(lambda: set(image.quality) == {GOOD}, "read")
        poller.follow(bytes([0, 0, 7, 0, 8, 0]), live=True)
        await world.until(lambda: device.writes, "written")
        server.always = TCP["drop"]
        await world.until(lambda: poller.state == "offline", "offline")
        assert GOOD not in image.quality
        device.asked.clear()
        await world.until(lambda: device.asked, "a probe")
        assert device.asked[0] == (3, 10, 2)


def test_exchange_when_a_key_is_wrong_then_its_place_and_limits(world: Any) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_device(world.table(1, exchange=[{**EXCHANGE, "write_address": 65535, "write_count": 122}]))
    assert {problem.code for problem in caught.value.problems} == {"DV1003"}
    with pytest.raises(TickworkError) as caught:
        parse_device(world.table(1, exchange=[{**EXCHANGE, "write_address": 65535}]))
    assert [problem.code for problem in caught.value.problems] == ["DV1007"]
    device = parse_device(world.table(1, exchange=[EXCHANGE]))
    assert [channel.name for channel in device.outputs] == [
        f"plant.holding-registers[{at}]" for at in (40, 41)
    ]
    assert [channel.safe for channel in device.outputs] == [b"\0\0", b"\x09\0"]
