"""Operations on notifications: what is under way, messages, mutes, settings of every kind, test messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from supervisor.api_call import Call, Items, NoQuery, Operation, Paged, items
from supervisor.model import Role
from supervisor.notify.model import (
    PLURALS,
    TYPES,
    Channel,
    Delivery,
    Item,
    Mute,
    Overview,
    Run,
    Settings,
)
from supervisor.problems import not_understood


class DeliveryQuery(Paged, frozen=True):
    """``run_id`` 0 and ``channel`` "": all."""

    run_id: int = 0
    channel: str = ""


class Reason(msgspec.Struct, frozen=True):
    reason: str


class NewMute(msgspec.Struct, frozen=True):
    """``rule`` "": all rules."""

    duration_s: int
    reason: str
    rule: str = ""


class WhichMute(msgspec.Struct, frozen=True):
    """``rule`` "": the mute of all rules."""

    rule: str = ""


class NewTest(msgspec.Struct, frozen=True):
    to: str


class ChannelBody(msgspec.Struct, frozen=True):
    """``secret``: password, key or address of the service, never given back; null leaves the old one, "" removes it."""

    channel: Channel
    secret: str | None = None


async def overview(call: Call) -> Overview:
    return await call.services.notifications.overview(call.actor)


async def runs(call: Call) -> Items[Run]:
    page = call.query.page
    found = await call.services.notifications.runs(call.actor, page=page)
    return items(found, page.limit, lambda run: run.id)


async def deliveries(call: Call) -> Items[Delivery]:
    asked: DeliveryQuery = call.query
    found = await call.services.notifications.deliveries(
        call.actor, run_id=asked.run_id, channel=asked.channel, page=asked.page
    )
    return items(found, asked.page.limit, lambda one: one.id)


async def stop(call: Call) -> Run:
    return await call.services.notifications.stop(call.actor, call.number("run_id"), call.body.reason)


async def mute(call: Call) -> Mute:
    asked: NewMute = call.body
    return await call.services.notifications.mute(call.actor, asked.rule, asked.duration_s, asked.reason)


async def unmute(call: Call) -> None:
    await call.services.notifications.unmute(call.actor, call.query.rule)


async def settings(call: Call) -> Settings:
    return await call.services.notifications.settings(call.actor)


async def test(call: Call) -> Delivery:
    return await call.services.notifications.test(call.actor, call.path["name"], call.body.to)


def put(kind: str) -> Callable[[Call], Awaitable[Settings]]:
    async def handler(call: Call) -> Settings:
        given = call.body
        item: Item = given.channel if isinstance(given, ChannelBody) else given
        secret = given.secret if isinstance(given, ChannelBody) else None
        if item.name != call.path["name"]:
            raise not_understood(f"the name of the address: {call.path['name']}", item.name)
        return await call.services.notifications.put(call.actor, kind, item, secret=secret)

    return handler


def remove(kind: str) -> Callable[[Call], Awaitable[Settings]]:
    async def handler(call: Call) -> Settings:
        return await call.services.notifications.remove(call.actor, kind, call.path["name"])

    return handler


_O, _E, _A, _TAG = Role.OPERATOR, Role.ENGINEER, Role.ADMIN, "notifications"
_ITEMS = tuple(
    operation
    for kind, plural in PLURALS.items()
    for role in (_A if kind == "channel" else _E,)
    for operation in (
        Operation("PUT", f"/notifications/{plural}/{{name}}", role, f"Make or change a {kind}", put(kind),
                  Settings, NoQuery, ChannelBody if kind == "channel" else TYPES[kind], tag=_TAG),
        Operation("DELETE", f"/notifications/{plural}/{{name}}", role, f"Remove a {kind} that nothing uses",
                  remove(kind), Settings, tag=_TAG),
    )
)  # fmt: skip
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/notifications", _O, "Open runs, channels with their circuits, mutes", overview, Overview,
              tag=_TAG),
    Operation("GET", "/notifications/runs", _O, "Runs of pipelines, newest first", runs, Items[Run], Paged, tag=_TAG),
    Operation("POST", "/notifications/runs/{run_id}/stop", _O, "Tell nobody else of this occurrence", stop, Run,
              body=Reason, tag=_TAG),
    Operation("GET", "/notifications/deliveries", _O, "Messages and where each stands, newest first", deliveries,
              Items[Delivery], DeliveryQuery, tag=_TAG),
    Operation("POST", "/notifications/mutes", _O, "Tell nobody because of a rule, for at most 8 h", mute, Mute,
              body=NewMute, status=201, tag=_TAG),
    Operation("DELETE", "/notifications/mutes", _O, "End a mute", unmute, query=WhichMute, tag=_TAG),
    Operation("GET", "/notifications/settings", _O, "Channels, people, rosters, schedules, pipelines, rules", settings,
              Settings, tag=_TAG),
    Operation("POST", "/notifications/channels/{name}/test", _E, "Send a test message and say what came of it", test,
              Delivery, body=NewTest, tag=_TAG),
    *_ITEMS,
)  # fmt: skip
