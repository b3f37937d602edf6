"""Connections and secure channels of the server, stricter than asyncua's own.

Rules, each with a test of its own:
* a client certificate is judged when the secure channel opens, by the certificate of that very channel;
* a session is created for, and activated by, channels with one certificate only (``sessions``);
* each request carries the token of an activated session that belongs to this connection;
* a refused activation leaves the connection without a session;
* a frame that announces more than is allowed ends the connection before it is buffered, and before a session is
  active messages are small;
* who is slow to read is not read from; who is not activated in time, or silent, is cut off;
* what does not decode is answered with a fault or ends the connection, nothing else;
* servers do not register here.

Built on internals of asyncua 2.1; ``tests/drivers/opcua/test_contract.py`` fails when one of them moves.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import struct
import time
from typing import Any

import structlog
from asyncua import Server, ua
from asyncua.common.utils import NotEnoughData, ServiceError
from asyncua.server.binary_server_asyncio import BinaryServer
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, uatcp_to_binary

from scan.problem import TickworkError

from .certificates import CertificateFiles, leaf_of, own_certificate
from .listener import Listener, limits

log = structlog.get_logger("tickwork.opcua")
logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # a stranger could fill the disk with its tracebacks

UNAUTHENTICATED_SIZE_MAX = 131_072  # of a message before a session is active: two frames
BUFFER_SIZE_MIN = 8192  # OPC 10000-6 §7.1.2.3
LIFETIME_MS_MIN, LIFETIME_MS_MAX = 10_000, 3_600_000
NONCE_SIZE_MIN = 32
_IDS = ua.ObjectIds
_DECODE_ERRORS = (
    NotEnoughData, struct.error, UnicodeDecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, RecursionError,
)  # fmt: skip


def _request(name: str) -> ua.NodeId:
    return ua.NodeId(getattr(_IDS, f"{name}Request_Encoding_DefaultBinary"))


_CREATE, _ACTIVATE = _request("CreateSession"), _request("ActivateSession")
_WITHOUT_SESSION = {
    _request("FindServers"),
    _request("GetEndpoints"),
    _request("CloseSecureChannel"),
}
_CLOSE, _DELETE = _request("CloseSession"), _request("DeleteSubscriptions")
_UNSUPPORTED = {_request("RegisterServer"), _request("RegisterServer2")}


class Processor(UaProcessor):
    """One connection's requests."""

    session: Any
    _session_watchdog_task: Any
    expires_s = float("inf")  # monotonic: when the channel has to be renewed at the latest

    # ------------------------------------------------------------ transport and channel

    async def process(self, header: Any, body: Any) -> bool:
        """False ends the connection."""
        try:
            self._check_order(header)
            goes_on = bool(await super().process(header, body))
            if header.MessageType == ua.MessageType.Hello:
                self._limits.max_message_size = UNAUTHENTICATED_SIZE_MAX
            return goes_on
        except (ServiceError, ua.UaStatusCodeError) as error:
            code = error.code
        except Exception as error:
            log.debug("frame refused", peer=str(self.name), error=repr(error))
            code = ua.StatusCodes.BadSecurityChecksFailed
        self._refuse(code)
        return False

    def _check_order(self, header: Any) -> None:
        """Hello first and once, then the channel, then messages (OPC 10000-6 §7.1.3)."""
        kind, first = header.MessageType, self._greeted is False
        if first != (kind == ua.MessageType.Hello):
            raise ServiceError(ua.StatusCodes.BadTcpMessageTypeInvalid)
        self._greeted = True
        if (
            kind in (ua.MessageType.SecureMessage, ua.MessageType.SecureClose)
            and not self._connection.is_open()
        ):
            raise ServiceError(ua.StatusCodes.BadTcpSecureChannelUnknown)

    _greeted = False

    def _refuse(self, code: int) -> None:
        """The peer learns a code and nothing else."""
        self._note_failure()
        error = ua.ErrorMessage(ua.StatusCode(code), "")
        self._transport.write(uatcp_to_binary(ua.MessageType.Error, error))

    def _note_failure(self) -> None:
        self.iserver.guard.failed(self.name[0] if self.name else "")

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Any) -> None:
        request = struct_from_binary(ua.OpenSecureChannelRequest, body)
        wanted = request.Parameters
        renewal = wanted.RequestType == ua.SecurityTokenRequestType.Renew
        if renewal != self._connection.is_open():
            raise ServiceError(ua.StatusCodes.BadTcpSecureChannelUnknown)
        if renewal:
            self._check_renewal(algohdr, wanted)
        else:
            self._select(algohdr, wanted)
        policy = self._connection.security_policy
        nonce = wanted.ClientNonce or b""
        if len(nonce) < policy.secure_channel_nonce_length:
            raise ServiceError(ua.StatusCodes.BadNonceInvalid)
        wanted.RequestedLifetime = min(max(wanted.RequestedLifetime, LIFETIME_MS_MIN), LIFETIME_MS_MAX)
        response = ua.OpenSecureChannelResponse()
        response.Parameters = self._connection.open(wanted, self.iserver)
        # Until 125 % of its lifetime a token is accepted (OPC 10000-4 §5.5.2.1).
        self.expires_s = time.monotonic() + 1.25 * wanted.RequestedLifetime / 1000
        self.send_response(request.RequestHeader.RequestHandle, seqhdr, response, ua.MessageType.SecureOpen)

    def _select(self, algohdr: Any, wanted: Any) -> None:
        certificate = leaf_of(algohdr.SenderCertificate or b"")
        if certificate:
            # Before the request has any effect: an unknown client learns nothing.
            self.iserver.judge_certificate(certificate)
        self._connection.select_policy(algohdr.SecurityPolicyURI, certificate or None, wanted.SecurityMode)

    def _check_renewal(self, algohdr: Any, wanted: Any) -> None:
        policy = self._connection.security_policy
        same = leaf_of(algohdr.SenderCertificate or b"") == (policy.peer_certificate or b"")
        if not same or algohdr.SecurityPolicyURI != policy.URI or wanted.SecurityMode != policy.Mode:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)

    # ------------------------------------------------------------ requests

    async def process_message(self, seqhdr: Any, body: Any) -> bool:
        kind = nodeid_from_binary(body)
        header = struct_from_binary(ua.RequestHeader, body)
        try:
            return bool(await self._process_message(kind, header, seqhdr, body))
        except (ServiceError, ua.UaStatusCodeError) as error:
            code = error.code
        except _DECODE_ERRORS as error:
            log.warning(
                "request refused", peer=str(self.name), request=str(kind.Identifier), error=repr(error)[:200]
            )
            code = ua.StatusCodes.BadDecodingError
        except Exception:
            log.exception("request failed", peer=str(self.name), request=str(kind.Identifier))
            code = ua.StatusCodes.BadInternalError
        if self.session is None or not self.session.is_activated():
            self._note_failure()
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(code)
        self.send_response(header.RequestHandle, seqhdr, fault)
        return True

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if typeid in _UNSUPPORTED:
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)
        if typeid == _CREATE:
            return await self._create(typeid, requesthdr, seqhdr, body)
        if typeid == _ACTIVATE:
            return self._activate(requesthdr, seqhdr, body)
        if typeid not in _WITHOUT_SESSION:
            self._require_session(requesthdr.AuthenticationToken)
        handler = self.iserver.services.get(typeid)
        if handler is not None:
            self.session_last_activity = time.monotonic()
            self.session.touch()
            answer = await handler(self, requesthdr, body)
            if isinstance(answer, bytes):
                self._send_packed(seqhdr, answer)
            else:
                self.send_response(requesthdr.RequestHandle, seqhdr, answer)
            return True
        if typeid == _CLOSE:
            self._answer_publish_requests(ua.StatusCodes.BadSessionClosed)
        result = await super()._process_message(typeid, requesthdr, seqhdr, body)
        if typeid == _CLOSE:
            self.session = None
        elif typeid == _DELETE and not self._has_subscriptions():
            # Clients wait for their outstanding requests before they close (OPC 10000-4 §5.14.5).
            self._answer_publish_requests(ua.StatusCodes.BadNoSubscription)
        return result

    def _send_packed(self, seqhdr: Any, response: bytes) -> None:
        """A response that its handler has encoded."""
        kind = ua.MessageType.SecureMessage
        self._transport.write(
            self._connection.message_to_binary(response, message_type=kind, request_id=seqhdr.RequestId)
        )

    def cancel_publish(self, handle: int) -> int:
        """Ends the waiting Publish requests with this handle; how many there were."""
        waiting = [one for one in self._publish_requests if one.requesthdr.RequestHandle == handle]
        for one in waiting:
            self._publish_requests.remove(one)
            response = ua.ServiceFault()
            response.ResponseHeader.ServiceResult = ua.StatusCode(ua.StatusCodes.BadRequestCancelledByClient)
            self.send_response(handle, one.seqhdr, response)
        return len(waiting)

    def _has_subscriptions(self) -> bool:
        subscriptions = self.iserver.subscription_service.subscriptions.values()
        return any(one.session_id == self.session.session_id for one in subscriptions)

    def _answer_publish_requests(self, code: int) -> None:
        while self._publish_requests:
            waiting = self._publish_requests.popleft()
            response = ua.ServiceFault()
            response.ResponseHeader.ServiceResult = ua.StatusCode(code)
            self.send_response(waiting.requesthdr.RequestHandle, waiting.seqhdr, response)

    # ------------------------------------------------------------ session

    async def _create(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> Any:
        if self.session is not None:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        policy = self._connection.security_policy
        # Endpoints may be asked for without security, sessions not unless an administrator said so.
        if not self.iserver.offers(policy.URI):
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        parameters = struct_from_binary(ua.CreateSessionParameters, body.copy())
        channel = policy.peer_certificate
        if channel and leaf_of(parameters.ClientCertificate or b"") != channel:
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
        if channel and len(parameters.ClientNonce or b"") < NONCE_SIZE_MIN:
            raise ServiceError(ua.StatusCodes.BadNonceInvalid)
        result = await super()._process_message(typeid, requesthdr, seqhdr, body)
        if self.session is not None:
            self.session.channel_certificate = channel
            self.session.processor = self
            self.session.encrypted = policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
        return result

    def _activate(self, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        """ActivateSession, here or on another connection than before (OPC 10000-4 §5.6.3)."""
        before, self.session = self.session, None
        session = before or self.iserver.lookup_external_session(requesthdr.AuthenticationToken)
        if session is None or not _same(session.auth_token, requesthdr.AuthenticationToken):
            self.session = before
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        policy = self._connection.security_policy
        parameters = struct_from_binary(ua.ActivateSessionParameters, body)
        try:
            if session.channel_certificate != policy.peer_certificate:
                raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)
            self._verify_signature(session, parameters.ClientSignature)
            session.encrypted = policy.Mode == ua.MessageSecurityMode.SignAndEncrypt
            result = session.activate_session(parameters, policy.peer_certificate)
        except Exception:
            self.session = before
            log.warning("session activation refused", peer=str(self.name))
            raise
        self._attach(session)
        response = ua.ActivateSessionResponse()
        response.Parameters = result
        self.send_response(requesthdr.RequestHandle, seqhdr, response)
        return True

    def _verify_signature(self, session: Any, signature: Any) -> None:
        policy = self._connection.security_policy
        data = (policy.host_certificate or b"") + session.nonce
        try:
            policy.asymmetric_cryptography.verify(data, signature.Signature)
        except Exception as error:
            raise ServiceError(ua.StatusCodes.BadApplicationSignatureInvalid) from error

    def _attach(self, session: Any) -> None:
        """The session is this connection's; the one that had it has none."""
        other = session.processor
        if other is not None and other is not self:
            other.session = None
            other._answer_publish_requests(ua.StatusCodes.BadSessionClosed)
        self.session = session
        session.processor = self
        self.session_last_activity = time.monotonic()
        self._closing = False
        self._limits.max_message_size = limits().max_message_size
        self.iserver.guard.succeeded(self.name[0] if self.name else "")
        if self._session_watchdog_task is None or self._session_watchdog_task.done():
            self._session_watchdog_task = asyncio.create_task(self._session_watchdog_loop())
        for subscription in self.iserver.subscription_service.subscriptions.values():
            if subscription.session_id == session.session_id:
                subscription.pub_result_callback = self.forward_publish_response
                subscription.pub_request_callback = self.get_publish_request

    def _require_session(self, token: Any) -> None:
        session = self.session
        if session is None or not _same(session.auth_token, token) or session.processor is not self:
            raise ServiceError(ua.StatusCodes.BadSessionIdInvalid)
        if not session.is_activated():
            raise ServiceError(ua.StatusCodes.BadSessionNotActivated)

    @property
    def is_active(self) -> bool:
        return self.session is not None and self.session.is_activated()


def _same(one: Any, other: Any) -> bool:
    """Compare tokens in constant time; another kind of NodeId is another token."""
    if one.NodeIdType != other.NodeIdType or one.NamespaceIndex != other.NamespaceIndex:
        return False
    return isinstance(other.Identifier, bytes) and hmac.compare_digest(one.Identifier, other.Identifier)


class StrictServer(Server):
    """asyncua's server that listens with the layer above."""

    _identity: CertificateFiles | None = None
    _identity_stamp: tuple[int, ...] = ()

    async def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self._get_bind_socket_info()
        self.bserver: BinaryServer = Listener(self.iserver, host, port, Processor)
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except OSError:
            await self.iserver.stop()
            raise

    def _set_endpoints(self, policy: Any, mode: Any, level: int) -> None:
        super()._set_endpoints(policy, mode, level)
        for token in self.iserver.endpoints[-1].UserIdentityTokens:
            # A password is encrypted for us even where the channel hides it: strict clients send none otherwise.
            if token.TokenType == ua.UserTokenType.UserName and mode != ua.MessageSecurityMode.None_:
                token.SecurityPolicyUri = policy.URI
            # One name for each meaning (OPC 10000-4 §7.42).
            token.PolicyId = f"{token.PolicyId}-{token.SecurityPolicyUri.rpartition('#')[2]}"

    async def load_identity(self, files: CertificateFiles) -> None:
        """Certificate and key. Raises OSError, ValueError."""
        self._identity, self._identity_stamp = files, _stamp(files)
        await self.load_certificate(files.certificate)
        await self.load_private_key(files.key)

    async def follow_identity(self) -> bool:
        """Takes a renewed certificate for connections that come from now on; True when there was one."""
        files = self._identity
        if files is None or _stamp(files) == self._identity_stamp:
            return False
        try:
            own_certificate(files)
        except TickworkError:  # between the two files of a renewal
            return False
        await self.load_identity(files)
        self.iserver.endpoints.clear()
        self._policies.clear()  # the listener holds this very list
        await self._setup_server_nodes()
        log.info("certificate renewed", file=str(files.certificate))
        return True


def _stamp(files: CertificateFiles) -> tuple[int, ...]:
    try:
        return (files.certificate.stat().st_mtime_ns, files.key.stat().st_mtime_ns)
    except OSError:
        return ()


__all__ = ["Processor", "StrictServer"]
