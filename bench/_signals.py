"""Reference signals for storage: the mix of a plant, made from a seed.

45 % analog inputs of 12 bit, 10 % raw 32-bit floats, 15 % setpoints, 20 % booleans, 10 % counters; one sample a second
with 1.5 ms of jitter, stamped in whole milliseconds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

KINDS = ("analog", "float", "setpoint", "bool", "counter")
SHARES = (0.45, 0.10, 0.15, 0.20, 0.10)
T0 = 1_790_000_000_000_000_000
MS = 1_000_000


def kind_of(tag: int) -> str:
    return KINDS[int(np.searchsorted(np.cumsum(SHARES), (tag * 0.6180339887) % 1.0, "right"))]


def times(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    jitter = np.rint(rng.normal(0, 1.5, count)).astype(np.int64)
    return T0 + (np.arange(count, dtype=np.int64) * 1000 + jitter) * MS


def values(tag: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    kind = kind_of(tag)
    if kind == "analog":
        level = 2048 + np.cumsum(rng.normal(0, 2, count)) + rng.normal(0, 1, count)
        return np.rint(np.clip(level, 0, 4095)) * (10.0 / 4096)
    if kind == "float":
        return (50 + np.cumsum(rng.normal(0, 0.01, count))).astype(np.float32).astype(np.float64)
    if kind == "setpoint":
        return np.repeat(np.rint(rng.uniform(0, 100, count // 600 + 1)), 600)[:count]
    if kind == "bool":
        return (np.cumsum(rng.random(count) < 0.01) % 2).astype(np.float64)
    return np.cumsum(rng.integers(0, 3, count)).astype(np.float64)
