"""Several tasks in a real scan process: one grid, events, free-running, preemption, and readers that misbehave."""

import collections.abc
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from scan import (
    CommandLane,
    IecType,
    NodeState,
    NodeView,
    Symbol,
    TaskSpec,
    TaskStatistics,
    VirtualEngine,
    read_value,
)
from scan import layout as w
from scan.abi import Region
from scan.segments import RECORDS_SIZE, open_segment, records_path
from tests.scan.scan_process import ROOT, ScanProcess, wait_for
from tests.scan.test_virtual import two_tasks
from tests.scan.toy import Toy, context, count, load, store, work_for

pytestmark = [pytest.mark.system, pytest.mark.alone]

MS = 1_000_000
LINT = IecType.LINT
SHARED = 64 + 128  # first byte of the globals in a toy


@pytest.fixture
def directory() -> collections.abc.Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield pathlib.Path(folder)


def value(view: NodeView, path: str) -> int:
    found = read_value(view.snapshot().block, view.symbol(path))
    assert isinstance(found, int)
    return found


def task(view: NodeView, name: str) -> TaskStatistics:
    return next(one for one in view.stats() if one.name == name)


def family() -> Toy:
    """``Fast`` raises ``Bell`` in every tenth scan; ``Event`` waits for it; ``Free`` runs as it can; ``Slow`` works."""
    variables = {
        "Bell": (LINT, "G", 0), "Spare": (LINT, "G", 0), "Rounds": (LINT, "Fast", 0), "FastNow": (LINT, "Fast", 0),
        "Rings": (LINT, "Event", 0), "Laps": (LINT, "Free", 0), "SlowCount": (LINT, "Slow", 0),
        "SlowNow": (LINT, "Slow", 0),
    }  # fmt: skip
    fast = (
        count("Rounds", "r") + "  %m = srem i64 %r, 10\n  %z = icmp eq i64 %m, 0\n  %b = zext i1 %z to i64\n"
        + store("Bell", "%b") + context("now", 32) + store("FastNow", "%now")
    )  # fmt: skip
    slow = count("SlowCount") + context("now", 32) + store("SlowNow", "%now") + work_for("400000")
    tasks = (
        TaskSpec("Fast", "fast", period_ns=2 * MS, priority=1, writes=(Region(SHARED, 8),)),
        TaskSpec("Slow", "slow", period_ns=20 * MS, priority=9),
        TaskSpec("Event", "event", kind="event", event="BellBit", period_ns=0, priority=0),
        TaskSpec("Free", "free", kind="free", period_ns=0, priority=15),
    )
    bodies = {"Fast": fast, "Slow": slow, "Event": count("Rings"), "Free": count("Laps")}
    toy = Toy(variables, bodies, tasks)
    plain = dataclasses.replace(toy, tasks=(*tasks[:2], tasks[3])).build()
    bell = next(one for one in plain.symbols if one.path == "Bell")
    # The BOOL that the event task waits for is the lowest byte of Bell.
    return dataclasses.replace(toy, extra=(Symbol("BellBit", IecType.BOOL, bell.offset, 1),))


def test_tasks_when_four_kinds_run_then_each_keeps_its_rule(directory: pathlib.Path) -> None:
    with ScanProcess(directory) as scan:
        scan.load(family().build())
        scan.do("start")
        view = NodeView.open(directory)
        wait_for(lambda: value(view, "SlowCount") >= 10 and value(view, "Rings") >= 10, "scans of all tasks")
        snapshot = view.snapshot()
        now = {
            name: read_value(snapshot.block, view.symbol(name))
            for name in ("FastNow", "SlowNow", "Rounds", "Rings")
        }
        # One grid: both tasks are due at whole multiples of their periods since one start.
        assert now["FastNow"] % (2 * MS) == 0 and now["SlowNow"] % (20 * MS) == 0  # type: ignore[operator]
        # Every edge starts the event task once, as long as it keeps up.
        assert abs(now["Rounds"] // 10 - now["Rings"]) <= 1 + task(view, "Fast").skipped  # type: ignore[operator]
        assert value(view, "Laps") > 10
        assert {one.name for one in view.stats()} == {"Fast", "Slow", "Event", "Free"}
        scan.do("stop")
        assert view.state == NodeState.STOPPED


def test_tasks_when_overlapping_and_recorded_then_replay_ends_in_the_same_state(
    directory: pathlib.Path,
) -> None:
    with ScanProcess(directory) as scan:
        toy = two_tasks()
        busy = {**toy.bodies, "Slow": work_for("3000000") + toy.bodies["Slow"]}
        application = dataclasses.replace(toy, bodies=busy).build()
        scan.load(application)
        records = open_segment(records_path(directory), w.KIND_RECORDS, size_min=RECORDS_SIZE, writable=True)
        records.words[w.R_HEAD] = records.words[w.R_TAIL]
        records.words[w.R_ENABLED] += 1
        scan.do("start")
        view = NodeView.open(directory)
        lane = CommandLane.open(directory, "gate")
        for number in range(20):
            lane.write(view, view.symbol("Answer"), number)
            lane.write(view, view.symbol("Mine"), 1000 * number)
            begun = view.snapshot().scan
            wait_for(lambda: view.snapshot().scan > begun + 5, "scans")  # noqa: B023
        scan.do("stop")
        final = view.snapshot()
        head, tail = int(records.words[w.R_HEAD]), int(records.words[w.R_TAIL])
        assert records.words[w.R_LOST] == 0
        data = records.bytes_at(w.RECORDS_HEADER_SIZE + head, tail - head).tobytes()
    again = VirtualEngine(application)
    assert again.replay(data) == len(data)
    again.flush()
    kinds = {word & 255 for word in heads(data)}
    assert kinds == {w.RECORD_SCAN, w.RECORD_COMMAND, w.RECORD_FINISH}  # scans did overlap
    assert again.scan_count == final.scan
    assert again.block.tobytes() == final.block.tobytes()


def heads(data: bytes) -> list[int]:
    words, position, found = np.frombuffer(data, np.int64), 0, []
    while position < len(words):
        found.append(int(words[position]))
        position += int(words[position]) >> 11
    return found


def test_swap_when_tasks_come_and_go_then_threads_follow(directory: pathlib.Path) -> None:
    with ScanProcess(directory, "--no-realtime") as scan:
        scan.load(two_tasks().build("two"))
        scan.do("start")
        view = NodeView.open(directory)
        wait_for(lambda: value(view, "Copied"), "both tasks")
        before = value(view, "Mine")
        toy = two_tasks()
        one = Toy(
            {name: kind for name, kind in toy.variables.items() if kind[1] != "Slow"},
            {"Fast": toy.bodies["Fast"]},
            toy.tasks[:1],
        )
        scan.load(one.build("one"), op="swap", trial_scans=5)
        wait_for(view.refresh, "the new program")
        wait_for(lambda: scan.event("swap"), "the end of the trial")
        assert [stats.name for stats in view.stats()] == ["Fast"]
        assert value(view, "Mine") >= before
        scan.load(toy.build("again"), op="swap")
        wait_for(view.refresh, "the next program")
        wait_for(lambda: value(view, "Copied"), "the task that came back")
        assert value(view, "Mine") >= before


READER = """
import pathlib, sys
from scan import NodeView
view = NodeView.open(pathlib.Path(sys.argv[1]))
print("reading", flush=True)
while True:
    view.snapshot(), view.stats(), view.inputs()
"""


def test_reader_when_it_reads_flat_out_and_is_killed_or_frozen_then_no_scan_waits(
    directory: pathlib.Path,
) -> None:
    with ScanProcess(directory) as scan:
        scan.load(two_tasks().build())
        scan.do("start")
        view = NodeView.open(directory)
        wait_for(lambda: value(view, "Mine"), "scans")
        command = [sys.executable, "-c", READER, str(directory)]
        for fate in (signal.SIGSTOP, signal.SIGKILL):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
                assert reader.stdout and reader.stdout.readline() == "reading\n"
                reader.send_signal(fate)
                before = value(view, "Mine")
                wait_for(lambda: value(view, "Mine") > before + 100, "scans beside a dead reader")  # noqa: B023
                reader.kill()
        assert view.state == NodeState.RUNNING
        # Whatever the machine did to single scans, the engine itself was held up by nobody.
        assert task(view, "Fast").execution.percentile_ns(50) < MS


def test_node_when_started_twice_in_one_directory_then_the_second_takes_over_in_order(
    directory: pathlib.Path,
) -> None:
    with ScanProcess(directory, "--no-realtime") as scan:
        scan.load(two_tasks().build())
        scan.do("start")
        view = NodeView.open(directory)
        first = view.generation
    with ScanProcess(directory, "--no-realtime") as scan:
        wait_for(view.refresh, "the empty node")
        assert view.state == NodeState.EMPTY and view.application is None
        scan.load(two_tasks().build())
        wait_for(view.refresh, "the new program")
        assert view.generation > first
        assert not list(directory.glob(f"*.{first}"))


def test_load_value_when_globals_are_written_from_outside_then_every_task_sees_them(
    directory: pathlib.Path,
) -> None:
    toy = two_tasks()
    body = {**toy.bodies, "Slow": load("a", "Answer") + store("Copied", "%a")}
    with ScanProcess(directory, "--no-realtime") as scan:
        scan.load(dataclasses.replace(toy, bodies=body).build())
        scan.do("start")
        view = NodeView.open(directory)
        lane = CommandLane.open(directory, "gate")
        lane.write(view, view.symbol("Answer"), 321)
        wait_for(lambda: value(view, "Copied") == 321, "the value in the slow task")
