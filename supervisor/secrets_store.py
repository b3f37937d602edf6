"""Secrets of the supervisor: random tokens, password hashes, files that only the owner may read, the signing key."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from scan.problem import fail

TOKEN_BYTES = 32
PASSWORD_LENGTH_MIN = 12  # NIST SP 800-63B asks for length, not for kinds of characters
PASSWORD_LENGTH_MAX = 1024
DISTINCT_CHARACTERS_MIN = 5


def new_token(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> str:
    """How a token is stored. It is random enough that one round of SHA-256 cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


class Passwords:
    """argon2id with the library's parameters (RFC 9106, second recommendation)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        # Verified against when the name is unknown, so that the answer takes as long as for a known one.
        self._nobody = self._hasher.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def matches(self, stored: str | None, password: str) -> bool:
        try:
            return (
                self._hasher.verify(stored or self._nobody, password[:PASSWORD_LENGTH_MAX])
                and stored is not None
            )
        except (VerifyMismatchError, InvalidHashError):
            return False


def check_password(name: str, password: str) -> None:
    """Raises TickworkError SV1103."""
    weak = ""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        weak = f"{len(password)} characters"
    elif len(set(password)) < DISTINCT_CHARACTERS_MIN:
        weak = "the same few characters"
    elif name and name.lower() in password.lower():
        weak = "a password that contains the name"
    if weak:
        raise fail(
            "SV1103",
            "the password is too weak",
            expected=f"{PASSWORD_LENGTH_MIN} characters or more, not the name",
            found=weak,
            remedy="use a sentence or several words",
        )


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, from the first moment on; replaced as a whole."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The supervisor's key, made on first use. Raises TickworkError SV5003 when the file is no key."""
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem.decode())
    try:
        loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise _no_key(path, str(error)) from error
    if not isinstance(loaded, Ed25519PrivateKey):
        raise _no_key(path, type(loaded).__name__)
    return loaded


def public_base64(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def fingerprint(public_key: str) -> str:
    """Of a public key in base64, as people compare it."""
    return "SHA256:" + base64.b64encode(
        hashlib.sha256(base64.b64decode(public_key)).digest()
    ).decode().rstrip("=")


def _no_key(path: Path, found: str) -> Exception:
    return fail(
        "SV5003",
        f"{path} is not the signing key of a supervisor",
        expected="an Ed25519 private key in PEM",
        found=found,
        remedy="restore the file from a backup; with a new key the runtimes refuse what this supervisor sends",
    )
