"""Alarms: the active list, what is hidden, the journal, figures, rationalisation, definitions made here."""

from __future__ import annotations

import difflib
import time
from collections import defaultdict
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.alarms.states import Event
from scan.problem import TickworkError
from supervisor.alarm_model import AlarmFilter
from supervisor.alarm_whatif import Trial
from supervisor.guard import access
from supervisor.model import Actor, FileDiff, Page, Role
from supervisor.pages import alarm_views, views
from supervisor.pages import shell as frame
from supervisor.pages.program_pages import diff_files
from supervisor.problems import not_understood
from supervisor.services import Services
from web import contexts as c
from web import contexts_alarms as a

LINES_PER_PAGE = 100
EXPORT_MAX = 10_000
DAY_NS = 86_400 * 1_000_000_000
RANGES = (("1d", "1 d", 1), ("7d", "7 d", 7), ("30d", "30 d", 30))
TABS = (
    ("", "Active", "/alarms"),
    ("hidden", "Hidden", "/alarms/hidden"),
    ("journal", "Journal", "/alarms/journal"),
    ("figures", "Figures", "/alarms/figures"),
    ("table", "Rationalisation", "/alarms/table"),
)
OWN_WORD = "supervisor"  # stands for the supervisor's own engine in addresses


def tabs(current: str) -> tuple[c.Link, ...]:
    return tuple(c.Link(text, href, name == current) for name, text, href in TABS)


def node_of(text: str) -> str:
    """The node id that an address means: "*" for all."""
    return {"": "*", OWN_WORD: ""}.get(text, text)


class AlarmModel:
    """The parts of alarm pages that their streams keep up to date."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def listed(self, actor: Actor, csrf: str, node: str) -> a.AlarmList:
        rows = await self._services.alarms.active(actor, node_id=node_of(node))
        counts = await self._services.alarms.counts(actor)
        return alarm_views.alarm_list(rows, counts, actor.role, csrf, views.query("/alarms", node=node))

    async def hidden(self, actor: Actor, csrf: str, node: str) -> a.AlarmHidden:
        rows = await self._services.alarms.hidden(actor, node_id=node_of(node))
        counts = await self._services.alarms.counts(actor)
        after = views.query("/alarms/hidden", node=node)
        return alarm_views.alarm_hidden(rows, counts, actor.role, csrf, after)


class AlarmPages:
    def __init__(self, services: Services, model: AlarmModel) -> None:
        self._services = services
        self._model = model

    def routes(self) -> list[Route]:
        viewer, operator, engineer = (access(role) for role in (Role.VIEWER, Role.OPERATOR, Role.ENGINEER))
        return [
            Route("/alarms", viewer(self.active), methods=["GET"]),
            Route("/alarms/hidden", viewer(self.hidden), methods=["GET"]),
            Route("/alarms/journal", viewer(self.journal), methods=["GET"]),
            Route("/alarms/figures", viewer(self.figures), methods=["GET"]),
            Route("/alarms/table", viewer(self.table), methods=["GET"]),
            Route("/alarms/define", engineer(self.define_form), methods=["GET"]),
            Route("/alarms/define", engineer(self.define), methods=["POST"]),
            Route("/alarms/orders", operator(self.order), methods=["POST"]),
        ]

    async def _shell(self, request: Request, title: str, view: str = "plain") -> c.Shell:
        node = request.query_params.get("node", "")[:100]
        stream = views.query("/live", view=view, section="alarms", node=node)
        return await frame.shell(
            request, self._services, title, section="alarms", stream=stream,
            crumbs=(("Alarms", "/alarms"),) if title != "Alarms" else (),
        )  # fmt: skip

    # ------------------------------------------------------------ lists

    async def active(self, request: Request) -> Response:
        node = request.query_params.get("node", "")[:100]
        if frame.wants(request) != "html":
            rows = await self._services.alarms.active(request.state.actor, node_id=node_of(node))
            return frame.data(request, rows, "alarms")
        body = await self._model.listed(request.state.actor, request.state.csrf, node)
        return await self._list(request, body, "", "/alarms", "alarms")

    async def hidden(self, request: Request) -> Response:
        node = request.query_params.get("node", "")[:100]
        if frame.wants(request) != "html":
            rows = await self._services.alarms.hidden(request.state.actor, node_id=node_of(node))
            return frame.data(request, rows, "hidden-alarms")
        body = await self._model.hidden(request.state.actor, request.state.csrf, node)
        return await self._list(request, body, "hidden", "/alarms/hidden", "alarms-hidden")

    async def _list(
        self, request: Request, body: a.AlarmList | a.AlarmHidden, tab: str, path: str, view: str
    ) -> Response:
        if frame.is_partial(request):
            return frame.html(request, body)
        node = request.query_params.get("node", "")[:100]
        runtimes = await self._services.fleet.runtimes(request.state.actor)
        names = [("", "All"), *((one.node_id, one.name) for one in runtimes), (OWN_WORD, "Supervisor")]
        page = a.AlarmsPage(
            shell=await self._shell(request, "Alarms", view),
            tabs=tabs(tab),
            body=body,
            filters=tuple(c.Link(text, views.query(path, node=key), key == node) for key, text in names),
            csv=views.query(path, node=node, format="csv"),
            json=views.query(path, node=node, format="json"),
        )
        return frame.html(request, page)

    async def order(self, request: Request) -> Response:
        """An order on what was chosen, or on what was shown and waits; the page says how many it names."""
        form = await request.form()
        action = str(form.get("action", ""))
        chosen = [str(one) for one in form.getlist("target")]
        if action == "acknowledge_shown":
            action, chosen = "acknowledge", [str(one) for one in form.getlist("shown")]
        by_node: dict[str, list[str]] = defaultdict(list)
        for target in chosen:
            node, separator, name = target.partition(alarm_views.SEPARATOR)
            if not separator or not name:
                raise not_understood("an alarm of the list", target)
            by_node[node].append(name)
        if not by_node:
            raise not_understood("at least one chosen alarm", "none")
        duration = str(form.get("duration_s", "0"))
        refused: list[tuple[str, str]] = []
        for node, names in by_node.items():
            result = await self._services.alarms.order(
                request.state.actor, node, action, tuple(names), comment=str(form.get("comment", ""))[:500],
                duration_s=int(duration) if duration.isdecimal() and action == "shelve" else 0,
                work_order=str(form.get("work_order", ""))[:60],
            )  # fmt: skip
            refused += result.refused
        if refused and len(refused) == len(chosen):
            raise not_understood(
                "an order that the alarm's state permits", f"{refused[0][0]}: {refused[0][1]}"
            )
        return frame.go(request, frame.local(str(form.get("after", "/alarms"))), "ordered")

    # ------------------------------------------------------------ journal and figures

    async def journal(self, request: Request) -> Response:
        query = request.query_params
        alarm, event, user = (query.get(name, "")[:120] for name in ("alarm", "event", "user"))
        node = node_of(query.get("node", ""))
        wanted = AlarmFilter("" if node == "*" else node, alarm, event, user)
        before = query.get("before", "0")
        start = int(before) if before.isdecimal() and len(before) < 16 else 0
        plain = frame.wants(request) != "html"
        page = Page(start, EXPORT_MAX if plain else LINES_PER_PAGE)
        lines = await self._services.alarms.journal(request.state.actor, wanted, page=page)
        if plain:
            rows = [alarm_views.journal_line(line) for line in lines]
            return frame.data(request, tuple(exported(row) for row in rows), "alarm-journal")
        here = {"alarm": alarm, "event": event, "user": user, "node": query.get("node", "")[:100]}
        context = a.AlarmJournalPage(
            shell=await self._shell(request, "Journal"), tabs=tabs("journal"),
            lines=tuple(alarm_views.journal_line(line) for line in lines), alarm=alarm, event=event,
            events=(*(str(one) for one in Event), "comment", "level", "input bad", "input good", "closed"), user=user,
            older=views.query("/alarms/journal", **here, before=lines[-1].id) if len(lines) == LINES_PER_PAGE else "",
            csv=views.query("/alarms/journal", **here, format="csv"),
            json=views.query("/alarms/journal", **here, format="json"),
        )  # fmt: skip
        return frame.html(request, context)

    async def figures(self, request: Request) -> Response:
        name = request.query_params.get("range", "1d")
        days = {key: number for key, _, number in RANGES}.get(name, 1)
        people = request.query_params.get("operators", "1")
        operators = int(people) if people.isdecimal() and 0 < int(people[:4]) < 1000 else 1
        to_ns = time.time_ns()
        found = await self._services.alarms.figures(
            request.state.actor, from_ns=to_ns - days * DAY_NS, to_ns=to_ns, operators=operators
        )
        if frame.wants(request) != "html":
            return frame.data(request, (found,), "alarm-figures")
        bars, limit = alarm_views.bars_of(found.per_interval)
        context = a.AlarmFiguresPage(
            shell=await self._shell(request, "Figures"), tabs=tabs("figures"),
            ranges=tuple(
                c.Link(text, views.query("/alarms/figures", range=key, operators=operators), key == name)
                for key, text, _ in RANGES
            ),
            figures=alarm_views.figure_rows(found), bars=bars, limit=limit,
            caption=f"Raised in each 10 minutes; at most {found.peak}. The line is 10.",
            worst=tuple(alarm_views.bad_row(one) for one in found.worst),
            chattering=tuple(alarm_views.bad_row(one) for one in found.chattering),
            json=f"/alarms/figures?{urlencode({'range': name, 'operators': operators, 'format': 'json'})}",
            span=name, operators=operators,
        )  # fmt: skip
        return frame.html(request, context)

    # ------------------------------------------------------------ definitions

    async def table(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        rows = await self._services.alarms.definitions(actor)
        if frame.wants(request) != "html":
            return frame.data(request, tuple(row.definition for row in rows), "alarm-definitions")
        engines = await self._services.alarms.engines(actor) if actor.role.includes(Role.ENGINEER) else ()
        context = a.AlarmTablePage(
            shell=await self._shell(request, "Rationalisation"), tabs=tabs("table"),
            rows=tuple(alarm_views.rationale(row) for row in rows),
            engines=tuple(
                c.Link(one.node, views.query("/alarms/define", node=one.node_id or OWN_WORD)) for one in engines
            ),
            csv="/alarms/table?format=csv", json="/alarms/table?format=json",
        )  # fmt: skip
        return frame.html(request, context)

    async def define_form(self, request: Request) -> Response:
        node = request.query_params.get("node", OWN_WORD)[:100]
        text = await self._services.alarms.page_text(request.state.actor, node_of(node))
        return await self._define(request, node, text)

    async def define(self, request: Request) -> Response:
        """ "try" shows difference and trial, "save" makes a version and sends it."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        node, text, message = form.get("node", OWN_WORD), form.get("text", ""), form.get("message", "")
        text = text.replace("\r\n", "\n")
        try:
            if form.get("do") == "save":
                await self._services.alarms.define(request.state.actor, node_of(node), text, message=message)
                return frame.go(request, views.query("/alarms/define", node=node), "saved")
            to_ns = time.time_ns()
            trial = await self._services.alarms.attempt(
                request.state.actor, node_of(node), text, from_ns=to_ns - DAY_NS, to_ns=to_ns
            )
        except TickworkError as error:
            return await self._define(request, node, text, message=message, error=error)
        return await self._define(request, node, text, message=message, trial=trial)

    async def _define(
        self,
        request: Request,
        node: str,
        text: str,
        *,
        message: str = "",
        error: TickworkError | None = None,
        trial: Trial | None = None,
    ) -> Response:
        actor: Actor = request.state.actor
        old = await self._services.alarms.page_text(actor, node_of(node))
        names = {one.node_id: one.node for one in await self._services.alarms.engines(actor)}
        versions = await self._services.alarms.versions(actor, node_of(node))
        context = a.AlarmDefinePage(
            shell=await self._shell(request, "Definitions"), tabs=tabs("table"), node=node,
            engine=names.get(node_of(node), node), text=text, message=message,
            problems=tuple(views.problem_view(one) for one in error.problems) if error else (),
            diff=diff_files(difference(old, text)) if trial else (), tried=trial is not None,
            rows=what_if_rows(trial) if trial else (), verdict=verdict(trial) if trial else "",
            versions=tuple(
                (str(one.number), one.created_by, one.message, views.moment_of(one.created_ns)) for one in versions
            ),
            can_save=trial is not None,
        )  # fmt: skip
        return frame.html(request, context, 422 if error else 200)


class ExportedLine(msgspec.Struct, frozen=True):
    """A line of the journal as CSV and JSON."""

    id: int
    time: str
    runtime: str
    alarm: str
    occurrence: int
    event: str
    state: str
    priority: int
    value: str
    user: str
    comment: str


def exported(line: a.JournalLine) -> ExportedLine:
    return ExportedLine(
        line.id, line.time.text, line.node, line.name, line.occurrence, line.event, line.state, line.mark.level,
        line.value, line.user, line.comment,
    )  # fmt: skip


def difference(old: str, new: str) -> tuple[FileDiff, ...]:
    """As between versions of a program."""
    if old == new:
        return ()
    lines: list[tuple[str, int, int, str]] = []
    before = after = 0
    for line in list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=3, lineterm=""))[2:]:
        mark, text = line[:1], line[1:]
        if mark == "@":
            numbers = line.split()
            before = abs(int(numbers[1].split(",")[0])) - 1
            after = int(numbers[2].split(",")[0]) - 1
            lines.append(("@", 0, 0, line))
            continue
        before += mark in " -"
        after += mark in " +"
        lines.append((mark, before if mark in " -" else 0, after if mark in " +" else 0, text))
    return (FileDiff("alarms.toml", "changed" if old else "added", tuple(lines)),)


def what_if_rows(trial: Trial) -> tuple[a.WhatIfRow, ...]:
    def times(found: tuple[int, ...]) -> str:
        shown = ", ".join(views.moment_of(time_ns).text[11:19] for time_ns in found[:5])
        return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")

    return tuple(
        a.WhatIfRow(one.name, str(one.before), str(one.after), times(one.missed), times(one.new))
        for one in trial.alarms
    )


def verdict(trial: Trial) -> str:
    text = (
        f"Over the last day and {views.count(trial.samples)} samples: {trial.rate[0]:.2f} in 10 minutes before, "
        f"{trial.rate[1]:.2f} now; most in 10 minutes {trial.peak[0]} before, {trial.peak[1]} now; "
        f"floods {trial.floods[0]} before, {trial.floods[1]} now."
    )
    return text + (f" Without history: {', '.join(trial.untried[:10])}." if trial.untried else "")
