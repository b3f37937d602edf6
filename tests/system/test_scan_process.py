"""The scan process as the parent starts it: life, faults, crashes, readers, real files."""

import collections.abc
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from scan import (
    AckStatus,
    Channel,
    CommandLane,
    Gather,
    IecType,
    InputsWriter,
    IoMap,
    NodeState,
    NodeView,
    OutputsReader,
    TickworkError,
    encode_application,
    quality,
    read_value,
)
from tests.scan.scan_process import ROOT, ScanProcess, wait_for
from tests.scan.toy import counter, dangerous

pytestmark = [pytest.mark.system, pytest.mark.alone]

SAFE = [{"offset": 0, "value": "aa55"}]
CHANNELS = IoMap(inputs=(Channel("level", "plant", "in", 0, 8),), inputs_size=8)


@pytest.fixture
def directory() -> collections.abc.Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def scan(directory: pathlib.Path) -> collections.abc.Iterator[ScanProcess]:
    with ScanProcess(directory, "--no-realtime") as process:
        yield process


def value(view: NodeView, path: str) -> object:
    return read_value(view.snapshot().block, view.symbol(path))


def start(scan: ScanProcess, **tasks: object) -> NodeView:
    scan.load(dangerous().build(), safe=SAFE, tasks=tasks)
    scan.do("start")
    view = NodeView.open(scan.directory)
    wait_for(lambda: value(view, "Count"), "the first scan")
    return view


def poke(view: NodeView, lane: CommandLane, path: str, number: int) -> None:
    """Writes and does not wait: the scan may not survive it."""
    lane.write(view, view.symbol(path), number)


# ---------------------------------------------------------------- life


def test_node_when_empty_then_view_shows_it_and_outputs_are_not_fresh(scan: ScanProcess) -> None:
    view = NodeView.open(scan.directory)
    assert (view.state, view.application, view.stats()) == (NodeState.EMPTY, None, ())
    with pytest.raises(TickworkError, match="SC3004"):
        view.snapshot()
    assert not OutputsReader.open(scan.directory).read().fresh
    assert scan.ask("start")["problem"]["code"] == "SC3004"


def test_program_when_loaded_and_started_then_states_and_outputs_follow(scan: ScanProcess) -> None:
    reader = OutputsReader.open(scan.directory)
    scan.load(dangerous().build(), safe=SAFE)
    loaded = wait_for(lambda: reader.read() if reader.read().fresh else None, "a heartbeat")
    assert loaded.state == NodeState.STOPPED and not loaded.running
    assert loaded.image[:2].tobytes() == b"\xaa\x55"
    scan.do("start")
    wait_for(lambda: reader.read().running, "running outputs")
    assert scan.do("stop")["state"] == "stopped"
    assert reader.read().image[:2].tobytes() == b"\xaa\x55"
    assert scan.do("status")["state"] == "stopped"


def test_inputs_when_published_then_outputs_and_quality_follow(scan: ScanProcess) -> None:
    view = start(scan)
    reader = OutputsReader.open(scan.directory)
    writer = InputsWriter.create(scan.directory, CHANNELS)
    assert view.quality(view.symbol("In")) == quality.BAD_WAITING_FOR_INITIAL_DATA
    writer.image[0], writer.quality[0], writer.times[0] = 9, quality.GOOD, 1234
    writer.publish()
    wait_for(lambda: reader.read().image[0] == 9, "the output")
    assert view.quality(view.symbol("In")) == quality.GOOD
    gather = Gather(view, [view.symbol("In"), view.symbol("Out")])
    gather.update(view.snapshot())
    assert gather.values.tolist() == [9.0, 9.0]
    assert gather.times[0] == 1234
    # The field process falls silent: the scan goes on with the last values, and says that they are.
    wait_for(lambda: view.quality(view.symbol("In")) == quality.BAD_NO_COMMUNICATION, "bad quality")
    before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > before, "more scans")
    wait_for(lambda: view.counters.inputs_stale > 0, "the counter")
    assert reader.read().image[0] == 9


def test_inputs_when_field_process_restarts_with_other_channels_then_scan_follows(scan: ScanProcess) -> None:
    view = start(scan)
    InputsWriter.create(scan.directory, CHANNELS).publish()
    larger = IoMap(inputs=(*CHANNELS.inputs, Channel("flow", "plant", "in", 8, 2)), inputs_size=16)
    writer = InputsWriter.create(scan.directory, larger)
    writer.image[0] = 77
    writer.publish()
    wait_for(lambda: value(view, "Out") == 77, "the new inputs")


def test_inputs_when_same_writer_restarts_then_last_values_stay_and_quality_is_bad(scan: ScanProcess) -> None:
    view = start(scan)
    writer = InputsWriter.create(scan.directory, CHANNELS)
    writer.image[0], writer.quality[0] = 5, quality.GOOD
    writer.publish()
    InputsWriter.create(scan.directory, CHANNELS)
    assert view.quality(view.symbol("In")) == quality.BAD_WAITING_FOR_INITIAL_DATA
    wait_for(lambda: value(view, "Out") == 5, "the last value")


def test_lane_when_written_then_acknowledged_with_the_scan_of_the_effect(scan: ScanProcess) -> None:
    view = start(scan)
    lane = CommandLane.open(scan.directory, "gate")
    first = lane.write(view, view.symbol("Level"), 70)
    group = lane.write_group(
        view, {view.symbol("Level"): 71, view.symbol("Mark"): 3}, expected={view.symbol("Level"): 70}
    )
    held = lane.force(view, view.symbol("Out"), 8, owner="ann", reason="test", lease_s=0.2)
    acks = wait_for(lambda: collect(lane, 3), "acknowledgements")
    assert [(ack.id, ack.status) for ack in acks] == [
        (one, AckStatus.APPLIED) for one in (first, group, held)
    ]
    assert value(view, "Level") == 71
    (force,) = wait_for(lambda: view.snapshot().forces, "the force")
    assert (force.path, force.value, force.actual, force.owner) == ("Out", 8, 0, "ann")
    assert view.quality(view.symbol("Out")) == quality.GOOD_LOCAL_OVERRIDE
    wait_for(lambda: not view.snapshot().forces, "the end of the lease")
    assert view.counters.forces_expired == 1


_COLLECTED: dict[int, list[object]] = {}


def collect(lane: CommandLane, count: int) -> list[object] | None:
    acks = _COLLECTED.setdefault(id(lane), [])
    acks += lane.poll()
    return acks if len(acks) >= count else None


def test_statistics_when_reset_then_they_begin_anew(scan: ScanProcess) -> None:
    view = start(scan)
    wait_for(lambda: view.stats()[0].scans > 200, "200 scans")
    lane = CommandLane.open(scan.directory, "gate")
    lane.reset_statistics(view)
    wait_for(lambda: view.stats()[0].scans < 150, "the reset")
    stats = wait_for(lambda: view.stats()[0] if view.stats()[0].latency.count > 20 else None, "new scans")
    assert stats.execution.percentile_ns(50) <= stats.execution.percentile_ns(99.9) <= stats.execution.max_ns
    assert 0 < stats.execution.max_scan <= view.counters.scans


# ---------------------------------------------------------------- faults


def test_fault_when_program_faults_then_outputs_are_safe_and_record_names_the_line(scan: ScanProcess) -> None:
    view = start(scan)
    reader = OutputsReader.open(scan.directory)
    poke(view, CommandLane.open(scan.directory, "gate"), "Fault", 1)
    event = wait_for(lambda: scan.event("fault"), "the fault event")["fault"]
    assert (event["code"], event["task"], event["pou"], event["line"]) == ("RF1001", "Main", "Other", 42)
    fault = wait_for(lambda: view.fault, "the fault record")
    assert (fault.code, fault.file, fault.generation) == ("RF1001", "other.st", view.generation)
    outputs = reader.read()
    assert (outputs.state, outputs.fresh, outputs.image[:2].tobytes()) == (NodeState.FAULT, True, b"\xaa\x55")
    scan.do("start", mode="cold")
    wait_for(lambda: value(view, "Count"), "scans after the restart")
    assert view.state == NodeState.RUNNING


def test_watchdog_when_program_loops_then_it_is_stopped(scan: ScanProcess) -> None:
    view = start(scan, Main={"watchdog_ms": 30})
    poke(view, CommandLane.open(scan.directory, "gate"), "Spin", 1)
    event = wait_for(lambda: scan.event("fault"), "the fault event")["fault"]
    assert event["code"] == "RF1004"
    assert view.state == NodeState.FAULT
    assert scan.process.poll() is None


def test_watchdog_when_program_does_not_obey_then_outputs_are_safe_and_process_ends(
    scan: ScanProcess,
) -> None:
    view = start(scan, Main={"watchdog_ms": 30})
    reader = OutputsReader.open(scan.directory)
    poke(view, CommandLane.open(scan.directory, "gate"), "Hang", 1)
    assert scan.process.wait(30) == 42
    assert view.fault is not None and view.fault.code == "RF1011"
    assert reader.read().image[:2].tobytes() == b"\xaa\x55"
    wait_for(lambda: not reader.read().fresh and not view.alive, "the silence of the heartbeat")


def test_crash_when_native_code_crashes_then_field_sees_it_and_a_new_process_takes_over(
    directory: pathlib.Path,
) -> None:
    with ScanProcess(directory, "--no-realtime") as scan:
        view = start(scan)
        reader = OutputsReader.open(directory)
        assert reader.read().running
        poke(view, CommandLane.open(directory, "gate"), "Crash", 1)
        assert scan.process.wait(30) == -signal.SIGSEGV
    wait_for(lambda: not reader.read().running, "the silence of the heartbeat")
    old = view.generation
    assert view.snapshot().scan > 0  # what it showed last can still be read
    with ScanProcess(directory, "--no-realtime") as scan:
        start(scan)
        wait_for(view.refresh, "another generation")
        assert view.generation > old
        wait_for(lambda: reader.read().running, "running outputs")


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_parent_when_it_goes_then_outputs_are_safe_and_process_ends(scan: ScanProcess, how: str) -> None:
    start(scan)
    reader = OutputsReader.open(scan.directory)
    if how == "SIGTERM":
        scan.process.send_signal(signal.SIGTERM)
    else:
        assert scan.process.stdin
        scan.process.stdin.close()
    assert scan.process.wait(30) == 0
    assert reader.read().image[:2].tobytes() == b"\xaa\x55"
    assert reader.read().state == NodeState.STOPPED


# ---------------------------------------------------------------- overruns


def test_overrun_when_scans_take_too_long_then_points_are_skipped_and_never_made_up(
    scan: ScanProcess,
) -> None:
    view = start(scan, Main={"watchdog_ms": 5000, "overrun_limit": 3})
    lane = CommandLane.open(scan.directory, "gate")
    poke(view, lane, "Work", 3_000_000)
    wait_for(lambda: view.stats()[0].overruns > 10, "overruns")
    first = view.snapshot()
    second = wait_for(
        lambda: view.snapshot() if view.snapshot().scan > first.scan + 10 else None, "more scans"
    )
    stats = view.stats()[0]
    assert stats.skipped >= stats.overruns
    # IEC time stays on the grid, and goes on by more than a period a scan: no point is made up for.
    assert first.now_ns % 1_000_000 == second.now_ns % 1_000_000 == 0
    assert second.now_ns - first.now_ns > (second.scan - first.scan) * 1_000_000
    wait_for(lambda: scan.event("overrun"), "the alarm")
    assert view.state == NodeState.RUNNING
    poke(view, lane, "Work", 0)
    wait_for(lambda: view.stats()[0].consecutive == 0, "scans in time")


def test_overrun_when_policy_says_fault_then_fault(scan: ScanProcess) -> None:
    view = start(scan, Main={"watchdog_ms": 5000, "overrun_limit": 2, "overrun_action": "fault"})
    poke(view, CommandLane.open(scan.directory, "gate"), "Work", 3_000_000)
    assert wait_for(lambda: scan.event("fault"), "the fault")["fault"]["code"] == "RF1009"


# ---------------------------------------------------------------- exchange


def test_swap_when_running_then_state_goes_on_and_readers_follow(scan: ScanProcess) -> None:
    view = start(scan)
    reader = OutputsReader.open(scan.directory)
    for number in range(5):
        before = value(view, "Count")
        answer = scan.load(dangerous().build(f"version{number}"), op="swap")
        assert answer["pause_ns"] > 0 and answer["initial"] == []
        assert view.refresh()
        assert view.application is not None and view.application.name == f"version{number}"
        count = value(view, "Count")
        assert isinstance(before, int) and isinstance(count, int) and count >= before
        assert reader.read().running
    assert view.counters.swaps == 5


def test_swap_when_new_program_faults_on_trial_then_old_one_is_back(scan: ScanProcess) -> None:
    view = start(scan)
    scan.load(dangerous().build("trial"), op="swap", trial_scans=1_000_000)
    view.refresh()
    assert view.state == NodeState.TRIAL
    refused = scan.ask("swap", application=str(scan.directory / "trial.app"))
    assert refused["problem"]["code"] == "SC3004"
    before = value(view, "Count")
    poke(view, CommandLane.open(scan.directory, "gate"), "Fault", 1)
    swap = wait_for(lambda: scan.event("swap"), "the roll-back")
    assert swap["state"] == "rolled_back"
    wait_for(view.refresh, "the old program")
    assert view.application is not None and view.application.name == "toy"
    assert view.state == NodeState.RUNNING
    assert view.fault is not None and view.fault.code == "RF1001"
    scan_before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > scan_before, "scans of the old program")
    assert isinstance(before, int)
    assert OutputsReader.open(scan.directory).read().running


def test_swap_when_new_program_takes_too_long_on_trial_then_old_one_is_back(scan: ScanProcess) -> None:
    view = start(scan, Main={"watchdog_ms": 5000})
    quick = dangerous()
    slow = {**quick.variables, "Toil": (IecType.LINT, "Main", 3_000_000)}
    bodies = {"Main": quick.bodies["Main"].replace("{Work}", "{Toil}")}
    application = dataclasses.replace(quick, variables=slow, bodies=bodies).build("slow")
    scan.load(application, op="swap", trial_scans=1_000_000, tasks={"Main": {"watchdog_ms": 5000}})
    assert wait_for(lambda: scan.event("swap"), "the roll-back")["state"] == "rolled_back"
    view.refresh()
    assert view.application is not None and view.application.name == "toy"
    assert view.fault is not None and view.fault.code == "RF1009"
    before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > before + 10, "scans of the old program")


def test_swap_when_a_scan_does_not_end_then_refused_and_nothing_has_changed(scan: ScanProcess) -> None:
    view = start(scan, Main={"watchdog_ms": 60_000})
    lane = CommandLane.open(scan.directory, "gate")
    poke(view, lane, "Work", 9_000_000_000)  # some seconds in one scan
    wait_for(lambda: view.snapshot().mono_ns < time.monotonic_ns() - 200_000_000, "the long scan")
    generation = view.generation
    path = scan.directory / "late.app"
    path.write_bytes(encode_application(counter().build("late")))
    refused = scan.ask("swap", application=str(path))
    assert refused["problem"]["code"] == "SC3005"
    poke(view, lane, "Work", 0)
    before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > before + 10, "scans of the old program")
    assert (view.generation, view.state) == (generation, NodeState.RUNNING)
    assert not list(scan.directory.glob(f"*.{generation + 1}")) or not view.refresh()


def test_swap_when_readers_read_all_the_time_then_none_sees_a_wrong_value(scan: ScanProcess) -> None:
    """``Level`` is 7 in every program and is never written: whatever a reader sees must be 7."""
    view = start(scan)
    stop, wrong, reads = threading.Event(), [], [0]

    def read() -> None:
        mine = NodeView.open(scan.directory)
        while not stop.is_set():
            mine.refresh()
            if value(mine, "Level") != 7:
                wrong.append(mine.generation)
            reads[0] += 1

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    layouts = [counter().build("small"), dangerous().build("large")]
    for number in range(12):
        scan.load(layouts[number % 2], op="swap")
    stop.set()
    for thread in threads:
        thread.join(30)
    assert reads[0] > 12 and not wrong
    assert view.refresh()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        '{"id":5,"op":"fly"}',
        '{"id":"x","op":"start"}',
        '{"id":1,"op":"load","safe":3}',
        "null",
    ],
)
def test_request_when_malformed_then_refused_and_process_goes_on(scan: ScanProcess, line: str) -> None:
    scan.send_line(line)
    answer = scan.answer()
    assert not answer["ok"] and answer["problem"]["code"] == "SC3006"
    assert scan.do("status")["state"] == "empty"


def test_load_when_file_is_no_application_then_refused_and_old_program_runs_on(scan: ScanProcess) -> None:
    view = start(scan)
    path = scan.directory / "broken.app"
    path.write_bytes(b"\x00\x01\x02")
    assert scan.ask("swap", application=str(path))["problem"]["code"] == "SC3003"
    assert scan.ask("swap", application=str(path) + ".none")["problem"]["code"] == "SC3003"
    assert scan.ask("load", application=str(path))["problem"]["code"] == "SC3003"
    assert view.state == NodeState.RUNNING
    before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > before, "more scans")


def test_load_when_object_code_is_damaged_then_refused_and_old_program_runs_on(scan: ScanProcess) -> None:
    view = start(scan)
    data = bytearray((scan.directory / "toy.app").read_bytes())
    place = data.index(b"\x7fELF") + 1000
    data[place : place + 8] = b"damaged!"
    path = scan.directory / "damaged.app"
    path.write_bytes(data)
    problem = scan.ask("swap", application=str(path))["problem"]
    assert problem["code"] == "SC3003"
    assert "checksum" in problem["found"]
    before = view.snapshot().scan
    wait_for(lambda: view.snapshot().scan > before, "more scans")


def test_process_when_running_then_it_has_no_socket_and_no_compiler(scan: ScanProcess) -> None:
    start(scan)
    proc = pathlib.Path("/proc") / str(scan.process.pid)
    targets = [str(path.readlink()) for path in (proc / "fd").iterdir()]
    assert not [target for target in targets if target.startswith("socket:")]
    maps = (proc / "maps").read_text()
    assert "llvmlite" in maps and "/numba/" not in maps


def test_modules_when_the_scan_process_is_imported_then_none_of_the_forbidden_ones() -> None:
    forbidden = "{'asyncio', 'socket', 'sqlite3', 'logging', 'numba'}"
    code = f"import sys, scan.process; print(sorted({forbidden} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
