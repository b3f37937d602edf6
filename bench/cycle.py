"""What the engine adds to a scan: an empty program with 1,000 inputs and 1,000 outputs, against 3 µs.

The time is that of the whole scan as the engine measures it in a real scan process at 1 ms: reading the inputs, the
commands, the call, publishing outputs and snapshot. The reference of the ratio is the limit that we set ourselves.
For orientation the same scan in virtual time, back to back, without clock and without segments.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from _scan import empty_application, running

from scan import Channel, InputsWriter, IoMap, VirtualEngine
from scan import layout as w

LIMIT_US = 3.0
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "1.0"))
SHAPES = {
    "1,000 + 1,000 BOOL": 125,
    "1,000 + 1,000 INT": 2_000,
    "1,000 + 1,000 REAL": 4_000,
}
REPLAYED = 50_000


def measure_shape(size: int) -> tuple[float, float]:
    """Median over the rounds of p50 and p99 of the scan, in µs."""
    channels = IoMap(
        tuple(Channel(f"c{n}", "d", "in", n, 1) for n in range(min(size, 1000))), inputs_size=size
    )
    application = empty_application(input_bytes=size, output_bytes=size, period_ns=1_000_000)
    p50, p99 = [], []
    with running(application) as run:
        writer = InputsWriter.create(run.directory, channels)
        for _ in range(ROUNDS):
            writer.publish()
            stats = run.measure(SECONDS)
            p50.append(stats.execution.percentile_ns(50) / 1000)
            p99.append(stats.execution.percentile_ns(99) / 1000)
    return statistics.median(p50), statistics.median(p99)


def measure_virtual(size: int) -> float:
    """µs a scan in virtual time, replayed from records that change nothing."""
    import numpy as np

    engine = VirtualEngine(empty_application(input_bytes=size, output_bytes=size, period_ns=1_000_000))
    records = np.zeros((REPLAYED, w.RECORD_HEAD_WORDS + 3), np.int64)
    records[:, 0] = (8 * records.shape[1]) << 8 | w.RECORD_SCAN
    records[:, 1] = np.arange(1, REPLAYED + 1)
    records[:, 3] = np.arange(REPLAYED) * 1_000_000
    data = records.tobytes()
    best = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        assert engine.replay(data) == len(data)
        best.append((time.perf_counter() - begun) / REPLAYED * 1e6)
    return statistics.median(best)


def main() -> int:
    print(f"engine around an empty program at 1 ms, median of {ROUNDS} rounds of {SECONDS:g} s")
    worst = 0.0
    for name, size in SHAPES.items():
        p50, p99 = measure_shape(size)
        worst = max(worst, p50 / LIMIT_US)
        virtual = measure_virtual(size)
        print(
            f"  {name:20} p50 {p50:5.2f} µs  p99 {p99:5.2f} µs  virtual {virtual:5.2f} µs"
            f"  ratio to {LIMIT_US:g} µs: {p50 / LIMIT_US:.2f}"
        )
    print(f"worst ratio: {worst:.2f} (at most 1.00)")
    return int(worst > 1)


if __name__ == "__main__":
    sys.exit(main())
