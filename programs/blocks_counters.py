"""CTU, CTD and CTUD (IEC 61131-3:2013 table 45) for all their types.

A counter stops at the limit of its type. The edge of a count input is sampled in each call, also while the counter is
held by R or LD, so that a level that lasts longer than the reset does not count afterwards.
"""

from __future__ import annotations

from typing import Any

from programs.blocks import Block, block

_LIMITS = {
    "": ("INT", -(2**15), 2**15 - 1),
    "_INT": ("INT", -(2**15), 2**15 - 1),
    "_DINT": ("DINT", -(2**31), 2**31 - 1),
    "_LINT": ("LINT", -(2**63), 2**63 - 1),
    "_UDINT": ("UDINT", 0, 2**32 - 1),
    "_ULINT": ("ULINT", 0, 2**64 - 1),
}


def _ctu(variant: str) -> Block:
    kind, _, maximum = _LIMITS[variant]

    @block(
        name=f"CTU{variant}", inputs=f"CU : BOOL; R : BOOL; PV : {kind}", outputs=f"Q : BOOL; CV : {kind}",
        state="_last : BOOL", maximum=maximum,
    )  # fmt: skip
    def ctu(b: Any, context: Any) -> None:
        """Counts rising edges of CU up."""
        if b.R:
            b.CV = 0
        elif b.CU and not b._last and maximum > b.CV:
            b.CV += 1
        b._last = b.CU
        b.Q = b.CV >= b.PV

    return ctu


def _ctd(variant: str) -> Block:
    kind, minimum, _ = _LIMITS[variant]

    @block(
        name=f"CTD{variant}", inputs=f"CD : BOOL; LD : BOOL; PV : {kind}", outputs=f"Q : BOOL; CV : {kind}",
        state="_last : BOOL", minimum=minimum,
    )  # fmt: skip
    def ctd(b: Any, context: Any) -> None:
        """Counts rising edges of CD down from PV."""
        if b.LD:
            b.CV = b.PV
        elif b.CD and not b._last and minimum < b.CV:
            b.CV -= 1
        b._last = b.CD
        b.Q = b.CV <= 0

    return ctd


def _ctud(variant: str) -> Block:
    kind, minimum, maximum = _LIMITS[variant]

    @block(
        name=f"CTUD{variant}", inputs=f"CU : BOOL; CD : BOOL; R : BOOL; LD : BOOL; PV : {kind}",
        outputs=f"QU : BOOL; QD : BOOL; CV : {kind}", state="_last_up : BOOL; _last_down : BOOL",
        minimum=minimum, maximum=maximum,
    )  # fmt: skip
    def ctud(b: Any, context: Any) -> None:
        """Counts up and down; both edges in one call cancel out. R beats LD, LD beats counting."""
        up = b.CU and not b._last_up
        down = b.CD and not b._last_down
        if b.R:
            b.CV = 0
        elif b.LD:
            b.CV = b.PV
        elif up and not down:
            if maximum > b.CV:
                b.CV += 1
        elif down and not up and minimum < b.CV:
            b.CV -= 1
        b._last_up = b.CU
        b._last_down = b.CD
        b.QU = b.CV >= b.PV
        b.QD = b.CV <= 0

    return ctud


BLOCKS: tuple[Block, ...] = tuple(make(variant) for make in (_ctu, _ctd, _ctud) for variant in _LIMITS)
