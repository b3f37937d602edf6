"""Whatever comes back on a serial line, no wrong value reaches the image, and the line stays usable."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.modbus.serial import open_port
from drivers.sim.faults import RTU, Step
from drivers.sim.registers import RegisterDevice
from drivers.sim.serial_device import RtuDevice
from scan.quality import is_bad, is_good

OLD, NEW = 0x1111, 0x2222
READ_FAULTS = [name for name in RTU if not name.startswith("echo-of-other")]


@pytest.fixture
async def registers() -> RegisterDevice:
    device = RegisterDevice(size=64)
    device.holding[:4] = [OLD] * 4
    return device


@pytest.fixture
async def device(registers: RegisterDevice) -> AsyncIterator[RtuDevice]:
    device = RtuDevice({1: registers})
    device.start()
    yield device
    await device.stop()


def table(path: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "plant", "protocol": "modbus-rtu", "serial_port": path, "baud": 19200,
        "timeout_ms": 200, "retries": 0, "probe_ms": 100, "backoff_max_ms": 500, "busy_retries": 0, **changes,
    }  # fmt: skip


@pytest.mark.parametrize("name", READ_FAULTS)
async def test_reading_when_a_reply_is_faulty_then_no_wrong_value_and_the_next_is_right(
    world: Any, registers: RegisterDevice, device: RtuDevice, name: str
) -> None:
    async with world.polling(table(device.path, read=[world.read(period_ms=30)])) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        device.faults.append(RTU[name])
        await world.until(lambda: not device.faults, "the fault has been sent")
        registers.holding[:4] = [NEW] * 4
        mark = len(image.history)
        await world.until(lambda: image.words(4) == [NEW] * 4, "the new values")
        await world.until(lambda: is_good(int(image.quality[0])), "good again")
        for words, _quality in image.history[mark:]:
            assert words in (OLD.to_bytes(2, "little") * 4, NEW.to_bytes(2, "little") * 4)
        assert poller.link.connects == 1


@pytest.mark.parametrize("gap_s", [0.02, 0.15])
async def test_reply_when_it_comes_byte_by_byte_with_gaps_then_it_is_whole(
    world: Any, device: RtuDevice, gap_s: float
) -> None:
    device.always = lambda x: [
        Step(bytes((byte,)), gap_s if i == 3 else 0.0) for i, byte in enumerate(x.frame())
    ]
    async with world.polling(table(device.path, read=[world.read()])) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        assert image.words(4) == [OLD] * 4
        assert poller.statistics.errors == 0


async def test_reply_when_late_then_never_taken_for_the_next_request(
    world: Any, registers: RegisterDevice, device: RtuDevice
) -> None:
    """Two blocks of equal length: on a serial line nothing but time tells their replies apart."""
    registers.holding[0], registers.holding[4] = 100, 400
    blocks = [world.read(count=1, period_ms=40), world.read(address=4, count=1, to="%IW4", period_ms=40)]
    device.always = lambda x: [Step(x.frame(), 0.15 if x.request[2] == 0 else 0.0)]
    definition = table(device.path, read=blocks, timeout_ms=100, failures_max=30)
    async with world.polling(definition) as (poller, image):
        await world.until(lambda: poller.link.late_replies >= 4, "late replies")
        assert {words[0:2] for words, _ in image.history} == {b"\0\0"}
        assert {words[8:10] for words, _ in image.history} <= {b"\0\0", (400).to_bytes(2, "little")}
        assert is_good(int(image.quality[1]))


async def test_damaged_reply_when_it_is_complete_then_it_fails_long_before_the_timeout(
    world: Any, device: RtuDevice
) -> None:
    async with world.polling(table(device.path, read=[world.read()], timeout_ms=4000)) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        device.faults.append(RTU["corrupt"])
        await world.until(lambda: is_bad(int(image.quality[0])), "bad")
        assert "DV2006" in poller.statistics.last_error


async def test_port_when_it_vanishes_and_returns_under_its_name_then_good_again(
    world: Any, registers: RegisterDevice, device: RtuDevice, tmp_path: Any
) -> None:
    name = tmp_path / "ttyUSB0"
    name.symlink_to(device.path)
    async with world.polling(table(str(name), read=[world.read()])) as (poller, image):
        await world.until(lambda: poller.state == "online", "online")
        name.unlink()
        await device.stop()
        await world.until(lambda: poller.state == "offline", "offline")
        assert is_bad(int(image.quality[0]))
        name.symlink_to(device.start())
        await world.until(lambda: poller.state == "online", "online again")


async def test_port_when_the_node_opens_it_again_then_good_again(world: Any, device: RtuDevice) -> None:
    for _ in range(3):
        async with world.polling(table(device.path, read=[world.read()])) as (poller, _image):
            await world.until(lambda poller=poller: poller.state == "online", "online")


async def test_port_when_another_program_has_it_then_offline_until_it_is_free(
    world: Any, device: RtuDevice
) -> None:
    with open_port(device.path, baudrate=9600, parity="N", exclusive=True, timeout=0):
        async with world.polling(table(device.path, read=[world.read()])) as (poller, _):
            await world.until(lambda: "DV2007" in poller.statistics.last_error, "refused")
            assert poller.state == "offline"


async def test_port_when_it_is_no_terminal_then_the_link_goes_on_trying(
    world: Any, device: RtuDevice, tmp_path: Any
) -> None:
    name = tmp_path / "ttyUSB0"
    name.write_bytes(b"")
    async with world.polling(table(str(name), read=[world.read()])) as (poller, _):
        await world.until(lambda: "DV2007" in poller.statistics.last_error, "refused")
        name.unlink()
        name.symlink_to(device.path)
        await world.until(lambda: poller.state == "online", "online")


async def test_port_when_it_is_missing_then_the_device_is_offline_with_a_reason(world: Any) -> None:
    async with world.polling(table("/dev/does-not-exist", read=[world.read()])) as (poller, _):
        await world.until(lambda: poller.state == "offline", "offline")
        assert "DV2007" in poller.statistics.last_error


async def test_broadcast_when_written_then_no_reply_is_awaited(
    world: Any, registers: RegisterDevice, device: RtuDevice
) -> None:
    device.units[7] = RegisterDevice(size=8)
    write = {"function": "holding-registers", "address": 2, "from": "%QW0", "mode": "change"}
    definition = table(device.path, unit=0, write=[write], turnaround_ms=30)
    async with world.polling(definition) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x05\x00", live=True)
        await world.until(lambda: poller.settled, "sent")
        await world.until(lambda: registers.holding[2] == 5, "taken by one unit")
        assert device.units[7].holding[2] == 5
        assert poller.statistics.errors == 0


async def test_echo_when_the_adapter_hears_itself_then_it_is_taken_off(world: Any, device: RtuDevice) -> None:
    device.always = RTU["echo-of-request"]
    write = {"function": "holding-registers", "address": 2, "from": "%QW0", "mode": "change"}
    async with world.polling(table(device.path, local_echo=True, write=[write])) as (poller, _):
        await world.until(lambda: poller.link.connected, "connected")
        poller.follow(b"\x05\x00", live=True)
        await world.until(lambda: poller.settled, "written")
        assert poller.link.stray_replies == 0


@pytest.mark.parametrize("baud", [9600, 115200])
async def test_gap_when_the_line_is_busy_then_never_shorter_than_three_and_a_half_characters(
    world: Any, registers: RegisterDevice, baud: int
) -> None:
    device = RtuDevice({1: registers}, baud=baud)
    block = world.read(count=10, period_ms=1)
    try:
        async with world.polling(table(device.start(), baud=baud, read=[block])) as (poller, _):
            await world.until(lambda: len(device.gaps) >= 30, "30 gaps")
            shortest = 3.5 * 11 / baud if baud <= 19200 else 0.00175
            assert min(device.gaps) >= 0.98 * shortest
            assert poller.statistics.errors == 0
    finally:
        await device.stop()
