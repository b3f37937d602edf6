"""Modbus against libmodbus (C, from Debian) and pymodbus in one run: ``./dev bench modbus``.

Rounds are interleaved, ratios are medians over them. Needs a C compiler and libmodbus-dev. Each role is a process of
its own, client on one core, server on the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "1.0"))
HERE = pathlib.Path(__file__).resolve()
REGISTERS = 125
DEVICES = 32
CPU_COUNT = os.cpu_count() or 1


# ---------------------------------------------------------------- roles: each runs in a process of its own


def role_client(port: int, outstanding: int) -> dict[str, float]:
    """Our link with ``outstanding`` requests open, each reply stored into a process image."""
    import numpy as np
    import uvloop

    from drivers.modbus import Job, TcpLink
    from drivers.modbus._image import store_registers
    from drivers.modbus.pdu import Function, read_registers

    async def run() -> dict[str, float]:
        image = np.zeros(2 * REGISTERS * outstanding, np.uint8)
        link = TcpLink("127.0.0.1", port, max_outstanding=outstanding)
        connected = asyncio.Event()
        link.listen(lambda up, _: connected.set() if up else None)
        link.start()
        await connected.wait()
        request = read_registers(Function.READ_HOLDING_REGISTERS, 0, REGISTERS)
        count, end = 0, time.monotonic() + SECONDS
        finished = asyncio.Event()

        def done(job: Job, reply: bytes, failure: object) -> None:
            nonlocal count
            assert failure is None
            store_registers(image, 0, REGISTERS, reply, 2)
            count += 1
            if time.monotonic() < end:
                link.submit(job)
            else:
                finished.set()

        cpu, began = time.process_time(), time.monotonic()
        for _ in range(outstanding):
            link.submit(Job(1, request, done, timeout_s=1.0, priority=0))
        link.flush()
        await finished.wait()
        result = {
            "rate": count / (time.monotonic() - began),
            "cpu_us": 1e6 * (time.process_time() - cpu) / count,
        }
        await link.stop()
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def role_pymodbus_client(port: int) -> dict[str, float]:
    from pymodbus.client import AsyncModbusTcpClient

    async def run() -> dict[str, float]:
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        count, cpu, began = 0, time.process_time(), time.monotonic()
        while time.monotonic() < began + SECONDS:
            reply = await client.read_holding_registers(0, count=REGISTERS, device_id=1)
            assert len(reply.registers) == REGISTERS
            count += 1
        rate = count / (time.monotonic() - began)
        cpu_us = 1e6 * (time.process_time() - cpu) / count
        client.close()
        return {"rate": rate, "cpu_us": cpu_us}

    return asyncio.run(run())


def _fleet_device(port: int, index: int) -> dict[str, object]:
    reads = [
        {"function": "holding-registers", "address": i, "count": REGISTERS, "to": f"%IW{REGISTERS * i}"}
        for i in range(4)
    ]
    return {
        "name": f"d{index}", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": port,
        "max_outstanding": 4, "read": [{**read, "period_ms": 100} for read in reads],
    }  # fmt: skip


class _Image:
    """An image in memory in the place of the segment."""

    def __init__(self, size: int, rows: int) -> None:
        import numpy as np

        self.image = np.zeros(size, np.uint8)
        self.quality = np.zeros(rows, np.uint16)
        self.times = np.zeros(rows, np.int64)

    def changed(self) -> None:
        return


def role_fleet(port: int) -> dict[str, float]:
    """32 devices × 10 Hz × 4 requests through the pollers, exactly as the field process runs them."""
    import uvloop

    from drivers.modbus import DevicePoller, open_link, parse_device
    from runtime.field_modbus import phase_ns

    async def run() -> dict[str, float]:
        pollers = []
        for index in range(DEVICES):
            device = parse_device(_fleet_device(port, index))
            link = open_link(device.connection)
            image = _Image(device.input_bytes, len(device.inputs))
            pollers.append(DevicePoller(device, link, image, phase_ns=phase_ns(index, DEVICES, 100_000_000)))
        for poller in pollers:
            poller.start()
            poller.link.start()
        await asyncio.sleep(0.5)
        before = sum(p.statistics.replies for p in pollers)
        for poller in pollers:
            poller.lateness_ns_max = 0
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(3 * SECONDS)
        elapsed = time.monotonic() - began
        result = {
            "cpu": (time.process_time() - cpu) / elapsed,
            "rate": (sum(p.statistics.replies for p in pollers) - before) / elapsed,
            "late_ms": max(p.lateness_ns_max for p in pollers) / 1e6,
            "latency_p99_ms": max(p.statistics.latency.percentile_ns(99) for p in pollers) / 1e6,
            "missed": sum(p.statistics.missed for p in pollers),
        }
        for poller in pollers:
            poller.stop()
            await poller.link.stop()
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def role_line(path: str, baud: str) -> dict[str, float]:
    """Ten registers again and again on a serial line: which share of the possible rate."""
    import uvloop

    from drivers.modbus import Job, open_link, rtu
    from drivers.modbus.commissioning import open_and_wait
    from drivers.modbus.config import Connection
    from drivers.modbus.pdu import Function, read_registers

    async def run() -> dict[str, float]:
        link = open_link(Connection("rtu", serial_port=path, baud=int(baud)))
        await open_and_wait(link)
        request = read_registers(Function.READ_HOLDING_REGISTERS, 0, 10)
        finished = asyncio.Event()
        count, end = 0, time.monotonic() + 3 * SECONDS

        def done(job: Job, _reply: bytes, failure: object) -> None:
            nonlocal count
            assert failure is None, failure
            count += 1
            if time.monotonic() < end:
                link.submit(job)
            else:
                finished.set()

        began = time.monotonic()
        link.submit(Job(1, request, done, timeout_s=1.0, priority=0))
        link.flush()
        await finished.wait()
        rate = count / (time.monotonic() - began)
        await link.stop()
        shortest_s = (8 + 25) * rtu.character_s(int(baud)) + 2 * rtu.silence_s(int(baud))
        return {"use": rate * shortest_s}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def role_gateway(outstanding: int) -> dict[str, float]:
    """Eight units at 10 Hz behind a gateway, unit 5 dead: the rate of the slowest living one."""
    import uvloop

    from drivers.modbus import DevicePoller, open_link, parse_device
    from drivers.sim.device_server import TcpDevice
    from drivers.sim.registers import RegisterDevice

    async def run() -> dict[str, float]:
        units = {unit: RegisterDevice(size=200) for unit in range(1, 9) if unit != 5}
        server = TcpDevice(units, one_at_a_time=outstanding == 1, dead_s=0.3)
        port = await server.start()
        common = {"protocol": "modbus-tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 300}
        read = {
            "function": "holding-registers",
            "address": 0,
            "count": REGISTERS,
            "to": "%IW0",
            "period_ms": 100,
        }
        devices = [
            parse_device(
                {**common, "name": f"u{u}", "unit": u, "max_outstanding": outstanding, "read": [read]}
            )
            for u in range(1, 9)
        ]
        link = open_link(devices[0].connection)
        pollers = [
            DevicePoller(
                device, link, _Image(device.input_bytes, len(device.inputs)), phase_ns=12_000_000 * index
            )
            for index, device in enumerate(devices)
        ]
        for poller in pollers:
            poller.start()
        link.start()
        await asyncio.sleep(2.5)  # connected, and the dead unit demoted
        before = {p.device.unit: p.statistics.replies for p in pollers}
        began = time.monotonic()
        await asyncio.sleep(max(13 * SECONDS, 2))  # a probe of the dead unit comes each 12 s
        elapsed = time.monotonic() - began
        rates = [
            (p.statistics.replies - before[p.device.unit]) / elapsed for p in pollers if p.device.unit != 5
        ]
        for poller in pollers:
            poller.stop()
        await link.stop()
        await server.stop()
        return {"rate": min(rates)}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def role_pymodbus_fleet(port: int) -> dict[str, float]:
    from pymodbus.client import AsyncModbusTcpClient

    async def device(end: float) -> None:
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        due = time.monotonic()
        while due < end:
            for address in range(4):
                await client.read_holding_registers(address, count=REGISTERS, device_id=1)
            due += 0.1
            await asyncio.sleep(max(due - time.monotonic(), 0))
        client.close()

    async def run() -> dict[str, float]:
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.gather(*(device(began + 3 * SECONDS) for _ in range(DEVICES)))
        return {"cpu": (time.process_time() - cpu) / (time.monotonic() - began)}

    return asyncio.run(run())


def role_server(_port: int) -> None:
    """Our server over a block in memory; the reading of the segment is measured by bench/jitter."""
    import numpy as np
    import uvloop

    from drivers.modbus.server import ModbusServer
    from drivers.modbus.server_config import ModbusServerSection
    from scan.abi import ABI_VERSION, Application, Region

    application = Application(
        ABI_VERSION, "bench", "", "", 2112, Region(64, 0), Region(64, 2048), Region(2112, 0), Region(64, 2048),
        b"", (), (), (), (), b"",
    )  # fmt: skip
    block = np.zeros(2112, np.uint8)
    view = types.SimpleNamespace(
        application=application,
        published=lambda: types.SimpleNamespace(block=block.copy(), intact=lambda: True),
    )

    async def refuse(_values: object, _user: str) -> str:
        return "nothing is written here"

    async def run() -> None:
        section = ModbusServerSection(port=0, max_connections=64, max_per_client=64)
        server = ModbusServer(view, refuse, section, node="bench")
        await server.start()
        print(server.endpoints()[0].rpartition(":")[2], flush=True)
        while True:
            await asyncio.sleep(1)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            print(json.dumps({"cpu_s": time.process_time(), "requests": server.requests, "rss": usage.ru_maxrss}),
                  file=sys.stderr, flush=True)  # fmt: skip

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def role_pymodbus_server(_port: int) -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    async def run() -> None:
        data = SimData(0, count=256, values=0, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(1, simdata=[data]), address=("127.0.0.1", 0))
        assert await server.listen()
        transport: Any = server.transport
        print(transport.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


ROLES: dict[str, Callable[..., Any]] = {
    "client": role_client, "pymodbus-client": role_pymodbus_client, "fleet": role_fleet,
    "pymodbus-fleet": role_pymodbus_fleet, "line": role_line, "gateway": role_gateway,
    "server": role_server, "pymodbus-server": role_pymodbus_server,
}  # fmt: skip


# ---------------------------------------------------------------- the run


class Bench:
    """Starts roles and collects figures."""

    def __init__(self, reference: pathlib.Path) -> None:
        self._reference = str(reference)

    def reference(self, *arguments: object) -> list[float]:
        return [float(word) for word in self._run([self._reference, *map(str, arguments)], cpu=0).split()]

    def ours(self, role: str, *arguments: object) -> dict[str, float]:
        return json.loads(self._run([sys.executable, str(HERE), role, *map(str, arguments)], cpu=0))  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def server(self, role: str) -> Iterator[int]:
        """The port of a server of our own ("server", "pymodbus-server") or of the reference."""
        port = 0
        if role == "reference":
            port = _free_port()
            command = [self._reference, "server", str(port)]
        else:
            command = [sys.executable, str(HERE), role, "0"]
        process = subprocess.Popen(
            _pinned(command, cpu=1), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            yield port or int(line)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @staticmethod
    def _run(command: list[str], *, cpu: int) -> str:
        return subprocess.run(_pinned(command, cpu=cpu), check=True, capture_output=True, text=True).stdout


def _pinned(command: list[str], *, cpu: int) -> list[str]:
    return ["taskset", "-c", str(cpu % CPU_COUNT), *command]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def bench_client(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with bench.server("reference") as port:
        for _ in range(ROUNDS):
            (base,) = bench.reference("client", port, SECONDS)
            one, eight = bench.ours("client", port, 1), bench.ours("client", port, 8)
            other = bench.ours("pymodbus-client", port)
            rows.append({
                "libmodbus": base, "one": one["rate"] / base, "one_cpu": one["cpu_us"],
                "eight": eight["rate"] / base, "eight_cpu": eight["cpu_us"],
                "pymodbus": other["rate"] / base, "pymodbus_cpu": other["cpu_us"],
            })  # fmt: skip
    return rows


def bench_fleet(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with bench.server("reference") as port:
        for _ in range(max(ROUNDS // 2, 1)):
            (base,) = bench.reference("fleet", port, DEVICES, 3 * SECONDS)
            ours, other = bench.ours("fleet", port), bench.ours("pymodbus-fleet", port)
            rows.append({**ours, "libmodbus": base, "pymodbus": other["cpu"]})
    return rows


def bench_server(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with (
        bench.server("reference") as base_port,
        bench.server("server") as port,
        bench.server("pymodbus-server") as other_port,
    ):
        for _ in range(ROUNDS):
            row = {}
            for count in (1, 16):
                base, _ = bench.reference("load", base_port, count, SECONDS)
                rate, p99_ns = bench.reference("load", port, count, SECONDS)
                other, _ = bench.reference("load", other_port, count, SECONDS)
                row |= {f"base_{count}": base, f"ours_{count}": rate / base, f"p99_{count}": p99_ns / 1e6,
                        f"pymodbus_{count}": other / base}  # fmt: skip
            rows.append(row)
    return rows


def bench_flood(bench: Bench) -> dict[str, float]:
    """10,000 connection attempts against a limit of 64 while a good client works."""
    with bench.server("server") as port:
        flood = subprocess.Popen(
            [bench._reference, "flood", str(port), "10000"], stdout=subprocess.PIPE, text=True
        )
        _, p99_ns = bench.reference("load", port, 1, 2.0)
        out, _ = flood.communicate()
    return {"attempts_per_s": float(out), "p99_ms": p99_ns / 1e6}


def bench_line(bench: Bench, baud: int) -> float:
    command = [sys.executable, "-m", "drivers.sim", "device", "--serial", "--baud", str(baud)]
    process = subprocess.Popen(
        _pinned(command, cpu=1), stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
    )
    assert process.stdout
    try:
        path = process.stdout.readline().split(" at ")[1].split(",")[0]
        return bench.ours("line", path, baud)["use"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> int:
    if len(sys.argv) > 1:
        found = ROLES[sys.argv[1]](*(int(word) if word.isdecimal() else word for word in sys.argv[2:]))
        if found is not None:
            print(json.dumps(found))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        reference = pathlib.Path(folder) / "reference"
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libmodbus"], check=True, capture_output=True, text=True
        ).stdout.split()
        source = HERE.with_name("modbus_reference.c")
        subprocess.run(["cc", "-O2", "-o", str(reference), str(source), *flags, "-lpthread"], check=True)
        report(Bench(reference))
    return 0


def report(bench: Bench) -> None:
    report_client(bench_client(bench))
    report_fleet(bench_fleet(bench))
    report_server(bench_server(bench))
    flood = bench_flood(bench)
    attempts, p99_ms = flood["attempts_per_s"], flood["p99_ms"]
    print(
        f"flood: {attempts:,.0f} connection attempts/s at a limit of 64; a good client's p99 {p99_ms:.2f} ms (gate 5)"
    )
    for outstanding, gate in ((8, 9.5), (1, 9.5)):
        rate = bench.ours("gateway", outstanding)["rate"]
        print(
            f"gateway, 8 units, one dead, {outstanding} outstanding: living units {rate:.2f} Hz (gate {gate})"
        )
    for baud, share in ((9600, 0.95), (115200, 0.85)):
        print(f"serial line, {baud} baud: {bench_line(bench, baud):.2f} of the possible rate (gate {share})")


def report_client(rows: list[dict[str, float]]) -> None:
    print(f"client, {REGISTERS} registers: libmodbus {_median(rows, 'libmodbus'):,.0f} requests/s is 1.00")
    for key, name, gates in (
        ("one", "ours, 1 outstanding", "(gates 0.70, 60)"),
        ("eight", "ours, 8 outstanding", "(gates 3.00, 25)"),
        ("pymodbus", "pymodbus", ""),
    ):
        ratio, cpu_us = _median(rows, key), _median(rows, f"{key}_cpu")
        print(f"  {name:20} ratio {ratio:.2f}, {cpu_us:.1f} us CPU a request {gates}")


def report_fleet(rows: list[dict[str, float]]) -> None:
    rate, missed = _median(rows, "rate"), max(row["missed"] for row in rows)
    ours, base, other = (100 * _median(rows, key) for key in ("cpu", "libmodbus", "pymodbus"))
    print(f"fleet, {DEVICES} devices x 10 Hz x 4 requests: {rate:,.0f}/s of 1,280, missed {missed:.0f}")
    print(f"  CPU of a core: ours {ours:.1f} % (gate 9), libmodbus {base:.1f} %, pymodbus {other:.1f} %; "
          f"ours / pymodbus {ours / other:.2f} (gate 0.60)")  # fmt: skip
    late_ms, p99_ms = _median(rows, "late_ms"), _median(rows, "latency_p99_ms")
    print(
        f"  latest start {late_ms:.1f} ms after its time, reply latency p99 {p99_ms:.1f} ms (gate for a cycle 10)"
    )


def report_server(rows: list[dict[str, float]]) -> None:
    for count in (1, 16):
        base, ours, p99_ms, other = (
            _median(rows, f"{key}_{count}") for key in ("base", "ours", "p99", "pymodbus")
        )
        print(f"server, {count} connections: libmodbus {base:,.0f} requests/s is 1.00; "
              f"ours {ours:.2f} (gate 0.75), p99 {p99_ms:.2f} ms; pymodbus {other:.2f}")  # fmt: skip


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent.parent))
    sys.exit(main())
