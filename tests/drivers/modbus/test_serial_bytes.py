"""Any bytes into either end of a serial line, whole and one at a time."""

import asyncio
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import Failure, Job, rtu
from drivers.modbus import ascii as ascii_frames
from drivers.modbus.pdu import Function, read_registers
from drivers.modbus.server import ModbusServer
from drivers.modbus.server_config import parse_server
from drivers.modbus.server_serial import SerialServer
from drivers.modbus.stream import StreamTcpLink
from scan.abi import ABI_VERSION, Application, Region

REQUEST = read_registers(Function.READ_HOLDING_REGISTERS, 0, 2)
REPLY = bytes.fromhex("03 04 1234 5678")
FRAMINGS: dict[str, Any] = {"rtu": rtu, "ascii": ascii_frames}


def streams(framing: str) -> st.SearchStrategy[bytes]:
    """Noise, right frames, and right frames with one byte changed."""
    right = FRAMINGS[framing].encode(1, REPLY)
    nearly = st.builds(
        lambda at, flip: right[:at] + bytes((right[at] ^ flip,)) + right[at + 1 :],
        st.integers(0, len(right) - 1),
        st.integers(1, 255),
    )
    foreign = st.builds(FRAMINGS[framing].encode, st.integers(0, 255), st.binary(min_size=1, max_size=20))
    return st.lists(st.one_of(st.binary(max_size=60), nearly, foreign), max_size=4).map(b"".join)


class Wire:
    def __init__(self) -> None:
        self.sent = b""
        self.ended = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.ended = True


async def fed(framing: str, data: bytes, piece: int) -> list[bytes | Failure]:
    """What becomes of one request whose device sends ``data`` in pieces."""
    link = StreamTcpLink("device", 502, framing=framing)
    link._loop = asyncio.get_running_loop()
    link.connection_made(Wire())  # type: ignore[arg-type]
    outcome: list[bytes | Failure] = []
    link.submit(
        Job(1, REQUEST, lambda _, reply, failure: outcome.append(failure or reply), timeout_s=1.0, priority=0)
    )
    link.flush()
    for at in range(0, len(data), piece):
        link.data_received(data[at : at + piece])
    await link.stop()
    return outcome


@pytest.mark.parametrize("framing", FRAMINGS)
@given(data=st.data(), piece=st.sampled_from([1, 2, 7, 1000]))
def test_link_when_the_line_brings_anything_then_one_outcome_and_data_only_from_a_right_frame(
    framing: str, data: st.DataObject, piece: int
) -> None:
    stream = data.draw(streams(framing))
    outcome = asyncio.run(fed(framing, stream, piece))
    assert len(outcome) == 1
    if isinstance(outcome[0], bytes):
        assert FRAMINGS[framing].encode(1, outcome[0]).upper() in stream.upper()
        assert outcome[0].startswith(b"\x03\x04")


@pytest.mark.parametrize("framing", FRAMINGS)
@given(data=st.data())
def test_link_when_bytes_come_one_at_a_time_then_data_is_the_first_that_comes_whole(
    framing: str, data: st.DataObject
) -> None:
    """In pieces the outcome may be decided earlier, but never be other data."""
    noise = data.draw(st.binary(max_size=12)).replace(b":", b"")
    stream = noise + FRAMINGS[framing].encode(1, REPLY)
    assert asyncio.run(fed(framing, stream, len(stream))) == [REPLY]
    single = asyncio.run(fed(framing, stream, 1))
    assert single == [REPLY] or isinstance(single[0], Failure)


APPLICATION = Application(
    ABI_VERSION, "n", "", "", 128, Region(64, 16), Region(80, 16), Region(96, 16), Region(64, 64),
    b"", (), (), (), (), b"",
)  # fmt: skip


async def served(data: bytes, piece: int) -> bytes:
    """What the RTU slave with unit 1 says to ``data``."""
    block = np.zeros(128, np.uint8)
    view = types.SimpleNamespace(
        application=APPLICATION, published=lambda: types.SimpleNamespace(block=block, intact=lambda: True)
    )

    async def submit(_values: object, _user: str) -> str:
        return ""

    section = parse_server({"host": "", "serial_port": "/dev/none", "baud": 4_000_000})
    server = ModbusServer(view, submit, section, node="n")
    await server.rebind()
    slave = SerialServer(server)
    wire = Wire()
    slave.connection_made(wire)  # type: ignore[arg-type]
    for at in range(0, len(data), piece):
        slave.data_received(data[at : at + piece])
    await asyncio.gather(*slave._tasks)
    slave.connection_lost(None)
    return wire.sent


@given(streams("rtu"), st.sampled_from([1, 3, 1000]))
def test_slave_when_the_line_brings_anything_then_silence_or_whole_frames_of_its_own(
    data: bytes, piece: int
) -> None:
    sent = asyncio.run(served(data, piece))
    if sent:
        assert sent[0] == 1
        assert rtu.is_frame(sent)


@given(st.binary(min_size=1, max_size=252))
def test_slave_when_any_request_is_right_by_checksum_then_one_frame_back_or_silence(pdu: bytes) -> None:
    sent = asyncio.run(served(rtu.encode(1, pdu), 1000))
    if sent:
        assert rtu.is_frame(sent)
        assert sent[1] & 0x7F == pdu[0] & 0x7F
