"""Secrets of channels at rest: AES-256-GCM, with a key derived from the supervisor's own (HKDF, RFC 5869).

The name of the channel is authenticated too, so that a row cannot be moved to another one.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scan.problem import fail

_NONCE_BYTES = 12
_PURPOSE = b"tickwork notification channels 1"


class Vault:
    def __init__(self, key: Ed25519PrivateKey) -> None:
        raw = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        self._cipher = AESGCM(HKDF(hashes.SHA256(), 32, salt=None, info=_PURPOSE).derive(raw))

    def seal(self, channel: str, secret: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), channel.encode())

    def open(self, channel: str, sealed: bytes) -> str:
        """Raises TickworkError SV7004 when it was sealed with another key or for another channel."""
        try:
            clear = self._cipher.decrypt(
                sealed[:_NONCE_BYTES], bytes(sealed[_NONCE_BYTES:]), channel.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise fail(
                "SV7004",
                f"the secret of the channel {channel} cannot be read",
                expected="one that was stored with this supervisor's signing key",
                remedy="enter it again on the page of the notification settings",
            ) from error
        return clear.decode()
