"""What the editor asks for while one works: completions, descriptions, and the program's own tests."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import Place
from supervisor.compiler import ProgramTests
from supervisor.guard import access
from supervisor.model import Role, SourceFile
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.pages.program_pages import project_href
from supervisor.problems import not_understood
from supervisor.services import Services
from web import contexts_tests as w


class ProgramTools:
    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        viewer, one = access(Role.VIEWER), "/programs/{project_id:int}"
        return [
            Route(f"{one}/help/{{what}}", viewer(self.help), methods=["POST"]),
            Route(f"{one}/test", viewer(self.test), methods=["POST"]),
        ]

    async def help(self, request: Request) -> Response:
        """Completions, or a description, at a place of the text in the editor; answers JSON."""
        form = await request.form()
        what, place = request.path_params["what"], (str(form.get("line", "")), str(form.get("column", "")))
        if what not in ("complete", "describe") or not all(one.isdecimal() and len(one) < 8 for one in place):
            raise not_understood("complete or describe with line and column", f"{what} {place}")
        text = str(form.get("text", "")).replace("\r\n", "\n")
        edited = SourceFile(str(form.get("path", "")), text)
        at = Place(edited.path, int(place[0]), int(place[1]))
        answer = await self._services.programs.help(
            request.state.actor, request.path_params["project_id"], edited, at, what
        )
        return Response(
            msgspec.json.encode(answer), media_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def test(self, request: Request) -> Response:
        """The draft's own tests, with the file as it stands in the editor."""
        form = await request.form()
        project_id = request.path_params["project_id"]
        edited = SourceFile(str(form.get("path", "")), str(form.get("text", "")).replace("\r\n", "\n"))
        report = await self._services.programs.test(
            request.state.actor, project_id, (edited,) if edited.path else ()
        )
        results = test_results(report)
        if frame.is_partial(request):
            return frame.html(request, results)
        detail = await self._services.programs.project(request.state.actor, project_id)
        name, href = detail.project.name, project_href(project_id)
        shell = await frame.shell(
            request,
            self._services,
            "Tests",
            section="programs",
            crumbs=(("Programs", "/programs"), (name, href)),
        )
        page = w.CasesPage(shell, results, href)
        return frame.html(request, page)


def test_results(report: ProgramTests) -> w.CaseResults:
    return w.CaseResults(
        cases=tuple(
            w.CaseRow(
                table=one.table,
                name=one.name,
                passed=one.passed,
                scans=views.count(one.scans),
                duration=views.duration(one.duration_ns),
                problems=tuple(views.problem_view(problem) for problem in one.problems),
            )
            for one in report.cases
        ),
        passed=sum(one.passed for one in report.cases),
        failed=sum(not one.passed for one in report.cases),
        problems=tuple(views.problem_view(problem) for problem in report.problems),
        elapsed=views.duration(report.elapsed_ms * 1e6),
    )
