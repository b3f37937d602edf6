"""Messages between a runtime and its supervisor: everything that crosses the link, typed and versioned.

Transport: one WebSocket ``<base>/link/ws`` dialled by the runtime (TLS; plain on loopback only, unless opted in),
one msgpack-encoded message a frame. Enrolment: ``POST <base>/link/enrol`` with ``EnrolRequest`` as JSON.

Sequence::

    supervisor -> Challenge                 node -> Hello (signed)        supervisor -> Welcome | Refused
    node -> Describe, Status                node -> Batch seq=n …         supervisor -> Committed seq=n
    supervisor -> Command | Deploy …        node -> CommandResult | DeployState

Rules. ``seq`` counts within a ``boot`` of the node's buffer from 1 without gaps over all durable messages
(``Batch`` and ``Journal``); the node keeps each until ``Committed`` covers it and resends in order after a
reconnect; the supervisor ignores what it has already committed. ``Status`` and values in ``Describe`` are
latest-wins and carry no seq. Times are UTC nanoseconds of the node's clock unless named otherwise.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from runtime.alarms.model import Definition, Entry, Health, Standing
from scan.problem import Place, Problem, TickworkError, fail

__all__ = [
    "ARTIFACT_SIGNED",
    "LINK_VERSION",
    "AlarmTable",
    "Alarms",
    "Batch",
    "Challenge",
    "Command",
    "CommandResult",
    "Committed",
    "Deploy",
    "DeployState",
    "Describe",
    "DeviceStatus",
    "Down",
    "EnrolReply",
    "EnrolRequest",
    "Event",
    "Fetch",
    "Fetched",
    "GroupStatus",
    "Hello",
    "Journal",
    "Place",
    "Problem",
    "Refused",
    "Status",
    "Tag",
    "TaskStatus",
    "TickworkError",
    "Up",
    "Welcome",
    "decode_down",
    "decode_up",
    "encode",
    "fail",
]

LINK_VERSION = 1
ARTIFACT_SIGNED = b"tickwork-artifact-1"  # before the hex digest in what the supervisor signs
FRAME_SIZE_MAX = 16 * 1024 * 1024  # an artifact in one frame is the largest thing that crosses


class _Message(msgspec.Struct, frozen=True, tag_field="t", tag=True, array_like=False):
    pass


# ---------------------------------------------------------------- enrolment and session


class EnrolRequest(msgspec.Struct, frozen=True):
    token: str
    node: str  # the name that the plant file gives the node
    public_key: str  # Ed25519, base64
    version: str  # of the tickwork distribution


class EnrolReply(msgspec.Struct, frozen=True):
    node_id: str
    supervisor_key: str  # Ed25519 public key of the supervisor, base64: artifacts and commands are its


class Challenge(_Message, frozen=True):
    nonce: bytes  # 32 random bytes
    time_ns: int


class Hello(_Message, frozen=True):
    version: int
    node_id: str
    signature: bytes  # Ed25519 over b"tickwork-link-1" + nonce + node_id
    boot: str  # identifies the node's buffer; changes only when that is lost
    time_ns: int


class Welcome(_Message, frozen=True):
    committed: int  # highest seq of ``boot`` that is durable here
    time_ns: int


class Refused(_Message, frozen=True):
    problem: Problem


# ---------------------------------------------------------------- node -> supervisor


class Tag(msgspec.Struct, frozen=True):
    """A variable as the supervisor sees it. ``id`` is stable while ``Describe.digest`` stays."""

    id: int
    path: str
    type: int  # scan.abi.IecType
    unit: str = ""
    low: float | None = None
    high: float | None = None
    writable: bool = False
    comment: str = ""
    enum_values: tuple[tuple[str, int], ...] = ()
    location: str = ""


class Describe(_Message, frozen=True):
    """What runs on the node. Sent after Welcome and whenever the running program changes."""

    name: str
    digest: str  # of the *running* application
    artifact: str  # digest of the artifact it came from, "" if started from a folder
    tags: tuple[Tag, ...]
    tasks: tuple[str, ...]
    devices: tuple[str, ...]
    version: str = ""


class Batch(_Message, frozen=True):
    """Changed tag values as columns. Strings go in ``texts`` and have NaN in ``values``.

    ``values`` is little-endian float64 (integers beyond 2**53 are rounded; exact reads go by ``Fetch``);
    ``times`` int64 UTC ns; ``ids`` uint32; ``quality`` uint16: OPC UA severity and sub-code, upper 16 bits of
    its StatusCode (0x0000 good, 0x4000 uncertain, 0x8000 bad, 0x80.. details).
    """

    seq: int
    digest: str
    ids: bytes
    times: bytes
    values: bytes
    quality: bytes
    texts: tuple[tuple[int, str], ...] = ()  # (row, text)
    historical: bool = False  # was buffered while the link was down


class Event(msgspec.Struct, frozen=True):
    time_ns: int
    kind: str  # "start", "stop", "fault", "device", "write", "force", "deploy", "overrun", …
    source: str  # device, task, user
    text: str
    fields: dict[str, str] = {}
    severity: str = "info"  # "info", "warning", "error"


class Journal(_Message, frozen=True):
    seq: int
    events: tuple[Event, ...]


class TaskStatus(msgspec.Struct, frozen=True):
    """Statistics of one task since ``since_ns``; times in nanoseconds, histograms as in scan.statistics."""

    name: str
    period_ns: int
    scans: int
    overruns: int
    latency_p50_ns: int
    latency_p99_ns: int
    latency_max_ns: int
    execution_p50_ns: int
    execution_p99_ns: int
    execution_max_ns: int
    since_ns: int = 0
    latency_histogram: tuple[int, ...] = ()
    execution_histogram: tuple[int, ...] = ()


# Upper limits of the classes in which latencies of devices are counted.
LATENCY_BOUNDS_NS = tuple(ms * 1_000_000 for ms in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000))


class GroupStatus(msgspec.Struct, frozen=True):
    """A named scan group of a device. ``exceptions``: counts by code."""

    name: str
    quality: int
    rate_per_s: float
    replies: int
    failures: int
    timeouts: int
    retries: int
    missed: int
    exceptions: dict[str, int]
    latency_p50_ns: int
    latency_p99_ns: int


class DeviceStatus(msgspec.Struct, frozen=True):
    name: str
    protocol: str
    address: str
    state: str  # "online", "connecting", "offline"
    quality: int
    requests: int
    errors: int
    latency_p50_ns: int = 0
    latency_p99_ns: int = 0
    since_ns: int = 0
    last_error: str = ""
    rate_per_s: float = 0.0
    timeouts: int = 0
    retries: int = 0
    exceptions: dict[str, int] = {}  # by code
    latency_counts: tuple[int, ...] = ()  # replies within each of LATENCY_BOUNDS_NS, the last: all
    groups: tuple[GroupStatus, ...] = ()


class Status(_Message, frozen=True):
    """Latest state of the node, about once a second."""

    time_ns: int
    state: str  # "empty", "stopped", "running", "fault"
    scan: int
    digest: str
    tasks: tuple[TaskStatus, ...]
    devices: tuple[DeviceStatus, ...]
    forces: int = 0
    clients: tuple[str, ...] = ()  # connected server clients, "opcua 10.0.0.7:51514"
    buffered: int = 0  # durable messages not yet committed
    lost: int = 0  # durable messages dropped because the buffer was full
    fault: Problem | None = None
    processes: dict[str, str] = {}  # "field": "running"
    endpoints: tuple[str, ...] = ()
    alarms: Health | None = None  # of the node's alarm engine; None: a node that has none


class Alarms(_Message, frozen=True):
    """Journal entries of the node's alarm engine, in their order. An ``epoch`` is one life of its journal."""

    seq: int
    epoch: str
    entries: tuple[Entry, ...]


class AlarmTable(_Message, frozen=True):
    """All definitions and what stands after entry ``at_seq``; after Welcome and when definitions change."""

    epoch: str
    at_seq: int
    definitions: tuple[Definition, ...]
    standing: dict[str, Standing]
    page: str = ""  # the definitions that were made on a page, as TOML
    page_version: int = 0


class CommandResult(_Message, frozen=True):
    id: str
    state: Literal["effective", "rejected", "expired", "uncertain"]
    scan: int = 0  # scan in which it took effect
    time_ns: int = 0
    value: str = ""  # read back
    problem: Problem | None = None


class DeployState(_Message, frozen=True):
    """Progress of a deployment on the node. Ends in "running", "refused" or "rolled_back"."""

    id: str
    state: Literal["received", "compiling", "swapping", "trial", "running", "refused", "rolled_back"]
    digest: str = ""  # reported by the runtime itself once it runs
    problems: tuple[Problem, ...] = ()
    time_ns: int = 0


class Fetched(_Message, frozen=True):
    id: str
    data: bytes
    problem: Problem | None = None


# ---------------------------------------------------------------- supervisor -> node


class Committed(_Message, frozen=True):
    seq: int


class Command(_Message, frozen=True):
    """Something a person or a rule wants of the node. ``values`` maps paths to texts in IEC literal form."""

    id: str
    kind: Literal["write", "force", "unforce", "start", "stop", "restart", "reset_statistics", "alarm"]
    values: dict[str, str]
    user: str
    reason: str = ""
    expires_ns: int = 0  # UTC ns; the node rejects it afterwards
    expected: dict[str, str] = {}  # precondition: current values
    lease_s: int = 0  # forces: length of the lease


class Deploy(_Message, frozen=True):
    id: str
    artifact: bytes
    digest: str  # sha256 of ``artifact``
    user: str
    cold: bool = False  # restart with initial values instead of carrying state over
    expires_ns: int = 0
    signature: bytes = b""  # Ed25519 by the supervisor's key over ARTIFACT_SIGNED + digest


class TraceQuestion(msgspec.Struct, frozen=True):
    """A question to the node's recording, with the meaning of the options of ``tickwork trace``."""

    variables: tuple[str, ...] = ()
    scan: int = 0  # 0: the last one
    time: str = ""  # ISO 8601
    when: str = ""  # a condition
    back: int = 0
    forward: int = 0
    why: str = ""  # a variable: its last change until the scan
    lines: bool = False  # with the statements that the scan executed


class Fetch(_Message, frozen=True):
    """Asks for something that the node keeps: kind "values" (paths in ``what``), "artifact", "trace"."""

    id: str
    kind: Literal["values", "artifact", "trace", "recording", "log"]
    what: tuple[str, ...] = ()
    question: TraceQuestion | None = None  # of kind "trace"


Up = Hello | Describe | Batch | Journal | Status | CommandResult | DeployState | Fetched | Alarms | AlarmTable
Down = Challenge | Welcome | Refused | Committed | Command | Deploy | Fetch

_M = TypeVar("_M")

_ENCODER = msgspec.msgpack.Encoder()
_UP = msgspec.msgpack.Decoder(Up)
_DOWN = msgspec.msgpack.Decoder(Down)


def encode(message: Up | Down) -> bytes:
    return _ENCODER.encode(message)


def decode_up(frame: bytes) -> Up:
    """A message from a node. Raises TickworkError LK1001 on bytes that are no message of this version."""
    return _decode(_UP, frame)


def decode_down(frame: bytes) -> Down:
    """A message from a supervisor. Raises TickworkError LK1001 on bytes that are no message of this version."""
    return _decode(_DOWN, frame)


def _decode(decoder: msgspec.msgpack.Decoder[_M], frame: bytes) -> _M:
    if len(frame) > FRAME_SIZE_MAX:
        raise fail("LK1002", f"a link frame of {len(frame)} bytes exceeds {FRAME_SIZE_MAX}")
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise fail(
            "LK1001",
            "a frame on the link is no valid message",
            expected=f"link version {LINK_VERSION}",
            found=str(error),
            remedy="bring runtime and supervisor to the same version of tickwork",
        ) from error
