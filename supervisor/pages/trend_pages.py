"""Trends: chosen tags over time. The address holds everything, so a trend can be sent to a colleague."""

from __future__ import annotations

import csv
import io
import time
from bisect import bisect_right
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.alarm_model import AlarmFilter
from supervisor.guard import access
from supervisor.model import Actor, Page, Role, SeriesKey, TagValue, Trace
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.services import Services
from web import contexts as c
from web import contexts_work as w

NS_PER_MS = 1_000_000
SERIES_MAX = 8  # more curves in one drawing can not be told apart
RANGES = (
    ("5m", "5 min", 300),
    ("1h", "1 h", 3600),
    ("8h", "8 h", 28_800),
    ("1d", "1 d", 86_400),
    ("7d", "7 d", 604_800),
    ("30d", "30 d", 2_592_000),
)
COMPARES = (("", "No comparison", 0), ("1d", "Same time yesterday", 86_400), ("7d", "A week before", 604_800))
SPAN_MIN_MS = 1_000
SPAN_MAX_MS = 10 * 366 * 86_400_000
TABLE_ROWS = 50
FOUND_MAX = 30
POINTS_MAX = 2_000
MARKERS_MAX = 200  # more lines would hide the curves
REALS = frozenset({"REAL", "LREAL"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for. Times in UTC milliseconds."""

    keys: tuple[SeriesKey, ...]
    range: str
    start_ms: int
    end_ms: int
    live: bool
    compare: str

    @property
    def compare_ms(self) -> int:
        return next((seconds * 1000 for name, _, seconds in COMPARES if name == self.compare), 0)

    def address(
        self, path: str = "/trend", *, keys: tuple[SeriesKey, ...] | None = None, **other: str
    ) -> str:
        fields: list[tuple[str, str]] = [("tag", _text(key)) for key in (self.keys if keys is None else keys)]
        settings = {"range": self.range, "compare": self.compare}
        if not self.live:
            settings |= {"from": str(self.start_ms), "to": str(self.end_ms)}
        settings |= other
        return f"{path}?" + urlencode(fields + [(name, text) for name, text in settings.items() if text])


def _text(key: SeriesKey) -> str:
    return f"{key.node_id}:{key.path}"


def asked(query: QueryParams, now_ms: int) -> Asked:
    """Read the address; what makes no sense falls back to the last hour."""
    keys: dict[SeriesKey, None] = {}
    for text in query.getlist("tag")[:SERIES_MAX]:
        node, colon, path = text.partition(":")
        if colon and node and path:
            keys[SeriesKey(node, path)] = None
    name = query.get("range", "1h")
    seconds = {name: seconds for name, _, seconds in RANGES}.get(name, 3600)
    start, end = _number(query.get("from", "")), _number(query.get("to", ""))
    fixed = start is not None and end is not None and SPAN_MIN_MS <= end - start <= SPAN_MAX_MS
    compare = query.get("compare", "")
    return Asked(
        keys=tuple(keys),
        range=name if any(name == known for known, _, _ in RANGES) else "1h",
        start_ms=start if fixed and start is not None else now_ms - seconds * 1000,
        end_ms=end if fixed and end is not None else now_ms,
        live=not fixed,
        compare=compare if any(compare == known for known, _, _ in COMPARES) else "",
    )


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


class TrendPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        viewer = access(Role.VIEWER)
        return [
            Route("/trend", viewer(self.trend), methods=["GET"]),
            Route("/trend/data", viewer(self.data), methods=["GET"]),
        ]

    async def trend(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        ask = asked(request.query_params, time.time_ns() // NS_PER_MS)
        if frame.wants(request) == "csv":
            return await self._csv(actor, ask)
        search = await self._search(actor, ask, request.query_params.get("find", "")[:200])
        if frame.is_partial(request):
            return frame.html(request, search)
        values = [await self._value(actor, key) for key in ask.keys]
        names = {runtime.node_id: runtime.name for runtime in await self._services.fleet.runtimes(actor)}
        traces = await self._traces(actor, ask, TABLE_ROWS * 4) if ask.keys else ()
        stream = ask.address("/live", view="trend") if ask.keys else ""
        page = w.TrendPage(
            shell=await frame.shell(request, self._services, "Trends", section="trend", stream=stream),
            series=tuple(
                _series(number, key, value, ask, names.get(key.node_id, key.node_id))
                for number, (key, value) in enumerate(zip(ask.keys, values, strict=True), 1)
            ),
            ranges=tuple(
                c.Link(text, _relative(ask, name), ask.live and name == ask.range) for name, text, _ in RANGES
            ),
            compares=tuple(
                c.Link(text, ask.address(compare=name), name == ask.compare) for name, text, _ in COMPARES
            ),
            live=ask.live,
            live_href=_fixed(ask) if ask.live else _relative(ask, ask.range),
            data=ask.address("/trend/data"),
            csv=ask.address(format="csv"),
            search=search,
            keys=tuple(_text(key) for key in ask.keys),
            span=ask.range,
            start=views.moment_of(ask.start_ms * NS_PER_MS),
            end=views.moment_of(ask.end_ms * NS_PER_MS),
            rows=table_rows(ask, traces),
            summary=summary(traces),
            full=len(ask.keys) >= SERIES_MAX,
        )
        return frame.html(request, page)

    async def _value(self, actor: Actor, key: SeriesKey) -> TagValue | None:
        nodes = {runtime.node_id for runtime in await self._services.fleet.runtimes(actor)}
        if key.node_id not in nodes:
            return None
        found = await self._services.fleet.tags(actor, key.node_id)
        return next((value for value in found if value.path == key.path), None)

    async def _traces(self, actor: Actor, ask: Asked, points: int, back_ms: int = 0) -> tuple[Trace, ...]:
        return await self._services.history.trend(
            actor,
            ask.keys,
            from_ns=(ask.start_ms - back_ms) * NS_PER_MS,
            to_ns=(ask.end_ms - back_ms) * NS_PER_MS,
            points=points,
        )

    async def _search(self, actor: Actor, ask: Asked, text: str) -> w.SeriesSearch:
        found = await self._services.history.series(actor, search=text, limit=FOUND_MAX + SERIES_MAX + 1)
        free = [series for series in found if SeriesKey(series.node_id, series.path) not in ask.keys]
        return w.SeriesSearch(
            found=tuple(
                w.FoundSeries(
                    runtime=series.node,
                    path=series.path,
                    unit=series.unit,
                    add=ask.address(keys=(*ask.keys, SeriesKey(series.node_id, series.path))),
                )
                for series in free[:FOUND_MAX]
            ),
            search=text,
            more=len(free) > FOUND_MAX,
        )

    async def data(self, request: Request) -> Response:
        """The curves as columns: times in ms, null where the quality is bad or nothing is known."""
        actor: Actor = request.state.actor
        now_ms = time.time_ns() // NS_PER_MS
        ask = asked(request.query_params, now_ms)
        points = min(_number(request.query_params.get("points", "")) or 800, POINTS_MAX)
        traces = await self._traces(actor, ask, points) if ask.keys else ()
        before = await self._traces(actor, ask, points, ask.compare_ms) if ask.keys and ask.compare_ms else ()
        body = {
            "from": ask.start_ms,
            "to": ask.end_ms,
            "series": [columns(trace, ask.start_ms, min(ask.end_ms, now_ms)) for trace in traces],
            "before": [
                columns(trace, ask.start_ms - ask.compare_ms, ask.end_ms - ask.compare_ms) for trace in before
            ],
            "shift": ask.compare_ms,
            "markers": await self._markers(actor, ask),
        }
        return Response(
            msgspec.json.encode(body), media_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def _markers(self, actor: Actor, ask: Asked) -> list[tuple[int, str]]:
        """Deployments, alarms of the drawn tags, warnings and faults on the time axis: what happened when."""
        found = []
        nodes = {key.node_id for key in ask.keys}
        for deployment in await self._services.deployments.list(actor, page=Page(limit=100)):
            for target in deployment.targets:
                if target.node_id in nodes and target.state == "running":
                    text = f"{deployment.application} {deployment.version or ''}".strip()
                    found.append((target.changed_ns // NS_PER_MS, text))
        for node in sorted(nodes):
            found += await self._alarm_markers(actor, ask, node)
            events = await self._services.fleet.events(actor, node_id=node, page=Page(limit=MARKERS_MAX))
            found += [(one.time_ns // NS_PER_MS, one.text) for one in events if one.severity != "info"]
        return sorted(one for one in found if ask.start_ms <= one[0] <= ask.end_ms)[-MARKERS_MAX:]

    async def _alarm_markers(self, actor: Actor, ask: Asked, node: str) -> list[tuple[int, str]]:
        drawn = {key.path.upper() for key in ask.keys if key.node_id == node}
        rows = await self._services.alarms.definitions(actor, node_id=node)
        texts = {
            row.name: row.definition.text
            for row in rows
            if drawn & {tag.upper() for tag in row.definition.tags()}
        }
        wanted = AlarmFilter(
            node, event="raised", from_ns=ask.start_ms * NS_PER_MS, to_ns=ask.end_ms * NS_PER_MS
        )
        lines = await self._services.alarms.journal(actor, wanted, page=Page(limit=MARKERS_MAX))
        return [
            (line.entry.time_ns // NS_PER_MS, f"alarm: {texts[line.entry.alarm] or line.entry.alarm}")
            for line in lines
            if line.entry.alarm in texts
        ]

    async def _csv(self, actor: Actor, ask: Asked) -> Response:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(("time_utc", "runtime_and_tag", "value", "quality", "unit"))
        for key in ask.keys:
            trace = await self._services.history.raw(
                actor, key, from_ns=ask.start_ms * NS_PER_MS, to_ns=ask.end_ms * NS_PER_MS
            )
            for time_ns, value, quality in zip(trace.times_ns, trace.values, trace.quality, strict=True):
                row = (
                    _iso(time_ns),
                    frame.flat(_text(key)),
                    "" if value is None else value,
                    f"0x{quality:04X}",
                )
                writer.writerow((*row, frame.flat(trace.unit)))
        return Response(
            out.getvalue(),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="trend.csv"'},
        )


def _iso(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // NS_PER_MS:03d}Z"


def _fixed(ask: Asked) -> str:
    return ask.address() + f"&from={ask.start_ms}&to={ask.end_ms}"


def _relative(ask: Asked, name: str) -> str:
    fields = [("tag", _text(key)) for key in ask.keys] + [("range", name)]
    return "/trend?" + urlencode(fields + ([("compare", ask.compare)] if ask.compare else []))


def _series(number: int, key: SeriesKey, value: TagValue | None, ask: Asked, runtime: str) -> w.TrendSeries:
    others = tuple(other for other in ask.keys if other != key)
    cell = views.tag_cell(value) if value else c.Cell(f"t:{key.path}", "–", "b")
    return w.TrendSeries(
        number=number,
        runtime=runtime,
        path=key.path,
        unit=value.unit if value else "",
        value=c.Cell(f"{key.node_id}:{key.path}", cell.text, cell.quality),
        href=views.query(views.runtime_href(key.node_id, "tag"), path=key.path),
        remove=ask.address(keys=others),
        kind="bool"
        if value and value.type == "BOOL"
        else "real"
        if value and value.type in REALS
        else "step",
    )


def columns(trace: Trace, start_ms: int, end_ms: int) -> dict[str, object]:
    """A trace for the browser. A value holds until the next one, from the start to the end; a gap ends a curve."""
    times: list[int] = []
    values: list[float | None] = []
    gaps = sorted((gap.from_ns // NS_PER_MS, gap.to_ns // NS_PER_MS) for gap in trace.gaps)
    waiting = list(gaps)
    for time_ns, value in zip(trace.times_ns, trace.values, strict=True):
        at_ms = max(time_ns // NS_PER_MS, start_ms)
        while waiting and at_ms > waiting[0][0]:
            _append(times, values, waiting.pop(0)[0], None)
        _append(times, values, at_ms, value)
    for from_ms, _ in waiting[:1]:
        _append(times, values, from_ms, None)
    if times and not waiting and values[-1] is not None and end_ms > times[-1]:
        _append(times, values, end_ms, values[-1])
    return {
        "t": times,
        "v": values,
        "gaps": gaps,
        "unit": trace.unit,
        "decimated": trace.decimated,
        "samples": trace.samples,
    }


def _append(times: list[int], values: list[float | None], at_ms: int, value: float | None) -> None:
    """Times must not go back; of two points at one time both stay, which draws the envelope of a bucket."""
    times.append(max(at_ms, times[-1]) if times else at_ms)
    values.append(value)


def table_rows(ask: Asked, traces: tuple[Trace, ...]) -> tuple[tuple[c.Moment, tuple[str, ...]], ...]:
    """The table twin of the curves: the values that held at evenly spaced times, newest first."""
    if not traces:
        return ()
    step_ms = max((ask.end_ms - ask.start_ms) // TABLE_ROWS, 1)
    rows = []
    for at_ms in range(ask.end_ms, ask.start_ms, -step_ms):
        texts = tuple(_held(trace, at_ms * NS_PER_MS) for trace in traces)
        rows.append((views.moment_of(at_ms * NS_PER_MS), texts))
    return tuple(rows)


def _held(trace: Trace, at_ns: int) -> str:
    index = bisect_right(trace.times_ns, at_ns) - 1
    if index < 0 or any(gap.from_ns <= at_ns <= gap.to_ns for gap in trace.gaps):
        return "–"
    value = trace.values[index]
    return "–" if value is None else f"{value:.6g}"


def summary(traces: tuple[Trace, ...]) -> str:
    samples = sum(trace.samples for trace in traces)
    if not samples:
        return "No stored value in this range."
    how = (
        "First, least, most and last of each bucket"
        if any(trace.decimated for trace in traces)
        else "Every stored value"
    )
    return f"{how}; {views.count(samples)} samples in the range."
