"""Users of the OPC UA server: a TOML file of names, roles and Argon2id hashes, beside the certificates.

There is no user and no anonymous access until somebody adds them.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
import tomllib

import argon2
from asyncua.crypto.permission_rules import User, UserRole

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


class UserFile:
    """The users by name; read again when the file changes."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._users: dict[str, tuple[str, str]] = {}

    def entry(self, name: str) -> tuple[str, str] | None:
        """(role, password hash) of a user, or None. Raises TickworkError UA1003 on an unusable file."""
        self._refresh()
        return self._users.get(name)

    def add(self, name: str, role: str, password: str) -> None:
        self._refresh()
        if role not in ROLES:
            raise self._unusable(f"role {role!r}, expected one of {', '.join(ROLES)}")
        self._users[name] = (role, argon2.PasswordHasher().hash(password))
        lines = [
            f'[users.{json.dumps(user)}]\nrole = "{kind}"\npassword_hash = "{text}"\n'
            for user, (kind, text) in self._users.items()
        ]
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
            users = table.get("users", {})
            self._users = {name: (user["role"], user["password_hash"]) for name, user in users.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unusable(str(error)) from error
        self._stamp = stamp

    def _unusable(self, found: str) -> Exception:
        return fail(
            "UA1003",
            "the file of OPC UA users cannot be used",
            place=Place(str(self._path)),
            expected='tables [users."NAME"] with role and password_hash',
            found=found,
            remedy="mend the file, or delete it and add the users again with `tickwork opcua user`",
        )


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
        if username is None:
            return OpcUaUser("", "observer") if self._anonymous else None
        if self._locked(username):
            return None
        entry = self._users.entry(username)
        try:
            self._hasher.verify(entry[1] if entry else _DUMMY_HASH, password or "")
        except argon2.exceptions.Argon2Error:
            self._failed(username)
            return None
        if entry is None:
            return None
        self._failures.pop(username, None)
        return OpcUaUser(username, entry[0])

    def _locked(self, name: str) -> bool:
        count, since = self._failures.get(name, (0, 0.0))
        return count >= FAILURES_MAX and time.monotonic() - since < LOCK_S

    def _failed(self, name: str) -> None:
        # Bounded: a flood of invented names must not fill the memory.
        if len(self._failures) > 10_000:
            self._failures.clear()
        self._failures[name] = (self._failures.get(name, (0, 0.0))[0] + 1, time.monotonic())
