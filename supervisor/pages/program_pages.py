"""Programs: projects, the editor with its check, versions, differences."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import Problem, TickworkError
from supervisor.guard import access
from supervisor.model import (
    Actor,
    CheckReport,
    Deployment,
    FileDiff,
    Page,
    ProjectDetail,
    Role,
    SourceFile,
    Version,
)
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.problems import not_found, not_understood
from supervisor.services import Services
from web import contexts as c
from web import contexts_work as w

DEPLOYMENTS_LOOKED_AT = Page(limit=100)
UPLOAD_FILES_MAX = 200
PLAIN = "/live?view=plain&section=programs"
FIRST_PROGRAM = """(* A first program: counts seconds. *)
PROGRAM Main
VAR
    Second : TON;
    Seconds : UDINT;
END_VAR
    Second(IN := NOT Second.Q, PT := T#1s);
    IF Second.Q THEN
        Seconds := Seconds + 1;
    END_IF;
END_PROGRAM

CONFIGURATION Plant
    RESOURCE Plc ON PLC
        TASK Fast(INTERVAL := T#20ms, PRIORITY := 1);
        PROGRAM Main WITH Fast : Main;
    END_RESOURCE
END_CONFIGURATION
"""
FIRST_PLANT = '[node]\nname = "{name}"\n\n[program]\nsources = ["*.st"]\n'


def project_href(project_id: int, *rest: str) -> str:
    return "/".join(("/programs", str(project_id), *rest))


class ProgramPages:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        viewer, engineer = access(Role.VIEWER), access(Role.ENGINEER)
        one = "/programs/{project_id:int}"
        return [
            Route("/programs", viewer(self.projects), methods=["GET"]),
            Route("/programs", engineer(self.create), methods=["POST"]),
            Route("/programs/upload", engineer(self.upload), methods=["POST"]),
            Route(one, viewer(self.editor), methods=["GET"]),
            Route(f"{one}/files", engineer(self.save), methods=["POST"]),
            Route(f"{one}/remove", engineer(self.remove), methods=["POST"]),
            Route(f"{one}/check", viewer(self.check), methods=["POST"]),
            Route(f"{one}/versions", viewer(self.versions), methods=["GET"]),
            Route(f"{one}/publish", engineer(self.publish), methods=["POST"]),
            Route(f"{one}/diff", viewer(self.diff), methods=["GET"]),
        ]

    # ------------------------------------------------------------ all projects

    async def projects(self, request: Request) -> Response:
        return await self._projects_page(request)

    async def _projects_page(
        self, request: Request, *, error: TickworkError | None = None, name: str = ""
    ) -> Response:
        actor: Actor = request.state.actor
        projects = await self._services.programs.projects(actor)
        if frame.wants(request) != "html":
            return frame.data(request, projects, "programs")
        runs = await self._running(actor)
        page = w.ProgramsPage(
            shell=await frame.shell(request, self._services, "Programs", section="programs", stream=PLAIN),
            projects=tuple(
                w.ProjectRow(
                    name=project.name,
                    href=project_href(project.id),
                    versions=project.versions,
                    dirty=project.dirty,
                    changed=views.moment(project.changed_ns),
                    changed_by=project.changed_by,
                    running=tuple(
                        c.Link(f"{node_name} ({version})", views.runtime_href(node_id))
                        for (node_id, node_name), (found, version) in runs.items()
                        if found == project.id
                    ),
                )
                for project in projects
            ),
            can_edit=actor.role.includes(Role.ENGINEER),
            wrong=views.told(error) if error else "",
            name=name,
            problems=tuple(views.problem_view(problem) for problem in error.problems) if error else (),
        )
        return frame.html(request, page, 422 if error else 200)

    async def _running(self, actor: Actor) -> dict[tuple[str, str], tuple[int, int]]:
        """(node id, name) to (project, version) that was deployed there last with success."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for deployment in await self._services.deployments.list(actor, page=DEPLOYMENTS_LOOKED_AT):
            for target in deployment.targets:
                if target.state == "running" and deployment.project_id:
                    found.setdefault(
                        (target.node_id, target.node), (deployment.project_id, deployment.version)
                    )
        return found

    async def create(self, request: Request) -> Response:
        form = await request.form()
        name = str(form.get("name", "")).strip()
        files = (
            SourceFile("main.st", FIRST_PROGRAM),
            SourceFile("plant.toml", FIRST_PLANT.format(name=name)),
        )
        try:
            made = await self._services.programs.create(request.state.actor, name, files)
        except TickworkError as error:
            return await self._projects_page(request, error=error, name=name)
        return frame.go(request, project_href(made.project.id), "created")

    async def upload(self, request: Request) -> Response:
        form = await request.form(max_files=UPLOAD_FILES_MAX)
        name = str(form.get("name", "")).strip()
        given = [part for part in form.getlist("archive") if isinstance(part, UploadFile) and part.filename]
        try:
            made = await self._services.programs.upload(request.state.actor, name, await _archive(given))
        except TickworkError as error:
            return await self._projects_page(request, error=error, name=name)
        return frame.go(request, project_href(made.project.id), "uploaded")

    # ------------------------------------------------------------ the editor

    async def editor(self, request: Request) -> Response:
        return await self._editor_page(request, request.query_params.get("file", ""))

    async def _editor_page(
        self, request: Request, path: str, *, text: str | None = None, wrong: str = ""
    ) -> Response:
        actor: Actor = request.state.actor
        project_id = request.path_params["project_id"]
        detail = await self._services.programs.project(actor, project_id)
        texts = {file.path: file.text for file in detail.files}
        path = path if path in texts else _first(texts)
        problems, counted = await self._checked(actor, project_id)
        line = request.query_params.get("line", "")
        page = w.EditorPage(
            shell=await self._shell(request, detail, ""),
            head=head(detail, "editor", actor),
            files=tuple(
                w.FileLink(
                    path=name,
                    href=project_href(project_id) + "?" + urlencode({"file": name}),
                    current=name == path,
                    problems=counted.get(name, 0),
                )
                for name in texts
            ),
            path=path,
            text=texts.get(path, "") if text is None else text,
            draft=detail.project.draft_digest,
            check=project_href(project_id, "check"),
            save=project_href(project_id, "files"),
            problems=problems,
            wrong=wrong,
            line=int(line) if line.isdecimal() else 0,
        )
        return frame.html(request, page, 409 if wrong else 200)

    async def _checked(self, actor: Actor, project_id: int) -> tuple[w.ProblemList, dict[str, int]]:
        """Problems of the draft and errors by file. A check that does not answer must not keep the editor shut."""
        try:
            report = await self._services.programs.check(actor, project_id)
        except TickworkError as error:
            return w.ProblemList(problems=(), ok=False, checked=views.told(error)), {}
        errors = [problem.place.file for problem in report.problems if problem.severity == "error"]
        return problem_list(project_id, report), {path: errors.count(path) for path in set(errors)}

    async def save(self, request: Request) -> Response:
        """Write one file of the draft; a new one is begun empty."""
        form = await request.form()
        project_id = request.path_params["project_id"]
        path = str(form.get("path", "")).strip()
        text = str(form.get("text", "")).replace("\r\n", "\n")
        try:
            project = await self._services.programs.save(
                request.state.actor, project_id, path, text, draft_digest=str(form.get("draft", ""))
            )
        except TickworkError as error:
            if frame.wants(request) == "json":
                raise
            if form.get("new"):
                return await self._editor_page(request, "", wrong=views.told(error))
            return await self._editor_page(request, path, text=text, wrong=views.told(error))
        if frame.wants(request) == "json":
            answer = {
                "draft": project.draft_digest,
                "state": draft_state(project.versions, dirty=project.dirty),
            }
            return _json(answer)
        return frame.go(request, project_href(project_id) + "?" + urlencode({"file": path}), "saved")

    async def remove(self, request: Request) -> Response:
        form = await request.form()
        project_id = request.path_params["project_id"]
        await self._services.programs.remove(request.state.actor, project_id, str(form.get("path", "")))
        return frame.go(request, project_href(project_id), "removed")

    async def check(self, request: Request) -> Response:
        """The draft with one file as it stands in the editor; answers JSON."""
        form = await request.form()
        project_id = request.path_params["project_id"]
        edited = SourceFile(str(form.get("path", "")), str(form.get("text", "")).replace("\r\n", "\n"))
        report = await self._services.programs.check(
            request.state.actor, project_id, (edited,) if edited.path else ()
        )
        listed = problem_list(project_id, report)
        return _json(
            {
                "ok": report.ok,
                "checked": listed.checked,
                "problems": [
                    {name: getattr(problem, name) for name in problem.__slots__}
                    for problem in listed.problems
                ],
            }
        )

    # ------------------------------------------------------------ versions

    async def versions(self, request: Request) -> Response:
        return await self._versions_page(request)

    async def _versions_page(
        self, request: Request, *, error: TickworkError | None = None, message: str = ""
    ) -> Response:
        actor: Actor = request.state.actor
        project_id = request.path_params["project_id"]
        detail = await self._services.programs.project(actor, project_id)
        if frame.wants(request) != "html":
            return frame.data(request, detail.versions, f"{detail.project.name}-versions")
        runs = await self._running(actor)
        newest = detail.project.versions
        changed = project_href(project_id, "diff") + f"?old={newest}&new=0"
        page = w.VersionsPage(
            shell=await self._shell(request, detail, "Versions"),
            head=head(detail, "versions", actor),
            versions=tuple(_version_row(version, runs) for version in detail.versions),
            draft_diff=changed if newest and detail.project.dirty else "",
            problems=tuple(views.problem_view(problem) for problem in error.problems) if error else (),
            message=message,
            publish=project_href(project_id, "publish"),
        )
        return frame.html(request, page, 422 if error else 200)

    async def publish(self, request: Request) -> Response:
        form = await request.form()
        project_id = request.path_params["project_id"]
        message = str(form.get("message", "")).strip()
        try:
            await self._services.programs.publish(request.state.actor, project_id, message)
        except TickworkError as error:
            return await self._versions_page(request, error=error, message=message)
        return frame.go(request, project_href(project_id, "versions"), "published")

    async def diff(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        project_id = request.path_params["project_id"]
        old, new = (request.query_params.get(name, "0") for name in ("old", "new"))
        if not (old.isdecimal() and new.isdecimal()):
            raise not_understood("old and new as version numbers, 0 for the draft", f"{old}, {new}")
        detail = await self._services.programs.project(actor, project_id)
        diffs = await self._services.programs.diff(actor, project_id, int(old), int(new))
        page = w.DiffPage(
            shell=await self._shell(request, detail, "Difference"),
            head=head(detail, "versions", actor),
            old=_version_name(int(old)),
            new=_version_name(int(new)),
            files=diff_files(diffs),
        )
        return frame.html(request, page)

    async def _shell(self, request: Request, detail: ProjectDetail, title: str) -> c.Shell:
        name, href = detail.project.name, project_href(detail.project.id)
        crumbs = (("Programs", "/programs"), (name, href)) if title else (("Programs", "/programs"),)
        return await frame.shell(
            request, self._services, title or name, section="programs", crumbs=crumbs, stream=PLAIN
        )


# ---------------------------------------------------------------- views


def _json(body: Any) -> Response:
    return Response(
        msgspec.json.encode(body), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def _archive(files: list[UploadFile]) -> bytes:
    """The zip that was given, or the single files as one."""
    if len(files) == 1 and (files[0].filename or "").lower().endswith(".zip"):
        return await files[0].read()
    if not files:
        raise not_understood("a zip, or source files", "nothing")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.writestr((file.filename or "file").replace("\\", "/"), await file.read())
    return packed.getvalue()


def _first(texts: dict[str, str]) -> str:
    sources = [path for path in texts if path.endswith(".st")]
    return "main.st" if "main.st" in texts else next(iter(sources or texts), "")


def draft_state(versions: int, *, dirty: bool) -> str:
    if not versions:
        return "no version yet"
    return f"draft differs from version {versions}" if dirty else f"draft is version {versions}"


def head(detail: ProjectDetail, current: str, actor: Actor) -> w.ProjectHead:
    project = detail.project
    return w.ProjectHead(
        name=project.name,
        href=project_href(project.id),
        state=draft_state(project.versions, dirty=project.dirty),
        dirty=project.dirty,
        tabs=(
            c.Link("Editor", project_href(project.id), current == "editor"),
            c.Link("Versions", project_href(project.id, "versions"), current == "versions"),
        ),
        can_edit=actor.role.includes(Role.ENGINEER),
        deploy=project_href(project.id, "deploy") if project.versions else "",
    )


def problem_list(project_id: int, report: CheckReport) -> w.ProblemList:
    return w.ProblemList(
        problems=tuple(_listed(project_id, problem) for problem in report.problems),
        ok=report.ok,
        checked=f"checked in {report.duration_ms} ms",
    )


def _listed(project_id: int, problem: Problem) -> w.ListedProblem:
    place = problem.place
    where = urlencode({"file": place.file, "line": place.line})
    return w.ListedProblem(
        file=place.file,
        line=place.line,
        column=place.column,
        length=place.length,
        code=problem.code,
        message=views.sentence(problem.message),
        remedy=views.sentence(problem.remedy),
        severity=problem.severity,
        href=f"{project_href(project_id)}?{where}",
    )


def _version_row(version: Version, runs: dict[tuple[str, str], tuple[int, int]]) -> w.VersionRow:
    older = f"?old={version.number - 1}&new={version.number}"
    return w.VersionRow(
        number=version.number,
        message=version.message,
        created=views.moment_of(version.created_ns),
        created_by=version.created_by,
        artifact=views.short(version.artifact),
        diff=project_href(version.project_id, "diff") + older if version.number > 1 else "",
        deploy=project_href(version.project_id, "deploy") + f"?version={version.number}",
        running=tuple(
            name for (_, name), place in runs.items() if place == (version.project_id, version.number)
        ),
    )


def _version_name(number: int) -> str:
    return f"version {number}" if number else "the draft"


_LINE_KINDS = {"-": "old", "+": "new", "@": "hunk", " ": "same"}


def diff_files(diffs: tuple[FileDiff, ...]) -> tuple[w.DiffFile, ...]:
    return tuple(
        w.DiffFile(
            path=diff.path,
            change=diff.change,
            lines=tuple(
                w.DiffLine(
                    kind=_LINE_KINDS.get(mark, "same"),
                    mark={"-": "−", "+": "+"}.get(mark, ""),
                    old=str(old or ""),
                    new=str(new or ""),
                    text=text,
                )
                for mark, old, new, text in diff.lines
            ),
        )
        for diff in diffs
    )


def deployed_version(deployments: tuple[Deployment, ...], node_id: str, digest: str) -> tuple[int, int]:
    """(project, version) whose application the node reports as running, (0, 0) when it came from elsewhere."""
    for deployment in deployments:
        for target in deployment.targets:
            if target.node_id == node_id and target.state == "running" and target.digest == digest:
                return deployment.project_id, deployment.version
    return 0, 0


async def source_of(
    services: Services, actor: Actor, project_id: int, version: int
) -> tuple[SourceFile, ...]:
    if not project_id:
        raise not_found("project", project_id)
    return await services.programs.version(actor, project_id, version)
