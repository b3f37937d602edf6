"""Counters and latency of one device, cheap enough for every request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from drivers.modbus.pdu import Failure, FailureKind

_SHIFT = 8  # 256 ns resolution at the low end
_BUCKETS = 160
RATE_NS = 500_000_000


# What a statistic tag of a scan group, and of a device, may show.
GROUP_FIGURES = (
    "rate", "replies", "failures", "missed", "retries", "timeouts", "mismatches", "exceptions", "latency_p50_us",
    "latency_p99_us", "latency_max_us", "quality",
)  # fmt: skip
DEVICE_FIGURES = (*GROUP_FIGURES, "requests", "writes", "demotions", "reconnects")


class LatencyHistogram:
    """Log-linear buckets, four to an octave: the percentile is right within 25 %."""

    __slots__ = ("counts", "max_ns", "total")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.total = 0
        self.max_ns = 0

    def add(self, latency_ns: int) -> None:
        value = latency_ns >> _SHIFT
        octave = value.bit_length()
        index = value if octave < 3 else 4 * (octave - 2) + (value >> octave - 3 & 3)
        self.counts[index if index < _BUCKETS else _BUCKETS - 1] += 1
        self.total += 1
        if latency_ns > self.max_ns:
            self.max_ns = latency_ns

    def counts_within(self, bounds_ns: Sequence[int]) -> tuple[int, ...]:
        """How many lie within each bound, and all of them."""
        uppers = [_upper_ns(index) for index in range(_BUCKETS)]
        within = [
            sum(n for n, upper in zip(self.counts, uppers, strict=True) if upper <= b) for b in bounds_ns
        ]
        return (*within, self.total)

    def buckets(self) -> list[tuple[int, int]]:
        """Upper bound in nanoseconds and count of each bucket that has any."""
        return [(_upper_ns(index), count) for index, count in enumerate(self.counts) if count]

    def figures(self) -> dict[str, float]:
        """In microseconds: 32 bits of nanoseconds would end after four seconds."""
        return {
            "latency_p50_us": self.percentile_ns(50) // 1000,
            "latency_p99_us": self.percentile_ns(99) // 1000,
            "latency_max_us": self.max_ns // 1000,
        }

    def percentile_ns(self, percent: float) -> int:
        """Upper bound of the bucket in which the percentile lies; 0 without measurements."""
        wanted = self.total * percent / 100
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(_upper_ns(index), self.max_ns)
        return 0


def _upper_ns(index: int) -> int:
    value = index + 1
    if value >= 4:
        octave, quarter = divmod(value, 4)
        value = (4 + quarter) << octave - 1
    return (value << _SHIFT) - 1


class Rate:
    """Counts per second over the last half second or more."""

    __slots__ = ("_at_ns", "_count", "per_s")

    def __init__(self) -> None:
        self.per_s = 0.0
        self._count = 0
        self._at_ns = 0

    def update(self, count: int, now_ns: int) -> float:
        elapsed_ns = now_ns - self._at_ns
        if not self._at_ns:
            self._count, self._at_ns = count, now_ns
        elif elapsed_ns >= RATE_NS:
            self.per_s = round((count - self._count) * 1e9 / elapsed_ns, 2)
            self._count, self._at_ns = count, now_ns
        return self.per_s


class BlockStatistics:
    """What became of one repeated request, or of those of a scan group."""

    __slots__ = (
        "exceptions", "failures", "latency", "mismatches", "missed", "rate", "replies", "retries",
        "timeouts",
    )  # fmt: skip

    def __init__(self) -> None:
        self.replies = 0
        self.failures = 0
        self.missed = 0
        self.retries = 0
        self.timeouts = 0
        self.mismatches = 0
        self.exceptions: Counter[int] = Counter()
        self.latency = LatencyHistogram()
        self.rate = Rate()

    def answered(self, latency_ns: int) -> None:
        self.replies += 1
        self.latency.add(latency_ns)

    def failed(self, failure: Failure) -> None:
        """A reply that was none: it may still be asked again."""
        if failure.exception:
            self.exceptions[failure.exception] += 1
        elif failure.kind is FailureKind.TIMEOUT:
            self.timeouts += 1
        else:
            self.mismatches += 1

    def figures(self) -> dict[str, float]:
        return {
            "replies": self.replies,
            "failures": self.failures,
            "missed": self.missed,
            "retries": self.retries,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            **exception_figures(self.exceptions),
            **self.latency.figures(),
        }

    def as_dict(self, now_ns: int) -> dict[str, object]:
        return {
            "replies": self.replies,
            "rate_per_s": self.rate.update(self.replies, now_ns),
            "failures": self.failures,
            "missed": self.missed,
            "retries": self.retries,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            "exceptions": {str(code): count for code, count in sorted(self.exceptions.items())},
            "latency_p50_ns": self.latency.percentile_ns(50),
            "latency_p99_ns": self.latency.percentile_ns(99),
            "latency_max_ns": self.latency.max_ns,
            "latency_buckets_ns": self.latency.buckets(),
        }


def exception_figures(exceptions: Mapping[int, int]) -> dict[str, float]:
    """All of them, and by code."""
    by_code = {f"exceptions {code}": count for code, count in exceptions.items()}
    return {"exceptions": sum(exceptions.values()), **by_code}


class Statistics:
    """What a device did since it was configured. ``exceptions`` counts by exception code."""

    def __init__(self) -> None:
        self.requests = 0
        self.replies = 0
        self.timeouts = 0
        self.mismatches = 0
        self.retries = 0
        self.missed = 0  # due again while the previous request was still open
        self.writes = 0
        self.demotions = 0
        self.reconnects = 0
        self.exceptions: Counter[int] = Counter()
        self.latency = LatencyHistogram()
        self.rate = Rate()
        self.last_error = ""

    @property
    def errors(self) -> int:
        return self.timeouts + self.mismatches + sum(self.exceptions.values())

    def figures(self) -> dict[str, float]:
        return {
            "requests": self.requests,
            "replies": self.replies,
            "writes": self.writes,
            "failures": self.errors,
            "missed": self.missed,
            "retries": self.retries,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            "demotions": self.demotions,
            "reconnects": self.reconnects,
            **exception_figures(self.exceptions),
            **self.latency.figures(),
        }

    def as_dict(self) -> dict[str, object]:
        return {
            "requests": self.requests,
            "replies": self.replies,
            "writes": self.writes,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            "retries": self.retries,
            "missed": self.missed,
            "demotions": self.demotions,
            "reconnects": self.reconnects,
            "exceptions": {str(code): count for code, count in sorted(self.exceptions.items())},
            "latency_p50_ns": self.latency.percentile_ns(50),
            "latency_p99_ns": self.latency.percentile_ns(99),
            "latency_max_ns": self.latency.max_ns,
            "latency_buckets_ns": self.latency.buckets(),
            "last_error": self.last_error,
        }
