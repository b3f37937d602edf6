"""Sessions and who they belong to, on top of asyncua's core.

A session is found by an unguessable token only, belongs to the channel that activated it, to the certificate it was
created with and to the user who activated it first; passwords and signatures of users are bound to its nonce.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from cryptography.exceptions import InvalidSignature

from .certificates import TrustList, leaf_of, local_addresses
from .guard import Guard
from .users import TokenCertificate, UserManager

SESSIONS_MAX = 50
CONNECTIONS_MAX = 100
TOKEN_BYTES = 32
_OAEP = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
_OAEP_SHA256 = "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256"
_DECRYPT = {_OAEP: uacrypto.decrypt_rsa_oaep, _OAEP_SHA256: uacrypto.decrypt_rsa_oaep_sha256}
_VERIFY = {
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": uacrypto.verify_sha256,
    "http://opcfoundation.org/UA/security/rsa-pss-sha2-256": uacrypto.verify_pss_sha256,
}


class StrictSession(InternalSession):
    """A session that stays with its user. ``processor`` is the connection that may use it."""

    processor: Any = None
    user: Any
    channel_certificate: bytes | None = None
    encrypted = False  # the channel hides what is sent

    def activate_session(self, params: Any, peer_certificate: bytes | None) -> Any:
        before = self.user if self.is_activated() else None
        result = super().activate_session(params, peer_certificate)
        if before is not None and before.name != self.user.name:
            self.user = before
            raise ServiceError(ua.StatusCodes.BadIdentityChangeNotSupported)
        return result


class StrictCore(InternalServer):
    """asyncua's core without remote administration, with the rules above. ``services`` answers further requests."""

    session_type: type[StrictSession] = StrictSession

    def __init__(self, users: UserManager, trust: TrustList | None) -> None:
        super().__init__(user_manager=users)
        self._trust = trust
        self.guard = Guard()
        self.services: dict[Any, Any] = {}
        self.allow_remote_admin = False
        self.max_connections = CONNECTIONS_MAX
        self.max_pending_activation_seconds = 0  # the listener looks after this itself

    def judge_certificate(self, certificate: bytes) -> None:
        """Raises ServiceError unless an administrator trusts the certificate of a channel."""
        if self._trust is not None and not self._trust.accepts(certificate):
            raise ServiceError(ua.StatusCodes.BadSecurityChecksFailed)

    def offers(self, policy_uri: str) -> bool:
        return any(one.SecurityPolicyUri == policy_uri for one in self.endpoints)

    def create_session(self, name: Any, user: Any = None, external: bool = False) -> StrictSession:
        if len(self._external_sessions) >= SESSIONS_MAX:
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        session = self.session_type(self, self.aspace, self.subscription_service, name, external=external)
        self.unregister_external_session(session)
        session.auth_token = ua.NodeId(secrets.token_bytes(TOKEN_BYTES), 0, ua.NodeIdType.ByteString)
        self.register_external_session(session)
        return session

    def decrypt_user_token(self, isession: Any, token: Any) -> tuple[str, str]:
        """Name and password. The password must carry this session's nonce, or the channel must be encrypted."""
        if not token.EncryptionAlgorithm:
            if not isession.encrypted:
                raise ServiceError(ua.StatusCodes.BadIdentityTokenRejected)
            return token.UserName or "", (token.Password or b"").decode()
        decrypt = _DECRYPT.get(token.EncryptionAlgorithm)
        if decrypt is None:
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        plain = decrypt(self.private_key, token.Password)
        (length,) = struct.unpack_from("<I", plain)
        secret = plain[4 : 4 + length]
        nonce = isession.nonce
        if not hmac.compare_digest(secret[-len(nonce) :], nonce):
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
        return token.UserName or "", secret[: -len(nonce)].decode()

    def verify_x509_token(self, isession: Any, token: Any, signature: Any) -> TokenCertificate:
        """The certificate of a user who has proved to hold its key."""
        verify = _VERIFY.get(signature.Algorithm or "")
        if verify is None:
            raise ServiceError(ua.StatusCodes.BadSecurityPolicyRejected)
        leaf = leaf_of(token.CertificateData or b"")
        challenge = uacrypto.der_from_x509(self.certificate) + isession.nonce
        try:
            verify(uacrypto.x509_from_der(leaf), challenge, signature.Signature)
        except (InvalidSignature, uacrypto.InvalidSignature, ValueError, TypeError, AttributeError) as error:
            raise ServiceError(ua.StatusCodes.BadUserSignatureInvalid) from error
        return TokenCertificate(leaf)

    def _mangle_endpoint_url(
        self, ep_url: str, params_ep_url: str | None = None, sockname: Any = None
    ) -> str:
        return reachable_url(ep_url, params_ep_url, sockname)


def reachable_url(own: str, asked: str | None, sockname: Any) -> str:
    """Our address with the host and port by which the client reached us: behind NAT only it knows these.

    Without a usable one the address of the socket that the client came in by.
    """
    parts = urlsplit(own)
    try:
        wanted = urlsplit(asked or "")
        fits = wanted.scheme == "opc.tcp" and bool(wanted.hostname) and (wanted.port or 1) > 0
        fits = fits and "@" not in wanted.netloc and len(wanted.netloc) <= 300
    except ValueError:
        fits = False
    if fits:
        return parts._replace(netloc=wanted.netloc).geturl()
    if sockname:
        host = f"[{sockname[0]}]" if ":" in sockname[0] else sockname[0]
        return parts._replace(netloc=f"{host}:{sockname[1]}").geturl()
    return own


def advertised(host: str, port: int) -> list[str]:
    """The addresses to print for people: what to type into a client. For all interfaces the name comes first."""
    hosts = [host]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        found = local_addresses()
        hosts = [socket.gethostname(), *(one for one in found if host != "0.0.0.0" or ":" not in one)]  # noqa: S104
    return [f"opc.tcp://{f'[{one}]' if ':' in one else one}:{port}/tickwork" for one in dict.fromkeys(hosts)]
