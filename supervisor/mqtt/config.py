"""``mqtt.toml`` in the data directory: brokers to host Sparkplug nodes from, and where values and events go.

Read at the start and again when an administrator asks for it. Unknown keys are errors, as in a plant file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from drivers._table import Table
from drivers.mqtt._parse_connection import parse_connection
from drivers.mqtt.config import Connection
from drivers.mqtt.sparkplug import id_fault
from drivers.mqtt.topics import topic_fault
from scan.problem import Place, Problem, TickworkError

FILE_NAME = "mqtt.toml"
EVENTS = ("values", "alarms", "events")
MB = 1_000_000


class HostSection(msgspec.Struct, frozen=True):
    """``[[host]]``: a Sparkplug host application on one broker (each broker of a list is hosted at the same time)."""

    name: str
    connection: Connection
    host_id: str
    groups: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ("*",)  # patterns of "group/node" that become runtimes
    nodes_max: int = 1000
    reorder_ms: int = 2000
    rebirth_ms: int = 10_000
    confirm_ms: int = 5000  # how long a command waits for the data that confirms it


class BridgeSection(msgspec.Struct, frozen=True):
    """``[[bridge]]``: what is published. ``kind``: "json", "sparkplug" or "webhook"."""

    name: str
    kind: str
    connection: Connection | None = None
    url: str = ""
    secret_file: str = ""  # of the signature of webhooks
    ca_file: str = ""
    topic: str = "tickwork"  # prefix of JSON topics
    group: str = "tickwork"  # of Sparkplug
    what: tuple[str, ...] = EVENTS
    nodes: tuple[str, ...] = ("*",)
    tags: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    qos: int = 1
    retain: bool = False
    interval_ms: int = 1000
    buffer_mb: int = 64
    buffer_days: int = 7


class MqttSettings(msgspec.Struct, frozen=True):
    hosts: tuple[HostSection, ...] = ()
    bridges: tuple[BridgeSection, ...] = ()


def load_settings(folder: Path) -> MqttSettings:
    """No file: nothing is hosted and nothing published. Raises TickworkError with all problems of the file."""
    path = folder / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return MqttSettings()
    except (OSError, UnicodeDecodeError) as error:
        raise TickworkError(_unusable(path, str(error))) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TickworkError(_unusable(path, str(error))) from error
    return parse_settings(values, str(path))


def parse_settings(values: dict[str, object], file: str = FILE_NAME) -> MqttSettings:
    def place(*keys: str | int) -> Place:
        return Place(file)

    root = Table(values, place)
    settings = MqttSettings(
        tuple(_host(table) for table in root.tables("host")),
        tuple(_bridge(table) for table in root.tables("bridge")),
    )
    names = [host.name for host in settings.hosts] + [bridge.name for bridge in settings.bridges]
    for name in {name for name in names if names.count(name) > 1}:
        root.problem("DV1003", f"the name {name} is given twice", remedy="names are also names of files")
    root.finish()
    root.raise_problems()
    return settings


def _host(table: Table) -> HostSection:
    section = HostSection(
        name=_name(table),
        connection=_named(parse_connection(table, sessions=False), table),
        host_id=_id(table, "host_id"),
        groups=_texts(table, "groups", ()),
        nodes=_texts(table, "nodes", ("*",)),
        nodes_max=table.integer("nodes_max", 1000, low=1, high=10_000),
        reorder_ms=table.integer("reorder_ms", 2000, low=0, high=60_000),
        rebirth_ms=table.integer("rebirth_ms", 10_000, low=100, high=300_000),
        confirm_ms=table.integer("confirm_ms", 5000, low=100, high=60_000),
    )
    for group in section.groups:
        if id_fault(group):
            table.problem(
                "MQ1004", f"{group!r} is no Sparkplug id", key="groups", expected="text without + / #"
            )
    table.finish()
    return section


def _bridge(table: Table) -> BridgeSection:
    kind = table.choice("kind", ("json", "sparkplug", "webhook"))
    webhook = kind == "webhook"
    section = BridgeSection(
        name=_name(table),
        kind=kind,
        connection=None if webhook else _named(parse_connection(table, sessions=False), table),
        url=_url(table) if webhook else "",
        secret_file=table.text("secret_file", "") if webhook else "",
        ca_file=table.text("ca_file", "") if webhook else "",
        topic=table.text("topic", "tickwork") if kind == "json" else "tickwork",
        group=_id(table, "group", "tickwork") if kind == "sparkplug" else "tickwork",
        what=_texts(table, "what", ("values",) if kind == "sparkplug" else EVENTS),
        nodes=_texts(table, "nodes", ("*",)),
        tags=_texts(table, "tags", ()),
        exclude=_texts(table, "exclude", ()),
        qos=table.integer("qos", 1, low=0, high=1) if kind == "json" else 0,
        retain=table.flag("retain", False) if kind == "json" else False,
        interval_ms=table.integer("interval_ms", 1000, low=50, high=3_600_000),
        buffer_mb=table.integer("buffer_mb", 64, low=1, high=100_000),
        buffer_days=table.integer("buffer_days", 7, low=1, high=3650),
    )
    allowed = ("values",) if kind == "sparkplug" else EVENTS
    if not set(section.what) <= set(allowed):
        table.problem("DV1003", "what has a wrong value", key="what", expected=", ".join(allowed))
    if kind == "json" and topic_fault(section.topic, wildcards=False):
        table.problem(
            "MQ1001", f"the topic is not valid: {topic_fault(section.topic, wildcards=False)}", key="topic"
        )
    table.finish()
    return section


def _named(connection: Connection, table: Table) -> Connection:
    if connection.client_id:
        return connection
    return msgspec.structs.replace(connection, client_id=f"tickwork-{table.text('name')}"[:120])


def _name(table: Table) -> str:
    name = table.text("name")
    if name and not (name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) <= 40):
        table.problem(
            "DV1003", "name has a wrong value", key="name", expected="letters, digits, - and _, at most 40"
        )
        return "x"
    return name


def _id(table: Table, key: str, default: str | None = None) -> str:
    text = table.text(key, default)
    if (key in table or default) and id_fault(text):
        table.problem(
            "MQ1004", f"{key} is no Sparkplug id: {id_fault(text)}", key=key, expected="text without + / #"
        )
    return text


def _texts(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.raw(key)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        table.problem("DV1003", f"{key} has a wrong value", key=key, expected='texts: ["one", "two"]')
        return default
    return tuple(value)


def _url(table: Table) -> str:
    """https, or http to this machine: events carry names and values of a plant."""
    text = table.text("url")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    local = host == "localhost" or host == "::1" or host.startswith("127.")
    if text and (not host or parts.scheme not in ("http", "https") or (parts.scheme == "http" and not local)):
        table.problem("DV1003", "url has a wrong value", key="url", expected="https://host/path")
    return text


def _unusable(path: Path, found: str) -> Problem:
    return Problem(
        "DV1003", "the file of the MQTT settings cannot be read", Place(str(path)), expected="TOML",
        found=found, remedy="correct the file; docs/mqtt.md describes it",
    )  # fmt: skip
