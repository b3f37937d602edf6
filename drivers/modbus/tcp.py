"""Modbus TCP links, with several requests outstanding, matched by transaction number."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from drivers.modbus.link import Job, Link
from drivers.modbus.mbap import HEADER, HEADER_SIZE, LENGTH_MAX, LENGTH_MIN
from drivers.modbus.pdu import Failure, FailureKind, check_reply

KEEPALIVE_IDLE_S = 10
KEEPALIVE_INTERVAL_S = 3
KEEPALIVE_COUNT = 3
USER_TIMEOUT_MS = 20_000
TRANSACTIONS = 65536


def tune_socket(transport: asyncio.BaseTransport) -> None:
    """No Nagle delay; a vanished peer is noticed by the kernel even when nothing is sent."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


class TcpLink(Link):
    """MBAP over TCP, or over TLS when ``tls`` is given."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_outstanding: int = 4,
        connect_timeout_s: float = 3.0,
        backoff_max_s: float = 10.0,
        pause_s: float = 0.0,
        pause_after_connect_s: float = 0.0,
        overtake_max: int = 10,
        tls: Callable[[], ssl.SSLContext] | None = None,
        tls_server_name: str = "",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            max_outstanding=max_outstanding,
            connect_timeout_s=connect_timeout_s,
            backoff_max_s=backoff_max_s,
            pause_s=pause_s,
            pause_after_connect_s=pause_after_connect_s,
            overtake_max=overtake_max,
            seed=seed,
        )
        self.address = f"{host}:{port}"
        self._host = host
        self._port = port
        self._tls = tls
        self._tls_server_name = (tls_server_name or host) if tls else None
        self._pending: dict[int, Job] = {}
        self._transaction = 0
        self._rest = b""

    async def _open(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: self,
            self._host,
            self._port,
            ssl=self._tls() if self._tls else None,  # certificates are read anew: they may have been renewed
            server_hostname=self._tls_server_name,
        )
        tune_socket(transport)

    def _transmit(self, job: Job) -> None:
        transaction = self._transaction = (self._transaction + 1) % TRANSACTIONS
        self._pending[transaction] = job
        pdu = job.request.pdu
        self._frames.append(HEADER.pack(transaction, 0, len(pdu) + 1, job.unit) + pdu)

    def _outstanding(self) -> int:
        return len(self._pending)

    def _expired(self, now: float) -> list[Job]:
        numbers = [number for number, job in self._pending.items() if job.deadline <= now]
        return [self._pending.pop(number) for number in numbers]

    def _next_deadline(self) -> float | None:
        return min((job.deadline for job in self._pending.values()), default=None)

    def _abandon(self) -> list[Job]:
        jobs = list(self._pending.values())
        self._pending.clear()
        self._rest = b""
        return jobs

    def data_received(self, data: bytes) -> None:
        """Follows the MBAP stream; a header that is none ends the connection."""
        if self._rest:
            data = self._rest + data
        self._silent_timeouts = 0
        position = 0
        end = len(data)
        while end - position >= HEADER_SIZE:
            transaction, protocol, length, unit = HEADER.unpack_from(data, position)
            if protocol or not LENGTH_MIN <= length <= LENGTH_MAX:
                self.close(f"no Modbus TCP: protocol {protocol}, length {length} in the header")
                return
            stop = position + 6 + length
            if stop > end:
                break
            self._answered(transaction, unit, data[position + 7 : stop])
            if not self.connected:  # a callback gave the connection up
                return
            position = stop
        self._rest = data[position:]
        self.flush()

    def _answered(self, transaction: int, unit: int, reply: bytes) -> None:
        job = self._pending.pop(transaction, None)
        if job is None:
            self.late_replies += 1
            return
        if unit != job.unit:
            self.stray_replies += 1
            text = f"unit {job.unit} asked, unit {unit} answered"
            job.done(job, b"", Failure(FailureKind.MISMATCH, text))
            return
        failure = check_reply(job.request, reply)
        job.done(job, b"" if failure else reply, failure)
