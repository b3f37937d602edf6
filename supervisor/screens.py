"""``services.Screens``: drawings bound to tags, in versions that never change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from sqlite_utils import Database

from scan.problem import fail
from supervisor import audit, drawing
from supervisor.config_store import ConfigStore, Row, one, rows
from supervisor.model import Actor, Role
from supervisor.problems import exists_already, not_found, not_understood, require

SCREENS_MAX = 1000
VERSIONS_MAX = 100  # of one screen; the oldest go
_NAME = re.compile(r"[^\x00-\x1f/]{1,80}")


class Screen(msgspec.Struct, frozen=True):
    """``runtime``: name of the runtime whose tags the drawing means when it names none; ``number``: the version."""

    id: int
    name: str
    runtime: str
    number: int
    changed_ns: int
    changed_by: str


class ScreenVersion(msgspec.Struct, frozen=True):
    number: int
    created_ns: int
    created_by: str


class ScreenDetail(msgspec.Struct, frozen=True):
    """``dropped``: what the last saved text had and a drawing must not have (only in the answer to saving it)."""

    screen: Screen
    svg: str
    versions: tuple[ScreenVersion, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _New:
    svg: str
    runtime: str


class ScreenService:
    def __init__(self, store: ConfigStore, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns

    async def list(self, actor: Actor) -> tuple[Screen, ...]:
        require(actor, Role.VIEWER)
        return await self._store.run(
            lambda db: tuple(_screen(row) for row in rows(db, "SELECT * FROM screen ORDER BY name"))
        )

    async def get(self, actor: Actor, screen_id: int, number: int = 0) -> ScreenDetail:
        """A screen in a version; 0 is the newest."""
        require(actor, Role.VIEWER)
        return await self._store.run(lambda db: _detail(db, _row(db, screen_id), number))

    async def create(self, actor: Actor, name: str, svg: str, *, runtime: str = "") -> ScreenDetail:
        """Raises SV6001 for a text that is no drawing, SV1005 for a name that is taken."""
        require(actor, Role.ENGINEER)
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise not_understood("a name of 1 to 80 characters without /", name)
        made = drawing.clean(svg)

        def work(db: Database) -> ScreenDetail:
            if one(db, "SELECT 1 FROM screen WHERE name = ? COLLATE NOCASE", name):
                raise exists_already("screen", name)
            if len(rows(db, "SELECT id FROM screen")) >= SCREENS_MAX:
                raise fail("SV2005", "there are too many screens", expected=f"at most {SCREENS_MAX}",
                           remedy="remove one that is not used")  # fmt: skip
            row = {"name": name, "runtime": "", "number": 0, "changed_ns": 0, "changed_by": ""}
            db.table("screen").insert(row, pk="id")
            made_row = rows(db, "SELECT * FROM screen WHERE name = ?", name)[0]
            return self._write(db, actor, made_row, _New(made.svg, runtime), made.dropped)

        return await self._store.run(work)

    async def save(
        self, actor: Actor, screen_id: int, svg: str, *, runtime: str = "", number: int = 0
    ) -> ScreenDetail:
        """A new version. ``number``, when given, must be the newest one's (SV1006 otherwise)."""
        require(actor, Role.ENGINEER)
        made = drawing.clean(svg)

        def work(db: Database) -> ScreenDetail:
            row = _row(db, screen_id)
            if number and number != row["number"]:
                raise fail(
                    "SV1006",
                    "the screen was changed by somebody else meanwhile",
                    found=f"version {row['number']} by {row['changed_by']}",
                    remedy="load the page again, look at what changed, then repeat your change",
                )
            return self._write(db, actor, row, _New(made.svg, runtime), made.dropped)

        return await self._store.run(work)

    async def remove(self, actor: Actor, screen_id: int) -> None:
        require(actor, Role.ENGINEER)

        def work(db: Database) -> None:
            row = _row(db, screen_id)
            db.execute("DELETE FROM screen WHERE id = ?", [screen_id])
            audit.record(db, actor, "screen.remove", f"screen {row['name']}", now_ns=self._now_ns())

        await self._store.run(work)

    def _write(
        self, db: Database, actor: Actor, row: Row, new: _New, dropped: tuple[str, ...]
    ) -> ScreenDetail:
        now, number = self._now_ns(), row["number"] + 1
        db.table("screen_version").insert(
            {"screen_id": row["id"], "number": number, "svg": new.svg, "created_ns": now,
             "created_by": actor.name}
        )  # fmt: skip
        db.execute(
            "DELETE FROM screen_version WHERE screen_id = ? AND number <= ?",
            [row["id"], number - VERSIONS_MAX],
        )
        db.table("screen").update(
            row["id"], {"runtime": new.runtime, "number": number, "changed_ns": now, "changed_by": actor.name}
        )
        audit.record(db, actor, "screen.save", f"screen {row['name']}", now_ns=now,
                     old=f"version {row['number']}" if row["number"] else "", new=f"version {number}")  # fmt: skip
        detail = _detail(db, _row(db, row["id"]), number)
        return msgspec.structs.replace(detail, dropped=dropped)


def _row(db: Database, screen_id: int) -> Row:
    row = one(db, "SELECT * FROM screen WHERE id = ?", screen_id)
    if row is None:
        raise not_found("screen", screen_id)
    return row


def _screen(row: Row) -> Screen:
    return Screen(row["id"], row["name"], row["runtime"], row["number"], row["changed_ns"], row["changed_by"])


def _detail(db: Database, row: Row, number: int) -> ScreenDetail:
    wanted = number or row["number"]
    sql = "SELECT svg FROM screen_version WHERE screen_id = ? AND number = ?"
    version = one(db, sql, row["id"], wanted)
    if version is None:
        raise not_found("version of the screen", wanted)
    sql = "SELECT number, created_ns, created_by FROM screen_version WHERE screen_id = ? ORDER BY number DESC"
    versions = tuple(ScreenVersion(**one_row) for one_row in rows(db, sql, row["id"]))
    return ScreenDetail(_screen(row), version["svg"], versions)
