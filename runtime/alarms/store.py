"""What engines keep, in SQLite: functions within a transaction that the caller holds.

The tables are the same on a node (a file of its own) and on the supervisor (its configuration file); ``engine`` tells
several engines in one file apart.
"""

from __future__ import annotations

import contextlib
import pathlib
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from runtime.alarms.clock import Stored
from runtime.alarms.life import Kept, Life
from runtime.alarms.model import Entry
from scan.problem import Place, fail

JOURNAL_KEPT = 200_000  # entries of a node; older ones that were forwarded go
SCHEMA = """
CREATE TABLE IF NOT EXISTS alarm_life(name TEXT PRIMARY KEY, life BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alarm_kept(key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS alarm_line(seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, entry BLOB NOT NULL);
"""
_LIFE = msgspec.msgpack.Decoder(Life)
_ENTRY = msgspec.msgpack.Decoder(Entry)
_encode = msgspec.msgpack.Encoder().encode


class _Head(msgspec.Struct, array_like=True):
    epoch: str
    seq: int
    occurrence: int
    engine_ns: int
    wall_ns: int
    references: dict[str, tuple[float, int]]


def open_file(path: pathlib.Path) -> sqlite3.Connection:
    """Raises TickworkError AL2001 when the file cannot be used. What ``transaction`` ended is on the disk."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        # A rollback journal: Debian 12's SQLite 3.40 has a defect in the reset of its WAL.
        connection.execute("PRAGMA journal_mode=TRUNCATE")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA trusted_schema=OFF")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check found damage")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
    except (sqlite3.Error, OSError) as error:
        raise fail(
            "AL2001", "the alarms' file cannot be used", place=Place(str(path)), found=str(error),
            remedy="restore it from a backup, or remove it: shelves, acknowledgements and the journal are in it",
        ) from error  # fmt: skip
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Raises TickworkError AL2002 when the disk refuses."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise fail(
            "AL2002", "the alarms cannot be stored", found=str(error), remedy="make room on the disk",
        ) from error  # fmt: skip


def load(connection: sqlite3.Connection) -> tuple[Kept, Stored]:
    """What the last engine left; a new epoch when there is nothing."""
    row = connection.execute("SELECT value FROM alarm_kept WHERE key='head'").fetchone()
    if row is None:
        return Kept(secrets.token_hex(8)), Stored()
    head = msgspec.msgpack.decode(row[0], type=_Head)
    lives = {
        str(name): _LIFE.decode(life)
        for name, life in connection.execute("SELECT name, life FROM alarm_life")
    }
    return (
        Kept(head.epoch, head.seq, head.occurrence, lives, head.references),
        Stored(head.engine_ns, head.wall_ns),
    )


def save(
    connection: sqlite3.Connection,
    kept: Kept,
    changed: Mapping[str, Life],
    entries: Sequence[Entry],
    stored: Stored,
) -> None:
    """Lives that changed, entries, and the clocks, within the caller's transaction."""
    head = _Head(kept.epoch, kept.seq, kept.occurrence, stored.engine_ns, stored.wall_ns, kept.references)
    connection.execute("INSERT OR REPLACE INTO alarm_kept VALUES('head', ?)", [_encode(head)])
    connection.executemany(
        "INSERT OR REPLACE INTO alarm_life VALUES(?, ?)",
        [(name, _encode(life)) for name, life in changed.items()],
    )
    connection.executemany(
        "INSERT INTO alarm_line VALUES(?, ?, ?)",
        [(entry.seq, entry.time_ns, _encode(entry)) for entry in entries],
    )


def forget(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Alarms that are defined no more."""
    connection.executemany("DELETE FROM alarm_life WHERE name=?", [(name,) for name in names])


def trim(connection: sqlite3.Connection, up_to_seq: int) -> None:
    """Entries beyond ``JOURNAL_KEPT`` that were forwarded (``up_to_seq``)."""
    connection.execute(
        "DELETE FROM alarm_line WHERE seq<=? AND seq<=(SELECT max(seq) FROM alarm_line)-?",
        [up_to_seq, JOURNAL_KEPT],
    )


def entries_after(connection: sqlite3.Connection, seq: int, limit: int) -> list[Entry]:
    rows = connection.execute("SELECT entry FROM alarm_line WHERE seq>? ORDER BY seq LIMIT ?", [seq, limit])
    return [_ENTRY.decode(row[0]) for row in rows]


def newest_entries(connection: sqlite3.Connection, limit: int) -> list[Entry]:
    """Oldest of them first."""
    rows = connection.execute("SELECT entry FROM alarm_line ORDER BY seq DESC LIMIT ?", [limit]).fetchall()
    return [_ENTRY.decode(row[0]) for row in reversed(rows)]


def get_mark(connection: sqlite3.Connection, key: str) -> bytes:
    row = connection.execute("SELECT value FROM alarm_kept WHERE key=?", [key]).fetchone()
    return bytes(row[0]) if row else b""


def set_mark(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO alarm_kept VALUES(?, ?)", [key, value])
