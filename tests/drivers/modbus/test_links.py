"""Gateways with several units, and frames over other transports."""

import asyncio
import itertools
import pathlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers.modbus import DevicePoller, open_link, parse_device, rtu
from drivers.modbus import ascii as ascii_frames
from drivers.sim.device_server import TcpDevice
from drivers.sim.registers import RegisterDevice
from scan.quality import is_bad, is_good

UNITS = range(1, 9)
DEAD = 5


@pytest.mark.parametrize("outstanding", [1, 8])
async def test_gateway_when_one_unit_is_dead_then_the_others_keep_their_rate(
    world: Any, outstanding: int
) -> None:
    units = {unit: RegisterDevice(size=8) for unit in UNITS if unit != DEAD}
    server = TcpDevice(units, one_at_a_time=outstanding == 1, dead_s=0.1)
    port = await server.start()
    changes = {"timeout_ms": 100, "failures_max": 2, "probe_ms": 2000, "max_outstanding": outstanding}
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
        assert pollers[DEAD].statistics.requests - asked <= 1
        assert is_bad(int(pollers[DEAD].image.quality[0]))
    finally:
        for poller in pollers.values():
            poller.stop()
        await link.stop()
        await server.stop()


class StreamServer:
    """RTU or ASCII frames over TCP, as a serial device server gives them out."""

    def __init__(self, framing: Any, device: RegisterDevice) -> None:
        self._framing = framing
        self._device = device

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(512):
                if self._framing is rtu:
                    unit, pdu = data[0], data[1:-2]
                    assert rtu.is_frame(data)
                else:
                    body = ascii_frames.decode(data[1:-2])
                    assert body is not None
                    unit, pdu = body[0], body[1:]
                writer.write(self._framing.encode(unit, self._device.answer(pdu)))
        except (ConnectionError, asyncio.CancelledError):
            pass
        writer.close()


@pytest.mark.parametrize(
    ("protocol", "framing"), [("modbus-rtu-over-tcp", rtu), ("modbus-ascii-over-tcp", ascii_frames)]
)
async def test_serial_frames_over_tcp_when_polled_then_values(
    world: Any, protocol: str, framing: Any
) -> None:
    registers = RegisterDevice(size=8)
    registers.holding[:4] = [1, 2, 3, 0xFFFE]
    server = await asyncio.start_server(StreamServer(framing, registers).serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    write = {"function": "holding-registers", "address": 4, "count": 2, "from": "%QW0"}
    definition = world.table(port, protocol=protocol, read=[world.read()], write=[write])
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: is_good(int(image.quality[0])), "good")
            assert image.words(4) == [1, 2, 3, 0xFFFE]
            poller.follow(b"\x05\x00\x06\x00", live=True)
            await world.until(lambda: registers.holding[4:6] == [5, 6], "written")
    finally:
        server.close()
        await server.wait_closed()


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
        def answer(self, pdu: bytes) -> bytes:
            arrived.append(time.monotonic())
            return super().answer(pdu)

    server = TcpDevice({1: Clocked(size=8)})
    port = await server.start()
    definition = world.table(port, read=[world.read(period_ms=1)], pause_ms=30, pause_after_connect_ms=60)
    began = time.monotonic()
    async with world.polling(definition):
        await world.until(lambda: len(arrived) >= 5, "five requests")
    await server.stop()
    assert arrived[0] - began >= 0.06
    assert min(later - earlier for earlier, later in itertools.pairwise(arrived)) >= 0.025
