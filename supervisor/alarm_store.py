"""Alarms in the configuration file: what is stored and asked. Functions within a transaction of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlite_utils import Database

from runtime.alarms.model import Definition, Entry, Standing
from runtime.link import AlarmTable
from supervisor.alarm_model import AlarmFilter, DefinitionVersion
from supervisor.config_store import one, page_clause, rows

LINES_PER_PAGE_MAX = 10_000
VERSIONS_SHOWN = 100
_encode = msgspec.msgpack.Encoder().encode
_ENTRY = msgspec.msgpack.Decoder(Entry)
_STANDING = msgspec.msgpack.Decoder(Standing)
_DEFINITIONS = msgspec.msgpack.Decoder(tuple[Definition, ...])


def insert_entries(
    db: Database, node_id: str, epoch: str, entries: Sequence[Entry], received_ns: int, standing_too: bool
) -> list[int]:
    """Stores what is new and returns its sequence numbers; an entry that is there already changes nothing."""
    known = {
        int(row["seq"])
        for row in rows(
            db, "SELECT seq FROM alarm_entry WHERE node_id=? AND epoch=? AND seq BETWEEN ? AND ?",
            node_id, epoch, min(e.seq for e in entries), max(e.seq for e in entries),
        )
    }  # fmt: skip
    new = {entry.seq: entry for entry in entries if entry.seq not in known}
    db.conn.executemany(
        "INSERT INTO alarm_entry(node_id, epoch, seq, time_ns, received_ns, alarm, event, priority, user, entry) "
        "VALUES(?,?,?,?,?,?,?,?,?,?)",
        [
            (node_id, epoch, e.seq, e.time_ns, received_ns, e.alarm, e.event, e.standing.priority, e.user, _encode(e))
            for e in new.values()
        ],
    )  # fmt: skip
    if standing_too:
        last = {entry.alarm: entry for entry in sorted(new.values(), key=lambda entry: entry.seq)}
        db.conn.executemany(
            "INSERT INTO alarm_standing VALUES(?1,?2,?3,?4,?5) ON CONFLICT(node_id, name) DO UPDATE SET "
            "epoch=?3, seq=?4, standing=?5 WHERE epoch<>?3 OR seq<?4",
            [(node_id, e.alarm, epoch, e.seq, _encode(e.standing)) for e in last.values()],
        )
    return sorted(new)


def insert_table(db: Database, node_id: str, table: AlarmTable, now_ns: int) -> None:
    """What the node says of all its alarms; entries that are newer than it stay."""
    db.execute(
        "INSERT OR REPLACE INTO alarm_table VALUES(?,?,?,?,?,?,?)",
        [node_id, table.epoch, table.at_seq, _encode(table.definitions), table.page, table.page_version, now_ns],
    )  # fmt: skip
    db.execute(
        "DELETE FROM alarm_standing WHERE node_id=? AND (epoch<>? OR seq<=?)",
        [node_id, table.epoch, table.at_seq],
    )
    db.conn.executemany(
        "INSERT OR IGNORE INTO alarm_standing VALUES(?,?,?,?,?)",
        [(node_id, name, table.epoch, table.at_seq, _encode(one)) for name, one in table.standing.items()],
    )


class KnownNode(msgspec.Struct):
    """What is known of the alarms of one node."""

    epoch: str = ""
    definitions: dict[str, Definition] = {}
    standing: dict[str, tuple[str, int, Standing]] = {}  # name -> epoch, seq, standing
    page: str = ""
    page_version: int = 0


def load(db: Database) -> dict[str, KnownNode]:
    found: dict[str, KnownNode] = {}
    for row in rows(db, "SELECT * FROM alarm_table"):
        definitions = {d.name: d for d in _DEFINITIONS.decode(row["definitions"])}
        found[row["node_id"]] = KnownNode(row["epoch"], definitions, {}, row["page"], row["page_version"])
    for row in rows(db, "SELECT * FROM alarm_standing"):
        node = found.setdefault(row["node_id"], KnownNode(row["epoch"]))
        node.standing[row["name"]] = (row["epoch"], row["seq"], _STANDING.decode(row["standing"]))
    return found


def last_id(db: Database) -> int:
    row = one(db, "SELECT max(id) AS id FROM alarm_entry")
    return int(row["id"] or 0) if row else 0


def lines(
    db: Database,
    wanted: AlarmFilter,
    *,
    before: int = 0,
    after: int = -1,
    limit: int = 100,
    nodes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Newest first; with ``after`` >= 0 oldest first from there on. ``nodes``: only these (empty: all)."""
    clauses, values = ["id<?", "id>?"], [page_clause(before), after]
    for clause, value in (
        ("node_id=?", wanted.node_id), ("instr(lower(alarm), lower(?))>0", wanted.alarm), ("event=?", wanted.event),
        ("user=?", wanted.user), ("priority=?", wanted.priority), ("time_ns>=?", wanted.from_ns),
        ("time_ns<?", wanted.to_ns),
    ):  # fmt: skip
        if value:
            clauses.append(clause)
            values.append(value)  # type: ignore[arg-type]  # texts and numbers
    if nodes:
        clauses.append(f"node_id IN ({','.join('?' * len(nodes))})")
        values += nodes  # type: ignore[arg-type]
    order = "ASC" if after >= 0 else "DESC"
    columns, where = "id, node_id, epoch, received_ns, entry", " AND ".join(clauses)
    sql = f"SELECT {columns} FROM alarm_entry WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 (of this module)
    return rows(db, sql, *values, min(limit, LINES_PER_PAGE_MAX))


def entry_of(row: dict[str, Any]) -> Entry:
    return _ENTRY.decode(row["entry"])


def raised(db: Database, from_ns: int, to_ns: int, nodes: Sequence[str]) -> list[tuple[int, str, str, int]]:
    """(time, node, alarm, priority) of each occurrence that began, in order of time."""
    chosen = f"AND node_id IN ({','.join('?' * len(nodes))})" if nodes else ""
    where = f"event='raised' AND time_ns>=? AND time_ns<? {chosen}"
    sql = f"SELECT time_ns, node_id, alarm, priority FROM alarm_entry WHERE {where} ORDER BY time_ns"  # noqa: S608
    return [tuple(row) for row in db.execute(sql, [from_ns, to_ns, *nodes])]


def acknowledgement_times(db: Database, from_ns: int, to_ns: int) -> Iterable[tuple[int, int]]:
    """(raised, acknowledged) of what was acknowledged in the range."""
    for row in db.execute(
        "SELECT entry FROM alarm_entry WHERE event='acknowledged' AND time_ns>=? AND time_ns<?",
        [from_ns, to_ns],
    ):
        entry = _ENTRY.decode(row[0])
        yield entry.standing.raised_ns, entry.time_ns


def add_version(db: Database, version: DefinitionVersion) -> DefinitionVersion:
    row = one(db, "SELECT max(number) AS number FROM alarm_version WHERE node_id=?", version.node_id)
    number = int(row["number"] or 0) + 1 if row else 1
    made = msgspec.structs.replace(version, number=number)
    db.table("alarm_version").insert(msgspec.to_builtins(made))
    return made


def versions(db: Database, node_id: str) -> list[DefinitionVersion]:
    """Newest first."""
    sql = "SELECT * FROM alarm_version WHERE node_id=? ORDER BY number DESC LIMIT ?"
    return [msgspec.convert(row, DefinitionVersion) for row in rows(db, sql, node_id, VERSIONS_SHOWN)]
