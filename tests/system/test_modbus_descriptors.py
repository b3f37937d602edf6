"""A process that has no file descriptors left: the Modbus server and the master go on and recover."""

import asyncio
import contextlib
import pathlib
import resource
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from drivers.modbus import open_link, parse_device
from drivers.sim.device_server import TcpDevice
from drivers.sim.registers import RegisterDevice

pytestmark = pytest.mark.system
DEADLINE_S = 20.0
DESCRIPTORS = 48
SERVER = textwrap.dedent(f"""
    import asyncio, resource, sys, types
    import numpy as np
    from drivers.modbus.server import ModbusServer
    from drivers.modbus.server_config import parse_server
    from scan.abi import ABI_VERSION, Application, Region

    application = Application(
        ABI_VERSION, "n", "d", "t", 96, Region(64, 8), Region(72, 8), Region(80, 8), Region(64, 32),
        bytes(96), (), (), (), (), b"",
    )
    block = np.zeros(96, np.uint8)
    published = types.SimpleNamespace(block=block, intact=lambda: True)
    view = types.SimpleNamespace(application=application, published=lambda: published)

    async def main():
        limits = {{"max_connections": 4096, "max_per_client": 4096}}
        server = ModbusServer(view, None, parse_server({{"port": 0, **limits}}), node="n")
        await server.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
        print(server.endpoints()[0].rpartition(":")[2], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.install()
    asyncio.run(main())
""")


def ask(client: socket.socket) -> bytes:
    client.sendall(bytes.fromhex("0007 0000 0006 01 03 0000 0001"))
    return client.recv(64)


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.settimeout(5)
    return client


@contextlib.contextmanager
def serving(loop: str, log: pathlib.Path) -> Iterator[int]:
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-c", SERVER, loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            assert child.stdout
            yield int(child.stdout.readline())
        finally:
            child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_server_when_descriptors_run_out_then_old_clients_are_served_and_new_ones_later(
    tmp_path: pathlib.Path, loop: str
) -> None:
    answer = bytes.fromhex("0007 0000 0005 01 03 02 0000")
    log = tmp_path / "errors"
    with serving(loop, log) as port:
        with connect(port) as old:
            assert ask(old) == answer
            flood = [connect(port) for _ in range(2 * DESCRIPTORS)]
            deadline = time.monotonic() + 1.5
            asked = 0
            while time.monotonic() < deadline:
                assert ask(old) == answer
                asked += 1
            assert asked > 100
            for client in flood:
                client.close()
            assert ask(old) == answer
        deadline = time.monotonic() + DEADLINE_S
        answered = b""
        while answered != answer and time.monotonic() < deadline:
            with contextlib.suppress(OSError), connect(port) as new:
                answered = ask(new)
        assert answered == answer
    assert log.stat().st_size < 100_000


async def test_master_when_there_is_no_descriptor_then_it_says_so_and_connects_later() -> None:
    device = TcpDevice({1: RegisterDevice(size=10)})
    await device.start()
    table = {
        "name": "d",
        "protocol": "modbus-tcp",
        "host": "127.0.0.1",
        "port": device.port,
        "backoff_max_ms": 500,
    }
    link = open_link(parse_device(table).connection)
    told: list[tuple[bool, str]] = []
    link.listen(lambda up, text: told.append((up, text)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno(), limits[1]))
    try:
        link.start()
        await _until(lambda: bool(told))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not told[0][0]
    assert "Too many open files" in told[0][1]
    await _until(lambda: link.connected)
    await link.stop()
    await device.stop()


async def _until(condition: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
