"""Fleet, runtime, tags, forces, events: what happens in the plant, and commands to it."""

from __future__ import annotations

import secrets
import time
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor.guard import access
from supervisor.model import Actor, Page, Role, RuntimeDetail, SeriesKey, TagValue
from supervisor.pages import commands_view, figures, views
from supervisor.pages import shell as frame
from supervisor.problems import not_found
from supervisor.services import Services
from web import contexts as c

EVENTS_BESIDE = 12
EVENTS_PER_PAGE = 100
SPARK_S = 600
SPARK_POINTS = 120
DEPLOYMENTS_LOOKED_AT = Page(limit=50)


class PlantModel:
    """Contexts of the plant's parts as they are now; pages and streams both come here."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def fleet(self, actor: Actor, *, search: str, show: str) -> c.FleetTable:
        runtimes = await self._services.fleet.runtimes(actor)
        deployments = await self._services.deployments.list(actor, page=DEPLOYMENTS_LOOKED_AT)
        return views.fleet_table(
            runtimes,
            deployments,
            search=search,
            show=show,
            can_enrol=actor.role.includes(Role.ADMIN),
            now_ns=time.time_ns(),
        )

    async def head(self, actor: Actor, detail: RuntimeDetail) -> c.RuntimeHead:
        runtime = detail.runtime
        found = await self._services.deployments.list(actor, node_id=runtime.node_id, page=Page(limit=5))
        mark = views.level(runtime)
        wanted = views.desired(found)
        drift = views.drift_of(runtime, wanted)
        words = (
            views.STATE_WORDS.get(runtime.state, runtime.state),
            views.LINK_WORDS.get(runtime.link, runtime.link),
        )
        return figures.runtime_head(
            detail,
            mark=mark if mark.level or not drift[0] else c.Mark(4, "low"),
            drift=drift,
            deployed=runtime.node_id in wanted,
            words=words,
        )

    def tasks(self, detail: RuntimeDetail) -> c.TaskList:
        return figures.task_list(detail, stale=detail.runtime.link != "up")

    def devices(self, detail: RuntimeDetail) -> c.DeviceList:
        return figures.device_list(detail, stale=detail.runtime.link != "up")

    async def events(self, actor: Actor, node_id: str = "") -> c.EventList:
        rows = await self._services.fleet.events(actor, node_id=node_id, page=Page(limit=EVENTS_BESIDE))
        return views.event_list(rows, with_runtime=not node_id)

    async def tags(
        self, actor: Actor, node_id: str, *, search: str, show: str, start: int
    ) -> tuple[c.TagTable, tuple[str, ...]]:
        values = await self._services.fleet.tags(actor, node_id)
        return views.tag_table(node_id, values, search=search, show=show, start=start)


def tag_query(request: Request) -> tuple[str, str, int]:
    query = request.query_params
    start = query.get("start", "0")
    return query.get("q", "")[:200], query.get("show", ""), int(start) if start.isdecimal() else 0


class PlantPages:
    def __init__(self, services: Services, model: PlantModel) -> None:
        self._services = services
        self._model = model

    def routes(self) -> list[Route]:
        viewer, operator = access(Role.VIEWER), access(Role.OPERATOR)
        node = "/runtimes/{node_id}"
        return [
            Route("/", viewer(self.fleet), methods=["GET"]),
            Route("/forces", viewer(self.forces), methods=["GET"]),
            Route("/events", viewer(self.events), methods=["GET"]),
            Route(node, viewer(self.runtime), methods=["GET"]),
            Route(f"{node}/tags", viewer(self.tags), methods=["GET"]),
            Route(f"{node}/tag", viewer(self.tag), methods=["GET"]),
            Route(f"{node}/forces", viewer(self.forces), methods=["GET"]),
            Route(f"{node}/events", viewer(self.events), methods=["GET"]),
            Route(f"{node}/prepare", operator(self.prepare), methods=["POST"]),
            Route(f"{node}/confirm/{{kind}}", operator(self.confirm), methods=["GET"]),
            Route(f"{node}/commands", operator(self.send), methods=["POST"]),
            Route(f"{node}/commands/{{command_id}}", viewer(self.command), methods=["GET"]),
        ]

    # ------------------------------------------------------------ fleet

    async def fleet(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        search, show, _ = tag_query(request)
        if frame.wants(request) != "html":
            return frame.data(request, await self._services.fleet.runtimes(actor), "fleet")
        table = await self._model.fleet(actor, search=search, show=show)
        if frame.is_partial(request):
            return frame.html(request, table)
        stream = "/live?" + urlencode({"view": "fleet", "q": search, "show": show})
        shell = await frame.shell(request, self._services, "Fleet", section="fleet", stream=stream)
        return frame.html(request, c.FleetPage(shell, table, await self._model.events(actor), search))

    # ------------------------------------------------------------ one runtime

    async def runtime(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id = request.path_params["node_id"]
        detail = await self._services.fleet.runtime(actor, node_id)
        if frame.wants(request) != "html":
            return frame.data(request, (detail,), detail.runtime.name)
        search, show, start = tag_query(request)
        table, _ = await self._model.tags(actor, node_id, search=search, show=show, start=start)
        shell = await frame.shell(
            request,
            self._services,
            detail.runtime.name,
            crumbs=(("Fleet", "/"),),
            stream=views.runtime_stream(node_id, search=search, show=show, start=start),
            runtime=detail.runtime,
            page="overview",
        )
        page = c.RuntimePage(
            shell=shell,
            node=node_id,
            head=await self._model.head(actor, detail),
            tags=table,
            tasks=self._model.tasks(detail),
            devices=self._model.devices(detail),
            events=await self._model.events(actor, node_id),
            clients=detail.clients,
            endpoints=detail.endpoints,
            processes=tuple(detail.processes.items()),
            can_operate=actor.role.includes(Role.OPERATOR),
            can_engineer=actor.role.includes(Role.ENGINEER),
        )
        return frame.html(request, page)

    async def tags(self, request: Request) -> Response:
        """The table of the runtime's page after a search; the whole page when no script asks."""
        actor: Actor = request.state.actor
        node_id = request.path_params["node_id"]
        search, show, start = tag_query(request)
        if frame.wants(request) != "html":
            values = await self._services.fleet.tags(actor, node_id)
            return frame.data(request, views.tags_wanted(values, search=search, show=show), f"{node_id}-tags")
        if not frame.is_partial(request):
            return await self.runtime(request)
        table, _ = await self._model.tags(actor, node_id, search=search, show=show, start=start)
        stream = views.runtime_stream(node_id, search=search, show=show, start=start)
        response = frame.html(request, table, 200, c.StreamSource(stream, True))
        response.headers["HX-Replace-Url"] = f"{views.runtime_href(node_id)}?{request.url.query}"
        return response

    async def tag(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id, path = request.path_params["node_id"], request.query_params.get("path", "")
        typed = request.query_params.get("value", "")[:200]  # what the button of a screen would write
        sheet = await self._sheet(request, node_id, path, typed=typed)
        if frame.is_partial(request):
            return frame.html(request, sheet)
        runtime = (await self._services.fleet.runtime(actor, node_id)).runtime
        stream = "/live?" + urlencode({"view": "tag", "node": node_id, "path": path})
        shell = await frame.shell(
            request,
            self._services,
            path,
            crumbs=(("Fleet", "/"), (runtime.name, views.runtime_href(node_id))),
            stream=stream,
            runtime=runtime,
        )
        return frame.html(request, c.TagPage(shell, sheet))

    async def _tag_value(self, actor: Actor, node_id: str, path: str) -> TagValue:
        found = await self._services.fleet.tags(actor, node_id, (path,)) if path else ()
        if not found:
            raise not_found("tag", path)
        return found[0]

    async def _sheet(
        self, request: Request, node_id: str, path: str, *, wrong: str = "", typed: str = ""
    ) -> c.TagSheet:
        actor: Actor = request.state.actor
        value = await self._tag_value(actor, node_id, path)
        runtime = (await self._services.fleet.runtime(actor, node_id)).runtime
        forces = await self._services.fleet.forces(actor, node_id)
        return commands_view.tag_sheet(
            value,
            runtime,
            next((force for force in forces if force.path == path), None),
            await self._recent(actor, value),
            actor=actor,
            csrf=request.state.csrf,
            wrong=wrong,
            typed=typed,
        )

    async def _recent(self, actor: Actor, value: TagValue) -> tuple[str, str]:
        now_ns = time.time_ns()
        traces = await self._services.history.trend(
            actor,
            (SeriesKey(value.node_id, value.path),),
            from_ns=now_ns - SPARK_S * 1_000_000_000,
            to_ns=now_ns,
            points=SPARK_POINTS,
        )
        path = figures.sparkline(traces[0]) if traces else ""
        return path, f"The last {SPARK_S // 60} minutes."

    # ------------------------------------------------------------ commands

    async def prepare(self, request: Request) -> Response:
        """The first step of a write or a force: check what was typed, then ask."""
        actor: Actor = request.state.actor
        node_id = request.path_params["node_id"]
        form = await request.form()
        path, typed = str(form.get("path", "")), str(form.get("value", "")).strip()
        value = await self._tag_value(actor, node_id, path)
        wrong = commands_view.why_refused(value, typed)
        if wrong:
            sheet = await self._sheet(request, node_id, path, wrong=wrong, typed=typed)
            return await self._answer(request, node_id, sheet, 422)
        lease = str(form.get("lease", "0"))
        confirm = commands_view.write_confirm(
            value,
            (await self._services.fleet.runtime(actor, node_id)).runtime,
            kind="force" if form.get("kind") == "force" else "write",
            new=commands_view.literal(value, typed),
            csrf=request.state.csrf,
            lease_s=int(lease) if lease.isdecimal() else 0,
            reason=str(form.get("reason", "")),
            key=secrets.token_urlsafe(12),
        )
        return await self._answer(request, node_id, confirm)

    async def confirm(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id, kind = request.path_params["node_id"], request.path_params["kind"]
        if kind not in commands_view.ACTIONS:
            raise not_found("command", kind)
        runtime = (await self._services.fleet.runtime(actor, node_id)).runtime
        confirm = commands_view.action_confirm(
            runtime, kind=kind, csrf=request.state.csrf, key=secrets.token_urlsafe(12)
        )
        return await self._answer(request, node_id, confirm)

    async def send(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id = request.path_params["node_id"]
        form = {name: str(value) for name, value in (await request.form()).items()}
        kind, path = form.get("kind", ""), form.get("path", "")
        if kind not in commands_view.KINDS:
            raise not_found("command", kind)
        lease = form.get("lease", "0")
        values = {path: form.get("value", "")} if path else {}
        try:
            row = await self._services.commands.send(
                actor,
                node_id,
                kind,  # type: ignore[arg-type]  # one of KINDS
                values,
                reason=form.get("reason", ""),
                expected={path: form["expected"]} if kind == "write" and form.get("expected") else None,
                lease_s=int(lease) if lease.isdecimal() else 0,
                idempotency_key=form.get("key", ""),
            )
        except TickworkError as error:
            if not path:
                raise
            sheet = await self._sheet(
                request, node_id, path, wrong=views.told(error), typed=form.get("value", "")
            )
            return await self._answer(request, node_id, sheet, 422)
        progress = commands_view.progress(row)
        if frame.is_partial(request):
            return frame.html(request, progress)
        return frame.go(request, progress.poll)

    async def command(self, request: Request) -> Response:
        row = await self._services.commands.get(request.state.actor, request.path_params["command_id"])
        if frame.wants(request) == "json":
            return Response(msgspec.json.encode(row), media_type="application/json")
        return await self._answer(request, row.node_id, commands_view.progress(row))

    async def _answer(
        self,
        request: Request,
        node_id: str,
        context: c.TagSheet | c.WriteConfirm | c.CommandProgress,
        status: int = 200,
    ) -> Response:
        """The piece alone for the drawer, a whole page for a browser without scripts."""
        if frame.is_partial(request):
            return frame.html(request, context, status)
        runtime = (await self._services.fleet.runtime(request.state.actor, node_id)).runtime
        href = views.runtime_href(node_id)
        shell = await frame.shell(
            request, self._services, "Command", crumbs=(("Fleet", "/"), (runtime.name, href)), runtime=runtime
        )
        page: c.TagPage | c.ConfirmPage | c.CommandPage
        if isinstance(context, c.TagSheet):
            page = c.TagPage(shell, context)
        elif isinstance(context, c.WriteConfirm):
            page = c.ConfirmPage(shell, context)
        else:
            page = c.CommandPage(shell, context, href)
        return frame.html(request, page, status)

    # ------------------------------------------------------------ forces and events

    async def forces(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id = request.path_params.get("node_id", "")
        if node_id:
            runtimes = [(await self._services.fleet.runtime(actor, node_id)).runtime]
        else:
            runtimes = [runtime for runtime in await self._services.fleet.runtimes(actor) if runtime.forces]
        found = [
            (runtime, force)
            for runtime in runtimes
            for force in await self._services.fleet.forces(actor, runtime.node_id)
        ]
        if frame.wants(request) != "html":
            return frame.data(request, [force for _, force in found], "forces")
        shown = []
        for runtime, force in found:
            values = await self._services.fleet.tags(actor, runtime.node_id, (force.path,))
            shown.append(views.force_view(force, values[0] if values else None, runtime.name))
        here = runtimes[0] if node_id else None
        shell = await frame.shell(
            request,
            self._services,
            "Forces",
            section="" if node_id else "forces",
            crumbs=(("Fleet", "/"), (here.name, views.runtime_href(node_id))) if here else (),
            stream="/live?" + urlencode({"view": "forces", "node": node_id}),
            runtime=here,
            page="forces",
        )
        page = c.ForcesPage(
            shell=shell,
            forces=tuple(shown),
            runtime=here.name if here else "",
            can_operate=actor.role.includes(Role.OPERATOR),
        )
        return frame.html(request, page)

    async def events(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id = request.path_params.get("node_id", "")
        kind, before = request.query_params.get("kind", ""), request.query_params.get("before", "0")
        page = Page(before=int(before) if before.isdecimal() else 0, limit=EVENTS_PER_PAGE)
        rows = await self._services.fleet.events(actor, node_id=node_id, kind=kind, page=page)
        if frame.wants(request) != "html":
            return frame.data(request, rows, "events")
        runtime = (await self._services.fleet.runtime(actor, node_id)).runtime if node_id else None
        path = request.url.path
        shell = await frame.shell(
            request,
            self._services,
            "Events",
            section="" if node_id else "events",
            crumbs=(("Fleet", "/"), (runtime.name, views.runtime_href(node_id))) if runtime else (),
            stream="/live?" + urlencode({"view": "events", "node": node_id, "kind": kind})
            if not page.before
            else "",
            runtime=runtime,
            page="events",
        )
        older = views.query(path, kind=kind, before=rows[-1].seq) if len(rows) == EVENTS_PER_PAGE else ""
        context = c.EventsPage(
            shell=shell,
            list=views.event_list(rows, with_runtime=not node_id),
            kinds=tuple(
                c.Link(text, views.query(path, kind=name), name == kind) for name, text in views.EVENT_KINDS
            ),
            older=older,
            runtime=runtime.name if runtime else "",
        )
        return frame.html(request, context)
