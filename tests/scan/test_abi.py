"""The encoded application: whole, or refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scan import decode_application, encode_application
from tests.scan import toy

APPLICATION = toy.counter().build()
ENCODED = encode_application(APPLICATION)


def test_application_when_encoded_then_it_comes_back() -> None:
    assert decode_application(ENCODED) == APPLICATION


@given(place=st.integers(0, len(ENCODED) - 1), change=st.integers(1, 255))
def test_application_when_any_byte_is_damaged_then_refused(place: int, change: int) -> None:
    damaged = bytearray(ENCODED)
    damaged[place] ^= change
    with pytest.raises(msgspec.DecodeError):
        decode_application(bytes(damaged))


@given(length=st.integers(0, len(ENCODED) - 1))
def test_application_when_cut_then_refused(length: int) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_application(ENCODED[:length])


@given(st.binary(max_size=200))
def test_application_when_any_bytes_then_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_application(data)
