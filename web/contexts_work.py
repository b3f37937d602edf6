"""Contexts of trends, programs and deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts import Cell, Link, Moment, ProblemView, Shell
from web.contexts_recording import FrozenScan


@dataclass(frozen=True, slots=True)
class TrendSeries:
    number: int  # 1 …: picks colour and dash
    runtime: str
    path: str
    unit: str
    value: Cell
    href: str
    remove: str
    kind: str  # "real", "bool", "step": the last two are drawn as held values


@dataclass(frozen=True, slots=True)
class FoundSeries:
    runtime: str
    path: str
    unit: str
    add: str


@dataclass(frozen=True, slots=True)
class SeriesSearch:
    TEMPLATE: ClassVar[str] = "series_search.html"
    found: tuple[FoundSeries, ...]
    search: str
    more: bool


@dataclass(frozen=True, slots=True)
class TrendPage:
    TEMPLATE: ClassVar[str] = "trend.html"
    shell: Shell
    series: tuple[TrendSeries, ...]
    ranges: tuple[Link, ...]
    compares: tuple[Link, ...]
    live: bool
    live_href: str
    data: str  # address of the data
    csv: str
    search: SeriesSearch
    keys: tuple[str, ...]
    span: str
    start: Moment
    end: Moment
    rows: tuple[tuple[Moment, tuple[str, ...]], ...]  # the table twin, newest first
    summary: str
    full: bool  # no further series fits


# ---------------------------------------------------------------- programs


@dataclass(frozen=True, slots=True)
class ProjectRow:
    name: str
    href: str
    versions: int
    dirty: bool
    changed: Moment | None
    changed_by: str
    running: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class ProgramsPage:
    TEMPLATE: ClassVar[str] = "programs.html"
    shell: Shell
    projects: tuple[ProjectRow, ...]
    can_edit: bool
    wrong: str
    name: str
    problems: tuple[ProblemView, ...]


@dataclass(frozen=True, slots=True)
class FileLink:
    path: str
    href: str
    current: bool
    problems: int


@dataclass(frozen=True, slots=True)
class ListedProblem:
    file: str
    line: int
    column: int
    length: int
    code: str
    message: str
    remedy: str
    severity: str
    href: str


@dataclass(frozen=True, slots=True)
class ProblemList:
    TEMPLATE: ClassVar[str] = "problem_list.html"
    problems: tuple[ListedProblem, ...]
    ok: bool
    checked: str


@dataclass(frozen=True, slots=True)
class ProjectHead:
    name: str
    href: str
    state: str
    dirty: bool
    tabs: tuple[Link, ...]
    can_edit: bool
    deploy: str


@dataclass(frozen=True, slots=True)
class EditorPage:
    TEMPLATE: ClassVar[str] = "editor.html"
    shell: Shell
    head: ProjectHead
    files: tuple[FileLink, ...]
    path: str
    text: str
    draft: str
    check: str
    save: str
    problems: ProblemList
    wrong: str
    line: int


@dataclass(frozen=True, slots=True)
class VersionRow:
    number: int
    message: str
    created: Moment
    created_by: str
    artifact: str
    diff: str
    deploy: str
    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionsPage:
    TEMPLATE: ClassVar[str] = "versions.html"
    shell: Shell
    head: ProjectHead
    versions: tuple[VersionRow, ...]
    draft_diff: str
    problems: tuple[ProblemView, ...]
    message: str
    publish: str


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: str  # "old", "new", "hunk", "same"
    mark: str
    old: str
    new: str
    text: str


@dataclass(frozen=True, slots=True)
class DiffFile:
    path: str
    change: str
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True, slots=True)
class DiffPage:
    TEMPLATE: ClassVar[str] = "diff.html"
    shell: Shell
    head: ProjectHead
    old: str
    new: str
    files: tuple[DiffFile, ...]


# ---------------------------------------------------------------- deployments


@dataclass(frozen=True, slots=True)
class TargetChoice:
    node: str
    name: str
    state: str
    link_word: str
    digest: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class VersionChoice:
    number: int
    text: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class ChooseTargets:
    """The first step of a deployment."""

    TEMPLATE: ClassVar[str] = "deploy_choose.html"
    shell: Shell
    head: ProjectHead
    versions: tuple[VersionChoice, ...]
    targets: tuple[TargetChoice, ...]
    action: str
    wrong: str


@dataclass(frozen=True, slots=True)
class PlanChangeView:
    kind: str
    change: str
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class PlanView:
    name: str
    running: str
    changes: tuple[PlanChangeView, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConfirmDeployment:
    """The second step: what would change, and the question."""

    TEMPLATE: ClassVar[str] = "deploy_confirm.html"
    shell: Shell
    head: ProjectHead
    version: int
    message: str
    artifact: str
    plans: tuple[PlanView, ...]
    files: tuple[DiffFile, ...]
    diff_from: str
    targets: tuple[str, ...]
    project: int
    back: str
    problems: tuple[ProblemView, ...]
    reason: str
    cold: bool


@dataclass(frozen=True, slots=True)
class TargetView:
    name: str
    href: str
    state: str
    state_word: str
    digest: str
    timeline: tuple[tuple[str, Moment], ...]
    deadline: Moment | None
    problems: tuple[ProblemView, ...]


@dataclass(frozen=True, slots=True)
class DeploymentBoard:
    TEMPLATE: ClassVar[str] = "deployment_board.html"
    number: int
    state: str
    state_word: str
    done: int
    targets: tuple[TargetView, ...]
    can_abort: bool
    abort: str
    csrf: str


@dataclass(frozen=True, slots=True)
class AuditLine:
    time: Moment
    actor: str
    role: str
    via: str
    address: str
    action: str
    about: str
    result: str
    old: str
    new: str
    reason: str
    hash: str


@dataclass(frozen=True, slots=True)
class DeploymentPage:
    TEMPLATE: ClassVar[str] = "deployment.html"
    shell: Shell
    number: int
    application: str
    project: Link | None
    version: int
    artifact: str
    created: Moment
    created_by: str
    reason: str
    cold: bool
    board: DeploymentBoard
    audit: tuple[AuditLine, ...]


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    number: int
    href: str
    application: str
    project: str
    version: int
    artifact: str
    created: Moment
    created_by: str
    reason: str
    state: str
    state_word: str
    targets: str


@dataclass(frozen=True, slots=True)
class DeploymentList:
    TEMPLATE: ClassVar[str] = "deployment_list.html"
    rows: tuple[DeploymentRow, ...]


@dataclass(frozen=True, slots=True)
class DeploymentsPage:
    TEMPLATE: ClassVar[str] = "deployments.html"
    shell: Shell
    list: DeploymentList
    older: str


@dataclass(frozen=True, slots=True)
class SourceView:
    """One file of the running program; ``lines`` of its variables are followed live."""

    path: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class ProgramView:
    TEMPLATE: ClassVar[str] = "program_view.html"
    shell: Shell
    name: str
    digest: str
    version: str  # "water, version 3", "" when it did not come from here
    editor: str
    files: tuple[SourceView, ...]
    path: str
    text: str
    live: str  # which tags belong to which line, as JSON for the script
    instances: tuple[Link, ...]
    why_not: str
    freeze: str  # the same page at the newest recorded scan
    frozen: FrozenScan | None
    problem: ProblemView | None  # why the recording could not be looked at


# ---------------------------------------------------------------- administration


@dataclass(frozen=True, slots=True)
class AuditPage:
    TEMPLATE: ClassVar[str] = "audit.html"
    shell: Shell
    lines: tuple[AuditLine, ...]
    who: str
    action: str
    about: str
    older: str
    csv: str
    chain_ok: bool
    chain_text: str
    checked: Moment | None


@dataclass(frozen=True, slots=True)
class UserRow:
    id: int
    name: str
    full_name: str
    role: str
    enabled: bool
    last_login: Moment | None
    locked: Moment | None
    myself: bool


@dataclass(frozen=True, slots=True)
class KeyRow:
    id: int
    name: str
    role: str
    created_by: str
    expires: Moment
    last_used: Moment | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class RoleChoice:
    name: str
    about: str


@dataclass(frozen=True, slots=True)
class UsersPage:
    TEMPLATE: ClassVar[str] = "users.html"
    shell: Shell
    users: tuple[UserRow, ...]
    keys: tuple[KeyRow, ...]
    roles: tuple[RoleChoice, ...]
    wrong: str
    key_wrong: str
    secret: str
    typed_name: str
    typed_full_name: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    id: int
    node: str
    created_by: str
    created: Moment
    expires: Moment
    used: Moment | None
    used_by: str


@dataclass(frozen=True, slots=True)
class EnrolledRow:
    node: str
    name: str
    href: str
    link: str
    link_word: str
    since: Moment | None


@dataclass(frozen=True, slots=True)
class EnrolmentPage:
    TEMPLATE: ClassVar[str] = "enrolment.html"
    shell: Shell
    tokens: tuple[TokenRow, ...]
    runtimes: tuple[EnrolledRow, ...]
    secret: str
    command: str
    wrong: str


@dataclass(frozen=True, slots=True)
class SettingsPage:
    TEMPLATE: ClassVar[str] = "settings.html"
    shell: Shell
    facts: tuple[tuple[str, str, str], ...]  # name, value, note
    groups: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    started: Moment
