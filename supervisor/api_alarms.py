"""Operations on alarms: what stands, orders, journal, figures, definitions. The event stream is in ``api_stream``."""

from __future__ import annotations

import time
from typing import Literal

import msgspec

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
from supervisor.alarm_whatif import Trial
from supervisor.api_call import Call, Items, NoQuery, Operation, Paged, items
from supervisor.model import Role


class WhichEngine(msgspec.Struct, frozen=True):
    """``node_id``: "*" all, "" the supervisor's own engine."""

    node_id: str = "*"


class JournalQuery(Paged, frozen=True):
    """``after`` >= 0: oldest first from behind that id on."""

    after: int = -1
    node_id: str = ""
    alarm: str = ""
    event: str = ""
    user: str = ""
    priority: int = 0
    from_ns: int = 0
    to_ns: int = 0


class FiguresQuery(msgspec.Struct, frozen=True):
    """``to_ns`` 0: now; ``from_ns`` 0: a day before."""

    from_ns: int = 0
    to_ns: int = 0
    operators: int = 1
    node_id: str = ""


class NewOrder(msgspec.Struct, frozen=True):
    """``targets``: names, or ``name#occurrence``. ``duration_s`` of a shelf, 0: until it clears.

    Shelving, suppressing and removing need a comment. With priority 1 a removal from service takes two persons.
    """

    action: Literal[
        "acknowledge", "comment", "shelve", "unshelve", "suppress", "unsuppress", "remove", "return", "reset"
    ]
    targets: tuple[str, ...]
    node_id: str = ""
    comment: str = ""
    duration_s: int = 0
    work_order: str = ""


class NewDefinitions(msgspec.Struct, frozen=True):
    """``text``: ``[[alarm]]`` tables as in a plant file."""

    text: str
    node_id: str = ""
    message: str = ""


async def active_alarms(call: Call) -> Items[AlarmRow]:
    return Items(await call.services.alarms.active(call.actor, node_id=call.query.node_id))


async def hidden_alarms(call: Call) -> Items[AlarmRow]:
    return Items(await call.services.alarms.hidden(call.actor, node_id=call.query.node_id))


async def alarm_definitions(call: Call) -> Items[AlarmRow]:
    return Items(await call.services.alarms.definitions(call.actor, node_id=call.query.node_id))


async def alarm_counts(call: Call) -> AlarmCounts:
    return await call.services.alarms.counts(call.actor)


async def alarm_engines(call: Call) -> Items[EngineState]:
    return Items(await call.services.alarms.engines(call.actor))


async def alarm_journal(call: Call) -> Items[AlarmLine]:
    asked: JournalQuery = call.query
    wanted = AlarmFilter(
        asked.node_id, asked.alarm, asked.event, asked.user, asked.priority, asked.from_ns, asked.to_ns
    )
    found = await call.services.alarms.journal(call.actor, wanted, page=asked.page, after=asked.after)
    return items(found, asked.page.limit, lambda line: line.id)


async def alarm_figures(call: Call) -> Figures:
    asked: FiguresQuery = call.query
    to_ns = asked.to_ns or time.time_ns()
    return await call.services.alarms.figures(
        call.actor, from_ns=asked.from_ns or to_ns - 86_400_000_000_000, to_ns=to_ns, operators=asked.operators,
        node_id=asked.node_id,
    )  # fmt: skip


async def order_alarms(call: Call) -> OrderResult:
    asked: NewOrder = call.body
    return await call.services.alarms.order(
        call.actor, asked.node_id, asked.action, asked.targets, comment=asked.comment, duration_s=asked.duration_s,
        work_order=asked.work_order,
    )  # fmt: skip


class NewTrial(msgspec.Struct, frozen=True):
    """``text``: definitions as for ``define``. ``to_ns`` 0: now; ``from_ns`` 0: a day before."""

    text: str
    node_id: str = ""
    from_ns: int = 0
    to_ns: int = 0


async def try_alarms(call: Call) -> Trial:
    asked: NewTrial = call.body
    to_ns = asked.to_ns or time.time_ns()
    return await call.services.alarms.attempt(
        call.actor,
        asked.node_id,
        asked.text,
        from_ns=asked.from_ns or to_ns - 86_400_000_000_000,
        to_ns=to_ns,
    )


async def alarm_versions(call: Call) -> Items[DefinitionVersion]:
    node_id = "" if call.query.node_id == "*" else call.query.node_id
    return Items(await call.services.alarms.versions(call.actor, node_id))


async def define_alarms(call: Call) -> DefinitionVersion:
    asked: NewDefinitions = call.body
    return await call.services.alarms.define(call.actor, asked.node_id, asked.text, message=asked.message)


_V, _O, _E = Role.VIEWER, Role.OPERATOR, Role.ENGINEER
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/alarms", _V, "The active list: unacknowledged first, then by priority and time",
              active_alarms, Items[AlarmRow], WhichEngine, tag="alarms"),
    Operation("GET", "/alarms/hidden", _V, "Shelved, suppressed by design, out of service", hidden_alarms,
              Items[AlarmRow], WhichEngine, tag="alarms"),
    Operation("GET", "/alarms/definitions", _V, "Every alarm with its rationalisation", alarm_definitions,
              Items[AlarmRow], WhichEngine, tag="alarms"),
    Operation("POST", "/alarms/definitions", _E, "A new version of the definitions made on the page",
              define_alarms, DefinitionVersion, body=NewDefinitions, status=201, tag="alarms"),
    Operation("POST", "/alarms/trials", _V, "What other definitions would have done over recorded history",
              try_alarms, Trial, body=NewTrial, tag="alarms"),
    Operation("GET", "/alarms/versions", _V, "Versions of the definitions made on the page", alarm_versions,
              Items[DefinitionVersion], WhichEngine, tag="alarms"),
    Operation("GET", "/alarms/counts", _V, "How many stand, by priority", alarm_counts, AlarmCounts, NoQuery,
              tag="alarms"),
    Operation("GET", "/alarms/engines", _V, "Each alarm engine and whether it works", alarm_engines,
              Items[EngineState], NoQuery, tag="alarms"),
    Operation("GET", "/alarms/journal", _V, "The journal, newest first", alarm_journal, Items[AlarmLine],
              JournalQuery, tag="alarms"),
    Operation("GET", "/alarms/figures", _V, "Rate, floods, worst, stale, chattering", alarm_figures, Figures,
              FiguresQuery, tag="alarms"),
    Operation("POST", "/alarms/orders", _O, "Acknowledge, comment, shelve, suppress, take out of service, reset",
              order_alarms, OrderResult, body=NewOrder, status=202, tag="alarms"),
)  # fmt: skip
