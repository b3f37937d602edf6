"""Who a node is to its supervisor: an Ed25519 key pair made on the node, and the ids exchanged at enrolment.

The private key never leaves ``identity/`` (mode 0600). A one-time token only proves the right to enrol; afterwards the
node proves itself by signing the supervisor's challenge, and the supervisor's own key is remembered from then on.
"""

from __future__ import annotations

import base64
import pathlib
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime import link
from runtime.plant import is_loopback
from runtime.state import write_atomically
from scan.problem import Place, fail

KEY_FILE = "node.key"
ENROLMENT_FILE = "enrolment.json"
_SIGNED_PREFIX = b"tickwork-link-1"


class Enrolment(msgspec.Struct, frozen=True):
    """What the supervisor answered when this node was enrolled."""

    node_id: str
    supervisor_key: str
    url: str


class Identity:
    """The key pair in ``folder``, made at first use."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._key = _load_or_make(folder / KEY_FILE)

    @property
    def public_key(self) -> str:
        """Base64 of the raw 32 bytes."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return base64.b64encode(raw).decode("ascii")

    def enrolment(self) -> Enrolment | None:
        try:
            return msgspec.json.decode((self._folder / ENROLMENT_FILE).read_bytes(), type=Enrolment)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def remember(self, enrolment: Enrolment) -> None:
        write_atomically(self._folder / ENROLMENT_FILE, msgspec.json.encode(enrolment))

    def forget(self) -> None:
        (self._folder / ENROLMENT_FILE).unlink(missing_ok=True)

    def answer(self, challenge: link.Challenge, *, node_id: str, boot: str, time_ns: int) -> link.Hello:
        """Proves possession of the key by signing the supervisor's nonce together with the node's id."""
        signature = self._key.sign(_SIGNED_PREFIX + challenge.nonce + node_id.encode())
        return link.Hello(link.LINK_VERSION, node_id, signature, boot, time_ns)


def _load_or_make(path: pathlib.Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        raw = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        write_atomically(path, raw, mode=0o600)
        return key
    except (OSError, ValueError) as error:
        raise fail(
            "LK3001", "the node's private key cannot be read", place=Place(str(path)), expected="32 bytes",
            found=str(error), remedy="restore it from a backup, or delete it and enrol the node anew",
        ) from error  # fmt: skip


def check_url(url: str, *, allow_plain: bool) -> str:
    """The address without a slash at its end. Raises LK3002 for anything that is no http(s) address, or not safe."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise fail(
            "LK3002", "this is no address of a supervisor", expected="https://host:port", found=url,
            remedy="write the address that the supervisor's page has",
        )  # fmt: skip
    if parts.scheme == "http" and not allow_plain and not is_loopback(host):
        raise fail(
            "LK3002", "commands and values would cross the network unencrypted", expected="https://…", found=url,
            remedy="use https, or allow_plain = true in [supervisor] (--allow-plain) if the network is protected",
        )  # fmt: skip
    return url.rstrip("/")


async def enrol(
    identity: Identity, url: str, token: str, *, name: str, version: str, ca_file: str = ""
) -> Enrolment:
    """Exchanges the one-time token for a node id. Raises LK3003 (not reached) or what the supervisor answers."""
    import httpx

    from runtime.http import ask, client

    request = link.EnrolRequest(token, name, identity.public_key, version)
    async with client(ca_file) as http:
        data = await ask(http, httpx.Request("POST", f"{url}/link/enrol", content=msgspec.json.encode(request),
                                             headers={"content-type": "application/json"}))  # fmt: skip
    try:
        reply = msgspec.json.decode(data, type=link.EnrolReply)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise fail(
            "LK3004", "the answer to the enrolment is not in the agreed form", found=str(error),
            remedy="is this the address of a tickwork supervisor, of the same version?",
        ) from error  # fmt: skip
    enrolment = Enrolment(reply.node_id, reply.supervisor_key, url)
    identity.remember(enrolment)
    return enrolment
