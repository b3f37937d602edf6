import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import TcpLink, rtu
from drivers.modbus import commissioning as field
from drivers.modbus.pdu import Function, read_registers
from drivers.sim.device_server import TcpDevice
from drivers.sim.registers import RegisterDevice
from scan.problem import TickworkError

CONVERSATION = [
    rtu.encode(3, bytes.fromhex("03 00 10 00 02")),
    rtu.encode(3, bytes.fromhex("03 04 00 01 00 02")),
    rtu.encode(9, bytes.fromhex("83 02")),
    rtu.encode(9, bytes.fromhex("10 00 00 00 01 02 00 05")),
]


async def test_scan_when_two_units_are_there_then_they_are_found() -> None:
    server = TcpDevice({2: RegisterDevice(size=4), 5: RegisterDevice(size=4)})
    link = TcpLink("127.0.0.1", await server.start())
    await field.open_and_wait(link)
    try:
        found = [unit.unit async for unit in field.find_units(link, range(1, 7), timeout_s=0.1)]
        assert found == [2, 5]
    finally:
        await link.stop()
        await server.stop()


async def test_ask_when_the_device_refuses_then_the_code_of_the_failure() -> None:
    server = TcpDevice({1: RegisterDevice(size=4)})
    link = TcpLink("127.0.0.1", await server.start())
    await field.open_and_wait(link)
    try:
        with pytest.raises(TickworkError, match="illegal data address"):
            await field.ask(link, 1, read_registers(Function.READ_HOLDING_REGISTERS, 9, 1), timeout_s=1.0)
    finally:
        await link.stop()
        await server.stop()


async def test_open_when_nobody_listens_then_dv2002(unused_tcp_port: int) -> None:
    with pytest.raises(TickworkError) as caught:
        await field.open_and_wait(TcpLink("127.0.0.1", unused_tcp_port), timeout_s=0.3)
    assert caught.value.code == "DV2002"
    await asyncio.sleep(0)


@given(st.integers(1, 40))
def test_traffic_when_heard_in_pieces_then_each_frame_is_told(piece: int) -> None:
    stream = b"".join(CONVERSATION)
    frames: list[bytes] = []
    rest = b""
    for at in range(0, len(stream), piece):
        found, rest = field.split_frames(rest + stream[at : at + piece])
        frames += found
    assert frames == CONVERSATION
    assert rest == b""


@given(st.binary(max_size=2000))
def test_traffic_when_it_is_noise_then_no_byte_is_lost_and_each_piece_is_explained(data: bytes) -> None:
    frames, rest = field.split_frames(data)
    assert b"".join(frames) + rest == data
    for frame in frames:
        assert field.explain(frame)


def test_traffic_when_nothing_follows_then_frames_behind_noise_are_found() -> None:
    assert field.split_frames(b"\x00\xff" + CONVERSATION[0] + b"\x01", final=True) == (
        [b"\x00\xff", CONVERSATION[0], b"\x01"], b"",
    )  # fmt: skip


def test_frames_when_explained_then_in_words() -> None:
    assert [field.explain(frame) for frame in CONVERSATION] == [
        "unit 3: read_holding_registers 16 x 2",
        "unit 3: read_holding_registers answered 00 01 00 02",
        "unit 9: exception 2, illegal data address",
        "unit 9: write_multiple_registers 00 00 00 01 02 00 05",
    ]


def test_tcp_traffic_when_captured_then_in_words_up_to_what_is_none() -> None:
    data = bytes.fromhex(
        "0007 0000 0006 01 03 0010 0002 0007 0000 0007 01 03 04 0001 0002 0008 0000 0003 01 83 02 ffff"
    )
    assert [field.explain_tcp(frame) for frame in field.split_tcp_frames(data)] == [
        "transaction 7, unit 1: read_holding_registers 16 x 2",
        "transaction 7, unit 1: read_holding_registers answered 00 01 00 02",
        "transaction 8, unit 1: exception 2, illegal data address",
        "? ff ff",
    ]


@given(st.binary(max_size=600))
def test_tcp_traffic_when_it_is_noise_then_no_byte_is_lost_and_each_piece_is_explained(data: bytes) -> None:
    frames = field.split_tcp_frames(data)
    assert b"".join(frames) == data
    for frame in frames:
        assert field.explain_tcp(frame)


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("float32", "21.5", "21.5"),
        ("int16", "-3", "-3"),
        ("uint32", "0x10000", "65536"),
        ("bcd16", "1234", "1234"),
    ],
)
def test_number_when_encoded_and_shown_then_it_is_the_same(kind: str, text: str, shown: str) -> None:
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        data = field.encode_number(text, kind=kind, order=order)
        assert field.show_registers(data, kind=kind, order=order) == [shown]


@pytest.mark.parametrize(("kind", "text"), [("int16", "40000"), ("int16", "x"), ("uint16", "-1")])
def test_number_when_it_does_not_fit_then_dv1003(kind: str, text: str) -> None:
    with pytest.raises(TickworkError) as caught:
        field.encode_number(text, kind=kind, order="ABCD")
    assert caught.value.code == "DV1003"
