"""Any bytes into either end of a Modbus TCP stream, whole and one at a time."""

import asyncio
import struct
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import Failure, Job, TcpLink
from drivers.modbus.pdu import FailureKind, Function, read_registers
from drivers.modbus.server import ModbusServer, _Connection
from drivers.modbus.server_config import ModbusServerSection
from scan.abi import ABI_VERSION, Application, Region

REQUEST = read_registers(Function.READ_HOLDING_REGISTERS, 0, 2)
RIGHT = bytes.fromhex("0001 0000 0007 01 03 04 1234 5678")
NEARLY = st.builds(
    lambda at, flip: RIGHT[:at] + bytes((RIGHT[at] ^ flip,)) + RIGHT[at + 1 :],
    st.integers(0, len(RIGHT) - 1),
    st.integers(1, 255),
)
STREAMS = st.lists(st.one_of(st.binary(max_size=300), NEARLY), min_size=1, max_size=4).map(b"".join)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.ended = True

    close = abort

    def is_closing(self) -> bool:
        return self.ended

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 9) if name == "peername" else None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def fed(data: bytes, piece: int) -> tuple[list[bytes], list[Failure], bool]:
    """Replies and failures of one request whose device sends ``data`` in pieces; whether the connection ended."""
    link = TcpLink("device", 502)
    link._loop = asyncio.get_running_loop()
    wire = Wire()
    link.connection_made(wire)  # type: ignore[arg-type]
    replies: list[bytes] = []
    failures: list[Failure] = []

    def done(_job: Job, reply: bytes, failure: Failure | None) -> None:
        (failures if failure else replies).append(failure or reply)  # type: ignore[arg-type]

    link.submit(Job(1, REQUEST, done, timeout_s=1.0, priority=0))
    link.flush()
    assert wire.sent == bytes.fromhex("0001 0000 0006 01 03 0000 0002")
    for at in range(0, len(data), piece):
        if not wire.ended:
            link.data_received(data[at : at + piece])
    ended = wire.ended
    await link.stop()
    return replies, failures, ended


@given(STREAMS, st.integers(1, 40))
def test_link_when_the_device_sends_anything_then_data_only_from_the_right_frame(
    data: bytes, piece: int
) -> None:
    replies, failures, _ = asyncio.run(fed(data, piece))
    assert len(replies) + len(failures) == 1
    for reply in replies:
        assert struct.pack(">HHHB", 1, 0, len(reply) + 1, 1) + reply in data
        assert reply[:2] == b"\x03\x04"


@given(STREAMS)
def test_link_when_bytes_come_one_at_a_time_then_it_is_the_same_as_whole(data: bytes) -> None:
    whole, single = asyncio.run(fed(data, len(data) or 1)), asyncio.run(fed(data, 1))
    assert whole[0] == single[0]
    assert whole[2] == single[2]


@given(STREAMS)
def test_link_when_the_right_frame_comes_first_then_its_data_whatever_follows(data: bytes) -> None:
    replies, _, _ = asyncio.run(fed(RIGHT + data, 5))
    assert replies == [RIGHT[7:]]


APPLICATION = Application(
    ABI_VERSION, "n", "", "", 128, Region(64, 16), Region(80, 16), Region(96, 16), Region(64, 64),
    b"", (), (), (), (), b"",
)  # fmt: skip


async def served(data: bytes, piece: int) -> tuple[bytes, bool]:
    """What the server sends back for ``data``, and whether it ended the connection."""
    block = np.zeros(128, np.uint8)
    view = types.SimpleNamespace(
        application=APPLICATION, published=lambda: types.SimpleNamespace(block=block, intact=lambda: True)
    )

    async def submit(_values: object, _user: str) -> str:
        return ""

    server = ModbusServer(view, submit, ModbusServerSection(), node="n")
    await server.rebind()
    connection = _Connection(server)
    wire = Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    for at in range(0, len(data), piece):
        if not wire.ended:
            connection.data_received(data[at : at + piece])
    connection.connection_lost(None)
    return wire.sent, wire.ended


@given(STREAMS, st.integers(1, 40))
def test_server_when_a_client_sends_anything_then_whole_frames_back_and_the_same_in_pieces(
    data: bytes, piece: int
) -> None:
    sent, ended = asyncio.run(served(data, piece))
    assert (sent, ended) == asyncio.run(served(data, 1))
    while sent:
        _, protocol, length, _ = struct.unpack(">HHHB", sent[:7])
        assert protocol == 0
        assert 3 <= length <= 254
        sent = sent[6 + length :]


@pytest.mark.parametrize(
    "header",
    ["0000 0000 0000 01", "0000 0000 0001 01", "0000 0000 00ff 01", "0000 0000 ffff 01", "0000 0001 0006 01"],
)
def test_server_when_the_header_is_no_modbus_then_it_ends_in_the_same_call(header: str) -> None:
    """Neither a turn of the loop nor a timer lies between the bytes and the end: nothing to wait for."""
    right = bytes.fromhex("0007 0000 0006 01 03 0000 0001")
    sent, ended = asyncio.run(served(right + bytes.fromhex(header), 100))
    assert ended
    assert sent == bytes.fromhex("0007 0000 0005 01 03 02 0000")  # what was asked before is still answered


async def test_link_when_the_device_closes_then_what_is_open_fails_in_the_same_call() -> None:
    link = TcpLink("device", 502, max_outstanding=2)
    link._loop = asyncio.get_running_loop()
    link.connection_made(Wire())  # type: ignore[arg-type]
    failures: list[Failure | None] = []
    for _ in range(3):  # two on their way, one that waits
        link.submit(
            Job(
                1, REQUEST, lambda _job, _reply, failure: failures.append(failure), timeout_s=60.0, priority=0
            )
        )
    link.flush()
    link.connection_lost(None)
    assert [failure and failure.kind for failure in failures] == [FailureKind.CONNECTION_LOST] * 3
    await link.stop()
