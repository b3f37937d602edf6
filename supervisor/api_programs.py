"""Operations on projects, their versions, and deployments."""

from __future__ import annotations

import msgspec

from supervisor.api_call import Call, Items, NoQuery, Operation, items
from supervisor.api_fleet import NodePaged
from supervisor.model import (
    CheckReport,
    Deployment,
    FileDiff,
    Plan,
    Project,
    ProjectDetail,
    Role,
    SourceFile,
    Version,
)
from supervisor.problems import not_understood


class NewProject(msgspec.Struct, frozen=True):
    name: str
    files: tuple[SourceFile, ...] = ()


class UploadQuery(msgspec.Struct, frozen=True):
    name: str


class FileQuery(msgspec.Struct, frozen=True):
    """``draft_digest``: refuse when the draft is another one by now."""

    path: str
    draft_digest: str = ""


class PathQuery(msgspec.Struct, frozen=True):
    path: str


class FileText(msgspec.Struct, frozen=True):
    text: str


class CheckBody(msgspec.Struct, frozen=True):
    """``files`` stand in for files of the draft."""

    files: tuple[SourceFile, ...] = ()


class Message(msgspec.Struct, frozen=True):
    message: str = ""


class DiffQuery(msgspec.Struct, frozen=True):
    """Version numbers; 0 is the draft."""

    old: int
    new: int = 0


class ArtifactQuery(msgspec.Struct, frozen=True):
    """``targets``: comma-separated names or ids. With ``project_id`` the body stays empty, else it is an artifact."""

    targets: str
    reason: str = ""
    cold: bool = False
    project_id: int = 0
    version: int = 0


class PlanQuery(msgspec.Struct, frozen=True):
    targets: str
    project_id: int
    version: int = 0


async def projects(call: Call) -> Items[Project]:
    return Items(await call.services.programs.projects(call.actor))


async def project(call: Call) -> ProjectDetail:
    return await call.services.programs.project(call.actor, call.number("project_id"))


async def create(call: Call) -> ProjectDetail:
    return await call.services.programs.create(call.actor, call.body.name, call.body.files)


async def upload(call: Call) -> ProjectDetail:
    return await call.services.programs.upload(call.actor, call.query.name, call.body)


async def save(call: Call) -> Project:
    query: FileQuery = call.query
    return await call.services.programs.save(
        call.actor, call.number("project_id"), query.path, call.body.text, draft_digest=query.draft_digest
    )


async def remove(call: Call) -> Project:
    return await call.services.programs.remove(call.actor, call.number("project_id"), call.query.path)


async def check(call: Call) -> CheckReport:
    return await call.services.programs.check(call.actor, call.number("project_id"), call.body.files)


async def publish(call: Call) -> Version:
    return await call.services.programs.publish(call.actor, call.number("project_id"), call.body.message)


async def version(call: Call) -> Items[SourceFile]:
    return Items(
        await call.services.programs.version(call.actor, call.number("project_id"), call.number("number"))
    )


async def diff(call: Call) -> Items[FileDiff]:
    query: DiffQuery = call.query
    return Items(
        await call.services.programs.diff(call.actor, call.number("project_id"), query.old, query.new)
    )


async def deploy(call: Call) -> Deployment:
    query: ArtifactQuery = call.query
    if not call.body and not query.project_id:
        raise not_understood("an artifact as body, or project_id", "neither")
    return await call.services.deployments.create(
        call.actor,
        targets=_names(query.targets),
        project_id=query.project_id,
        version=query.version,
        artifact=b"" if query.project_id else call.body,
        reason=query.reason,
        cold=query.cold,
    )


async def deployments(call: Call) -> Items[Deployment]:
    query: NodePaged = call.query
    found = await call.services.deployments.list(call.actor, node_id=query.node_id, page=query.page)
    return items(found, query.page.limit, lambda deployment: deployment.id)


async def deployment(call: Call) -> Deployment:
    return await call.services.deployments.get(call.actor, call.number("deployment_id"))


async def abort(call: Call) -> Deployment:
    return await call.services.deployments.abort(call.actor, call.number("deployment_id"))


async def plan(call: Call) -> Items[Plan]:
    query: PlanQuery = call.query
    return Items(
        await call.services.deployments.plan(
            call.actor, targets=_names(query.targets), project_id=query.project_id, version=query.version
        )
    )


def _names(targets: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in targets.split(",") if name.strip())


_V, _E = Role.VIEWER, Role.ENGINEER
_ONE = "/projects/{project_id}"
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/projects", _V, "All projects", projects, Items[Project], NoQuery, tag="projects"),
    Operation(
        "POST",
        "/projects",
        _E,
        "A new project",
        create,
        ProjectDetail,
        body=NewProject,
        status=201,
        tag="projects",
    ),
    Operation(
        "POST",
        "/projects/upload",
        _E,
        "A zipped plant folder as draft of a new or known project",
        upload,
        ProjectDetail,
        UploadQuery,
        bytes,
        tag="projects",
    ),
    Operation(
        "GET", _ONE, _V, "A project with its draft and versions", project, ProjectDetail, tag="projects"
    ),
    Operation(
        "PUT",
        _ONE + "/files",
        _E,
        "Write a file of the draft",
        save,
        Project,
        FileQuery,
        FileText,
        tag="projects",
    ),
    Operation(
        "DELETE",
        _ONE + "/files",
        _E,
        "Remove a file of the draft",
        remove,
        Project,
        PathQuery,
        tag="projects",
    ),
    Operation(
        "POST", _ONE + "/check", _V, "Check the draft", check, CheckReport, body=CheckBody, tag="projects"
    ),
    Operation(
        "POST",
        _ONE + "/versions",
        _E,
        "Publish the draft as a version",
        publish,
        Version,
        body=Message,
        status=201,
        tag="projects",
    ),
    Operation(
        "GET",
        _ONE + "/versions/{number}",
        _V,
        "Files of a version",
        version,
        Items[SourceFile],
        tag="projects",
    ),
    Operation(
        "GET",
        _ONE + "/diff",
        _V,
        "What changed between two versions",
        diff,
        Items[FileDiff],
        DiffQuery,
        tag="projects",
    ),
    Operation(
        "GET",
        "/deployments/plan",
        _V,
        "What a deployment would change",
        plan,
        Items[Plan],
        PlanQuery,
        tag="deployments",
    ),
    Operation(
        "POST",
        "/deployments",
        _E,
        "Deploy a version, or the artifact in the body",
        deploy,
        Deployment,
        ArtifactQuery,
        bytes,
        201,
        "deployments",
    ),
    Operation(
        "GET",
        "/deployments",
        _V,
        "Deployments, newest first",
        deployments,
        Items[Deployment],
        NodePaged,
        tag="deployments",
    ),
    Operation(
        "GET", "/deployments/{deployment_id}", _V, "One deployment", deployment, Deployment, tag="deployments"
    ),
    Operation(
        "POST",
        "/deployments/{deployment_id}/abort",
        _E,
        "Stop what was not sent yet",
        abort,
        Deployment,
        tag="deployments",
    ),
)
