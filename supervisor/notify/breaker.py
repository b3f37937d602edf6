"""The circuit of a channel: after failures in a row nothing is sent for a while, then one message probes. Pure."""

from __future__ import annotations

from typing import Literal

from supervisor.notify.model import SECOND, Breaker

PAUSE_FIRST_NS = 60 * SECOND
PAUSE_MAX_NS = 900 * SECOND
RETRY_FIRST_NS = 5 * SECOND
RETRY_MAX_NS = 300 * SECOND

Circuit = Literal["closed", "open", "probing"]


def circuit(breaker: Breaker, now_ns: int) -> Circuit:
    """ "closed": send. "open": do not. "probing": send one and see."""
    if not breaker.open_until_ns:
        return "closed"
    return "open" if now_ns < breaker.open_until_ns else "probing"


def failed(breaker: Breaker, now_ns: int, fails_max: int, problem: str) -> Breaker:
    """One more failure. A failed probe opens the circuit again, for twice as long."""
    failures = breaker.failures + 1
    if not breaker.open_until_ns and failures < fails_max:
        return Breaker(failures, breaker.opened, 0, problem)
    pause = min(PAUSE_FIRST_NS << min(breaker.opened, 10), PAUSE_MAX_NS)
    return Breaker(failures, breaker.opened + 1, now_ns + pause, problem)


def succeeded(breaker: Breaker) -> Breaker:
    return Breaker()


def retry_ns(tries: int) -> int:
    """How long a message waits after its ``tries``-th failure."""
    return min(RETRY_FIRST_NS << min(max(tries - 1, 0), 10), RETRY_MAX_NS)
