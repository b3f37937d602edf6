"""Notifications: what is under way, where each message stands, mutes; and the settings with their forms."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.alarms.model import PRIORITIES
from scan.problem import Problem, TickworkError
from supervisor.guard import access
from supervisor.model import Actor, Page, Role
from supervisor.notify.model import TYPES, Channel, ChannelState, Delivery, Item, Mute, Run, Settings
from supervisor.pages import notify_forms as forms
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.problems import not_found, not_understood
from supervisor.services import Services
from web import contexts as c
from web import contexts_notify as n

PER_PAGE = 50
EXPORT_MAX = 1000
TABS = (("Under way", "/notifications"), ("Settings", "/notifications/settings"))
MUTE_FOR = ((1800, "30 minutes"), (3600, "1 hour"), (4 * 3600, "4 hours"), (8 * 3600, "8 hours"))
DELIVERY_WORDS = {
    "gathering": ("pending", "gathers alarms"),
    "queued": ("queued", "queued"),
    "sent": ("effective", "sent"),
    "delivered": ("effective", "delivered"),
    "failed": ("failed", "failed"),
    "cancelled": ("", "cancelled"),
}
CIRCUIT_MARKS = {
    "closed": c.Mark(0, "works"),
    "open": c.Mark(2, "circuit open"),
    "probing": c.Mark(3, "circuit open, next message probes"),
}


class SettingCsv(msgspec.Struct, frozen=True):
    """A line of the settings as CSV."""

    kind: str
    name: str
    says: str


def tabs(current: str) -> tuple[c.Link, ...]:
    return tuple(c.Link(text, href, href == current) for text, href in TABS)


@dataclass(frozen=True, slots=True)
class Asked:
    """``run``: the messages of one run alone (0: all); ``before``: older ones; ``all``: also runs that have ended."""

    run: int
    before: int
    all: bool

    @classmethod
    def of(cls, request: Request) -> Asked:
        given = request.query_params
        return cls(
            _number(given.get("run", "")), _number(given.get("before", "")), bool(given.get("all", ""))
        )


async def board(services: Services, actor: Actor, csrf: str, asked: Asked) -> n.NotifyBoard:
    """What is under way and the messages, as they are now."""
    service, at = services.notifications, "/notifications"
    deliveries = await service.deliveries(actor, run_id=asked.run, page=Page(asked.before, PER_PAGE))
    known = await service.overview(actor)
    runs = await service.runs(actor, page=Page(0, PER_PAGE)) if asked.all else known.runs[:PER_PAGE]
    more = deliveries[-1].id if len(deliveries) == PER_PAGE else 0
    return n.NotifyBoard(
        csrf=csrf,
        filters=(
            c.Link(f"Under way ({len(known.runs)})", at, not asked.all),
            c.Link("All", f"{at}?all=1", asked.all),
        ),
        runs=tuple(_run_row(run) for run in runs),
        channels=tuple(_channel_row(one) for one in known.channels),
        mutes=tuple(_mute_row(one) for one in known.mutes),
        deliveries=tuple(_delivery_row(one) for one in deliveries),
        chosen=f"of number {asked.run}" if asked.run else "",
        older=views.query(at, run=asked.run, before=more) if more else "",
        csv=views.query(at, run=asked.run, format="csv"),
        json=views.query(at, run=asked.run, format="json"),
    )


class NotifyPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        operator, engineer, one = (
            access(Role.OPERATOR),
            access(Role.ENGINEER),
            "/notifications/settings/{kind}",
        )
        return [
            Route("/notifications", operator(self.under_way), methods=["GET"]),
            Route("/notifications/runs/{run_id:int}/stop", operator(self.stop), methods=["POST"]),
            Route("/notifications/mute", operator(self.mute), methods=["POST"]),
            Route("/notifications/unmute", operator(self.unmute), methods=["POST"]),
            Route("/notifications/settings", operator(self.settings), methods=["GET"]),
            Route("/notifications/test/{name}", engineer(self.test), methods=["POST"]),
            Route(one, engineer(self.new), methods=["GET"]),
            Route(one, engineer(self.save), methods=["POST"]),
            Route(one + "/{name}", operator(self.item), methods=["GET"]),
            Route(one + "/{name}/remove", engineer(self.remove), methods=["POST"]),
        ]

    # ------------------------------------------------------------ under way

    async def under_way(self, request: Request) -> Response:
        return await self._page(request)

    async def _page(self, request: Request, error: TickworkError | None = None) -> Response:
        actor, asked = request.state.actor, Asked.of(request)
        if frame.wants(request) != "html":
            page = Page(asked.before, EXPORT_MAX)
            found = await self._services.notifications.deliveries(actor, run_id=asked.run, page=page)
            return frame.data(request, found, "notifications")
        stream = views.query(
            "/live", view="notifications", run=asked.run, before=asked.before, all=int(asked.all)
        )
        context = n.NotificationsPage(
            shell=await frame.shell(
                request, self._services, "Notifications", section="notifications", stream=stream
            ),
            tabs=tabs("/notifications"),
            board=await board(self._services, actor, request.state.csrf, asked),
            rules=tuple((await self._services.notifications.settings(actor)).rules),
            durations=MUTE_FOR,
            problems=_problems(error),
        )
        return frame.html(request, context, 422 if error else 200)

    async def stop(self, request: Request) -> Response:
        reason = str((await request.form()).get("reason", ""))
        await self._services.notifications.stop(request.state.actor, request.path_params["run_id"], reason)
        return frame.go(request, "/notifications", "changed")

    async def mute(self, request: Request) -> Response:
        form = await request.form()
        try:
            await self._services.notifications.mute(
                request.state.actor, str(form.get("rule", "")), _number(str(form.get("duration_s", ""))),
                str(form.get("reason", "")),
            )  # fmt: skip
        except TickworkError as error:
            return await self._page(request, error)
        return frame.go(request, "/notifications", "changed")

    async def unmute(self, request: Request) -> Response:
        rule = str((await request.form()).get("rule", ""))
        await self._services.notifications.unmute(request.state.actor, rule)
        return frame.go(request, "/notifications", "changed")

    # ------------------------------------------------------------ settings

    async def settings(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        known = await self._services.notifications.settings(actor)
        if frame.wants(request) == "json":
            return frame.data(request, (known,), "notification-settings")
        if frame.wants(request) == "csv":
            rows = [SettingCsv(kind, one.name, "; ".join(forms.facts_of(one)))
                    for kind in TYPES for one in known.of(kind).values()]  # fmt: skip
            return frame.data(request, rows, "notification-settings")
        context = n.NotifySettingsPage(
            shell=await self._shell(request, "Settings", inside=True),
            tabs=tabs("/notifications/settings"),
            groups=tuple(_group(kind, known, actor) for kind in forms.TITLES),
            csv="/notifications/settings?format=csv",
            json="/notifications/settings?format=json",
        )
        return frame.html(request, context)

    async def new(self, request: Request) -> Response:
        kind = _kind(request)
        known = await self._services.notifications.settings(request.state.actor)
        return await self._item_page(
            request, forms.blank(kind, request.query_params.get("kind", "")), kind, known
        )

    async def item(self, request: Request) -> Response:
        kind, name = _kind(request), request.path_params["name"]
        known = await self._services.notifications.settings(request.state.actor)
        found = known.of(kind).get(name)
        if found is None:
            raise not_found(kind, name)
        return await self._item_page(request, found, kind, known)

    async def save(self, request: Request) -> Response:
        kind, actor = _kind(request), request.state.actor
        form = await request.form()
        given = {key: [str(value) for value in form.getlist(key)] for key in form}
        known = await self._services.notifications.settings(actor)
        typed: Item = known.of(kind).get(given.get("name", [""])[0]) or forms.blank(
            kind, given.get("kind", [""])[0]
        )
        try:
            typed = forms.item_of(kind, given)
            await self._services.notifications.put(actor, kind, typed, secret=forms.secret_of(given))
        except TickworkError as error:
            return await self._item_page(request, typed, kind, known, error=error, typed=given)
        return frame.go(request, "/notifications/settings", "saved")

    async def remove(self, request: Request) -> Response:
        kind, name = _kind(request), request.path_params["name"]
        try:
            await self._services.notifications.remove(request.state.actor, kind, name)
        except TickworkError as error:
            known = await self._services.notifications.settings(request.state.actor)
            found = known.of(kind).get(name)
            if found is None:
                raise
            return await self._item_page(request, found, kind, known, error=error)
        return frame.go(request, "/notifications/settings", "removed")

    async def test(self, request: Request) -> Response:
        name, to = request.path_params["name"], str((await request.form()).get("to", "")).strip()
        service, actor = self._services.notifications, request.state.actor
        known = await service.settings(actor)
        channel = known.channels.get(name)
        if channel is None:
            raise not_found("channel", name)
        error, tested = None, ""
        try:
            delivery = await service.test(actor, name, to)
            tested = f"The test message to {to} was {delivery.state}."
            if delivery.state == "failed":
                problem = Problem("SV7003", "the test message was not delivered", found=delivery.problem,
                                  remedy="correct the channel or the address, then test again")  # fmt: skip
                error, tested = TickworkError(problem), ""
        except TickworkError as refused:
            error = refused
        return await self._item_page(request, channel, "channel", known, error=error, tested=(to, tested))

    async def _item_page(
        self,
        request: Request,
        item: Item,
        kind: str,
        known: Settings,
        *,
        error: TickworkError | None = None,
        typed: dict[str, list[str]] | None = None,
        tested: tuple[str, str] = ("", ""),
    ) -> Response:
        """``typed``: what was to be saved and was refused, so that nobody loses work."""
        actor: Actor = request.state.actor
        stored = item.name in known.of(kind)
        is_channel = isinstance(item, Channel) and stored
        fields = tuple(_typed(field, typed) if typed else field for field in forms.fields_of(item, known))
        context = n.NotifyItemPage(
            shell=await self._shell(request, item.name or f"New {kind}", inside=True),
            title=f"{kind.capitalize()} {item.name}" if stored else f"New {kind}",
            about=forms.ABOUT[kind],
            name=item.name if stored else "",
            fields=fields,
            save=f"{forms.SETTINGS}/{kind}",
            remove=f"{forms.item_href(kind, item.name)}/remove" if stored else "",
            back=forms.SETTINGS,
            can_edit=actor.role.includes(_configurer(kind)),
            test=f"/notifications/test/{item.name}"
            if is_channel and actor.role.includes(Role.ENGINEER)
            else "",
            test_to=tested[0],
            tested=tested[1],
            problems=_problems(error),
        )
        return frame.html(request, context, 422 if error else 200)

    async def _shell(self, request: Request, title: str, *, inside: bool = False) -> c.Shell:
        crumbs = (("Notifications", "/notifications"),) if inside else ()
        return await frame.shell(request, self._services, title, section="notifications", crumbs=crumbs)


def _kind(request: Request) -> str:
    kind = str(request.path_params["kind"])
    if kind not in TYPES:
        raise not_found("kind of setting", kind)
    return kind


def _number(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise not_understood("a number", text)
    return int(text)


def _configurer(kind: str) -> Role:
    return Role.ADMIN if kind == "channel" else Role.ENGINEER


def _ahead(time_ns: int) -> c.Moment | None:
    """None when it is now, or past and about to be done."""
    return views.moment(time_ns) if time_ns > time.time_ns() else None


def _problems(error: TickworkError | None) -> tuple[c.ProblemView, ...]:
    return tuple(views.problem_view(one) for one in error.problems) if error else ()


def _typed(field: n.Field, given: dict[str, list[str]]) -> n.Field:
    """The field with what somebody wrote in it; a secret is not sent back."""
    if field.form in ("secret", "select", "checks"):
        return field
    return n.Field(
        field.name, field.label, field.form, given.get(field.name, [""])[0], field.help, field.choices
    )


def _group(kind: str, known: Settings, actor: Actor) -> n.SettingGroup:
    title, about = forms.TITLES[kind]
    add: tuple[c.Link, ...] = ()
    if actor.role.includes(_configurer(kind)):
        at = f"{forms.SETTINGS}/{kind}"
        kinds = forms.KIND_WORDS.items() if kind == "channel" else ()
        add = tuple(c.Link(word, f"{at}?kind={name}") for name, word in kinds) or (c.Link(f"New {kind}", at),)
    rows = tuple(
        n.SettingRow(
            one.name, forms.item_href(kind, one.name), forms.facts_of(one), not getattr(one, "enabled", True)
        )
        for one in known.of(kind).values()
    )
    return n.SettingGroup(kind, title, about, rows, add)


def _run_row(run: Run) -> n.RunRow:
    facts, position = run.facts, run.position
    words = {"running": ("running", "under way"), "done": ("fault", "all steps done")}
    state, word = words.get(run.state, ("", f"{run.why}{f' by {run.by}' if run.by else ''}"))
    running = run.state == "running"
    return n.RunRow(
        mark=c.Mark(facts.priority, PRIORITIES.get(facts.priority, "")),
        text=facts.text,
        place=" · ".join(text for text in (facts.node, facts.area, facts.unit, facts.alarm) if text),
        rule=run.rule,
        pipeline=run.pipeline.name,
        state=state,
        state_word=word,
        escalation=position.level,
        started=views.moment_of(run.started_ns),
        next=_ahead(position.due_ns) if running else None,
        notes=tuple(n.NoteRow(views.moment_of(note.time_ns), note.text) for note in run.notes),
        stop=f"/notifications/runs/{run.id}/stop" if run.state != "ended" else "",
        messages=f"/notifications?run={run.id}",
    )


def _channel_row(one: ChannelState) -> n.ChannelRow:
    mark = CIRCUIT_MARKS[one.circuit] if one.enabled else c.Mark(0, "off")
    until = views.moment(one.open_until_ns) if one.circuit == "open" else None
    return n.ChannelRow(one.name, forms.KIND_WORDS[one.kind], mark, one.problem, until, one.waiting)


def _mute_row(one: Mute) -> n.MuteRow:
    return n.MuteRow(one.rule, one.by, one.reason, views.moment_of(one.until_ns))


def _delivery_row(one: Delivery) -> n.DeliveryRow:
    state, word = DELIVERY_WORDS[one.state]
    waits = one.state in ("gathering", "queued")
    return n.DeliveryRow(
        id=one.id,
        subject=one.subject,
        count=one.count,
        person=one.person,
        channel=one.channel,
        address=one.address,
        state=state,
        state_word=word,
        changed=views.moment_of(one.changed_ns),
        next=_ahead(one.next_ns) if waits else None,
        tries=one.tries,
        problem=one.problem,
    )
