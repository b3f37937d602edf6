"""Queries over chunks and tails: ranges, decimation that keeps extremes, aggregates weighted by time.

Theory. A trend of n buckets shows, of each bucket, the first, least, greatest and last sample: what a line drawn from
all samples would cover on a screen of n columns. A chunk that lies wholly inside one bucket gives these four from its
summary without being decoded; only chunks across an edge are decoded, so a month costs little more than a day.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scan.quality import BAD, UNCERTAIN
from supervisor.history_codec import Columns, in_time_order, join
from supervisor.history_store import Buckets
from supervisor.model import Aggregate

Summary = tuple[int, int, int, float | None, float | None, int, float | None, int, float | None, int]


def clip(columns: Columns, from_ns: int, to_ns: int, *, before: bool) -> Columns:
    """The closed range of sorted samples; ``before``: with the last sample earlier than it."""
    start = int(np.searchsorted(columns.times, from_ns, "left"))
    stop = int(np.searchsorted(columns.times, to_ns, "right"))
    if before and start > 0:
        start -= 1
    return columns.part(start, max(start, stop))


def summary_points(rows: list[Summary]) -> Columns:
    """Chunks as their first, least, greatest and last samples. A chunk's worst quality stands for all four."""
    table = np.array(rows, np.float64)  # None becomes NaN
    times = np.array([(row[0], row[5], row[7], row[1]) for row in rows], np.int64).ravel()
    return Columns(times, table[:, [3, 4, 6, 8]].ravel(), np.repeat(table[:, 9].astype(np.uint16), 4))


def bucket_edges(from_ns: int, to_ns: int, count: int) -> npt.NDArray[np.int64]:
    span = max(to_ns - from_ns, count)
    return np.array([from_ns + span * index // count for index in range(count + 1)], np.int64)


def decimate(columns: Columns, edges: npt.NDArray[np.int64], samples: int) -> Buckets:
    """First, least, greatest and last sample of each bucket; all samples when they are few anyway."""
    buckets = len(edges) - 1
    if samples == len(columns) and samples <= 4 * buckets:
        return Buckets(columns, samples, False)
    bounds = np.searchsorted(columns.times, edges)
    bounds[-1] = len(columns)
    starts = bounds[:-1][bounds[1:] > bounds[:-1]]
    if not len(starts):
        return Buckets(columns.part(0, 0), samples, True)
    stops = np.append(starts[1:], len(columns))
    bad = np.isnan(columns.values)
    low = high = columns.values
    if bad.any():
        low, high = np.where(bad, np.inf, columns.values), np.where(bad, -np.inf, columns.values)
    lowest = np.repeat(np.minimum.reduceat(low, starts), stops - starts)
    highest = np.repeat(np.maximum.reduceat(high, starts), stops - starts)
    picked = np.concatenate(
        [
            starts,
            stops - 1,
            _first_of(low == lowest, starts, stops),
            _first_of(high == highest, starts, stops),
        ]
    )
    # A bucket with any bad sample shows one, so that a short failure is not smoothed away.
    failed = (columns.quality >= BAD) | bad
    picked = np.concatenate([picked, _first_of(failed, starts, stops)])
    picked = np.sort(picked[picked >= 0])
    picked = picked[np.append(picked[1:] != picked[:-1], True)]  # each once
    return Buckets(
        Columns(columns.times[picked], columns.values[picked], columns.quality[picked]), samples, True
    )


def _first_of(
    wanted: npt.NDArray[np.bool_], starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Index of the first wanted sample of each run [start, stop); -1 where there is none."""
    at = np.flatnonzero(wanted)
    place = np.searchsorted(at, starts)
    found = np.append(at, np.iinfo(np.int64).max)[place]
    return np.where(found < stops, found, -1)


def aggregates(columns: Columns, from_ns: int, to_ns: int, interval_ns: int) -> tuple[Aggregate, ...]:
    """Per interval, of sorted samples that may start with one held from before ``from_ns``.

    A value holds until the next sample; the last one until ``to_ns``. Only good and uncertain samples count in
    minimum, maximum and average; ``good_share`` is the share of time with good quality.
    """
    edges = np.append(np.arange(from_ns, to_ns, interval_ns, dtype=np.int64), to_ns)
    usable = (columns.quality < BAD) & ~np.isnan(columns.values)
    good = usable & (columns.quality < UNCERTAIN)
    rows = []
    bounds = np.searchsorted(columns.times, edges)
    for index in range(len(edges) - 1):
        start, stop = int(bounds[index]), int(bounds[index + 1])
        rows.append(_interval(columns, usable, good, int(edges[index]), int(edges[index + 1]), start, stop))
    return tuple(rows)


def _interval(
    columns: Columns,
    usable: npt.NDArray[np.bool_],
    good: npt.NDArray[np.bool_],
    from_ns: int,
    to_ns: int,
    start: int,
    stop: int,
) -> Aggregate:
    held = max(start - 1, 0)  # with the value that still holds when the interval begins
    part = slice(held, stop)
    times = np.clip(columns.times[part], from_ns, to_ns)
    spans = np.diff(np.append(times, to_ns)).astype(np.float64)
    values, ok = columns.values[part], usable[part]
    weight = float(spans[ok].sum())
    inside = slice(start, stop)
    own = columns.values[inside][usable[inside]]
    average = float((values[ok] * spans[ok]).sum() / weight) if weight > 0 else None
    return Aggregate(
        from_ns,
        to_ns,
        len(own),
        float(own.min()) if len(own) else None,
        float(own.max()) if len(own) else None,
        average,
        float(values[ok][-1]) if ok.any() else None,
        float(spans[good[part]].sum()) / (to_ns - from_ns) if to_ns > from_ns else 0.0,
    )


def merge(parts: list[Columns]) -> Columns:
    return in_time_order(join(parts))
