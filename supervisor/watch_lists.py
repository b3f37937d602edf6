"""``services.WatchLists``: named lists of tags, one's own or for everybody."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from sqlite_utils import Database

from scan.problem import fail
from supervisor import audit
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.model import Actor, Role
from supervisor.problems import not_found, not_understood, require

LISTS_MAX = 200  # of one person
TAGS_MAX = 200
_NAME = re.compile(r"[^\x00-\x1f]{1,80}")


class WatchList(msgspec.Struct, frozen=True):
    """``tags``: ``node_id:path``. ``shared``: everybody sees it; only its owner or an administrator changes it."""

    id: int
    name: str
    owner: str
    shared: bool
    tags: tuple[str, ...]
    changed_ns: int


class WatchListService:
    def __init__(self, store: ConfigStore, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def list(self, actor: Actor) -> tuple[WatchList, ...]:
        """One's own lists and the shared ones, by name."""
        require(actor, Role.VIEWER)
        sql = "SELECT * FROM watch_list WHERE shared=1 OR owner=? ORDER BY name COLLATE NOCASE, id"
        return await self._store.run(lambda db: tuple(_list(row) for row in rows(db, sql, actor.name)))

    async def save(
        self, actor: Actor, name: str, tags: tuple[str, ...], *, shared: bool = False
    ) -> WatchList:
        """Makes the list, or replaces one's own of the same name. Sharing needs OPERATOR."""
        require(actor, Role.OPERATOR if shared else Role.VIEWER)
        name = name.strip()
        if not _NAME.fullmatch(name) or not tags or len(tags) > TAGS_MAX:
            raise not_understood(
                f"a name of 1 to 80 characters and 1 to {TAGS_MAX} tags", f"{name!r}, {len(tags)}"
            )

        def work(db: Database) -> WatchList:
            row = one(db, "SELECT * FROM watch_list WHERE owner=? AND name=?", actor.name, name)
            if (
                row is None
                and len(rows(db, "SELECT id FROM watch_list WHERE owner=?", actor.name)) >= LISTS_MAX
            ):
                raise fail("SV2005", "there are too many lists", expected=f"at most {LISTS_MAX}",
                           remedy="remove one that is not used")  # fmt: skip
            now = self._now_ns()
            values = {
                "owner": actor.name, "name": name, "shared": int(shared), "changed_ns": now,
                "tags": msgspec.json.encode(tags).decode(),
            }  # fmt: skip
            if row is None:
                db.table("watch_list").insert(values)
            else:
                db.table("watch_list").update(row["id"], values)
            audit.record(db, actor, "watch.save", f"watch list {name}", now_ns=now, new=f"{len(tags)} tags")
            return _list(rows(db, "SELECT * FROM watch_list WHERE owner=? AND name=?", actor.name, name)[0])

        return await self._store.run(work)

    async def remove(self, actor: Actor, list_id: int) -> None:
        require(actor, Role.VIEWER)

        def work(db: Database) -> None:
            row = one(db, "SELECT * FROM watch_list WHERE id=?", list_id)
            if row is None or (not row["shared"] and row["owner"] != actor.name):
                raise not_found("watch list", list_id)
            if row["owner"] != actor.name:
                require(actor, Role.ADMIN)
            db.execute("DELETE FROM watch_list WHERE id=?", [list_id])
            audit.record(db, actor, "watch.remove", f"watch list {row['name']}", now_ns=self._now_ns())

        await self._store.run(work)


def _list(row: Row) -> WatchList:
    tags = msgspec.json.decode(row["tags"], type=tuple[str, ...])
    return WatchList(row["id"], row["name"], row["owner"], bool(row["shared"]), tags, row["changed_ns"])
