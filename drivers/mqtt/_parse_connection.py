"""The keys that say how brokers are reached: the same for devices, the Sparkplug node and the supervisor's bridge."""

from __future__ import annotations

from drivers._table import Table, file_path
from drivers.mqtt.config import PORTS, Broker, Connection

BROKERS_MAX = 16
CLIENT_ID_MAX = 128
SESSION_S_MAX = 7 * 24 * 3600


def parse_connection(table: Table, *, sessions: bool) -> Connection:
    """``sessions``: whether the client may ask the broker to keep its session (Sparkplug forbids it)."""
    transport = table.choice("transport", ("tcp", "websockets"), "tcp")
    tls = table.flag("tls", False)
    connection = Connection(
        brokers=_brokers(table, PORTS[transport, tls]),
        client_id=table.text("client_id", ""),
        version=table.choice("version", ("3.1.1", "5"), "3.1.1"),
        transport=transport,
        path=table.text("path", "/mqtt"),
        user=table.text("user", ""),
        password_file=file_path(table, "password_file") if "password_file" in table else "",
        tls=tls,
        tls_ca=file_path(table, "tls_ca") if "tls_ca" in table else "",
        tls_certificate=file_path(table, "tls_certificate") if "tls_certificate" in table else "",
        tls_key=file_path(table, "tls_key") if "tls_key" in table else "",
        keepalive_s=table.integer("keepalive_s", 30, low=1, high=65_535),
        connect_timeout_ms=table.integer("connect_timeout_ms", 5000, low=100, high=60_000),
        backoff_min_ms=table.integer("backoff_min_ms", 500, low=10, high=60_000),
        backoff_max_ms=table.integer("backoff_max_ms", 30_000, low=100, high=600_000),
        session_s=table.integer("session_s", 0, low=0, high=SESSION_S_MAX) if sessions else 0,
        waiting_max=table.integer("waiting_max", 1000, low=1, high=1_000_000),
    )
    _check(table, connection)
    return connection


def _check(table: Table, connection: Connection) -> None:
    if connection.session_s and not connection.client_id:
        table.problem(
            "DV1002", "a session that the broker keeps needs a client_id", key="session_s",
            remedy="write a client_id that no other client has",
        )  # fmt: skip
    if len(connection.client_id) > CLIENT_ID_MAX or "\0" in connection.client_id:
        table.problem(
            "DV1003", "client_id is too long", key="client_id", expected=f"{CLIENT_ID_MAX} characters"
        )
    if not connection.tls and any(key in table for key in ("tls_ca", "tls_certificate", "tls_key")):
        table.problem("DV1003", "files of TLS without TLS", key="tls", remedy="write tls = true")
    if bool(connection.tls_certificate) != bool(connection.tls_key):
        table.problem(
            "DV1002", "a client certificate needs both files", expected="tls_certificate and tls_key"
        )
    if connection.password_file and not connection.user:
        table.problem("DV1002", "a password needs a user", key="password_file", remedy="add user = …")


def _brokers(table: Table, port: int) -> tuple[Broker, ...]:
    value = table.raw("brokers")
    if value is None:
        table.problem("DV1002", "brokers is missing", remedy='add brokers = ["host:port"]')
        return ()
    texts = value if isinstance(value, list) else [value]
    found = [_broker(text, port) for text in texts[: BROKERS_MAX + 1]]
    if not found or len(texts) > BROKERS_MAX or None in found:
        table.problem(
            "MQ1002", "brokers has a wrong value", key="brokers", expected='["host:port", "[::1]:1883", …]',
            remedy=f"name 1 to {BROKERS_MAX} brokers, each with host and, if it is not {port}, port",
        )  # fmt: skip
    return tuple(broker for broker in found if broker is not None)


def _broker(text: object, port: int) -> Broker | None:
    if not isinstance(text, str) or not text or any(character in text for character in " /@?#\0"):
        return None
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.startswith("[")):
        host, number = text, str(port)
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number[:6]) <= 65_535:
        return None
    host = host.removeprefix("[").removesuffix("]")
    return Broker(host, int(number)) if host else None
