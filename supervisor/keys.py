"""API keys and enrolment tokens: random, shown once, stored as digests, limited in time and scope."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlite_utils import Database

from scan.problem import TickworkError, fail
from supervisor import audit
from supervisor.accounts import TOUCH_NS
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.model import Actor, ApiKey, EnrolmentToken, Role, Secret
from supervisor.problems import not_found, not_understood, require
from supervisor.secrets_store import digest_of, new_token

DAY_NS = 86_400 * 1_000_000_000
KEY_DAYS_MAX = 730
ENROLMENT_SECONDS_MAX = 7 * 86_400
_NODES = msgspec.json.Decoder(tuple[str, ...])


class Keys:
    """The part of ``services.People`` about keys and tokens."""

    def __init__(self, store: ConfigStore, now_ns: Callable[[], int]) -> None:
        self._key_store = store
        self._clock = now_ns

    async def key_holder(self, secret: str, *, address: str) -> Actor | None:
        digest, now = digest_of(secret), self._clock()

        def work(db: Database) -> Row | None:
            row = one(db, "SELECT * FROM api_key WHERE digest=? AND revoked=0 AND expires_ns>?", digest, now)
            if row and now - row["last_used_ns"] > TOUCH_NS:
                db.execute("UPDATE api_key SET last_used_ns=? WHERE id=?", [now, row["id"]])
            return row

        row = await self._key_store.run(work)
        if row is None:
            return None
        nodes = _NODES.decode(row["nodes"])
        return Actor(f"key {row['name']}", Role(row["role"]), "api", address, nodes=nodes)

    async def api_keys(self, actor: Actor) -> tuple[ApiKey, ...]:
        require(actor, Role.ADMIN)
        found = await self._key_store.run(lambda db: rows(db, "SELECT * FROM api_key ORDER BY id DESC"))
        return tuple(_key(row) for row in found)

    async def create_api_key(
        self, actor: Actor, name: str, role: Role, *, expires_days: int = 90, nodes: tuple[str, ...] = ()
    ) -> Secret:
        require(actor, Role.ADMIN)
        if not 1 <= expires_days <= KEY_DAYS_MAX or not 1 <= len(name) <= 64:
            raise not_understood(f"a name and 1 to {KEY_DAYS_MAX} days", f"{name!r}, {expires_days} days")
        secret, now = new_token("twk_"), self._clock()
        expires = now + expires_days * DAY_NS

        def work(db: Database) -> int:
            number = db.table("api_key").insert(
                {"name": name, "digest": digest_of(secret), "role": str(role), "created_by": actor.name,
                 "nodes": msgspec.json.encode(nodes).decode(), "created_ns": now, "expires_ns": expires}
            ).last_pk  # fmt: skip
            audit.record(db, actor, "key.create", f"key {name}", now_ns=now, new=str(role))
            return int(number or 0)

        return Secret(await self._key_store.run(work), secret, expires)

    async def revoke_api_key(self, actor: Actor, key_id: int) -> None:
        require(actor, Role.ADMIN)

        def work(db: Database) -> None:
            row = one(db, "SELECT name FROM api_key WHERE id=?", key_id)
            if row is None:
                raise not_found("API key", key_id)
            db.execute("UPDATE api_key SET revoked=1 WHERE id=?", [key_id])
            audit.record(db, actor, "key.revoke", f"key {row['name']}", now_ns=self._clock())

        await self._key_store.run(work)

    async def enrolment_tokens(self, actor: Actor) -> tuple[EnrolmentToken, ...]:
        require(actor, Role.ADMIN)
        columns = "id, node, created_by, created_ns, expires_ns, used_ns, used_by"
        sql = f"SELECT {columns} FROM enrolment_token ORDER BY id DESC"  # noqa: S608
        found = await self._key_store.run(lambda db: rows(db, sql))
        return tuple(msgspec.convert(row, EnrolmentToken) for row in found)

    async def create_enrolment_token(self, actor: Actor, *, node: str = "", expires_s: int = 3600) -> Secret:
        require(actor, Role.ADMIN)
        if not 1 <= expires_s <= ENROLMENT_SECONDS_MAX:
            raise not_understood(f"1 to {ENROLMENT_SECONDS_MAX} seconds", expires_s)
        secret, now = new_token("twe_"), self._clock()
        expires = now + expires_s * 1_000_000_000

        def work(db: Database) -> int:
            number = db.table("enrolment_token").insert(
                {"digest": digest_of(secret), "node": node, "created_by": actor.name, "created_ns": now,
                 "expires_ns": expires}
            ).last_pk  # fmt: skip
            audit.record(db, actor, "enrolment.create", f"node {node or 'any'}", now_ns=now)
            return int(number or 0)

        return Secret(await self._key_store.run(work), secret, expires)

    async def cancel_enrolment_token(self, actor: Actor, token_id: int) -> None:
        require(actor, Role.ADMIN)

        def work(db: Database) -> None:
            done = db.execute("DELETE FROM enrolment_token WHERE id=? AND used_ns=0", [token_id])
            if not done.rowcount:
                raise not_found("unused enrolment token", token_id)
            audit.record(db, actor, "enrolment.cancel", f"token {token_id}", now_ns=self._clock())

        await self._key_store.run(work)


def use_enrolment_token(db: Database, secret: str, node: str, node_id: str, now_ns: int) -> str:
    """Spend the token in the transaction that enrols the node; who made it. Raises TickworkError SV3001."""
    row = one(
        db,
        "SELECT * FROM enrolment_token WHERE digest=? AND used_ns=0 AND expires_ns>?",
        digest_of(secret),
        now_ns,
    )
    if row is None or row["node"] not in ("", node):
        raise _not_valid(node)
    db.execute("UPDATE enrolment_token SET used_ns=?, used_by=? WHERE id=?", [now_ns, node_id, row["id"]])
    return str(row["created_by"])


def _not_valid(node: str) -> TickworkError:
    return fail(
        "SV3001",
        "the enrolment token is not valid",
        expected="a token that is unused, not over, and made for this node or for any",
        found=f"node {node[:64]!r}",
        remedy="make a new token on the supervisor's enrolment page",
    )


def _key(row: Row) -> ApiKey:
    return ApiKey(
        row["id"],
        row["name"],
        Role(row["role"]),
        _NODES.decode(row["nodes"]),
        row["created_by"],
        row["created_ns"],
        row["expires_ns"],
        row["last_used_ns"],
        bool(row["revoked"]),
    )
