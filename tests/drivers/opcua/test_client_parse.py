"""What a plant file may say about a remote server, and what becomes of values."""

import datetime
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.client_config import is_node_id, parse_device
from drivers.opcua.client_points import STORES, Point, decode, encode_image, engineering, fetch, to_integer
from drivers.protocols import parse_device as parse_any
from scan.problem import TickworkError

TABLE = {"name": "boiler", "protocol": "opcua", "url": "opc.tcp://10.0.0.5:4840"}
LEVEL = {"name": "level", "node": "ns=2;s=Level", "to": "%ID0", "as": "REAL"}
OUT = {"name": "valve", "node": "i=2258", "from": "%QX2.6", "safe": False}


def test_device_when_complete_then_has_its_channels() -> None:
    device = parse_any(
        TABLE
        | {
            "point": [LEVEL, OUT | {"count": 4, "safe": [1, 0, 1, 0]}],
            "status": "%IX4.0",
            "security_mode": "Sign",
        }
    )
    assert [(one.name, one.offset, one.size, one.bit) for one in device.inputs] == [
        ("boiler.level", 0, 4, -1),
        ("boiler.status", 4, 1, 0),
    ]
    assert [(one.name, one.offset, one.bit, one.safe) for one in device.outputs] == [
        ("boiler.valve[0]", 2, 6, b"\1"), ("boiler.valve[1]", 2, 7, b"\0"),
        ("boiler.valve[2]", 3, 0, b"\1"), ("boiler.valve[3]", 3, 1, b"\0"),
    ]  # fmt: skip
    assert (device.input_bytes, device.output_bytes) == (5, 4)


@pytest.mark.parametrize(
    ("change", "point", "code"),
    [
        ({"url": "http://10.0.0.5"}, {}, "DV1003"),
        ({"url": "opc.tcp://ann:secret@10.0.0.5"}, {}, "DV1003"),
        ({"url": "opc.tcp://[10.0"}, {}, "DV1003"),
        ({"security": "Basic128Rsa15"}, {}, "DV1003"),
        ({"user": "plc"}, {}, "DV1002"),
        ({"password_file": "secret"}, {}, "DV1003"),
        ({"user_certificate": "/etc/x.der"}, {}, "DV1003"),
        ({"publishing_ms": 1}, {}, "DV1003"),
        ({"unknown": 1}, {}, "DV1001"),
        ({"status": "%IW3"}, {}, "DV1004"),
        ({}, {"node": "Level"}, "DV1003"),
        ({}, {"to": "%QD0"}, "DV1004"),
        ({}, {"to": "%IW0"}, "DV1004"),
        ({}, {"as": "COMPLEX"}, "DV1003"),
        ({}, {"as": "STRING"}, "DV1002"),
        ({}, {"scale": 0}, "DV1003"),
        ({}, {"substitute": "x"}, "DV1003"),
        ({}, {"count": 2, "substitute": [1.0]}, "DV1003"),
        ({"status": "%IX2.0"}, {}, "DV1005"),
    ],
)
def test_device_when_wrong_then_says_where(
    change: dict[str, object], point: dict[str, object], code: str
) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_device(TABLE | change | {"point": [LEVEL | point]})
    assert code in [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize(
    "text", ["i=85", "ns=2;s=Boiler.Level", "nsu=urn:a:b;i=7", "ns=1;g=" + "0" * 36, "b=AAE="]
)
def test_node_when_it_is_a_node_id_then_is_taken(text: str) -> None:
    assert is_node_id(text)


@pytest.mark.parametrize("text", ["", "Level", "ns=2", "ns=2;x=1", "ns=a;i=1", "s=", "nsu=;i=1", "i=1;ns=2"])
def test_node_when_it_is_none_then_is_refused(text: str) -> None:
    assert not is_node_id(text)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes(),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(), st.none())),
)  # fmt: skip


@given(VALUES, st.sampled_from(sorted(STORES)), st.integers(-1, 3), st.integers(1, 3), st.floats(0.1, 10))
def test_value_when_anything_comes_then_is_bytes_of_the_right_size_or_a_bad_quality(
    value: object, kind: str, index: int, count: int, scale: float
) -> None:
    point = Point(kind, 0, STORES[kind][1] or 9, count=count, index=index, scale=scale)
    parts, quality = decode(point, value)
    if parts is None:
        assert quality >= 0x8000
    else:
        assert quality == 0
        assert [len(part) for part in parts] == [point.size] * count


@given(
    st.sampled_from([kind for kind in STORES if kind not in ("STRING", "REAL", "DT")]),
    st.integers(-(2**63), 2**64 - 1),
)
def test_integer_when_it_fits_then_comes_back_and_else_is_out_of_range(kind: str, value: int) -> None:
    point = Point(kind, 0, STORES[kind][1])
    parts, quality = decode(point, value)
    low, high = _range(kind)
    if low <= value <= high:
        assert parts is not None
        assert engineering(point, parts[0]) == [value if kind != "LREAL" else float(value)]
    else:
        assert (parts, quality) == (None, 0x803C)


def _range(kind: str) -> tuple[float, float]:
    code, size = STORES[kind]
    if code == "d":
        return -math.inf, math.inf
    bits = 8 * size
    return (0, 2**bits - 1) if code.isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def test_values_when_special_then_are_what_they_should_be() -> None:
    real, whole = Point("REAL", 0, 4), Point("INT", 0, 2)
    assert decode(real, math.nan)[0] == [struct.pack("<f", math.nan)]
    assert decode(whole, math.nan) == (None, 0x803C)
    assert decode(whole, 2.6)[0] == [struct.pack("<h", 3)]
    moment = datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.UTC)
    assert decode(Point("DT", 0, 8), moment)[0] == [struct.pack("<q", 10**9)]
    assert encode_image(Point("STRING", 0, 5), ["Grün"]) == b"Gr\xfcn\0"
    assert encode_image(Point("STRING", 0, 5), ["zu lang"]) is None
    assert fetch(Point("BOOL", 1, 1, bit=6, count=3), bytes([0, 0b1000_0000, 0b1])) == b"\0\1\1"
    assert engineering(Point("INT", 0, 2, scale=0.5, shift=10), struct.pack("<h", 20)) == [20.0]
    assert [to_integer(one, 0, 255) for one in (300, -1, 2.5, math.inf, math.nan, "x")] == [
        255,
        0,
        2,
        255,
        None,
        None,
    ]
