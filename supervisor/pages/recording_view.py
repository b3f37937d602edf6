"""A recorded scan on the program page: what is asked of the runtime, and the answer as the template wants it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from starlette.datastructures import QueryParams

from runtime.link import TraceQuestion
from supervisor.pages import views
from supervisor.recordings import Look, ScanState, Why
from web import contexts as c
from web import contexts_recording as w

AROUND = 20  # scans before and after it that come along, so that single steps need no further question
STEPS = ((-100, "−100"), (-1, "◀ Back"), (1, "Forward ▶"), (100, "+100"))
KEPT = ("file", "instance")  # of the address, from scan to scan


def is_asked(query: QueryParams) -> bool:
    return any(query.get(name) for name in ("scan", "time", "when"))


def question(query: QueryParams, tags: tuple[str, ...]) -> TraceQuestion:
    """``scan=last`` or none means the newest recorded one."""
    scan = query.get("scan", "")
    return TraceQuestion(
        variables=tags,
        scan=int(scan) if scan.isdecimal() and len(scan) < 19 else 0,
        time=query.get("time", "")[:64],
        when=query.get("when", "")[:500],
        back=AROUND,
        forward=AROUND,
        lines=True,
    )


def frozen(node_id: str, look: Look, path: str, tags: tuple[str, ...], query: QueryParams) -> w.FrozenScan:
    kept = [(name, value) for name in KEPT for value in query.getlist(name)]
    here = views.runtime_href(node_id, "program")

    def at(scan: int) -> str:
        return f"{here}?{urlencode([*kept, ('scan', str(scan))])}"

    index = next((number for number, one in enumerate(look.scans) if one.scan == look.scan), 0)
    now = look.scans[index]
    before = look.scans[index - 1].values if index else {}
    return w.FrozenScan(
        scan=now.scan,
        time=now.time,
        tasks=", ".join(now.tasks),
        steps=tuple(
            c.Link(text, at(min(max(now.scan + by, look.first), look.last)), icon=str(by))
            for by, text in STEPS
        ),
        values=tuple(_value(node_id, tag, now, before) for tag in tags if tag in now.values),
        window=_window(look, path),
        first=look.first,
        last=look.last,
        when=query.get("when", ""),
        at=now.time,
        live=f"{here}?{urlencode(kept)}",
        line=int(query["line"]) if query.get("line", "").isdecimal() else 0,
        hidden=tuple(kept),
    )


def _value(node_id: str, tag: str, now: ScanState, before: Mapping[str, str]) -> w.FrozenValue:
    why = views.runtime_href(node_id, "why") + "?" + urlencode({"path": tag, "scan": now.scan})
    text = now.values[tag]
    return w.FrozenValue(tag, text, before.get(tag, text) != text, why)


def _window(look: Look, path: str) -> str:
    rows = [
        {
            "scan": one.scan, "time": one.time, "tasks": ", ".join(one.tasks), "values": one.values,
            "lines": one.lines.get(path, ()),
        }
        for one in look.scans
    ]  # fmt: skip
    return msgspec.json.encode(rows).decode()


def why_sheet(node_id: str, answer: Why, until: int) -> w.WhySheet:
    if answer.scan is None:
        text = "It kept its value from the beginning of the recording on."
        return w.WhySheet(answer.variable, 0, text, "", "", "", "", "", until)
    target = {"scan": str(answer.scan)} | (
        {"file": answer.file, "line": str(answer.line)} if answer.file else {}
    )
    return w.WhySheet(
        path=answer.variable,
        scan=answer.scan,
        answer=f"It changed last in scan {answer.scan}.",
        before=answer.before,
        after=answer.after,
        time=answer.time,
        writer=answer.writer,
        source=views.runtime_href(node_id, "program") + "?" + urlencode(target),
        until=until,
    )
