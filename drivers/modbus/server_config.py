"""The ``[modbus-server]`` section of a plant file. Light: reading a plant file loads no sockets and no serial ports."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import msgspec

from drivers._table import Placer, Table, file_path, no_place
from drivers.modbus._parse import parse_connection
from drivers.modbus.config import PROTOCOLS, Connection
from drivers.modbus.pdu import ADDRESSES
from drivers.modbus.points import ORDERS

TABLES = ("coils", "discrete-inputs", "holding-registers", "input-registers")
WRITABLE_TABLES = ("coils", "holding-registers")
LOOPBACK = ("127.0.0.0/8", "::1/128")
CONNECTIONS_MAX = 4096
WATCHDOG_MS_MAX = 24 * 3600 * 1000
TLS_KEYS = ("tls_ca", "tls_certificate", "tls_key")
BAUD_MAX = 4_000_000


class WriteRule(msgspec.Struct, frozen=True):
    """Addresses ``first`` to ``last`` of ``table`` may be written by clients of ``clients`` (networks).

    With ``roles``, only by those whose TLS certificate carries one of them. When none of it has been written for
    ``watchdog_ms`` (0: for ever) it becomes ``fallback``: one value for all addresses, or one for each.
    """

    table: str
    first: int
    last: int
    clients: tuple[str, ...]
    roles: tuple[str, ...] = ()
    watchdog_ms: int = 0
    fallback: tuple[int, ...] = (0,)


class MapEntry(msgspec.Struct, frozen=True):
    """A variable at an address. ``order`` is that of its bytes on the wire."""

    table: str
    address: int
    variable: str
    order: str


class GatewayEntry(msgspec.Struct, frozen=True):
    """Requests to ``unit`` go on to ``to_unit`` of a device behind the node; writes only if ``writable``."""

    unit: int
    connection: Connection
    to_unit: int
    writable: bool
    timeout_ms: int


class ModbusServerSection(msgspec.Struct, frozen=True):
    """Nothing is writable without a ``WriteRule``.

    ``host`` "" serves no TCP, ``serial_port`` "" no RTU, ``port`` 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 502
    profile: str = "openplc"
    word_order: str = "high-first"
    units: tuple[int, ...] = ()
    clients: tuple[str, ...] = LOOPBACK
    max_connections: int = 64
    max_per_client: int = 16
    idle_s: int = 60
    requests_per_s: int = 0  # of one connection, 0 = no limit
    tls_ca: str = ""  # PEM file of the authority of the clients; with it, TLS is spoken instead of plain TCP
    tls_certificate: str = ""
    tls_key: str = ""
    serial_port: str = ""
    baud: int = 19200
    parity: str = "E"
    stop_bits: int = 1
    writes: tuple[WriteRule, ...] = ()
    entries: tuple[MapEntry, ...] = ()
    gateways: tuple[GatewayEntry, ...] = ()


def parse_server(table: Mapping[str, object], place: Placer = no_place) -> ModbusServerSection:
    """Raises TickworkError with all problems of the section."""
    reader = Table(table, place)
    usual = ModbusServerSection()
    clients = _networks(reader, "clients", usual.clients)
    section = ModbusServerSection(
        host=reader.text("host", usual.host),
        port=reader.integer("port", usual.port, low=0, high=65535),
        profile=reader.choice("profile", ("openplc", "none"), usual.profile),
        word_order=reader.choice("word_order", ("high-first", "low-first"), usual.word_order),
        units=_units(reader),
        clients=clients,
        max_connections=reader.integer("max_connections", 64, low=1, high=CONNECTIONS_MAX),
        max_per_client=reader.integer("max_per_client", 16, low=1, high=CONNECTIONS_MAX),
        idle_s=reader.integer("idle_s", 60, low=1, high=86_400),
        requests_per_s=reader.integer("requests_per_s", 0, low=0, high=1_000_000),
        **_tls(reader),
        serial_port=reader.text("serial_port", ""),
        baud=reader.integer("baud", usual.baud, low=50, high=BAUD_MAX),
        parity=reader.choice("parity", ("none", "even", "odd"), "even")[0].upper(),
        stop_bits=reader.integer("stop_bits", 1, low=1, high=2),
        writes=tuple(_rule(item, clients) for item in reader.tables("write")),
        entries=tuple(_entry(item) for item in reader.tables("map")),
        gateways=tuple(_gateway(item) for item in reader.tables("gateway")),
    )
    reader.finish()
    reader.raise_problems()
    return section


def _rule(table: Table, clients: tuple[str, ...]) -> WriteRule:
    name = table.choice("table", WRITABLE_TABLES)
    first = table.integer("first", low=0, high=ADDRESSES - 1)
    rule = WriteRule(
        table=name,
        first=first,
        last=table.integer("last", first, low=0, high=ADDRESSES - 1),
        clients=_networks(table, "clients", clients),
        roles=_roles(table),
        watchdog_ms=table.integer("watchdog_ms", 0, low=0, high=WATCHDOG_MS_MAX),
    )
    if rule.last < rule.first:
        table.problem("DV4002", "last is before first", key="last", remedy="exchange first and last")
    rule = msgspec.structs.replace(rule, fallback=_fallback(table, rule))
    table.finish()
    return rule


def _fallback(table: Table, rule: WriteRule) -> tuple[int, ...]:
    value = table.raw("fallback")
    count = rule.last - rule.first + 1
    if value is None:
        if rule.watchdog_ms:
            table.problem(
                "DV1002",
                "watchdog_ms needs a fallback",
                key="watchdog_ms",
                remedy="add fallback = … to this rule",
            )
        return (0,)
    values = value if isinstance(value, list) else [value]
    low, high = (0, 1) if rule.table == "coils" else (-32768, 65535)
    numbers = tuple(int(v) for v in values if isinstance(v, int) and low <= int(v) <= high)
    if len(numbers) != len(values) or len(numbers) not in (1, count) or not rule.watchdog_ms:
        expected = f"a number from {low} to {high}, or a list of {count} of them, beside watchdog_ms"
        table.problem("DV1003", "fallback has a wrong value", key="fallback", expected=expected)
        return (0,)
    return numbers


def _entry(table: Table) -> MapEntry:
    entry = MapEntry(
        table=table.choice("table", TABLES),
        address=table.integer("address", low=0, high=ADDRESSES - 1),
        variable=table.text("variable"),
        order=table.choice("order", ORDERS, "ABCD"),
    )
    table.finish()
    return entry


def _gateway(table: Table) -> GatewayEntry:
    protocol = table.choice("protocol", PROTOCOLS)
    unit = table.integer("unit", low=1, high=247)
    entry = GatewayEntry(
        unit=unit,
        connection=parse_connection(table, protocol),
        to_unit=table.integer("to_unit", unit, low=1, high=255),
        writable=table.flag("writable", False),
        timeout_ms=table.integer("timeout_ms", 1000, low=1, high=60_000),
    )
    table.finish()
    return entry


def _tls(table: Table) -> dict[str, str]:
    """All three files or none."""
    given = [key for key in TLS_KEYS if key in table]
    return {key: file_path(table, key) for key in TLS_KEYS} if given else {}


def _roles(table: Table) -> tuple[str, ...]:
    value = table.raw("roles")
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(role, str) for role in value):
        table.problem("DV1003", "roles has a wrong value", key="roles", expected='a list like ["operator"]')
        return ()
    return tuple(value)


def _units(table: Table) -> tuple[int, ...]:
    value = table.raw("units")
    if value is None:
        return ()
    units = [u for u in value if isinstance(u, int) and 0 <= u <= 255] if isinstance(value, list) else []
    if not isinstance(value, list) or len(units) != len(value):
        table.problem("DV1003", "units has a wrong value", key="units", expected="a list like [1, 2]")
    return tuple(units)


def _networks(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = table.raw(key)
    if value is None:
        return default
    texts = value if isinstance(value, list) else [value]
    try:
        return tuple(str(ipaddress.ip_network(str(text))) for text in texts)
    except ValueError:
        table.problem(
            "DV1003",
            f"{key} has a wrong value",
            key=key,
            expected='networks like ["10.0.0.0/8", "192.168.1.7"]',
        )
        return default
