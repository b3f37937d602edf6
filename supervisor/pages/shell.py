"""What every page shares: the frame around it, answers in HTML, JSON or CSV, and the words after an action."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from supervisor.model import Actor, Role, Runtime
from supervisor.pages import views
from supervisor.pages.alarm_views import alarm_strip
from supervisor.services import Services
from web import contexts as c
from web import render
from web.rendering import Context

NOTICE_COOKIE = "tickwork_notice"
THEME_COOKIE = "tickwork_theme"
THEMES = ("auto", "light", "dark")
# What just happened, by the name that travels in a cookie; free text never does.
NOTICES = {
    "saved": "Saved.",
    "published": "A new version was built and signed.",
    "removed": "Removed.",
    "created": "Created.",
    "changed": "Changed.",
    "password": "The password was changed. All other sessions of this account have ended.",
    "revoked": "Revoked: its key is refused from now on.",
    "aborted": "Aborted what had not been sent yet.",
    "uploaded": "Uploaded as the new draft.",
    "ordered": "Ordered. What stands changes when the engine that owns the alarm has done it.",
}
VERSION = importlib.metadata.version("tickwork")


def theme_of(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return theme if theme in THEMES else "auto"


def is_partial(request: Request) -> bool:
    """htmx asks for a piece of the page that is already there."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Request-Type") != "full"


def here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def nav(section: str, role: Role) -> tuple[c.Link, ...]:
    links = [
        ("alarms", "Alarms", "/alarms", "alarm", Role.VIEWER),
        ("notifications", "Notifications", "/notifications", "notify", Role.OPERATOR),
        ("programs", "Programs", "/programs", "program", Role.VIEWER),
        ("deployments", "Deployments", "/deployments", "deploy", Role.VIEWER),
        ("screens", "Screens", "/screens", "screen", Role.VIEWER),
        ("watch", "Watch", "/watch", "watch", Role.VIEWER),
        ("trend", "Trends", "/trend", "trend", Role.VIEWER),
        ("forces", "Forces", "/forces", "force", Role.VIEWER),
        ("events", "Events", "/events", "event", Role.VIEWER),
        ("audit", "Audit", "/audit", "audit", Role.VIEWER),
        ("users", "Users", "/users", "user", Role.ADMIN),
        ("enrolment", "Enrolment", "/enrolment", "key", Role.ADMIN),
        ("settings", "Settings", "/settings", "settings", Role.VIEWER),
    ]
    return tuple(
        c.Link(text, href, section == name, icon)
        for name, text, href, icon, need in links
        if role.includes(need)
    )


RUNTIME_PAGES = (
    ("overview", "Overview", ()),
    ("program", "Program", ("program",)),
    ("forces", "Forces", ("forces",)),
    ("events", "Events", ("events",)),
)


def plant_tree(runtimes: Iterable[Runtime], *, section: str, node: str, page: str) -> c.PlantTree:
    def pages(node_id: str) -> tuple[c.Link, ...]:
        return tuple(
            c.Link(text, views.runtime_href(node_id, *rest), name == page)
            for name, text, rest in RUNTIME_PAGES
        )

    ordered = sorted(runtimes, key=lambda runtime: runtime.name)
    return c.PlantTree(
        fleet=c.Link("Fleet", "/", section == "fleet"),
        nodes=tuple(
            c.PlantNode(
                text=runtime.name,
                href=views.runtime_href(runtime.node_id),
                mark=views.level(runtime),
                current=runtime.node_id == node and page == "",
                pages=pages(runtime.node_id) if runtime.node_id == node else (),
            )
            for runtime in ordered
        ),
    )


async def shell(
    request: Request,
    services: Services,
    title: str,
    *,
    section: str = "",
    crumbs: Sequence[tuple[str, str]] = (),
    stream: str = "",
    runtime: Runtime | None = None,
    page: str = "",
) -> c.Shell:
    """The frame of a page. ``crumbs`` lead here without the page itself; ``page`` is one of RUNTIME_PAGES."""
    actor: Actor = request.state.actor
    runtimes = await services.fleet.runtimes(actor)
    trail = [c.Link(text, href) for text, href in crumbs] + [c.Link(title, "")]
    return c.Shell(
        title=title,
        user=actor.name,
        full_name=actor.full_name,
        role=actor.role,
        csrf=request.state.csrf,
        theme=theme_of(request),
        nav=nav(section, actor.role),
        tree=plant_tree(runtimes, section=section, node=runtime.node_id if runtime else "", page=page),
        crumbs=tuple(trail),
        stream=stream or views.query("/live", view="plain", section=section),
        now=views.moment_of(time.time_ns()),
        here=here(request),
        version=VERSION,
        notice=notice_of(request),
        held=held_of(runtime) if runtime else None,
        strip=alarm_strip(await services.alarms.counts(actor)),
    )


def held_of(runtime: Runtime) -> c.Held:
    return c.Held(runtime.name, runtime.forces, views.runtime_href(runtime.node_id, "forces"))


def notice_of(request: Request) -> c.Notice | None:
    text = NOTICES.get(request.cookies.get(NOTICE_COOKIE, ""))
    return c.Notice(text) if text else None


def html(request: Request, context: Context, status: int = 200, *beside: Context) -> Response:
    """The context as a page, or as a piece with others beside it. A notice that was shown is not shown again."""
    text = "".join(render(one) for one in (context, *beside))
    response = HTMLResponse(text, status, headers={"Cache-Control": "no-store", "Vary": "HX-Request"})
    if NOTICE_COOKIE in request.cookies:
        response.delete_cookie(NOTICE_COOKIE, path="/", samesite="lax")
    return response


def go(request: Request, path: str, notice: str = "") -> Response:
    """Post, redirect, get: the next page, by htmx or by the browser itself."""
    by_script = request.headers.get("HX-Request") == "true"
    response: Response = (
        Response(status_code=204, headers={"HX-Redirect": path}) if by_script else RedirectResponse(path, 303)
    )
    if notice:
        response.set_cookie(NOTICE_COOKIE, notice, max_age=30, httponly=True, samesite="lax", path="/")
    return response


def local(path: str) -> str:
    """A place within these pages to go to, whatever was asked for."""
    plain = (
        path.startswith("/") and not path.startswith(("//", "/\\")) and all(ord(sign) > 31 for sign in path)
    )
    return path if plain else "/"


# ---------------------------------------------------------------- the same table as data


def wants(request: Request) -> str:
    """ "html", "json" or "csv": by ``?format=`` or by what the client accepts."""
    asked = request.query_params.get("format", "")
    if asked in ("csv", "json"):
        return asked
    accept = request.headers.get("Accept", "")
    if "text/html" in accept:
        return "html"
    return "csv" if "text/csv" in accept else "json" if "application/json" in accept else "html"


def data(request: Request, rows: Sequence[msgspec.Struct], name: str) -> Response:
    """A table as JSON or CSV at the page's own address."""
    if wants(request) == "json":
        return Response(msgspec.json.encode(rows), media_type="application/json")
    out = io.StringIO()
    columns = rows[0].__struct_fields__ if rows else ()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([flat(getattr(row, column)) for column in columns])
    return Response(
        out.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}.csv"},
    )


def flat(value: Any) -> str | int | float:
    """One field of a CSV row. A text that a spreadsheet would run as a formula is kept a text."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
