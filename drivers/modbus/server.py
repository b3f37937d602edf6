"""The node's image over Modbus TCP and RTU, hosted by the gate process.

Rules.
* Reads come from the published snapshot in place, at most ``SNAPSHOT_AGE_S`` old: the scan never notices a client.
* A write is one atomic group for a scan boundary; the reply is sent when it has taken effect.
* Requests of one connection are answered in the order in which they came, however many arrive in one segment.
* Nothing grows: connections, requests waiting behind a write, and bytes for a client that does not read are limited.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from drivers.modbus.mbap import HEADER, HEADER_SIZE, LENGTH_MAX, LENGTH_MIN
from drivers.modbus.pdu import ExceptionCode
from drivers.modbus.server_config import ModbusServerSection
from drivers.modbus.server_gateway import Gateway
from drivers.modbus.server_map import AddressMap, Refusal
from drivers.modbus.server_pdu import Identity, Order, Responder, exception
from drivers.modbus.server_watchdog import Watchdogs
from drivers.modbus.tcp import tune_socket
from drivers.modbus.tls import role_of, server_context
from scan.abi import Application, Symbol
from scan.problem import Problem, TickworkError, fail

SNAPSHOT_AGE_S = 0.002
READ_ATTEMPTS = 100  # against a scan that publishes faster than a request is answered
BACKLOG = 1024
ACCEPTS = 16  # in one turn of the loop
BUFFER_MAX = 64 * 1024  # bytes that a client has not read yet, and bytes of requests behind a write
TIDY_S = 1.0
EVICTABLE_IDLE_S = 1.0  # a connection silent for so long makes room for a new one
DIRECT_UNITS = (0, 255)  # Messaging on TCP/IP V1.0b §4.4.2.1: the server itself

Block = npt.NDArray[np.uint8]
Answer = TypeVar("Answer")
Submit = Callable[[Mapping[Symbol, object], str], Awaitable[str]]


class Published(Protocol):
    """The state block where the scan has put it; what was read holds if it is ``intact`` afterwards."""

    @property
    def block(self) -> Block: ...
    def intact(self) -> bool: ...


class View(Protocol):
    """What the server needs of ``scan.NodeView``."""

    @property
    def application(self) -> Application | None: ...
    def published(self) -> Published: ...


class ModbusServer:
    """``submit(values, user)`` writes one atomic group and returns "" or the reason why it did not take effect.

    ``on_problem`` is told of each map entry that a new program cannot serve (DV4002).
    """

    def __init__(
        self,
        view: View,
        submit: Submit,
        section: ModbusServerSection,
        *,
        node: str,
        version: str = "",
        on_problem: Callable[[Problem], None] | None = None,
    ) -> None:
        self.section = section
        self.requests = 0
        self.refused = 0
        self._on_problem = on_problem
        self._view = view
        self._submit = submit
        self._identity = Identity("Tickwork", "Tickwork runtime", version or "0", node)
        self.responder = Responder(AddressMap(section, None), self._identity)
        self._application: Application | None = None
        self._published: Published | None = None
        self._published_until = 0.0
        self._networks = [ipaddress.ip_network(text) for text in section.clients]
        self._rules = [
            (rule, [ipaddress.ip_network(text) for text in rule.clients]) for rule in section.writes
        ]
        self._connections: set[_Connection] = set()
        self._roles: dict[str, str] = {}  # by client, from its certificate
        self._server: asyncio.Server | None = None
        self._serial: object | None = None
        self._gateway = Gateway(section.gateways)
        self._watchdogs = Watchdogs(section.writes, submit, lambda: self.responder.map)
        self._tidying: asyncio.Task[None] | None = None
        self._port = section.port

    # ------------------------------------------------------------ hosting

    async def start(self) -> None:
        """Raises TickworkError DV4001 when it cannot listen."""
        await self.rebind()
        self._gateway.start()
        self._watchdogs.start()
        loop = asyncio.get_running_loop()
        host, port = self.section.host, self.section.port
        if host:
            try:
                self._server = await loop.create_server(
                    lambda: _Connection(self), host, port, backlog=ACCEPTS, ssl=self._tls()
                )
                _lengthen_backlog(self._server)
            except OSError as error:
                raise fail(
                    "DV4001",
                    f"the Modbus server cannot listen at {host}:{port}",
                    expected="a free port that this process may open, and readable certificates",
                    found=error.strerror or str(error),
                    remedy="choose another port in [modbus-server], or end the program that has it; check tls_…",
                ) from error
            self._port = int(self._server.sockets[0].getsockname()[1])
        if self.section.serial_port:
            from drivers.modbus.server_serial import SerialServer

            self._serial = SerialServer(self)
            await self._serial.start()
        self._tidying = loop.create_task(self._tidy(), name="modbus server: idle connections")

    def _tls(self) -> ssl.SSLContext | None:
        section = self.section
        if not section.tls_ca:
            return None
        return server_context(
            authority=section.tls_ca, certificate=section.tls_certificate, key=section.tls_key
        )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        for connection in list(self._connections):
            connection.close()
        await self._watchdogs.stop()
        if self._serial is not None:
            await self._serial.stop()  # type: ignore[attr-defined]  # a SerialServer, imported late
        await self._gateway.stop()
        if self._server is not None:
            await self._server.wait_closed()

    async def rebind(self) -> None:
        """The program changed: addresses are laid out anew."""
        if self._view.application is not self._application:
            self._lay_out()
        self._published = None

    def _lay_out(self) -> None:
        self._application = self._view.application
        self.responder = Responder(AddressMap(self.section, self._application), self._identity)
        if self._on_problem is not None:
            for problem in self.problems:
                self._on_problem(problem)

    def clients(self) -> list[str]:
        return [f"modbus {connection.peer}" for connection in self._connections]

    def endpoints(self) -> list[str]:
        section = self.section
        protocol = "modbus-tls" if section.tls_ca else "modbus-tcp"
        found = [f"{protocol}://{section.host}:{self._port}"] if section.host else []
        return found + ([f"modbus-rtu://{section.serial_port}"] if section.serial_port else [])

    @property
    def problems(self) -> list[Problem]:
        """Entries of the map that the running program does not have."""
        return self.responder.map.problems

    # ------------------------------------------------------------ what connections need

    def _read(self, read: Callable[[Block], Answer]) -> Answer:
        """What ``read`` makes of one scan's state block, in place. Raises Refusal(4) while there is no program."""
        for _ in range(READ_ATTEMPTS):
            published = self._latest()
            answer = read(published.block)
            if published.intact():
                return answer
        raise Refusal(ExceptionCode.SERVER_DEVICE_BUSY)

    def _latest(self) -> Published:
        now = time.monotonic()
        if self._published is not None and now < self._published_until and self._published.intact():
            return self._published
        try:
            published = self._published = self._view.published()
        except TickworkError:
            raise Refusal(ExceptionCode.SERVER_DEVICE_FAILURE) from None
        self._published_until = now + SNAPSHOT_AGE_S
        if self._view.application is not self._application:  # map and block belong to one program
            self._lay_out()
        return published

    def answer(self, pdu: bytes, client: str) -> bytes | Order:
        self.requests += 1
        try:
            return self._read(lambda block: self.responder.answer(pdu, block, self._allows, client))
        except Refusal as refusal:
            return exception(pdu[0], refusal.code)

    async def carry_out(self, function: int, order: Order, client: str) -> bytes:
        """Writes, waits for the effect, and gives the reply."""
        reason = await self._submit(order.values, f"modbus {client}")
        if reason:
            return exception(function, ExceptionCode.SERVER_DEVICE_FAILURE)
        self._published = None
        self._watchdogs.written(*order.place)
        if order.then_read is None:
            return order.reply
        try:
            return self._read(lambda block: self.responder.read_after(order, block))
        except Refusal as refusal:
            return exception(function, refusal.code)

    def stands_behind(self, unit: int) -> bool:
        """The unit is a device behind the node."""
        return unit in self._gateway

    async def forward(self, unit: int, pdu: bytes) -> bytes:
        """The reply of a device behind the node."""
        self.requests += 1
        return await self._gateway.forward(unit, pdu)

    def _allows(self, client: str, table: str, address: int, count: int) -> bool:
        """Every address lies in a rule that holds for the client."""
        source = _address(client)
        role = self._roles.get(client, "")
        at = address
        while at < address + count:
            covering = [
                rule.last
                for rule, networks in self._rules
                if rule.table == table
                and rule.first <= at <= rule.last
                and _inside(source, networks)
                and (not rule.roles or role in rule.roles)
            ]
            if not covering:
                return False
            at = max(covering) + 1
        return True

    # ------------------------------------------------------------ connections

    def admit(self, connection: _Connection) -> bool:
        """Takes a new connection in, if need be in the place of the one that has been idle longest."""
        host = connection.peer.rpartition(":")[0]
        same = sum(1 for other in self._connections if other.peer.rpartition(":")[0] == host)
        if not _inside(_address(connection.peer), self._networks) or same >= self.section.max_per_client:
            self.refused += 1
            return False
        if len(self._connections) >= self.section.max_connections:
            oldest = min(self._connections, key=lambda other: other.active_at)
            if time.monotonic() - oldest.active_at < EVICTABLE_IDLE_S:
                self.refused += 1
                return False
            oldest.close()
        self._connections.add(connection)
        if connection.role:
            self._roles[connection.peer] = connection.role
        return True

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        self._roles.pop(connection.peer, None)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_S)
            limit = time.monotonic() - self.section.idle_s
            for connection in [c for c in self._connections if c.active_at < limit]:
                connection.close()


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: ModbusServer) -> None:
        self.peer = ""
        self.role = ""
        self.active_at = 0.0
        self._server = server
        units = server.section.units
        self._units = (*units, *DIRECT_UNITS) if units else ()
        self._limited = server.section.requests_per_s > 0
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._writing: asyncio.Task[None] | None = None
        self._blocked = False  # the client does not read
        self._tokens = 0.0
        self._tokens_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername") or ("", 0)
        self.peer = f"{name[0]}:{name[1]}"
        self.active_at = self._tokens_at = time.monotonic()
        self._tokens = float(self._server.section.requests_per_s)
        secure = transport.get_extra_info("ssl_object")
        if secure is not None:
            self.role = role_of(secure.getpeercert(binary_form=True) or b"")
        if not self._server.admit(self):
            self._transport.abort()
            return
        tune_socket(transport)
        self._transport.set_write_buffer_limits(high=BUFFER_MAX)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._transport = None
        if self._writing is not None:
            self._writing.cancel()

    def close(self) -> None:
        self._server.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self._blocked = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = False
        if self._transport is not None and self._writing is None:
            self._transport.resume_reading()
            self._work()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._writing is None and not self._blocked:
            self._work()
        elif len(self._buffer) > BUFFER_MAX and self._transport is not None:
            self._transport.pause_reading()

    def _work(self) -> None:
        """Answers what is in the buffer, up to a write that has to take effect first."""
        data = self._buffer
        position = 0
        replies: list[bytes] = []
        broken = False
        end = len(data)
        while end - position >= HEADER_SIZE and self._writing is None and not self._blocked:
            transaction, protocol, length, unit = HEADER.unpack_from(data, position)
            if protocol or not LENGTH_MIN <= length <= LENGTH_MAX:
                broken = True  # the stream cannot be followed any more
                break
            stop = position + 6 + length
            if stop > end:
                break
            reply = self._answer(transaction, unit, data[position + 7 : stop])
            if reply:
                replies.append(HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply)
            position = stop
        if position:  # a whole request: dribbling bytes are no activity
            self.active_at = time.monotonic()
        self._buffer = data[position:]
        if replies and self._transport is not None:
            self._transport.write(replies[0] if len(replies) == 1 else b"".join(replies))
        if broken and self._transport is not None:
            self._buffer = b""
            self._transport.close()  # after what is on its way

    def _answer(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        """The reply, or b"" while a write is under way."""
        server = self._server
        if server.stands_behind(unit):
            self._later(transaction, unit, lambda: server.forward(unit, pdu))
            return b""
        if self._units and unit not in self._units:
            return exception(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED)
        if self._limited and not self._take_token():
            return exception(pdu[0], ExceptionCode.SERVER_DEVICE_BUSY)
        answer = server.answer(pdu, self.peer)
        if isinstance(answer, bytes):
            return answer
        self._later(transaction, unit, lambda: server.carry_out(pdu[0], answer, self.peer))
        return b""

    def _later(self, transaction: int, unit: int, work: Callable[[], Awaitable[bytes]]) -> None:
        """What takes time: the requests behind it wait, so that replies keep their order."""
        task = self._reply_after(transaction, unit, work)
        self._writing = asyncio.get_running_loop().create_task(task)

    async def _reply_after(self, transaction: int, unit: int, work: Callable[[], Awaitable[bytes]]) -> None:
        reply = await work()
        self._writing = None
        if self._transport is None:
            return
        self._transport.write(HEADER.pack(transaction, 0, len(reply) + 1, unit) + reply)
        if not self._blocked:
            self._transport.resume_reading()
            self._work()

    def _take_token(self) -> bool:
        """A bucket of one second's worth of requests."""
        rate = self._server.section.requests_per_s
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._tokens_at) * rate, float(rate))
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _lengthen_backlog(server: asyncio.Server) -> None:
    """More may wait to be accepted than asyncio accepts in one turn.

    It uses one number for both, and when descriptors run out it complains that many times (Python 3.11).
    """
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(BACKLOG)


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address | None
_Net = ipaddress.IPv4Network | ipaddress.IPv6Network


def _address(peer: str) -> _Ip:
    try:
        found = ipaddress.ip_address(peer.rpartition(":")[0].partition("%")[0])
    except ValueError:
        return None  # a serial client
    mapped = getattr(found, "ipv4_mapped", None)
    return cast(_Ip, mapped or found)


def _inside(address: _Ip, networks: list[_Net]) -> bool:
    """A serial client has no address: whoever is wired to the port belongs to every network."""
    return address is None or any(
        address.version == network.version and address in network for network in networks
    )
