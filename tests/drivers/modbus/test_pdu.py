import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import pdu
from drivers.modbus.pdu import FailureKind, Function

# Request and reply bytes as printed in the Modbus Application Protocol V1.1b3, section 6.
SPECIFIED = [
    (pdu.read_bits(Function.READ_COILS, 0x13, 0x13), "01 00 13 00 13", "01 03 CD 6B 05"),
    (pdu.read_bits(Function.READ_DISCRETE_INPUTS, 0xC4, 0x16), "02 00 C4 00 16", "02 03 AC DB 35"),
    (
        pdu.read_registers(Function.READ_HOLDING_REGISTERS, 0x6B, 3),
        "03 00 6B 00 03",
        "03 06 02 2B 00 00 00 64",
    ),
    (pdu.read_registers(Function.READ_INPUT_REGISTERS, 8, 1), "04 00 08 00 01", "04 02 00 0A"),
    (pdu.write_coil(0xAC, True), "05 00 AC FF 00", "05 00 AC FF 00"),
    (pdu.write_register(1, 3), "06 00 01 00 03", "06 00 01 00 03"),
    (pdu.read_exception_status(), "07", "07 6D"),
    (pdu.diagnostics(0, 0xA537), "08 00 00 A5 37", "08 00 00 A5 37"),
    (pdu.comm_event_counter(), "0B", "0B FF FF 01 08"),
    (pdu.write_coils(0x13, 10, b"\xcd\x01"), "0F 00 13 00 0A 02 CD 01", "0F 00 13 00 0A"),
    (pdu.write_registers(1, b"\x00\x0a\x01\x02"), "10 00 01 00 02 04 00 0A 01 02", "10 00 01 00 02"),
    (
        pdu.mask_write_register(4, and_mask=0xF2, or_mask=0x25),
        "16 00 04 00 F2 00 25",
        "16 00 04 00 F2 00 25",
    ),
    (
        pdu.read_write_registers(read_address=3, read_count=6, write_address=14, values=b"\x00\xff" * 3),
        "17 00 03 00 06 00 0E 00 03 06 00 FF 00 FF 00 FF",
        "17 0C 00 FE 0A CD 00 01 00 03 00 0D 00 FF",
    ),
]


@pytest.mark.parametrize(("request_", "wire", "reply"), SPECIFIED)
def test_request_when_encoded_then_it_is_the_specified_one(
    request_: pdu.Request, wire: str, reply: str
) -> None:
    assert request_.pdu == bytes.fromhex(wire)
    assert pdu.check_reply(request_, bytes.fromhex(reply)) is None


@pytest.mark.parametrize(("request_", "wire", "reply"), SPECIFIED)
def test_reply_when_a_byte_is_missing_or_added_then_it_is_no_data(
    request_: pdu.Request, wire: str, reply: str
) -> None:
    right = bytes.fromhex(reply)
    for wrong in (right[:-1], right + b"\x00", b""):
        failure = pdu.check_reply(request_, wrong)
        assert failure is not None
        assert failure.kind is FailureKind.MISMATCH


@pytest.mark.parametrize(
    "request_",
    [row[0] for row in SPECIFIED if row[0].function in (5, 6, 15, 16, 22)],
    ids=lambda r: r.pdu.hex(),
)
def test_write_reply_when_any_bit_of_the_echo_differs_then_it_is_refused(request_: pdu.Request) -> None:
    for position in range(len(request_.head)):
        for bit in range(8):
            reply = bytearray(request_.head)
            reply[position] ^= 1 << bit
            assert pdu.check_reply(request_, bytes(reply)) is not None


@given(st.sampled_from([row[0] for row in SPECIFIED]), st.binary(max_size=260))
def test_reply_when_it_is_any_bytes_then_it_is_data_only_if_head_and_size_fit(
    request_: pdu.Request, reply: bytes
) -> None:
    accepted = pdu.check_reply(request_, reply) is None
    assert accepted == (reply[: len(request_.head)] == request_.head and len(reply) == request_.size)


def test_reply_when_it_is_an_exception_then_the_failure_carries_its_code() -> None:
    request = pdu.read_registers(Function.READ_HOLDING_REGISTERS, 0, 1)
    failure = pdu.check_reply(request, b"\x83\x02")
    assert failure is not None
    assert (failure.kind, failure.exception) == (FailureKind.EXCEPTION, 2)
    assert "illegal data address" in str(failure)


@pytest.mark.parametrize(
    ("function", "address", "count"), [(1, 0, 0), (1, 0, 2001), (2, 65535, 2), (1, -1, 1)]
)
def test_bit_read_when_out_of_limits_then_value_error(function: int, address: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"count|address"):
        pdu.read_bits(Function(function), address, count)


def test_coils_when_spare_bits_are_set_then_they_are_cleared_on_the_wire() -> None:
    assert pdu.write_coils(0, 3, b"\xff").pdu[-1] == 0b111


def test_identification_when_objects_exceed_the_reply_then_value_error() -> None:
    good = bytes.fromhex("2B 0E 01 01 00 00 02 00 03 41 42 43 01 01 5A")
    assert pdu.identification_objects(good) == {0: b"ABC", 1: b"Z"}
    for size in range(len(good)):
        with pytest.raises(ValueError, match="identification"):
            pdu.identification_objects(good[:size])
