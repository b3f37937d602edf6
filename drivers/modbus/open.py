"""From a connection in the plant file to a link."""

from __future__ import annotations

from drivers.modbus.config import Connection
from drivers.modbus.link import Link
from drivers.modbus.tcp import TcpLink


def open_link(connection: Connection) -> Link:
    """A link that is not started yet."""
    return TcpLink(
        connection.host,
        connection.port,
        max_outstanding=connection.max_outstanding,
        connect_timeout_s=connection.connect_timeout_ms / 1000,
        backoff_max_s=connection.backoff_max_ms / 1000,
        pause_s=connection.pause_ms / 1000,
        pause_after_connect_s=connection.pause_after_connect_ms / 1000,
    )
