"""A client on an event loop: paho-mqtt for the protocol, sockets watched by the loop, reconnection with back-off.

Rules
* Nothing here blocks the loop: resolving, connecting and the TLS handshake run in a thread of their own.
* One connection at a time. Brokers are tried in order; after a whole round without success the pause doubles.
* What a broker has not taken yet is bounded: ``publish`` says False, and the caller keeps what it needs.
* Whatever bytes a broker sends, the worst that happens is a lost connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from drivers.mqtt.config import Connection, Will
from scan.problem import Problem

MISC_S = 1.0  # keep-alive is looked at this often
READS_MAX = 200  # packets taken in one turn of the loop
STOP_S = 1.0
STABLE_S = 5.0  # a connection that lived this long starts the pauses anew
ORDER_INFLIGHT = 20
_WITH_WILL = 4  # MQTT 5.0 §3.14.2.1: disconnect with will message

OnMessage = Callable[[str, bytes, bool], None]  # topic, payload, retained


class _TlsContext(ssl.SSLContext):
    """Remembers its last socket: when a handshake fails, paho leaves it open."""

    last: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        self.last = super().wrap_socket(*args, **options)
        return self.last


class MqttClient:
    """Keeps one connection. All callbacks run on the loop.

    ``prepare(index)`` is asked before each CONNECT packet for the will (None: no will); ``on_up(session_present)``
    and ``on_down(problem)`` tell of the connection; ``on_failed(problem)`` of an attempt that did not succeed.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_message: OnMessage,
        on_up: Callable[[bool], None],
        on_down: Callable[[Problem], None],
        on_failed: Callable[[Problem], None] = lambda problem: None,
        prepare: Callable[[int], Will | None] = lambda index: None,
        on_sent: Callable[[int], None] | None = None,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self.connection = connection
        self.index = 0  # of the broker that is used or tried
        self.connected = False
        self.attempts = 0  # connections that were tried: another number, another connection
        self.waiting = 0  # messages that the broker has not taken yet
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._on_failed, self._prepare, self._on_sent = on_failed, prepare, on_sent
        self._random_unit = random_unit
        self._task: asyncio.Task[None] | None = None
        self._client: paho.Client | None = None
        self._fd = -1
        self._writing = False
        self._closed = asyncio.Event()
        self._answer: asyncio.Future[Problem | None] | None = None
        self._lost: Problem | None = None
        self._go_to: int | None = None
        self._tls: _TlsContext | None = None

    # ------------------------------------------------------------ life

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"mqtt {self.connection.client_id}")

    async def stop(self) -> None:
        """Sends what is written, a DISCONNECT, and closes. Within about a second."""
        if self.connected:
            self.disconnect()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._closed.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._drop()

    @property
    def broker(self) -> str:
        return str(self.connection.brokers[self.index])

    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> bool:
        """False, and nothing is sent, while there is no connection or too much waits to be taken."""
        if not self.connected or self.waiting >= self.connection.waiting_max or self._client is None:
            return False
        self.waiting += 1
        self._client.publish(topic, payload, qos, retain)
        return True

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        if self._client is not None and filters:
            self._client.subscribe(list(filters))

    def disconnect(self, *, with_will: bool = False, next_broker: bool = False) -> None:
        """An orderly end of this connection; the next one follows at once, to the next broker if so asked."""
        if next_broker:
            self._go_to = (self.index + 1) % len(self.connection.brokers)
        if self._client is None:
            return
        if with_will and self.connection.version == "5":
            self._client.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=_WITH_WILL))
        else:
            self._client.disconnect()

    # ------------------------------------------------------------ connecting

    async def _run(self) -> None:
        failures = 0
        while True:
            began = self._loop.time()
            problem = await self._attempt()
            if problem is None:
                await self._live()
                problem, self._lost = self._lost or _lost("the connection was closed"), None
                self._on_down(problem)
                if self._loop.time() - began > STABLE_S:
                    failures = 0
            else:
                self._on_failed(problem)
            if self._go_to is not None:
                self.index, self._go_to = self._go_to, None
            else:
                self.index = (self.index + 1) % len(self.connection.brokers) if problem else self.index
            failures += 1
            rounds = (failures - 1) // len(self.connection.brokers)
            await asyncio.sleep(self._pause_s(rounds))

    def _pause_s(self, rounds: int) -> float:
        """Grows with each round, with jitter: a thousand nodes must not come back in the same second."""
        longest = self.connection.backoff_max_ms / 1000
        usual = min(self.connection.backoff_min_ms / 1000 * 2 ** min(rounds, 16), longest)
        return usual * (0.5 + 0.5 * self._random_unit())

    async def _attempt(self) -> Problem | None:
        self._drop()
        try:
            client = self._make(self._prepare(self.index))
        except (OSError, ValueError) as error:  # files of TLS or of the password
            return _unreachable(self.broker, str(error))
        self._client = client
        self.attempts += 1
        self._answer = self._loop.create_future()
        self._closed.clear()
        self.waiting = 0
        try:
            async with asyncio.timeout(2 * self.connection.connect_timeout_ms / 1000):
                problem = await self._open(client)
                if problem is None:
                    self._watch(client)
                    problem = await self._answer
        except TimeoutError:
            problem = _unreachable(self.broker, "no answer in time")
        if problem is not None:
            self._drop()
        return problem

    async def _open(self, client: paho.Client) -> Problem | None:
        """Connects in a daemon thread: one that hangs in a resolver must not keep the process from ending."""
        broker = self.connection.brokers[self.index]
        done: asyncio.Future[Problem | None] = self._loop.create_future()

        def finish(problem: Problem | None) -> None:
            if not done.done():
                done.set_result(problem)

        context = self._tls

        def work() -> None:
            problem = None
            try:
                clean = self.connection.session_s == 0
                kind: dict[str, Any] = {
                    "properties": _connect_properties(self.connection),
                    "clean_start": clean,
                }
                client.connect(
                    broker.host, broker.port, keepalive=self.connection.keepalive_s,
                    **(kind if self.connection.version == "5" else {}),
                )  # fmt: skip
            except Exception as error:  # paho lets through whatever socket, ssl and its own parsing raise
                if context is not None and context.last is not None:
                    context.last.close()
                problem = _unreachable(str(broker), str(error) or type(error).__name__)
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits
                self._loop.call_soon_threadsafe(finish, problem)

        threading.Thread(target=work, name=f"mqtt connect {broker}", daemon=True).start()
        return await done

    def _make(self, will: Will | None) -> paho.Client:
        wanted = self.connection
        five = wanted.version == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            wanted.client_id,
            clean_session=None if five else wanted.session_s == 0,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            transport="websockets" if wanted.transport == "websockets" else "tcp",
            reconnect_on_failure=False,
        )
        client.connect_timeout = wanted.connect_timeout_ms / 1000
        client.max_inflight_messages_set(ORDER_INFLIGHT)
        if wanted.transport == "websockets":
            client.ws_set_options(path=wanted.path)
        if wanted.user:
            client.username_pw_set(wanted.user, _password(wanted.password_file))
        self._tls = tls_context(wanted) if wanted.tls else None
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._connack
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        client.on_socket_register_write = self._want_write
        client.on_socket_close = self._socket_closes
        return client

    async def _live(self) -> None:
        """Until the connection is gone."""
        while not self._closed.is_set():
            # Not wait_for: before Python 3.12 it may lose a cancellation that comes with the result.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MISC_S):
                    await self._closed.wait()
            if not self._closed.is_set() and self._client is not None:
                self._guarded(self._client.loop_misc)
        self.connected = False

    # ------------------------------------------------------------ sockets

    def _watch(self, client: paho.Client) -> None:
        sock = client.socket()
        if sock is None:
            self._end(_lost("the broker closed at once"))
            return
        self._fd = sock.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self._want_write(client, None, None)

    def _readable(self) -> None:
        client = self._client
        if client is None:
            return
        for _ in range(READS_MAX):
            self._guarded(client.loop_read)
            sock: Any = client.socket() if self._fd >= 0 else None
            # What TLS has decrypted already makes no descriptor readable.
            if sock is None or not hasattr(sock, "pending") or not sock.pending():
                return

    def _want_write(self, client: paho.Client, _userdata: Any, _sock: Any) -> None:
        """Called by paho; also in the connecting thread, when the descriptor is not watched yet."""
        if self._fd >= 0 and client is self._client and not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        client = self._client
        if client is None:
            return
        self._guarded(client.loop_write)
        if self._writing and not client.want_write():
            self._writing = False
            self._loop.remove_writer(self._fd)

    def _guarded(self, step: Callable[[], Any]) -> None:
        """A step of paho on bytes of a broker that may be broken or hostile."""
        try:
            result = step()
        except Exception as error:
            self._end(_lost(f"not understood: {type(error).__name__}: {error}"))
            return
        if result not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            self._end(_lost(paho.error_string(result)))

    def _socket_closes(self, client: paho.Client, _userdata: Any, _sock: Any) -> None:
        if client is self._client and self._fd >= 0:
            self._unwatch()

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd, self._writing = -1, False

    def _end(self, problem: Problem) -> None:
        """The connection is over, whether or not it ever was one."""
        self._unwatch()
        self.connected = False
        self._lost = self._lost or problem
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(problem)
        self._closed.set()

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._unwatch()
        self.connected = False
        if client is not None:
            client.on_disconnect = client.on_socket_close = None
            sock: Any = client.socket()
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.close()

    # ------------------------------------------------------------ what paho tells

    def _connack(self, client: paho.Client, _u: Any, flags: Any, reason: ReasonCode, _p: Any) -> None:
        if client is not self._client or self._answer is None or self._answer.done():
            return
        if reason.is_failure:
            self._answer.set_result(_refused(self.broker, str(reason)))
            return
        self.connected = True
        self._lost = None
        self._answer.set_result(None)
        self._on_up(bool(flags.session_present))

    def _disconnected(self, client: paho.Client, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        if client is self._client:
            self._end(_lost(str(reason)))

    def _message(self, client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:  # MQTT 5.0 §1.5.4: a broker must not forward it; ours to ignore
            return
        if client is self._client:
            self._on_message(topic, bytes(message.payload), message.retain)

    def _published(self, client: paho.Client, _u: Any, mid: int, _r: Any, _p: Any) -> None:
        if client is self._client:
            self.waiting = max(self.waiting - 1, 0)
            if self._on_sent is not None:
                self._on_sent(mid)


def tls_context(connection: Connection) -> _TlsContext:
    """TLS 1.2 or newer, the broker's certificate and name always checked. Raises OSError for unusable files."""
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    if connection.tls_ca:
        context.load_verify_locations(connection.tls_ca)
    else:
        context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if connection.tls_certificate:
        context.load_cert_chain(connection.tls_certificate, connection.tls_key or None)
    return context


def _password(path: str) -> str | None:
    return Path(path).read_text(encoding="utf-8").rstrip("\r\n") if path else None


def _connect_properties(connection: Connection) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no annotation
    properties.SessionExpiryInterval = connection.session_s
    return properties


def _unreachable(broker: str, found: str) -> Problem:
    return Problem(
        "MQ2001",
        f"the MQTT broker {broker} cannot be reached",
        found=found,
        remedy="check address, port, TLS files and firewall; it is tried again",
    )


def _refused(broker: str, found: str) -> Problem:
    return Problem(
        "MQ2002",
        f"the MQTT broker {broker} refused the connection",
        found=found,
        remedy="check user, password file, client id and MQTT version",
    )


def _lost(found: str) -> Problem:
    return Problem("MQ2004", "the connection to the MQTT broker was lost", found=found)
