"""Dynamic elements for feed-forward control."""

from typing import Any

from programs import block

NANOSECONDS = 1_000_000_000.0


@block(
    inputs="X : LREAL; LEAD : TIME; LAG : TIME",
    outputs="Y : LREAL",
    state="_last_x : LREAL; _last_ns : LINT; _started : BOOL",
)
def lead_lag(b: Any, context: Any) -> None:
    """Y follows X with the time constant LAG, ahead by LEAD: (1 + LEAD s) / (1 + LAG s), by backward differences."""
    if not b._started:
        b.Y = b.X
        b._started = True
    else:
        period = (context.now_ns - b._last_ns) / NANOSECONDS
        lead = b.LEAD / NANOSECONDS
        lag = b.LAG / NANOSECONDS
        if lag + period > 0.0:
            b.Y = (lag * b.Y + (period + lead) * b.X - lead * b._last_x) / (lag + period)
    b._last_x = b.X
    b._last_ns = context.now_ns
