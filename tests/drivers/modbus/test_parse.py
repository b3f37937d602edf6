from typing import Any

import pytest

from drivers.modbus import parse_device
from drivers.modbus.pdu import Function
from drivers.protocols import parse_device as parse_any
from scan.problem import Place, TickworkError

READS: list[dict[str, Any]] = [
    {"function": "input-registers", "address": 10, "count": 2, "to": "%IW3", "period_ms": 50},
    {"function": "discrete-inputs", "address": 0, "count": 3, "to": "%IX16.6"},
]
WRITES: list[dict[str, Any]] = [
    {"function": "coils", "address": 0, "count": 3, "from": "%QX0.0", "safe": 0},
    {"function": "holding-registers", "address": 7, "from": "%QW1", "mode": "change", "safe": "hold"},
]
PLANT: dict[str, Any] = {
    "name": "plant", "protocol": "modbus-tcp", "host": "10.0.0.7", "port": 5020, "unit": 3, "timeout_ms": 500,
    "status": "%IX17.7", "read": READS, "write": WRITES,
}  # fmt: skip


def place(*path: str | int) -> Place:
    return Place("plant.toml:" + ".".join(str(part) for part in path))


def problems(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(TickworkError) as caught:
        parse_device({**PLANT, **changes}, place)
    return [
        (problem.code, problem.place.file.removeprefix("plant.toml:")) for problem in caught.value.problems
    ]


def test_device_when_the_table_is_right_then_channels_lie_where_iec_puts_them() -> None:
    device = parse_device(PLANT)
    assert [(channel.name, channel.offset, channel.size, channel.bit) for channel in device.inputs] == [
        ("plant.input-registers[10]", 6, 2, -1),
        ("plant.input-registers[11]", 8, 2, -1),
        ("plant.discrete-inputs[0]", 16, 1, 6),
        ("plant.discrete-inputs[1]", 16, 1, 7),
        ("plant.discrete-inputs[2]", 17, 1, 0),
        ("plant.status", 17, 1, 7),
    ]
    assert (device.input_bytes, device.output_bytes) == (18, 4)
    assert [channel.safe for channel in device.outputs] == [b"\0", b"\0", b"\0", b""]


def test_device_when_one_point_is_written_then_the_single_function_is_used() -> None:
    coils, register = parse_device(PLANT).writes
    assert coils.function is Function.WRITE_MULTIPLE_COILS
    assert register.function is Function.WRITE_SINGLE_REGISTER


def test_device_when_several_keys_are_wrong_then_each_is_named_at_its_place() -> None:
    found = problems(
        unit=300,
        tiemout_ms=5,
        read=[{**READS[0], "to": "%QW3"}, {**READS[1], "adress": 1}],
        write=[{**WRITES[0], "safe": [1, 0]}],
    )
    assert sorted(found) == [
        ("DV1001", "read.1.adress"),
        ("DV1001", "tiemout_ms"),
        ("DV1003", "unit"),
        ("DV1003", "write.0.safe"),
        ("DV1004", "read.0.to"),
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"read": [{**READS[0], "count": 126}]}, ("DV1003", "read.0.count")),
        ({"read": [{**READS[0], "address": 65535}]}, ("DV1007", "read.0.address")),
        ({"read": [{"function": "input-registers", "to": "%IW0"}]}, ("DV1002", "read.0")),
        ({"read": [READS[0], {**READS[0], "to": "%IW4"}]}, ("DV1005", "")),
        ({"read": [{**READS[1], "to": "%IW0"}]}, ("DV1004", "read.0.to")),
        ({"read": 7}, ("DV1003", "read")),
        ({"protocol": "modbus-udp"}, ("DV1003", "protocol")),
        ({"write": [{**WRITES[0], "write_with": "single"}]}, ("DV1003", "write.0.write_with")),
        ({"status": "%IX16.6"}, ("DV1005", "")),
    ],
)
def test_device_when_a_key_is_wrong_then_its_code_and_place(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert problems(**changes) == [expected]


def test_any_device_when_the_protocol_is_unknown_then_the_known_ones_are_named() -> None:
    with pytest.raises(TickworkError, match="modbus-tcp") as caught:
        parse_any({"name": "x", "protocol": "profibus"})
    assert caught.value.code == "DV1006"
