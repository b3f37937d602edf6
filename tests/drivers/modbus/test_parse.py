import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.modbus import parse_device
from drivers.modbus.pdu import Function
from drivers.modbus.server_config import parse_server
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


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"read": [{**READS[0], "function": "input-register"}]}, 'write function = "input-registers"'),
        ({"read": [{**READS[0], "period_ms": 0}]}, "write period_ms = 1"),
        ({"tiemout_ms": 5}, "write timeout_ms instead"),
        ({"name": 7}, "put name in quotes"),
        ({"read": [{"function": "coils", "to": "%IX0.0"}]}, "add address = … to this table"),
    ],
)
def test_device_when_a_key_is_wrong_then_what_to_write_instead(changes: dict[str, Any], remedy: str) -> None:
    with pytest.raises(TickworkError) as caught:
        parse_device({**PLANT, **changes}, place)
    assert caught.value.problems[0].remedy == remedy


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


WORDS = [
    "modbus-tcp", "modbus-rtu", "input-registers", "coils", "%IW0", "%IX0.0", "%QW1", "%QX0.7", "%ID1", "%IL0", "%QD2",
    "float32", "int16", "bcd32", "string", "bit", "DCBA", "REAL", "INT", "hold", "zero", "substitute", "xy-md02", "",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-5, 70000),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.lists(
        st.one_of(st.integers(-2, 70000), st.text(max_size=3), st.dictionaries(st.text(), st.none())),
        max_size=3,
    ),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
DEVICE: dict[str, Any] = {
    **PLANT,
    "template": "xy-md02",
    "scan": [{"name": "slow", "period_ms": 1000, "gap_max": 3}],
    "init": [{"function": "holding-registers", "address": 1, "value": [1, -1]}],
    "statistic": [{"value": "rate", "to": "%ID50"}],
    "exchange": [{"address": 1, "to": "%IW60", "write_address": 2, "from": "%QW7", "safe": 3}],
    "point": [
        {
            "name": "temperature",
            "to": "%ID20",
            "scan": "slow",
            "substitute": 1.5,
            "clamp": [0, 9],
            "invalid": 3,
        },
        {
            "name": "text",
            "function": "holding-registers",
            "address": 1,
            "type": "string",
            "registers": 2,
            "to": "%IB90",
        },
        {
            "name": "flag",
            "function": "holding-registers",
            "address": 7,
            "type": "bit",
            "bit": 3,
            "to": "%IX99.1",
        },
        {
            "name": "sp",
            "address": 20,
            "type": "int16",
            "scale": 0.1,
            "as": "REAL",
            "from": "%QD9",
            "safe": 1.5,
        },
    ],
}
SERVER: dict[str, Any] = {
    "host": "", "port": 5, "units": [1], "clients": ["10.0.0.0/8"], "tls_ca": "/a", "tls_certificate": "/b",
    "tls_key": "/c", "write": [{"table": "coils", "first": 1, "last": 2, "clients": ["::1"], "roles": ["a"]}],
    "map": [{"table": "coils", "address": 1, "variable": "M.x"}],
    "gateway": [{"unit": 3, "protocol": "modbus-tcp", "host": "h", "to_unit": 4, "writable": True}],
}  # fmt: skip


def keys_of(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a table that may be changed."""
    if isinstance(table, dict):
        return [
            found for key, value in table.items() for found in [(*path, key), *keys_of(value, (*path, key))]
        ]
    if isinstance(table, list):
        return [
            found for at, value in enumerate(table) for found in [(*path, at), *keys_of(value, (*path, at))]
        ]
    return []


def changed(table: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with ``value`` at ``path``."""
    found = copy.deepcopy(table)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


def test_tables_of_the_next_tests_when_unchanged_then_valid() -> None:
    assert parse_device(DEVICE).reads
    assert parse_server(SERVER).gateways


@settings(max_examples=500)
@given(st.sampled_from(keys_of(DEVICE)), VALUES)
def test_device_when_any_key_holds_anything_then_a_device_or_problems(
    path: tuple[Any, ...], value: Any
) -> None:
    try:
        parse_device(changed(DEVICE, path, value), place)
    except TickworkError as error:
        assert all(problem.place.file and problem.remedy for problem in error.problems)


@settings(max_examples=300)
@given(st.sampled_from(keys_of(SERVER)), VALUES)
def test_server_when_any_key_holds_anything_then_a_section_or_problems(
    path: tuple[Any, ...], value: Any
) -> None:
    try:
        parse_server(changed(SERVER, path, value), place)
    except TickworkError as error:
        assert all(problem.place.file and problem.remedy for problem in error.problems)
