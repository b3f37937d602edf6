"""Screens and watch lists of the made-up plant for page tests."""

from __future__ import annotations

import time
from xml.sax.saxutils import quoteattr

import msgspec

from supervisor import drawing
from supervisor.model import Actor
from supervisor.problems import not_found
from supervisor.screens import Screen, ScreenDetail, ScreenVersion
from supervisor.watch_lists import WatchList


class FakeScreens:
    """Two screens: one whose texts are hostile, and an empty sheet."""

    def __init__(self, hostile: str) -> None:
        self._hostile = hostile
        svg = (
            f'<svg xmlns="{drawing.SVG}" viewBox="0 0 400 300"><text x="5" y="20">{quoteattr(hostile)}</text>'
            '<g data-symbol="tank" data-p-level="Control.Level1" data-p-label="Tank" transform="translate(20 40)"/>'
            f'<rect id="r" width="9" height="9" data-tag={quoteattr(hostile)} data-bind="state"/></svg>'
        )
        empty = f'<svg xmlns="{drawing.SVG}" viewBox="0 0 10 10"/>'
        self.saved = {1: (f"Plant {hostile}".replace("/", ""), [svg]), 2: ("Empty", [empty])}

    def _screen(self, screen_id: int) -> Screen:
        name, versions = self.saved[screen_id]
        return Screen(screen_id, name, "water-north", len(versions), time.time_ns(), self._hostile)

    async def list(self, actor: Actor) -> tuple[Screen, ...]:
        return tuple(self._screen(number) for number in self.saved)

    async def get(self, actor: Actor, screen_id: int, number: int = 0) -> ScreenDetail:
        if screen_id not in self.saved:
            raise not_found("screen", screen_id)
        screen, versions = self._screen(screen_id), self.saved[screen_id][1]
        rows = tuple(ScreenVersion(n, time.time_ns(), self._hostile) for n in range(len(versions), 0, -1))
        return ScreenDetail(screen, versions[number - 1], rows)

    async def create(self, actor: Actor, name: str, svg: str, *, runtime: str = "") -> ScreenDetail:
        made = drawing.clean(svg)
        screen_id = max(self.saved, default=0) + 1
        self.saved[screen_id] = (name, [made.svg])
        return msgspec.structs.replace(await self.get(actor, screen_id), dropped=made.dropped)

    async def save(
        self, actor: Actor, screen_id: int, svg: str, *, runtime: str = "", number: int = 0
    ) -> ScreenDetail:
        made = drawing.clean(svg)
        self.saved[screen_id][1].append(made.svg)
        return msgspec.structs.replace(await self.get(actor, screen_id), dropped=made.dropped)

    async def remove(self, actor: Actor, screen_id: int) -> None:
        del self.saved[screen_id]


class FakeWatchLists:
    def __init__(self, hostile: str) -> None:
        tags = ("n1:Control.Level1", "n1:Control.Auto")
        self.lists = [
            WatchList(1, f"Levels {hostile}", "ada", True, tags, time.time_ns()),
            WatchList(2, "Mine", hostile, False, tags[:1], time.time_ns()),
        ]

    async def list(self, actor: Actor) -> tuple[WatchList, ...]:
        return tuple(self.lists)

    async def save(
        self, actor: Actor, name: str, tags: tuple[str, ...], *, shared: bool = False
    ) -> WatchList:
        self.lists.append(WatchList(len(self.lists) + 1, name, actor.name, shared, tags, time.time_ns()))
        return self.lists[-1]

    async def remove(self, actor: Actor, list_id: int) -> None:
        self.lists = [one for one in self.lists if one.id != list_id]
