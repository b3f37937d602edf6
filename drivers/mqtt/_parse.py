"""From a ``[[device]]`` table to an ``MqttDevice``, with every mistake named at its place."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from itertools import pairwise

import msgspec

from drivers._table import Placer, Table, no_place
from drivers.location import Location, parse_location
from drivers.mqtt._parse_connection import parse_connection
from drivers.mqtt.config import (
    Availability,
    Field,
    MqttDevice,
    Point,
    Publication,
    Subscription,
    Will,
)
from drivers.mqtt.payload import PRINT_FORMAT, STORES, STRUCT_FORMAT, PayloadError, parse_path, to_image
from drivers.mqtt.topics import as_filter, fill, placeholders, topic_fault
from scan.iomap import Channel

PROTOCOLS = ("mqtt",)
MS = 1_000_000
AGE_MS_MAX = 30 * 24 * 3600 * 1000
KINDS = ("json", "text", "number", "struct")
PAYLOAD_MAX = 16 * 1024 * 1024
STRING_MAX = 254  # characters of an IEC string without a declared length
_WIDTH_TYPE = {0: "BOOL", 1: "USINT", 2: "INT", 4: "REAL", 8: "LREAL"}
_STRUCT_OF = {
    "BOOL": "?", "SINT": "b", "USINT": "B", "BYTE": "B", "INT": "h", "UINT": "H", "WORD": "H", "DINT": "i",
    "UDINT": "I", "DWORD": "I", "LINT": "q", "ULINT": "Q", "LWORD": "Q", "REAL": "f", "LREAL": "d",
}  # fmt: skip


def parse_device(table: Mapping[str, object], place: Placer = no_place) -> MqttDevice:
    """The device that ``table`` describes. Raises TickworkError with all problems, each at its place."""
    reader = Table(table, place)
    name = reader.text("name")
    protocol = reader.choice("protocol", PROTOCOLS)
    variables = _variables(reader)
    inputs: list[Channel] = []
    outputs: list[Channel] = []
    device = MqttDevice(
        name=name,
        protocol=protocol,
        connection=parse_connection(reader, sessions=True),
        subscriptions=tuple(
            _subscription(item, name, variables, inputs) for item in reader.tables("subscribe")
        ),
        publications=tuple(_publication(item, name, variables, outputs) for item in reader.tables("publish")),
        inputs=(),
        outputs=tuple(outputs),
        availability=_availability(reader, variables),
        will=_will(reader, "will", variables),
        birth=_will(reader, "birth", variables),
        payload_max=reader.integer("payload_max", 256 * 1024, low=1, high=PAYLOAD_MAX),
        status=_status(reader, name, inputs),
    )
    status_row = len(inputs) - 1 if device.status[0] >= 0 else -1
    reader.finish()
    reader.raise_problems()
    return _with(device, tuple(inputs), status_row)


def _with(device: MqttDevice, inputs: tuple[Channel, ...], status_row: int) -> MqttDevice:
    return msgspec.structs.replace(device, inputs=inputs, status_row=status_row)


# ---------------------------------------------------------------- messages


def _subscription(
    table: Table, device: str, variables: Mapping[str, str], inputs: list[Channel]
) -> Subscription:
    template = fill(table.text("topic"), variables)
    names = dict(placeholders(template))
    filter_ = as_filter(template)
    _check_topic(table, filter_, wildcards=True)
    kind = table.choice("payload", KINDS, "json")
    first_row = len(inputs)
    points = tuple(_input(item, device, kind, names, inputs) for item in table.tables("point"))
    if not points:
        table.problem("DV1002", "a subscription needs a point", remedy="add [[device.subscribe.point]]")
    subscription = Subscription(
        filter=filter_,
        qos=table.integer("qos", 1, low=0, high=2),
        retained=table.flag("retained", True),
        max_age_ns=table.integer("max_age_ms", 0, low=0, high=AGE_MS_MAX) * MS,
        on_loss=table.choice("on_loss", ("hold", "zero", "substitute"), "hold"),
        points=points,
        first_row=first_row,
        places=tuple(names.values()),
    )
    table.finish()
    return subscription


def _input(table: Table, device: str, kind: str, names: Mapping[str, int], inputs: list[Channel]) -> Point:
    point = _point(table, kind, "to", names)
    inputs.append(Channel(f"{device}.{point.name}", device, "in", point.offset, point.size or 1, point.bit))
    table.finish()
    return point


def _publication(
    table: Table, device: str, variables: Mapping[str, str], outputs: list[Channel]
) -> Publication:
    topic = fill(table.text("topic"), variables)
    _check_topic(table, topic, wildcards=False)
    kind = table.choice("payload", KINDS, "json")
    pairs = [_output(item, device, kind, outputs) for item in table.tables("point")]
    if not pairs or (kind in ("text", "number") and len(pairs) != 1):
        table.problem(
            "DV1002", "a publication needs points", expected="one, or several with json or struct",
            remedy="add [[device.publish.point]]",
        )  # fmt: skip
    _check_paths(table, kind, [point for point, _ in pairs])
    publication = Publication(
        topic=topic,
        kind=kind,
        qos=table.integer("qos", 1, low=0, high=2),
        retain=table.flag("retain", False),
        interval_ns=table.integer("interval_ms", 100, low=0, high=AGE_MS_MAX) * MS,
        refresh_ns=table.integer("refresh_ms", 0, low=0, high=AGE_MS_MAX) * MS,
        points=tuple(point for point, _ in pairs),
        safe=tuple(safe for _, safe in pairs),
    )
    table.finish()
    return publication


def _output(table: Table, device: str, kind: str, outputs: list[Channel]) -> tuple[Point, bytes | None]:
    point = _point(table, kind, "from", {})
    safe = _image_value(table, "safe", point)
    outputs.append(
        Channel(
            f"{device}.{point.name}",
            device,
            "out",
            point.offset,
            point.size or 1,
            point.bit,
            safe=safe or b"",
        )
    )
    table.finish()
    return point, safe


# ---------------------------------------------------------------- points


def _point(table: Table, kind: str, key: str, names: Mapping[str, int]) -> Point:
    direction = "in" if key == "to" else "out"
    place = _location(table, key, direction)
    store = table.choice("type", ("BOOL", *STORES, "STRING"), _WIDTH_TYPE[place.size])
    size = place.size
    if store == "STRING":
        size = table.integer("length", 80, low=1, high=STRING_MAX) + 1
    elif _width(store) != place.size:
        table.problem(
            "DV1004", "the location does not suit the type", key=key,
            expected=f"a location of {_width(store) * 8 or 1} bits",
        )  # fmt: skip
    scale = table.number("scale", 1.0)
    if scale == 0:
        table.problem("DV1003", "scale must not be 0", key="scale", remedy="leave it out for the raw value")
    low, high = _clamp(table)
    point = Point(
        name=table.text("name"),
        field=_field(table, kind, store, output=direction == "out"),
        store=store,
        offset=place.offset,
        size=size,
        bit=place.bit,
        scale=scale or 1.0,
        shift=table.number("offset", 0.0),
        low=low,
        high=high,
        deadband=max(table.number("deadband", 0.0), 0.0),
        where=_where(table, names),
        optional=direction == "in" and table.flag("optional", False),
    )
    if direction == "in":
        substitute = _image_value(table, "substitute", point) or b""
        point = msgspec.structs.replace(point, substitute=substitute)
    return point


def _width(store: str) -> int:
    return 0 if store == "BOOL" else int(STORES[store][-1])


def _field(table: Table, kind: str, store: str, *, output: bool) -> Field:
    true, false = table.text("true", "true"), table.text("false", "false")
    if kind == "json":
        text = table.text("path", "")
        path = parse_path(text)
        if path is None:
            table.problem(
                "MQ1003", "path is no path", key="path", expected='keys and indexes: a.b[2]."other key"'
            )
        return Field(kind, path or (), true=true, false=false)
    if kind == "struct":
        form = table.text("format", "<" + _STRUCT_OF.get(store, "h"))
        if not STRUCT_FORMAT.fullmatch(form):
            table.problem(
                "MQ1003", "format is no format of one value", key="format",
                expected="a byte order < or > and one of b B h H i I q Q f d ?",
            )  # fmt: skip
            form = "<h"
        at = table.integer("byte", 0, low=0, high=PAYLOAD_MAX - struct.calcsize(form))
        return Field(kind, form=form, at=at, true=true, false=false)
    form = table.text("format", "") if output else ""
    if form and (not PRINT_FORMAT.fullmatch(form) or store in ("STRING", "BOOL")):
        table.problem(
            "MQ1003", "format is no format of one number", key="format", expected='like "%.2f" or "%05d"'
        )
        form = ""
    return Field(kind, form=form, true=true, false=false)


def _where(table: Table, names: Mapping[str, int]) -> tuple[str, ...]:
    """The text that each placeholder of the topic must have for this point."""
    value = table.raw("where")
    if value is None:
        return ("",) * len(names)
    wrong = not isinstance(value, Mapping) or not set(value) <= set(names)
    if not isinstance(value, Mapping) or wrong or not all(isinstance(text, str) for text in value.values()):
        table.problem(
            "MQ1003", "where has a wrong value", key="where",
            expected="{ name = \"text\" } with names in braces of the topic: " + (", ".join(names) or "it has none"),
        )  # fmt: skip
        return ("",) * len(names)
    return tuple(str(value.get(name, "")) for name in names)


def _clamp(table: Table) -> tuple[float | None, float | None]:
    value = table.raw("clamp")
    if value is None:
        return None, None
    numbers = [float(v) for v in value if _is_number(v)] if isinstance(value, list) else []
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        table.problem("DV1003", "clamp has a wrong value", key="clamp", expected="[lowest, highest]")
        return None, None
    return numbers[0], numbers[1]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _image_value(table: Table, key: str, point: Point) -> bytes | None:
    """A value in units of the program, as bytes of the image; None holds."""
    value = table.raw(key)
    if value is None or value == "hold":
        return None
    if isinstance(value, bool | int | float | str) and not (
        isinstance(value, str) and point.store != "STRING"
    ):
        plain = Point(point.name, Field("text"), point.store, point.offset, point.size, point.bit)
        try:
            return to_image(plain, value)
        except PayloadError:
            pass
    table.problem(
        "DV1003", f"{key} has a wrong value", key=key, expected=f'a value of {point.store}, or "hold"'
    )
    return None


def _location(table: Table, key: str, direction: str) -> Location:
    place = parse_location(table.text(key))
    area = "I" if direction == "in" else "Q"
    if place is None or place.direction != direction:
        if key in table:
            expected = f"a location like %{area}W0, %{area}D1 or %{area}X0.0"
            table.problem("DV1004", f"{key} is no place for this point", key=key, expected=expected)
        return Location(direction, 0, 2, -1)
    return place


def _check_paths(table: Table, kind: str, points: list[Point]) -> None:
    """Two values must not stand at one place of a message."""
    if kind == "json":
        places = [point.field.path for point in points]
        clash = any(a == b[: len(a)] for i, a in enumerate(places) for j, b in enumerate(places) if i != j)
    else:
        spans = (
            sorted((p.field.at, p.field.at + struct.calcsize(p.field.form)) for p in points)
            if kind == "struct"
            else []
        )
        clash = any(end > start for (_, end), (start, _) in pairwise(spans))
    if clash:
        table.problem(
            "MQ1003", "two points of a message have the same place", remedy="give each its own path or byte"
        )


# ---------------------------------------------------------------- topics


def _check_topic(table: Table, topic: str, *, wildcards: bool, key: str = "topic") -> None:
    fault = topic_fault(topic, wildcards=wildcards) or ("a placeholder has no value" if "{" in topic else "")
    if fault:
        table.problem(
            "MQ1001", f"the topic is not valid: {fault}", key=key, remedy="see docs/mqtt.md, section Topics"
        )


def _variables(table: Table) -> dict[str, str]:
    value = table.raw("variables")
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        table.problem("DV1003", "variables has a wrong value", key="variables", expected='{ line = "7" }')
        return {}
    return {str(name): str(text) for name, text in value.items()}


def _sub_table(table: Table, key: str) -> Table | None:
    value = table.raw(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        table.problem("DV1003", f"{key} has a wrong value", key=key, expected=f"a table [device.{key}]")
        return None
    return table.inner(key, value)


def _availability(table: Table, variables: Mapping[str, str]) -> Availability | None:
    inner = _sub_table(table, "availability")
    if inner is None:
        return None
    topic = fill(inner.text("topic"), variables)
    _check_topic(inner, topic, wildcards=False)
    found = Availability(topic, inner.text("online", "online"), inner.text("offline", "offline"))
    inner.finish()
    return found


def _will(table: Table, key: str, variables: Mapping[str, str]) -> Will | None:
    inner = _sub_table(table, key)
    if inner is None:
        return None
    topic = fill(inner.text("topic"), variables)
    _check_topic(inner, topic, wildcards=False)
    will = Will(
        topic,
        inner.text("payload").encode("utf-8", "replace"),
        inner.integer("qos", 1, low=0, high=2),
        inner.flag("retain", True),
    )
    inner.finish()
    return will


def _status(table: Table, device: str, inputs: list[Channel]) -> tuple[int, int]:
    """A bit that tells whether the device is there."""
    if "status" not in table:
        return (-1, -1)
    place = _location(table, "status", "in")
    if place.bit < 0:
        table.problem("DV1004", "status needs the location of a bit", key="status", expected="like %IX0.0")
    inputs.append(Channel(f"{device}.status", device, "in", place.offset, 1, max(place.bit, 0)))
    return place.offset, max(place.bit, 0)
