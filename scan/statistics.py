"""Reading side of the task statistics: fixed histograms that the scan writes without a lock."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan.segments import Segment


@functools.cache
def bucket_bounds_ns() -> npt.NDArray[np.int64]:
    """Lower bound of each bucket in ns, and one more at the end: the upper bound of the last."""
    sub = 1 << w.HISTOGRAM_BITS
    bounds = np.zeros(w.HISTOGRAM_BUCKETS + 1, np.int64)
    for bucket in range(len(bounds)):
        shift = max(bucket // sub - 1, 0)
        bounds[bucket] = (bucket - shift * sub) << shift
    return bounds


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """A copy of one histogram; times in ns. ``counts`` belong to the buckets of ``bucket_bounds_ns``."""

    counts: npt.NDArray[np.int64]
    count: int
    sum_ns: int
    max_ns: int
    max_scan: int
    max_wall_ns: int

    def percentile_ns(self, percent: float) -> int:
        """The upper bound of the bucket in which the percentile lies, never above the maximum; 0 without values."""
        total = int(self.counts.sum())
        if total == 0:
            return 0
        rank = min(max(int(np.ceil(total * percent / 100)), 1), total)
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return min(int(bucket_bounds_ns()[bucket + 1]) - 1, self.max_ns)

    @property
    def mean_ns(self) -> float:
        return self.sum_ns / self.count if self.count else 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class TaskStatistics:
    """One task since ``since_wall_ns``.

    ``latency`` is from due to start, ``execution`` the whole scan, ``age`` from the publishing of the inputs to that of
    the outputs, ``period_error`` how far the distance of two starts is from the period.
    """

    name: str
    period_ns: int
    priority: int  # as IEC counts, 0 is the highest
    realtime: int  # SCHED_FIFO priority that was granted, 0 = none
    scans: int
    overruns: int  # scans that missed at least one grid point
    skipped: int  # grid points that were missed
    consecutive: int  # overruns in a row, now
    since_wall_ns: int
    latency: Histogram
    execution: Histogram
    age: Histogram
    period_error: Histogram


def read_statistics(segment: Segment) -> tuple[TaskStatistics, ...]:
    """All tasks of a stats segment."""
    return tuple(_read_task(segment, name, slot) for name, slot in task_slots(segment).items())


def task_slots(segment: Segment) -> dict[str, int]:
    """Slots of the tasks by name; a slot without a name is not used by this program."""
    slots = {}
    for slot in range(min(int(segment.words[w.A_TASKS]), w.TASKS_MAX)):
        start = int(segment.words[w.A_NAMES_OFFSET]) + slot * w.TASK_NAME_SIZE
        text = segment.bytes_at(start, w.TASK_NAME_SIZE).tobytes().rstrip(b"\0")
        if text:
            slots[text.decode("utf-8", "replace")] = slot
    return slots


def _read_task(segment: Segment, name: str, index: int) -> TaskStatistics:
    start = int(segment.words[w.A_TASKS_OFFSET]) // 8 + index * w.TASK_STATS_WORDS
    words = segment.words[start : start + w.TASK_STATS_WORDS].copy()
    latency, execution, age, error = (read_histogram(words, number) for number in range(4))
    return TaskStatistics(
        name,
        period_ns=int(words[w.T_PERIOD_NS]),
        priority=int(words[w.T_PRIORITY]),
        realtime=int(words[w.T_REALTIME]),
        scans=int(words[w.T_SCANS]),
        overruns=int(words[w.T_OVERRUNS]),
        skipped=int(words[w.T_SKIPPED]),
        consecutive=int(words[w.T_CONSECUTIVE]),
        since_wall_ns=int(words[w.T_SINCE_WALL_NS]),
        latency=latency,
        execution=execution,
        age=age,
        period_error=error,
    )


def read_histogram(task_words: npt.NDArray[np.int64], number: int) -> Histogram:
    start = w.TASK_STATS_HISTOGRAMS + number * w.HISTOGRAM_WORDS
    words = task_words[start : start + w.HISTOGRAM_WORDS]
    head = [int(word) for word in words[: w.G_BUCKETS]]
    return Histogram(words[w.G_BUCKETS :], *head)
