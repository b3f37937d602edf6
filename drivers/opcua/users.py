"""Users of the OPC UA server: a TOML file of names, roles, Argon2id hashes and certificates, beside the certificates.

There is no user and no anonymous access until somebody adds them. A user has a password, certificates, or both.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import time
import tomllib
from dataclasses import dataclass, replace

import argon2
from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from scan.problem import Place, fail

ROLES = ("observer", "operator", "engineer", "admin")
ROLES_WRITING = frozenset(ROLES[1:])
FAILURES_MAX = 5
LOCK_S = 30.0
# Verified against for unknown names, so that their answer takes as long as that of known ones.
_DUMMY_HASH = argon2.PasswordHasher().hash("no such user")


class OpcUaUser(User):
    """asyncua's user with our role; none of ours is ``Admin`` to asyncua, whose admins may edit the address space."""

    def __init__(self, name: str, tickwork_role: str) -> None:
        # asyncua lets its Anonymous read nothing; what ours may write is decided by TagAttributes.
        super().__init__(role=UserRole.User, name=name or None)
        self.tickwork_role = tickwork_role

    @property
    def may_write(self) -> bool:
        return self.tickwork_role in ROLES_WRITING


class TokenCertificate(bytes):
    """The certificate of an X.509 user token whose key the client has proved to hold; DER."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A user as the file has it. ``password_hash`` is "" without a password; certificates are SHA-256 fingerprints."""

    role: str
    password_hash: str = ""
    certificates: tuple[str, ...] = ()


class UserFile:
    """The users by name; read again when the file changes."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, Entry] = {}

    def entry(self, name: str) -> Entry | None:
        """Raises TickworkError UA1003 on an unusable file."""
        self._refresh()
        return self._users.get(name)

    def owner(self, fingerprint: str) -> tuple[str, Entry] | None:
        """Name and entry of the user that a certificate belongs to. Raises TickworkError UA1003."""
        self._refresh()
        found = (item for item in self._users.items() if fingerprint in item[1].certificates)
        return next(found, None)

    def names(self) -> dict[str, Entry]:
        """All users. Raises TickworkError UA1003."""
        self._refresh()
        return dict(self._users)

    def add(self, name: str, role: str, password: str) -> None:
        """A new user, or another role and password for one that is there; its certificates stay."""
        entry = replace(self._known(name, role), password_hash=argon2.PasswordHasher().hash(password))
        self._store(name, entry)

    def add_certificate(self, name: str, role: str, fingerprint: str) -> None:
        """As ``add`` with a certificate: another one is added, the password stays."""
        entry = self._known(name, role)
        owner = self.owner(fingerprint)
        if owner is not None and owner[0] != name:
            raise self._unusable(f"the certificate {fingerprint[:16]} belongs to {owner[0]} already")
        self._store(
            name, replace(entry, certificates=tuple(dict.fromkeys((*entry.certificates, fingerprint))))
        )

    def remove(self, name: str) -> bool:
        """Whether there was such a user."""
        self._refresh()
        there = self._users.pop(name, None) is not None
        self._save()
        return there

    def _known(self, name: str, role: str) -> Entry:
        self._refresh()
        if role not in ROLES:
            raise self._unusable(f"role {role!r}, expected one of {', '.join(ROLES)}")
        return replace(self._users.get(name, Entry(role)), role=role)

    def _store(self, name: str, entry: Entry) -> None:
        self._users[name] = entry
        self._save()

    def _save(self) -> None:
        lines = []
        for name, entry in self._users.items():
            text = f'[users.{json.dumps(name)}]\nrole = "{entry.role}"\n'
            if entry.password_hash:
                text += f'password_hash = "{entry.password_hash}"\n'
            if entry.certificates:
                text += f"certificates = {json.dumps(entry.certificates)}\n"
            lines.append(text)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self._path.with_suffix(".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write("\n".join(lines))
        temporary.replace(self._path)

    def _refresh(self) -> None:
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            self._users, self._stamp = {}, None
            return
        stamp = (facts.st_mtime_ns, facts.st_size)
        if stamp == self._stamp:
            return
        try:
            table = tomllib.loads(self._path.read_text(encoding="utf-8"))
            self._users = {name: _entry(user) for name, user in table.get("users", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(str(error)) from error
        self._stamp = stamp

    def _unusable(self, found: str) -> Exception:
        return fail(
            "UA1003",
            "the file of OPC UA users cannot be used",
            place=Place(str(self._path)),
            expected='tables [users."NAME"] with role, and password_hash or certificates',
            found=found,
            remedy="mend the file, or delete it and add the users again with `tickwork opcua user`",
        )


def _entry(user: dict[str, object]) -> Entry:
    role, password, certificates = user["role"], user.get("password_hash", ""), user.get("certificates", [])
    if role not in ROLES or not isinstance(password, str) or not isinstance(certificates, list):
        raise ValueError(f"role {role!r}, or a value of the wrong kind")
    if not password and not certificates:
        raise ValueError("a user with neither password nor certificate")
    return Entry(str(role), password, tuple(str(one).lower() for one in certificates))


class UserManager:
    """Decides who a session belongs to; asyncua calls ``get_user`` when a session is activated."""

    def __init__(self, users: UserFile, anonymous: bool) -> None:
        self._users = users
        self._anonymous = anonymous
        self._hasher = argon2.PasswordHasher()
        self._failures: dict[str, tuple[int, float]] = {}

    def get_user(
        self,
        iserver: object,
        username: str | None = None,
        password: str | None = None,
        certificate: object = None,
    ) -> OpcUaUser | None:
        if isinstance(certificate, TokenCertificate):
            return self._by_certificate(certificate)
        if username is None:
            return OpcUaUser("", "observer") if self._anonymous else None
        if self._locked(username):
            return None
        entry = self._users.entry(username)
        known = entry.password_hash if entry is not None and entry.password_hash else ""
        try:
            self._hasher.verify(known or _DUMMY_HASH, password or "")
        except argon2.exceptions.Argon2Error:
            self._failed(username)
            return None
        if entry is None or not known:
            return None
        self._failures.pop(username, None)
        return OpcUaUser(username, entry.role)

    def _by_certificate(self, data: TokenCertificate) -> OpcUaUser | None:
        certificate = x509.load_der_x509_certificate(data)
        now = datetime.datetime.now(datetime.UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return None
        owner = self._users.owner(certificate.fingerprint(hashes.SHA256()).hex())
        return OpcUaUser(owner[0], owner[1].role) if owner is not None else None

    def _locked(self, name: str) -> bool:
        count, since = self._failures.get(name, (0, 0.0))
        return count >= FAILURES_MAX and time.monotonic() - since < LOCK_S

    def _failed(self, name: str) -> None:
        # Bounded: a flood of invented names must not fill the memory.
        if len(self._failures) > 10_000:
            self._failures.clear()
        self._failures[name] = (self._failures.get(name, (0, 0.0))[0] + 1, time.monotonic())
