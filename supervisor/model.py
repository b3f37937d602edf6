"""What the supervisor's services speak of: runtimes, tags, traces, projects, deployments, people, audit.

Rules.
* Times are UTC nanoseconds. A value never travels without its quality and its timestamp.
* The structs are frozen and may be encoded to JSON as they are; their schema is part of the OpenAPI document.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from runtime.link import DeviceStatus, TaskStatus
from scan.problem import Problem

Value = bool | int | float | str | None


class Role(enum.StrEnum):
    """What a person may do. Each role includes those before it."""

    VIEWER = "viewer"  # see everything
    OPERATOR = "operator"  # write and force tags
    ENGINEER = "engineer"  # edit and deploy programs, start and stop runtimes
    ADMIN = "admin"  # users, keys, enrolment

    def includes(self, other: Role) -> bool:
        order = tuple(Role)
        return order.index(self) >= order.index(other)


class Actor(msgspec.Struct, frozen=True):
    """Who acts, from where. ``via`` is "page", "api" or "system"."""

    name: str
    role: Role
    via: str = "page"
    address: str = ""
    user_id: int = 0
    full_name: str = ""
    nodes: tuple[str, ...] = ()  # node ids the actor is limited to; empty: all


class Page(msgspec.Struct, frozen=True):
    """Which part of a list: entries older than ``before`` (an id; 0: from the newest), at most ``limit``."""

    before: int = 0
    limit: int = 50


NEWEST = Page()


class Runtime(msgspec.Struct, frozen=True):
    """One line of the fleet. ``link``: "up", "down", "never" (not yet connected) or "revoked"."""

    node_id: str
    name: str
    link: str
    state: str  # "empty", "stopped", "running", "fault"; the last one reported
    rank: int  # 0 worst: the fleet is sorted by it
    attention: str = ""  # why it is not simply fine, one clause; "" when all is well
    link_since_ns: int = 0
    seen_ns: int = 0  # last message, by the supervisor's clock
    digest: str = ""  # of the running application
    application: str = ""
    version: str = ""
    address: str = ""
    tags: int = 0
    scan: int = 0
    forces: int = 0
    devices: int = 0
    devices_online: int = 0
    buffered: int = 0
    lost: int = 0
    clock_offset_ns: int = 0  # node minus supervisor
    enrolled_ns: int = 0


class RuntimeDetail(msgspec.Struct, frozen=True):
    """A runtime with its last ``Status``. Lists are empty when it has never reported."""

    runtime: Runtime
    tasks: tuple[TaskStatus, ...] = ()
    devices: tuple[DeviceStatus, ...] = ()
    clients: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    processes: dict[str, str] = {}
    fault: Problem | None = None
    status_ns: int = 0  # node's time of that status


class TagValue(msgspec.Struct, frozen=True):
    """A tag with its latest value. ``text`` is the value as people read it in IEC form, without the unit."""

    node_id: str
    path: str
    type: str  # "BOOL", "INT", …
    value: Value
    text: str
    quality: int
    quality_text: str
    time_ns: int
    stale: bool  # the link is down: value is the last known one
    unit: str = ""
    low: float | None = None
    high: float | None = None
    writable: bool = False
    comment: str = ""
    enum_values: tuple[tuple[str, int], ...] = ()
    location: str = ""


class Force(msgspec.Struct, frozen=True):
    """A tag that is held. Owner and reason are known when the force was set through the supervisor."""

    node_id: str
    path: str
    text: str
    owner: str = ""
    reason: str = ""
    since_ns: int = 0
    expires_ns: int = 0


class EventRow(msgspec.Struct, frozen=True):
    """One line of the ordered event journal. ``seq`` grows by one over the whole supervisor, without gaps."""

    seq: int
    node_id: str
    node: str
    time_ns: int  # the node's clock
    received_ns: int
    kind: str
    severity: str
    source: str
    text: str
    fields: dict[str, str] = {}


class Update(msgspec.Struct, frozen=True):
    """What changed since the last one. ``resync``: events were too many or too old, load the page's state
    anew."""

    values: tuple[TagValue, ...] = ()
    runtimes: tuple[Runtime, ...] = ()
    events: tuple[EventRow, ...] = ()
    commands: tuple[CommandRow, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    resync: bool = False
    alarms: bool = False  # what stands is another thing now; ask for it


class SeriesKey(msgspec.Struct, frozen=True):
    node_id: str
    path: str


class Series(msgspec.Struct, frozen=True):
    """A tag that has history, whether or not it still exists on its runtime."""

    node_id: str
    node: str
    path: str
    type: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    first_ns: int = 0
    last_ns: int = 0


class Gap(msgspec.Struct, frozen=True):
    """Nothing is known between the two times (ends included); never drawn as a line."""

    from_ns: int
    to_ns: int
    reason: str


class Trace(msgspec.Struct, frozen=True):
    """One line of a trend: equal-length columns in time order; ``values`` has None where quality is bad.

    ``decimated``: each bucket of ``samples_per_point`` samples gave its first, minimum, maximum and last
    sample; otherwise every stored sample is there. The first point may lie before the asked range: the value
    held at its start.
    """

    key: SeriesKey
    times_ns: tuple[int, ...]
    values: tuple[float | None, ...]
    quality: tuple[int, ...]
    gaps: tuple[Gap, ...] = ()
    texts: tuple[str, ...] = ()  # for STRING tags, as long as times_ns
    decimated: bool = False
    samples: int = 0  # stored samples in the range
    unit: str = ""


class Aggregate(msgspec.Struct, frozen=True):
    """One interval. ``average`` is time-weighted over good time and None when there was none."""

    from_ns: int
    to_ns: int
    count: int
    minimum: float | None
    maximum: float | None
    average: float | None
    last: float | None
    good_share: float  # part of the interval with good quality, 0..1


class Project(msgspec.Struct, frozen=True):
    """A plant folder kept by the supervisor. ``draft`` is the editable state; versions never change."""

    id: int
    name: str
    versions: int  # number of the newest version, 0: none yet
    changed_ns: int
    changed_by: str
    draft_digest: str  # ETag of the draft
    dirty: bool  # the draft differs from the newest version


class SourceFile(msgspec.Struct, frozen=True):
    path: str  # relative, with forward slashes: "plant.toml", "main.st", "tests/level.st"
    text: str


class Version(msgspec.Struct, frozen=True):
    project_id: int
    number: int
    message: str
    created_ns: int
    created_by: str
    artifact: str  # digest of the signed artifact


class ProjectDetail(msgspec.Struct, frozen=True):
    project: Project
    files: tuple[SourceFile, ...]  # of the draft, sorted by path
    versions: tuple[Version, ...]  # newest first


class CheckReport(msgspec.Struct, frozen=True):
    """``problems`` carry places in the draft's files. ``ok``: it can be built."""

    ok: bool
    problems: tuple[Problem, ...]
    draft_digest: str
    duration_ms: int = 0


class FileDiff(msgspec.Struct, frozen=True):
    """``lines``: (mark, old line number or 0, new line number or 0, text), mark " ", "-", "+" or "@"."""

    path: str
    change: Literal["added", "removed", "changed"]
    lines: tuple[tuple[str, int, int, str], ...]


class Target(msgspec.Struct, frozen=True):
    """State on one runtime: "pending", "sent", "received", "compiling", "swapping", "trial", "running",
    "refused", "rolled_back", "timed_out", "aborted". The last five are final; only "running" is success, and
    it means that the runtime itself reported ``digest`` as what runs."""

    node_id: str
    node: str
    state: str
    changed_ns: int
    deadline_ns: int = 0
    digest: str = ""
    problems: tuple[Problem, ...] = ()
    timeline: tuple[tuple[str, int], ...] = ()  # (state, time) in order


class PlanChange(msgspec.Struct, frozen=True):
    """One thing that a deployment would change. ``kind``: "tag", "task", "device" or "retain"."""

    kind: str
    change: str  # "added", "removed", "changed", "lost"
    name: str
    old: str = ""
    new: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What a deployment would do to one runtime, told before it is started."""

    node_id: str
    node: str
    running_digest: str
    artifact: str
    changes: tuple[PlanChange, ...] = ()
    warnings: tuple[str, ...] = ()  # forces in effect, link down, …


class Deployment(msgspec.Struct, frozen=True):
    """An artifact on its way to a list of runtimes that was frozen at creation."""

    id: int
    artifact: str
    application: str
    project_id: int  # 0: the artifact came from outside
    version: int
    created_ns: int
    created_by: str
    reason: str
    state: str  # "running" (still going), "succeeded", "failed"
    targets: tuple[Target, ...]
    cold: bool = False


class CommandRow(msgspec.Struct, frozen=True):
    """States: "queued", "sent", then one of "effective", "rejected", "expired", "uncertain" (sent, link lost:
    never repeated by itself), "superseded"."""

    id: str
    number: int  # for paging
    node_id: str
    node: str
    kind: str  # as in runtime.link.Command
    values: dict[str, str]
    state: str
    user: str
    reason: str
    created_ns: int
    changed_ns: int
    expires_ns: int
    scan: int = 0
    value: str = ""  # read back
    problem: Problem | None = None


class User(msgspec.Struct, frozen=True):
    id: int
    name: str
    full_name: str
    role: Role
    enabled: bool
    created_ns: int
    last_login_ns: int = 0
    locked_until_ns: int = 0


class Login(msgspec.Struct, frozen=True):
    """A new session. ``token`` goes into the cookie and is stored nowhere; ``csrf`` into every form."""

    token: str
    csrf: str
    actor: Actor
    expires_ns: int


class ApiKey(msgspec.Struct, frozen=True):
    id: int
    name: str
    role: Role
    nodes: tuple[str, ...]
    created_by: str
    created_ns: int
    expires_ns: int
    last_used_ns: int = 0
    revoked: bool = False


class EnrolmentToken(msgspec.Struct, frozen=True):
    id: int
    node: str  # name that must enrol with it; "" any
    created_by: str
    created_ns: int
    expires_ns: int
    used_ns: int = 0
    used_by: str = ""  # node id


class Secret(msgspec.Struct, frozen=True):
    """A key or token that is shown exactly once."""

    id: int
    secret: str
    expires_ns: int


class AuditEntry(msgspec.Struct, frozen=True):
    """Who did what to which object, when and from where. ``hash`` chains it to the entry before."""

    id: int
    time_ns: int
    actor: str
    role: str
    via: str
    address: str
    action: str  # "deployment.create", "user.login", …
    about: str  # "runtime water-1", "project 3"
    result: str  # "ok", "refused"
    old: str = ""
    new: str = ""
    reason: str = ""
    hash: str = ""


class AuditVerdict(msgspec.Struct, frozen=True):
    ok: bool
    entries: int
    head: str
    first_bad_id: int = 0
    checked_ns: int = 0


class MqttLine(msgspec.Struct, frozen=True):
    """A Sparkplug host or a bridge of ``mqtt.toml``. ``kind``: "host", or the kind of the bridge."""

    name: str
    kind: str
    receiver: str  # broker or address
    connected: bool
    detail: str
    problem: str


class About(msgspec.Struct, frozen=True):
    """The supervisor itself. ``key`` is the fingerprint of the key that signs artifacts."""

    version: str
    key: str
    started_ns: int
    history_bytes: int
    configuration_bytes: int
    samples: int
    series: int
    ingest_samples_per_s: float
    commit_p99_ms: float
    disk_free_bytes: int
    tls: bool
    public_url: str
    mqtt: tuple[MqttLine, ...] = ()
    mqtt_problem: str = ""  # why mqtt.toml is not used
