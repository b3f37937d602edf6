"""The audit journal: who did what, when, from where; append-only and chained by hashes.

Each entry's hash covers the entry and the hash before it, so a changed, removed or inserted line breaks the chain from
there on (the table refuses both anyway; the chain is for whoever has the file). 21 CFR 11.10(e), IEC 62443-3-3 SR 2.8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
from sqlite_utils import Database

from supervisor.config_store import ConfigStore, one, page_clause, rows
from supervisor.model import NEWEST, Actor, AuditEntry, AuditVerdict, Page, Role
from supervisor.problems import require

FIRST_HASH = hashlib.sha256(b"tickwork audit journal").hexdigest()
ENTRIES_PER_PAGE_MAX = 1000
_FIELDS = (
    "id",
    "time_ns",
    "actor",
    "role",
    "via",
    "address",
    "action",
    "about",
    "result",
    "old",
    "new",
    "reason",
)
_VERIFY_ROWS = 5000  # read at a time: the writer's thread stays free for others in between


def record(
    db: Database,
    actor: Actor,
    action: str,
    about: str,
    *,
    now_ns: int,
    old: str = "",
    new: str = "",
    reason: str = "",
    result: str = "ok",
) -> AuditEntry:
    """Append one line, in the transaction of the change that it tells of."""
    last = one(db, "SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")
    entry = AuditEntry(
        last["id"] + 1 if last else 1,
        now_ns,
        actor.name,
        str(actor.role),
        actor.via,
        actor.address,
        action,
        about,
        result,
        old,
        new,
        reason,
    )
    entry = msgspec.structs.replace(entry, hash=entry_hash(entry, last["hash"] if last else FIRST_HASH))
    db.execute("INSERT INTO audit VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)", [*_texts(entry), entry.hash])
    return entry


def _texts(entry: AuditEntry) -> list[object]:
    return [getattr(entry, name) for name in _FIELDS]


def entry_hash(entry: AuditEntry, previous: str) -> str:
    return hashlib.sha256(previous.encode() + msgspec.json.encode(_texts(entry))).hexdigest()


class AuditJournal:
    """``services.Audit`` on the configuration store."""

    def __init__(self, store: ConfigStore, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def refused(self, actor: Actor, action: str, about: str, reason: str) -> None:
        """An attempt that was not allowed is worth a line too."""
        now = self._now_ns()
        await self._store.run(
            lambda db: record(db, actor, action, about, now_ns=now, reason=reason, result="refused")
        )

    async def entries(
        self, actor: Actor, *, who: str = "", action: str = "", about: str = "", page: Page = NEWEST
    ) -> tuple[AuditEntry, ...]:
        require(actor, Role.VIEWER)
        sql = (
            "SELECT * FROM audit WHERE id<? AND substr(actor, 1, length(?2))=?2 "
            "AND substr(action, 1, length(?3))=?3 AND substr(about, 1, length(?4))=?4 ORDER BY id DESC LIMIT ?5"
        ).replace("id<?", "id<?1")
        limit = min(page.limit, ENTRIES_PER_PAGE_MAX)
        found = await self._store.run(
            lambda db: rows(db, sql, page_clause(page.before), who, action, about, limit)
        )
        return tuple(msgspec.convert(row, AuditEntry) for row in found)

    async def verify(self, actor: Actor) -> AuditVerdict:
        require(actor, Role.VIEWER)
        previous, count = FIRST_HASH, 0
        while True:
            after = count
            part = await self._store.run(
                lambda db, after=after: rows(  # type: ignore[misc]  # the default binds the loop's value
                    db, "SELECT * FROM audit WHERE id>? ORDER BY id LIMIT ?", after, _VERIFY_ROWS
                )
            )
            for row in part:
                entry = msgspec.convert(row, AuditEntry)
                if entry.id != count + 1 or entry.hash != entry_hash(entry, previous):
                    return AuditVerdict(False, count, previous, entry.id, self._now_ns())
                previous, count = entry.hash, count + 1
            if len(part) < _VERIFY_ROWS:
                return AuditVerdict(True, count, previous, 0, self._now_ns())
