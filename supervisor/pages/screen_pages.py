"""Screens: the list, a drawing with the values of now, and the editor."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from markupsafe import Markup
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor import drawing
from supervisor.guard import access
from supervisor.model import Actor, Role, Runtime, TagValue
from supervisor.pages import screen_drawing, views
from supervisor.pages import shell as frame
from supervisor.pages.screen_drawing import Bound
from supervisor.problems import not_found, not_understood
from supervisor.screens import Screen, ScreenDetail, ScreenVersion
from supervisor.services import Services
from web import contexts_screens as s
from web.contexts import Link
from web.symbols import Symbol, symbols

EMPTY = f'<svg xmlns="{drawing.SVG}" viewBox="0 0 1200 700"></svg>'
TAGS_OFFERED = 2000  # names in the editor's completion


def screen_href(screen_id: int, *rest: str) -> str:
    return "/".join(("/screens", str(screen_id), *rest))


class ScreenModel:
    """What a screen's page and its stream both need."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def bound(self, actor: Actor, screen_id: int, runtime: str, number: int = 0) -> dict[str, Bound]:
        """Each tag that the screen names, with its value now. ``runtime``: instead of the screen's own."""
        detail = await self._services.screens.get(actor, screen_id, number)
        return await self.look_up(actor, detail.svg, runtime or detail.screen.runtime)

    async def look_up(self, actor: Actor, svg: str, runtime: str) -> dict[str, Bound]:
        tags = drawing.tags_of(screen_drawing.expand(drawing.parse(svg)))
        by_name = {one.name: one for one in await self._services.fleet.runtimes(actor)}
        named = {tag: _named(tag, by_name, runtime) for tag in tags}
        values: dict[tuple[str, str], TagValue] = {}
        for node_id in {one.node_id for one, _ in named.values() if one is not None}:
            for known in await self._services.fleet.tags(actor, node_id):
                values[node_id, known.path.upper()] = known
        found: dict[str, Bound] = {}
        for tag, (one, path) in named.items():
            value = values.get((one.node_id, path.upper())) if one else None
            node_id, path = one.node_id if one else "", value.path if value else path
            found[tag] = Bound(f"{node_id}:{path}", node_id, path, value)
        return found


def _named(tag: str, by_name: dict[str, Runtime], otherwise: str) -> tuple[Runtime | None, str]:
    name, colon, path = tag.partition(":")
    return (by_name.get(name), path) if colon else (by_name.get(otherwise), tag)


class ScreenPages:
    def __init__(self, services: Services, model: ScreenModel) -> None:
        self._services = services
        self._model = model

    def routes(self) -> list[Route]:
        viewer, engineer, one = access(Role.VIEWER), access(Role.ENGINEER), "/screens/{screen_id:int}"
        return [
            Route("/screens", viewer(self.list), methods=["GET"]),
            Route("/screens", engineer(self.create), methods=["POST"]),
            Route(one, viewer(self.screen), methods=["GET"]),
            Route(f"{one}/drawing.svg", viewer(self.download), methods=["GET"]),
            Route(f"{one}/edit", engineer(self.edit), methods=["GET"]),
            Route(f"{one}/edit", engineer(self.save), methods=["POST"]),
            Route(f"{one}/remove", engineer(self.remove), methods=["POST"]),
        ]

    # ------------------------------------------------------------ the list

    async def list(self, request: Request) -> Response:
        return await self._list_page(request)

    async def _list_page(
        self, request: Request, *, name: str = "", error: TickworkError | None = None
    ) -> Response:
        actor: Actor = request.state.actor
        screens = await self._services.screens.list(actor)
        if frame.wants(request) != "html":
            return frame.data(request, screens, "screens")
        page = s.ScreensPage(
            shell=await frame.shell(
                request,
                self._services,
                "Screens",
                section="screens",
                stream="/live?view=plain&section=screens",
            ),
            screens=tuple(_screen_row(one) for one in screens),
            runtimes=await self._runtimes(actor),
            can_edit=actor.role.includes(Role.ENGINEER),
            name=name,
            problems=tuple(views.problem_view(one) for one in error.problems) if error else (),
        )
        return frame.html(request, page, 422 if error else 200)

    async def _runtimes(self, actor: Actor) -> tuple[str, ...]:
        return tuple(sorted(one.name for one in await self._services.fleet.runtimes(actor)))

    async def create(self, request: Request) -> Response:
        form = await request.form(max_files=1)
        name, upload = str(form.get("name", "")).strip(), form.get("drawing")
        try:
            svg = await _uploaded(upload) if isinstance(upload, UploadFile) and upload.filename else EMPTY
            made = await self._services.screens.create(
                request.state.actor, name, svg, runtime=str(form.get("runtime", ""))
            )
        except TickworkError as error:
            return await self._list_page(request, name=name, error=error)
        if made.dropped:
            return await self._editor_page(request, made)
        return frame.go(request, screen_href(made.screen.id, "edit"), "created")

    # ------------------------------------------------------------ showing

    async def screen(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        screen_id, chosen = request.path_params["screen_id"], request.query_params.get("runtime", "")
        detail = await self._services.screens.get(actor, screen_id, _number(request))
        bound = await self._model.look_up(actor, detail.svg, chosen or detail.screen.runtime)
        if frame.wants(request) != "html":
            return frame.data(request, [one.value for one in bound.values() if one.value], "screen")
        root = drawing.parse(detail.svg)
        markup = screen_drawing.render(root, lambda tag: bound[tag], detail.screen.name)
        stream = "/live?" + urlencode({"view": "screen", "id": screen_id, "runtime": chosen})
        page = s.ScreenPage(
            shell=await frame.shell(
                request, self._services, detail.screen.name, section="screens",
                crumbs=(("Screens", "/screens"),), stream=stream,
            ),
            name=detail.screen.name,
            drawing=Markup(markup),  # noqa: S704 (allowed elements only; the serialiser escaped the texts)
            missing=tuple(tag for tag, one in bound.items() if one.value is None),
            runtimes=await self._choices(actor, detail.screen, chosen),
            download=screen_href(screen_id, "drawing.svg"),
            edit=screen_href(screen_id, "edit") if actor.role.includes(Role.ENGINEER) else "",
            empty=not len(root),
        )  # fmt: skip
        return frame.html(request, page)

    async def _choices(self, actor: Actor, screen: Screen, chosen: str) -> tuple[Link, ...]:
        """The same screen with the tags of another runtime, where there is more than one."""
        names = await self._runtimes(actor)
        now = chosen or screen.runtime
        href = screen_href(screen.id)
        links = tuple(Link(name, f"{href}?runtime={quote(name)}", name == now) for name in names)
        return links if len(links) > 1 else ()

    async def download(self, request: Request) -> Response:
        screen_id = request.path_params["screen_id"]
        detail = await self._services.screens.get(request.state.actor, screen_id, _number(request))
        file = quote(f"{detail.screen.name}.svg")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{file}", "Cache-Control": "no-store"}
        return Response(detail.svg, media_type="image/svg+xml", headers=headers)

    # ------------------------------------------------------------ editing

    async def edit(self, request: Request) -> Response:
        detail = await self._services.screens.get(
            request.state.actor, request.path_params["screen_id"], _number(request)
        )
        return await self._editor_page(request, detail)

    async def save(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        screen_id = request.path_params["screen_id"]
        form = await request.form(max_files=1, max_part_size=2 * drawing.SIZE_MAX)
        number, upload = str(form.get("number", "")), form.get("drawing")
        if not number.isdecimal():
            raise not_understood("the number of the version that was edited", number)
        svg, runtime = str(form.get("svg", "")), str(form.get("runtime", ""))
        try:
            if isinstance(upload, UploadFile) and upload.filename:
                svg = await _uploaded(upload)
            made = await self._services.screens.save(
                actor, screen_id, svg, runtime=runtime, number=int(number)
            )
        except TickworkError as error:
            detail = await self._services.screens.get(actor, screen_id)
            return await self._editor_page(request, detail, typed=svg, runtime=runtime, error=error)
        if made.dropped:
            return await self._editor_page(request, made)
        return frame.go(request, screen_href(screen_id), "saved")

    async def remove(self, request: Request) -> Response:
        await self._services.screens.remove(request.state.actor, request.path_params["screen_id"])
        return frame.go(request, "/screens", "removed")

    async def _editor_page(
        self,
        request: Request,
        detail: ScreenDetail,
        *,
        typed: str = "",
        runtime: str = "",
        error: TickworkError | None = None,
    ) -> Response:
        """``typed``: what was to be saved and was refused, so that nobody loses work."""
        actor: Actor = request.state.actor
        screen = detail.screen
        page = s.ScreenEditor(
            shell=await frame.shell(
                request, self._services, "Edit", section="screens",
                crumbs=(("Screens", "/screens"), (screen.name, screen_href(screen.id))),
                stream="/live?view=plain&section=screens",
            ),
            name=screen.name,
            number=screen.number,
            runtime=runtime or screen.runtime,
            runtimes=await self._runtimes(actor),
            drawing=_editable(_readable(typed) or detail.svg),
            svg=typed or detail.svg,
            symbols=tuple(_palette(symbol) for symbol in symbols().values()),
            tags=await self._tags(actor, runtime or screen.runtime),
            versions=tuple(_version(one, screen) for one in detail.versions[:20]),
            dropped=detail.dropped,
            problems=tuple(views.problem_view(one) for one in error.problems) if error else (),
            save=screen_href(screen.id, "edit"),
            remove=screen_href(screen.id, "remove"),
            back=screen_href(screen.id),
        )  # fmt: skip
        return frame.html(request, page, 422 if error else 200)

    async def _tags(self, actor: Actor, runtime: str) -> tuple[str, ...]:
        for one in await self._services.fleet.runtimes(actor):
            if one.name == runtime:
                values = await self._services.fleet.tags(actor, one.node_id)
                return tuple(value.path for value in values[:TAGS_OFFERED])
        return ()


def _number(request: Request) -> int:
    """The version that the address asks for; 0 is the newest."""
    text = request.query_params.get("number", "0")
    if not text.isdecimal() or len(text) > 9:
        raise not_found("version of the screen", text)
    return int(text)


async def _uploaded(file: UploadFile) -> str:
    data = await file.read(4 * drawing.SIZE_MAX + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_understood("an SVG drawing in UTF-8", f"byte {error.start}") from error


def _readable(svg: str) -> str:
    """The text again if it is a drawing, else nothing: the editor then shows the last good one."""
    try:
        return drawing.clean(svg).svg if svg else ""
    except TickworkError:
        return ""


def _editable(svg: str) -> Markup:
    return Markup(screen_drawing.to_edit(drawing.parse(svg)))  # noqa: S704 (see ScreenPages.screen)


def _palette(symbol: Symbol) -> s.PaletteSymbol:
    return s.PaletteSymbol(
        name=symbol.name,
        title=symbol.title,
        parameters=" ".join(f"{name}:{kind}" for name, kind, _ in symbol.parameters),
        view=f"-8 -24 {symbol.width + 16:g} {symbol.height + 48:g}",
        shapes=Markup(screen_drawing.sample(symbol)),  # noqa: S704 (our own file)
    )


def _screen_row(screen: Screen) -> s.ScreenRow:
    return s.ScreenRow(
        name=screen.name,
        href=screen_href(screen.id),
        runtime=screen.runtime,
        number=screen.number,
        changed=views.moment(screen.changed_ns),
        changed_by=screen.changed_by,
        edit=screen_href(screen.id, "edit"),
    )


def _version(version: ScreenVersion, screen: Screen) -> s.ScreenVersionRow:
    return s.ScreenVersionRow(
        number=version.number,
        created=views.moment(version.created_ns),
        created_by=version.created_by,
        href=f"{screen_href(screen.id, 'edit')}?number={version.number}",
        current=version.number == screen.number,
    )
