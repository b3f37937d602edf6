"""What clients write falls back when they stop writing."""

import asyncio
import contextlib
import struct
import types
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest

from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from scan.abi import ABI_VERSION, Application, Region, Symbol
from scan.problem import TickworkError

COILS = {"table": "coils", "first": 0, "last": 3, "watchdog_ms": 150, "fallback": [1, 0, 0, 1]}
WORDS = {"table": "holding-registers", "first": 0, "last": 1, "watchdog_ms": 150, "fallback": -1}


class Node:
    """A program with eight bytes of outputs. Each write is kept with its author."""

    def __init__(self) -> None:
        self.application: Application | None = Application(
            ABI_VERSION, "n", "d", "t", 96, Region(64, 8), Region(72, 8), Region(80, 8), Region(64, 32),
            bytes(96), (), (), (), (), b"",
        )  # fmt: skip
        self.writes: list[tuple[str, dict[str, object]]] = []
        self.reason = ""

    def published(self) -> Any:
        return types.SimpleNamespace(block=np.zeros(96, np.uint8), intact=lambda: True)

    async def submit(self, values: Mapping[Symbol, object], user: str) -> str:
        if not self.reason:
            self.writes.append((user.split(" ")[1], {symbol.path: value for symbol, value in values.items()}))
        return self.reason

    @property
    def falls(self) -> list[dict[str, object]]:
        return [values for author, values in self.writes if author == "watchdog"]


@contextlib.asynccontextmanager
async def serving(node: Node, *rules: dict[str, Any]) -> AsyncIterator[Any]:
    section = parse_server({"port": 0, "write": list(rules)})
    server = ModbusServer(node, node.submit, section, node="n")
    await server.start()
    port = int(server.endpoints()[0].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(pdu: str) -> str:
        body = bytes.fromhex(pdu)
        writer.write(struct.pack(">HHHB", 7, 0, len(body) + 1, 1) + body)
        header = await reader.readexactly(7)
        return (await reader.readexactly(struct.unpack(">HHHB", header)[2] - 1)).hex()

    try:
        yield ask
    finally:
        await server.stop()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_coils_when_the_client_stops_writing_then_they_fall_back_once(world: Any) -> None:
    node = Node()
    async with serving(node, COILS) as ask:
        assert await ask("05 0001 ff00") == "050001ff00"
        await world.until(lambda: node.falls, "fallback")
        await asyncio.sleep(0.4)
    assert node.falls == [{"%QX@72.0": True, "%QX@72.1": False, "%QX@72.2": False, "%QX@72.3": True}]


async def test_registers_when_written_again_and_again_then_they_stay(world: Any) -> None:
    node = Node()
    async with serving(node, WORDS) as ask:
        for _ in range(12):
            assert (await ask("10 0001 0001 02 0005")).startswith("10")
            await asyncio.sleep(0.03)
        assert node.falls == []
        await world.until(lambda: node.falls, "fallback")
    assert node.falls == [{"%B@72": [255, 255, 255, 255]}]


async def test_registers_when_only_read_or_others_are_written_then_they_fall_back(world: Any) -> None:
    node = Node()
    other = {"table": "holding-registers", "first": 2, "last": 3}
    async with serving(node, WORDS, other) as ask:
        await ask("06 0000 0001")
        for _ in range(200):
            await ask("06 0002 0001")
            await ask("03 0000 0001")
            await asyncio.sleep(0.005)
            if node.falls:
                return
    pytest.fail("no fallback")


async def test_outputs_when_no_client_writes_from_the_start_then_they_fall_back(world: Any) -> None:
    node = Node()
    async with serving(node, COILS):
        await world.until(lambda: node.falls, "fallback")


@pytest.mark.parametrize("obstacle", ["refused", "no program"])
async def test_fallback_when_it_cannot_take_effect_then_it_is_tried_again(
    world: Any, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    monkeypatch.setattr("drivers.modbus.server_watchdog.AGAIN_S", 0.03)
    node = Node()
    application = node.application
    if obstacle == "refused":
        node.reason = "the scan is stopped"
    else:
        node.application = None
    async with serving(node, WORDS) as ask:
        await asyncio.sleep(0.3)
        assert node.falls == []
        node.reason = ""
        node.application = application
        await ask("03 0000 0001")
        await world.until(lambda: node.falls, "fallback")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fallback": [1, 0]}, "DV1003"),
        ({"fallback": 2}, "DV1003"),
        ({"fallback": "hold"}, "DV1003"),
        ({"watchdog_ms": 0}, "DV1003"),
        ({"watchdog_ms": -1}, "DV1003"),
    ],
)
def test_rule_when_its_watchdog_is_wrong_then_its_code(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_server({"write": [{**COILS, **changes}]})
    assert {problem.code for problem in caught.value.problems} == {code}


def test_rule_when_the_fallback_is_missing_then_dv1002() -> None:
    with pytest.raises(TickworkError) as caught:
        parse_server({"write": [{"table": "coils", "first": 0, "watchdog_ms": 100}]})
    assert [problem.code for problem in caught.value.problems] == ["DV1002"]
