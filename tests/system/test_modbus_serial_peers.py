"""Serial lines between our processes and foreign ones: pymodbus on either end, and a scan over all baud rates."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tty
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.modbus import DevicePoller, open_link, parse_device, rtu
from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from scan.abi import ABI_VERSION, Application, Region
from scan.quality import GOOD
from tests.system.test_modbus_peers import needs_libmodbus, port_of, run, serving

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("socat") is None, reason="Debian package socat is not installed"),
]
DEADLINE_S = 30.0
READ_TWO = bytes.fromhex("03 0010 0002")


@pytest.fixture
async def line(tmp_path: pathlib.Path) -> AsyncIterator[list[str]]:
    ends = [tmp_path / "ttyA", tmp_path / "ttyB"]
    socat = await asyncio.create_subprocess_exec("socat", *(f"pty,raw,echo=0,link={end}" for end in ends))
    await _until(lambda: all(end.exists() for end in ends), "the line")
    yield [str(end) for end in ends]
    socat.terminate()
    await socat.wait()


async def _until(condition: Any, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.01)


async def test_slave_when_pymodbus_is_the_master_then_values_go_both_ways(line: list[str]) -> None:
    block = np.zeros(96, np.uint8)
    block[64:66] = [0x34, 0x12]
    written: list[object] = []

    async def submit(values: Any, _user: str) -> str:
        written.extend(values.values())
        return ""

    application = Application(
        ABI_VERSION, "n", "d", "t", 96, Region(64, 8), Region(72, 8), Region(80, 8), Region(64, 32),
        bytes(96), (), (), (), (), b"",
    )  # fmt: skip
    view = types.SimpleNamespace(
        application=application,
        published=lambda: types.SimpleNamespace(block=block.copy(), intact=lambda: True),
    )
    rule = {"table": "holding-registers", "first": 0, "last": 3}
    section = parse_server(
        {"host": "", "serial_port": line[0], "baud": 115200, "parity": "none", "units": [4], "write": [rule]}
    )
    server = ModbusServer(view, submit, section, node="n")
    await server.start()
    client = AsyncModbusSerialClient(line[1], baudrate=115200, parity="N", timeout=2, retries=0)
    assert await client.connect()
    try:
        assert (await client.read_input_registers(0, count=1, device_id=4)).registers == [0x1234]
        assert not (await client.write_registers(1, [258, 772], device_id=4)).isError()
        assert written == [[2, 1, 4, 3]]
        assert (await client.write_register(9, 1, device_id=4)).exception_code == 2
    finally:
        client.close()
        await server.stop()


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
async def test_master_when_the_device_is_pymodbus_on_a_line_then_values_go_both_ways(
    line: list[str], framing: str
) -> None:
    data = SimData(0, count=20, values=7, datatype=DataType.REGISTERS)
    server = ModbusSerialServer(
        SimDevice(3, simdata=[data]), port=line[0], baudrate=115200, parity="N", framer=FramerType(framing)
    )
    await server.serve_forever(background=True)
    device = parse_device({
        "name": "d", "protocol": f"modbus-{framing}", "serial_port": line[1], "baud": 115200, "parity": "none",
        "unit": 3,
        "read": [{"function": "holding-registers", "address": 0, "count": 3, "to": "%IW0", "period_ms": 50}],
        "write": [{"function": "holding-registers", "address": 1, "count": 2, "from": "%QW0"}],
    })  # fmt: skip
    image = types.SimpleNamespace(
        image=np.zeros(6, np.uint8), quality=np.full(3, 0x8000, np.uint16), times=np.zeros(3, np.int64),
        changed=lambda: None,
    )  # fmt: skip
    poller = DevicePoller(device, open_link(device.connection), image)
    poller.start()
    poller.link.start()
    try:
        await _until(lambda: set(image.quality) == {GOOD}, "read")
        assert list(image.image.view("<u2")) == [7, 7, 7]
        poller.follow(bytes([1, 2, 3, 4]), live=True)
        await _until(lambda: list(image.image.view("<u2")) == [7, 0x0201, 0x0403], "written")
        assert poller.statistics.errors == 0
    finally:
        poller.stop()
        await poller.link.stop()
        await server.shutdown()


# ---------------------------------------------------------------- libmodbus


@pytest.fixture
def libmodbus(tmp_path: pathlib.Path) -> str:
    """A peer in C."""
    program = tmp_path / "peer"
    source = pathlib.Path(__file__).with_name("modbus_peer.c")
    command = ["cc", "-o", str(program), str(source), "-I/usr/include/modbus", "-lmodbus"]
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    return str(program)


@needs_libmodbus
@pytest.mark.parametrize("transport", ["serial", "tcp"])
async def test_server_when_libmodbus_asks_then_every_function_is_answered(
    line: list[str], libmodbus: str, transport: str
) -> None:
    where = (
        {"host": "", "serial_port": line[0], "baud": 115200, "parity": "none"}
        if transport == "serial"
        else {}
    )
    async with serving(units=[4], **where) as (node, server):
        port = line[1] if transport == "serial" else port_of(server)
        shown = await run(libmodbus, "client", port, "4")
        assert shown.splitlines() == [
            "input 4660", "discrete 101", "coil 1", "holding 21 18 19 20", "refused: Illegal data address",
        ]  # fmt: skip
        assert node.block[80:88].tobytes() == bytes([21, 0, 18, 0, 19, 0, 20, 0])


@needs_libmodbus
async def test_master_when_libmodbus_is_the_device_on_a_line_then_values_go_both_ways(
    line: list[str], libmodbus: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        libmodbus, "server", line[0], "5", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    await process.stdout.readline()
    device = parse_device({
        "name": "d", "protocol": "modbus-rtu", "serial_port": line[1], "baud": 115200, "parity": "none", "unit": 5,
        "read": [
            {"function": "input-registers", "address": 5, "count": 2, "to": "%IW0", "period_ms": 50},
            {"function": "discrete-inputs", "address": 0, "count": 4, "to": "%IX4.0", "period_ms": 50},
            {"function": "holding-registers", "address": 7, "count": 2, "to": "%IW3", "period_ms": 50},
        ],
        "write": [{"function": "coils", "address": 0, "count": 3, "from": "%QX0.0"}],
        "exchange": [{
            "address": 7, "count": 1, "to": "%IW5", "period_ms": 50,
            "write_address": 7, "write_count": 2, "from": "%QW1",
        }],
    })  # fmt: skip
    image = types.SimpleNamespace(
        image=np.zeros(12, np.uint8), quality=np.full(9, 0x8000, np.uint16), times=np.zeros(9, np.int64),
        changed=lambda: None,
    )  # fmt: skip
    poller = DevicePoller(device, open_link(device.connection), image)
    poller.start()
    poller.link.start()
    try:
        await _until(lambda: set(image.quality) == {GOOD}, "read")
        assert list(image.image[:5].tobytes()) == [0xED, 3, 0xEE, 3, 0b1001]
        poller.follow(bytes([0b101, 0, 7, 1, 8, 2]), live=True)
        await _until(lambda: list(image.image[6:12]) == [7, 1, 8, 2, 7, 1], "written and read again")
        await _until(lambda: poller.settled, "coils")
        assert poller.statistics.errors == 0
    finally:
        poller.stop()
        await poller.link.stop()
        process.kill()
        await process.wait()


# ---------------------------------------------------------------- the command line


@contextlib.contextmanager
def simulated(*arguments: str) -> Iterator[str]:
    """The port of a simulated RTU device in a process of its own."""
    command = [sys.executable, "-m", "drivers.sim", "device", "--serial", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
        process.stdout.close()


def modbus(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "runtime.cli", "modbus", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_scan_when_the_rate_of_a_device_is_unknown_then_it_is_found_at_its_rate_only() -> None:
    with simulated("--baud", "38400", "--unit", "2") as port:
        process = modbus("scan", port, "--all-rates", "--last", "2", "--timeout-ms", "30", "--json")
        found = json.loads(process.communicate(timeout=DEADLINE_S)[0])
    assert [(row["line"], row["unit"]) for row in found] == [("38400 baud, even parity", 2)]


def test_listen_when_others_talk_then_each_frame_in_words() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    request, reply = rtu.encode(9, READ_TWO), rtu.encode(9, bytes.fromhex("03 04 0001 0002"))
    process = modbus("listen", os.ttyname(slave), "--seconds", "4", "--json")
    deadline = time.monotonic() + DEADLINE_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            for frame in (request, reply):
                os.write(master, frame)
                time.sleep(0.05)
        out, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        os.close(master)
        os.close(slave)
    heard = [json.loads(text) for text in out.splitlines()]
    assert {request.hex(), reply.hex()} <= {row["frame"] for row in heard}
    words = " ".join(row["text"] for row in heard)
    assert "unit 9" in words
    assert "16 x 2" in words
