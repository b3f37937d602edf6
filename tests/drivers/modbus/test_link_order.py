"""Which waiting request goes next."""

import asyncio

import pytest

from drivers.modbus.link import Job
from drivers.modbus.pdu import Function, read_registers
from drivers.modbus.tcp import TcpLink
from drivers.sim.device_server import TcpDevice
from drivers.sim.registers import RegisterDevice

READ, WRITE, LOW = 1, -1, 2
ENOUGH = 40


async def order(queue: list[tuple[int, int]], *, overtake_max: int, refill: int | None = None) -> list[int]:
    """The addresses in the order in which they are answered. ``refill``: each answer queues one more of it."""
    device = TcpDevice({1: RegisterDevice(size=200)})
    await device.start()
    link = TcpLink("127.0.0.1", device.port, max_outstanding=1, overtake_max=overtake_max)
    connected = asyncio.Event()
    link.listen(lambda up, _: connected.set() if up else None)
    link.start()
    await asyncio.wait_for(connected.wait(), 5)
    answered: list[int] = []
    finished = asyncio.Event()
    wanted = len(queue) if refill is None else ENOUGH

    def submit(priority: int, address: int) -> None:
        request = read_registers(Function.READ_HOLDING_REGISTERS, address, 1)
        link.submit(Job(1, request, done, timeout_s=5.0, priority=priority))

    def done(job: Job, _reply: bytes, failure: object) -> None:
        answered.append(int.from_bytes(job.request.pdu[1:3]))
        if len(answered) == wanted:
            finished.set()
        elif refill is not None and len(answered) < wanted:
            submit(WRITE, refill)
        link.flush()

    for priority, address in queue:
        submit(priority, address)
    link.flush()
    await asyncio.wait_for(finished.wait(), 5)
    await link.stop()
    await device.stop()
    return answered[:wanted]


async def test_queue_when_short_then_by_priority_and_age() -> None:
    found = await order([(READ, 1), (LOW, 2), (WRITE, 3), (READ, 4), (WRITE, 5)], overtake_max=10)
    assert found == [3, 5, 1, 4, 2]


@pytest.mark.parametrize("overtake_max", [1, 3, 10])
async def test_reads_when_writes_never_end_then_each_has_its_turn(overtake_max: int) -> None:
    queue = [(READ, 1), (LOW, 2), (WRITE, 9), (WRITE, 9), (WRITE, 9)]
    found = await order(queue, overtake_max=overtake_max, refill=9)
    assert found.index(1) == overtake_max
    assert found.index(2) == 2 * overtake_max + 1


async def test_write_when_reads_are_many_then_it_is_next() -> None:
    found = await order([(READ, at) for at in range(20)] + [(WRITE, 99)], overtake_max=10)
    assert found[0] == 99
