"""The source of the program that runs on a runtime, with the values of its variables beside the lines."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor.guard import access
from supervisor.model import Actor, Page, Role, RuntimeDetail, SourceFile
from supervisor.pages import recording_view, views
from supervisor.pages import shell as frame
from supervisor.pages.program_pages import deployed_version, project_href
from supervisor.pages.source_values import instances, pous, values_by_line
from supervisor.recordings import Look
from supervisor.services import Services
from web import contexts as c
from web import contexts_work as w

Lines = list[tuple[int, list[tuple[str, str]]]]  # line, [(name as written, tag)]
NOT_FROM_HERE = (
    "The program that runs was not deployed from a project of this supervisor. Deploy it from here, and its source "
    "and values are shown side by side."
)


class SourceModel:
    """The running source of a runtime and the tags that stand in it, for the page and its stream."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def running(self, actor: Actor, detail: RuntimeDetail) -> tuple[int, int, tuple[SourceFile, ...]]:
        """(project, version, files); zeros when the source is not known here."""
        runtime = detail.runtime
        found = await self._services.deployments.list(actor, node_id=runtime.node_id, page=Page(limit=100))
        project, version = deployed_version(found, runtime.node_id, runtime.digest)
        if not project or not runtime.digest:
            return 0, 0, ()
        return project, version, await self._services.programs.version(actor, project, version)

    async def lines(
        self, actor: Actor, node_id: str, files: tuple[SourceFile, ...], path: str, asked: tuple[str, ...]
    ) -> tuple[Lines, list[tuple[str, bool]]]:
        """Tags by line of the file, and the instances that can be looked at with the chosen ones marked."""
        text = next((file.text for file in files if file.path == path), "")
        known = instances(file.text for file in files if file.path.endswith(".st"))
        chosen: dict[str, str] = {}
        offered: list[tuple[str, bool]] = []
        for pou in pous(text):
            paths = known.get(pou.name.lower(), [])
            if not paths:
                continue
            chosen[pou.name.lower()] = next((one for one in paths if one in asked), paths[0])
            offered += [(one, one == chosen[pou.name.lower()]) for one in paths]
        tags = [value.path for value in await self._services.fleet.tags(actor, node_id)]
        return values_by_line(text, chosen, tags), offered


def first_file(files: tuple[SourceFile, ...], asked: str) -> str:
    paths = [file.path for file in files]
    if asked in paths:
        return asked
    return "main.st" if "main.st" in paths else next(iter(paths), "")


class SourcePages:
    def __init__(self, services: Services, model: SourceModel) -> None:
        self._services = services
        self._model = model

    def routes(self) -> list[Route]:
        viewer = access(Role.VIEWER)
        return [
            Route("/runtimes/{node_id}/program", viewer(self.program), methods=["GET"]),
            Route("/runtimes/{node_id}/why", viewer(self.why), methods=["GET"]),
        ]

    async def program(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        node_id = request.path_params["node_id"]
        detail = await self._services.fleet.runtime(actor, node_id)
        project, version, files = await self._model.running(actor, detail)
        path = first_file(files, request.query_params.get("file", ""))
        asked = tuple(request.query_params.getlist("instance"))
        lines, offered = await self._model.lines(actor, node_id, files, path, asked)
        here = views.runtime_href(node_id, "program")
        query = {"file": path, "instance": list(asked)}
        problem, look = await self._recorded(request, lines) if project else (None, None)
        live = {"view": "plain"} if look else {"view": "program", "node": node_id, **query}
        stream = "/live?" + urlencode(live, doseq=True)
        names = {one.id: one.name for one in await self._services.programs.projects(actor)}
        page = w.ProgramView(
            shell=await frame.shell(
                request,
                self._services,
                "Program",
                crumbs=(("Fleet", "/"), (detail.runtime.name, views.runtime_href(node_id))),
                stream=stream,
                runtime=detail.runtime,
                page="program",
            ),
            name=detail.runtime.name,
            digest=views.short(detail.runtime.digest),
            version=f"{names.get(project, 'project')}, version {version}" if project else "",
            editor=project_href(project) + "?" + urlencode({"file": path}) if project else "",
            files=tuple(
                w.SourceView(file.path, f"{here}?{urlencode({'file': file.path})}", file.path == path)
                for file in files
            ),
            path=path,
            text=next((file.text for file in files if file.path == path), ""),
            live=msgspec.json.encode(
                [(line, [(name, f"t:{tag}") for name, tag in items]) for line, items in lines]
            ).decode(),
            instances=tuple(
                c.Link(one, f"{here}?{urlencode({'file': path, 'instance': one})}", current)
                for one, current in offered
            ),
            why_not="" if project else NOT_FROM_HERE,
            freeze=f"{here}?{urlencode({**query, 'scan': 'last'}, doseq=True)}" if project else "",
            frozen=recording_view.frozen(node_id, look, path, _tags(lines), request.query_params)
            if look
            else None,
            problem=problem,
        )
        return frame.html(request, page)

    async def _recorded(self, request: Request, lines: Lines) -> tuple[c.ProblemView | None, Look | None]:
        """The recorded scans that the address asks for; the page opens also when there are none."""
        if not recording_view.is_asked(request.query_params):
            return None, None
        asked = recording_view.question(request.query_params, _tags(lines))
        try:
            return None, await self._services.recordings.look(
                request.state.actor, request.path_params["node_id"], asked
            )
        except TickworkError as error:
            return views.problem_view(error.problems[0]), None

    async def why(self, request: Request) -> Response:
        node_id, query = request.path_params["node_id"], request.query_params
        scan = query.get("scan", "")
        number = int(scan) if scan.isdecimal() and len(scan) < 19 else 0
        answer = await self._services.recordings.why(
            request.state.actor, node_id, query.get("path", ""), number
        )
        sheet = recording_view.why_sheet(node_id, answer, number)
        if frame.is_partial(request):
            return frame.html(request, sheet)
        return frame.go(request, sheet.source or views.runtime_href(node_id, "program"))


def _tags(lines: Lines) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag for _, items in lines for _, tag in items))
