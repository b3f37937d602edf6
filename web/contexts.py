"""What each template takes: frozen dataclasses of texts and numbers, ready to be shown.

Rules.
* A context holds no service, no request and no lazily computed thing: rendering can neither wait nor fail.
* ``TEMPLATE`` names the file; every field is used by it and every name it uses is a field (a test compares them).
* Times are UTC milliseconds since 1970 (what a browser's ``Date`` takes) beside their text; keys of live cells are
  those of ``supervisor.pages.live``.
* ``level`` of a mark: 0 nothing, 1 urgent … 4 low, drawn as shape, number, colour and word together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from web.contexts_parts import Cell as Cell
from web.contexts_parts import DeviceView as DeviceView
from web.contexts_parts import GroupView as GroupView
from web.contexts_parts import Mark as Mark
from web.contexts_parts import Moment as Moment
from web.contexts_strip import AlarmStrip as AlarmStrip


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    href: str
    current: bool = False
    icon: str = ""


@dataclass(frozen=True, slots=True)
class PlantNode:
    """A runtime in the plant tree; ``pages`` is filled for the one that is open."""

    text: str
    href: str
    mark: Mark
    current: bool
    pages: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class PlantTree:
    TEMPLATE: ClassVar[str] = "plant_tree.html"
    fleet: Link
    nodes: tuple[PlantNode, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """What just happened, shown once above the page."""

    text: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Forces in effect on a runtime: the banner of every page of it. Without any it is empty."""

    TEMPLATE: ClassVar[str] = "held.html"
    runtime: str
    count: int
    href: str


@dataclass(frozen=True, slots=True)
class Shell:
    title: str
    user: str
    full_name: str
    role: str
    csrf: str
    theme: str  # "auto", "light", "dark"
    nav: tuple[Link, ...]
    tree: PlantTree
    crumbs: tuple[Link, ...]
    stream: str  # address of the event stream of this page, "" for a page without live parts
    now: Moment
    here: str  # path and query of this page
    version: str
    notice: Notice | None = None
    held: Held | None = None
    strip: AlarmStrip | None = None


@dataclass(frozen=True, slots=True)
class StreamSource:
    """The element that listens; ``oob``: it takes the place of the one on the page."""

    TEMPLATE: ClassVar[str] = "stream.html"
    address: str
    oob: bool


@dataclass(frozen=True, slots=True)
class ProblemView:
    code: str
    message: str
    place: str
    source: str  # the source line with the caret under it
    expected: str
    found: str
    remedy: str
    severity: str = "error"
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- before the log-in, and errors


@dataclass(frozen=True, slots=True)
class LoginPage:
    TEMPLATE: ClassVar[str] = "login.html"
    csrf: str
    theme: str
    name: str
    after: str  # where to go then
    wrong: str
    first_run: bool


@dataclass(frozen=True, slots=True)
class SetupPage:
    TEMPLATE: ClassVar[str] = "setup.html"
    csrf: str
    theme: str
    token: str
    name: str
    full_name: str
    wrong: str


@dataclass(frozen=True, slots=True)
class ErrorPage:
    TEMPLATE: ClassVar[str] = "error.html"
    theme: str
    status: int
    title: str
    text: str
    problems: tuple[ProblemView, ...]
    shell: Shell | None


# ---------------------------------------------------------------- fleet


@dataclass(frozen=True, slots=True)
class FleetRow:
    key: str
    name: str
    href: str
    mark: Mark
    attention: str
    state: str
    state_word: str
    link: str
    link_word: str
    seen: Moment | None
    application: str
    digest: str
    drift: str  # what should run instead, "" when it is what was deployed
    devices: Cell
    devices_total: int
    scan: Cell
    forces: Cell
    buffered: Cell
    tags: int
    version: str


@dataclass(frozen=True, slots=True)
class FleetTable:
    """The part of the fleet page that follows the plant."""

    TEMPLATE: ClassVar[str] = "fleet_table.html"
    rows: tuple[FleetRow, ...]
    filters: tuple[Link, ...]
    total: int
    troubled: int
    can_enrol: bool
    now: Moment


# ---------------------------------------------------------------- one runtime


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    late: bool
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """A drawing in a box of 200 × 74 units; the bars stand on y = 54."""

    caption: str
    summary: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]
    deadline_x: float  # < 0: outside the drawing


@dataclass(frozen=True, slots=True)
class TaskView:
    key: str
    name: str
    period: str
    scans: Cell
    overruns: Cell
    rows: tuple[tuple[str, Cell, Cell, Cell], ...]  # what, p50, p99, max
    histograms: tuple[Histogram, ...]
    since: Moment | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class TagRow:
    key: str
    path: str
    name: str
    owner: str
    href: str
    trend: str
    watch: str
    value: Cell
    reason: str
    unit: str
    type: str
    location: str
    comment: str
    writable: bool
    changed: Moment | None


@dataclass(frozen=True, slots=True)
class TagTable:
    TEMPLATE: ClassVar[str] = "tag_table.html"
    node: str
    rows: tuple[TagRow, ...]
    total: int
    found: int
    search: str
    filters: tuple[Link, ...]
    filter: str
    previous: str
    following: str
    first: int
    csv: str
    stale: bool


@dataclass(frozen=True, slots=True)
class EventView:
    seq: int
    time: Moment
    kind: str
    severity: str
    source: str
    text: str
    runtime: str


@dataclass(frozen=True, slots=True)
class EventList:
    TEMPLATE: ClassVar[str] = "event_list.html"
    events: tuple[EventView, ...]
    with_runtime: bool


@dataclass(frozen=True, slots=True)
class FleetPage:
    TEMPLATE: ClassVar[str] = "fleet.html"
    shell: Shell
    table: FleetTable
    events: EventList
    search: str


@dataclass(frozen=True, slots=True)
class TaskList:
    TEMPLATE: ClassVar[str] = "task_list.html"
    tasks: tuple[TaskView, ...]
    known: bool


@dataclass(frozen=True, slots=True)
class DeviceList:
    TEMPLATE: ClassVar[str] = "device_list.html"
    devices: tuple[DeviceView, ...]


@dataclass(frozen=True, slots=True)
class RuntimeHead:
    """Name, state and facts of a runtime; replaced as a whole when one of them changes."""

    TEMPLATE: ClassVar[str] = "runtime_head.html"
    name: str
    mark: Mark
    attention: str
    state: str
    state_word: str
    link_word: str
    seen: Moment | None
    application: str
    digest: str
    digest_full: str
    drift: str
    drift_href: str
    deployed: bool  # from here, at least once
    version: str
    address: str
    scan: Cell
    buffered: Cell
    lost: int
    offset: str
    fault: ProblemView | None


@dataclass(frozen=True, slots=True)
class RuntimePage:
    TEMPLATE: ClassVar[str] = "runtime.html"
    shell: Shell
    node: str
    head: RuntimeHead
    tags: TagTable
    tasks: TaskList
    devices: DeviceList
    events: EventList
    clients: tuple[str, ...]
    endpoints: tuple[str, ...]
    processes: tuple[tuple[str, str], ...]
    can_operate: bool
    can_engineer: bool


@dataclass(frozen=True, slots=True)
class CommandView:
    kind: str
    state: str
    state_word: str
    values: tuple[tuple[str, str], ...]
    user: str
    reason: str
    created: Moment
    scan: int
    value: str
    problem: ProblemView | None
    final: bool


@dataclass(frozen=True, slots=True)
class CommandProgress:
    """One command on its way, asked for again until it has ended."""

    TEMPLATE: ClassVar[str] = "command_progress.html"
    command: CommandView
    poll: str


@dataclass(frozen=True, slots=True)
class ForceView:
    node: str
    path: str
    href: str
    text: str
    actual: Cell
    owner: str
    reason: str
    since: Moment | None
    expires: Moment | None
    runtime: str


@dataclass(frozen=True, slots=True)
class TagSheet:
    """One tag: everything that is known of it, and what can be done to it."""

    TEMPLATE: ClassVar[str] = "tag_sheet.html"
    node: str
    runtime: str
    row: TagRow
    low: str
    high: str
    choices: tuple[str, ...]  # of an enumeration or a BOOL
    can_write: bool
    can_force: bool
    why_not: str
    force: ForceView | None
    spark: str  # path data in a box of 100 × 30, "" without history
    spark_text: str
    csrf: str
    wrong: str
    typed: str
    leases: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class TagPage:
    TEMPLATE: ClassVar[str] = "tag.html"
    shell: Shell
    sheet: TagSheet


@dataclass(frozen=True, slots=True)
class WriteConfirm:
    """The second step of a write: what would change, before it does."""

    TEMPLATE: ClassVar[str] = "write_confirm.html"
    node: str
    runtime: str
    path: str
    href: str
    kind: str
    old: str
    new: str
    unit: str
    csrf: str
    lease_s: int
    reason: str
    key: str  # idempotency key: pressing twice writes once


@dataclass(frozen=True, slots=True)
class ConfirmPage:
    TEMPLATE: ClassVar[str] = "confirm.html"
    shell: Shell
    confirm: WriteConfirm


@dataclass(frozen=True, slots=True)
class CommandPage:
    TEMPLATE: ClassVar[str] = "command.html"
    shell: Shell
    progress: CommandProgress
    back: str


@dataclass(frozen=True, slots=True)
class ForcesPage:
    TEMPLATE: ClassVar[str] = "forces.html"
    shell: Shell
    forces: tuple[ForceView, ...]
    runtime: str
    can_operate: bool


@dataclass(frozen=True, slots=True)
class EventsPage:
    TEMPLATE: ClassVar[str] = "events.html"
    shell: Shell
    list: EventList
    kinds: tuple[Link, ...]
    older: str
    runtime: str


@dataclass(frozen=True, slots=True)
class AccountPage:
    TEMPLATE: ClassVar[str] = "account.html"
    shell: Shell
    wrong: str
