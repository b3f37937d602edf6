"""Alarms as the contexts of their pages: rows, groups, strip, figures."""

from __future__ import annotations

import datetime
import pathlib
import zlib
from collections.abc import Sequence
from urllib.parse import urlencode

from runtime.alarms.model import PRIORITIES, Definition
from runtime.alarms.states import WAITING, State
from supervisor.alarm_model import AlarmCounts, AlarmLine, AlarmRow, Bad, Figures
from supervisor.model import Role
from supervisor.pages import views
from web import contexts as c
from web import contexts_alarms as a
from web.contexts_strip import StripMark

NS_PER_MS = 1_000_000
ROWS_MAX = 100  # of a list: nobody reads more, and a flood must not freeze a page
ROWS_OF_GROUP_MAX = 5
FLOOD = 50  # standing alarms from which on they are grouped by unit
SHELVES = (("0", "until it clears"), ("900", "15 min"), ("3600", "1 h"), ("14400", "4 h"), ("28800", "8 h"))
BEFORE_MS, AFTER_MS = 600_000, 300_000  # of a trip, on the trend
SEPARATOR = "|"  # between the runtime and the alarm in a form's target


def mark_of(priority: int) -> c.Mark:
    return c.Mark(priority, PRIORITIES.get(priority, ""))


def target_of(row: AlarmRow) -> str:
    return f"{row.node_id}{SEPARATOR}{row.target}"


def condition_of(d: Definition) -> str:
    """The condition as one reads it."""
    if d.kind == "expression":
        return d.expression
    if d.kind == "comms":
        return f"no usable input from {d.tag}"
    if d.kind == "state":
        return f"{d.tag} is {' or '.join(d.states)}"
    if d.kind == "digital":
        return f"{d.tag} is {'TRUE' if d.active_when else 'FALSE'}"
    limits = ((">=", "HH", d.hh), (">=", "H", d.h), ("<=", "L", d.l), ("<=", "LL", d.ll))
    words = ", ".join(f"{name} {sign} {limit:g}" for sign, name, limit in limits if limit is not None)
    what = {"deviation": f"{d.tag} − {d.setpoint}", "rate": f"change of {d.tag} per second"}.get(
        d.kind, d.tag
    )
    return f"{what}: {words}"


def facts_of(row: AlarmRow) -> tuple[tuple[str, str], ...]:
    d = row.definition
    delays = " and ".join(
        text
        for ms, text in (
            (d.on_delay_ms, f"on {d.on_delay_ms} ms"),
            (d.off_delay_ms, f"off {d.off_delay_ms} ms"),
        )
        if ms
    )
    pairs = (
        ("Cause", d.cause), ("Consequence", d.consequence), ("Response", d.response),
        ("Respond within", views.duration(d.respond_within_s * 1e9) if d.respond_within_s else ""),
        ("Condition", condition_of(d)), ("Delays", delays), ("Group", d.group),
        ("Occurrence", str(row.standing.occurrence or "")),
    )  # fmt: skip
    return tuple((label, text) for label, text in pairs if text)


def links_of(row: AlarmRow) -> tuple[c.Link, ...]:
    """To the trend around the trip, the source line, the page that belongs to it."""
    found, d, at_ms = [], row.definition, row.standing.raised_ns // NS_PER_MS
    keys = [tag if ":" in tag else f"{row.node_id}:{tag}" for tag in d.tags() if not tag.startswith("$")]
    if keys and at_ms:
        span = {"from": str(at_ms - BEFORE_MS), "to": str(at_ms + AFTER_MS)}
        found.append(c.Link("Trend", "/trend?" + urlencode([*(("tag", key) for key in keys), *span.items()])))
    if origin_href(row):
        found.append(c.Link(f"Source {pathlib.PurePath(d.file).name}:{d.line}", origin_href(row)))
    if row.node_id and at_ms:
        moment = datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).isoformat()
        address = views.query(views.runtime_href(row.node_id, "program"), time=moment)
        found.append(c.Link("Recorded scan of the trip", address))
    found.append(c.Link("Journal", views.query("/alarms/journal", alarm=row.name, node=row.node_id)))
    if d.page.startswith("/") and not d.page.startswith("//"):
        found.append(c.Link("Page", d.page))
    return tuple(found)


def origin_href(row: AlarmRow) -> str:
    d = row.definition
    if d.origin not in ("file", "program") or not row.node_id:
        return ""
    name = pathlib.PurePath(d.file).name
    return views.query(views.runtime_href(row.node_id, "program"), file=name) + (
        f"#L{d.line}" if d.line else ""
    )


def chips_of(row: AlarmRow) -> tuple[str, ...]:
    one = row.standing
    marks = (
        (one.first_out and one.occurrence, "first out"), (one.unknown, "input bad: state held"),
        (row.stale, "last known: no connection"), (row.pending, f"{row.pending} on its way"),
        (one.asked_by, f"{one.asked_by} asks to take it out of service"),
    )  # fmt: skip
    return tuple(text for holds, text in marks if holds)


def row_view(row: AlarmRow) -> a.AlarmRowView:
    one, d = row.standing, row.definition
    return a.AlarmRowView(
        key=f"alarm-{row.node_id}-{zlib.crc32(row.name.encode()):x}", target=target_of(row), name=row.name,
        text=d.text or row.name,
        node=row.node, place=" / ".join(part for part in (d.area, d.unit) if part), mark=mark_of(one.priority),
        state=str(one.state), waiting=one.state in WAITING, raised=views.moment(one.raised_ns), value=one.value,
        limit=one.limit, acked_by=one.acked_by, comment=one.comment, chips=chips_of(row), facts=facts_of(row),
        links=links_of(row), until=views.moment(one.until_ns), by=one.by or one.asked_by, reason=one.reason,
        actions=actions_of(row),
    )  # fmt: skip


def actions_of(row: AlarmRow) -> tuple[tuple[str, str], ...]:
    one = row.standing
    if one.asked_by:
        return (("remove", "Confirm out of service"), ("return", "Refuse"))
    return {
        State.SHELVED: (("unshelve", "Unshelve"),),
        State.SUPPRESSED: (("unsuppress", "Lift"),) if one.by else (),
        State.OUT_OF_SERVICE: (("return", "Back into service"),),
    }.get(one.state, ())


def grouped(rows: Sequence[AlarmRow]) -> tuple[tuple[a.AlarmGroup, ...], bool]:
    """In a flood by unit, the first out on top; else one list as it is ordered."""
    if len(rows) <= FLOOD:
        return ((a.AlarmGroup("", len(rows), tuple(row_view(row) for row in rows)),) if rows else (), False)
    units: dict[str, list[AlarmRow]] = {}
    for row in rows:
        place = row.definition.unit or row.definition.area or row.definition.group
        units.setdefault(" · ".join(part for part in (row.node, place) if part), []).append(row)
    groups, left = [], ROWS_MAX
    for title, members in sorted(units.items(), key=lambda item: -len(item[1])):
        first = sorted(members[:1000], key=lambda row: not row.standing.first_out)[
            : min(ROWS_OF_GROUP_MAX, left)
        ]
        left -= len(first)
        groups.append(a.AlarmGroup(title, len(members), tuple(row_view(row) for row in first)))
    return tuple(groups), True


def alarm_list(
    rows: Sequence[AlarmRow], counts: AlarmCounts, role: Role, csrf: str, after: str
) -> a.AlarmList:
    groups, flood = grouped(rows)
    shown = [row for group in groups for row in group.rows]
    return a.AlarmList(
        groups=groups, total=len(rows), shown=len(shown), waiting=sum(row.waiting for row in shown), flood=flood,
        can_operate=role.includes(Role.OPERATOR), can_engineer=role.includes(Role.ENGINEER), csrf=csrf, after=after,
        down=counts.engines_down, checked=views.moment(counts.checked_ns, "alarms-checked"), shelves=SHELVES,
    )  # fmt: skip


def alarm_hidden(
    rows: Sequence[AlarmRow], counts: AlarmCounts, role: Role, csrf: str, after: str
) -> a.AlarmHidden:
    return a.AlarmHidden(
        rows=tuple(row_view(row) for row in rows[:ROWS_MAX]), csrf=csrf, can_operate=role.includes(Role.OPERATOR),
        after=after, down=counts.engines_down, checked=views.moment(counts.checked_ns, "alarms-checked"),
    )  # fmt: skip


def alarm_strip(counts: AlarmCounts) -> c.AlarmStrip:
    newest = counts.newest
    return c.AlarmStrip(
        marks=tuple(
            StripMark(mark_of(number), counts.by_priority[number - 1], counts.unacknowledged[number - 1])
            for number in (1, 2, 3, 4)
        ),
        total=sum(counts.by_priority),
        newest=f"{newest.definition.text or newest.name} · {newest.node}" if newest else "",
        newest_mark=mark_of(newest.standing.priority) if newest else None,
        sounding=counts.sounding,
        sound_key=f"{newest.node_id}-{newest.standing.raised_ns}-{newest.name}" if newest else "",
        down=counts.engines_down,
    )


def journal_line(line: AlarmLine) -> a.JournalLine:
    entry = line.entry
    return a.JournalLine(
        id=line.id, time=views.moment_of(entry.time_ns), node=line.node, name=entry.alarm, occurrence=entry.occurrence,
        event=entry.event, state=str(entry.standing.state), mark=mark_of(entry.standing.priority), value=entry.value,
        user=entry.user, comment=entry.comment, href=views.query("/alarms/journal", alarm=entry.alarm),
    )  # fmt: skip


def figure_rows(f: Figures) -> tuple[a.FigureRow, ...]:
    shares = ", ".join(f"{number}: {share:.0%}" for number, share in enumerate(f.priorities, 1))
    rows = (
        ("Raised", views.count(f.raised), "", True, "occurrences that began in the range"),
        ("Rate", f"{f.rate:.1f} in 10 min", "about 1, at most 2", f.rate <= 2, "for each operator, on average"),
        ("Most in 10 minutes", str(f.peak), "at most 10", f.peak <= 10, ""),
        ("Floods", str(f.floods), "", True, "more than 10 in 10 minutes, until fewer than 5"),
        ("Time in floods", f"{f.flood_share:.1%}", "below 1 %", f.flood_share < 0.01, ""),
        ("Stale", str(f.stale), "fewer than 5", f.stale < 5, "have stood for more than a day"),
        ("Chattering", str(len(f.chattering)), "none", not f.chattering, "raised three times or more in a minute"),
        ("Priorities", shares, "2: 5 %, 3: 15 %, 4: 80 %", True, "shares of what was raised"),
        ("Until acknowledged", views.duration(f.mean_ack_s * 1e9) if f.mean_ack_s else "–", "", True, "on average"),
    )  # fmt: skip
    return tuple(a.FigureRow(*row) for row in rows)


def bad_row(one: Bad) -> a.BadRow:
    return a.BadRow(
        one.node, one.name, f"{one.count} ({one.share:.0%})", views.query("/alarms/journal", alarm=one.name)
    )


def bars_of(counts: Sequence[int]) -> tuple[tuple[tuple[float, float, float], ...], float]:
    """At most 200 bars (each the worst of its intervals), and the height of ten in ten minutes."""
    per_bar = max(-(-len(counts) // 200), 1)
    worst = [max(counts[start : start + per_bar]) for start in range(0, len(counts), per_bar)]
    top = max([12, *worst])
    width = 100 / max(len(worst), 1)
    return (
        tuple(
            (round(i * width, 3), round(width * 0.9, 3), round(30 * n / top, 3)) for i, n in enumerate(worst)
        ),
        round(300 / top, 3),
    )


def rationale(row: AlarmRow) -> a.RationaleRow:
    d = row.definition
    origin = {"file": "plant file", "program": "program", "page": "made here", "system": "built in"}[d.origin]
    place = f" {pathlib.PurePath(d.file).name}:{d.line}" if d.line and d.origin in ("file", "program") else ""
    return a.RationaleRow(
        node=row.node, name=row.name, text=d.text, mark=mark_of(d.priority), condition=condition_of(d), cause=d.cause,
        consequence=d.consequence, response=d.response,
        within=views.duration(d.respond_within_s * 1e9) if d.respond_within_s else "", hides=d.suppress_when,
        origin=origin + place, origin_href=origin_href(row),
    )  # fmt: skip
