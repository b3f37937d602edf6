"""Hours of scans under daily work: no overrun without a reason, no growth of memory. ``./dev soak scan``.

TICKWORK_SOAK_S sets the duration. A *witness* a CPU, of higher priority than any task, sleeps for a millisecond again
and again and notes when the machine let it oversleep: an overrun is explained if the machine (a hypervisor, the kernel)
took the CPU away at that time, or if a program was exchanged. Anything else is a fault of ours.
"""

import collections
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import statistics
import time
from collections.abc import Iterator

import psutil
import pytest

from runtime.build_job import artifact_of
from scan import NodeView
from tests.runtime.node_process import NodeProcess, write_plant

pytestmark = [pytest.mark.system, pytest.mark.soak, pytest.mark.timeout(0)]

DURATION_S = float(os.environ.get("TICKWORK_SOAK_S", "14400"))
SWAPS = 4  # code of earlier programs stays loaded: all exchanges are made before memory is watched
LOOK_S = 0.25
WINDOW_S = 0.2  # how far the report of a witness may lie from that of an overrun
OVERSLEPT_NS = 300_000
WITNESS_PRIORITY = 90
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
    os.sched_setaffinity(0, {cpu})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(WITNESS_PRIORITY))
    while True:
        before = time.monotonic_ns()
        time.sleep(0.001)
        if time.monotonic_ns() - before > 1_000_000 + OVERSLEPT_NS:
            pipe.send(before / 1e9)


@pytest.fixture
def witnesses() -> Iterator[list[multiprocessing.connection.Connection]]:
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for cpu in sorted(os.sched_getaffinity(0)):
        ours, theirs = context.Pipe(duplex=False)
        processes.append(context.Process(target=witness, args=(cpu, theirs), daemon=True))
        processes[-1].start()
        pipes.append(ours)
    yield pipes
    for process in processes:
        process.kill()
        process.join()


class Watch:
    """Overruns as they are seen, what may explain them, and the memory of each process."""

    def __init__(self, view: NodeView, pids: dict[str, int]) -> None:
        self.view = view
        self.excuses: collections.deque[float] = collections.deque(maxlen=10_000)
        self.suspects: list[tuple[float, str]] = []  # when at the earliest, what
        self.memory: dict[str, list[int]] = {name: [] for name in pids}
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._overruns: dict[str, int] = {}
        self._looked = time.monotonic()
        self.unexplained: list[str] = []
        self.explained = 0

    def look(self, pipes: list[multiprocessing.connection.Connection]) -> None:
        now = time.monotonic()
        for pipe in pipes:
            while pipe.poll():
                self.excuses.append(pipe.recv())
        self.view.refresh()
        for task in self.view.stats():
            before = self._overruns.get(task.name, 0)
            self._overruns[task.name] = task.overruns
            if task.overruns > before:
                longest = f"{task.name}: {task.overruns - before}, longest latency {task.latency.max_ns / 1e6:.2f} ms"
                self.suspects.append((self._looked, longest))
        self._judge(now)
        self._looked = now

    def _judge(self, now: float) -> None:
        """A suspect is judged when the witnesses have had time to speak."""
        waiting = []
        for since, what in self.suspects:
            if any(since - WINDOW_S <= excuse <= since + LOOK_S + 2 * WINDOW_S for excuse in self.excuses):
                self.explained += 1
            elif now - since > LOOK_S + 2 * WINDOW_S:
                self.unexplained.append(what)
            else:
                waiting.append((since, what))
        self.suspects = waiting

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
        watch = Watch(node.view(), {name: pids[name] for name in GROWTH_MB})
        begin, at_scan = time.monotonic(), watch.view.snapshot().scan
        while (passed_s := time.monotonic() - begin) < DURATION_S:
            work(node, chance)
            watch.look(witnesses)
            if passed_s > WARM_UP * DURATION_S:
                watch.weigh()
            time.sleep(LOOK_S)
        watch.look(witnesses)
        assert node.pids() == pids, "a process was restarted"
        assert not node.events("fault")
        scans = watch.view.snapshot().scan - at_scan
        growth = {name: round(watch.growth_mb(name), 2) for name in GROWTH_MB}
        print(f"{scans} scans, {watch.explained} overruns explained, growth {growth} MB")
        assert scans > DURATION_S * 1000 * 0.9
        assert watch.view.counters.records_lost == 0
        assert not watch.unexplained
        assert {name: size for name, size in growth.items() if size > GROWTH_MB[name]} == {}
