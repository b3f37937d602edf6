"""The time of an engine's timers: never goes back, does not follow steps of the wall clock, survives restarts.

While the process runs, it follows the monotonic clock. While it is away, the wall clock's difference counts, never a
negative one. Deadlines can therefore be stored as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

AWAY_NS_MAX = 366 * 86_400 * 1_000_000_000  # a wall clock that jumped further was never set


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept with each transaction: the two clocks at one moment."""

    engine_ns: int = 0
    wall_ns: int = 0


class AlarmClock:
    def __init__(self, stored: Stored, *, wall_ns: int, mono_ns: int) -> None:
        away = wall_ns - stored.wall_ns if stored.wall_ns else 0
        self._base = stored.engine_ns + min(max(away, 0), AWAY_NS_MAX)
        self._mono = mono_ns

    def at(self, mono_ns: int) -> int:
        return self._base + max(mono_ns - self._mono, 0)
