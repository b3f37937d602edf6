"""Commands: a durable queue from a person to a runtime, with an end state for every outcome.

States::

    queued -> sent -> effective | rejected | expired
       |        `---> uncertain      (the link was lost, or no answer came: never repeated by itself)
       `-> expired | superseded      (too late, or a newer write to the same tags came before it was sent)

Rules. A command is marked *sent* on disk before its frame leaves, so that a supervisor that is killed in between does
not send it twice. A result that arrives later settles an uncertain command. The runtime refuses what is over: the
expiry is given in its own clock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from sqlite_utils import Database

from runtime.link import Command, CommandResult
from scan.problem import Problem, fail
from supervisor import audit
from supervisor.config_store import ConfigStore, Row, one, page_clause, rows
from supervisor.fleet import FleetService
from supervisor.model import NEWEST, Actor, CommandRow, Page, Role
from supervisor.node_state import NodeState
from supervisor.problems import not_found, not_understood, require

SECOND_NS = 1_000_000_000
EXPIRES_S_MAX = 3600
LEASE_S_MAX = 8 * 3600  # one shift; then the runtime releases the force by itself
ANSWER_S = 10  # after expiry, an answer may still be on its way for this long
VALUES_MAX = 100
VALUE_LENGTH_MAX = 4096
QUEUED_MAX = 200  # open commands of one runtime
CHECK_PERIOD_S = 1
_TAG_KINDS = ("write", "force", "unforce")
_OPEN = ("queued", "sent", "uncertain")


class CommandService:
    """``services.Commands`` and the link's part of it."""

    def __init__(self, store: ConfigStore, fleet: FleetService, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._fleet = fleet
        self._now_ns = now_ns

    async def start(self) -> None:
        """What was sent before the supervisor ended may or may not have happened."""
        await self._store.run(
            lambda db: db.execute(
                "UPDATE command SET state='uncertain', changed_ns=? WHERE state='sent'", [self._now_ns()]
            )
        )

    # ------------------------------------------------------------ services.Commands

    async def send(
        self,
        actor: Actor,
        node_id: str,
        kind: Literal["write", "force", "unforce", "start", "stop", "restart", "reset_statistics", "alarm"],
        values: dict[str, str] | None = None,
        *,
        reason: str = "",
        expected: dict[str, str] | None = None,
        expires_s: int = 30,
        lease_s: int = 0,
        idempotency_key: str = "",
    ) -> CommandRow:
        """Kind "alarm" comes from ``supervisor.alarms``, which knows who may do what of it."""
        require(actor, Role.OPERATOR if kind in (*_TAG_KINDS, "alarm") else Role.ENGINEER, node_id)
        node = self._fleet.node(node_id)
        values, expected = values or {}, expected or {}
        _check(node, kind, values, expected, reason, expires_s, lease_s)
        key = f"{actor.name}:{idempotency_key[:100]}" if idempotency_key else None
        now = self._now_ns()
        record = {
            "id": "c" + secrets.token_hex(8), "node_id": node_id, "kind": kind, "state": "queued", "user": actor.name,
            "values": msgspec.json.encode(values).decode(), "expected": msgspec.json.encode(expected).decode(),
            "reason": reason[:500], "created_ns": now, "changed_ns": now, "expires_ns": now + expires_s * SECOND_NS,
            "lease_s": lease_s, "idempotency_key": key,
        }  # fmt: skip
        number, superseded = await self._store.run(lambda db: self._insert(db, actor, node, record))
        for row in superseded:
            self._publish(row)
        await self._dispatch(node_id)
        return self._publish(await self._row(number))

    def _insert(self, db: Database, actor: Actor, node: NodeState, record: Row) -> tuple[int, list[Row]]:
        if record["idempotency_key"]:
            same = one(db, "SELECT number FROM command WHERE idempotency_key=?", record["idempotency_key"])
            if same:
                return int(same["number"]), []
        waiting = rows(db, "SELECT * FROM command WHERE node_id=? AND state='queued'", node.node_id)
        if len(waiting) >= QUEUED_MAX:
            raise fail(
                "SV4006",
                "too many commands wait for this runtime",
                expected=f"at most {QUEUED_MAX}",
                remedy="wait until it is connected again, or until they expire",
            )
        superseded = [
            w for w in waiting if w["kind"] == record["kind"] == "write"
            and set(_texts(w["values"])) == set(_texts(record["values"]))
        ]  # fmt: skip
        for row in superseded:
            row["state"], row["changed_ns"] = "superseded", record["created_ns"]
            db.execute("UPDATE command SET state='superseded', changed_ns=? WHERE number=?",
                       [record["created_ns"], row["number"]])  # fmt: skip
        number = db.table("command").insert(record).last_pk
        audit.record(
            db, actor, f"command.{record['kind']}", f"runtime {node.name}", now_ns=record["created_ns"],
            old=record["expected"] if record["expected"] != "{}" else "", new=record["values"], reason=record["reason"],
        )  # fmt: skip
        return int(number or 0), superseded

    async def get(self, actor: Actor, command_id: str) -> CommandRow:
        row = await self._store.run(lambda db: one(db, "SELECT * FROM command WHERE id=?", command_id))
        if row is None:
            raise not_found("command", command_id)
        require(actor, Role.VIEWER, row["node_id"])
        return self._model(row)

    async def list(self, actor: Actor, *, node_id: str = "", page: Page = NEWEST) -> tuple[CommandRow, ...]:
        require(actor, Role.VIEWER, node_id)
        sql = "SELECT * FROM command WHERE (?1='' OR node_id=?1) AND number<?2 ORDER BY number DESC LIMIT ?3"
        limit = min(page.limit, 1000)
        found = await self._store.run(lambda db: rows(db, sql, node_id, page_clause(page.before), limit))
        return tuple(self._model(row) for row in found if not actor.nodes or row["node_id"] in actor.nodes)

    # ------------------------------------------------------------ towards the runtime

    async def link_up(self, node_id: str) -> None:
        await self._dispatch(node_id)

    async def link_down(self, node_id: str) -> None:
        await self._move("node_id=? AND state='sent'", [node_id], "uncertain", _unanswered())

    async def _dispatch(self, node_id: str) -> None:
        if not self._fleet.is_ready(node_id):
            return
        now = self._now_ns()

        def work(db: Database) -> list[Row]:
            sql = "SELECT * FROM command WHERE node_id=? AND state='queued' AND expires_ns>? ORDER BY number"
            due = rows(db, sql, node_id, now)
            for row in due:
                row["state"], row["changed_ns"] = "sent", now
                db.execute(
                    "UPDATE command SET state='sent', changed_ns=? WHERE number=?", [now, row["number"]]
                )
            return due

        offset = self._fleet.node(node_id).clock_offset_ns
        for row in await self._store.run(work):
            message = Command(
                row["id"], row["kind"], _texts(row["values"]), row["user"], row["reason"],
                row["expires_ns"] + offset, _texts(row["expected"]), row["lease_s"],
            )  # fmt: skip
            if not self._fleet.send(node_id, message):
                await self._move("number=?", [row["number"]], "uncertain", _unanswered())
            self._publish(row)

    async def result(self, node_id: str, result: CommandResult) -> None:
        """What the runtime says of a command of its own; of another's it may say nothing."""
        problem = msgspec.json.encode(result.problem).decode() if result.problem else None
        now = self._now_ns()

        def work(db: Database) -> Row | None:
            row = one(db, "SELECT * FROM command WHERE id=? AND node_id=?", result.id, node_id)
            if row is None or row["state"] not in _OPEN:
                return None
            changed: Row = {"state": result.state, "changed_ns": now, "scan": result.scan,
                            "value": result.value[:VALUE_LENGTH_MAX], "problem": problem}  # fmt: skip
            db.table("command").update(row["number"], changed)
            return row | changed

        row = await self._store.run(work)
        if row is not None:
            self._publish(row)

    async def watch(self) -> None:
        """Ends commands whose time is over. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_PERIOD_S)
            now = self._now_ns()
            await self._move("state='queued' AND expires_ns<?", [now], "expired", None)
            await self._move(
                "state='sent' AND expires_ns<?", [now - ANSWER_S * SECOND_NS], "uncertain", _unanswered()
            )

    async def _move(self, where: str, values: Sequence[object], state: str, problem: Problem | None) -> None:
        now = self._now_ns()
        text = msgspec.json.encode(problem).decode() if problem else None

        def work(db: Database) -> list[Row]:
            found = rows(db, f"SELECT * FROM command WHERE {where}", *values)  # noqa: S608 (clauses of this module)
            for row in found:
                row["state"], row["changed_ns"], row["problem"] = state, now, text
                db.table("command").update(
                    row["number"], {"state": state, "changed_ns": now, "problem": text}
                )
            return found

        for row in await self._store.run(work):
            self._publish(row)

    # ------------------------------------------------------------ rows

    async def _row(self, number: int) -> Row:
        row = await self._store.run(lambda db: one(db, "SELECT * FROM command WHERE number=?", number))
        if row is None:
            raise not_found("command", number)
        return row

    def _publish(self, row: Row) -> CommandRow:
        command = self._model(row)
        self._fleet.bus.publish(command)
        return command

    def _model(self, row: Row) -> CommandRow:
        node = self._fleet.bus.nodes.get(row["node_id"])
        problem = msgspec.json.decode(row["problem"], type=Problem) if row["problem"] else None
        return CommandRow(
            row["id"], row["number"], row["node_id"], node.name if node else "", row["kind"], _texts(row["values"]),
            row["state"], row["user"], row["reason"], row["created_ns"], row["changed_ns"], row["expires_ns"],
            row["scan"], row["value"], problem,
        )  # fmt: skip


def _texts(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def _check(
    node: NodeState,
    kind: str,
    values: dict[str, str],
    expected: dict[str, str],
    reason: str,
    expires_s: int,
    lease_s: int,
) -> None:
    if node.link == "revoked":
        raise _not_possible(f"runtime {node.name} is revoked", "choose another runtime")
    if not 1 <= expires_s <= EXPIRES_S_MAX:
        raise not_understood(f"an expiry of 1 to {EXPIRES_S_MAX} seconds", expires_s)
    if kind not in _TAG_KINDS:
        return
    if not 1 <= len(values) <= VALUES_MAX or len(expected) > VALUES_MAX:
        raise not_understood(f"1 to {VALUES_MAX} values", len(values))
    if any(len(text) > VALUE_LENGTH_MAX for text in (*values.values(), *expected.values())):
        raise not_understood(f"values of at most {VALUE_LENGTH_MAX} characters", "longer ones")
    if kind == "force" and (not reason.strip() or not 1 <= lease_s <= LEASE_S_MAX):
        raise _not_possible(
            "a force needs a reason and a lease", f"say why, and for how long: 1 to {LEASE_S_MAX} seconds"
        )
    board = node.board
    if board is None:
        raise _not_possible(f"runtime {node.name} has never told its tags", "wait until it connects")
    for path in values:
        index = board.index_of_path.get(path)
        if index is None:
            raise _not_possible(f"there is no tag {path}", "compare it with the runtime's list of tags")
        if kind == "write" and not board.describe.tags[index].writable:
            raise _not_possible(
                f"tag {path} is not writable", "declare it writable in the program, or force it for a while"
            )


def _not_possible(message: str, remedy: str) -> Exception:
    return fail("SV4006", message, remedy=remedy)


def _unanswered() -> Problem:
    return Problem(
        "SV4007",
        "whether the command took effect is not known",
        expected="an answer of the runtime",
        found="the link was lost or no answer came",
        remedy="look at the tag's present value, then decide whether to send it again",
    )
