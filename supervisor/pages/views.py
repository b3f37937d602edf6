"""What the services know, as the templates want it: pure functions from ``supervisor.model`` to ``web.contexts``."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode

from scan import quality as qualities
from scan.problem import Problem, TickworkError
from supervisor.model import CommandRow, Deployment, EventRow, Force, Runtime, TagValue
from web import contexts as c

STATE_WORDS = {
    "empty": "no program",
    "stopped": "stopped",
    "running": "running",
    "fault": "fault",
    "trial": "trial",
}
LINK_WORDS = {"up": "linked", "down": "no link", "never": "not yet seen", "revoked": "revoked"}
COMMAND_WORDS = {
    "queued": "queued",
    "sent": "sent, waiting for the runtime",
    "effective": "in effect",
    "rejected": "rejected",
    "expired": "expired",
    "uncertain": "uncertain",
    "superseded": "superseded",
}
COMMAND_FINAL = {"effective", "rejected", "expired", "uncertain", "superseded"}
KIND_WORDS = {
    "write": "Write",
    "force": "Force",
    "unforce": "Release force",
    "start": "Start",
    "stop": "Stop",
    "restart": "Restart",
    "reset_statistics": "Reset statistics",
}
FINE = c.Mark(0, "")


def moment(time_ns: int, key: str = "") -> c.Moment | None:
    return moment_of(time_ns, key) if time_ns > 0 else None


def moment_of(time_ns: int, key: str = "") -> c.Moment:
    ms = time_ns // 1_000_000
    text = datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return c.Moment(ms, text, key)


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:10]


def duration(ns: float) -> str:
    """A duration with three digits at most and its unit: 20 ms, 1.25 ms, 840 µs."""
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= limit:
            number = ns / limit
            return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"
    return f"{ns:.0f} ns"


def count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


# ---------------------------------------------------------------- runtimes


def level(runtime: Runtime) -> c.Mark:
    """How urgently a runtime needs a person; the same ladder as alarms have."""
    if runtime.link == "revoked":
        return FINE
    if runtime.state == "fault":
        return c.Mark(1, "urgent")
    if runtime.link == "down":
        return c.Mark(2, "high")
    if runtime.devices_online < runtime.devices or runtime.lost:
        return c.Mark(3, "medium")
    return c.Mark(4, "low") if runtime.attention else FINE


def runtime_href(node_id: str, *rest: str) -> str:
    return "/".join(("/runtimes", quote(node_id, safe=""), *rest))


def desired(deployments: Iterable[Deployment]) -> dict[str, tuple[str, int]]:
    """Node id to the application digest that was deployed last with success, and the deployment's number."""
    found: dict[str, tuple[str, int]] = {}
    for deployment in deployments:
        for target in deployment.targets:
            if target.state == "running" and target.digest:
                found.setdefault(target.node_id, (target.digest, deployment.id))
    return found


def drift_of(runtime: Runtime, wanted: dict[str, tuple[str, int]]) -> tuple[str, str]:
    """What should run instead and where that was decided; empty when all is as deployed."""
    digest, number = wanted.get(runtime.node_id, ("", 0))
    if not digest or not runtime.digest or digest == runtime.digest:
        return "", ""
    return short(digest), f"/deployments/{number}"


def fleet_row(runtime: Runtime, wanted: dict[str, tuple[str, int]]) -> c.FleetRow:
    key = quote(runtime.node_id, safe="")
    known = "g" if runtime.link == "up" else "s"
    never = runtime.link == "never"

    def cell(name: str, text: str, mark: str = known) -> c.Cell:
        return c.Cell(f"{name}:{key}", "–" if never else text, "b" if never else mark)

    return c.FleetRow(
        key=key,
        name=runtime.name,
        href=runtime_href(runtime.node_id),
        mark=level(runtime),
        attention=runtime.attention,
        state=runtime.state,
        state_word=STATE_WORDS.get(runtime.state, runtime.state),
        link=runtime.link,
        link_word=LINK_WORDS.get(runtime.link, runtime.link),
        seen=moment(runtime.seen_ns, f"seen:{key}"),
        application=runtime.application,
        digest=short(runtime.digest),
        drift=drift_of(runtime, wanted)[0],
        devices=cell("devices", str(runtime.devices_online)),
        devices_total=runtime.devices,
        scan=cell("scan", count(runtime.scan)),
        forces=cell("forces", str(runtime.forces), "f" if runtime.forces else known),
        buffered=cell("buffered", count(runtime.buffered)),
        tags=runtime.tags,
        version=runtime.version,
    )


FLEET_FILTERS = (("", "All"), ("trouble", "Needs attention"), ("down", "No link"), ("forced", "Forced"))


def fleet_table(
    runtimes: tuple[Runtime, ...],
    deployments: tuple[Deployment, ...],
    *,
    search: str,
    show: str,
    can_enrol: bool,
    now_ns: int,
) -> c.FleetTable:
    wanted = desired(deployments)
    rows = [fleet_row(runtime, wanted) for runtime in runtimes if _shown(runtime, search, show)]
    return c.FleetTable(
        rows=tuple(rows),
        filters=tuple(
            c.Link(text, query("/", q=search, show=name), current=name == show)
            for name, text in FLEET_FILTERS
        ),
        total=len(runtimes),
        troubled=sum(1 for runtime in runtimes if level(runtime).level),
        can_enrol=can_enrol,
        now=moment_of(now_ns, "fleet:now"),
    )


def _shown(runtime: Runtime, search: str, show: str) -> bool:
    words = f"{runtime.name} {runtime.application} {runtime.state} {runtime.address}".lower()
    wanted = {
        "trouble": bool(level(runtime).level),
        "down": runtime.link != "up",
        "forced": runtime.forces > 0,
    }.get(show, True)
    return wanted and all(word in words for word in search.lower().split())


def query(address: str, /, **fields: str | int) -> str:
    text = urlencode({name: value for name, value in fields.items() if value not in ("", 0)})
    return f"{address}?{text}" if text else address


# ---------------------------------------------------------------- tags


def quality_of(value: TagValue) -> str:
    if value.stale:
        return "s"
    if value.quality == qualities.GOOD_LOCAL_OVERRIDE:
        return "f"
    if qualities.is_good(value.quality):
        return "g"
    return "b" if qualities.is_bad(value.quality) else "u"


def tag_cell(value: TagValue) -> c.Cell:
    """A bad value is not shown at all; a stale one is, and looks it."""
    mark = quality_of(value)
    text = "–" if mark == "b" or (value.value is None and not value.text) else shown_text(value)
    return c.Cell(f"t:{value.path}", text, mark)


def shown_text(value: TagValue) -> str:
    """A REAL with decimals that fit its range, so that the last ones do not flicker; the exact text otherwise."""
    if value.type not in ("REAL", "LREAL") or not isinstance(value.value, int | float):
        return value.text
    number = float(value.value)
    if not math.isfinite(number) or (number and not 1e-4 <= abs(number) < 1e9):
        return value.text
    span = value.high - value.low if value.low is not None and value.high is not None else abs(number)
    decimals = min(max(3 - math.floor(math.log10(span)), 1), 5) if span > 0 else 2
    return f"{number:.{decimals}f}"


def tag_reason(value: TagValue) -> str:
    if value.stale:
        return "last known"
    if qualities.is_good(value.quality):
        return ""
    return value.quality_text or qualities.name(value.quality)


def tag_row(value: TagValue) -> c.TagRow:
    owner, _, name = value.path.rpartition(".")
    return c.TagRow(
        key=f"tag-{quote(value.path, safe='')}",
        path=value.path,
        name=name,
        owner=owner,
        href=query(runtime_href(value.node_id, "tag"), path=value.path),
        trend=query("/trend", tag=f"{value.node_id}:{value.path}"),
        watch=query("/watch", tag=f"{value.node_id}:{value.path}"),
        value=tag_cell(value),
        reason=tag_reason(value),
        unit=value.unit,
        type=value.type,
        location=value.location,
        comment=value.comment,
        writable=value.writable,
        changed=moment(value.time_ns),
    )


TAG_FILTERS = (("", "All"), ("write", "Writable"), ("io", "I/O"), ("bad", "Not good"))
TAGS_PER_PAGE = 100  # rows a person can scroll through; the search finds the rest


def tags_wanted(values: tuple[TagValue, ...], *, search: str, show: str) -> tuple[TagValue, ...]:
    words = search.lower().split()
    return tuple(value for value in values if _tag_shown(value, words, show))


def _tag_shown(value: TagValue, words: list[str], show: str) -> bool:
    wanted = {
        "write": value.writable,
        "io": bool(value.location),
        "bad": quality_of(value) not in ("g", "f"),
    }.get(show, True)
    if not wanted:
        return False
    text = f"{value.path} {value.comment} {value.location} {value.unit}".lower() if words else ""
    return all(word in text for word in words)


def runtime_stream(node_id: str, *, search: str, show: str, start: int) -> str:
    return query("/live", view="runtime", node=node_id, q=search, show=show, start=start)


def tag_table(
    node_id: str, values: tuple[TagValue, ...], *, search: str, show: str, start: int
) -> tuple[c.TagTable, tuple[str, ...]]:
    """The table and the paths of its rows, which its stream follows."""
    found = tags_wanted(values, search=search, show=show)
    page = found[start : start + TAGS_PER_PAGE]
    href = runtime_href(node_id)

    def at(place: int) -> str:
        return query(href, q=search, show=show, start=place) or href

    table = c.TagTable(
        node=quote(node_id, safe=""),
        rows=tuple(tag_row(value) for value in page),
        total=len(values),
        found=len(found),
        search=search,
        filters=tuple(
            c.Link(text, query(href, q=search, show=name), current=name == show) for name, text in TAG_FILTERS
        ),
        filter=show,
        previous=at(max(0, start - TAGS_PER_PAGE)) if start > 0 else "",
        following=at(start + TAGS_PER_PAGE) if start + TAGS_PER_PAGE < len(found) else "",
        first=start + 1,
        csv=query(f"{href}/tags", q=search, show=show, format="csv"),
        stale=bool(values) and all(value.stale for value in values),
    )
    return table, tuple(value.path for value in page)


# ---------------------------------------------------------------- events, commands, forces, problems


EVENT_KINDS = (
    ("", "All"),
    ("fault", "Faults"),
    ("device", "Devices"),
    ("write", "Writes"),
    ("force", "Forces"),
    ("deploy", "Deployments"),
)


def event_view(row: EventRow) -> c.EventView:
    return c.EventView(
        seq=row.seq,
        time=moment_of(row.time_ns),
        kind=row.kind,
        severity=row.severity,
        source=row.source,
        text=row.text,
        runtime=row.node,
    )


def event_list(rows: Iterable[EventRow], *, with_runtime: bool = False) -> c.EventList:
    return c.EventList(events=tuple(event_view(row) for row in rows), with_runtime=with_runtime)


def command_view(row: CommandRow) -> c.CommandView:
    return c.CommandView(
        kind=f"{KIND_WORDS.get(row.kind, row.kind)} on {row.node}",
        state=row.state,
        state_word=COMMAND_WORDS.get(row.state, row.state),
        values=tuple(row.values.items()),
        user=row.user,
        reason=row.reason,
        created=moment_of(row.created_ns),
        scan=row.scan,
        value=row.value,
        problem=problem_view(row.problem) if row.problem else None,
        final=row.state in COMMAND_FINAL,
    )


def force_view(force: Force, value: TagValue | None, runtime: str) -> c.ForceView:
    actual = tag_cell(value) if value else c.Cell(f"t:{force.path}", force.text, "f")
    return c.ForceView(
        node=quote(force.node_id, safe=""),
        path=force.path,
        href=query(runtime_href(force.node_id, "tag"), path=force.path),
        text=force.text,
        actual=actual,
        owner=force.owner,
        reason=force.reason,
        since=moment(force.since_ns),
        expires=moment(force.expires_ns),
        runtime=runtime,
    )


def problem_view(problem: Problem) -> c.ProblemView:
    source = problem.source_line.expandtabs(4)
    if source and problem.place.column:
        source += "\n" + " " * (problem.place.column - 1) + "^" * max(problem.place.length, 1)
    return c.ProblemView(
        code=problem.code,
        message=sentence(problem.message),
        place=str(problem.place),
        source=source,
        expected=problem.expected,
        found=problem.found,
        remedy=sentence(problem.remedy),
        severity=problem.severity,
        notes=problem.notes,
    )


def sentence(text: str) -> str:
    return re.sub(r"^[a-z]", lambda match: match.group().upper(), text)


def told(error: TickworkError) -> str:
    """The first problem as one line under a field."""
    problem = error.problems[0]
    parts = [sentence(problem.message), sentence(problem.remedy)]
    return ". ".join(part.rstrip(".") for part in parts if part) + "."
