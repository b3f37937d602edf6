"""Figures of one remote server for people: replies, failures and how long an answer took."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

SAMPLES = 512  # of the latest answers: percentiles of what is, not of what was last week
RATE_S = 1.0


class Figures:
    """Counters since the start of the node and latencies of the latest answers."""

    def __init__(self) -> None:
        self.replies = 0
        self.requests = 0
        self.writes = 0
        self.failures = 0
        self.connects = 0
        self.last_error = ""
        self._latencies_ns: deque[int] = deque(maxlen=SAMPLES)
        self._rate = (time.monotonic(), 0, 0.0)

    def answered(self, latency_ns: int) -> None:
        self.requests += 1
        self.replies += 1
        self._latencies_ns.append(latency_ns)

    def failed(self, why: str) -> None:
        self.failures += 1
        self.last_error = why

    def percentile_ns(self, percent: float) -> int:
        """0 when nothing has been answered yet."""
        ordered = sorted(self._latencies_ns)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0

    def within(self, bounds_ns: tuple[int, ...]) -> tuple[int, ...]:
        """How many of the latest lie within each bound, and all of them."""
        counts = [sum(value <= bound for value in self._latencies_ns) for bound in bounds_ns]
        return (*counts, len(self._latencies_ns))

    def rate_per_s(self) -> float:
        """Replies a second, over a second or more."""
        since_s, count, rate = self._rate
        passed_s = time.monotonic() - since_s
        if passed_s >= RATE_S:
            rate = (self.replies - count) / passed_s
            self._rate = (time.monotonic(), self.replies, rate)
        return rate

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "replies": self.replies,
            "writes": self.writes,
            "failures": self.failures,
            "reconnects": max(self.connects - 1, 0),
            "latency_p50_us": self.percentile_ns(50) // 1000,
            "latency_p99_us": self.percentile_ns(99) // 1000,
            "last_error": self.last_error,
        }
