"""PID, RAMP, HYSTERESIS, INTEGRAL and DERIVATIVE: the blocks of IEC 61131-3 annex F, second edition, as the
field has them.

Numbers are REAL at the pins. Within a call everything is computed in LREAL and rounded once when it is stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from programs.blocks import Block, block


@block(
    inputs="RUN : BOOL; R1 : BOOL; XIN : REAL; X0 : REAL; CYCLE : TIME", outputs="Q : BOOL; XOUT : REAL",
)  # fmt: skip
def integral(b: Any, context: Any) -> None:
    """Sum of XIN over time in seconds; R1 sets it to X0."""
    b.Q = not b.R1
    if b.R1:
        b.XOUT = b.X0
    elif b.RUN:
        b.XOUT = np.float64(b.XOUT) + np.float64(b.XIN) * (np.float64(b.CYCLE) / 1e9)


@block(
    inputs="RUN : BOOL; XIN : REAL; CYCLE : TIME", outputs="XOUT : REAL", state="_x1 : REAL; _x2 : REAL; _x3 : REAL",
)  # fmt: skip
def derivative(b: Any, context: Any) -> None:
    """Slope of XIN in units a second, from four points; 0 while not RUN or without a cycle time."""
    seconds = np.float64(b.CYCLE) / 1e9
    if b.RUN and seconds > 0.0:
        x, x1, x2, x3 = np.float64(b.XIN), np.float64(b._x1), np.float64(b._x2), np.float64(b._x3)
        b.XOUT = (3.0 * (x - x3) + x1 - x2) / (10.0 * seconds)
        b._x3 = b._x2
        b._x2 = b._x1
        b._x1 = b.XIN
    else:
        b.XOUT = 0.0
        b._x1 = b.XIN
        b._x2 = b.XIN
        b._x3 = b.XIN


@block(inputs="XIN1 : REAL; XIN2 : REAL; EPS : REAL", outputs="Q : BOOL")
def hysteresis(b: Any, context: Any) -> None:
    """TRUE from XIN1 > XIN2 + EPS until XIN1 < XIN2 - EPS."""
    value, middle, half = np.float64(b.XIN1), np.float64(b.XIN2), np.float64(b.EPS)
    if b.Q:
        if value < middle - half:
            b.Q = 0
    elif value > middle + half:
        b.Q = 1


@block(
    inputs="RUN : BOOL; X0 : REAL; X1 : REAL; TR : TIME; CYCLE : TIME", outputs="BUSY : BOOL; XOUT : REAL",
    state="_t : TIME",
)  # fmt: skip
def ramp(b: Any, context: Any) -> None:
    """From X0 to X1 in TR while RUN; back at X0 when not."""
    b.BUSY = b.RUN
    if not b.RUN:
        b.XOUT = b.X0
        b._t = 0
    elif b._t >= b.TR:
        b.BUSY = 0
        b.XOUT = b.X1
    else:
        part = np.float64(b._t) / np.float64(b.TR)
        b.XOUT = np.float64(b.X0) + (np.float64(b.X1) - np.float64(b.X0)) * part
        b._t = b._t + b.CYCLE


@block(
    inputs="AUTO : BOOL; PV : REAL; SP : REAL; X0 : REAL; KP : REAL; TR : REAL; TD : REAL; CYCLE : TIME",
    outputs="XOUT : REAL",
    state="_sum : LREAL; _x1 : LREAL; _x2 : LREAL; _x3 : LREAL",
)
def pid(b: Any, context: Any) -> None:
    """XOUT = KP (e + (sum of e dt) / TR + TD de/dt) with e = PV - SP; TR and TD in seconds.

    In manual (not AUTO) XOUT follows KP X0 and the sum is set so that switching to AUTO is bumpless. TR = 0 is without
    the integral part.
    """
    seconds = np.float64(b.CYCLE) / 1e9
    error = np.float64(b.PV) - np.float64(b.SP)
    reset_time = np.float64(b.TR)
    slope = 0.0
    if b.AUTO:
        b._sum = b._sum + error * seconds
        if seconds > 0.0:
            slope = (3.0 * (error - b._x3) + b._x1 - b._x2) / (10.0 * seconds)
        b._x3 = b._x2
        b._x2 = b._x1
        b._x1 = error
    else:
        b._sum = reset_time * (np.float64(b.X0) - error)
        b._x1 = error
        b._x2 = error
        b._x3 = error
    total = error + slope * np.float64(b.TD)
    if reset_time != 0.0:
        total = total + b._sum / reset_time
    b.XOUT = np.float64(b.KP) * total


BLOCKS: tuple[Block, ...] = (integral, derivative, hysteresis, ramp, pid)
