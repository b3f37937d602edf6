"""What the supervisor can do: the pages and the REST API are written against this module and ``model`` alone.

Rules.
* Every method that changes something takes the ``Actor`` who wants it, checks the actor's role itself (a page
  that forgets to ask cannot open a hole) and leaves one audit line.
* A refusal is a ``TickworkError``: SV1003 means not allowed, SV1004 no such thing, SV1006 changed meanwhile;
  ``supervisor.problems.status_of`` has the HTTP status of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.link import TraceQuestion
from scan.problem import Place
from supervisor.alarm_model import (
    AlarmCounts,
    AlarmFilter,
    AlarmLine,
    AlarmRow,
    DefinitionVersion,
    EngineState,
    Figures,
    OrderResult,
)
from supervisor.alarm_whatif import Trial
from supervisor.compiler import ProgramTests
from supervisor.language_worker import Help
from supervisor.model import (
    NEWEST,
    About,
    Actor,
    Aggregate,
    ApiKey,
    AuditEntry,
    AuditVerdict,
    CheckReport,
    CommandRow,
    Deployment,
    EnrolmentToken,
    EventRow,
    FileDiff,
    Force,
    Gap,
    Login,
    Page,
    Plan,
    PlanChange,
    Project,
    ProjectDetail,
    Role,
    Runtime,
    RuntimeDetail,
    Secret,
    Series,
    SeriesKey,
    SourceFile,
    TagValue,
    Target,
    Trace,
    Update,
    User,
    Value,
    Version,
)
from supervisor.notify.model import Delivery, Item, Mute, Overview, Run, Settings
from supervisor.recordings import Look, Why
from supervisor.screens import Screen, ScreenDetail
from supervisor.watch_lists import WatchList


class Subscription(Protocol):
    """One client's stream: values are latest-wins, events stay in order up to a bound, then ``resync``."""

    async def next(self, *, interval_ms: int = 250, beat_ms: int = 2000) -> Update:
        """Wait until something changed (at least ``interval_ms`` after the last call returned), at most
        ``beat_ms``; then an empty Update. Ends with ``StreamEnded`` after ``close`` or shutdown."""

    def close(self) -> None: ...


class StreamEnded(Exception):  # noqa: N818 (an end, not an error)
    """The subscription was closed, the session ended or the supervisor stops."""


class Fleet(Protocol):
    async def runtimes(self, actor: Actor) -> tuple[Runtime, ...]:
        """All enrolled runtimes, worst first, then by name."""

    async def runtime(self, actor: Actor, node_id: str) -> RuntimeDetail: ...

    async def tags(self, actor: Actor, node_id: str, paths: tuple[str, ...] = ()) -> tuple[TagValue, ...]:
        """The tags of a runtime in the order of its symbol table; all of them when ``paths`` is empty."""

    async def forces(self, actor: Actor, node_id: str) -> tuple[Force, ...]: ...

    async def rename(self, actor: Actor, node_id: str, name: str) -> Runtime: ...

    async def revoke(self, actor: Actor, node_id: str, reason: str) -> None:
        """The runtime's key is refused from now on and its link is cut. Needs ADMIN."""

    async def events(
        self, actor: Actor, *, node_id: str = "", kind: str = "", page: Page = NEWEST
    ) -> tuple[EventRow, ...]:
        """Newest first. ``page.before`` is a ``seq``."""

    def subscribe(
        self,
        actor: Actor,
        *,
        tags: dict[str, tuple[str, ...]] | None = None,
        fleet: bool = False,
        after_seq: int | None = None,
    ) -> Subscription:
        """``tags``: node id to paths (empty tuple: all tags of it). ``fleet``: changes of runtimes too.
        ``after_seq``: events from there on (None: only new ones). Commands and deployments that the actor may
        see always come."""


class History(Protocol):
    async def series(
        self, actor: Actor, *, node_id: str = "", search: str = "", limit: int = 1000
    ) -> tuple[Series, ...]: ...

    async def trend(
        self, actor: Actor, keys: tuple[SeriesKey, ...], *, from_ns: int, to_ns: int, points: int
    ) -> tuple[Trace, ...]:
        """At most ``4 * points`` points a trace. Unknown keys give an empty trace."""

    async def raw(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, limit: int = 10_000
    ) -> Trace: ...

    async def aggregate(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, interval_ns: int
    ) -> tuple[Aggregate, ...]: ...


class Programs(Protocol):
    async def projects(self, actor: Actor) -> tuple[Project, ...]: ...

    async def project(self, actor: Actor, project_id: int) -> ProjectDetail: ...

    async def create(self, actor: Actor, name: str, files: tuple[SourceFile, ...]) -> ProjectDetail: ...

    async def upload(self, actor: Actor, name: str, archive: bytes) -> ProjectDetail:
        """A zip of a plant folder; replaces the draft of the project ``name``, or makes it."""

    async def save(
        self, actor: Actor, project_id: int, path: str, text: str, *, draft_digest: str = ""
    ) -> Project:
        """Write one file of the draft. ``draft_digest``, when given, must be the current one (SV1006
        otherwise)."""

    async def remove(self, actor: Actor, project_id: int, path: str) -> Project: ...

    async def check(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> CheckReport:
        """Check the draft; ``files`` stand in for files of the draft that are being edited and not saved."""

    async def test(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> ProgramTests:
        """Run the draft's own tests in virtual time; ``files`` as in ``check``."""

    async def help(self, actor: Actor, project_id: int, edited: SourceFile, place: Place, what: str) -> Help:
        """What may be written at a place of the edited file ("complete"), or what stands there ("describe")."""

    async def publish(self, actor: Actor, project_id: int, message: str) -> Version:
        """Check, build and sign the draft as a new version. TickworkError carries the problems of the
        program."""

    async def version(self, actor: Actor, project_id: int, number: int) -> tuple[SourceFile, ...]: ...

    async def diff(self, actor: Actor, project_id: int, old: int, new: int) -> tuple[FileDiff, ...]:
        """Between two versions; number 0 is the draft."""


class Deployments(Protocol):
    async def create(
        self,
        actor: Actor,
        *,
        targets: tuple[str, ...],
        project_id: int = 0,
        version: int = 0,
        artifact: bytes = b"",
        reason: str = "",
        cold: bool = False,
    ) -> Deployment:
        """``targets``: node ids or names. Either a project's version (0: the newest) or an artifact."""

    async def list(
        self, actor: Actor, *, node_id: str = "", page: Page = NEWEST
    ) -> tuple[Deployment, ...]: ...

    async def get(self, actor: Actor, deployment_id: int) -> Deployment: ...

    async def plan(
        self, actor: Actor, *, targets: tuple[str, ...], project_id: int, version: int = 0
    ) -> tuple[Plan, ...]:
        """What ``create`` with the same arguments would change, without doing it."""

    async def abort(self, actor: Actor, deployment_id: int) -> Deployment:
        """Targets to which nothing was sent yet become "aborted"; what was sent cannot be called back."""


class Commands(Protocol):
    async def send(
        self,
        actor: Actor,
        node_id: str,
        kind: Literal["write", "force", "unforce", "start", "stop", "restart", "reset_statistics"],
        values: dict[str, str] | None = None,
        *,
        reason: str = "",
        expected: dict[str, str] | None = None,
        expires_s: int = 30,
        lease_s: int = 0,
        idempotency_key: str = "",
    ) -> CommandRow:
        """Queue it durably and return at once; ``values`` are IEC literals by path. Forces need a reason and
        a lease (seconds)."""

    async def get(self, actor: Actor, command_id: str) -> CommandRow: ...

    async def list(
        self, actor: Actor, *, node_id: str = "", page: Page = NEWEST
    ) -> tuple[CommandRow, ...]: ...


class People(Protocol):
    """Users, sessions, API keys, enrolment tokens. All but login and one's own password needs ADMIN."""

    async def needs_first_admin(self) -> bool: ...

    async def claim(
        self, token: str, name: str, password: str, *, address: str, full_name: str = ""
    ) -> Login:
        """Make the first administrator with the one-time token of the printed link."""

    async def login(self, name: str, password: str, *, address: str) -> Login:
        """SV1101 on any wrong name or password (the same for both), SV1102 while locked out."""

    async def logout(self, token: str) -> None: ...

    async def session(self, token: str, *, address: str) -> Login | None:
        """Who a cookie belongs to; None when it is unknown, idle for too long or at its end."""

    async def key_holder(self, secret: str, *, address: str) -> Actor | None:
        """Who an API key stands for; None when it is unknown, revoked or over."""

    async def set_password(self, actor: Actor, user_id: int, password: str, *, old: str = "") -> None:
        """One's own needs ``old``; an administrator may set others'. Ends that user's sessions."""

    async def users(self, actor: Actor) -> tuple[User, ...]: ...

    async def create_user(
        self, actor: Actor, name: str, password: str, role: Role, *, full_name: str = ""
    ) -> User: ...

    async def change_user(
        self, actor: Actor, user_id: int, *, role: Role | None = None, enabled: bool | None = None
    ) -> User:
        """The last enabled administrator can be neither disabled nor demoted (SV1107)."""

    async def api_keys(self, actor: Actor) -> tuple[ApiKey, ...]: ...

    async def create_api_key(
        self, actor: Actor, name: str, role: Role, *, expires_days: int = 90, nodes: tuple[str, ...] = ()
    ) -> Secret: ...

    async def revoke_api_key(self, actor: Actor, key_id: int) -> None: ...

    async def enrolment_tokens(self, actor: Actor) -> tuple[EnrolmentToken, ...]: ...

    async def create_enrolment_token(
        self, actor: Actor, *, node: str = "", expires_s: int = 3600
    ) -> Secret: ...

    async def cancel_enrolment_token(self, actor: Actor, token_id: int) -> None: ...


class Screens(Protocol):
    """Drawings bound to tags. ``supervisor.drawing`` says what a drawing may hold."""

    async def list(self, actor: Actor) -> tuple[Screen, ...]: ...

    async def get(self, actor: Actor, screen_id: int, number: int = 0) -> ScreenDetail: ...

    async def create(self, actor: Actor, name: str, svg: str, *, runtime: str = "") -> ScreenDetail: ...

    async def save(
        self, actor: Actor, screen_id: int, svg: str, *, runtime: str = "", number: int = 0
    ) -> ScreenDetail:
        """A new version. ``number``, when given, must be the newest one's (SV1006 otherwise)."""

    async def remove(self, actor: Actor, screen_id: int) -> None: ...


class Alarms(Protocol):
    """Alarms of all runtimes and of the supervisor (node id ""). See ``supervisor.alarms``."""

    closed: bool

    async def active(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]: ...

    async def hidden(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]: ...

    async def definitions(self, actor: Actor, *, node_id: str = "*") -> tuple[AlarmRow, ...]: ...

    async def counts(self, actor: Actor) -> AlarmCounts: ...

    async def engines(self, actor: Actor) -> tuple[EngineState, ...]: ...

    async def journal(
        self, actor: Actor, wanted: AlarmFilter = ..., *, page: Page = NEWEST, after: int = -1
    ) -> tuple[AlarmLine, ...]: ...

    async def next_lines(
        self, actor: Actor, after: int, *, limit: int = 500, wait_s: float = 15.0
    ) -> tuple[tuple[AlarmLine, ...], int]: ...

    async def figures(
        self, actor: Actor, *, from_ns: int, to_ns: int, operators: int = 1, node_id: str = ""
    ) -> Figures: ...

    async def order(
        self,
        actor: Actor,
        node_id: str,
        action: str,
        targets: tuple[str, ...],
        *,
        comment: str = "",
        duration_s: int = 0,
        work_order: str = "",
    ) -> OrderResult: ...

    async def attempt(self, actor: Actor, node_id: str, text: str, *, from_ns: int, to_ns: int) -> Trial: ...

    async def versions(self, actor: Actor, node_id: str) -> tuple[DefinitionVersion, ...]: ...

    async def page_text(self, actor: Actor, node_id: str) -> str: ...

    async def define(
        self, actor: Actor, node_id: str, text: str, *, message: str = ""
    ) -> DefinitionVersion: ...


class Notifications(Protocol):
    """Who is told of which alarms, and where each message stands. See ``supervisor.notify``."""

    async def overview(self, actor: Actor) -> Overview: ...

    async def runs(self, actor: Actor, *, page: Page = NEWEST) -> tuple[Run, ...]: ...

    async def deliveries(
        self, actor: Actor, *, run_id: int = 0, channel: str = "", page: Page = NEWEST
    ) -> tuple[Delivery, ...]: ...

    async def stop(self, actor: Actor, run_id: int, reason: str) -> Run: ...

    async def mute(self, actor: Actor, rule: str, duration_s: int, reason: str) -> Mute: ...

    async def unmute(self, actor: Actor, rule: str) -> None: ...

    async def settings(self, actor: Actor) -> Settings: ...

    async def put(self, actor: Actor, kind: str, item: Item, *, secret: str | None = None) -> Settings: ...

    async def remove(self, actor: Actor, kind: str, name: str) -> Settings: ...

    async def test(self, actor: Actor, channel: str, to: str) -> Delivery: ...


class WatchLists(Protocol):
    """Named lists of tags."""

    async def list(self, actor: Actor) -> tuple[WatchList, ...]: ...

    async def save(
        self, actor: Actor, name: str, tags: tuple[str, ...], *, shared: bool = False
    ) -> WatchList: ...

    async def remove(self, actor: Actor, list_id: int) -> None: ...


class Recordings(Protocol):
    """What a runtime recorded, asked over its link: state of any scan, its executed lines, and why a value changed."""

    async def look(self, actor: Actor, node_id: str, question: TraceQuestion) -> Look: ...

    async def why(self, actor: Actor, node_id: str, path: str, scan: int) -> Why: ...


class System(Protocol):
    async def about(self, actor: Actor) -> About: ...


class Audit(Protocol):
    async def entries(
        self, actor: Actor, *, who: str = "", action: str = "", about: str = "", page: Page = NEWEST
    ) -> tuple[AuditEntry, ...]:
        """Newest first; the filters are prefixes."""

    async def verify(self, actor: Actor) -> AuditVerdict: ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything above, wired. ``supervisor.app.create_app`` makes it; tests of pages make it of fakes."""

    fleet: Fleet
    history: History
    programs: Programs
    deployments: Deployments
    commands: Commands
    people: People
    audit: Audit
    system: System
    alarms: Alarms
    screens: Screens
    recordings: Recordings
    watch_lists: WatchLists
    notifications: Notifications


__all__ = [
    "NEWEST",
    "About",
    "Actor",
    "Aggregate",
    "Alarms",
    "ApiKey",
    "Audit",
    "AuditEntry",
    "AuditVerdict",
    "CheckReport",
    "CommandRow",
    "Commands",
    "Deployment",
    "Deployments",
    "EnrolmentToken",
    "EventRow",
    "FileDiff",
    "Fleet",
    "Force",
    "Gap",
    "History",
    "Login",
    "Look",
    "Notifications",
    "Page",
    "People",
    "Plan",
    "PlanChange",
    "Programs",
    "Project",
    "ProjectDetail",
    "Recordings",
    "Role",
    "Runtime",
    "RuntimeDetail",
    "Screen",
    "ScreenDetail",
    "Screens",
    "Secret",
    "Series",
    "SeriesKey",
    "Services",
    "SourceFile",
    "StreamEnded",
    "Subscription",
    "System",
    "TagValue",
    "Target",
    "Trace",
    "TraceQuestion",
    "Update",
    "User",
    "Value",
    "Version",
    "WatchList",
    "WatchLists",
    "Why",
]
