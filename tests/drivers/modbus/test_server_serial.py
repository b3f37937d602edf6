"""The RTU slave on a pseudo terminal: what it answers, and above all what it leaves unanswered."""

import asyncio
import os
import time
import tty
import types
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest

from drivers.modbus import rtu
from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from scan.abi import ABI_VERSION, Application, Region, Symbol
from scan.problem import TickworkError

READ = bytes.fromhex("03 00 00 00 01")
ANSWER = bytes.fromhex("03 02 12 34")


class Node:
    """A program with one output word and everything allowed."""

    def __init__(self) -> None:
        self.application = Application(
            ABI_VERSION, "n", "d", "t", 96, Region(64, 8), Region(72, 8), Region(80, 8), Region(64, 32),
            bytes(96), (), (), (), (), b"",
        )  # fmt: skip
        self.block = np.zeros(96, np.uint8)
        self.block[72:74] = [0x34, 0x12]
        self.written: list[Mapping[Symbol, object]] = []

    def published(self) -> Any:
        return types.SimpleNamespace(block=self.block, intact=lambda: True)

    async def submit(self, values: Mapping[Symbol, object], _user: str) -> str:
        self.written.append(values)
        return ""


class Line:
    """The master's end of the line."""

    def __init__(self, fd: int, node: Node) -> None:
        self.fd = fd
        self.node = node

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            os.write(self.fd, frame)
        await asyncio.sleep(0)

    async def heard(self, seconds: float = 0.15) -> bytes:
        """Everything that comes within ``seconds``."""
        found = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.005)
            found += self._read()
        return found

    async def answered(self, wanted: bytes) -> bool:
        """Whether ``wanted`` comes, and nothing else."""
        found = b""
        end = time.monotonic() + 5.0
        while len(found) < len(wanted) and time.monotonic() < end:
            await asyncio.sleep(0.005)
            found += self._read()
        return found == wanted

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 1000)
        except BlockingIOError:
            return b""


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    node = Node()
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    rule = {"table": "holding-registers", "first": 0, "last": 9}
    section = parse_server({"host": "", "serial_port": os.ttyname(slave), "units": [7], "write": [rule]})
    server = ModbusServer(node, node.submit, section, node="n")
    await server.start()
    yield Line(master, node)
    await server.stop()
    os.close(master)
    os.close(slave)


async def test_slave_when_asked_then_it_answers(line: Line) -> None:
    await line.send(rtu.encode(7, READ))
    assert await line.answered(rtu.encode(7, ANSWER))
    await line.send(rtu.encode(7, bytes.fromhex("06 00 01 00 05")))
    assert await line.answered(rtu.encode(7, bytes.fromhex("06 00 01 00 05")))
    assert len(line.node.written) == 1


async def test_slave_when_another_unit_is_asked_then_it_is_silent_also_to_its_answer(line: Line) -> None:
    await line.send(rtu.encode(9, READ))
    await asyncio.sleep(0.02)
    await line.send(rtu.encode(9, ANSWER))
    assert await line.heard() == b""
    await line.send(rtu.encode(7, READ))
    assert await line.answered(rtu.encode(7, ANSWER))


async def test_slave_when_a_foreign_answer_looks_like_a_request_to_us_then_it_is_silent(line: Line) -> None:
    """The answer of unit 9 carries a whole valid request to unit 7 in its data."""
    inner = rtu.encode(7, READ)
    await line.send(rtu.encode(9, bytes.fromhex("03 00 00 00 04")), rtu.encode(9, bytes((3, 8)) + inner))
    assert await line.heard() == b""


async def test_slave_when_a_broadcast_writes_then_it_writes_and_is_silent(line: Line) -> None:
    await line.send(rtu.encode(0, bytes.fromhex("06 00 01 00 05")))
    assert await line.heard() == b""
    assert len(line.node.written) == 1


@pytest.mark.parametrize(
    "noise", [b"\x55", b"\x07\x03\x00", b"\x07\x03\x00\x00\x00\x01\x00\x00", bytes(300), b"\x07\x41\x01\x02"]
)
async def test_slave_when_noise_or_half_a_frame_came_then_the_next_request_after_a_silence_is_answered(
    line: Line, noise: bytes
) -> None:
    await line.send(noise)
    assert await line.heard(0.05) == b""
    await line.send(rtu.encode(7, READ))
    assert await line.answered(rtu.encode(7, ANSWER))


async def test_slave_when_the_function_is_unknown_then_exception_1(line: Line) -> None:
    await line.send(rtu.encode(7, b"\x41\x01\x02"))
    assert await line.answered(rtu.encode(7, b"\xc1\x01"))


async def test_slave_when_a_request_comes_in_pieces_then_it_is_answered(line: Line) -> None:
    frame = rtu.encode(7, READ)
    await line.send(frame[:3], frame[3:])
    assert await line.answered(rtu.encode(7, ANSWER))


async def test_port_when_it_is_missing_then_dv2007() -> None:
    node = Node()
    section = parse_server({"host": "", "serial_port": "/dev/does-not-exist"})
    with pytest.raises(TickworkError) as caught:
        await ModbusServer(node, node.submit, section, node="n").start()
    assert caught.value.code == "DV2007"
