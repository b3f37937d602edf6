"""What the supervisor knows of one runtime right now, with the latest value of every tag as columns.

Values are latest-wins: nothing queues. Every change gets a *generation* from one counter; a reader that remembers the
last generation it saw finds everything newer by one comparison over a column.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runtime.link import Batch, Describe, Status
from scan import quality as q
from scan.problem import fail
from supervisor.history_codec import Columns
from supervisor.iec_text import text_of, type_name, value_of
from supervisor.model import Runtime, RuntimeDetail, TagValue

TAG_ID_MAX = 1_000_000
NO_SERIES = 0
_RANKS = {"fault": 0, "down": 1, "device": 2, "lost": 3, "stopped": 4, "never": 5, "fine": 8, "revoked": 9}


@dataclass(frozen=True, slots=True)
class Sample:
    """The columns of a batch, checked."""

    ids: npt.NDArray[np.uint32]
    columns: Columns
    texts: dict[int, str]  # by row


def unpack(batch: Batch) -> Sample:
    """Raises TickworkError SV3004 when the columns do not fit together."""
    count, odd = divmod(len(batch.ids), 4)
    sizes = (len(batch.times), len(batch.values), len(batch.quality))
    rows_exist = all(0 <= row < count for row, _ in batch.texts)
    if odd or sizes != (8 * count, 8 * count, 2 * count) or not rows_exist:
        raise fail(
            "SV3004",
            "a batch of tag values has columns of different lengths",
            expected=f"{count} rows",
            found=f"{len(batch.ids)}, {', '.join(map(str, sizes))} bytes, {len(batch.texts)} texts",
            remedy="bring runtime and supervisor to the same version of tickwork",
        )
    columns = Columns(
        np.frombuffer(batch.times, "<i8"),
        np.frombuffer(batch.values, "<f8"),
        np.frombuffer(batch.quality, "<u2"),
    )
    return Sample(np.frombuffer(batch.ids, "<u4"), columns, dict(batch.texts))


class Board:
    """The tags of the running program: description and latest values, indexed as in ``Describe.tags``."""

    def __init__(self, describe: Describe) -> None:
        self.describe = describe
        count = len(describe.tags)
        self.index_of_path = {tag.path: index for index, tag in enumerate(describe.tags)}
        self.index_of_id = np.full(max((t.id for t in describe.tags), default=0) + 1, -1, np.int64)
        for index, tag in enumerate(describe.tags):
            self.index_of_id[tag.id] = index
        self.enum_names = {
            i: {number: name for name, number in t.enum_values}
            for i, t in enumerate(describe.tags)
            if t.enum_values
        }
        self.times = np.zeros(count, np.int64)
        self.values = np.full(count, np.nan)
        self.quality = np.full(count, q.BAD_WAITING_FOR_INITIAL_DATA, np.uint16)
        self.changed = np.zeros(count, np.int64)
        self.texts: dict[int, str] = {}
        self.series = np.zeros(len(self.index_of_id), np.uint32)  # by tag id

    def apply(self, sample: Sample, generation: int) -> None:
        """Take over what is not older than what is known; later rows win."""
        known = sample.ids < len(self.index_of_id)
        index = self.index_of_id[np.where(known, sample.ids, 0)]
        take = known & (index >= 0) & (sample.columns.times >= self.times[index])
        at = index[take]
        self.times[at] = sample.columns.times[take]
        self.values[at] = sample.columns.values[take]
        self.quality[at] = sample.columns.quality[take]
        self.changed[at] = generation
        for row, text in sample.texts.items():
            if take[row]:
                self.texts[int(index[row])] = text

    def carry_over(self, old: Board) -> None:
        """Keep the last values of tags that the new program has too, until it reports its own."""
        for path, index in self.index_of_path.items():
            before = old.index_of_path.get(path)
            if before is not None:
                self.times[index], self.values[index] = old.times[before], old.values[before]
                self.quality[index] = old.quality[before]
                if before in old.texts:
                    self.texts[index] = old.texts[before]

    def tag(self, node_id: str, index: int, stale: bool) -> TagValue:
        tag = self.describe.tags[index]
        quality = int(self.quality[index])
        if stale and not q.is_bad(quality):
            quality = q.UNCERTAIN_LAST_USABLE
        value = value_of(tag.type, float(self.values[index]), self.texts.get(index))
        return TagValue(
            node_id, tag.path, type_name(tag.type), value, text_of(tag.type, value, self.enum_names.get(index)),
            quality, q.name(quality), int(self.times[index]), stale, tag.unit, tag.low, tag.high, tag.writable,
            tag.comment, tag.enum_values, tag.location,
        )  # fmt: skip


@dataclass(slots=True)
class NodeState:
    """``link``: "up", "down", "never", "revoked". ``generation``: of the last change that a fleet list shows."""

    node_id: str
    name: str
    public_key: str
    enrolled_ns: int
    version: str = ""
    link: str = "never"
    link_since_ns: int = 0
    seen_ns: int = 0
    address: str = ""
    clock_offset_ns: int = 0
    board: Board | None = None
    status: Status | None = None
    generation: int = 0
    dropped: int = 0  # samples whose tag is not known here
    series_by_digest: dict[str, npt.NDArray[np.uint32]] = field(default_factory=dict)

    @property
    def stale(self) -> bool:
        return self.link != "up"

    def attention(self) -> tuple[str, str]:
        """(rank, what a person should know first); ("fine", "") when there is nothing."""
        status = self.status
        if self.link == "revoked":
            return "revoked", "its key is revoked"
        if status and status.fault is not None:
            return "fault", f"{status.fault.code}: {status.fault.message}"
        if status and status.state == "fault":
            return "fault", "the program is in fault"
        if self.link == "down":
            return "down", "no connection"
        if self.link == "never":
            return "never", "enrolled, has not connected yet"
        if status and (offline := [d.name for d in status.devices if d.state != "online"]):
            return "device", f"device {', '.join(offline[:3])} not online"
        if status and status.lost:
            return "lost", f"{status.lost} messages were lost while the link was down"
        if status and status.state in ("stopped", "empty"):
            return "stopped", {"stopped": "stopped", "empty": "no program"}[status.state]
        return "fine", ""

    def summary(self) -> Runtime:
        status, describe = self.status, self.board.describe if self.board else None
        rank, attention = self.attention()
        devices = status.devices if status else ()
        return Runtime(
            self.node_id,
            self.name,
            self.link,
            status.state if status else "",
            _RANKS[rank],
            attention,
            self.link_since_ns,
            self.seen_ns,
            (status.digest if status else "") or (describe.digest if describe else ""),
            describe.name if describe else "",
            (describe.version if describe else "") or self.version,
            self.address,
            len(describe.tags) if describe else 0,
            status.scan if status else 0,
            status.forces if status else 0,
            len(devices),
            sum(d.state == "online" for d in devices),
            status.buffered if status else 0,
            status.lost if status else 0,
            self.clock_offset_ns,
            self.enrolled_ns,
        )

    def detail(self) -> RuntimeDetail:
        status = self.status
        if status is None:
            return RuntimeDetail(self.summary())
        return RuntimeDetail(
            self.summary(), status.tasks, status.devices, status.clients, status.endpoints, status.processes,
            status.fault, status.time_ns,
        )  # fmt: skip

    def tags(self, indices: npt.NDArray[np.int64] | range) -> tuple[TagValue, ...]:
        board = self.board
        if board is None:
            return ()
        return tuple(board.tag(self.node_id, int(index), self.stale) for index in indices)
