"""Our master and server against programs that we did not write: libmodbus, mbpoll and pymodbus."""

import asyncio
import contextlib
import pathlib
import shutil
import subprocess
import types
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest
from pymodbus.client import AsyncModbusTcpClient

from drivers.modbus import DevicePoller, open_link, parse_device
from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from scan.abi import ABI_VERSION, Application, Region, Symbol
from scan.quality import GOOD
from scan.values import encode_value

pytestmark = pytest.mark.system
ROOT = pathlib.Path(__file__).parents[2]
DEADLINE_S = 20.0
RULES = [{"table": "coils", "first": 0, "last": 63}, {"table": "holding-registers", "first": 0, "last": 3}]

needs_mbpoll = pytest.mark.skipif(
    shutil.which("mbpoll") is None, reason="Debian package mbpoll is not installed"
)
needs_socat = pytest.mark.skipif(
    shutil.which("socat") is None, reason="Debian package socat is not installed"
)
needs_libmodbus = pytest.mark.skipif(
    shutil.which("cc") is None or not pathlib.Path("/usr/include/modbus/modbus.h").exists(),
    reason="a C compiler or Debian's libmodbus-dev is not installed",
)


class Node:
    """A program of eight words each of %I and %Q, in memory."""

    def __init__(self) -> None:
        self.application = Application(
            ABI_VERSION, "n", "", "", 128, Region(64, 16), Region(80, 16), Region(96, 16), Region(64, 64),
            b"", (), (), (), (), b"",
        )  # fmt: skip
        self.block = np.zeros(128, np.uint8)
        self.block[64:68] = [0b101, 0, 0x34, 0x12]

    def published(self) -> Any:
        return types.SimpleNamespace(block=self.block.copy(), intact=lambda: True)

    async def submit(self, values: Mapping[Symbol, object], _user: str) -> str:
        for symbol, value in values.items():
            if symbol.bit >= 0:
                byte = int(self.block[symbol.offset]) & ~(1 << symbol.bit)
                self.block[symbol.offset] = byte | bool(value) << symbol.bit
            else:
                data = np.frombuffer(encode_value(symbol, value), np.uint8)
                self.block[symbol.offset : symbol.offset + len(data)] = data
        return ""


@contextlib.asynccontextmanager
async def serving(**section: Any) -> AsyncIterator[tuple[Node, ModbusServer]]:
    node = Node()
    server = ModbusServer(node, node.submit, parse_server({"port": 0, "write": RULES, **section}), node="n")
    await server.start()
    try:
        yield node, server
    finally:
        await server.stop()


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def until(condition: Any, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.01)


def port_of(server: ModbusServer) -> str:
    return server.endpoints()[0].rpartition(":")[2]


@needs_mbpoll
async def test_server_when_mbpoll_reads_and_writes_then_values_arrive() -> None:
    async with serving() as (node, server):
        base = ("mbpoll", "-m", "tcp", "-p", port_of(server), "-a", "1", "-0", "-1")
        assert "[1]: \t4660" in await run(*base, "-t", "3", "-r", "1", "-c", "1", "127.0.0.1")
        assert "[2]: \t1" in await run(*base, "-t", "1", "-r", "0", "-c", "3", "127.0.0.1")
        await run(*base, "-t", "4", "-r", "2", "127.0.0.1", "17", "4369")
        assert list(node.block[84:88]) == [17, 0, 0x11, 0x11]
        await run(*base, "-t", "0", "-r", "3", "127.0.0.1", "1")
        assert node.block[80] == 0b1000


async def test_server_when_pymodbus_uses_every_function_then_each_is_answered() -> None:
    async with serving() as (node, server):
        client = AsyncModbusTcpClient("127.0.0.1", port=int(port_of(server)))
        await client.connect()
        assert (await client.read_discrete_inputs(0, count=3)).bits[:3] == [True, False, True]
        assert (await client.read_input_registers(1, count=1)).registers == [0x1234]
        assert not (await client.write_coils(8, [True, False, True])).isError()
        assert (await client.read_coils(8, count=3)).bits[:3] == [True, False, True]
        assert not (await client.write_registers(2, [7, 8])).isError()
        assert (await client.read_holding_registers(2, count=2)).registers == [7, 8]
        assert not (await client.write_register(1, 9)).isError()
        assert not (await client.write_coil(0, True)).isError()
        assert not (await client.mask_write_register(address=2, and_mask=0, or_mask=0x55)).isError()
        reply = await client.readwrite_registers(read_address=2, read_count=2, write_address=3, values=[0x77])
        assert reply.registers == [0x55, 0x77]
        assert (await client.read_device_information()).information[0] == b"Tickwork"
        assert (await client.write_register(40, 1)).exception_code == 2
        client.close()
        assert node.block[80] & 1


@needs_mbpoll
@needs_socat
async def test_slave_when_mbpoll_polls_it_over_a_line_then_values(tmp_path: pathlib.Path) -> None:
    ends = [tmp_path / "ttyA", tmp_path / "ttyB"]
    socat = await asyncio.create_subprocess_exec("socat", *(f"pty,raw,echo=0,link={end}" for end in ends))
    try:
        await until(lambda: all(end.exists() for end in ends), "the line")
        async with serving(host="", serial_port=str(ends[0]), baud=115200, units=[4]):
            base = ("mbpoll", "-m", "rtu", "-b", "115200", "-P", "even", "-0", "-1", "-a", "4")
            assert "[1]: \t4660" in await run(*base, "-t", "3", "-r", "1", "-c", "1", str(ends[1]))
    finally:
        socat.terminate()
        await socat.wait()


@pytest.fixture
def libmodbus(tmp_path: pathlib.Path) -> pathlib.Path:
    """The server of the benchmark, on Debian's libmodbus."""
    program = tmp_path / "reference"
    flags = ["-I/usr/include/modbus", "-lmodbus", "-lpthread"]
    source = ROOT / "bench" / "modbus_reference.c"
    subprocess.run(["cc", "-o", str(program), str(source), *flags], check=True, timeout=60)
    return program


@needs_libmodbus
async def test_master_when_the_device_is_libmodbus_then_what_it_wrote_comes_back(
    libmodbus: pathlib.Path, unused_tcp_port: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        str(libmodbus), "server", str(unused_tcp_port), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    await process.stdout.readline()
    device = parse_device({
        "name": "d", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": unused_tcp_port, "max_outstanding": 4,
        "read": [
            {"function": "holding-registers", "address": 0, "count": 4, "to": "%IW0", "period_ms": 20},
            {"function": "coils", "address": 0, "count": 9, "to": "%IX8.0", "period_ms": 20},
        ],
        "write": [
            {"function": "holding-registers", "address": 0, "count": 4, "from": "%QW0"},
            {"function": "coils", "address": 0, "count": 9, "from": "%QX8.0"},
        ],
    })  # fmt: skip
    image = types.SimpleNamespace(
        image=np.zeros(16, np.uint8), quality=np.full(13, 0x8000, np.uint16), times=np.zeros(13, np.int64),
        changed=lambda: None,
    )  # fmt: skip
    outputs = bytes([1, 2, 3, 4, 5, 6, 7, 8, 0xA5, 0x01])
    poller = DevicePoller(device, open_link(device.connection), image)
    poller.start()
    poller.link.start()
    try:
        await until(lambda: poller.link.connected, "connected")
        poller.follow(outputs, live=True)
        await until(lambda: image.image[:10].tobytes() == outputs, "the outputs come back as inputs")
        assert set(image.quality) == {GOOD}
        assert poller.statistics.errors == 0
    finally:
        poller.stop()
        await poller.link.stop()
        process.kill()
        await process.wait()
