"""TON, TOF, TP and RTC (IEC 61131-3:2013 table 46): state machines over IEC time, which is constant within a scan.

Decisions where the standard's diagrams leave room (docs/language/semantics.md): PT of zero or less elapses in
the call that starts the timer; while a timer runs, the PT of each call counts; a timer that has elapsed stays
so until its input changes, whatever PT becomes.
"""

from __future__ import annotations

from typing import Any

from programs.blocks import Block, block

_IDLE, _RUNNING, _ELAPSED = 0, 1, 2

_TIMERS = ("", "_TIME", "_LTIME")


def _pins(variant: str) -> dict[str, str]:
    kind = "LTIME" if variant == "_LTIME" else "TIME"
    return {
        "inputs": f"IN : BOOL; PT : {kind}",
        "outputs": f"Q : BOOL; ET : {kind}",
        "state": "_phase : USINT; _start : LTIME",
    }


def _ton(b: Any, context: Any) -> None:
    """On-delay: Q follows IN after PT."""
    if not b.IN:
        b._phase = 0
        b.Q = 0
        b.ET = 0
    else:
        if b._phase == 0:
            b._phase = 1
            b._start = context.now_ns
        if b._phase == 1:
            elapsed = context.now_ns - b._start
            if elapsed >= b.PT:
                b._phase = 2
                b.Q = 1
                b.ET = max(b.PT, 0)
            else:
                b.ET = elapsed


def _tof(b: Any, context: Any) -> None:
    """Off-delay: Q stays PT longer than IN. Phase 2 means that IN was on in the last call."""
    if b.IN:
        b._phase = 2
        b.Q = 1
        b.ET = 0
    else:
        if b._phase == 2:
            b._phase = 1
            b._start = context.now_ns
        if b._phase == 1:
            elapsed = context.now_ns - b._start
            if elapsed >= b.PT:
                b._phase = 0
                b.Q = 0
                b.ET = max(b.PT, 0)
            else:
                b.ET = elapsed


def _tp(b: Any, context: Any) -> None:
    """Pulse: Q for PT from a rising edge of IN; not to be started again before it has ended and IN was off."""
    if b._phase == 0 and b.IN:
        b._phase = 1
        b._start = context.now_ns
        b.Q = 1
    if b._phase == 1:
        elapsed = context.now_ns - b._start
        if elapsed >= b.PT:
            b._phase = 2
            b.Q = 0
            b.ET = max(b.PT, 0)
        else:
            b.ET = elapsed
    if b._phase == 2 and not b.IN:
        b._phase = 0
        b.ET = 0


@block(inputs="IN : BOOL; PDT : DT", outputs="Q : BOOL; CDT : DT", state="_last : BOOL; _offset : LTIME")
def rtc(b: Any, context: Any) -> None:
    """Real-time clock: set to PDT at a rising edge of IN, runs on while IN."""
    if b.IN and not b._last:
        b._offset = b.PDT - context.now_ns
    if b.IN:
        b.CDT = context.now_ns + b._offset
    b.Q = b.IN
    b._last = b.IN


BLOCKS: tuple[Block, ...] = (
    *(block(name=f"TON{variant}", **_pins(variant))(_ton) for variant in _TIMERS),  # type: ignore[arg-type]
    *(block(name=f"TOF{variant}", **_pins(variant))(_tof) for variant in _TIMERS),  # type: ignore[arg-type]
    *(block(name=f"TP{variant}", **_pins(variant))(_tp) for variant in _TIMERS),  # type: ignore[arg-type]
    rtc,
)
