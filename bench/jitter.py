"""Wake-up latency of a task against ``cyclictest`` at the same priority and period: ``./dev bench jitter``.

Idle, and with load: readers that copy snapshots flat out, a TCP client that asks flat out, a process that computes.
Rounds alternate between the two, so that both see the same machine; figures are medians over the rounds, the
ratio is ours to theirs. Needs cyclictest (Debian: rt-tests) and the right to SCHED_FIFO.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator

from _scan import Running, empty_application, running

from scan import NodeView

ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "4.0"))
PERIODS_US = (1000, 250)
PRIORITY = 80
HISTOGRAM_US = 20_000
LIMIT = 1.2
PERCENTS = (50.0, 99.0, 99.9)
Figures = dict[str, float]


def measure_ours(run: Running) -> Figures:
    stats = run.measure(SECONDS)
    figures = {f"p{percent:g}": stats.latency.percentile_ns(percent) / 1000 for percent in PERCENTS}
    execution = {"execution p99.9": stats.execution.percentile_ns(99.9) / 1000}
    return figures | {"max": stats.latency.max_ns / 1000} | execution


def measure_cyclictest(period_us: int) -> Figures:
    """cyclictest for the same time; its histogram counts whole µs."""
    loops = int(SECONDS * 1e6 / period_us)
    command = [
        "cyclictest",
        "-m",
        "-q",
        f"-p{PRIORITY}",
        "-t1",
        f"-i{period_us}",
        f"-l{loops}",
        f"-h{HISTOGRAM_US}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [
        (int(us), int(count)) for us, count in re.findall(r"^(\d{6}) (\d{6,})", done.stdout, re.MULTILINE)
    ]
    total, seen = sum(count for _, count in rows), 0
    figures: Figures = {}
    for us, count in rows:
        seen += count
        for percent in PERCENTS:
            if f"p{percent:g}" not in figures and seen >= total * percent / 100:
                figures[f"p{percent:g}"] = us + 1  # a bucket of theirs ends where the next begins, as ours
    longest = re.search(r"# Max Latencies: (\d+)", done.stdout)
    assert longest, done.stdout[-500:]
    return figures | {"max": float(longest[1])}


# ---------------------------------------------------------------- load


def read_flat_out(directory: str) -> None:
    view = NodeView.open(pathlib.Path(directory))
    while True:
        view.snapshot()


def compute_flat_out() -> None:
    number = 0
    while True:
        number = number * 31 % 1_000_003 + 1


def ask_flat_out() -> None:
    """Requests and answers of a hundred bytes over the loopback, as fast as they go."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        peer, _ = server.accept()
        with peer:
            while True:
                client.sendall(bytes(100))
                peer.sendall(peer.recv(100))
                client.recv(100)


@contextlib.contextmanager
def load(directory: pathlib.Path) -> Iterator[None]:
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=read_flat_out, args=(str(directory),), daemon=True),
        context.Process(target=ask_flat_out, daemon=True),
        context.Process(target=compute_flat_out, daemon=True),
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


# ---------------------------------------------------------------- rounds


def compare(period_us: int, *, loaded: bool) -> tuple[dict[str, tuple[float, float]], float]:
    """Medians of ours and theirs by figure, and that of our execution p99.9. Only one of the two runs at a time."""
    mine: list[Figures] = []
    theirs: list[Figures] = []
    application = empty_application(input_bytes=250, output_bytes=250, period_ns=period_us * 1000)
    with running(application) as run, load(run.directory) if loaded else contextlib.nullcontext():
        for _ in range(ROUNDS):
            mine.append(measure_ours(run))
            with run.stopped():
                theirs.append(measure_cyclictest(period_us))
    figures = {
        name: (statistics.median(one[name] for one in mine), statistics.median(one[name] for one in theirs))
        for name in theirs[0]
    }
    return figures, statistics.median(one["execution p99.9"] for one in mine)


def main() -> int:
    if shutil.which("cyclictest") is None:
        print("cyclictest is missing: apt-get install rt-tests")
        return 2
    print(f"wake-up latency in µs, median of {ROUNDS} rounds of {SECONDS:g} s, alternating, FIFO {PRIORITY}")
    worst = 0.0
    for period_us in PERIODS_US:
        execution = []
        for loaded in (False, True):
            found, execution_us = compare(period_us, loaded=loaded)
            execution.append(execution_us)
            print(f"  task of {period_us} µs, {'with load' if loaded else 'idle'}")
            for name, (mine, theirs) in found.items():
                print(
                    f"    {name:6} tickwork {mine:8.1f}  cyclictest {theirs:8.1f}  ratio {mine / theirs:.2f}"
                )
            worst = max(worst, *(found[name][0] / found[name][1] for name in ("p99.9", "max")))
        idle, busy = execution
        print(f"  execution p99.9: idle {idle:.1f}  with load {busy:.1f}  ratio {busy / idle:.2f}")
    print(f"worst ratio of p99.9 and max: {worst:.2f} (at most {LIMIT})")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
