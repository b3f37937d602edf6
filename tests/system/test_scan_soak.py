"""Hours of scans under daily work: no overrun without a reason, no growth of memory. ``./dev soak scan``.

TICKWORK_SOAK_S sets the duration. A *witness* a CPU, of higher priority than any task, sleeps for half a millisecond
again and again and notes each hole: a time in which the machine (a hypervisor, the kernel) let nobody run there. An
*observer* looks at the counters of the tasks every few milliseconds, so that the time of an overrun is known to that.
An overrun is explained only if holes long enough to cost the task its grid point lie within the period before it was
seen.
"""

import collections
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from runtime.build_job import artifact_of
from scan import NodeView
from tests.runtime.node_process import NodeProcess, write_plant

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(0)]

DURATION_S = float(os.environ.get("TICKWORK_SOAK_S", "14400"))
SWAPS = 4  # code of earlier programs stays loaded: all exchanges are made before memory is watched
WORK_S = 0.25  # between two things that people do
LOOK_S = 0.005  # between two looks at the counters
PATIENCE_S = 3.0  # how late a witness may speak: it was itself kept from running
WITNESS_S = 0.0005
HOLE_NS = 200_000  # oversleeping of a witness that counts as a hole
COST = 0.4  # a hole this part of the task's period may cost it a grid point: wake-up, scan and hole are longer than it
WITNESS_PRIORITY, OBSERVER_PRIORITY = 90, 5
WARM_UP = 0.25  # of the duration: caches fill, recordings reach their size
GROWTH_MB = {"scan": 1.0, "parent": 4.0, "gate": 8.0}
PLANT = """
[node]
name = "soak"
[scan]
trial_s = 1
[recorder]
size_mb = 16
"""
PROGRAM = """
PROGRAM Main
VAR
  count : LINT;
  timer : TON;
  mean : LREAL;
  {attribute 'access' := 'rw'}
  setpoint : REAL;
END_VAR
VAR RETAIN
  total : LINT;
END_VAR
count := count + STEP;
total := total + 1;
timer(IN := NOT timer.Q, PT := T#250ms);
mean := mean * 0.99 + setpoint;
END_PROGRAM
PROGRAM Slow
VAR i : DINT; sum : LREAL; END_VAR
FOR i := 1 TO 2000 DO sum := sum * 0.5 + i; END_FOR
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#1ms, PRIORITY := 0);
    TASK Back(INTERVAL := T#20ms, PRIORITY := 5);
    PROGRAM Main WITH Fast : Main;
    PROGRAM Slow WITH Back : Slow;
  END_RESOURCE
END_CONFIGURATION
"""


def witness(cpu: int, pipe: multiprocessing.connection.Connection) -> None:
    """Sends the holes of a CPU: begin and end, monotonic ns."""
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(WITNESS_PRIORITY))
    while True:
        before = time.monotonic_ns()
        time.sleep(WITNESS_S)
        after = time.monotonic_ns()
        if after - before > WITNESS_S * 1e9 + HOLE_NS:
            pipe.send((before, after))


def observe(directory: str, pipe: multiprocessing.connection.Connection) -> None:
    """Sends each overrun that it sees: since when, until when, task, period, longest latency."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(OBSERVER_PRIORITY))
    view, counts, since = NodeView.open(pathlib.Path(directory)), {}, time.monotonic_ns()
    while True:
        time.sleep(LOOK_S)
        view.refresh()
        tasks, now = view.stats(), time.monotonic_ns()
        for task in tasks:
            if task.overruns > counts.get(task.name, task.overruns):
                pipe.send((since, now, task.name, task.period_ns, task.latency.max_ns))
            counts[task.name] = task.overruns
        since = now


@pytest.fixture
def witnesses() -> Iterator[list[multiprocessing.connection.Connection]]:
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        yield [started(stack, context, witness, cpu) for cpu in sorted(os.sched_getaffinity(0))]


def started(
    stack: contextlib.ExitStack, context: Any, target: Callable[..., None], argument: object
) -> multiprocessing.connection.Connection:
    """A process that ends with the stack, and the end of its pipe."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(argument, theirs), daemon=True)
    process.start()
    stack.callback(process.join)
    stack.callback(process.kill)
    return ours


class Watch:
    """Overruns as they are seen, what may explain them, and the memory of each process."""

    def __init__(
        self,
        observer: multiprocessing.connection.Connection,
        witnesses: list[multiprocessing.connection.Connection],
        pids: dict[str, int],
    ) -> None:
        self._observer, self._witnesses = observer, witnesses
        self._holes: collections.deque[tuple[int, int]] = collections.deque(maxlen=100_000)
        self._suspects: list[tuple[int, int, str, int, int]] = []
        self.memory: dict[str, list[int]] = {name: [] for name in pids}
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.unexplained: list[str] = []
        self.explained = 0

    def look(self, patience_s: float = PATIENCE_S) -> None:
        for pipe in self._witnesses:
            while pipe.poll():
                self._holes.append(pipe.recv())
        while self._observer.poll():
            self._suspects.append(self._observer.recv())
        self._judge(time.monotonic_ns() - int(patience_s * 1e9))

    def _judge(self, heard_until_ns: int) -> None:
        waiting = []
        for since, until, name, period_ns, latency_ns in self._suspects:
            lost_ns = sum(
                min(end, until) - max(begin, since - period_ns)
                for begin, end in self._holes
                if begin < until and end > since - period_ns
            )
            if lost_ns >= COST * period_ns:
                self.explained += 1
            elif until < heard_until_ns:
                longest = (
                    f"{name}: holes of {lost_ns / 1e6:.2f} ms, longest latency {latency_ns / 1e6:.2f} ms"
                )
                self.unexplained.append(longest)
            else:
                waiting.append((since, until, name, period_ns, latency_ns))
        self._suspects = waiting

    def weigh(self) -> None:
        for name, process in self._processes.items():
            self.memory[name].append(process.memory_info().rss)

    def growth_mb(self, name: str) -> float:
        """Median of the last quarter less that of the first."""
        sizes = self.memory[name]
        quarter = max(len(sizes) // 4, 1)
        return (statistics.median(sizes[-quarter:]) - statistics.median(sizes[:quarter])) / 2**20


def work(node: NodeProcess, chance: random.Random) -> None:
    """What people and other programs do to a node all day."""
    value = f"{chance.uniform(0, 100):.3f}"
    kind = chance.randrange(4)
    if kind == 0:
        node.ask("write", values={"Main.setpoint": value}, reason="soak")
    elif kind == 1:
        node.ask("force", values={"Main.setpoint": value}, lease_s=1, reason="soak")
    elif kind == 2:
        node.ask("read", paths=["Main.count", "Main.mean", "Main.total"])
    else:
        node.ask("metrics")


def exchange(node: NodeProcess, folder: pathlib.Path) -> None:
    """Online changes, one after the other."""
    for step in range(2, 2 + SWAPS):
        path = folder / f"{step}.twa"
        path.write_bytes(
            artifact_of(write_plant(folder / "new", step=str(step), plant=PLANT, program=PROGRAM))
        )
        assert node.ask("deploy", path=str(path))["deploy"]["state"] == "running"


def test_scan_when_it_runs_for_hours_then_no_unexplained_overrun_and_no_growth(
    tmp_path: pathlib.Path, witnesses: list[multiprocessing.connection.Connection]
) -> None:
    folder = write_plant(tmp_path / "plant", step="1", plant=PLANT, program=PROGRAM)
    chance = random.Random(1)
    with NodeProcess(folder, tmp_path / "state", tmp_path / "cache") as node:
        node.until_running()
        exchange(node, tmp_path)
        node.command("reset-statistics")
        pids = node.pids()
        view = node.view()
        with contextlib.ExitStack() as stack:
            observer = started(stack, multiprocessing.get_context("spawn"), observe, str(view.directory))
            watch = Watch(observer, witnesses, {name: pids[name] for name in GROWTH_MB})
            begin, at_scan = time.monotonic(), view.snapshot().scan
            while (passed_s := time.monotonic() - begin) < DURATION_S:
                work(node, chance)
                watch.look()
                if passed_s > WARM_UP * DURATION_S:
                    watch.weigh()
                time.sleep(WORK_S)
            time.sleep(PATIENCE_S)
            watch.look(0)
        assert node.pids() == pids, "a process was restarted"
        assert not node.events("fault")
        scans = view.snapshot().scan - at_scan
        growth = {name: round(watch.growth_mb(name), 2) for name in GROWTH_MB}
        print(f"{scans} scans, {watch.explained} overruns explained, growth {growth} MB")
        assert scans > DURATION_S * 1000 * 0.9
        assert view.counters.records_lost == 0
        assert not watch.unexplained
        assert {name: size for name, size in growth.items() if size > GROWTH_MB[name]} == {}
