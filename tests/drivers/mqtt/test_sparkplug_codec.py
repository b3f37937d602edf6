"""The codec on anything: round trips of all that can be said, and bytes that say nothing."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.mqtt.sparkplug import (
    PROPERTY_SET,
    PROPERTY_SET_LIST,
    DataSet,
    DataType,
    Kind,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    PropertySet,
    SparkplugError,
    Template,
)
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_values import KIND_OF, from_wire, to_wire

texts = st.text(st.characters(codec="utf-8"), max_size=12)
u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
maybe = lambda strategy: st.none() | strategy  # noqa: E731
scalars = st.one_of(
    st.tuples(st.just(Kind.INT), u32),
    st.tuples(st.just(Kind.LONG), u64),
    st.tuples(st.just(Kind.FLOAT), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just(Kind.DOUBLE), st.floats(allow_nan=False)),
    st.tuples(st.just(Kind.BOOLEAN), st.booleans()),
    st.tuples(st.just(Kind.STRING), texts),
).map(lambda pair: (int(pair[0]), pair[1]))


def property_sets(depth: int) -> st.SearchStrategy[PropertySet]:
    plain: st.SearchStrategy[Property] = st.builds(
        lambda type_, pair: Property(type_, *pair), maybe(u32), scalars
    ) | st.builds(lambda type_: Property(type_, 0, None, True), maybe(u32))
    values = plain
    if depth:
        inner = property_sets(depth - 1)
        values |= inner.map(lambda one: Property(20, PROPERTY_SET, one))
        values |= st.lists(inner, max_size=2).map(lambda some: Property(21, PROPERTY_SET_LIST, some))
    return st.lists(st.tuples(texts, values), max_size=3).map(
        lambda pairs: PropertySet([key for key, _ in pairs], [value for _, value in pairs])
    )


def datasets() -> st.SearchStrategy[DataSet]:
    def of(width: int) -> st.SearchStrategy[DataSet]:
        cells = st.tuples(*[scalars | st.just((0, None))] * width)
        return st.builds(
            DataSet, st.lists(texts, min_size=width, max_size=width), st.lists(u32, min_size=width, max_size=width),
            st.lists(cells, max_size=3),
        )  # fmt: skip

    return st.integers(0, 3).flatmap(of)


def metrics(depth: int) -> st.SearchStrategy[Metric]:
    values: Any = scalars | st.just((0, None)) | st.tuples(st.just(16), st.binary(max_size=9))
    values |= st.tuples(st.just(17), datasets())
    if depth:
        values |= st.tuples(st.just(18), templates(depth - 1))
    metadata = st.builds(
        MetaData, maybe(st.booleans()), maybe(texts), maybe(u64), maybe(u64), maybe(texts), maybe(texts), maybe(texts),
        maybe(texts),
    )  # fmt: skip
    flags = st.booleans()
    return st.builds(
        lambda name, alias, at, datatype, value, a, b, c, meta, props: Metric(
            name, alias, at, datatype, value[0], value[1], a, b, c, meta, props
        ),
        maybe(texts), maybe(u64), maybe(u64), maybe(u32), values, flags, flags, flags, maybe(metadata),
        maybe(property_sets(1)),
    )  # fmt: skip


def templates(depth: int) -> st.SearchStrategy[Template]:
    parameters = st.builds(lambda n, t, pair: Parameter(n, t, *pair), maybe(texts), maybe(u32), scalars)
    return st.builds(
        Template, maybe(texts), st.lists(metrics(depth), max_size=2), st.lists(parameters, max_size=2), maybe(texts),
        maybe(st.booleans()),
    )  # fmt: skip


payloads = st.builds(
    Payload,
    maybe(u64),
    st.lists(metrics(1), max_size=4),
    maybe(u64),
    maybe(texts),
    maybe(st.binary(max_size=5)),
)


@settings(max_examples=150, deadline=None)
@given(payloads)
def test_payload_when_written_and_read_then_the_same(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@settings(max_examples=150, deadline=None)
@given(payloads, st.data())
def test_payload_when_damaged_or_cut_then_read_or_refused(payload: Payload, data: st.DataObject) -> None:
    whole = bytearray(encode_payload(payload))
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
        del whole[data.draw(st.integers(0, len(whole))) :]
    _read_or_refuse(bytes(whole))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_payload_when_any_bytes_then_read_or_refused(data: bytes) -> None:
    _read_or_refuse(data)


def _read_or_refuse(data: bytes) -> None:
    try:
        found = decode_payload(data)
    except SparkplugError:
        return
    assert isinstance(found, Payload)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a key without its value
        b"\x12\x05\x50",  # a metric longer than the message
        b"\x08" + b"\xff" * 11,  # a number of eleven bytes
        b"\x0b",  # a group
        b"\x00\x00",  # field 0
        b"\x12\x03\x0a\x01\xff",  # a name that is no UTF-8
        b"\x12\x04\x4a\x02\x0a\x00",  # a property set with a key and no value
        b"\x12\x05\x8a\x01\x02\x12\x00",  # a data set with a column and no type
        b"\x12\x02\x69\x00",  # a double of one byte
        b"\x12\x03\x69" + b"\0" * 8,  # a double that ends behind its metric
    ],
)
def test_payload_when_damaged_then_refused(data: bytes) -> None:
    with pytest.raises(SparkplugError):
        decode_payload(data)


def test_payload_when_templates_are_deep_then_refused() -> None:
    metric = Metric("leaf", kind=Kind.INT, value=1)
    for _ in range(9):
        metric = Metric("inner", kind=Kind.TEMPLATE, value=Template(None, [metric], [], None, False))
    with pytest.raises(SparkplugError, match="deep"):
        decode_payload(encode_payload(Payload(0, [metric])))


def test_payload_when_fields_are_unknown_then_skipped() -> None:
    known = encode_payload(Payload(5, [Metric("a", kind=10, value=7)], 3))
    strange = b"\xf8\x3f\x01" + b"\xfa\x3f\x02ab" + b"\xf9\x3f" + b"\0" * 8 + b"\xfd\x3f" + b"\0" * 4
    assert decode_payload(strange + known + strange) == decode_payload(known)


INTEGERS = {"INT8": -5, "INT16": -300, "INT32": -(2**31), "INT64": -(2**63), "UINT8": 255, "UINT16": 65535,
            "UINT32": 2**32 - 1, "UINT64": 2**64 - 1}  # fmt: skip
VALUES: dict[str, Any] = INTEGERS | {
    "FLOAT": 1.5, "DOUBLE": math.pi, "BOOLEAN": True, "STRING": "ä", "TEXT": "t", "UUID": "u",
    "DATETIME": 1_700_000_000_000, "BYTES": b"\0\1", "FILE": b"f", "INT8ARRAY": [-1, 2], "INT16ARRAY": [-300],
    "INT32ARRAY": [-70000], "INT64ARRAY": [-(2**40)], "UINT8ARRAY": [255], "UINT16ARRAY": [65535],
    "UINT32ARRAY": [2**32 - 1], "UINT64ARRAY": [2**64 - 1], "FLOATARRAY": [0.5], "DOUBLEARRAY": [0.1],
    "BOOLEANARRAY": [True] * 9 + [False] * 2, "STRINGARRAY": ["a", "", "ö"], "DATETIMEARRAY": [1, 2],
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_value_when_of_each_data_type_then_the_same_comes_back(name: str) -> None:
    datatype = DataType[name]
    wire = to_wire(datatype, VALUES[name])
    metric = decode_payload(
        encode_payload(Payload(0, [Metric("m", kind=KIND_OF[datatype], value=wire)]))
    ).metrics[0]
    assert from_wire(datatype, metric.kind, metric.value) == VALUES[name]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("INT8", 128), ("UINT8", -1), ("INT64", 2**63), ("INT16", True), ("INT16", "1"), ("BOOLEAN", 1), ("STRING", 1),
     ("FLOAT", 1e300), ("DOUBLE", "x"), ("UINT8ARRAY", [256]), ("STRINGARRAY", ["a\0"]), ("DATETIME", -1)],
)  # fmt: skip
def test_value_when_it_does_not_fit_then_refused(datatype: str, value: Any) -> None:
    with pytest.raises(SparkplugError):
        to_wire(DataType[datatype], value)


def test_value_when_peers_write_it_differently_then_read_all_the_same() -> None:
    assert from_wire(DataType.INT8, Kind.INT, 0xFF) == from_wire(DataType.INT8, Kind.INT, 0xFFFFFFFF) == -1
    assert from_wire(DataType.UINT32, Kind.LONG, 7) == from_wire(DataType.UINT32, Kind.INT, 7) == 7
    assert from_wire(DataType.INT32, Kind.LONG, 2**64 - 2) == -2
    for datatype, kind, raw in [("INT8", Kind.INT, 200 + 2**9), ("UINT8", Kind.INT, 256), ("INT16", Kind.DOUBLE, 1.0),
                                ("BOOLEANARRAY", Kind.BYTES, b"\x09\0\0\0\xff"), ("STRINGARRAY", Kind.BYTES, b"a"),
                                ("INT16ARRAY", Kind.BYTES, b"abc")]:  # fmt: skip
        with pytest.raises(SparkplugError):
            from_wire(DataType[datatype], kind, raw)


def test_layout_when_written_by_hand_then_as_the_specification_numbers_it() -> None:
    assert encode_payload(Payload(1, [Metric("a", 2, 3, 9, 12, 0.5, True, True, True)], 4)) == (
        b"\x08\x01\x12\x14\x0a\x01a\x10\x02\x18\x03\x20\x09\x28\x01\x30\x01\x38\x01\x65" + struct.pack("<f", 0.5)
        + b"\x18\x04"
    )  # fmt: skip
