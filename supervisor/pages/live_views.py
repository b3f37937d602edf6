"""Which parts each page's stream keeps up to date."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Hashable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from supervisor.guard import access
from supervisor.model import Actor, Page, Role, Update
from supervisor.pages import alarm_views, views
from supervisor.pages import shell as frame
from supervisor.pages.alarm_pages import AlarmModel
from supervisor.pages.deployment_pages import DeploymentModel
from supervisor.pages.live import Part, Streams, View
from supervisor.pages.notify_pages import Asked, board
from supervisor.pages.plant_pages import EVENTS_PER_PAGE, PlantModel, tag_query
from supervisor.pages.screen_pages import ScreenModel
from supervisor.pages.source_pages import SourceModel, first_file
from supervisor.pages.watch_pages import keys_of
from supervisor.problems import not_found, require
from supervisor.services import Services, StreamEnded

SHARED_S = 0.5  # streams of the same view see the same parts for so long
SHARED_MAX = 256


class LivePages:
    def __init__(
        self,
        services: Services,
        model: PlantModel,
        work: DeploymentModel,
        sources: SourceModel,
        screens: ScreenModel,
        alarms: AlarmModel,
    ) -> None:
        self._services = services
        self._model = model
        self._work = work
        self._sources = sources
        self._screens = screens
        self._alarms = alarms
        self.streams = Streams()
        self._made: dict[Hashable, tuple[float, tuple[Part, ...]]] = {}

    def routes(self) -> list[Route]:
        return [Route("/live", access(Role.VIEWER)(self.live), methods=["GET"])]

    async def live(self, request: Request) -> Response:
        makers = {
            "fleet": self._fleet,
            "runtime": self._runtime,
            "tag": self._tag,
            "forces": self._forces,
            "events": self._events,
            "trend": self._chosen,
            "watch": self._chosen,
            "deployment": self._deployment,
            "deployments": self._deployments,
            "program": self._program,
            "screen": self._screen,
            "alarms": self._alarm_list,
            "alarms-hidden": self._alarms_hidden,
            "notifications": self._notifications,
            "plain": self._plain,
        }
        name = request.query_params.get("view", "")
        if name not in makers:
            raise not_found("view", name)
        view = self._with_strip(await makers[name](request), request.state.actor)
        return self.streams.response(request, self._services, view)

    def _with_strip(self, view: View, actor: Actor) -> View:
        """The alarm strip is on every page, so every stream keeps it up to date."""

        async def strip() -> tuple[Part, ...]:
            return (Part("alarm-strip", alarm_views.alarm_strip(await self._services.alarms.counts(actor))),)

        async def make(whole: bool) -> tuple[Part, ...]:
            return (*await view.make(whole), *await self._shared(("strip", actor.nodes), strip))

        return dataclasses.replace(
            view, make=make, concerns=lambda update: update.alarms or view.concerns(update)
        )

    async def _alarm_list(self, request: Request) -> View:
        actor, csrf = request.state.actor, request.state.csrf
        node = request.query_params.get("node", "")[:100]

        async def make(whole: bool) -> tuple[Part, ...]:
            tree = await self._tree(actor, "", "alarms", "")
            return Part("alarm-list", await self._alarms.listed(actor, csrf, node)), tree

        return View(make, {}, lambda update: bool(update.runtimes))

    async def _notifications(self, request: Request) -> View:
        actor, csrf, asked = request.state.actor, request.state.csrf, Asked.of(request)
        require(actor, Role.OPERATOR)

        async def make(whole: bool) -> tuple[Part, ...]:
            tree = await self._tree(actor, "", "notifications", "")
            return Part("notify-board", await board(self._services, actor, csrf, asked)), tree

        return View(make, {}, lambda update: bool(update.runtimes))

    async def _alarms_hidden(self, request: Request) -> View:
        actor, csrf = request.state.actor, request.state.csrf
        node = request.query_params.get("node", "")[:100]

        async def make(whole: bool) -> tuple[Part, ...]:
            tree = await self._tree(actor, "", "alarms", "")
            return Part("alarm-hidden", await self._alarms.hidden(actor, csrf, node)), tree

        return View(make, {}, lambda update: bool(update.runtimes))

    async def _shared(
        self, key: Hashable, make: Callable[[], Awaitable[tuple[Part, ...]]]
    ) -> tuple[Part, ...]:
        """Parts that many streams show alike, made once for all of them."""
        now_s = time.monotonic()
        at_s, parts = self._made.get(key, (0.0, ()))
        if now_s - at_s >= SHARED_S:
            parts = await make()
            if len(self._made) >= SHARED_MAX:
                self._made.clear()
            self._made[key] = (now_s, parts)
        return parts

    async def _tree(self, actor: Actor, node_id: str, section: str, page: str) -> Part:
        runtimes = await self._services.fleet.runtimes(actor)
        return Part("plant-tree", frame.plant_tree(runtimes, section=section, node=node_id, page=page))

    async def _fleet(self, request: Request) -> View:
        actor: Actor = request.state.actor
        search, show, _ = tag_query(request)

        async def parts() -> tuple[Part, ...]:
            table = await self._model.fleet(actor, search=search, show=show)
            events = await self._model.events(actor)
            return Part("fleet", table), Part("event-list", events), await self._tree(actor, "", "fleet", "")

        async def make(whole: bool) -> tuple[Part, ...]:
            return await self._shared(("fleet", actor.role, actor.nodes, search, show), parts)

        return View(make, {}, lambda update: True)

    async def _runtime(self, request: Request) -> View:
        actor: Actor = request.state.actor
        node_id = request.query_params.get("node", "")
        search, show, start = tag_query(request)
        table, paths = await self._model.tags(actor, node_id, search=search, show=show, start=start)
        digest = (await self._services.fleet.runtime(actor, node_id)).runtime.digest

        async def parts() -> tuple[Part, ...]:
            detail = await self._services.fleet.runtime(actor, node_id)
            return (
                Part("runtime-head", await self._model.head(actor, detail)),
                Part("tasks", self._model.tasks(detail)),
                Part("devices", self._model.devices(detail)),
                Part("event-list", await self._model.events(actor, node_id)),
                Part("held", frame.held_of(detail.runtime)),
                await self._tree(actor, node_id, "", "overview"),
            )

        async def make(whole: bool) -> tuple[Part, ...]:
            runtime = (await self._services.fleet.runtime(actor, node_id)).runtime
            if runtime.digest != digest:
                raise StreamEnded  # other tags: the browser connects anew, and the stream follows them
            made = await self._shared(("runtime", actor.role, actor.nodes, node_id), parts)
            if whole or runtime.link != "up" or table.stale:
                changed, _ = await self._model.tags(actor, node_id, search=search, show=show, start=start)
                return (*made, Part("tags", changed))
            return made

        return View(make, {node_id: paths}, _about(node_id))

    async def _tag(self, request: Request) -> View:
        actor: Actor = request.state.actor
        node_id, path = request.query_params.get("node", ""), request.query_params.get("path", "")

        async def make(whole: bool) -> tuple[Part, ...]:
            detail = await self._services.fleet.runtime(actor, node_id)
            return (Part("held", frame.held_of(detail.runtime)), await self._tree(actor, node_id, "", ""))

        return View(make, {node_id: (path,)}, _about(node_id))

    async def _forces(self, request: Request) -> View:
        actor: Actor = request.state.actor
        node_id = request.query_params.get("node", "")
        runtimes = await self._services.fleet.runtimes(actor)
        wanted = [
            runtime for runtime in runtimes if runtime.node_id == node_id or (not node_id and runtime.forces)
        ]
        tags = {
            runtime.node_id: tuple(
                force.path for force in await self._services.fleet.forces(actor, runtime.node_id)
            )
            for runtime in wanted
        }

        async def make(whole: bool) -> tuple[Part, ...]:
            return (await self._tree(actor, node_id, "" if node_id else "forces", "forces"),)

        return View(
            make, {node: paths for node, paths in tags.items() if paths}, lambda update: bool(update.runtimes)
        )

    async def _events(self, request: Request) -> View:
        actor: Actor = request.state.actor
        node_id, kind = request.query_params.get("node", ""), request.query_params.get("kind", "")

        async def make(whole: bool) -> tuple[Part, ...]:
            rows = await self._services.fleet.events(
                actor, node_id=node_id, kind=kind, page=Page(limit=EVENTS_PER_PAGE)
            )
            return (
                Part("event-list", views.event_list(rows, with_runtime=not node_id)),
                await self._tree(actor, node_id, "" if node_id else "events", "events"),
            )

        return View(make, {}, lambda update: bool(update.events or update.runtimes))

    async def _chosen(self, request: Request) -> View:
        """Tags of several runtimes that the address names: trends and watch tables."""
        actor: Actor = request.state.actor
        section = request.query_params.get("view", "")
        known = {runtime.node_id for runtime in await self._services.fleet.runtimes(actor)}
        tags: dict[str, tuple[str, ...]] = {}
        for key in keys_of(request.query_params.getlist("tag")):
            node_id, _, path = key.partition(":")
            if node_id in known:
                tags[node_id] = (*tags.get(node_id, ()), path)

        async def make(whole: bool) -> tuple[Part, ...]:
            return (await self._tree(actor, "", section, ""),)

        return View(make, tags, lambda update: bool(update.runtimes), by_node=True)

    async def _screen(self, request: Request) -> View:
        actor: Actor = request.state.actor
        query = request.query_params
        number = int(query["id"]) if query.get("id", "").isdecimal() else -1
        bound = await self._screens.bound(actor, number, query.get("runtime", ""))
        tags: dict[str, tuple[str, ...]] = {}
        for one in bound.values():
            if one.value is not None:
                tags[one.node_id] = (*tags.get(one.node_id, ()), one.path)

        async def make(whole: bool) -> tuple[Part, ...]:
            return (await self._tree(actor, "", "screens", ""),)

        return View(make, tags, lambda update: bool(update.runtimes), by_node=True)

    async def _deployment(self, request: Request) -> View:
        actor: Actor = request.state.actor
        number, csrf = request.query_params.get("id", ""), request.state.csrf
        if not number.isdecimal():
            raise not_found("deployment", number)

        async def make(whole: bool) -> tuple[Part, ...]:
            board = await self._work.board(actor, int(number), csrf)
            return Part("board", board), await self._tree(actor, "", "deployments", "")

        await make(True)
        return View(make, {}, lambda update: bool(update.deployments or update.runtimes))

    async def _deployments(self, request: Request) -> View:
        actor: Actor = request.state.actor

        async def make(whole: bool) -> tuple[Part, ...]:
            return (
                Part("deployment-list", await self._work.list(actor)),
                await self._tree(actor, "", "deployments", ""),
            )

        return View(make, {}, lambda update: bool(update.deployments or update.runtimes))

    async def _program(self, request: Request) -> View:
        actor: Actor = request.state.actor
        node_id, query = request.query_params.get("node", ""), request.query_params
        detail = await self._services.fleet.runtime(actor, node_id)
        _, _, files = await self._sources.running(actor, detail)
        path = first_file(files, query.get("file", ""))
        lines, _ = await self._sources.lines(actor, node_id, files, path, tuple(query.getlist("instance")))
        paths = tuple({tag: None for _, items in lines for _, tag in items})
        wanted = set(paths)

        async def make(whole: bool) -> tuple[Part, ...]:
            now = (await self._services.fleet.runtime(actor, node_id)).runtime
            values = await self._services.fleet.tags(actor, node_id) if wanted else ()
            cells = tuple(views.tag_cell(value) for value in values if value.path in wanted)
            return (
                Part("running-values", cells),
                Part("held", frame.held_of(now)),
                await self._tree(actor, node_id, "", "program"),
            )

        return View(make, {node_id: paths} if paths else {}, _about(node_id))

    async def _plain(self, request: Request) -> View:
        """A page without live parts of its own keeps the plant tree and the beat."""
        actor: Actor = request.state.actor
        section = request.query_params.get("section", "")

        async def make(whole: bool) -> tuple[Part, ...]:
            return (await self._tree(actor, "", section, ""),)

        return View(make, {}, lambda update: bool(update.runtimes))


def _about(node_id: str) -> Callable[[Update], bool]:
    def concerns(update: Update) -> bool:
        return (
            any(runtime.node_id == node_id for runtime in update.runtimes)
            or any(event.node_id == node_id for event in update.events)
            or bool(update.deployments)
        )

    return concerns
