import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus import parse_device
from drivers.modbus.config import Point
from drivers.modbus.points import KINDS, ORDERS, PointDecoder, byte_order, encode_point
from drivers.modbus.templates import load_template, points_of, template_names
from scan.problem import Place, TickworkError
from scan.quality import BAD_SENSOR_FAILURE, GOOD

# 0x0A0B0C0D as the bytes of two registers on the wire.
WIRE = {"ABCD": "0A0B0C0D", "CDAB": "0C0D0A0B", "BADC": "0B0A0D0C", "DCBA": "0D0C0B0A"}
WIRE_64 = {
    "ABCD": "0102030405060708", "CDAB": "0708050603040102",
    "BADC": "0201040306050807", "DCBA": "0807060504030201",
}  # fmt: skip


def decode(point: Point, wire: bytes, *, bits: bool = False) -> tuple[bytes, int]:
    image = np.zeros(32, np.uint8)
    quality = PointDecoder([point], bits=bits).store(image, wire)
    return image[point.offset : point.offset + max(point.size, 1)].tobytes(), int(quality[0])


@pytest.mark.parametrize("order", ORDERS)
def test_integer_when_the_order_is_given_then_the_value_is_right(order: str) -> None:
    point = Point("x", 0, "uint32", 4, 4, order=order, registers=2)
    assert decode(point, bytes.fromhex(WIRE[order])) == ((0x0A0B0C0D).to_bytes(4, "little"), GOOD)
    point = Point("x", 0, "int64", 0, 8, order=order, registers=4)
    assert decode(point, bytes.fromhex(WIRE_64[order]))[0] == (0x0102030405060708).to_bytes(8, "little")


@pytest.mark.parametrize("order", ORDERS)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_real_when_written_and_read_then_it_is_the_same(order: str, value: float) -> None:
    point = Point("x", 0, "float32", 0, 4, order=order, registers=2, store="<f4")
    wire = encode_point(point, struct.pack("<f", value))
    raw, quality = decode(point, wire)
    assert (struct.unpack("<f", raw)[0], quality) == (value, GOOD)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith(("float", "bcd"))])
@pytest.mark.parametrize("order", ORDERS)
@given(data=st.data())
def test_integer_when_written_and_read_then_it_is_the_same(
    kind: str, order: str, data: st.DataObject
) -> None:
    registers, dtype = KINDS[kind]
    info = np.iinfo(np.dtype(dtype))
    value = np.array([data.draw(st.integers(int(info.min), int(info.max)))], dtype).tobytes()
    point = Point("x", 0, kind, 0, 2 * registers, order=order, registers=registers)
    assert decode(point, encode_point(point, value))[0] == value


@pytest.mark.parametrize(
    ("kind", "wire", "expected"),
    [
        ("int16", "FFF6", -1.0),
        ("uint16", "00FA", 25.0),
        ("int32", "FFFFFFF6", -1.0),
        ("float32", struct.pack(">f", 33.0).hex(), 3.3),
        ("bcd16", "0123", 12.3),
        ("bcd32", "00012345", 1234.5),
    ],
)
def test_scaled_value_when_read_then_raw_times_scale(kind: str, wire: str, expected: float) -> None:
    registers = KINDS[kind][0]
    point = Point("x", 0, kind, 0, 4, order="ABCD", registers=registers, scale=0.1, store="<f4")
    raw, quality = decode(point, bytes.fromhex(wire))
    assert struct.unpack("<f", raw)[0] == pytest.approx(expected)
    assert quality == GOOD
    assert encode_point(point, raw) == bytes.fromhex(wire)


@pytest.mark.parametrize(
    ("kind", "wire", "invalid"),
    [
        ("int16", "8000", (0x8000,)),
        ("uint32", "FFFFFFFF", (0xFFFFFFFF,)),
        ("float32", "7FC00000", ()),
        ("float32", "FF800000", ()),
        ("bcd16", "12A4", ()),
    ],
)
def test_value_when_the_device_says_invalid_then_bad_and_the_last_value_stays(
    kind: str, wire: str, invalid: tuple[int, ...]
) -> None:
    registers = KINDS[kind][0]
    point = Point(
        "x", 0, kind, 0, 4, order="ABCD", registers=registers, store="<f4", scale=0.5, invalid=invalid
    )
    image = np.frombuffer(struct.pack("<f", 7.0), np.uint8).copy()
    quality = PointDecoder([point], bits=False).store(image, bytes.fromhex(wire))
    assert list(quality) == [BAD_SENSOR_FAILURE]
    assert struct.unpack("<f", image.tobytes())[0] == 7.0


def test_value_when_clamped_then_within_and_when_too_large_for_its_place_then_saturated() -> None:
    clamped = Point("x", 0, "int16", 0, 4, order="ABCD", store="<f4", low=0.0, high=100.0)
    assert struct.unpack("<f", decode(clamped, b"\xff\xff")[0])[0] == 0.0
    narrow = Point("x", 0, "uint32", 0, 2, order="ABCD", registers=2, store="<i2", scale=2.0)
    assert decode(narrow, b"\x00\x01\x00\x00")[0] == (32767).to_bytes(2, "little")


@given(st.floats())
def test_output_when_the_value_is_anything_then_it_saturates(value: float) -> None:
    point = Point("x", 0, "int16", 0, 8, order="ABCD", store="<f8", scale=0.1)
    wire = encode_point(point, struct.pack("<d", value))
    expected = 0 if value != value else max(-32768, min(32767, round(max(min(value / 0.1, 1e9), -1e9))))
    assert int.from_bytes(wire, "big", signed=True) == expected


def test_output_when_it_is_too_large_for_a_real_then_the_largest() -> None:
    point = Point("x", 0, "float32", 0, 8, order="ABCD", registers=2, store="<f8")
    largest = struct.unpack(">f", encode_point(point, struct.pack("<d", 1e300)))[0]
    assert largest == pytest.approx(3.4028235e38)


def test_bits_when_in_registers_or_coils_then_only_their_own_bit_changes() -> None:
    in_register = Point("x", 0, "bit", 3, 0, bit=2, register_bit=9)
    assert decode(in_register, b"\x02\x00")[0] == b"\x04"
    assert decode(in_register, b"\xfd\xff")[0] == b"\x00"
    coil = Point("x", 9, "bit", 3, 0, bit=7)
    assert decode(coil, b"\x00\x02", bits=True)[0] == b"\x80"


def test_text_when_its_bytes_are_swapped_then_it_is_put_right() -> None:
    point = Point("x", 0, "string", 0, 4, order="BADC", registers=2)
    assert decode(point, b"BADC")[0] == b"ABCD"
    assert encode_point(point, b"ABCD") == b"BADC"


def test_byte_order_when_any_then_it_is_a_permutation() -> None:
    for order in ORDERS:
        for registers in (1, 2, 4):
            assert sorted(byte_order(order, registers=registers)) == list(range(2 * registers))


# ---------------------------------------------------------------- in the plant file


def device(points: list[dict[str, Any]], **changes: Any) -> Any:
    return parse_device({"name": "m", "protocol": "modbus-tcp", "host": "h", "point": points, **changes})


def point(address: int, offset: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"p{address}", "function": "holding-registers", "address": address, "to": f"%IW{offset}", **changes,
    }  # fmt: skip


def test_points_when_near_each_other_then_they_share_a_request() -> None:
    blocks = device([point(100, 0), point(105, 1), point(114, 2), point(0, 3)], gap_max=4).reads
    assert [(block.address, block.count) for block in blocks] == [(0, 1), (100, 6), (114, 1)]


def test_points_when_a_request_would_become_too_long_then_no_value_is_split() -> None:
    points = [point(2 * i, 0, type="uint32", to=f"%ID{i}") for i in range(63)]
    blocks = device(points).reads
    assert [(block.address, block.count) for block in blocks] == [(0, 124), (124, 2)]
    assert [row.first_row for row in blocks] == [0, 62]


def test_points_when_scan_groups_differ_then_their_requests_do() -> None:
    scans = [{"name": "fast", "period_ms": 10, "priority": "high"}, {"name": "slow", "period_ms": 5000}]
    blocks = device([point(0, 0), point(1, 1, scan="slow")], scan=scans).reads
    assert [(block.period_ns, block.priority) for block in blocks] == [(10_000_000, 0), (5_000_000_000, 1)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"type": "float32"}, "DV1004"),
        ({"type": "int17"}, "DV1003"),
        ({"type": "bit", "bit": 3}, "DV1004"),
        ({"clamp": [3, 1]}, "DV1003"),
        ({"scale": 0}, "DV1003"),
        ({"invalid": "x"}, "DV1003"),
        ({"order": "AB"}, "DV1003"),
        ({"scan": "slow"}, "DV1003"),
        ({"safe": 3}, "DV1001"),
        ({"substitute": "x"}, "DV1003"),
        ({"substitute": 70000}, "DV1003"),
    ],
)
def test_point_when_a_key_is_wrong_then_its_code(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(TickworkError) as caught:
        device([point(0, 0, **changes)])
    assert {problem.code for problem in caught.value.problems} == {code}


async def test_typed_points_when_polled_then_values_in_engineering_units(world: Any) -> None:
    from drivers.sim.device_server import TcpDevice
    from drivers.sim.registers import RegisterDevice

    registers = RegisterDevice(size=64)
    registers.holding[10:14] = [0xFFF6, 0, *struct.unpack(">HH", struct.pack(">f", 2.5))]
    server = TcpDevice({1: registers})
    points = [
        {
            "name": "t",
            "function": "holding-registers",
            "address": 10,
            "type": "int16",
            "scale": 0.1,
            "to": "%ID0",
        },
        {"name": "f", "function": "holding-registers", "address": 12, "type": "float32", "to": "%ID1"},
        {
            "name": "sp",
            "address": 20,
            "type": "int16",
            "scale": 0.01,
            "as": "REAL",
            "from": "%QD0",
            "safe": 1.5,
        },
    ]
    definition = world.table(await server.start(), point=points)
    try:
        async with world.polling(definition) as (poller, image):
            await world.until(lambda: poller.state == "online", "online")
            assert [round(float(v), 3) for v in image.image[:8].view("<f4")] == [-1.0, 2.5]
            poller.follow(struct.pack("<f", -3.25), live=True)
            await world.until(lambda: poller.settled, "written")
            assert registers.holding[20] == 0x10000 - 325
            poller.follow(bytes(4), live=False)
            await world.until(lambda: poller.settled, "safe")
            assert registers.holding[20] == 150
            assert registers.requests - len(registers.writes) >= 1
    finally:
        await server.stop()


# ---------------------------------------------------------------- templates


@pytest.mark.parametrize("name", template_names())
def test_template_when_all_its_points_are_used_then_a_device_comes_of_it(name: str) -> None:
    template = load_template(name, Place())
    points = []
    for index, item in enumerate(points_of(template).values()):
        if item["function"] == "coils":
            points.append({"name": item["name"], "to": f"%IX0.{index}"})
        else:
            wide = "L" if item["type"] in ("uint64", "int64", "float64") else "D"
            points.append({"name": item["name"], "to": f"%I{wide}{index}"} if wide == "D" else
                          {"name": item["name"], "to": f"%IL{100 + index}"})  # fmt: skip
    parsed = device(points, template=name)
    assert len(parsed.inputs) == len(points)
    assert template["description"]
    assert template["source"]


def test_templates_when_counted_then_there_are_at_least_ten() -> None:
    assert len(template_names()) >= 10


def test_template_when_unknown_or_broken_then_dv1008(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TickworkError, match="eastron-sdm120") as caught:
        device([], template="no-such-meter")
    assert caught.value.code == "DV1008"
    monkeypatch.setenv("TICKWORK_TEMPLATES", str(tmp_path))
    (tmp_path / "mine.toml").write_text("[[point]]\naddress = 3\n")
    with pytest.raises(TickworkError) as caught:
        device([], template="mine")
    assert caught.value.code == "DV1008"
