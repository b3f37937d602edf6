import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU

from drivers.modbus import ascii as ascii_frames
from drivers.modbus import pdu, rtu
from drivers.modbus.pdu import FailureKind, Function

REQUEST = pdu.read_registers(Function.READ_HOLDING_REGISTERS, 0x6B, 3)
REPLY = bytes.fromhex("03 06 02 2B 00 00 00 64")


@given(st.binary(max_size=300))
def test_crc_when_computed_by_table_then_it_is_that_of_pymodbus(data: bytes) -> None:
    assert rtu.crc16(data).to_bytes(2, "little") == FramerRTU.compute_CRC(data).to_bytes(2, "big")


def test_frame_when_encoded_then_it_is_the_known_one() -> None:
    assert rtu.encode(1, bytes.fromhex("03 00 00 00 0A")) == bytes.fromhex("01 03 00 00 00 0A C5 CD")
    assert ascii_frames.encode(1, bytes.fromhex("03 00 00 00 0A")) == b":01030000000AF2\r\n"


@pytest.mark.parametrize("framing", [rtu, ascii_frames])
@given(noise=st.binary(max_size=12))
def test_reply_when_noise_comes_first_then_it_is_still_found(framing, noise: bytes) -> None:  # type: ignore[no-untyped-def]
    found = framing.find_reply(noise.replace(b":", b"") + framing.encode(7, REPLY), 7, REQUEST)
    assert (found.reply, found.failure) == (REPLY, None)


@pytest.mark.parametrize("framing", [rtu, ascii_frames])
@given(data=st.binary(max_size=400))
def test_reply_when_bytes_are_arbitrary_then_never_data_without_a_right_checksum(
    framing, data: bytes
) -> None:  # type: ignore[no-untyped-def]
    found = framing.find_reply(data, 7, REQUEST)
    if found.reply and found.failure is None:
        assert found.reply == REPLY[: len(found.reply)] or framing.encode(7, found.reply) in data


@given(st.integers(0, 12), st.integers(1, 255))
def test_reply_when_any_byte_is_damaged_then_it_is_no_data(position: int, flip: int) -> None:
    frame = bytearray(rtu.encode(7, REPLY))
    frame[position % len(frame)] ^= flip
    found = rtu.find_reply(bytes(frame), 7, REQUEST)
    assert not found.reply or found.failure is not None


def test_reply_when_another_units_frame_comes_first_then_it_is_passed_over() -> None:
    foreign = rtu.encode(9, REPLY)
    assert rtu.find_reply(foreign, 7, REQUEST) == rtu.Found(b"", None, False)
    assert rtu.find_reply(foreign + rtu.encode(7, REPLY), 7, REQUEST).reply == REPLY


@pytest.mark.parametrize(
    "reply",
    ["04 06 02 2B 00 00 00 64", "03 04 02 2B 00 00", "03 08 02 2B 00 00 00 64 00 00", "06 00 6B 00 03"],
)
def test_reply_when_valid_but_of_another_kind_then_mismatch_at_once(reply: str) -> None:
    found = rtu.find_reply(rtu.encode(7, bytes.fromhex(reply)), 7, REQUEST)
    assert found.failure is not None
    assert found.failure.kind is FailureKind.MISMATCH


def test_reply_when_it_is_an_exception_then_its_code() -> None:
    for framing in (rtu, ascii_frames):
        found = framing.find_reply(framing.encode(7, b"\x83\x06"), 7, REQUEST)
        assert found.failure is not None
        assert found.failure.exception == 6


@given(st.integers(1, 13))
def test_reply_when_it_is_cut_anywhere_then_nothing_is_found_before_its_end(size: int) -> None:
    frame = rtu.encode(7, REPLY)
    found = rtu.find_reply(frame[: min(size, len(frame) - 1)], 7, REQUEST)
    assert not found.reply
    assert found.failure is None


def test_identification_when_it_comes_in_pieces_then_it_ends_with_its_last_object() -> None:
    request = pdu.read_device_identification()
    reply = bytes.fromhex("2B 0E 01 01 00 00 02 00 03 41 42 43 01 01 5A")
    frame = rtu.encode(7, reply)
    assert not rtu.find_reply(frame[:-1], 7, request).reply
    assert rtu.find_reply(frame, 7, request).reply == reply


@pytest.mark.parametrize(("baud", "silence_ms"), [(9600, 4.01), (19200, 2.005), (115200, 1.75)])
def test_silence_when_the_baud_rate_is_given_then_it_is_as_specified(baud: int, silence_ms: float) -> None:
    assert rtu.silence_s(baud) * 1000 == pytest.approx(silence_ms, abs=0.01)
