"""Deployments: choose, see what changes, watch how it goes."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scan.problem import TickworkError
from supervisor.guard import access
from supervisor.model import Actor, AuditEntry, Deployment, Page, Plan, ProjectDetail, Role, Runtime, Target
from supervisor.pages import shell as frame
from supervisor.pages import views
from supervisor.pages.program_pages import deployed_version, diff_files, head, project_href
from supervisor.problems import not_understood
from supervisor.services import Services
from web import contexts as c
from web import contexts_work as w

DEPLOYMENTS_PER_PAGE = 50
STATE_WORDS = {
    "pending": "waiting for its turn",
    "sent": "sent",
    "received": "accepted",
    "compiling": "compiling beside the running program",
    "swapping": "swapping between two scans",
    "trial": "on trial",
    "running": "running it",
    "refused": "refused",
    "rolled_back": "rolled back",
    "timed_out": "did not answer in time",
    "aborted": "aborted",
}
WHOLE_WORDS = {"running": "on its way", "succeeded": "done", "failed": "failed"}
STEP_WORDS = STATE_WORDS | {
    "pending": "created",
    "compiling": "compiling",
    "swapping": "swapping",
    "running": "running",
}
FINAL = frozenset({"running", "refused", "rolled_back", "timed_out", "aborted"})


class DeploymentModel:
    """The live parts of deployments, for pages and streams."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def board(self, actor: Actor, deployment_id: int, csrf: str) -> w.DeploymentBoard:
        return board(await self._services.deployments.get(actor, deployment_id), actor, csrf)

    async def list(self, actor: Actor, before: int = 0) -> w.DeploymentList:
        rows = await self._services.deployments.list(actor, page=Page(before, DEPLOYMENTS_PER_PAGE))
        names = {project.id: project.name for project in await self._services.programs.projects(actor)}
        return w.DeploymentList(rows=tuple(_row(one, names.get(one.project_id, "")) for one in rows))


class DeploymentPages:
    def __init__(self, services: Services, model: DeploymentModel) -> None:
        self._services = services
        self._model = model

    def routes(self) -> list[Route]:
        viewer, engineer = access(Role.VIEWER), access(Role.ENGINEER)
        return [
            Route("/programs/{project_id:int}/deploy", engineer(self.prepare), methods=["GET"]),
            Route("/deployments", viewer(self.deployments), methods=["GET"]),
            Route("/deployments", engineer(self.start), methods=["POST"]),
            Route("/deployments/{deployment_id:int}", viewer(self.deployment), methods=["GET"]),
            Route("/deployments/{deployment_id:int}/abort", engineer(self.abort), methods=["POST"]),
        ]

    # ------------------------------------------------------------ the wizard

    async def prepare(self, request: Request) -> Response:
        """First which and where; with targets in the address, what would change."""
        actor: Actor = request.state.actor
        project_id = request.path_params["project_id"]
        targets = tuple(request.query_params.getlist("target"))
        asked = request.query_params.get("version", "")
        detail = await self._services.programs.project(actor, project_id)
        version = int(asked) if asked.isdecimal() and int(asked) else detail.project.versions
        if targets and version:
            return await self._confirm(request, detail, version, targets)
        wrong = "Choose at least one runtime." if "step" in request.query_params else ""
        return await self._choose(request, detail, version, wrong)

    async def _choose(self, request: Request, detail: ProjectDetail, version: int, wrong: str) -> Response:
        actor: Actor = request.state.actor
        runtimes = await self._services.fleet.runtimes(actor)
        wanted = request.query_params.get("runtime", "")
        only = runtimes[0].node_id if len(runtimes) == 1 else ""
        page = w.ChooseTargets(
            shell=await self._shell(request, detail, "Deploy"),
            head=head(detail, "deploy", actor),
            versions=tuple(
                w.VersionChoice(one.number, f"Version {one.number}: {one.message}", one.number == version)
                for one in detail.versions
            ),
            targets=tuple(_choice(runtime, runtime.node_id in (wanted, only)) for runtime in runtimes),
            action=project_href(detail.project.id, "deploy"),
            wrong=wrong,
        )
        return frame.html(request, page)

    async def _confirm(
        self,
        request: Request,
        detail: ProjectDetail,
        version: int,
        targets: tuple[str, ...],
        *,
        error: TickworkError | None = None,
        reason: str = "",
        cold: bool = False,
    ) -> Response:
        actor: Actor = request.state.actor
        project_id = detail.project.id
        chosen = next((one for one in detail.versions if one.number == version), None)
        if chosen is None:
            raise not_understood("a version of the project", version)
        plans = await self._services.deployments.plan(
            actor, targets=targets, project_id=project_id, version=version
        )
        before = await self._version_before(actor, project_id, targets)
        diffs = (
            await self._services.programs.diff(actor, project_id, before, version)
            if before and before != version
            else ()
        )
        page = w.ConfirmDeployment(
            shell=await self._shell(request, detail, "Deploy"),
            head=head(detail, "deploy", actor),
            version=version,
            message=chosen.message,
            artifact=views.short(chosen.artifact),
            plans=tuple(_plan(plan) for plan in plans),
            files=diff_files(diffs),
            diff_from=f"version {before}, which runs now" if before else "",
            targets=targets,
            project=project_id,
            back=project_href(project_id, "deploy") + f"?version={version}",
            problems=tuple(views.problem_view(problem) for problem in error.problems) if error else (),
            reason=reason,
            cold=cold,
        )
        return frame.html(request, page, 422 if error else 200)

    async def _version_before(self, actor: Actor, project_id: int, targets: tuple[str, ...]) -> int:
        """The version of this project that the first target runs now, 0 when it runs something else."""
        runtime = (await self._services.fleet.runtime(actor, targets[0])).runtime
        found = await self._services.deployments.list(actor, node_id=runtime.node_id, page=Page(limit=50))
        project, version = deployed_version(found, runtime.node_id, runtime.digest)
        return version if project == project_id else 0

    async def start(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        form = await request.form()
        targets = tuple(str(target) for target in form.getlist("target"))
        project, version = str(form.get("project", "")), str(form.get("version", ""))
        if not (project.isdecimal() and version.isdecimal() and targets):
            raise not_understood("a project, a version and targets", dict(form))
        reason, cold = str(form.get("reason", "")).strip(), bool(form.get("cold"))
        try:
            made = await self._services.deployments.create(
                actor,
                targets=targets,
                project_id=int(project),
                version=int(version),
                reason=reason,
                cold=cold,
            )
        except TickworkError as error:
            detail = await self._services.programs.project(actor, int(project))
            return await self._confirm(
                request, detail, int(version), targets, error=error, reason=reason, cold=cold
            )
        return frame.go(request, f"/deployments/{made.id}")

    async def _shell(self, request: Request, detail: ProjectDetail, title: str) -> c.Shell:
        crumbs = (("Programs", "/programs"), (detail.project.name, project_href(detail.project.id)))
        stream = "/live?view=plain&section=programs"
        return await frame.shell(
            request, self._services, title, section="programs", crumbs=crumbs, stream=stream
        )

    # ------------------------------------------------------------ watching

    async def deployments(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        asked = request.query_params.get("before", "0")
        before = int(asked) if asked.isdecimal() else 0
        if frame.wants(request) != "html":
            rows = await self._services.deployments.list(actor, page=Page(before, DEPLOYMENTS_PER_PAGE))
            return frame.data(request, rows, "deployments")
        listed = await self._model.list(actor, before)
        page = w.DeploymentsPage(
            shell=await frame.shell(
                request,
                self._services,
                "Deployments",
                section="deployments",
                stream="" if before else "/live?view=deployments",
            ),
            list=listed,
            older=f"/deployments?before={listed.rows[-1].number}"
            if len(listed.rows) == DEPLOYMENTS_PER_PAGE
            else "",
        )
        return frame.html(request, page)

    async def deployment(self, request: Request) -> Response:
        actor: Actor = request.state.actor
        one = await self._services.deployments.get(actor, request.path_params["deployment_id"])
        if frame.wants(request) == "json":
            return frame.data(request, (one,), f"deployment-{one.id}")
        names = {project.id: project.name for project in await self._services.programs.projects(actor)}
        entries = await self._services.audit.entries(actor, about=f"deployment {one.id}", page=Page(limit=20))
        entries = tuple(entry for entry in entries if entry.about.split()[:2] == ["deployment", str(one.id)])
        stream = "/live?" + urlencode({"view": "deployment", "id": one.id})
        page = w.DeploymentPage(
            shell=await frame.shell(
                request,
                self._services,
                f"Deployment {one.id}",
                section="deployments",
                crumbs=(("Deployments", "/deployments"),),
                stream=stream,
            ),
            number=one.id,
            application=one.application,
            project=c.Link(names[one.project_id], project_href(one.project_id))
            if one.project_id in names
            else None,
            version=one.version,
            artifact=views.short(one.artifact),
            created=views.moment_of(one.created_ns),
            created_by=one.created_by,
            reason=one.reason,
            cold=one.cold,
            board=board(one, actor, request.state.csrf),
            audit=tuple(audit_line(entry) for entry in entries),
        )
        return frame.html(request, page)

    async def abort(self, request: Request) -> Response:
        deployment_id = request.path_params["deployment_id"]
        await self._services.deployments.abort(request.state.actor, deployment_id)
        return frame.go(request, f"/deployments/{deployment_id}", "aborted")


# ---------------------------------------------------------------- views


def board(one: Deployment, actor: Actor, csrf: str) -> w.DeploymentBoard:
    return w.DeploymentBoard(
        number=one.id,
        state=one.state if one.state != "running" else "pending",
        state_word=WHOLE_WORDS.get(one.state, one.state),
        done=sum(1 for target in one.targets if target.state == "running"),
        targets=tuple(_target(target) for target in one.targets),
        can_abort=actor.role.includes(Role.ENGINEER)
        and any(target.state == "pending" for target in one.targets),
        abort=f"/deployments/{one.id}/abort",
        csrf=csrf,
    )


def _target(target: Target) -> w.TargetView:
    return w.TargetView(
        name=target.node,
        href=views.runtime_href(target.node_id),
        state=target.state,
        state_word=STATE_WORDS.get(target.state, target.state),
        digest=views.short(target.digest),
        timeline=tuple(
            (STEP_WORDS.get(name, name), views.moment_of(at_ns)) for name, at_ns in target.timeline
        ),
        deadline=None if target.state in FINAL else views.moment(target.deadline_ns),
        problems=tuple(views.problem_view(problem) for problem in target.problems),
    )


def _row(one: Deployment, project: str) -> w.DeploymentRow:
    names = ", ".join(target.node for target in one.targets[:3])
    return w.DeploymentRow(
        number=one.id,
        href=f"/deployments/{one.id}",
        application=one.application,
        project=project,
        version=one.version,
        artifact=views.short(one.artifact),
        created=views.moment_of(one.created_ns),
        created_by=one.created_by,
        reason=one.reason,
        state=one.state if one.state != "running" else "pending",
        state_word=WHOLE_WORDS.get(one.state, one.state),
        targets=names + (f" and {len(one.targets) - 3} more" if len(one.targets) > 3 else ""),
    )


def _choice(runtime: Runtime, chosen: bool) -> w.TargetChoice:
    return w.TargetChoice(
        node=runtime.node_id,
        name=runtime.name,
        state=views.STATE_WORDS.get(runtime.state, runtime.state),
        link_word=views.LINK_WORDS.get(runtime.link, runtime.link),
        digest=views.short(runtime.digest),
        chosen=chosen,
    )


def _plan(plan: Plan) -> w.PlanView:
    return w.PlanView(
        name=plan.node,
        running=views.short(plan.running_digest),
        changes=tuple(
            w.PlanChangeView(one.kind, one.change, one.name, one.old, one.new) for one in plan.changes
        ),
        warnings=tuple(views.sentence(warning) for warning in plan.warnings),
    )


def audit_line(entry: AuditEntry) -> w.AuditLine:
    return w.AuditLine(
        time=views.moment_of(entry.time_ns),
        actor=entry.actor,
        role=entry.role,
        via=entry.via,
        address=entry.address,
        action=entry.action,
        about=entry.about,
        result=entry.result,
        old=entry.old,
        new=entry.new,
        reason=entry.reason,
        hash=entry.hash[:10],
    )
