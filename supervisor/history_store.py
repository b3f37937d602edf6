"""The interface of a history store: what ingest writes and what queries read. One engine is embedded; others follow.

Rules. ``commit`` is durable when it returns: only then may a batch be acknowledged. Every arrival carries the mark
(node, boot, seq), stored in the same transaction, so that a batch that is delivered twice counts once. All methods
block; callers give the writer a thread of its own. Reading needs no lock of the writer's longer than a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from supervisor.history_codec import Columns, SeriesNumbers
from supervisor.model import EventRow, Series

TIME_MIN_NS = 946_684_800_000_000_000  # 2000-01-01: an older stamp is a clock that was never set
TIME_MAX_NS = 7_258_118_400_000_000_000  # 2200-01-01


@dataclass(frozen=True, slots=True)
class SeriesSpec:
    """A tag as history knows it. ``type`` is the IEC name."""

    path: str
    type: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way into the ordered journal."""

    node_id: str
    time_ns: int
    kind: str
    severity: str
    source: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One durable message of a node: a batch of samples, or events, with its mark. Columns have equal lengths."""

    node_id: str
    boot: str
    seq: int
    series: SeriesNumbers
    columns: Columns
    texts: tuple[tuple[int, int, int, str], ...] = ()  # (series, time_ns, quality, text)
    events: tuple[NewEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit made durable."""

    marks: dict[tuple[str, str], int]  # (node, boot) -> highest seq
    events: tuple[EventRow, ...]
    samples: int
    duplicates: int  # arrivals that were there already


@dataclass(frozen=True, slots=True)
class Buckets:
    """A range cut into equal intervals with the first, least, greatest and last sample of each (in time order)."""

    columns: Columns
    samples: int
    decimated: bool


class HistoryStore(Protocol):
    def open_series(self, node_id: str, specs: tuple[SeriesSpec, ...]) -> npt.NDArray[np.uint32]:
        """The number of each series, made where it is new."""

    def mark(self, node_id: str, boot: str) -> int:
        """Highest seq of that boot that is durable; 0 when none."""

    def commit(
        self, arrivals: list[Arrival], events: tuple[NewEvent, ...], received_ns: int
    ) -> Committed: ...

    def series(self, node_id: str, search: str, limit: int) -> tuple[tuple[int, Series], ...]: ...

    def find(self, node_id: str, path: str) -> tuple[int, Series] | None: ...

    def read(self, series: int, from_ns: int, to_ns: int, *, before: bool = False) -> Columns:
        """Samples of the closed range in time order; ``before`` puts the last one earlier than it in front."""

    def buckets(self, series: int, from_ns: int, to_ns: int, count: int) -> Buckets: ...

    def texts(self, series: int, from_ns: int, to_ns: int, limit: int) -> list[tuple[int, int, str]]: ...

    def last(self, series: npt.NDArray[np.uint32]) -> Columns:
        """The last stored sample of each (in the order asked); time 0 where there is none."""

    def events(
        self, node_id: str, kind: str, before: int, limit: int, *, after: int = 0
    ) -> tuple[EventRow, ...]:
        """Newest first; with ``after`` > 0 the oldest first from there on."""

    def starts(self, node_id: str, from_ns: int, to_ns: int) -> list[int]:
        """Times at which the node started anew in the range: nothing is known just before them."""

    def trim(self, older_than_ns: int, limit: int) -> int:
        """Delete at most ``limit`` chunks that end before that time; how many were deleted."""

    def last_event(self) -> int:
        """The sequence number of the newest event; 0 when there is none."""

    def size(self) -> tuple[int, int, int]:
        """Bytes on disk, samples stored, series."""

    def close(self) -> None: ...
