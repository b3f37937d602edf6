"""Operations on screens. A drawing travels as it is: the body is SVG."""

from __future__ import annotations

import msgspec

from supervisor.api_call import Call, Items, NoQuery, Operation
from supervisor.model import Role
from supervisor.problems import not_understood
from supervisor.screens import Screen, ScreenDetail


class NewScreen(msgspec.Struct, frozen=True):
    """``runtime``: name of the runtime that tags without a runtime of their own belong to."""

    name: str
    runtime: str = ""


class SaveQuery(msgspec.Struct, frozen=True):
    """``number``: refuse when the newest version is another one by now."""

    runtime: str = ""
    number: int = 0


class VersionQuery(msgspec.Struct, frozen=True):
    """``number``: a version; 0 is the newest."""

    number: int = 0


async def screens(call: Call) -> Items[Screen]:
    return Items(await call.services.screens.list(call.actor))


async def screen(call: Call) -> ScreenDetail:
    return await call.services.screens.get(call.actor, call.number("screen_id"), call.query.number)


async def create(call: Call) -> ScreenDetail:
    query: NewScreen = call.query
    return await call.services.screens.create(call.actor, query.name, _text(call.body), runtime=query.runtime)


async def save(call: Call) -> ScreenDetail:
    query: SaveQuery = call.query
    return await call.services.screens.save(
        call.actor, call.number("screen_id"), _text(call.body), runtime=query.runtime, number=query.number
    )


async def remove(call: Call) -> None:
    await call.services.screens.remove(call.actor, call.number("screen_id"))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_understood("a drawing in UTF-8", error) from error


_V, _E = Role.VIEWER, Role.ENGINEER
_ONE = "/screens/{screen_id}"
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/screens", _V, "All screens", screens, Items[Screen], NoQuery, tag="screens"),
    Operation(
        "POST", "/screens", _E, "A new screen from an SVG drawing", create, ScreenDetail, NewScreen, bytes, 201,
        "screens",
    ),
    Operation("GET", _ONE, _V, "A screen with its drawing", screen, ScreenDetail, VersionQuery, tag="screens"),
    Operation("PUT", _ONE, _E, "A new version of a screen", save, ScreenDetail, SaveQuery, bytes, tag="screens"),
    Operation("DELETE", _ONE, _E, "Remove a screen", remove, tag="screens"),
)  # fmt: skip
