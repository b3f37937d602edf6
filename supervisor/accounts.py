"""Users and their sessions: first administrator, login with lock-out, roles.

Sessions live on the server; the cookie holds a random token of which only the digest is stored. A session ends after
``IDLE_NS`` without a request, ``ABSOLUTE_NS`` after login, at logout, and when password, role or state of its user
change. After ``FAILURES_FREE`` wrong passwords a name is locked for a time that doubles with every further failure
(IEC 62443-4-2 CR 1.11); the answer to a wrong name and to a wrong password is the same, and takes as long.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial

from sqlite_utils import Database

from scan.problem import TickworkError, fail
from supervisor import audit
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.model import Actor, Login, Role, User
from supervisor.problems import exists_already, not_found, not_understood, require
from supervisor.secrets_store import Passwords, check_password, digest_of, new_token

SECOND_NS = 1_000_000_000
IDLE_NS = 8 * 3600 * SECOND_NS  # one shift
ABSOLUTE_NS = 24 * 3600 * SECOND_NS
TOUCH_NS = 60 * SECOND_NS  # a session's last use is written at most this often
FAILURES_FREE = 5
LOCK_FIRST_NS = 2 * SECOND_NS
LOCK_MAX_NS = 900 * SECOND_NS
HASHERS = 2  # passwords hashed at a time: each takes 64 MiB
NAME_LENGTH_MAX = 64
_SETUP = "setup_token"


class Accounts:
    """The part of ``services.People`` about users and sessions."""

    def __init__(self, store: ConfigStore, now_ns: Callable[[], int], passwords: Passwords) -> None:
        self._store = store
        self._now_ns = now_ns
        self._passwords = passwords
        self._hashers = asyncio.Semaphore(HASHERS)
        self._sessions: dict[str, tuple[Login, int]] = {}  # digest -> (login without token, last use)

    # ------------------------------------------------------------ first administrator

    async def needs_first_admin(self) -> bool:
        return await self._store.run(_has_no_admin)

    async def make_setup_token(self) -> str:
        """A new one-time token for the first administrator; "" when there is one already."""
        token = new_token("")

        def work(db: Database) -> str:
            if not _has_no_admin(db):
                return ""
            db.execute("INSERT OR REPLACE INTO setting VALUES(?,?)", [_SETUP, digest_of(token)])
            return token

        return await self._store.run(work)

    async def claim(
        self, token: str, name: str, password: str, *, address: str, full_name: str = ""
    ) -> Login:
        check_password(name, password)
        hashed = await self._hash(password)
        actor = Actor(name, Role.ADMIN, address=address)

        def work(db: Database) -> None:
            stored = one(db, "SELECT value FROM setting WHERE key=?", _SETUP)
            if (
                not _has_no_admin(db)
                or stored is None
                or not secrets.compare_digest(stored["value"], digest_of(token))
            ):
                raise fail(
                    "SV1104",
                    "this link is not valid",
                    remedy="use the newest link that the supervisor printed; it works until an administrator exists",
                )
            db.execute("DELETE FROM setting WHERE key=?", [_SETUP])
            self._insert(db, actor, name, full_name, hashed, Role.ADMIN)

        await self._store.run(work)
        return await self.login(name, password, address=address)

    # ------------------------------------------------------------ sessions

    async def login(self, name: str, password: str, *, address: str) -> Login:
        user = await self._store.run(lambda db: one(db, "SELECT * FROM user WHERE name=?", name))
        if user and user["locked_until_ns"] > self._now_ns():
            raise _locked(user["locked_until_ns"] - self._now_ns())
        stored: str | None = user["password"] if user else None
        async with self._hashers:
            right = await asyncio.to_thread(self._passwords.matches, stored, password)
        if user is None or not right or not user["enabled"]:
            number = int(user["id"]) if user else None
            await self._store.run(partial(self._failed, name=name, user_id=number, address=address))
            raise fail(
                "SV1101",
                "name or password is wrong",
                remedy="try again; an administrator can set a new password",
            )
        return await self._start(user, address)

    def _failed(self, db: Database, *, name: str, user_id: int | None, address: str) -> None:
        now = self._now_ns()
        if user_id is not None:
            row = one(db, "SELECT failures FROM user WHERE id=?", user_id)
            failures = (row["failures"] if row else 0) + 1
            over = failures - FAILURES_FREE
            wait = min(LOCK_FIRST_NS << min(over, 30), LOCK_MAX_NS) if over >= 0 else 0
            until = now + wait if wait else 0
            db.execute("UPDATE user SET failures=?, locked_until_ns=? WHERE id=?", [failures, until, user_id])
        nobody = Actor(name[:NAME_LENGTH_MAX], Role.VIEWER, address=address)
        audit.record(db, nobody, "user.login", f"user {name[:NAME_LENGTH_MAX]}", now_ns=now, result="refused")

    async def _start(self, user: Row, address: str) -> Login:
        token, now = new_token(""), self._now_ns()
        actor = Actor(user["name"], Role(user["role"]), "page", address, user["id"], user["full_name"])
        login = Login(token, secrets.token_urlsafe(24), actor, now + ABSOLUTE_NS)

        def work(db: Database) -> None:
            db.execute("DELETE FROM session WHERE expires_ns<? OR used_ns<?", [now, now - IDLE_NS])
            db.execute(
                "INSERT INTO session VALUES(?,?,?,?,?,?,?)",
                [digest_of(token), user["id"], login.csrf, now, now, login.expires_ns, address],
            )
            db.execute(
                "UPDATE user SET failures=0, locked_until_ns=0, last_login_ns=? WHERE id=?", [now, user["id"]]
            )
            audit.record(db, actor, "user.login", f"user {actor.name}", now_ns=now)

        await self._store.run(work)
        return login

    async def session(self, token: str, *, address: str) -> Login | None:
        digest, now = digest_of(token), self._now_ns()
        known = self._sessions.get(digest)
        if known is None or now - known[1] > TOUCH_NS:
            known = await self._store.run(partial(self._load, digest=digest, now=now))
            if known is None:
                self._sessions.pop(digest, None)
                return None
            self._sessions[digest] = known
        login, _ = known
        if login.expires_ns <= now:
            return None
        actor = login.actor
        if actor.address != address:
            actor = Actor(actor.name, actor.role, "page", address, actor.user_id, actor.full_name)
        return Login(token, login.csrf, actor, login.expires_ns)

    def _load(self, db: Database, *, digest: str, now: int) -> tuple[Login, int] | None:
        row = one(
            db,
            "SELECT s.csrf, s.expires_ns, s.used_ns, u.* FROM session s JOIN user u ON u.id=s.user_id WHERE s.digest=?",
            digest,
        )
        if row is None or not row["enabled"] or row["expires_ns"] <= now or row["used_ns"] <= now - IDLE_NS:
            return None
        db.execute("UPDATE session SET used_ns=? WHERE digest=?", [now, digest])
        actor = Actor(row["name"], Role(row["role"]), "page", "", row["id"], row["full_name"])
        return Login("", row["csrf"], actor, row["expires_ns"]), now

    async def logout(self, token: str) -> None:
        digest = digest_of(token)
        self._sessions.pop(digest, None)
        await self._store.run(lambda db: db.execute("DELETE FROM session WHERE digest=?", [digest]))

    def _end_sessions(self, db: Database, user_id: int) -> None:
        db.execute("DELETE FROM session WHERE user_id=?", [user_id])
        for digest in [d for d, (login, _) in self._sessions.items() if login.actor.user_id == user_id]:
            del self._sessions[digest]

    # ------------------------------------------------------------ users

    async def users(self, actor: Actor) -> tuple[User, ...]:
        require(actor, Role.ADMIN)
        found = await self._store.run(lambda db: rows(db, "SELECT * FROM user ORDER BY name"))
        return tuple(_user(row) for row in found)

    async def create_user(
        self, actor: Actor, name: str, password: str, role: Role, *, full_name: str = ""
    ) -> User:
        require(actor, Role.ADMIN)
        check_password(name, password)
        hashed = await self._hash(password)
        return await self._store.run(lambda db: self._insert(db, actor, name, full_name, hashed, role))

    def _insert(self, db: Database, actor: Actor, name: str, full_name: str, hashed: str, role: Role) -> User:
        name, now = name.strip(), self._now_ns()
        if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
            raise not_understood(f"a name of 1 to {NAME_LENGTH_MAX} printable characters", name)
        if one(db, "SELECT id FROM user WHERE name=?", name):
            raise exists_already("user", name)
        db.execute(
            "INSERT INTO user(name, full_name, role, enabled, password, created_ns) VALUES(?,?,?,1,?,?)",
            [name, full_name[:200], str(role), hashed, now],
        )
        audit.record(db, actor, "user.create", f"user {name}", now_ns=now, new=str(role))
        return _user(_row_of(db, "name", name))

    async def change_user(
        self, actor: Actor, user_id: int, *, role: Role | None = None, enabled: bool | None = None
    ) -> User:
        require(actor, Role.ADMIN)

        def work(db: Database) -> User:
            row = _row_of(db, "id", user_id)
            new_role = str(role or row["role"])
            new_enabled = row["enabled"] if enabled is None else int(enabled)
            db.execute("UPDATE user SET role=?, enabled=? WHERE id=?", [new_role, new_enabled, user_id])
            if _has_no_admin(db):
                raise _last_admin(row["name"])
            self._end_sessions(db, user_id)
            old, new = (f"{r}, {'enabled' if e else 'disabled'}" for r, e in
                        ((row["role"], row["enabled"]), (new_role, new_enabled)))  # fmt: skip
            audit.record(
                db, actor, "user.change", f"user {row['name']}", now_ns=self._now_ns(), old=old, new=new
            )
            return _user(_row_of(db, "id", user_id))

        return await self._store.run(work)

    async def set_password(self, actor: Actor, user_id: int, password: str, *, old: str = "") -> None:
        own = actor.user_id == user_id and actor.user_id > 0
        if not own:
            require(actor, Role.ADMIN)
        row = await self._store.run(lambda db: _row_of(db, "id", user_id))
        if own:
            async with self._hashers:
                if not await asyncio.to_thread(self._passwords.matches, row["password"], old):
                    raise fail(
                        "SV1101", "the present password is wrong", remedy="type the password in use until now"
                    )
        check_password(row["name"], password)
        hashed = await self._hash(password)

        def work(db: Database) -> None:
            db.execute(
                "UPDATE user SET password=?, failures=0, locked_until_ns=0 WHERE id=?", [hashed, user_id]
            )
            self._end_sessions(db, user_id)
            audit.record(db, actor, "user.password", f"user {row['name']}", now_ns=self._now_ns())

        await self._store.run(work)

    async def _hash(self, password: str) -> str:
        async with self._hashers:
            return await asyncio.to_thread(self._passwords.hash, password)


def _has_no_admin(db: Database) -> bool:
    return one(db, "SELECT id FROM user WHERE role=? AND enabled=1", str(Role.ADMIN)) is None


def _row_of(db: Database, column: str, value: object) -> Row:
    row = one(db, f"SELECT * FROM user WHERE {column}=?", value)  # noqa: S608 (a name from this module)
    if row is None:
        raise not_found("user", value)
    return row


def _user(row: Row) -> User:
    return User(
        row["id"],
        row["name"],
        row["full_name"],
        Role(row["role"]),
        bool(row["enabled"]),
        row["created_ns"],
        row["last_login_ns"],
        row["locked_until_ns"],
    )


def _locked(wait_ns: int) -> TickworkError:
    return fail(
        "SV1102",
        "this name is locked after several wrong passwords",
        found=f"{wait_ns // SECOND_NS + 1} s left",
        remedy="wait, or ask an administrator to set a new password",
    )


def _last_admin(name: str) -> TickworkError:
    return fail(
        "SV1107",
        f"{name} is the last administrator",
        remedy="make somebody else an administrator first",
    )
