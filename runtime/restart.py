"""When to start a process again that ended by itself: soon at first, later each time, at last not any more."""

from __future__ import annotations

from collections import deque

DELAY_FIRST_S = 0.1
DELAY_MAX_S = 10.0


class RestartPolicy:
    """``restarts_max`` restarts within ``window_s`` seconds; None = any number, with growing pauses."""

    def __init__(self, restarts_max: int | None, window_s: float) -> None:
        self._restarts_max = restarts_max
        self._window_s = window_s
        self._times: deque[float] = deque()
        self.restarts = 0

    def next_delay_s(self, now_s: float) -> float | None:
        """The pause before the next start; None when it ended too often to try again."""
        while self._times and now_s - self._times[0] > self._window_s:
            self._times.popleft()
        recent = len(self._times)
        if self._restarts_max is not None and recent >= self._restarts_max:
            return None
        self._times.append(now_s)
        self.restarts += 1
        return min(DELAY_FIRST_S * 2**recent if recent < 16 else DELAY_MAX_S, DELAY_MAX_S)


class Backoff:
    """Growing pauses between attempts, spread so that a thousand nodes do not come at once."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._attempts = 0

    def next_s(self, random: float) -> float:
        """``random`` in 0..1; the pause lies between half and the whole of the doubled value."""
        pause = min(self._first_s * 2 ** min(self._attempts, 16), self._max_s)
        self._attempts += 1
        return pause * (0.5 + random / 2)

    def reset(self) -> None:
        self._attempts = 0
