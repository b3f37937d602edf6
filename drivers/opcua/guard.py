"""Which addresses may connect now: the longer the more often one has failed, whatever it failed at.

Theory. A stranger costs the server most before it has shown who it is: key operations, password hashes, parsing. So
each failure of an address makes its next connections wait, twice as long each time; a success forgives. Connections
that are open are never touched by this, and neither are other addresses.
"""

from __future__ import annotations

import time
from collections import OrderedDict

FAILURES_FREE = 5
BACKOFF_S_MAX = 60.0
FORGET_S = 600.0
ADDRESSES_MAX = 4096  # remembered; a flood of addresses must not fill the memory


class Guard:
    """Failures by address."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def failed(self, address: str) -> float:
        """Counts a failure; how long the address has to wait, in seconds."""
        count = self._count(address) + 1
        self._failures[address] = (count, time.monotonic())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
        return _wait_s(count)

    def succeeded(self, address: str) -> None:
        self._failures.pop(address, None)

    def admits(self, address: str) -> bool:
        count, at = self._failures.get(address, (0, 0.0))
        return time.monotonic() - at >= _wait_s(count)

    def _count(self, address: str) -> int:
        count, at = self._failures.get(address, (0, 0.0))
        return count if time.monotonic() - at < FORGET_S else 0


def _wait_s(failures: int) -> float:
    if failures <= FAILURES_FREE:
        return 0.0
    return float(min(2 ** min(failures - FAILURES_FREE - 1, 16), BACKOFF_S_MAX))
