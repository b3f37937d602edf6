"""Operations on runtimes: state, tags, events, history, commands."""

from __future__ import annotations

from typing import Literal

import msgspec

from supervisor.api_call import Call, Items, Operation, Paged, items
from supervisor.model import (
    About,
    Aggregate,
    CommandRow,
    EventRow,
    Force,
    Role,
    Runtime,
    RuntimeDetail,
    Series,
    SeriesKey,
    TagValue,
    Trace,
)


class TagQuery(msgspec.Struct, frozen=True):
    """``paths``: comma-separated; all tags when empty."""

    paths: str = ""


class NewName(msgspec.Struct, frozen=True):
    name: str


class Reason(msgspec.Struct, frozen=True):
    reason: str


class EventQuery(Paged, frozen=True):
    node_id: str = ""
    kind: str = ""


class SeriesQuery(msgspec.Struct, frozen=True):
    node_id: str = ""
    search: str = ""
    limit: int = 1000


class RangeQuery(msgspec.Struct, frozen=True):
    node_id: str
    path: str
    from_ns: int
    to_ns: int
    limit: int = 10_000


class TrendQuery(msgspec.Struct, frozen=True):
    keys: tuple[SeriesKey, ...]
    from_ns: int
    to_ns: int
    points: int = 1000


class AggregateQuery(msgspec.Struct, frozen=True):
    node_id: str
    path: str
    from_ns: int
    to_ns: int
    interval_ns: int


class NewCommand(msgspec.Struct, frozen=True):
    """``values`` and ``expected``: IEC literals by tag path. A force needs ``reason`` and ``lease_s``."""

    kind: Literal["write", "force", "unforce", "start", "stop", "restart", "reset_statistics"]
    values: dict[str, str] = {}
    reason: str = ""
    expected: dict[str, str] = {}
    expires_s: int = 30
    lease_s: int = 0
    idempotency_key: str = ""


class NodePaged(Paged, frozen=True):
    node_id: str = ""


async def runtimes(call: Call) -> Items[Runtime]:
    return Items(await call.services.fleet.runtimes(call.actor))


async def runtime(call: Call) -> RuntimeDetail:
    return await call.services.fleet.runtime(call.actor, call.path["node_id"])


async def rename(call: Call) -> Runtime:
    return await call.services.fleet.rename(call.actor, call.path["node_id"], call.body.name)


async def revoke(call: Call) -> None:
    await call.services.fleet.revoke(call.actor, call.path["node_id"], call.body.reason)


async def tags(call: Call) -> Items[TagValue]:
    paths = tuple(path for path in call.query.paths.split(",") if path)
    return Items(await call.services.fleet.tags(call.actor, call.path["node_id"], paths))


async def forces(call: Call) -> Items[Force]:
    return Items(await call.services.fleet.forces(call.actor, call.path["node_id"]))


async def events(call: Call) -> Items[EventRow]:
    query: EventQuery = call.query
    found = await call.services.fleet.events(
        call.actor, node_id=query.node_id, kind=query.kind, page=query.page
    )
    return items(found, query.page.limit, lambda event: event.seq)


async def series(call: Call) -> Items[Series]:
    query: SeriesQuery = call.query
    found = await call.services.history.series(
        call.actor, node_id=query.node_id, search=query.search, limit=query.limit
    )
    return Items(found)


async def samples(call: Call) -> Trace:
    query: RangeQuery = call.query
    key = SeriesKey(query.node_id, query.path)
    return await call.services.history.raw(
        call.actor, key, from_ns=query.from_ns, to_ns=query.to_ns, limit=query.limit
    )


async def trend(call: Call) -> Items[Trace]:
    asked: TrendQuery = call.body
    found = await call.services.history.trend(
        call.actor, asked.keys, from_ns=asked.from_ns, to_ns=asked.to_ns, points=asked.points
    )
    return Items(found)


async def aggregate(call: Call) -> Items[Aggregate]:
    query: AggregateQuery = call.query
    key = SeriesKey(query.node_id, query.path)
    found = await call.services.history.aggregate(
        call.actor, key, from_ns=query.from_ns, to_ns=query.to_ns, interval_ns=query.interval_ns
    )
    return Items(found)


async def send_command(call: Call) -> CommandRow:
    asked: NewCommand = call.body
    return await call.services.commands.send(
        call.actor,
        call.path["node_id"],
        asked.kind,
        asked.values,
        reason=asked.reason,
        expected=asked.expected,
        expires_s=asked.expires_s,
        lease_s=asked.lease_s,
        idempotency_key=asked.idempotency_key,
    )


async def commands(call: Call) -> Items[CommandRow]:
    query: NodePaged = call.query
    found = await call.services.commands.list(call.actor, node_id=query.node_id, page=query.page)
    return items(found, query.page.limit, lambda command: command.number)


async def command(call: Call) -> CommandRow:
    return await call.services.commands.get(call.actor, call.path["command_id"])


async def about(call: Call) -> About:
    return await call.services.system.about(call.actor)


_V, _O, _E, _A = Role.VIEWER, Role.OPERATOR, Role.ENGINEER, Role.ADMIN
_NODE = "/runtimes/{node_id}"
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/about", _V, "The supervisor itself", about, About, tag="system"),
    Operation("GET", "/runtimes", _V, "All runtimes, worst first", runtimes, Items[Runtime], tag="runtimes"),
    Operation("GET", _NODE, _V, "One runtime with its last status", runtime, RuntimeDetail, tag="runtimes"),
    Operation("PATCH", _NODE, _E, "Rename a runtime", rename, Runtime, body=NewName, tag="runtimes"),
    Operation(
        "POST",
        _NODE + "/revoke",
        _A,
        "Refuse a runtime's key from now on",
        revoke,
        body=Reason,
        tag="runtimes",
    ),
    Operation(
        "GET",
        _NODE + "/tags",
        _V,
        "Tags with their latest values",
        tags,
        Items[TagValue],
        TagQuery,
        tag="tags",
    ),
    Operation("GET", _NODE + "/forces", _V, "Tags that are held", forces, Items[Force], tag="tags"),
    Operation(
        "POST",
        _NODE + "/commands",
        _O,
        "Write, force, start or stop; durable, answered at once",
        send_command,
        CommandRow,
        body=NewCommand,
        status=202,
        tag="commands",
    ),
    Operation(
        "GET",
        "/commands",
        _V,
        "Commands, newest first",
        commands,
        Items[CommandRow],
        NodePaged,
        tag="commands",
    ),
    Operation("GET", "/commands/{command_id}", _V, "One command", command, CommandRow, tag="commands"),
    Operation(
        "GET", "/events", _V, "Events, newest first", events, Items[EventRow], EventQuery, tag="events"
    ),
    Operation(
        "GET",
        "/history/series",
        _V,
        "Tags that have history",
        series,
        Items[Series],
        SeriesQuery,
        tag="history",
    ),
    Operation(
        "GET", "/history/samples", _V, "Stored samples of a tag", samples, Trace, RangeQuery, tag="history"
    ),
    Operation(
        "POST",
        "/history/trend",
        _V,
        "Several tags, decimated so that extremes stay",
        trend,
        Items[Trace],
        body=TrendQuery,
        tag="history",
    ),
    Operation(
        "GET",
        "/history/aggregates",
        _V,
        "Minimum, maximum, time-weighted mean by interval",
        aggregate,
        Items[Aggregate],
        AggregateQuery,
        tag="history",
    ),
)

__all__ = ["OPERATIONS"]
