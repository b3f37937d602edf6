"""Wake-up latency of a task against ``cyclictest`` at the same priority and period: ``./dev bench jitter``.

Idle, and with load: readers that copy snapshots flat out, a TCP client that asks flat out, a process that computes;
then the task of a whole node with its clients (``_load``): Modbus flat out, 10,000 monitored OPC UA items, a page, a
compiler. A task wakes up early and waits awake (``lead_us`` of the plant file), which ``cyclictest`` does not: that is
why ours may be far below 1. Rounds alternate between the two, so that both see the same machine; figures are medians
over the rounds, the ratio is ours to theirs. Needs cyclictest (Debian: rt-tests) and the right to SCHED_FIFO.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from _load import loaded_node
from _node import Node
from _scan import Running, empty_application, running

from scan import Histogram, NodeView

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


def node_figures(node: Node) -> Figures:
    """Of the next seconds, from what the histograms gained."""
    before = node.view().stats()[0]
    time.sleep(SECONDS)
    after = node.view().stats()[0]
    latency = _gained(before.latency, after.latency)
    figures = {f"p{percent:g}": latency(percent) for percent in PERCENTS}
    return figures | {
        "max": latency(100.0),
        "execution p99.9": _gained(before.execution, after.execution)(99.9),
    }


def _gained(before: Histogram, after: Histogram) -> Callable[[float], float]:
    restarted = after.count < before.count
    counts = after.counts if restarted else after.counts - before.counts
    assert counts.sum() > 0, "the node does not scan"
    gained = dataclasses.replace(after, counts=counts, count=int(counts.sum()))
    return lambda percent: gained.percentile_ns(percent) / 1000


def compare_node(*, attached: bool) -> tuple[dict[str, tuple[float, float]], float]:
    """As ``compare``, for the task of 1 ms of a whole node, with its clients held or let go."""
    mine: list[Figures] = []
    theirs: list[Figures] = []
    with loaded_node() as (node, clients):
        (clients.release if attached else clients.hold)()
        time.sleep(1)
        for _ in range(ROUNDS):
            mine.append(node_figures(node))
            node.command("stop")
            theirs.append(measure_cyclictest(1000))
            node.command("start")
        print(f"  {clients.told()}")
    figures = {
        name: (statistics.median(one[name] for one in mine), statistics.median(one[name] for one in theirs))
        for name in theirs[0]
    }
    return figures, statistics.median(one["execution p99.9"] for one in mine)


def show(title: str, found: dict[str, tuple[float, float]]) -> float:
    """Prints a comparison; the worst ratio of p99.9 and maximum."""
    print(f"  {title}")
    for name, (mine, theirs) in found.items():
        print(f"    {name:6} tickwork {mine:8.1f}  cyclictest {theirs:8.1f}  ratio {mine / theirs:.2f}")
    return max(found[name][0] / found[name][1] for name in ("p99.9", "max"))


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
            worst = max(worst, show(f"task of {period_us} µs, {'with load' if loaded else 'idle'}", found))
        idle, busy = execution
        print(f"  execution p99.9: idle {idle:.1f}  with load {busy:.1f}  ratio {busy / idle:.2f}")
    execution = []
    for attached in (False, True):
        found, execution_us = compare_node(attached=attached)
        execution.append(execution_us)
        title = "Modbus flat out, 10,000 OPC UA items, page, compiler" if attached else "clients held"
        worst = max(worst, show(f"whole node, task of 1000 µs, {title}", found))
    print(f"  execution p99.9: alone {execution[0]:.1f}  with clients {execution[1]:.1f}  "
          f"ratio {execution[1] / execution[0]:.2f}")  # fmt: skip
    print(f"worst ratio of p99.9 and max: {worst:.2f} (at most {LIMIT})")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
