"""Gateways with several units, and frames over other transports."""

import asyncio
import itertools
import pathlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.modbus import DevicePoller, open_link, parse_device
from drivers.sim.device_server import TcpDevice
from drivers.sim.registers import RegisterDevice
from scan.quality import is_bad, is_good

UNITS = range(1, 9)
DEAD = 5


@pytest.mark.parametrize(("outstanding", "probes"), [(1, 1), (8, 3)])
async def test_gateway_when_one_unit_is_dead_then_the_others_keep_their_rate(
    world: Any, outstanding: int, probes: int
) -> None:
    units = {unit: RegisterDevice(size=8) for unit in UNITS if unit != DEAD}
    server = TcpDevice(units, one_at_a_time=outstanding == 1, dead_s=0.1)
    port = await server.start()
    changes = {"timeout_ms": 100, "failures_max": 2, "probe_ms": 100, "max_outstanding": outstanding}
    devices = [
        parse_device(world.table(port, unit=unit, read=[world.read(period_ms=50)], **changes))
        for unit in UNITS
    ]
    link = open_link(devices[0].connection)
    pollers = {d.unit: DevicePoller(d, link, world.image(d)) for d in devices}
    for poller in pollers.values():
        poller.start()
    link.start()
    try:
        await world.until(lambda: pollers[DEAD].statistics.demotions == 1, "the dead unit is demoted")
        before = {unit: poller.statistics.replies for unit, poller in pollers.items()}
        asked = pollers[DEAD].statistics.requests
        await asyncio.sleep(1.0)
        for unit in units:
            assert pollers[unit].statistics.replies - before[unit] >= 15  # of 20
            assert pollers[unit].state == "online"
        assert (
            pollers[DEAD].statistics.requests - asked <= probes
        )  # a fortieth of the time, not one each 100 ms
        assert is_bad(int(pollers[DEAD].image.quality[0]))
    finally:
        for poller in pollers.values():
            poller.stop()
        await link.stop()
        await server.stop()


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
async def test_serial_frames_over_tcp_when_polled_then_values(world: Any, framing: str) -> None:
    data = SimData(0, values=[1, 2, 3, 0xFFFE, 0, 0], datatype=DataType.REGISTERS)
    server = ModbusTcpServer(
        SimDevice(1, simdata=[data]), framer=FramerType(framing), address=("127.0.0.1", 0)
    )
    assert await server.listen()
    listener: Any = server.transport
    port = listener.sockets[0].getsockname()[1]
    read = world.read(count=6)
    write = {"function": "holding-registers", "address": 4, "count": 2, "from": "%QW0"}
    definition = world.table(port, protocol=f"modbus-{framing}-over-tcp", read=[read], write=[write])
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: is_good(int(image.quality[0])), "good")
            assert image.words(4) == [1, 2, 3, 0xFFFE]
            poller.follow(b"\x05\x00\x06\x00", live=True)
            await world.until(lambda: image.words(6)[4:] == [5, 6], "written, and read again")
    finally:
        await server.shutdown()


# ---------------------------------------------------------------- TLS


@pytest.fixture
async def tls_port(certificates: pathlib.Path) -> AsyncIterator[int]:
    """A device that wants a client certificate, behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "authority.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "device.pem", certificates / "device.key")
    device = TcpDevice({1: RegisterDevice(size=8)})
    yield await device.start(tls=context)
    await device.stop()


def tls_table(world: Any, folder: pathlib.Path, port: int, name: str) -> dict[str, Any]:
    return world.table(  # type: ignore[no-any-return]
        port, protocol="modbus-tls", tls_ca=str(folder / "authority.pem"), tls_server_name="device",
        tls_certificate=str(folder / f"{name}.pem"), tls_key=str(folder / f"{name}.key"), read=[world.read()],
    )  # fmt: skip


async def test_tls_when_both_certificates_are_right_then_values(
    world: Any, certificates: pathlib.Path, tls_port: int
) -> None:
    async with world.polling(tls_table(world, certificates, tls_port, "node")) as (_, image):
        await world.until(lambda: is_good(int(image.quality[0])), "good")


@pytest.mark.parametrize("name", ["stranger", "missing"])
async def test_tls_when_our_certificate_is_wrong_or_missing_then_offline_with_a_reason(
    world: Any, certificates: pathlib.Path, tls_port: int, name: str
) -> None:
    async with world.polling(tls_table(world, certificates, tls_port, name)) as (poller, image):
        await world.until(lambda: poller.state == "offline", "offline")
        assert poller.statistics.last_error
        assert is_bad(int(image.quality[0]))


async def test_link_when_the_host_name_is_impossible_then_offline_with_a_reason(world: Any) -> None:
    definition = world.table(502, host=f"{'x' * 70}..example", read=[world.read()])
    async with world.polling(definition) as (poller, _):
        await world.until(lambda: poller.statistics.last_error, "a reason")
        assert poller.state == "offline"


async def test_pauses_when_given_then_requests_keep_them(world: Any) -> None:
    arrived: list[float] = []

    class Clocked(RegisterDevice):
        def heard(self, pdu: bytes) -> None:
            arrived.append(time.monotonic())
            super().heard(pdu)

    server = TcpDevice({1: Clocked(size=8)})
    port = await server.start()
    definition = world.table(port, read=[world.read(period_ms=1)], pause_ms=30, pause_after_connect_ms=60)
    began = time.monotonic()
    async with world.polling(definition):
        await world.until(lambda: len(arrived) >= 5, "five requests")
    await server.stop()
    assert arrived[0] - began >= 0.06
    assert min(later - earlier for earlier, later in itertools.pairwise(arrived)) >= 0.025
