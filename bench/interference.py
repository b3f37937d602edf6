"""Whether what others do lengthens a scan: execution time p99.9 with and without load, in alternating rounds.

The load (``_load``): a Modbus client flat out, an OPC UA client with 10,000 monitored items, a runtime's page with its
stream, a compiler; the recorder is on all the time. Rounds with the load held and let go alternate on one node.

Beside the node a second scan process of the same priority computes a fixed time in registers alone: nothing but the
machine (a hypervisor that takes the CPU away, a slower clock) can lengthen that. Its own ratio is the physical
reference; where it is above 1 by itself the load is not what lengthens a scan, and ours is judged against it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time

import numpy as np
from _load import loaded_node
from _scan import running, steady_application

from scan import Histogram, NodeView

LIMIT = 1.2
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "6"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "4.0"))
PERCENTS = (50.0, 99.0, 99.9)


class Gained:
    """What the histogram of a task's execution gains in the rounds of one kind."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self._sum: np.ndarray | None = None

    def begin(self) -> None:
        self._view.refresh()
        self._before = self._view.stats()[0].execution

    def end(self) -> None:
        counts = self._view.stats()[0].execution.counts - self._before.counts
        self._sum = counts if self._sum is None else self._sum + counts

    def percentile_us(self, percent: float) -> float:
        assert self._sum is not None
        whole: Histogram = dataclasses.replace(
            self._before, counts=self._sum, count=int(self._sum.sum()), max_ns=1 << 62
        )
        return whole.percentile_ns(percent) / 1000


def stolen_s() -> float:
    """CPU time that the hypervisor took away since the machine started."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    stolen = {False: 0.0, True: 0.0}
    with (
        loaded_node() as (node, load),
        running(steady_application(period_ns=1_000_000)) as reference,
    ):
        views = (node.view(), reference.view)
        gained = {loaded: [Gained(view) for view in views] for loaded in (False, True)}
        for number in range(2 * ROUNDS):
            loaded = bool(number % 2)
            (load.release if loaded else load.hold)()
            time.sleep(1.0)
            before = stolen_s()
            for one in gained[loaded]:
                one.begin()
            time.sleep(SECONDS)
            for one in gained[loaded]:
                one.end()
            stolen[loaded] += stolen_s() - before
        told = load.told()
    print(f"execution time of a scan at 1 ms, {ROUNDS} rounds of {SECONDS:g} s each with and without load")
    print(
        f"  the load did: {told}; stolen by the hypervisor {stolen[False]:.2f} s without, {stolen[True]:.2f} s with"
    )
    ratios = []
    for index, name in enumerate(("scan of the node", "registers alone")):
        figures = [
            [gained[loaded][index].percentile_us(percent) for percent in PERCENTS] for loaded in (False, True)
        ]
        shown = "  ".join(
            f"p{percent:g} {idle:.1f} -> {busy:.1f} µs"
            for percent, idle, busy in zip(PERCENTS, *figures, strict=True)
        )
        ratios.append(figures[1][-1] / figures[0][-1])
        print(f"  {name:16} {shown}  ratio of p99.9 {ratios[-1]:.2f}")
    ours, machine = ratios
    print(f"ratio with load to without: {ours:.2f} (at most {LIMIT:g}); of the machine alone: {machine:.2f}")
    return int(ours > LIMIT * max(machine, 1.0))


if __name__ == "__main__":
    sys.exit(main())
