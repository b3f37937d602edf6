"""Secure channel and session layer of the server, stricter than asyncua's own.

Rules, each with a test of its own:
* a client certificate is judged when the secure channel opens, by the certificate of that very channel;
* a session belongs to the channel certificate it was created with, and is found by an unguessable token only;
* each request carries the token of an activated session that belongs to this connection;
* a refused activation leaves the connection without a session;
* a chunk that announces more than the negotiated size ends the connection before it is buffered;
* servers do not register here.

Built on internals of asyncua 2.1 (``UaProcessor._process_message``, ``OPCUAProtocol.data_received``); the contract test
fails when one of them moves.
"""

from __future__ import annotations

import hmac
import struct
from typing import Any

import structlog
from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_from_binary

log = structlog.get_logger("tickwork.opcua")

CHUNK_SIZE_MAX = 65_535
MESSAGE_SIZE_MAX = (
    4 * 1024 * 1024
)  # OPC 10000-7: a server need not take more; larger requests are split by clients
CHUNK_COUNT_MAX = MESSAGE_SIZE_MAX // CHUNK_SIZE_MAX + 1
_HEADER = struct.Struct("<3scI")
_IDS = ua.ObjectIds


def _request(name: str) -> ua.NodeId:
    return ua.NodeId(getattr(_IDS, f"{name}Request_Encoding_DefaultBinary"))


_CREATE, _ACTIVATE = _request("CreateSession"), _request("ActivateSession")
_WITHOUT_SESSION = {
    _CREATE,
    _ACTIVATE,
    _request("FindServers"),
    _request("GetEndpoints"),
    _request("CloseSecureChannel"),
}
_CLOSE, _DELETE = _request("CloseSession"), _request("DeleteSubscriptions")
_UNSUPPORTED = {_request("RegisterServer"), _request("RegisterServer2")}


def limits() -> TransportLimits:
    return TransportLimits(
        max_recv_buffer=CHUNK_SIZE_MAX,
        max_send_buffer=CHUNK_SIZE_MAX,
        max_chunk_count=CHUNK_COUNT_MAX,
        max_message_size=MESSAGE_SIZE_MAX,
    )


class _Processor(UaProcessor):
    """One connection's requests."""

    session: Any

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Any) -> None:
        certificate = algohdr.SenderCertificate
        if self._connection.is_open():
            if certificate != self._connection.security_policy.peer_certificate:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        elif certificate:
            # Before anything of the request is looked at: an unknown client learns nothing.
            self.iserver.judge_certificate(certificate)
        super().open_secure_channel(algohdr, seqhdr, body)

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if typeid in _UNSUPPORTED:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        if typeid == _CREATE:
            return await self._create(typeid, requesthdr, seqhdr, body)
        if typeid == _ACTIVATE:
            return await self._activate(typeid, requesthdr, seqhdr, body)
        if typeid not in _WITHOUT_SESSION:
            self._require_session(requesthdr.AuthenticationToken)
        if typeid == _CLOSE:
            self._answer_publish_requests(ua.StatusCodes.BadSessionClosed)
        result = await super()._process_message(typeid, requesthdr, seqhdr, body)
        if typeid == _DELETE and not self._has_subscriptions():
            # Clients wait for their outstanding requests before they close (OPC 10000-4 §5.14.5).
            self._answer_publish_requests(ua.StatusCodes.BadNoSubscription)
        return result

    def _has_subscriptions(self) -> bool:
        subscriptions = self.iserver.subscription_service.subscriptions.values()
        return any(one.session_id == self.session.session_id for one in subscriptions)

    def _answer_publish_requests(self, code: int) -> None:
        while self._publish_requests:
            waiting = self._publish_requests.popleft()
            response = ua.ServiceFault()
            response.ResponseHeader.ServiceResult = ua.StatusCode(code)
            self.send_response(waiting.requesthdr.RequestHandle, waiting.seqhdr, response)

    async def _create(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if self.session is not None:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        parameters = struct_from_binary(ua.CreateSessionParameters, body.copy())
        channel = self._connection.security_policy.peer_certificate
        if channel and parameters.ClientCertificate != channel:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        result = await super()._process_message(typeid, requesthdr, seqhdr, body)
        if self.session is not None:
            self.session.channel_certificate = channel
        return result

    async def _activate(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        before = self.session
        session = before or self.iserver.lookup_external_session(requesthdr.AuthenticationToken)
        if session is None or not _same(session.auth_token, requesthdr.AuthenticationToken):
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if session.channel_certificate != self._connection.security_policy.peer_certificate:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        try:
            return await super()._process_message(typeid, requesthdr, seqhdr, body)
        except BaseException:
            self.session = before
            log.warning("session activation refused", peer=str(self.name))
            raise

    def _require_session(self, token: Any) -> None:
        session = self.session
        if session is None or not _same(session.auth_token, token):
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if not session.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)


def _same(one: Any, other: Any) -> bool:
    """Compare tokens in constant time; another kind of NodeId is another token."""
    if one.NodeIdType != other.NodeIdType or one.NamespaceIndex != other.NamespaceIndex:
        return False
    return isinstance(other.Identifier, bytes) and hmac.compare_digest(one.Identifier, other.Identifier)


class _Protocol(OPCUAProtocol):
    processor: Any

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = _Processor(self.iserver, self.transport, self.limits)
            self.processor.set_policies(self.policies)

    def data_received(self, data: bytes) -> None:
        head = (self._buffer + data[: _HEADER.size])[: _HEADER.size]
        if len(head) == _HEADER.size:
            size = _HEADER.unpack(head)[2]
            if not _HEADER.size <= size <= CHUNK_SIZE_MAX:
                log.warning("connection closed: chunk too large", peer=str(self.peer_name), size=size)
                if self.transport is not None:
                    self.transport.abort()
                return
        if self.transport is not None and not self.transport.is_closing():
            super().data_received(data)


class _BinaryServer(BinaryServer):
    def _make_protocol(self) -> _Protocol:
        return _Protocol(
            iserver=self.iserver,
            policies=self._policies,
            clients=self.clients,
            closing_tasks=self.closing_tasks,
            limits=self.limits,
        )


class StrictServer(Server):
    """asyncua's server that listens with the layer above."""

    async def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self._get_bind_socket_info()
        self.bserver = _BinaryServer(self.iserver, host, port, limits())
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except OSError:
            await self.iserver.stop()
            raise
