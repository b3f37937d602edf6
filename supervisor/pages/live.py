"""The one event stream of a browser tab: ``/live``.

Theory. A page names its view; the view is a few *parts*, each a context that the page was rendered from. After every
update of the subscription the parts are made anew and compared with what was sent last: where only live cells differ
they go out together in one ``tick``, where the structure differs the part's HTML goes out to be morphed in place.
Nothing is queued: a client that reads slowly gets fewer, newer states. Every stream begins with all parts, because the
page may be older than its stream: what happened in between, or while the stream was cut, must not be missed.

Messages: ``beat`` and ``tick`` carry ``{"now": ms, "c": [[key, text, quality, changed_ms, reason], …],
"m": [[key, ms], …]}``; a message without a name is HTML for htmx.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from scan.problem import TickworkError
from supervisor.model import TagValue, Update
from supervisor.pages.views import quality_of, tag_cell, tag_reason
from supervisor.services import Services, StreamEnded, Subscription
from web import contexts as c
from web import render

INTERVAL_MS = 250  # four updates a second is what a person can still read
BEAT_MS = 2000
PARTS_INTERVAL_S = 0.9  # a runtime reports about once a second; events and deployments do not wait
DRAWING_INTERVAL_S = 4.0  # histograms change with every scan; drawing them anew that often is enough
STREAMS_PER_PERSON = 24  # tabs of one person; more is a leak in a script

_json = msgspec.json.Encoder()


class Part:
    """A piece of the page: the element ``target`` was made from ``context``; a tuple of cells has no element.

    Streams of the same view share their parts, so what is derived from one is worked out once.
    """

    def __init__(self, target: str, context: Any) -> None:
        self.target = target
        self.context = context

    @functools.cached_property
    def outline(self) -> tuple[object, dict[str, c.Cell], dict[str, int]]:
        """Structure, live cells and followed times."""
        cells: dict[str, c.Cell] = {}
        moments: dict[str, int] = {}
        return outline(self.context, cells, moments), cells, moments

    @functools.cached_property
    def drawings(self) -> list[object]:
        return [task.histograms for task in getattr(self.context, "tasks", ())]

    @functools.cached_property
    def html(self) -> str:
        body = render(self.context)
        return f'<hx-partial hx-target="#{self.target}" hx-swap="outerMorph">{body}</hx-partial>'


@dataclasses.dataclass(slots=True)
class View:
    """What one stream shows. ``make`` gives the parts as they are now, ``tags`` what is followed value by value."""

    make: Callable[[bool], Awaitable[tuple[Part, ...]]]  # argument: everything, also what seldom changes
    tags: dict[str, tuple[str, ...]]
    concerns: Callable[[Update], bool]
    fleet: bool = True
    by_node: bool = False  # live cells of tags are named "node:path": tags of several runtimes on one page


def frame(data: bytes | str, event: str = "") -> bytes:
    """One message of an event stream (WHATWG HTML §9.2)."""
    text = data.decode() if isinstance(data, bytes) else data
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    head = f"event: {event}\n" if event else ""
    return (head + "".join(f"data: {line}\n" for line in lines) + "\n").encode()


def outline(context: object, cells: dict[str, c.Cell], moments: dict[str, int]) -> object:
    """The structure of a context without what changes by itself; collects its live cells and times on the way."""
    if isinstance(context, c.Cell):
        cells[context.key] = context
        return context.key
    if isinstance(context, c.Moment) and context.key:
        moments[context.key] = context.ms
        return context.key
    if isinstance(context, c.Histogram):
        return context.caption
    if isinstance(context, tuple):
        return tuple(outline(item, cells, moments) for item in context)
    if dataclasses.is_dataclass(context):
        return tuple(outline(getattr(context, f.name), cells, moments) for f in dataclasses.fields(context))
    return context


class Sent:
    """What the client has been told, and what it has to be told next."""

    def __init__(self) -> None:
        self._outlines: dict[str, object] = {}
        self._cells: dict[str, tuple[str, str]] = {}
        self._moments: dict[str, int] = {}
        self._drawn: dict[str, tuple[float, object]] = {}

    def difference(self, parts: tuple[Part, ...], now_s: float) -> tuple[list[str], list[Any], list[Any]]:
        """HTML of the parts whose structure changed, changed cells and changed times of the others."""
        html: list[str] = []
        changed: list[Any] = []
        times: list[Any] = []
        for part in parts:
            shape, cells, moments = part.outline
            whole = self._outlines.get(part.target) != shape or self._redraw(part, now_s)
            self._outlines[part.target] = shape
            only_cells = isinstance(part.context, tuple)
            if whole and not only_cells:
                html.append(part.html)
            new = [cell for cell in cells.values() if self._cells.get(cell.key) != (cell.text, cell.quality)]
            self._cells.update((cell.key, (cell.text, cell.quality)) for cell in new)
            late = [(key, ms) for key, ms in moments.items() if self._moments.get(key) != ms]
            self._moments.update(late)
            if not whole or only_cells:
                changed += [(cell.key, cell.text, cell.quality) for cell in new]
                times += late
        return html, changed, times

    def _redraw(self, part: Part, now_s: float) -> bool:
        drawings = part.drawings
        if not any(drawings):
            return False
        at_s, before = self._drawn.get(part.target, (0.0, None))
        if before == drawings or now_s - at_s < DRAWING_INTERVAL_S:
            return False
        self._drawn[part.target] = (now_s, drawings)
        return before is not None


async def frames(view: View, subscription: Subscription, wall_ms: Callable[[], int]) -> AsyncIterator[bytes]:
    """The stream's bytes until the subscription or the client ends."""
    sent = Sent()
    made_s, waiting = time.monotonic(), False
    try:
        yield _tick("beat", wall_ms(), [], [])
        html, cells, moments = sent.difference(await view.make(True), made_s)
        if html:
            yield frame("\n".join(html))
        yield _tick("tick", wall_ms(), cells, moments)
        while True:
            update = await subscription.next(interval_ms=INTERVAL_MS, beat_ms=BEAT_MS)
            changed = [_value(value, view.by_node) for value in update.values]
            html, moments = [], []
            now_s = time.monotonic()
            waiting = waiting or view.concerns(update)
            urgent = update.resync or bool(update.events or update.deployments or update.alarms)
            if (waiting and now_s - made_s >= PARTS_INTERVAL_S) or (urgent and waiting) or update.resync:
                html, cells, moments = sent.difference(await view.make(update.resync), now_s)
                changed = cells + changed
                made_s, waiting = now_s, False
            if html:
                yield frame("\n".join(html))
            yield _tick("tick" if changed or moments else "beat", wall_ms(), changed, moments)
    except (StreamEnded, TickworkError):
        return  # what can not be shown any more ends; the browser asks anew and is told why
    finally:
        subscription.close()


def _value(value: TagValue, by_node: bool) -> tuple[str, str, str, int, str]:
    cell = tag_cell(value)
    key = f"{value.node_id}:{value.path}" if by_node else cell.key
    return key, cell.text, quality_of(value), value.time_ns // 1_000_000, tag_reason(value)


def _tick(event: str, now_ms: int, cells: list[Any], moments: list[Any]) -> bytes:
    return frame(_json.encode({"now": now_ms, "c": cells, "m": moments}), event)


class Streams:
    """Counts the open streams of each person."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self._open.values())

    def response(self, request: Request, services: Services, view: View) -> Response:
        actor = request.state.actor
        if self._open.get(actor.name, 0) >= STREAMS_PER_PERSON:
            return JSONResponse(
                {"title": "too many open pages"}, status_code=429, headers={"Retry-After": "5"}
            )
        subscription = services.fleet.subscribe(actor, tags=view.tags, fleet=view.fleet)
        return StreamingResponse(
            self._counted(actor.name, frames(view, subscription, lambda: time.time_ns() // 1_000_000)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _counted(self, name: str, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self._open[name] = self._open.get(name, 0) + 1
        try:
            async for piece in stream:
                yield piece
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]
