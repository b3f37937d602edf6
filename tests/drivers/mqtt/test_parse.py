"""Plant files: what is right is taken, what is wrong is named at its place; the examples of the documentation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.mqtt import parse_device
from drivers.mqtt.config import Field, Point
from drivers.mqtt.edge_config import parse_sparkplug
from drivers.mqtt.payload import STORES, Message, PayloadError, decode, encode, parse_path, to_image, value_of
from drivers.mqtt.topics import as_filter, fill, matches, placeholders, topic_fault
from runtime.plant import parse_plant
from scan.problem import Place, TickworkError
from supervisor.mqtt.config import parse_settings

DOCS = Path(__file__).parents[3] / "docs" / "mqtt.md"


def blocks() -> list[dict[str, Any]]:
    return [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.S)]


def test_examples_when_read_then_all_are_valid() -> None:
    count = 0
    for block in blocks():
        for device in block.get("device", []):
            parse_device(device)
        if "sparkplug" in block:
            parse_sparkplug(block["sparkplug"])
        if "host" in block or "bridge" in block:
            parse_settings(block)
        count += 1
    assert count == 4


def table(**more: Any) -> dict[str, Any]:
    point = {"name": "a", "to": "%IW0"}
    usual = {
        "name": "d",
        "protocol": "mqtt",
        "brokers": ["h:1"],
        "subscribe": [{"topic": "t", "point": [point]}],
    }
    return usual | more


def sub(point: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return table(subscribe=[{"topic": "t", "point": [{"name": "a", "to": "%IW0"} | (point or {})]} | more])


def pub(*points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return table(
        publish=[{"topic": "t", "point": [{"name": "p", "from": "%QW0"} | one for one in points]} | more]
    )


@pytest.mark.parametrize(
    ("definition", "code", "key"),
    [
        (table(brokers=["a b"]), "MQ1002", "brokers"),
        (table(brokers=[]), "MQ1002", "brokers"),
        (table(brokers=["h:99999"]), "MQ1002", "brokers"),
        (table(session_s=5), "DV1002", "session_s"),
        (table(tls_ca="/x"), "DV1003", "tls"),
        (table(password_file="relative", user="u"), "DV1003", "password_file"),
        (table(transport="smoke"), "DV1003", "transport"),
        (table(wrong=1), "DV1001", "wrong"),
        (table(availability=5), "DV1003", "availability"),
        (table(status="%IW0"), "DV1004", "status"),
        (sub(topic="a/#/b"), "MQ1001", "topic"),
        (sub({"path": "a..b"}), "MQ1003", "path"),
        (sub({"to": "%QW0"}), "DV1004", "to"),
        (sub({"type": "REAL"}), "DV1004", "to"),
        (sub({"where": {"x": "y"}}), "MQ1003", "where"),
        (sub({"scale": 0}), "DV1003", "scale"),
        (sub({"clamp": [5, 1]}), "DV1003", "clamp"),
        (sub({"substitute": 70000}), "DV1003", "substitute"),
        (sub({"format": "hh"}, payload="struct"), "MQ1003", "format"),
        (pub({}, topic="a/+"), "MQ1001", "topic"),
        (pub({}, topic="a/{x}"), "MQ1001", "topic"),
        (pub({"path": "a"}, {"path": "a.b"}), "MQ1003", None),
        (pub({"format": "%s"}, payload="number"), "MQ1003", "format"),
        (pub({}, {}, payload="number"), "DV1002", None),
    ],
)  # fmt: skip
def test_device_when_a_key_is_wrong_then_named_at_its_place(
    definition: dict[str, Any], code: str, key: str | None
) -> None:
    seen: list[tuple[Any, ...]] = []

    def place(*path: str | int) -> Place:
        seen.append(path)
        return Place("plant.toml", len(seen))

    with pytest.raises(TickworkError) as raised:
        parse_device(definition, place)
    problem = next(one for one in raised.value.problems if one.code == code)
    if key is not None:
        assert seen[problem.place.line - 1][-1] == key


def test_plant_when_it_has_mqtt_and_sparkplug_then_both_are_there(tmp_path: Path) -> None:
    (tmp_path / "main.st").write_text("")
    device = '[[device]]\nname="d"\nprotocol="mqtt"\nbrokers=["h"]\n'
    text = device + '[sparkplug]\nbrokers=["h"]\ngroup="g"\nwritable=["*"]\n'
    with pytest.raises(TickworkError) as raised:
        parse_plant(text, folder=tmp_path)
    assert raised.value.code == "PL1011"
    plant = parse_plant(text + "allow_plain=true\n", folder=tmp_path)
    assert plant.devices[0].protocol == "mqtt"
    assert plant.sparkplug is not None
    assert plant.sparkplug.group == "g"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["name", "protocol", "brokers", "subscribe", "publish", "availability", "will", "variables", "status", "tls",
     "session_s", "topic", "point", "group", "writable", "host", "bridge"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys, junk, max_size=8))
def test_tables_when_anything_stands_in_them_then_taken_or_problems(values: dict[str, Any]) -> None:
    for parse in (parse_device, parse_sparkplug, parse_settings):
        try:
            parse(values)
        except TickworkError as error:
            assert error.problems


# ---------------------------------------------------------------- topics and payloads


@pytest.mark.parametrize(
    ("filter_", "topic", "expected"),
    [
        ("a/b", "a/b", True), ("a/+", "a/b", True), ("a/+", "a/b/c", False), ("a/#", "a", True), ("a", "a/b", False),
        ("a/#", "a/b/c", True), ("#", "$SYS/x", False), ("+/x", "$SYS/x", False), ("$SYS/#", "$SYS/x", True),
        ("+", "/a", False), ("/+", "/a", True),
    ],
)  # fmt: skip
def test_topic_when_matched_then_as_the_standard_says(filter_: str, topic: str, expected: bool) -> None:
    assert matches(filter_, topic) is expected


def test_template_when_filled_then_variables_and_wildcards() -> None:
    template = fill("{hall}/{line}/t{x}", {"hall": "h7", "x": "3"})
    assert (as_filter(template), placeholders(template)) == ("h7/+/t3", (("line", 1),))
    assert [topic_fault(one, wildcards=False) == "" for one in ("a/b", "a/+", "", "a\0", "\ud800")] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_path_when_written_then_read() -> None:
    assert parse_path('a.b[2]."x.y"[0].c') == ("a", "b", 2, "x.y", 0, "c")
    assert [parse_path(one) for one in (".a", "a..b", "a[", "[x]", 'a."b')] == [None] * 5
    assert parse_path("") == ()


stores = st.sampled_from(list(STORES))


@settings(max_examples=200, deadline=None)
@given(stores, st.data())
def test_value_when_written_and_read_in_each_payload_then_the_same(store: str, data: st.DataObject) -> None:
    real = store in ("REAL", "LREAL")
    width = int(STORES[store][-1])
    if real:
        number: Any = data.draw(st.floats(width=8 * width, allow_nan=False, allow_infinity=False))
    else:
        signed = "i" in STORES[store]
        low, high = (-(1 << 8 * width - 1), (1 << 8 * width - 1) - 1) if signed else (0, (1 << 8 * width) - 1)
        number = data.draw(st.integers(low, high))
    letter = {"<f4": "f", "<f8": "d", "<i1": "b", "u1": "B", "<i2": "h", "<u2": "H", "<i4": "i", "<u4": "I", "<i8": "q",
              "<u8": "Q"}[STORES[store]]  # fmt: skip
    for field in (Field("json", ("v",)), Field("struct", form=">" + letter, at=3), Field("number")):
        point = Point("p", field, store, 0, width)
        payload = encode(field.kind, [point], [value_of(point, to_image(point, number))])
        assert value_of(point, to_image(point, decode(Message(payload), field))) == value_of(
            point, to_image(point, number)
        )


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=40),
    st.sampled_from(["json", "text", "number", "struct"]),
    st.sampled_from([*STORES, "BOOL", "STRING"]),
)
def test_payload_when_any_bytes_then_a_value_or_a_reason(payload: bytes, kind: str, store: str) -> None:
    field = Field(kind, form="<d" if kind == "struct" else "")
    size = 9 if store == "STRING" else 0 if store == "BOOL" else int(STORES[store][-1])
    try:
        data = to_image(
            Point("p", field, store, 0, size, scale=2.0 if store == "REAL" else 1.0),
            decode(Message(payload), field),
        )
    except PayloadError:
        return
    assert len(data) == (size or 1)
