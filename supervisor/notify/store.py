"""Notifications in the configuration file: functions within a transaction of the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from sqlite_utils import Database

from runtime.alarms.model import Standing
from supervisor.config_store import Row, one, page_clause, rows
from supervisor.notify.model import (
    PLURALS,
    TYPES,
    Breaker,
    Delivery,
    Item,
    Mention,
    Mute,
    Run,
    Settings,
)

KEPT_RUNS = 20_000  # ended ones, and deliveries likewise; the oldest go
LISTED_MAX = 200  # mentions that a delivery keeps in full
_encode = msgspec.json.Encoder().encode
_STANDING = msgspec.msgpack.Decoder(Standing)
Stored = TypeVar("Stored", Run, Delivery)


# ---------------------------------------------------------------- settings


def load_settings(db: Database) -> Settings:
    found: dict[str, dict[str, msgspec.Struct]] = {kind: {} for kind in TYPES}
    for row in rows(db, "SELECT kind, name, body FROM notify_item ORDER BY name"):
        found[row["kind"]][row["name"]] = msgspec.json.decode(row["body"], type=TYPES[row["kind"]])
    secrets = tuple(row["channel"] for row in rows(db, "SELECT channel FROM notify_secret ORDER BY channel"))
    by_field = {PLURALS[kind]: items for kind, items in found.items()}
    return Settings(**by_field, secrets=secrets)  # type: ignore[arg-type]  # each of its own kind


def put_item(db: Database, kind: str, item: Item, now_ns: int, by: str) -> None:
    db.execute(
        "INSERT OR REPLACE INTO notify_item VALUES(?,?,?,?,?)", [kind, item.name, _encode(item), now_ns, by]
    )


def remove_item(db: Database, kind: str, name: str) -> None:
    db.execute("DELETE FROM notify_item WHERE kind=? AND name=?", [kind, name])
    if kind == "channel":
        db.execute("DELETE FROM notify_secret WHERE channel=?", [name])
        db.execute("DELETE FROM notify_breaker WHERE channel=?", [name])


def put_secret(db: Database, channel: str, sealed: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO notify_secret VALUES(?,?)", [channel, sealed])


def secret_of(db: Database, channel: str) -> bytes:
    """Sealed; empty when there is none."""
    row = one(db, "SELECT sealed FROM notify_secret WHERE channel=?", channel)
    return bytes(row["sealed"]) if row else b""


# ---------------------------------------------------------------- the journal of alarms


def cursor(db: Database) -> int:
    """The last journal line that was looked at. The first time: the newest; what was before is history."""
    row = one(db, "SELECT entry_id FROM notify_cursor WHERE one=1")
    if row is not None:
        return int(row["entry_id"])
    last = one(db, "SELECT max(id) AS id FROM alarm_entry")
    number = int(last["id"] or 0) if last else 0
    set_cursor(db, number)
    return number


def skip_journal(db: Database) -> None:
    """With its first rule, following begins: nobody is told of what came before."""
    db.execute("DELETE FROM notify_cursor")
    cursor(db)


def set_cursor(db: Database, entry_id: int) -> None:
    db.execute("INSERT OR REPLACE INTO notify_cursor VALUES(1,?)", [entry_id])


def standing(db: Database, node_id: str, alarm: str) -> tuple[str, Standing] | None:
    """Epoch and what stands of an alarm now."""
    row = one(db, "SELECT epoch, standing FROM alarm_standing WHERE node_id=? AND name=?", node_id, alarm)
    return (row["epoch"], _STANDING.decode(row["standing"])) if row else None


# ---------------------------------------------------------------- runs


def _made(row: Row, kind: type[Stored]) -> Stored:
    found = msgspec.json.decode(row["body"], type=kind)
    return msgspec.structs.replace(found, id=row["id"])


def add_run(db: Database, run: Run, entry_id: int) -> None:
    """Nothing happens when the rule has a run of this journal line already."""
    db.execute(
        "INSERT OR IGNORE INTO notify_run(rule, entry_id, node_id, alarm, state, due_ns, body) VALUES(?,?,?,?,?,?,?)",
        [
            run.rule,
            entry_id,
            run.facts.node_id,
            run.facts.alarm,
            run.state,
            run.position.due_ns,
            _encode(run),
        ],
    )


def save_run(db: Database, run: Run) -> None:
    db.execute(
        "UPDATE notify_run SET state=?, due_ns=?, body=? WHERE id=?",
        [run.state, run.position.due_ns, _encode(run), run.id],
    )


def open_runs(db: Database, node_id: str, alarm: str) -> list[Run]:
    sql = "SELECT id, body FROM notify_run WHERE node_id=? AND alarm=? AND state IN ('running', 'done')"
    return [_made(row, Run) for row in rows(db, sql, node_id, alarm)]


def any_open(db: Database) -> bool:
    return one(db, "SELECT 1 FROM notify_run WHERE state IN ('running', 'done') LIMIT 1") is not None


def all_open_runs(db: Database, after: int, limit: int) -> list[Run]:
    sql = "SELECT id, body FROM notify_run WHERE id>? AND state IN ('running', 'done') ORDER BY id LIMIT ?"
    return [_made(row, Run) for row in rows(db, sql, after, limit)]


def due_runs(db: Database, now_ns: int, limit: int) -> list[Run]:
    sql = "SELECT id, body FROM notify_run WHERE state='running' AND due_ns<=? ORDER BY due_ns, id LIMIT ?"
    return [_made(row, Run) for row in rows(db, sql, now_ns, limit)]


def run(db: Database, run_id: int) -> Run | None:
    row = one(db, "SELECT id, body FROM notify_run WHERE id=?", run_id)
    return _made(row, Run) if row else None


def runs(db: Database, *, open_only: bool, before: int, limit: int, nodes: Sequence[str]) -> list[Run]:
    """Newest first."""
    chosen = f"AND node_id IN ({','.join('?' * len(nodes))})" if nodes else ""
    state = "AND state IN ('running', 'done')" if open_only else ""
    sql = f"SELECT id, body FROM notify_run WHERE id<? {state} {chosen} ORDER BY id DESC LIMIT ?"  # noqa: S608 (of this module)
    return [_made(row, Run) for row in rows(db, sql, page_clause(before), *nodes, limit)]


def trim(db: Database) -> None:
    """The oldest that are over go."""
    db.execute(
        "DELETE FROM notify_run WHERE state='ended' AND id <= (SELECT max(id) FROM notify_run) - ?",
        [KEPT_RUNS],
    )
    db.execute(
        "DELETE FROM notify_delivery WHERE state NOT IN ('gathering', 'queued') "
        "AND id <= (SELECT max(id) FROM notify_delivery) - ?", [KEPT_RUNS],
    )  # fmt: skip


# ---------------------------------------------------------------- deliveries


def add_delivery(db: Database, made: Delivery) -> Delivery:
    db.execute(
        "INSERT INTO notify_delivery(key, channel, address, state, next_ns, sealed_ns, body) VALUES(?,?,?,?,?,?,?)",
        [made.key, made.channel, made.address, made.state, made.next_ns, made.sealed_ns, _encode(made)],
    )
    row = one(db, "SELECT id FROM notify_delivery WHERE key=?", made.key)
    assert row is not None
    return msgspec.structs.replace(made, id=row["id"])


def save_delivery(db: Database, made: Delivery) -> None:
    db.execute(
        "UPDATE notify_delivery SET state=?, next_ns=?, sealed_ns=?, body=? WHERE id=?",
        [made.state, made.next_ns, made.sealed_ns, _encode(made), made.id],
    )


def gathering(db: Database, channel: str, address: str) -> Delivery | None:
    """The message to an address that is still open for more mentions."""
    sql = "SELECT id, body FROM notify_delivery WHERE channel=? AND address=? AND state='gathering'"
    row = one(db, sql, channel, address)
    return _made(row, Delivery) if row else None


def sealed_times(db: Database, channel: str, address: str, limit: int) -> list[int]:
    sql = (
        "SELECT sealed_ns FROM notify_delivery WHERE channel=? AND address=? AND sealed_ns>0 "
        "ORDER BY sealed_ns DESC LIMIT ?"
    )
    return [int(row["sealed_ns"]) for row in rows(db, sql, channel, address, limit)]


def add_mention(db: Database, delivery: Delivery, run_id: int, visit: int, level: int) -> bool:
    """False when this step told this address already."""
    made = db.execute(
        "INSERT OR IGNORE INTO notify_mention VALUES(?,?,?,?,?,?)",
        [delivery.id, run_id, visit, delivery.channel, delivery.address, level],
    )
    return made.rowcount == 1


def mentioned(db: Database, delivery_id: int) -> tuple[list[Mention], int]:
    """What a message has to say: the most urgent alarms whose runs go on, and how many there are."""
    sql = (
        "SELECT m.run_id, max(m.level) AS level, r.body FROM notify_mention m JOIN notify_run r ON r.id=m.run_id "
        "WHERE m.delivery_id=? AND r.state IN ('running', 'done') GROUP BY m.run_id"
    )
    found = [
        Mention(row["run_id"], row["level"], msgspec.json.decode(row["body"], type=Run).facts)
        for row in rows(db, sql, delivery_id)
    ]
    found.sort(key=lambda mention: (mention.facts.priority, mention.facts.raised_ns))
    return found[:LISTED_MAX], len(found)


def still_wanted(db: Database, delivery: Delivery) -> bool:
    """Whether any alarm that a message is about still asks for somebody."""
    sql = (
        "SELECT 1 FROM notify_mention m JOIN notify_run r ON r.id=m.run_id "
        "WHERE m.delivery_id=? AND r.state IN ('running', 'done') LIMIT 1"
    )
    return bool(delivery.test_by) or one(db, sql, delivery.id) is not None


def due_deliveries(db: Database, state: str, now_ns: int, limit: int, channel: str = "") -> list[Delivery]:
    sql = (
        "SELECT id, body FROM notify_delivery WHERE state=? AND next_ns<=? AND (?3='' OR channel=?3) "
        "ORDER BY next_ns, id LIMIT ?4"
    ).replace("state=? AND next_ns<=?", "state=?1 AND next_ns<=?2")
    return [_made(row, Delivery) for row in rows(db, sql, state, now_ns, channel, limit)]


def delivery(db: Database, delivery_id: int) -> Delivery | None:
    row = one(db, "SELECT id, body FROM notify_delivery WHERE id=?", delivery_id)
    return _made(row, Delivery) if row else None


def deliveries(db: Database, *, run_id: int, channel: str, before: int, limit: int) -> list[Delivery]:
    """Newest first."""
    sql = (
        "SELECT id, body FROM notify_delivery WHERE id<?1 AND (?2='' OR channel=?2) AND (?3=0 OR id IN "
        "(SELECT delivery_id FROM notify_mention WHERE run_id=?3)) ORDER BY id DESC LIMIT ?4"
    )
    return [_made(row, Delivery) for row in rows(db, sql, page_clause(before), channel, run_id, limit)]


def waiting(db: Database) -> dict[str, int]:
    """Messages that are not sent yet, by channel."""
    sql = (
        "SELECT channel, count(*) AS n FROM notify_delivery WHERE state IN ('gathering', 'queued') "
        "GROUP BY channel"
    )
    return {row["channel"]: row["n"] for row in rows(db, sql)}


def next_due(db: Database) -> int:
    """When there is something to do; 0: nothing."""
    sql = (
        "SELECT min(t) AS t FROM (SELECT min(due_ns) AS t FROM notify_run WHERE state='running' UNION ALL "
        "SELECT min(next_ns) FROM notify_delivery WHERE state='gathering' UNION ALL "
        "SELECT min(next_ns) FROM notify_delivery WHERE state='queued')"
    )
    row = one(db, sql)
    return int(row["t"] or 0) if row else 0


# ---------------------------------------------------------------- breakers and mutes


def breakers(db: Database) -> dict[str, Breaker]:
    found = rows(db, "SELECT channel, body FROM notify_breaker")
    return {row["channel"]: msgspec.json.decode(row["body"], type=Breaker) for row in found}


def save_breaker(db: Database, channel: str, breaker: Breaker) -> None:
    db.execute("INSERT OR REPLACE INTO notify_breaker VALUES(?,?)", [channel, _encode(breaker)])


def mutes(db: Database, now_ns: int) -> dict[str, Mute]:
    """Those that hold, by rule."""
    found: Iterable[Mute] = (
        msgspec.json.decode(row["body"], type=Mute) for row in rows(db, "SELECT body FROM notify_mute")
    )
    return {mute.rule: mute for mute in found if mute.until_ns > now_ns}


def put_mute(db: Database, mute: Mute) -> None:
    db.execute("INSERT OR REPLACE INTO notify_mute VALUES(?,?)", [mute.rule, _encode(mute)])


def remove_mute(db: Database, rule: str) -> bool:
    return db.execute("DELETE FROM notify_mute WHERE rule=?", [rule]).rowcount > 0
