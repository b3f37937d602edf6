"""The roles of ``bench/modbus.py``: ``_modbus_roles.py ROLE ARGUMENT...`` prints what it found as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import resource
import sys
import time
import types
from collections.abc import Callable
from typing import Any

SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "1.0"))
REGISTERS = 125
DEVICES = 32


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

    from drivers.modbus import DevicePoller, Job, open_link, parse_device
    from runtime.field_modbus import phase_ns

    late_ns: list[int] = []
    cycles_ns: list[int] = []

    class Watched(DevicePoller):
        """Notes how late each request starts, and how long after its time the last of a cycle is answered."""

        began_ns = 0
        answers = 0

        def _fire(self) -> None:
            now_ns = time.monotonic_ns()
            due = [reader.due_ns for reader in self._readers if 0 < reader.due_ns <= now_ns]
            if due:
                self.began_ns, self.answers = min(due), 0
                late_ns.extend(now_ns - at for at in due)
            super()._fire()

        def answered(self, job: Job) -> None:
            super().answered(job)
            self.answers += 1
            if self.answers == len(self._readers):
                cycles_ns.append(time.monotonic_ns() - self.began_ns)

    async def run() -> dict[str, float]:
        pollers = []
        for index in range(DEVICES):
            device = parse_device(_fleet_device(port, index))
            link = open_link(device.connection)
            image = _Image(device.input_bytes, len(device.inputs))
            pollers.append(Watched(device, link, image, phase_ns=phase_ns(index, DEVICES, 100_000_000)))
        for poller in pollers:
            poller.start()
            poller.link.start()
        await asyncio.sleep(0.5)
        before = sum(p.statistics.replies for p in pollers)
        late_ns.clear()
        cycles_ns.clear()
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(3 * SECONDS)
        elapsed = time.monotonic() - began
        result = {
            "cpu": (time.process_time() - cpu) / elapsed,
            "rate": (sum(p.statistics.replies for p in pollers) - before) / elapsed,
            "late_p99_ms": _percentile_99(late_ns) / 1e6,
            "cycle_p99_ms": _percentile_99(cycles_ns) / 1e6,
            "missed": sum(p.statistics.missed for p in pollers),
        }
        for poller in pollers:
            poller.stop()
            await poller.link.stop()
        return result

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _percentile_99(values: list[int]) -> int:
    return sorted(values)[len(values) * 99 // 100] if values else 0


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
        published=lambda: types.SimpleNamespace(block=block, intact=lambda: True),
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


def main() -> None:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    found = ROLES[sys.argv[1]](*(int(word) if word.isdecimal() else word for word in sys.argv[2:]))
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
