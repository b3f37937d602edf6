"""Alarms of the whole fleet: what runtimes tell, what stands, the journal, orders and who may give them.

Rules.
* An entry counts when it is stored; only then is the runtime told so, and only then does anybody see it. One that
  comes twice, or late after its journal's life (``epoch``) is over, changes nothing that stands.
* What stands follows each runtime's own journal; the supervisor never decides for a runtime. Orders go to the engine
  that owns the alarm as durable commands and come back as entries.
* A runtime that is not connected keeps its last known alarms, marked as such, and is itself an alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec
from sqlite_utils import Database

from runtime.alarms.model import SYSTEM, Definition, Health, Order, Outcome, Standing
from runtime.alarms.parse import parse_text
from runtime.alarms.states import ACTIVE_LIST, HIDDEN, WAITING, State
from supervisor import alarm_store as store
from supervisor import audit
from supervisor.alarm_board import OWN as OWN
from supervisor.alarm_board import AlarmBoard
from supervisor.alarm_figures import figures_of
from supervisor.alarm_history import AlarmHistory
from supervisor.alarm_model import (
    AlarmCounts,
    AlarmFilter,
    AlarmLine,
    AlarmRow,
    DefinitionVersion,
    EngineState,
    Figures,
    OrderResult,
)
from supervisor.alarm_store import KnownNode
from supervisor.alarm_whatif import Trial
from supervisor.commands import CommandService
from supervisor.config_store import ConfigStore
from supervisor.fleet import FleetService
from supervisor.ingest import Ingest
from supervisor.model import NEWEST, Actor, Page, Role
from supervisor.node_state import NodeState
from supervisor.problems import not_found, not_understood, require

SECOND = 1_000_000_000
ORDER_EXPIRES_S = 600  # an acknowledgement that comes an hour late means something else
SILENT_NS = 10 * SECOND  # an engine that was not heard of for so long is down
PENDING_NS = 15 * SECOND
OWN_NAME = "supervisor"
ROLES = {
    "acknowledge": Role.OPERATOR, "comment": Role.OPERATOR, "shelve": Role.OPERATOR, "unshelve": Role.OPERATOR,
    "reset": Role.OPERATOR, "suppress": Role.ENGINEER, "unsuppress": Role.ENGINEER, "remove": Role.ENGINEER,
    "return": Role.ENGINEER,
}  # fmt: skip
TARGETS_MAX = 5000
TRIAL_NS_MAX = 31 * 86_400 * SECOND
EVERYTHING = AlarmFilter()


class OwnEngine(Protocol):
    """The supervisor's own engine, as the service needs it."""

    @property
    def health(self) -> Health: ...

    async def order(self, order: Order) -> Outcome: ...

    async def redefine(self, text: str) -> None: ...


class AlarmService(AlarmBoard):
    """``services.Alarms``. Used on the event loop."""

    def __init__(
        self,
        config: ConfigStore,
        fleet: FleetService,
        commands: CommandService,
        ingest: Ingest,
        now_ns: Callable[[], int],
    ) -> None:
        super().__init__(config, fleet, ingest, now_ns)
        self._commands = commands
        self._made_for: tuple[object, ...] = ()
        self._made: dict[tuple[Sequence[State] | None, str], list[AlarmRow]] = {}
        self.own: OwnEngine | None = None

    # ------------------------------------------------------------ what stands

    def _visible(self, actor: Actor) -> Iterable[tuple[str, KnownNode]]:
        require(actor, Role.VIEWER)
        for node_id, known in self._nodes.items():
            state = self._fleet.bus.nodes.get(node_id)
            if node_id != OWN and (state is None or state.link == "revoked"):
                continue
            if not actor.nodes or node_id in actor.nodes:
                yield node_id, known

    def name_of(self, node_id: str) -> str:
        state = self._fleet.bus.nodes.get(node_id)
        return OWN_NAME if node_id == OWN else state.name if state else node_id

    def _rows(self, actor: Actor, states: Sequence[State] | None, node_id: str = "*") -> list[AlarmRow]:
        """Kept until something changes: in a flood many pages ask for the same."""
        links = tuple((state.node_id, state.link, state.name) for state in self._fleet.bus.nodes.values())
        key = (self.generation, actor.nodes, links, len(self._pending), self._now_ns() // SECOND)
        if key != self._made_for:
            self._made_for, self._made = key, {}
        if (states, node_id) not in self._made:
            self._made[states, node_id] = self._make_rows(actor, states, node_id)
        return self._made[states, node_id]

    def _make_rows(self, actor: Actor, states: Sequence[State] | None, node_id: str) -> list[AlarmRow]:
        found = []
        for number, known in self._visible(actor):
            if node_id not in ("*", number):
                continue
            state = self._fleet.bus.nodes.get(number)
            stale, node = number != OWN and (state is None or state.stale), self.name_of(number)
            for name, (_, _, standing) in known.standing.items():
                if states is not None and standing.state not in states:
                    continue
                definition = known.definitions.get(name) or Definition(name, text=name)
                found.append(
                    AlarmRow(
                        number,
                        node,
                        name,
                        standing,
                        definition,
                        stale,
                        self._waits(number, name),
                    )
                )
        return found

    def _waits(self, node_id: str, name: str) -> str:
        if not self._pending:
            return ""
        at_ns, action = self._pending.get((node_id, name), (0, ""))
        return action if self._now_ns() - at_ns < PENDING_NS else ""

    async def active(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        """The active list: unacknowledged first, then by priority and time. ``node_id``: "*" all, "" our own."""
        return tuple(sorted(self._rows(actor, ACTIVE_LIST, node_id), key=order_of))

    async def hidden(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        """Shelved, suppressed by design, out of service, and those whose removal waits for a second person."""
        asked = [row for row in self._rows(actor, None, node_id) if row.standing.asked_by]
        rows = self._rows(actor, HIDDEN, node_id) + [row for row in asked if row.standing.state not in HIDDEN]
        return tuple(sorted(rows, key=lambda row: (row.standing.state, row.node, row.name)))

    async def definitions(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]:
        """Every alarm with its definition, by runtime and name: the rationalisation table."""
        found = []
        for number, known in self._visible(actor):
            if node_id in ("*", number):
                for name, definition in known.definitions.items():
                    kept = known.standing.get(name)
                    standing = kept[2] if kept else Standing(priority=definition.priority)
                    found.append(AlarmRow(number, self.name_of(number), name, standing, definition))
        return tuple(sorted(found, key=lambda row: (row.node, row.name)))

    async def counts(self, actor: Actor) -> AlarmCounts:
        """For the strip of every page."""
        active, waiting = [0, 0, 0, 0], [0, 0, 0, 0]
        hidden = dict.fromkeys(HIDDEN, 0)
        sounding, newest = 0, None
        for row in self._rows(actor, None):
            one = row.standing
            if one.state in hidden:
                hidden[one.state] += 1
            if one.state in ACTIVE_LIST:
                active[one.priority - 1] += 1
                sounding += one.announced
            if one.state in WAITING:
                waiting[one.priority - 1] += 1
                if newest is None or one.raised_ns > newest.standing.raised_ns:
                    newest = row
        engines = await self.engines(actor)
        return AlarmCounts(
            by_priority=tuple(active), unacknowledged=tuple(waiting), sounding=sounding,  # type: ignore[arg-type]
            shelved=hidden[State.SHELVED], suppressed=hidden[State.SUPPRESSED],
            out_of_service=hidden[State.OUT_OF_SERVICE], newest=newest,
            engines_down=tuple(f"{one.node}: {one.problem}" for one in engines if one.problem),
            checked_ns=max((one.checked_ns for one in engines), default=0), last_id=self.last_id,
        )  # fmt: skip

    def definition_of(self, node_id: str, name: str) -> Definition:
        known = self._nodes.get(node_id, KnownNode()).definitions.get(name)
        return known or Definition(name, text=name)

    async def engines(self, actor: Actor) -> tuple[EngineState, ...]:
        """Each engine and whether it works."""
        found = []
        for node_id, _ in self._visible(actor):
            if node_id == OWN:
                health = self.own.health if self.own else Health(problem="it has not been started")
                found.append(EngineState(OWN, OWN_NAME, health.problem, health, health.evaluated_ns))
        for state in self._fleet.bus.nodes.values():
            if state.link != "revoked" and (not actor.nodes or state.node_id in actor.nodes):
                found.append(self._engine_of(state))
        return tuple(found)

    def _engine_of(self, state: NodeState) -> EngineState:
        health = state.status.alarms if state.status else None
        if state.link == "never":
            return EngineState(state.node_id, state.name, "", Health(), 0)
        if state.stale:
            problem = "no connection: what is shown is the last that is known"
        elif health is None:
            problem = "" if state.status is None else "this runtime has no alarm engine"
        elif health.problem:
            problem = health.problem
        elif state.status and state.status.time_ns - health.evaluated_ns > SILENT_NS:
            problem = "the engine does not evaluate"
        else:
            problem = ""
        health = health or Health()
        return EngineState(state.node_id, state.name, problem, health, health.evaluated_ns)

    # ------------------------------------------------------------ the journal

    async def journal(
        self, actor: Actor, wanted: AlarmFilter = EVERYTHING, *, page: Page = NEWEST, after: int = -1
    ) -> tuple[AlarmLine, ...]:
        """Newest first; ``page.before`` is an id. ``after`` >= 0: oldest first from behind that id on."""
        require(actor, Role.VIEWER, wanted.node_id)
        found = await self._config.run(
            lambda db: store.lines(
                db, wanted, before=page.before, after=after, limit=page.limit, nodes=actor.nodes
            )
        )
        return tuple(
            AlarmLine(
                row["id"], row["node_id"], self.name_of(row["node_id"]), row["epoch"], row["received_ns"],
                store.entry_of(row),
            )
            for row in found
        )  # fmt: skip

    async def next_lines(
        self, actor: Actor, after: int, *, limit: int = 500, wait_s: float = 15.0
    ) -> tuple[tuple[AlarmLine, ...], int]:
        """Lines behind ``after`` in order, and up to which id the actor has now seen all that it may see.
        Waits for news at most so long. Nothing is ever left out."""
        if self.last_id <= after and not self.closed:
            try:
                await asyncio.wait_for(self._news.wait(), timeout=wait_s)
            except TimeoutError:
                return (), after
        seen = max(self.last_id, after)
        found = await self.journal(actor, page=Page(limit=limit), after=after)
        return found, found[-1].id if len(found) >= limit else max(seen, found[-1].id if found else 0)

    async def figures(
        self, actor: Actor, *, from_ns: int, to_ns: int, operators: int = 1, node_id: str = ""
    ) -> Figures:
        """Rate, floods, worst, stale, chattering."""
        require(actor, Role.VIEWER, node_id)
        if not 0 <= to_ns - from_ns <= 400 * 86_400 * SECOND or operators < 1:
            raise not_understood("a range of at most 400 days and at least one operator", to_ns - from_ns)
        nodes = (node_id,) if node_id else actor.nodes

        def work(db: Database) -> tuple[list[tuple[int, str, str, int]], list[tuple[int, int]]]:
            return store.raised(db, from_ns, to_ns, nodes), list(
                store.acknowledgement_times(db, from_ns, to_ns)
            )

        raised, acknowledged = await self._config.run(work)
        stale = sum(
            self._now_ns() - row.standing.raised_ns > 86_400 * SECOND
            for row in self._rows(actor, ACTIVE_LIST, node_id or "*")
        )
        return figures_of(
            raised, acknowledged, from_ns=from_ns, to_ns=to_ns, operators=operators, stale=stale,
            name_of=self.name_of,
        )  # fmt: skip

    # ------------------------------------------------------------ orders

    async def order(
        self,
        actor: Actor,
        node_id: str,
        action: str,
        targets: tuple[str, ...],
        *,
        comment: str = "",
        duration_s: int = 0,
        work_order: str = "",
    ) -> OrderResult:
        """What a person wants of alarms of one engine. Runtimes get it as a durable command."""
        if action not in ROLES:
            raise not_understood(f"one of {', '.join(ROLES)}", action)
        require(actor, ROLES[action], node_id)
        if not 1 <= len(targets) <= TARGETS_MAX:
            raise not_understood(f"1 to {TARGETS_MAX} alarms", len(targets))
        if node_id == OWN:
            return await self._order_own(actor, action, targets, comment, duration_s, work_order)
        values = {
            "action": action, "targets": "\n".join(targets), "comment": comment, "duration_s": str(duration_s),
            "work_order": work_order,
        }  # fmt: skip
        row = await self._commands.send(
            actor, node_id, "alarm", values, reason=comment, expires_s=ORDER_EXPIRES_S
        )
        now = self._now_ns()
        for target in targets:
            self._pending[node_id, target.rpartition("#")[0] or target] = (now, action)
        return OrderResult((row.id,), count=len(targets))

    async def _order_own(
        self,
        actor: Actor,
        action: str,
        targets: tuple[str, ...],
        comment: str,
        duration_s: int,
        work_order: str,
    ) -> OrderResult:
        if self.own is None:
            raise not_found("engine", OWN_NAME)
        asked = {
            "action": action, "targets": targets, "user": actor.name, "comment": comment, "duration_s": duration_s,
            "work_order": work_order,
        }  # fmt: skip
        outcome = await self.own.order(msgspec.convert(asked, Order))
        now = self._now_ns()
        await self._config.run(
            lambda db: audit.record(
                db,
                actor,
                f"alarm.{action}",
                "supervisor",
                now_ns=now,
                new="\n".join(outcome.done),
                reason=comment,
            )
        )
        return OrderResult((), outcome.done, outcome.refused, len(outcome.done))

    # ------------------------------------------------------------ definitions made on a page

    async def versions(self, actor: Actor, node_id: str) -> tuple[DefinitionVersion, ...]:
        require(actor, Role.VIEWER, node_id)
        return tuple(await self._config.run(lambda db: store.versions(db, node_id)))

    async def page_text(self, actor: Actor, node_id: str) -> str:
        """The newest definitions made on the page."""
        found = await self.versions(actor, node_id)
        return found[0].text if found else self._nodes.get(node_id, KnownNode()).page

    async def attempt(self, actor: Actor, node_id: str, text: str, *, from_ns: int, to_ns: int) -> Trial:
        """What the definitions in ``text`` would have done over recorded history, beside those in force."""
        require(actor, Role.VIEWER, node_id)
        if not 0 < to_ns - from_ns <= TRIAL_NS_MAX:
            raise not_understood("a range of at most 31 days", to_ns - from_ns)
        page = parse_text(text, origin="page")
        known = [
            one for one in self._nodes.get(node_id, KnownNode()).definitions.values() if one.kind != "comms"
        ]
        before = [one for one in known if not one.name.startswith(SYSTEM)]
        names = {one.name for one in page}
        after = [one for one in before if one.origin != "page" and one.name not in names] + list(page)
        history = AlarmHistory(self._fleet.bus, self._ingest.store)
        return await self._ingest.on_query_thread(
            lambda: history.attempt(node_id, before, after, from_ns=from_ns, to_ns=to_ns)
        )

    async def define(self, actor: Actor, node_id: str, text: str, *, message: str = "") -> DefinitionVersion:
        """A new version of an engine's definitions: checked, kept, audited, then sent to the engine that owns it."""
        require(actor, Role.ENGINEER, node_id)
        parse_text(text, origin="page")
        now = self._now_ns()
        old = await self.page_text(actor, node_id)
        wanted = DefinitionVersion(node_id, 0, text, now, actor.name, message)

        def work(db: Database) -> DefinitionVersion:
            made = store.add_version(db, wanted)
            audit.record(
                db, actor, "alarm.define", self.name_of(node_id), now_ns=now, old=old, new=text, reason=message
            )  # fmt: skip
            return made

        made = await self._config.run(work)
        if node_id == OWN:
            if self.own is not None:
                await self.own.redefine(text)
            return made
        values = {"action": "define", "text": text, "version": str(made.number)}
        row = await self._commands.send(actor, node_id, "alarm", values, reason=message, expires_s=3600)
        return msgspec.structs.replace(made, command_id=row.id)


def order_of(row: AlarmRow) -> tuple[bool, int, int, str, str]:
    """Unacknowledged first, then priority, then the newest; stable."""
    one = row.standing
    return one.state not in WAITING, one.priority, -one.raised_ns, row.node, row.name
