"""Writing side of the histograms; ``scan.statistics`` reads them.

Buckets are log-linear: below 32 ns one a nanosecond, above 16 an octave, so a value is known to 6.25 %.
"""

from __future__ import annotations

from scan import layout as w
from scan._memory import compiled, get, leading_zeros, put

_SUB_BUCKETS = 1 << w.HISTOGRAM_BITS


@compiled
def bucket_of(value_ns: int) -> int:
    if value_ns < 2 * _SUB_BUCKETS:
        return max(value_ns, 0)
    shift = 63 - w.HISTOGRAM_BITS - leading_zeros(value_ns)
    bucket = (shift << w.HISTOGRAM_BITS) + (value_ns >> shift)
    return min(bucket, w.HISTOGRAM_BUCKETS - 1)


@compiled
def count_value(stats: int, number: int, value_ns: int, scan: int, wall_ns: int) -> None:
    """Counts a time in histogram ``number`` of a task."""
    histogram = stats + 8 * (w.TASK_STATS_HISTOGRAMS + number * w.HISTOGRAM_WORDS)
    bucket = w.G_BUCKETS + bucket_of(value_ns)
    put(histogram, bucket, get(histogram, bucket) + 1)
    put(histogram, w.G_SUM_NS, get(histogram, w.G_SUM_NS) + value_ns)
    if value_ns > get(histogram, w.G_MAX_NS):
        put(histogram, w.G_MAX_NS, value_ns)
        put(histogram, w.G_MAX_SCAN, scan)
        put(histogram, w.G_MAX_WALL_NS, wall_ns)
    put(histogram, w.G_COUNT, get(histogram, w.G_COUNT) + 1)
