"""Configuration, users, deployments, commands and audit: one SQLite file, written by one thread.

Rules. Nothing else opens this file while the supervisor runs, and it is never opened by the library that holds the
history file. ``synchronous=FULL`` with a rollback journal: what ``run`` returned is on disk. (No WAL: Debian 12's
SQLite has a defect there, and these tables change a few times a minute.)
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from scan.problem import TickworkError, fail
from supervisor.config_schema import MIGRATIONS

T = TypeVar("T")
Row = dict[str, Any]


class ConfigStore:
    """Open it where blocking is allowed. Raises TickworkError SV2003."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="config")
        try:
            self._db: Database = self._thread.submit(_open, path).result()
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise _not_usable(path, error) from error

    async def run(self, work: Callable[[Database], T]) -> T:
        """Do ``work`` in one transaction on the store's thread; all or nothing."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._in_transaction, work)

    def run_blocking(self, work: Callable[[Database], T]) -> T:
        return self._thread.submit(self._in_transaction, work).result()

    def _in_transaction(self, work: Callable[[Database], T]) -> T:
        try:
            with self._db.atomic():
                return work(self._db)
        except sqlite3.OperationalError as error:
            raise fail(
                "SV2004",
                "the configuration cannot be written",
                found=str(error),
                remedy="make room on the disk or make it writable, then try again",
            ) from error

    def copy_to(self, path: Path) -> None:
        """A consistent copy as a file of its own."""

        def work() -> None:
            with contextlib.closing(sqlite3.connect(path)) as target:
                self._db.conn.backup(target)

        self._thread.submit(work).result()

    def close(self) -> None:
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()


def _open(path: Path) -> Database:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=TRUNCATE")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check found damage")
        database = Database(connection, execute_plugins=False)
        MIGRATIONS.apply(database)
    except BaseException:
        connection.close()
        raise
    return database


def rows(db: Database, sql: str, *values: object) -> list[Row]:
    return list(db.query(sql, values))


def one(db: Database, sql: str, *values: object) -> Row | None:
    return next(iter(db.query(sql, values)), None)


def page_clause(before: int) -> int:
    """The upper bound for ``id < ?``: a page that starts at the newest entry has none."""
    return before if before > 0 else (1 << 62)


def _not_usable(path: Path, error: Exception) -> TickworkError:
    return fail(
        "SV2003",
        f"the configuration file {path} cannot be used",
        expected="a configuration file of this version of tickwork",
        found=str(error),
        remedy="restore it from a backup; users, keys and programs are in it, so no empty one is begun in its place",
    )
