"""The server byte by byte against the specification, over real loopback sockets."""

import asyncio
import contextlib
import pathlib
import ssl
import struct
import types
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.pdu import Function
from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from drivers.modbus.server_gateway import judged
from drivers.modbus.server_map import AddressMap
from drivers.modbus.server_pdu import Identity, Order, Responder
from drivers.sim.device_server import TcpDevice
from drivers.sim.faults import TCP
from drivers.sim.registers import RegisterDevice
from scan.abi import ABI_VERSION, Application, IecType, Region, Symbol
from scan.problem import TickworkError
from scan.values import encode_value

SYMBOLS = (
    Symbol("Main.level", IecType.REAL, 200, 4, access="rw"),
    Symbol("Main.count", IecType.DINT, 204, 4, access="r"),
    Symbol("Main.run", IecType.BOOL, 208, 1, access="rw"),
    Symbol("Main.text", IecType.STRING, 209, 11, access="rw"),
)
MAP = [
    {"table": "holding-registers", "address": 9000, "variable": "main.level"},
    {"table": "holding-registers", "address": 9002, "variable": "Main.count", "order": "CDAB"},
    {"table": "coils", "address": 9000, "variable": "Main.run"},
]
WRITES = [
    {"table": "coils", "first": 0, "last": 15},
    {"table": "coils", "first": 9000},
    {"table": "holding-registers", "first": 0, "last": 9100},
]


def application() -> Application:
    """%I at 64 (16 bytes), %Q at 80 (16 bytes), %M at 96 (64 bytes)."""
    return Application(
        ABI_VERSION, "water", "d", "t", 256, Region(64, 16), Region(80, 16), Region(96, 64), Region(64, 192),
        bytes(256), SYMBOLS, (), (), (), b"",
    )  # fmt: skip


class Node:
    """A node's view and command lane over a block in memory. ``gate`` holds writes back while it is not set."""

    def __init__(self) -> None:
        self.application: Application | None = application()
        self.block = np.zeros(256, np.uint8)
        self.writes: list[Mapping[Symbol, object]] = []
        self.users: list[str] = []
        self.reason = ""
        self.gate = asyncio.Event()
        self.gate.set()

    def published(self) -> Any:
        if self.application is None:
            raise TickworkError
        return types.SimpleNamespace(block=self.block.copy(), intact=lambda: True)

    async def submit(self, values: Mapping[Symbol, object], user: str) -> str:
        await self.gate.wait()
        self.writes.append(values)
        self.users.append(user)
        if not self.reason:
            for symbol, value in values.items():
                self._store(symbol, value)
        return self.reason

    def _store(self, symbol: Symbol, value: object) -> None:
        if symbol.bit >= 0:
            byte = int(self.block[symbol.offset]) & ~(1 << symbol.bit)
            self.block[symbol.offset] = byte | bool(value) << symbol.bit
        else:
            data = np.frombuffer(encode_value(symbol, value), np.uint8)
            self.block[symbol.offset : symbol.offset + len(data)] = data


class Client:
    """Raw bytes to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, pdu: str, *, unit: int = 1, transaction: int = 7) -> str:
        body = bytes.fromhex(pdu)
        self.writer.write(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)
        found, reply = await self.reply()
        assert found == transaction
        return reply

    async def reply(self) -> tuple[int, str]:
        header = await asyncio.wait_for(self.reader.readexactly(7), 5)
        transaction, protocol, length, _ = struct.unpack(">HHHB", header)
        assert protocol == 0
        return transaction, (await self.reader.readexactly(length - 1)).hex(" ")

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            return await asyncio.wait_for(self.reader.read(1), 5) == b""
        return True


@pytest.fixture
def node() -> Node:
    return Node()


@contextlib.asynccontextmanager
async def serving(node: Node, **changes: Any) -> AsyncIterator[Any]:
    section = parse_server({"port": 0, "map": MAP, "write": WRITES, **changes})
    server = ModbusServer(node, node.submit, section, node="water", version="1.2")
    await server.start()
    port = int(server.endpoints()[0].rpartition(":")[2])
    clients: list[Client] = []

    async def connect(tls: ssl.SSLContext | None = None) -> Client:
        name = "device" if tls else None
        clients.append(
            Client(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))
        )
        return clients[-1]

    try:
        yield server, connect
    finally:
        await server.stop()
        for client in clients:
            client.writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await client.writer.wait_closed()


@pytest.fixture
async def client(node: Node) -> AsyncIterator[Client]:
    async with serving(node) as (_, connect):
        yield await connect()


async def test_tables_when_read_then_they_lie_as_in_openplc(node: Node, client: Client) -> None:
    node.block[64:68] = [0b101, 0, 0x34, 0x12]  # %IX0.0, %IX0.2, %IW1
    node.block[80:84] = [0, 0b10, 0x78, 0x56]  # %QX1.1, %QW1
    node.block[96:112] = range(1, 17)  # %MW0 = 16#0201, %MD1 = 16#08070605, %ML1
    assert await client.ask("02 00 00 00 03") == "02 01 05"
    assert await client.ask("04 00 01 00 01") == "04 02 12 34"
    assert await client.ask("01 00 08 00 03") == "01 01 02"
    assert await client.ask("03 00 01 00 01") == "03 02 56 78"
    assert await client.ask("03 04 00 00 01") == "03 02 02 01"
    assert await client.ask("03 08 02 00 02") == "03 04 08 07 06 05"
    assert await client.ask("03 10 04 00 04") == "03 08 10 0f 0e 0d 0c 0b 0a 09"


async def test_tables_when_the_word_order_is_low_first_then_words_are_exchanged(node: Node) -> None:
    node.block[96:104] = range(1, 9)
    async with serving(node, word_order="low-first") as (_, connect):
        client = await connect()
        assert await client.ask("03 08 02 00 02") == "03 04 06 05 08 07"


async def test_variables_when_mapped_then_they_stand_at_their_address(node: Node, client: Client) -> None:
    node.block[200:204] = list(struct.pack("<f", 2.5))
    node.block[204:208] = [0x0D, 0x0C, 0x0B, 0x0A]
    node.block[208] = 1
    assert await client.ask("03 23 28 00 04") == "03 08 " + struct.pack(">f", 2.5).hex(" ") + " 0c 0d 0a 0b"
    assert await client.ask("01 23 28 00 01") == "01 01 01"


async def test_writes_when_allowed_then_one_group_and_the_echo_after_it(node: Node, client: Client) -> None:
    assert await client.ask("0f 00 00 00 0a 02 cd 01") == "0f 00 00 00 0a"
    assert list(node.block[80:82]) == [0xCD, 0x01]
    assert await client.ask("05 00 03 00 00") == "05 00 03 00 00"
    assert node.block[80] == 0xC5
    assert await client.ask("06 00 02 12 34") == "06 00 02 12 34"
    assert list(node.block[84:86]) == [0x34, 0x12]
    assert await client.ask("10 08 00 00 02 04 0a 0b 0c 0d") == "10 08 00 00 02"
    assert list(node.block[96:100]) == [0x0D, 0x0C, 0x0B, 0x0A]
    assert await client.ask("10 23 28 00 02 04 " + struct.pack(">f", -1.5).hex()) == "10 23 28 00 02"
    assert struct.unpack("<f", node.block[200:204].tobytes())[0] == -1.5
    assert len(node.writes) == 5
    assert node.users[0].startswith("modbus 127.0.0.1:")


async def test_coils_when_some_of_a_byte_are_written_then_their_neighbours_stay(
    node: Node, client: Client
) -> None:
    node.block[80] = 0xFF
    assert await client.ask("0f 00 02 00 03 01 00") == "0f 00 02 00 03"
    assert node.block[80] == 0b11100011


async def test_mask_write_and_read_write_when_asked_then_as_specified(node: Node, client: Client) -> None:
    node.block[80:82] = [0x12, 0x00]
    assert await client.ask("16 00 00 00 f2 00 25") == "16 00 00 00 f2 00 25"
    assert node.block[80] == 0x17
    assert await client.ask("17 00 00 00 02 00 01 00 01 02 ab cd") == "17 04 00 17 ab cd"


REFUSED = {
    "function 0x41": ("41 00", "c1 01"),
    "function 7": ("07", "87 01"),
    "function 8": ("08 00 00 12 34", "88 01"),
    "function 20": ("14 07 06 00 04 00 01 00 02", "94 01"),
    "count 0": ("03 00 00 00 00", "83 03"),
    "126 registers": ("03 00 00 00 7e", "83 03"),
    "2001 bits": ("01 00 00 07 d1", "81 03"),
    "truncated": ("03 00 00 00", "83 03"),
    "trailing byte": ("03 00 00 00 01 00", "83 03"),
    "coil neither on nor off": ("05 00 00 12 34", "85 03"),
    "byte count of coils": ("0f 00 00 00 0a 01 cd 01", "8f 03"),
    "byte count of registers": ("10 00 00 00 02 03 00 0a 01", "90 03"),
    "124 registers written": ("10 00 00 00 7c f6" + " 00" * 246, "90 03"),
    "beyond the table": ("03 ff ff 00 02", "83 02"),
    "address not in the map": ("03 20 00 00 01", "83 02"),
    "input registers beyond the profile": ("04 04 00 00 01", "84 02"),
    "straddling the end of the profile": ("03 1f ff 00 02", "83 02"),
    "coil without a rule": ("05 00 10 ff 00", "85 02"),
    "coils partly without a rule": ("0f 00 0f 00 02 01 03", "8f 02"),
    "register that the program does not use": ("06 00 20 00 01", "86 02"),
    "variable without write access": ("06 23 2a 00 01", "86 02"),
    "identification, code 0": ("2b 0e 00 00", "ab 03"),
    "identification, other type": ("2b 0d 01 00", "ab 01"),
    "identification, unknown object": ("2b 0e 04 77", "ab 02"),
    "read and write, byte count": ("17 00 00 00 01 00 00 00 01 03 ab cd", "97 03"),
    "0 coils": ("01 00 00 00 00", "81 03"),
    "0 discrete inputs": ("02 00 00 00 00", "82 03"),
    "2001 discrete inputs": ("02 00 00 07 d1", "82 03"),
    "0 input registers": ("04 00 00 00 00", "84 03"),
    "126 input registers": ("04 00 00 00 7e", "84 03"),
    "coil, truncated": ("05 00 00 ff", "85 03"),
    "register, trailing byte": ("06 00 00 00 01 00", "86 03"),
    "0 coils written": ("0f 00 00 00 00 00", "8f 03"),
    "1969 coils written": ("0f 00 00 07 b1 f7" + " 00" * 247, "8f 03"),
    "0 registers written": ("10 00 00 00 00 00", "90 03"),
    "registers, fewer bytes than said": ("10 00 00 00 02 04 00 0a 01", "90 03"),
    "mask write, truncated": ("16 00 00 00 f2 00", "96 03"),
    "mask write without a rule": ("16 23 8e 00 f2 00 25", "96 02"),
    "0 registers read, some written": ("17 00 00 00 00 00 00 00 01 02 ab cd", "97 03"),
    "126 registers read, some written": ("17 00 00 00 7e 00 00 00 01 02 ab cd", "97 03"),
    "some read, 0 registers written": ("17 00 00 00 01 00 00 00 00 00", "97 03"),
    "some read, 122 registers written": ("17 00 00 00 01 00 00 00 7a f4" + " 00" * 242, "97 03"),
    "illegal read, legal write": ("17 20 00 00 01 00 00 00 01 02 ab cd", "97 02"),
    "identification, truncated": ("2b 0e 01", "ab 03"),
    "identification, code 5": ("2b 0e 05 00", "ab 03"),
    "2000 bits beyond the table": ("02 fc 00 07 d0", "82 02"),
    "function 24, FIFO": ("18 04 de", "98 01"),
    "function 0": ("00", "80 01"),
}
LARGEST = {
    "2000 coils": ("01 00 00 07 d0", "01 fa" + " 00" * 250),
    "2000 discrete inputs": ("02 00 00 07 d0", "02 fa" + " 00" * 250),
    "125 holding registers": ("03 00 00 00 7d", "03 fa" + " 00" * 250),
    "125 input registers": ("04 00 00 00 7d", "04 fa" + " 00" * 250),
    "16 coils": ("0f 00 00 00 10 02 00 00", "0f 00 00 00 10"),
    "8 registers": ("10 00 00 00 08 10" + " 00" * 16, "10 00 00 00 08"),
    "125 read and 8 written": ("17 00 00 00 7d 00 00 00 08 10" + " 00" * 16, "17 fa" + " 00" * 250),
    "one register of each profile's end": ("03 1f ff 00 01", "03 02 00 00"),
}


@pytest.mark.parametrize("name", LARGEST)
async def test_request_when_it_is_as_large_as_allowed_then_the_whole_reply(client: Client, name: str) -> None:
    request, reply = LARGEST[name]
    assert await client.ask(request) == reply


@pytest.mark.parametrize("name", REFUSED)
async def test_request_when_not_acceptable_then_the_specified_exception(client: Client, name: str) -> None:
    request, reply = REFUSED[name]
    assert await client.ask(request) == reply


async def test_profile_when_read_beyond_the_program_then_zeros(client: Client) -> None:
    assert await client.ask("03 00 07 00 03") == "03 06 00 00 00 00 00 00"
    assert await client.ask("01 1f ff 00 01") == "01 01 00"


async def test_identification_when_asked_then_vendor_product_version(client: Client) -> None:
    reply = bytes.fromhex(await client.ask("2b 0e 01 00"))
    assert reply[:7] == bytes.fromhex("2b 0e 01 82 00 00 03")
    assert b"Tickwork" in reply
    assert b"1.2" in reply
    assert (await client.ask("2b 0e 04 04")).endswith(b"water".hex(" "))


async def test_write_when_the_scan_refuses_then_exception_4(node: Node, client: Client) -> None:
    node.reason = "the program changed meanwhile"
    assert await client.ask("06 00 00 00 01") == "86 04"


async def test_requests_when_there_is_no_program_then_exception_4_and_after_it_came_the_value(
    node: Node, client: Client
) -> None:
    program, node.application = node.application, None
    await asyncio.sleep(0.005)
    assert await client.ask("03 00 00 00 01") == "83 04"
    node.application = program
    assert await client.ask("03 00 00 00 01") == "03 02 00 00"


async def test_read_when_the_scan_publishes_meanwhile_then_it_is_done_again(
    node: Node, client: Client
) -> None:
    """The block is read where the scan puts it: what was read while it was put there anew may be of two scans."""
    torn = iter([False, False, True])

    def published() -> Any:
        node.block[66:68] = 7  # as the next scan has it
        return types.SimpleNamespace(block=node.block, intact=lambda: next(torn, True))

    node.published = published  # type: ignore[method-assign]
    assert await client.ask("04 0001 0001") == "04 02 07 07"
    assert next(torn, None) is None


async def test_read_when_no_scan_can_be_caught_then_busy(node: Node, client: Client) -> None:
    node.published = lambda: types.SimpleNamespace(block=node.block, intact=lambda: False)  # type: ignore[method-assign]
    assert await client.ask("04 0001 0001") == "84 06"


async def test_requests_when_many_come_in_one_segment_then_all_are_answered_in_order(
    node: Node, client: Client
) -> None:
    """Reads and writes mixed: a read after a write sees it."""
    frames = []
    for number in range(30):
        pdu = f"06 00 00 00 {number:02x}" if number % 3 == 0 else "03 00 00 00 01"
        body = bytes.fromhex(pdu)
        frames.append(struct.pack(">HHHB", number, 0, len(body) + 1, 1) + body)
    client.writer.write(b"".join(frames))
    replies = [await client.reply() for _ in range(30)]
    assert [number for number, _ in replies] == list(range(30))
    assert [reply for _, reply in replies][1::3] == [f"03 02 00 {n:02x}" for n in range(0, 30, 3)]


async def test_request_when_it_comes_byte_by_byte_then_it_is_answered(client: Client) -> None:
    for byte in bytes.fromhex("0007 0000 0006 01 03 0000 0001"):
        client.writer.write(bytes((byte,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert await client.reply() == (7, "03 02 00 00")


@pytest.mark.parametrize(
    "garbage",
    ["0000 0000 0000 01", "0000 0000 0001 01", "0000 0000 ffff 01", "0000 0001 0006 01", "47455420 2f2048"],
)
async def test_connection_when_the_header_is_no_modbus_then_closed_and_others_go_on(
    node: Node, garbage: str
) -> None:
    async with serving(node) as (_, connect):
        good, bad = await connect(), await connect()
        bad.writer.write(bytes.fromhex(garbage))
        assert await bad.ended()
        assert await good.ask("03 00 00 00 01") == "03 02 00 00"


async def test_unit_when_it_is_not_ours_then_gateway_exception(node: Node) -> None:
    async with serving(node, units=[3]) as (_, connect):
        client = await connect()
        for unit in (0, 3, 255):
            assert await client.ask("03 00 00 00 01", unit=unit) == "03 02 00 00"
        assert await client.ask("03 00 00 00 01", unit=4) == "83 0b"


async def test_client_when_its_network_is_not_allowed_then_refused(node: Node) -> None:
    async with serving(node, clients=["10.0.0.0/8"]) as (server, connect):
        assert await (await connect()).ended()
        assert server.refused == 1


async def test_write_when_its_rule_is_for_another_network_then_illegal_address(node: Node) -> None:
    rule = {"table": "coils", "first": 0, "last": 9, "clients": ["10.1.2.3"]}
    async with serving(node, write=[rule]) as (_, connect):
        assert await (await connect()).ask("05 00 00 ff 00") == "85 02"


async def test_connections_when_the_limit_is_reached_then_new_ones_wait_for_an_idle_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(node, max_connections=2, max_per_client=9) as (server, connect):
        first, second = await connect(), await connect()
        await first.ask("03 00 00 00 01")
        await second.ask("03 00 00 00 01")
        assert await (await connect()).ended()
        monkeypatch.setattr("drivers.modbus.server.EVICTABLE_IDLE_S", 0.0)
        third = await connect()
        assert await third.ask("03 00 00 00 01") == "03 02 00 00"
        assert await first.ended()
        assert len(server.clients()) == 2


async def test_requests_when_faster_than_the_limit_then_busy(node: Node) -> None:
    async with serving(node, requests_per_s=5) as (_, connect):
        client = await connect()
        replies = [await client.ask("03 00 00 00 01") for _ in range(8)]
        assert replies[:5] == ["03 02 00 00"] * 5
        assert replies[-1] == "83 06"


async def test_client_when_it_never_reads_then_the_server_stops_reading_it(node: Node) -> None:
    async with serving(node) as (server, connect):
        client = await connect()
        frame = bytes.fromhex("0007 0000 0006 01 03 0000 007d")
        client.writer.transport.set_write_buffer_limits(high=1 << 16)
        with contextlib.suppress(TimeoutError):
            for _ in range(200):
                client.writer.write(frame * 500)
                await asyncio.wait_for(client.writer.drain(), 0.2)
        assert server.requests < 100_000
        good = await connect()
        assert await good.ask("03 00 00 00 01") == "03 02 00 00"


@pytest.mark.parametrize(("name", "reply"), [("operator", "05 00 00 ff 00"), ("node", "85 02")])
async def test_tls_when_a_rule_wants_a_role_then_only_its_certificate_may_write(
    node: Node, certificates: pathlib.Path, name: str, reply: str
) -> None:
    files = {f"tls_{key}": str(certificates / file) for key, file in TLS_FILES.items()}
    rule = {"table": "coils", "first": 0, "last": 9, "roles": ["operator"]}
    async with serving(node, write=[rule], **files) as (_, connect):
        client = await connect(client_tls(certificates, name))
        assert await client.ask("03 00 00 00 01") == "03 02 00 00"
        assert await client.ask("05 00 00 ff 00") == reply


async def test_tls_when_the_client_is_a_stranger_then_it_gets_no_answer(
    node: Node, certificates: pathlib.Path
) -> None:
    files = {f"tls_{key}": str(certificates / file) for key, file in TLS_FILES.items()}
    async with serving(node, **files) as (server, connect):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            stranger = await connect(client_tls(certificates, "stranger"))
            assert await stranger.ended()
        assert server.requests == 0


TLS_FILES = {"ca": "authority.pem", "certificate": "device.pem", "key": "device.key"}


def client_tls(folder: pathlib.Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_gateway_when_a_unit_is_behind_the_node_then_its_answers_come_through(node: Node) -> None:
    behind = RegisterDevice(size=8)
    behind.holding[1] = 0x1234
    device = TcpDevice({40: behind})
    port = await device.start()
    way = {"protocol": "modbus-tcp", "host": "127.0.0.1", "port": port, "timeout_ms": 100}
    units = [{"unit": 5, "to_unit": 40, "writable": True, **way}, {"unit": 6, "to_unit": 40, **way},
             {"unit": 7, **way}, {"unit": 8, **way, "port": 1}]  # fmt: skip
    async with serving(node, gateway=units) as (_, connect):
        client = await connect()
        await asyncio.sleep(0.05)
        assert await client.ask("03 00 01 00 01", unit=5) == "03 02 12 34"
        assert await client.ask("06 00 02 00 09", unit=5) == "06 00 02 00 09"
        assert behind.holding[2] == 9
        assert await client.ask("06 00 02 00 01", unit=6) == "86 01"
        assert await client.ask("03 00 09 00 01", unit=5) == "83 02"
        assert await client.ask("03 00 01 00 00", unit=5) == "83 03"
        assert await client.ask("10 00 01 00 01 02 00", unit=5) == "90 03"
        assert await client.ask("03 00 01 00 01", unit=7) == "83 0b"
        assert await client.ask("03 00 01 00 01", unit=8) == "83 0a"
        assert await client.ask("41", unit=5) == "c1 01"
        device.faults.append(TCP["more-registers"])
        assert await client.ask("03 00 01 00 01", unit=5) == "83 0b"
        assert await client.ask("03 00 00 00 01", unit=1) == "03 02 00 00"
    await device.stop()


@given(st.binary(min_size=1, max_size=253))
def test_gateway_when_a_request_is_any_bytes_then_judged_or_refused(pdu: bytes) -> None:
    with contextlib.suppress(ValueError, struct.error, IndexError):
        request = judged(pdu)
        assert request is None or request.pdu == pdu


async def test_connection_when_it_only_dribbles_bytes_then_closed_as_idle(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow loris: a byte now and then is no sign of life, a whole request is."""
    monkeypatch.setattr("drivers.modbus.server.TIDY_S", 0.05)
    async with serving(node, idle_s=1) as (_, connect):
        good, bad = await connect(), await connect()
        ended = asyncio.create_task(bad.ended())
        for byte in bytes.fromhex("0007 0000 0006 01 03 0000") * 3:
            if ended.done():
                break
            bad.writer.write(bytes((byte,)))
            await good.ask("03 00 00 00 01")
            await asyncio.sleep(0.1)
        assert await ended
        assert await good.ask("03 00 00 00 01") == "03 02 00 00"


async def test_port_when_it_is_taken_then_dv4001(node: Node) -> None:
    async with serving(node) as (server, _):
        section = parse_server({"port": int(server.endpoints()[0].rpartition(":")[2])})
        with pytest.raises(TickworkError) as caught:
            await ModbusServer(node, node.submit, section, node="x").start()
        assert caught.value.code == "DV4001"


async def test_map_when_the_program_lacks_a_variable_then_a_problem_and_an_illegal_address(
    node: Node,
) -> None:
    entries = [
        {"table": "holding-registers", "address": 9000, "variable": "Main.gone"},
        {"table": "coils", "address": 9000, "variable": "Main.level"},
        {"table": "holding-registers", "address": 9010, "variable": "Main.text"},
        {"table": "holding-registers", "address": 9020, "variable": "Main.run"},
        {"table": "holding-registers", "address": 65535, "variable": "Main.level"},
    ]
    async with serving(node, map=entries) as (server, connect):
        assert [problem.code for problem in server.problems] == ["DV4002"] * 5
        assert await (await connect()).ask("03 23 28 00 01") == "83 02"


@given(st.binary(min_size=1, max_size=253))
def test_responder_when_the_pdu_is_any_bytes_then_a_reply_of_its_function(pdu: bytes) -> None:
    section = parse_server({"map": MAP, "write": WRITES})
    responder = Responder(_MAP, Identity("v", "p", "1", "n"))
    answer = responder.answer(pdu, np.zeros(256, np.uint8), lambda *_: True)
    reply = answer.reply or bytes((pdu[0],)) if isinstance(answer, Order) else answer
    assert reply[0] & 0x7F == pdu[0] & 0x7F
    assert len(reply) <= 253
    assert section.entries


_MAP = AddressMap(parse_server({"map": MAP, "write": WRITES}), application())


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"clients": ["10.0.0.300"]}, {"DV1003"}),
        ({"units": [1, 300]}, {"DV1003"}),
        ({"write": [{"table": "input-registers", "first": 0}]}, {"DV1003"}),
        ({"write": [{"table": "coils", "first": 9, "last": 3}]}, {"DV4002"}),
        ({"map": [{"table": "coils", "address": 1}]}, {"DV1002"}),
        ({"prot": 3}, {"DV1001"}),
        ({"tls_ca": "/a.pem"}, {"DV1002"}),
        ({"tls_ca": "a.pem", "tls_certificate": "/b.pem", "tls_key": "/b.key"}, {"DV1003"}),
        ({"write": [{"table": "coils", "first": 0, "roles": "x"}]}, {"DV1003"}),
    ],
)
def test_section_when_wrong_then_its_codes(changes: dict[str, Any], codes: set[str]) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_server(changes)
    assert {problem.code for problem in caught.value.problems} == codes


def test_functions_when_listed_then_these_are_served() -> None:
    served = {
        function
        for function in range(1, 128)
        if Responder(_MAP, Identity("", "", "", "")).answer(
            bytes((function,)), np.zeros(256, np.uint8), lambda *_: True
        )
        != bytes((function | 0x80, 1))
    }
    assert served | {Function.ENCAPSULATED_INTERFACE} == {1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43}
