"""From a connection in the plant file to a link."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from typing import Any

from drivers.modbus.config import Connection
from drivers.modbus.link import Link
from drivers.modbus.serial import SerialLink
from drivers.modbus.stream import StreamTcpLink
from drivers.modbus.tcp import TcpLink
from drivers.modbus.tls import client_context


def open_link(connection: Connection) -> Link:
    """A link that is not started yet."""
    common: dict[str, Any] = {
        "backoff_max_s": connection.backoff_max_ms / 1000,
        "pause_s": connection.pause_ms / 1000,
        "pause_after_connect_s": connection.pause_after_connect_ms / 1000,
        "overtake_max": connection.overtake_max,
    }
    if connection.transport in ("tcp", "tls"):
        return TcpLink(
            connection.host,
            connection.port,
            max_outstanding=connection.max_outstanding,
            connect_timeout_s=connection.connect_timeout_ms / 1000,
            tls=_tls(connection) if connection.transport == "tls" else None,
            tls_server_name=connection.tls_server_name,
            **common,
        )
    stream: dict[str, Any] = {
        **common,
        "framing": "ascii" if "ascii" in connection.transport else "rtu",
        "turnaround_s": connection.turnaround_ms / 1000,
        "local_echo": connection.local_echo,
    }
    if connection.serial_port:
        return SerialLink(
            connection.serial_port,
            baud=connection.baud,
            parity=connection.parity,
            stop_bits=connection.stop_bits,
            rs485=connection.rs485,
            **stream,
        )
    return StreamTcpLink(
        connection.host,
        connection.port,
        connect_timeout_s=connection.connect_timeout_ms / 1000,
        **stream,
    )


def _tls(connection: Connection) -> Callable[[], ssl.SSLContext]:
    return functools.partial(
        client_context,
        authority=connection.tls_ca,
        certificate=connection.tls_certificate,
        key=connection.tls_key,
    )
