"""R_TRIG, F_TRIG, SR, RS and SEMA (IEC 61131-3:2013 tables 43 and 44)."""

from __future__ import annotations

from typing import Any

from programs.blocks import Block, block


@block(inputs="CLK : BOOL", outputs="Q : BOOL", state="_last : BOOL")
def r_trig(b: Any, context: Any) -> None:
    """TRUE for one call at a rising edge; also in the first call if CLK is TRUE then."""
    b.Q = b.CLK and not b._last
    b._last = b.CLK


@block(inputs="CLK : BOOL", outputs="Q : BOOL", state="_last_low : BOOL")
def f_trig(b: Any, context: Any) -> None:
    """TRUE for one call at a falling edge; also in the first call if CLK is FALSE then, as the standard's text
    has it.
    """
    b.Q = not b.CLK and not b._last_low
    b._last_low = not b.CLK


@block(inputs="S1 : BOOL; R : BOOL", outputs="Q1 : BOOL")
def sr(b: Any, context: Any) -> None:
    """Bistable, set dominant."""
    b.Q1 = b.S1 or (b.Q1 and not b.R)


@block(inputs="S : BOOL; R1 : BOOL", outputs="Q1 : BOOL")
def rs(b: Any, context: Any) -> None:
    """Bistable, reset dominant."""
    b.Q1 = not b.R1 and (b.S or b.Q1)


@block(inputs="CLAIM : BOOL; RELEASE : BOOL", outputs="BUSY : BOOL", state="_taken : BOOL")
def sema(b: Any, context: Any) -> None:
    """Semaphore without interruption: BUSY says that it was taken before this call."""
    b.BUSY = b._taken
    if b.CLAIM:
        b._taken = 1
    elif b.RELEASE:
        b.BUSY = 0
        b._taken = 0


BLOCKS: tuple[Block, ...] = (r_trig, f_trig, sr, rs, sema)
