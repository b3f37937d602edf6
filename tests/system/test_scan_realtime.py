"""What a scan process takes of the machine where it may: scheduling, CPU, memory, timers, idle states."""

import collections.abc
import os
import pathlib
import tempfile

import pytest

from scan import CommandLane, NodeView
from scan.abi import TaskSpec
from scan.realtime import FIFO_WATCHDOG, examine
from tests.scan import toy
from tests.scan.scan_process import ScanProcess, wait_for

GRANTED = {grant.name for grant in examine() if grant.granted}
CPU = max(os.sched_getaffinity(0))

pytestmark = [
    pytest.mark.alone,
    pytest.mark.system,
    pytest.mark.skipif("real-time scheduling" not in GRANTED, reason="needs the right to SCHED_FIFO"),
]


@pytest.fixture
def scan() -> collections.abc.Iterator[ScanProcess]:
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder,
        ScanProcess(pathlib.Path(folder)) as process,
    ):
        yield process


def threads(process: ScanProcess) -> dict[int, pathlib.Path]:
    folder = pathlib.Path("/proc") / str(process.process.pid) / "task"
    return {int(path.name): path for path in folder.iterdir()}


def test_threads_when_the_system_permits_then_tasks_have_real_time_priorities_in_iec_order(
    scan: ScanProcess,
) -> None:
    tasks = (
        TaskSpec("Quick", "quick", period_ns=1_000_000, priority=0),
        TaskSpec("Late", "late", priority=7),
    )
    application = toy.Toy({}, {"Quick": "", "Late": ""}, tasks).build()
    scan.load(application, tasks={"Quick": {"cpu": CPU}})
    scan.do("start")
    view = NodeView.open(scan.directory)
    wait_for(lambda: all(task.scans for task in view.stats()), "scans of both")
    quick, late = sorted(view.stats(), key=lambda task: task.priority)
    assert FIFO_WATCHDOG > quick.realtime > late.realtime > 0
    fifo = {
        os.sched_getparam(thread).sched_priority: thread
        for thread in threads(scan)
        if os.sched_getscheduler(thread) == os.SCHED_FIFO
    }
    assert set(fifo) == {FIFO_WATCHDOG, quick.realtime, late.realtime}
    assert os.sched_getaffinity(fifo[quick.realtime]) == {CPU}
    slack = pathlib.Path(f"/proc/{fifo[quick.realtime]}/timerslack_ns")
    assert int(slack.read_text()) <= 1  # the kernel counts none for a real-time thread


def test_process_when_the_system_permits_then_memory_is_locked_and_idle_states_are_shallow(
    scan: ScanProcess,
) -> None:
    proc = pathlib.Path("/proc") / str(scan.process.pid)
    if "locked memory" in GRANTED:
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        assert int(status["VmLck"].split()[0]) > 10_000
    if "shallow idle states" in GRANTED:
        assert "/dev/cpu_dma_latency" in {str(path.readlink()) for path in (proc / "fd").iterdir()}
    ready = scan.event("ready")
    assert ready is not None
    refused = [grant for grant in ready["grants"] if not grant["granted"]]
    assert all(grant["remedy"] for grant in refused)


@pytest.mark.skipif("locked memory" not in GRANTED, reason="needs the right to lock memory")
def test_task_when_it_scans_then_its_thread_never_waits_for_a_page(scan: ScanProcess) -> None:
    """Stacks, blocks and segments are in memory before the first scan: page faults of the thread do not grow."""
    spec = TaskSpec("Main", "main", period_ns=1_000_000)
    scan.load(toy.counter(tasks=(spec,)).build())
    scan.do("start")
    view = NodeView.open(scan.directory)
    wait_for(lambda: view.stats()[0].scans > 50, "scans")
    (thread,) = (
        path
        for number, path in threads(scan).items()
        if os.sched_getscheduler(number) == os.SCHED_FIFO
        and os.sched_getparam(number).sched_priority != FIFO_WATCHDOG
    )

    def page_faults() -> tuple[int, int]:
        fields = (thread / "stat").read_text().rpartition(")")[2].split()
        return int(fields[7]), int(fields[9])  # minor and major

    before, at = page_faults(), view.stats()[0].scans
    CommandLane.open(scan.directory, "gate").reset_statistics(view)
    wait_for(lambda: view.stats()[0].scans < at, "the reset")
    wait_for(lambda: view.stats()[0].scans > 1000, "a second of scans")
    assert page_faults() == before
