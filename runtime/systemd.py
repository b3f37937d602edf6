"""Tells systemd that the node is ready and alive (sd_notify(3)), without its library: one datagram to a socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to ``NOTIFY_SOCKET`` of the environment; without one (not started by systemd) it does nothing."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of an abstract socket (sd_notify(3)).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_us = _own_watchdog_us(environment)

    @property
    def interval_s(self) -> float:
        """How often to call ``alive``: half the watchdog time, as sd_watchdog_enabled(3) recommends; 0 = never."""
        return self._watchdog_us / 2e6

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), self._address)
            except OSError:
                return  # systemd restarts or is gone: its own watchdog decides, not we


def _own_watchdog_us(environment: Mapping[str, str]) -> int:
    """WATCHDOG_USEC if it is meant for this process (WATCHDOG_PID names it or is missing)."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    text = environment.get("WATCHDOG_USEC", "0")
    return int(text) if text.isascii() and text.isdigit() else 0
