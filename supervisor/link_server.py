"""The supervisor's end of the link: enrolment and the WebSocket that each runtime dials.

States of a connection: challenged -> identified -> described; a frame out of turn ends it. What a runtime may send is
bounded (frame size by the server, columns by ``node_state.unpack``, unread frames by back-pressure); what we send is
queued per link, so a slow runtime delays nobody, and one whose queue is full is cut.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlite_utils import Database
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from runtime.link import (
    LINK_VERSION,
    Alarms,
    AlarmTable,
    Batch,
    Challenge,
    CommandResult,
    Committed,
    DeployState,
    Describe,
    Down,
    EnrolReply,
    EnrolRequest,
    Fetched,
    Hello,
    Journal,
    Refused,
    Status,
    Welcome,
    decode_up,
    encode,
)
from scan.problem import TickworkError, fail
from supervisor import audit
from supervisor.alarms import AlarmService
from supervisor.commands import CommandService
from supervisor.config_store import ConfigStore, one
from supervisor.deployments import DeploymentService
from supervisor.fleet import FleetService, check_node_name
from supervisor.keys import use_enrolment_token
from supervisor.model import Actor, Role
from supervisor.node_state import NodeState
from supervisor.problems import exists_already, not_understood
from supervisor.recordings import RecordingService
from supervisor.secrets_store import digest_of

HELLO_TIMEOUT_S = 10
SILENT_S = 5  # status comes about once a second: after this the values are shown as stale
DEAD_S = 20  # and after this the connection is cut
OUTBOX_FRAMES_MAX = 200
ENROL_BODY_MAX = 4096
CLOSE_REPLACED, CLOSE_PROTOCOL, CLOSE_REFUSED, CLOSE_SLOW = 4001, 4002, 4003, 4004

log = logging.getLogger("tickwork.supervisor.link")


class LinkServer:
    """Endpoints ``enrol`` and ``websocket``. Construct on the event loop."""

    def __init__(
        self,
        store: ConfigStore,
        fleet: FleetService,
        commands: CommandService,
        deployments: DeploymentService,
        alarms: AlarmService,
        recordings: RecordingService,
        mark_of: Callable[[str, str], int],
        public_key: str,
        now_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self.fleet = fleet
        self.commands = commands
        self.deployments = deployments
        self.alarms = alarms
        self.recordings = recordings
        self.mark_of = mark_of
        self._public_key = public_key
        self.now_ns = now_ns

    # ------------------------------------------------------------ enrolment

    async def enrol(self, request: Request) -> Response:
        """``EnrolRequest`` as JSON in, ``EnrolReply`` out. A repeat with the same token and key gives the same id."""
        body = await request.body()
        if len(body) > ENROL_BODY_MAX:
            raise fail(
                "SV1007", "the enrolment request is too large", expected=f"at most {ENROL_BODY_MAX} bytes"
            )
        try:
            asked = msgspec.json.decode(body, type=EnrolRequest)
        except msgspec.DecodeError as error:
            raise not_understood("an EnrolRequest of runtime.link as JSON", error) from error
        check_node_name(asked.node)
        key_of(asked.public_key)
        address = request.client.host if request.client else ""
        node_id = await self._store.run(lambda db: self._enrol(db, asked, address))
        await self.fleet.enrolled(node_id)
        reply = EnrolReply(node_id, self._public_key)
        return Response(msgspec.json.encode(reply), media_type="application/json")

    def _enrol(self, db: Database, asked: EnrolRequest, address: str) -> str:
        now = self.now_ns()
        same = one(
            db,
            "SELECT n.node_id FROM node n JOIN enrolment_token t ON t.used_by=n.node_id "
            "WHERE n.name=? AND n.public_key=? AND t.digest=? AND n.revoked_ns=0",
            asked.node, asked.public_key, digest_of(asked.token),
        )  # fmt: skip
        if same:
            return str(same["node_id"])
        node_id = "n" + secrets.token_hex(8)
        by = use_enrolment_token(db, asked.token, asked.node, node_id, now)
        if one(db, "SELECT 1 AS found FROM node WHERE name=?", asked.node):
            raise exists_already("runtime", asked.node)
        db.table("node").insert(
            {"node_id": node_id, "name": asked.node, "public_key": asked.public_key, "version": asked.version[:64],
             "enrolled_ns": now}
        )  # fmt: skip
        actor = Actor(f"node {asked.node}", Role.VIEWER, "system", address)
        audit.record(db, actor, "runtime.enrol", f"runtime {asked.node}", now_ns=now, new=node_id,
                     reason=f"token of {by}")  # fmt: skip
        return node_id

    # ------------------------------------------------------------ the link

    async def websocket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        session = LinkSession(self, websocket)
        try:
            await session.run()
        except TickworkError as error:
            log.warning("link of %s: %s", session.name, error)
            await session.refuse(error)
        except (WebSocketDisconnect, ConnectionError, RuntimeError):
            pass  # the runtime went away; a frame on a closed socket is a RuntimeError of the server
        finally:
            await session.end()


class LinkSession:
    """One connection. ``fleet.Link`` for those who send."""

    def __init__(self, server: LinkServer, websocket: WebSocket) -> None:
        self._server = server
        self._websocket = websocket
        self._node: NodeState | None = None
        self._boot = ""
        self._outbox: deque[Down] = deque()
        self._committed = 0
        self._told = 0
        self._wake = asyncio.Event()
        self._cut: tuple[int, str] | None = None
        self._heard_s = time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        return self._node.name if self._node else "a runtime that is not identified"

    # ------------------------------------------------------------ for senders

    def committed(self, seq: int) -> None:
        self._committed = max(self._committed, seq)
        self._wake.set()

    def send(self, message: Down) -> None:
        if len(self._outbox) >= OUTBOX_FRAMES_MAX:
            self.cut(CLOSE_SLOW, "the runtime reads too slowly")
            return
        self._outbox.append(message)
        self._wake.set()

    def cut(self, code: int, reason: str) -> None:
        self._cut = self._cut or (code, reason)
        self._wake.set()

    # ------------------------------------------------------------ the conversation

    async def run(self) -> None:
        node = await self._identify()
        self._node = node
        link_up = self._server.fleet
        await link_up.connected(node, self, self._address(), node.clock_offset_ns)
        self._tasks = [
            asyncio.create_task(self._send_loop(), name=f"link-send {node.name}"),
            asyncio.create_task(self._watch(node), name=f"link-watch {node.name}"),
        ]
        while True:
            message = decode_up(await self._receive())
            self._heard_s = time.monotonic()
            link_up.heard(node)
            await self._take(node, message)

    def _address(self) -> str:
        client = self._websocket.client
        return client.host if client else ""

    async def _receive(self) -> bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        frame = message.get("bytes")
        if frame is None:
            raise _broken("a text frame")
        return bytes(frame)

    async def _identify(self) -> NodeState:
        nonce = secrets.token_bytes(32)
        await self._websocket.send_bytes(encode(Challenge(nonce, self._server.now_ns())))
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = decode_up(await self._receive())
        except TimeoutError as error:
            raise _broken("nothing") from error
        if not isinstance(hello, Hello):
            raise _broken(type(hello).__name__)
        node = self._known(hello)
        try:
            key_of(node.public_key).verify(
                hello.signature, b"tickwork-link-1" + nonce + hello.node_id.encode()
            )
        except InvalidSignature as error:
            raise fail(
                "SV3003",
                "the runtime's signature does not fit its key",
                found=f"runtime {node.name}",
                remedy="enrol the runtime anew if its identity folder was replaced; otherwise somebody imitates it",
            ) from error
        self._boot = hello.boot[:64]
        now = self._server.now_ns()
        node.clock_offset_ns = hello.time_ns - now
        self._committed = self._told = self._server.mark_of(node.node_id, self._boot)
        await self._websocket.send_bytes(encode(Welcome(self._committed, now)))
        return node

    def _known(self, hello: Hello) -> NodeState:
        if hello.version != LINK_VERSION:
            raise _broken(f"link version {hello.version}")
        node = self._server.fleet.bus.nodes.get(hello.node_id)
        if node is None or node.link == "revoked":
            raise fail(
                "SV3002",
                "this runtime is not enrolled here, or was revoked",
                found=hello.node_id[:64],
                remedy="enrol it with a new token",
            )
        return node

    async def _take(self, node: NodeState, message: object) -> None:
        fleet = self._server.fleet
        match message:
            case Batch():
                await fleet.batch(node, self._boot, message, self)
            case Journal():
                await fleet.journal(node, self._boot, message, self)
            case Alarms():
                await self._server.alarms.arrived(node, self._boot, message, self)
            case AlarmTable():
                await self._server.alarms.told(node, message)
            case Status():
                fleet.status(node, message)
                await self._server.deployments.reported(node, message)
            case Describe():
                await fleet.described(node, message)
            case CommandResult():
                await self._server.commands.result(node.node_id, message)
            case DeployState():
                await self._server.deployments.progressed(node.node_id, message)
            case Fetched():
                self._server.recordings.fetched(node.node_id, message)
            case _:
                raise _broken(type(message).__name__)

    async def _send_loop(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._cut:
                    code, reason = self._cut
                    await self._websocket.close(code, reason)
                    return
                if self._committed > self._told:
                    self._told = self._committed
                    await self._websocket.send_bytes(encode(Committed(self._told)))
                while self._outbox:
                    await self._websocket.send_bytes(encode(self._outbox.popleft()))
        except (WebSocketDisconnect, ConnectionError, RuntimeError):
            pass  # the reading side notices the same and ends the session

    async def _watch(self, node: NodeState) -> None:
        while True:
            await asyncio.sleep(1)
            quiet_s = time.monotonic() - self._heard_s
            if quiet_s > SILENT_S:
                self._server.fleet.silent(node)
            if quiet_s > DEAD_S:
                self.cut(CLOSE_PROTOCOL, "nothing was heard for too long")

    async def refuse(self, error: TickworkError) -> None:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await self._websocket.send_bytes(encode(Refused(error.problems[0])))
                await self._websocket.close(CLOSE_REFUSED, error.code)
        except (WebSocketDisconnect, ConnectionError, RuntimeError, TimeoutError):
            pass  # it did not wait for the reason

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._node is not None:
            await self._server.fleet.disconnected(self._node, self)


def key_of(public_key: str) -> Ed25519PublicKey:
    """Raises TickworkError SV1001 when the text is no Ed25519 public key in base64."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
    except (ValueError, binascii.Error) as error:
        raise not_understood("an Ed25519 public key of 32 bytes in base64", public_key[:80]) from error


def _broken(found: str) -> TickworkError:
    return fail(
        "SV3004",
        "the runtime does not follow the link's protocol",
        expected=f"the messages of link version {LINK_VERSION} in their order",
        found=found,
        remedy="bring runtime and supervisor to the same version of tickwork",
    )
