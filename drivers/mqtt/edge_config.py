"""The ``[sparkplug]`` section of a plant file: the node as an edge node of Sparkplug B."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from drivers._table import Placer, Table, no_place
from drivers.mqtt._parse_connection import parse_connection
from drivers.mqtt.config import Connection
from drivers.mqtt.sparkplug import id_fault

ROLES = ("operator", "engineer", "admin")


class SparkplugSection(msgspec.Struct, frozen=True):
    """``node`` "": the node's name. ``writable``: patterns of what hosts may write, as far as the program permits."""

    connection: Connection
    group: str
    node: str = ""
    primary_host: str = ""
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    role: str = "operator"
    devices: bool = True  # field devices as Sparkplug devices
    templates: bool = True  # structures as templates
    interval_ms: int = 250
    history: bool = True
    buffer_mb: int = 64


def parse_sparkplug(table: Mapping[str, object], place: Placer = no_place) -> SparkplugSection:
    """Raises TickworkError with all problems of the section."""
    reader = Table(table, place)
    section = SparkplugSection(
        connection=parse_connection(reader, sessions=False),  # §2.3: a clean session each time
        group=_id(reader, "group"),
        node=_id(reader, "node") if "node" in reader else "",
        primary_host=_id(reader, "primary_host") if "primary_host" in reader else "",
        tags=_texts(reader, "tags", ("*",)),
        exclude=_texts(reader, "exclude", ()),
        writable=_texts(reader, "writable", ()),
        role=reader.choice("role", ROLES, "operator"),
        devices=reader.flag("devices", True),
        templates=reader.flag("templates", True),
        interval_ms=reader.integer("interval_ms", 250, low=20, high=3_600_000),
        history=reader.flag("history", True),
        buffer_mb=reader.integer("buffer_mb", 64, low=1, high=1_000_000),
    )
    plain = reader.flag("allow_plain", False)
    if section.writable and not section.connection.tls and not plain and not _all_local(section.connection):
        reader.problem(
            "PL1011", "commands would cross the network unencrypted", key="writable", expected="tls = true",
            remedy="use TLS, or write allow_plain = true if the network is protected otherwise",
        )  # fmt: skip
    reader.finish()
    reader.raise_problems()
    return section


def _id(table: Table, key: str) -> str:
    text = table.text(key)
    fault = id_fault(text)
    if fault and key in table:
        table.problem("MQ1004", f"{key} is no Sparkplug id: {fault}", key=key, expected="text without + / #")
    return text


def _texts(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.raw(key)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        table.problem("DV1003", f"{key} has a wrong value", key=key, expected='patterns: ["Main.*"]')
        return default
    return tuple(value)


def _all_local(connection: Connection) -> bool:
    return all(
        one.host == "localhost" or one.host == "::1" or one.host.startswith("127.")
        for one in connection.brokers
    )
