"""One step of notifications, as one transaction: what the journal of alarms says, what is due, what is closed.

Rules.
* The place in the journal, the runs, their positions and the messages that they make are written together. Killed
  anywhere, the supervisor goes on as if the step had not begun, or as if it had been done.
* Runs are compared with what stands of their alarms, so repeated and late journal lines change nothing.
* The journal is read to its end before any run goes on: who was away finds out first what is over by now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
from sqlite_utils import Database

from runtime.alarms.model import Definition, Entry
from runtime.alarms.states import Event
from supervisor import alarm_store
from supervisor.alarm_model import AlarmFilter
from supervisor.notify import gather, machine, store
from supervisor.notify.machine import Call
from supervisor.notify.model import (
    AlarmFacts,
    Delivery,
    Note,
    Person,
    Position,
    Run,
    Settings,
)
from supervisor.notify.schedule import on_duty

BATCH = 500
NOTES_MAX = 30
BEGINS = frozenset({Event.RAISE, Event.REALARM, Event.UNSHELVE, Event.UNSUPPRESS, Event.RETURN})
EVERYTHING = AlarmFilter()
Describe = Callable[[str, Entry], AlarmFacts]


class Defined(Protocol):
    """The alarm service, as far as messages need it."""

    def definition_of(self, node_id: str, name: str) -> Definition: ...

    def name_of(self, node_id: str) -> str: ...


class Done(msgspec.Struct, frozen=True):
    """``more``: there is work left that is due already. ``next_ns``: when the next is; 0: nothing waits."""

    more: bool
    next_ns: int
    changed: bool


class Follower:
    """``step`` and ``sweep`` run within a transaction of the configuration store."""

    def __init__(self, describe: Describe, link: Callable[[], str]) -> None:
        self._describe, self._link = describe, link

    def step(self, db: Database, settings: Settings, now_ns: int) -> Done:
        before = db.conn.total_changes
        if self._follow(db, settings, now_ns):
            return Done(True, now_ns, True)
        muted = store.mutes(db, now_ns)
        runs = store.due_runs(db, now_ns, BATCH)
        for run in runs:
            self._advance(db, settings, run, muted, now_ns)
        closing = store.due_deliveries(db, "gathering", now_ns, BATCH)
        for delivery in closing:
            self._seal(db, delivery, now_ns)
        more = len(runs) == BATCH or len(closing) == BATCH
        return Done(more, store.next_due(db), db.conn.total_changes != before)

    def sweep(self, db: Database, now_ns: int, after: int = 0) -> int:
        """Compare a part of the open runs with what stands; the number to go on behind, 0 at the end."""
        found = store.all_open_runs(db, after, BATCH)
        for run in found:
            self._compare(db, run, now_ns)
        store.trim(db)
        return found[-1].id if len(found) == BATCH else 0

    # ------------------------------------------------------------ the journal

    def _follow(self, db: Database, settings: Settings, now_ns: int) -> bool:
        """True when there is more to read."""
        if not settings.rules and not store.any_open(db):
            return False
        after = store.cursor(db)
        found = alarm_store.lines(db, EVERYTHING, after=after, limit=BATCH)
        for row in found:
            entry = alarm_store.entry_of(row)
            for run in store.open_runs(db, row["node_id"], entry.alarm):
                self._compare(db, run, now_ns)
            if entry.event in BEGINS:
                self._begin(db, settings, row, entry, now_ns)
        if found:
            store.set_cursor(db, found[-1]["id"])
        return len(found) == BATCH

    def _begin(
        self, db: Database, settings: Settings, row: dict[str, object], entry: Entry, now_ns: int
    ) -> None:
        node_id, epoch = str(row["node_id"]), str(row["epoch"])
        occurrence = entry.standing.occurrence
        if not settings.rules or not machine.may_begin(
            epoch, occurrence, store.standing(db, node_id, entry.alarm)
        ):
            return
        facts = self._describe(node_id, entry)
        busy = {run.rule for run in store.open_runs(db, node_id, entry.alarm) if run.state == "running"}
        for rule in settings.rules.values():
            if rule.name in busy or not machine.picks(rule, facts):
                continue
            pipeline = settings.pipelines[rule.pipeline]
            run = Run(0, rule.name, pipeline, facts, epoch, Position(due_ns=now_ns), now_ns)
            store.add_run(db, run, int(str(row["id"])))

    def _compare(self, db: Database, run: Run, now_ns: int) -> bool:
        """True while the run goes on."""
        stands = store.standing(db, run.facts.node_id, run.facts.alarm)
        why = machine.ended(run.pipeline, run.epoch, run.facts.occurrence, stands)
        if why:
            by = stands[1].acked_by if stands and why == "acknowledged" else ""
            end_run(db, run, why, by, now_ns)
        return not why

    # ------------------------------------------------------------ pipelines

    def _advance(self, db: Database, settings: Settings, run: Run, muted: Iterable[str], now_ns: int) -> None:
        if not self._compare(db, run, now_ns):
            return
        position, calls = machine.advance(run.pipeline, run.position, now_ns)
        notes = list(run.notes)
        for call in calls:
            muted_by = "" if "" not in muted and run.rule not in muted else "muted: "
            told = [] if muted_by else self._call(db, settings, run, call, now_ns)
            who = ", ".join(told) or (call.to if muted_by else f"nobody: {call.to} reaches no address now")
            word = "escalated to" if run.position.level < call.level else "told"
            notes.append(Note(now_ns, f"{muted_by}{word} {who}"))
        if position.done:
            notes.append(Note(now_ns, "all steps are done; nobody has answered"))
        state = "done" if position.done else "running"
        store.save_run(
            db,
            msgspec.structs.replace(run, position=position, state=state, notes=tuple(notes[-NOTES_MAX:])),
        )

    def _call(self, db: Database, settings: Settings, run: Run, call: Call, now_ns: int) -> list[str]:
        """Mention the alarm to everybody who is meant; their names and channels."""
        told = []
        for person in people_of(settings, call.to, now_ns):
            for address in person.addresses:
                channel = settings.channels.get(address.channel)
                wanted = not call.channels or address.channel in call.channels
                if channel is None or not channel.enabled or not wanted:
                    continue
                delivery = store.gathering(db, channel.name, address.to)
                if delivery is None:
                    sealed = store.sealed_times(db, channel.name, address.to, channel.burst)
                    key = key_of(run.id, call.visit, channel.name, address.to)
                    due_ns = gather.due_ns(now_ns, sealed, channel)
                    made = Delivery(
                        0, key, channel.name, person.name, address.to, "gathering", now_ns, now_ns, due_ns
                    )
                    delivery = store.add_delivery(db, made)
                store.add_mention(db, delivery, run.id, call.visit, call.level)
                told.append(f"{person.name} by {channel.name}")
        return told

    def _seal(self, db: Database, delivery: Delivery, now_ns: int) -> None:
        mentions, count = store.mentioned(db, delivery.id)
        if not count:
            store.save_delivery(db, cancelled(delivery, now_ns))
            return
        subject, text = gather.compose(mentions, count, self._link())
        store.save_delivery(
            db,
            msgspec.structs.replace(
                delivery, state="queued", changed_ns=now_ns, next_ns=now_ns, sealed_ns=now_ns, subject=subject,
                text=text, mentions=tuple(mentions), count=count,
            ),
        )  # fmt: skip


def end_run(db: Database, run: Run, why: str, by: str, now_ns: int) -> None:
    store.save_run(db, msgspec.structs.replace(run, state="ended", why=why, by=by, ended_ns=now_ns))


def cancelled(delivery: Delivery, now_ns: int) -> Delivery:
    return msgspec.structs.replace(
        delivery, state="cancelled", changed_ns=now_ns, problem="nobody needs it any more"
    )


def key_of(run_id: int, visit: int, channel: str, address: str) -> str:
    """The same for the same step of the same run, whenever it is done."""
    return hashlib.sha256(f"{run_id}\0{visit}\0{channel}\0{address}".encode()).hexdigest()[:32]


def facts_of(alarms: Defined, node_id: str, entry: Entry) -> AlarmFacts:
    """An entry with its definition."""
    found, now = alarms.definition_of(node_id, entry.alarm), entry.standing
    return AlarmFacts(
        node_id, alarms.name_of(node_id), entry.alarm, now.occurrence, now.priority, found.text or entry.alarm,
        found.group, found.area, found.unit, now.value, found.response, now.raised_ns,
    )  # fmt: skip


def people_of(settings: Settings, to: str, now_ns: int) -> tuple[Person, ...]:
    """Who is meant, now."""
    kind, _, name = to.partition(":")
    names: tuple[str, ...] = ()
    if kind == "person":
        names = (name,)
    elif kind == "roster" and name in settings.rosters:
        names = settings.rosters[name].people
    elif kind == "schedule" and name in settings.schedules:
        names = on_duty(settings.schedules[name], now_ns)
    found = (settings.people.get(one) for one in names)
    return tuple(person for person in found if person is not None and person.enabled)
