"""What a real scan process did, recorded by the recorder and run again: the same state at each checkpoint."""

import collections.abc
import hashlib
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import msgspec
import pytest

import programs
from runtime.plant import RecorderSection
from runtime.recorder import Recorder
from scan import (
    Application,
    Channel,
    CommandLane,
    InputsWriter,
    IoMap,
    NodeView,
    TickworkError,
    encode_application,
)
from scan import layout as w
from scan.compare import compare
from scan.recording import FrameKind, encode_frame
from scan.replay import Recording, Report, open_recording, replay
from tests.runtime.node_process import PROGRAM, NodeProcess, write_plant
from tests.scan.scan_process import ROOT, ScanProcess, wait_for
from tests.scan.toy import counter, dangerous

pytestmark = pytest.mark.system

CHANNELS = IoMap(inputs=(Channel("level", "plant", "in", 0, 8),), inputs_size=8)
SETTINGS = '[node]\nname = "test"\n'
TWO_TASKS = """
VAR_GLOBAL
  level AT %ID0 : DINT;
  valve AT %QD0 : DINT;
  slowest AT %QD4 : DINT;
  {attribute 'access' := 'rw'}
  gain : DINT := 3;
END_VAR
PROGRAM Quick
VAR count : LINT; delay : TON; sum : LREAL; END_VAR
count := count + 1;
delay(IN := level > 20, PT := T#5ms);
sum := sum * 0.99 + level;
valve := level * gain + BOOL_TO_DINT(delay.Q);
END_PROGRAM
PROGRAM Long
VAR i : DINT; total : DINT; END_VAR
FOR i := 1 TO 200000 DO total := total + i MOD 7; END_FOR
slowest := total + valve;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#1ms, PRIORITY := 1);
    TASK Slow(INTERVAL := T#7ms, PRIORITY := 2);
    PROGRAM Quick WITH Fast : Quick;
    PROGRAM Long WITH Slow : Long;
  END_RESOURCE
END_CONFIGURATION
"""


@pytest.fixture
def directory() -> collections.abc.Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def scan(directory: pathlib.Path) -> collections.abc.Iterator[ScanProcess]:
    with ScanProcess(directory, "--no-realtime") as process:
        yield process


class Box:
    """A recorder by hand, with a clock that a test may hurry on."""

    def __init__(self, directory: pathlib.Path, folder: pathlib.Path) -> None:
        self.view = NodeView.open(directory)
        self.hurry_ns = 0
        self.notes: list[str] = []
        self.folder = folder
        self.recorder = Recorder(
            NodeView.open(directory), segments=directory, folder=folder, section=RecorderSection(), node="test",
            now_ns=lambda: time.time_ns() + self.hurry_ns, note=lambda text, _severity: self.notes.append(text),
        )  # fmt: skip

    def pump(self, scans: int, *, checkpoint: bool = True) -> None:
        """Records at least so many scans; then a checkpoint is due."""
        begin = self.view.snapshot().scan
        wait_for(lambda: self._pump() - begin >= scans, "scans")
        if checkpoint:
            self.hurry_ns += 11_000_000_000
            self._pump()

    def _pump(self) -> int:
        self.recorder.pump()
        self.view.refresh()
        return self.view.snapshot().scan

    def recording(self) -> Recording:
        self.recorder.close()
        return open_recording(self.folder)


def keep(scan: ScanProcess, application: Application) -> Application:
    """As a node does, which gives the scan process its programs by files of these names."""
    data = encode_application(application)
    (scan.directory / f"program-{application.digest[:16]}.app").write_bytes(data)
    return application


def compiled(text: str = TWO_TASKS, name: str = "main.st") -> Application:
    from programs.building import read_settings

    return programs.compile_sources(read_settings(SETTINGS, "plant.toml"), {name: text.encode()})


def begun(scan: ScanProcess, application: Application) -> None:
    scan.load(keep(scan, application))
    scan.do("start")
    view = NodeView.open(scan.directory)
    view.refresh()
    wait_for(lambda: view.snapshot().scan, "the first scan")


def faultless(report: Report, *, checkpoints: int) -> None:
    assert report.mismatches == []
    assert report.checkpoints >= checkpoints


def test_recording_when_inputs_and_commands_change_then_every_checkpoint_is_met(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    box = Box(scan.directory, tmp_path)
    lane, writer = CommandLane.open(scan.directory, "gate"), InputsWriter.create(scan.directory, CHANNELS)
    chance = random.Random(4)
    box.pump(5)
    for _ in range(12):
        writer.image[:] = list(chance.randbytes(8))
        writer.publish()
        lane.write(box.view, box.view.symbol("Level"), chance.randrange(1000))
        lane.write_group(box.view, {box.view.symbol("Mark"): 3, box.view.symbol("Seen"): 4})
        lane.force(
            box.view, box.view.symbol("In"), chance.randrange(9), owner="ann", reason="test", lease_s=1
        )
        box.pump(7)
    lane.unforce(box.view, box.view.symbol("In"))
    box.pump(20)
    report = replay(box.recording())
    faultless(report, checkpoints=12)
    assert report.scans >= 100
    assert report.gaps == 0


def test_recording_when_tasks_preempt_each_other_then_every_checkpoint_is_met(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, compiled())
    box = Box(scan.directory, tmp_path)
    lane, writer = CommandLane.open(scan.directory, "gate"), InputsWriter.create(scan.directory, CHANNELS)
    box.pump(5)
    for number in range(10):
        writer.image[:4] = list((number * 7).to_bytes(4, "little"))
        writer.publish()
        lane.write(box.view, box.view.symbol("gain"), number)
        box.pump(40)
    report = replay(box.recording())
    faultless(report, checkpoints=6)


def test_recording_when_the_program_changes_online_then_replay_goes_on_with_the_new_one(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build("old"))
    box = Box(scan.directory, tmp_path)
    lane = CommandLane.open(scan.directory, "gate")
    box.pump(10)
    scan.load(keep(scan, dangerous().build("new")), "swap", trial_scans=5)
    for _ in range(3):
        box.view.refresh()
        lane.write(box.view, box.view.symbol("Level"), 9)
        box.pump(10)
    recording = box.recording()
    report = replay(recording)
    faultless(report, checkpoints=3)
    assert {one.application for one in recording.checkpoints()} == {"old", "new"}
    ((change,), (stretch, *more)) = recording.changes(), recording.stretches()
    assert (change.previous_application, change.application) == ("old", "new")
    assert report.changes == 1
    assert all(one.continues for one in more), "no scan is left out around the change"
    assert stretch.start.scan + report.scans == last_scan(recording)


def test_recording_when_overlapping_tasks_are_changed_and_commanded_then_no_scan_is_left_out(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    texts = [TWO_TASKS, TWO_TASKS.replace("gain : DINT := 3;", "gain : DINT := 3; more : LINT;"), TWO_TASKS]
    programs_in_turn = [keep(scan, compiled(text)) for text in texts]
    begun(scan, programs_in_turn[0])
    box, chance = Box(scan.directory, tmp_path), random.Random(1)
    lane, writer = CommandLane.open(scan.directory, "gate"), InputsWriter.create(scan.directory, CHANNELS)
    box.pump(20)
    for number in range(12):
        writer.image[:4] = list(chance.randrange(99).to_bytes(4, "little"))
        writer.publish()
        box.view.refresh()
        symbol = box.view.symbol(chance.choice(("gain", "Quick.count", "Quick.sum", "valve")))
        lane.force(box.view, symbol, chance.randrange(99), owner="ann", reason="test", lease_s=0.02)
        lane.write(box.view, box.view.symbol("gain"), number)
        if number % 3 == 2:
            application = programs_in_turn[(number // 3 + 1) % 3]
            scan.load(application, "swap", trial_scans=number % 2 * 5)
        box.pump(30, checkpoint=bool(number % 2))
    recording = box.recording()
    report = replay(recording)
    faultless(report, checkpoints=5)
    assert report.changes == 4
    start, *more = recording.stretches()
    assert all(one.continues for one in more)
    assert start.start.scan + report.scans == last_scan(recording)


def test_recording_when_a_program_fails_its_trial_then_replay_goes_back_with_it(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build("old"))
    box = Box(scan.directory, tmp_path)
    lane = CommandLane.open(scan.directory, "gate")
    box.pump(10)
    scan.load(keep(scan, dangerous().build("new")), "swap", trial_scans=100_000)
    box.pump(20)
    box.view.refresh()
    lane.write(box.view, box.view.symbol("Fault"), 1)
    wait_for(lambda: scan.event("swap"), "the way back")
    box.pump(20)
    report = replay(box.recording())
    faultless(report, checkpoints=2)
    assert [(fault.code, fault.line) for _, fault in report.faults if fault] == [("RF1001", 42)]
    assert report.changes == 2


def last_scan(recording: Recording) -> int:
    return max(frame.last_scan for frame in recording.frames if frame.kind == FrameKind.RECORDS)


def pump_and_die(directory: pathlib.Path, folder: pathlib.Path, life: int, pumps: int) -> None:
    box = Box(directory, folder)
    box.hurry_ns = life * 10**12  # the names of files are times
    for _ in range(pumps):
        box.hurry_ns += 400_000_000  # a frame every third time, a checkpoint every 25th
        box.recorder.pump()
    os.kill(os.getpid(), 9)


def test_recorder_when_killed_at_any_moment_then_the_next_one_goes_on_without_a_gap(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    lane, view = CommandLane.open(scan.directory, "gate"), NodeView.open(scan.directory)
    view.refresh()
    chance, context = random.Random(2), multiprocessing.get_context("fork")
    for number in range(40):
        arguments = (scan.directory, tmp_path, number, chance.randrange(60))
        process = context.Process(target=pump_and_die, args=arguments)
        process.start()
        lane.write(view, view.symbol("Level"), number)
        if number % 2:  # in the middle of something
            time.sleep(chance.random() / 50)
            process.kill()
        process.join()
    box = Box(scan.directory, tmp_path)
    box.hurry_ns = 10**15
    box.pump(10)
    box.pump(10)
    recording = box.recording()
    report = replay(recording)
    assert (report.mismatches, report.gaps, recording.damaged) == ([], 0, ())
    start, *more = recording.stretches()
    assert all(one.continues for one in more)
    assert start.start.scan + report.scans == last_scan(recording)


def test_recording_when_the_scan_process_starts_anew_then_both_lives_are_replayed(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with ScanProcess(directory, "--no-realtime") as scan:
        begun(scan, counter().build())
        box = Box(directory, tmp_path)
        box.pump(10)
        box.pump(10)
        scan.process.kill()
        scan.process.wait(10)
    with ScanProcess(directory, "--no-realtime") as scan:
        begun(scan, counter().build())
        lane = CommandLane.open(directory, "gate")
        for _ in range(3):
            box.pump(10)
            lane.write(box.view, box.view.symbol("Level"), 1)
        recording = box.recording()
    assert len({one.generation for one in recording.checkpoints()}) == 2
    faultless(replay(recording), checkpoints=3)


def test_recording_when_stopped_and_started_then_no_replay_runs_over_it(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    box = Box(scan.directory, tmp_path)
    box.pump(10)
    scan.do("stop")
    scan.do("start")
    box.pump(10)
    box.pump(10)
    faultless(replay(box.recording()), checkpoints=1)


def test_recording_when_a_fault_happens_then_its_folder_replays_to_the_fault(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, dangerous().build())
    box = Box(scan.directory, tmp_path)
    lane = CommandLane.open(scan.directory, "gate")
    box.pump(10)
    lane.write(box.view, box.view.symbol("Fault"), 1)
    wait_for(lambda: scan.event("fault"), "the fault")
    box.recorder.pump()
    (folder,) = (tmp_path / "faults").iterdir()
    report = replay(open_recording(folder))
    ((_, fault),) = report.faults
    assert fault is not None
    assert (fault.code, fault.line) == ("RF1001", 42)
    assert report.mismatches == []


def test_recording_when_its_end_is_torn_then_all_before_is_replayed(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    box = Box(scan.directory, tmp_path)
    for _ in range(4):
        box.pump(10)
    box.recorder.close()
    (file,) = tmp_path.glob("*.twr")
    file.write_bytes(file.read_bytes()[:-5])
    recording = open_recording(tmp_path)
    assert recording.damaged == (file.name,)
    report = replay(recording)
    faultless(report, checkpoints=2)
    assert report.gaps == 1


def test_recording_when_the_ring_was_full_then_the_gap_is_marked_and_nothing_runs_over_it(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    box = Box(scan.directory, tmp_path)
    box.pump(10)
    box.pump(5)
    words = box.recorder._reader._segment.words  # type: ignore[union-attr]
    words[w.R_HEAD] -= w.RECORDS_CAPACITY  # a reader that has not come for long
    lost = int(words[w.R_LOST])
    wait_for(lambda: int(words[w.R_LOST]) > lost, "a loss")
    words[w.R_HEAD] = words[w.R_TAIL]
    for _ in range(3):
        box.pump(10)
    recording = box.recording()
    report = replay(recording)
    faultless(report, checkpoints=3)
    assert report.gaps == 1
    assert any(frame.kind == FrameKind.LOSS for frame in recording.frames)
    assert "found no room" in box.notes[0]


def test_comparison_when_another_program_runs_then_the_first_difference_of_each_output_is_told(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, compiled())
    box = Box(scan.directory, tmp_path)
    lane, writer = CommandLane.open(scan.directory, "gate"), InputsWriter.create(scan.directory, CHANNELS)
    box.pump(10)
    writer.image[:4] = [10, 0, 0, 0]
    writer.publish()
    box.pump(10)
    lane.write(box.view, box.view.symbol("gain"), 5)
    box.pump(60)
    recording = box.recording()
    same = compare(recording, compiled())
    assert same.scans > 50
    assert (same.first_scan, same.first_variables) == (0, ())
    other = compare(recording, compiled(TWO_TASKS.replace("level * gain", "level * gain + 2")))
    valve = other.outputs["valve"]
    assert valve.largest == 2
    assert valve.differing > 50
    assert "valve" in other.first_variables
    assert other.faults == []


def test_recording_when_the_application_is_missing_then_refused(
    scan: ScanProcess, tmp_path: pathlib.Path
) -> None:
    begun(scan, counter().build())
    box = Box(scan.directory, tmp_path)
    box.pump(10)
    shutil.rmtree(tmp_path / "applications")
    with pytest.raises(TickworkError, match="SC4004"):
        replay(box.recording())


@pytest.fixture
def recorded(scan: ScanProcess, tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A recording of the two tasks in which the level rises from 10 to 30 and the gain from 3 to 5, and their plant."""
    begun(scan, compiled())
    box = Box(scan.directory, tmp_path / "recordings")
    lane, writer = CommandLane.open(scan.directory, "gate"), InputsWriter.create(scan.directory, CHANNELS)
    box.pump(10)
    for level, gain in ((10, 3), (30, 5)):
        writer.image[:4] = [level, 0, 0, 0]
        writer.publish()
        lane.write(box.view, box.view.symbol("gain"), gain)
        box.pump(40)
    box.recorder.close()
    plant = tmp_path / "plant"
    plant.mkdir()
    (plant / "plant.toml").write_text(SETTINGS)
    (plant / "main.st").write_text(TWO_TASKS)
    return tmp_path / "recordings", plant


def tickwork(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "runtime.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_commands_when_asked_then_they_replay_compare_and_say_why(
    recorded: tuple[pathlib.Path, pathlib.Path],
) -> None:
    folder, plant = recorded
    code, text = tickwork("replay", folder)
    assert (code, "0 missed" in text) == (0, True), text
    code, text = tickwork("replay", folder, "--json")
    assert code == 0
    assert json.loads(text)["checkpoints"] >= 1
    other = plant.parent / "other"
    shutil.copytree(plant, other)
    (other / "main.st").write_text(TWO_TASKS.replace("level * gain", "level * gain + 2"))
    code, text = tickwork("replay", folder, "--program", other)
    assert code == 0, text
    assert "open-loop" in text
    line = next(n for n, row in enumerate(TWO_TASKS.splitlines(), 1) if row.startswith("valve :="))
    assert f"valve written by QUICK (main.st:{line})".lower() in text.lower()
    code, text = tickwork("trace", folder, "level", "valve", "--when", "level > 20 AND gain = 5", "--back", 2)
    assert code == 0, text
    assert "150" in text or "151" in text
    code, text = tickwork("trace", folder, "--why", "valve", "--program", plant)
    assert code == 0, text
    line = next(n for n, row in enumerate(TWO_TASKS.splitlines(), 1) if row.startswith("valve :="))
    assert f"main.st:{line}" in text
    code, text = tickwork("trace", folder, "--why", "gain")
    assert "an operator" in text
    code, text = tickwork("trace", folder, "--why", "level")
    assert "input" in text
    code, text = tickwork("trace", folder, "--when", "level > 1000")
    assert code == 1
    code, text = tickwork("trace", folder, "--when", "level +")
    assert (code, "SC4007" in text) == (1, True)


def test_replay_command_when_a_recorded_state_is_altered_then_exit_code_1_and_the_variable(
    recorded: tuple[pathlib.Path, pathlib.Path],
) -> None:
    folder, _ = recorded
    (file,) = folder.glob("*.twr")
    application = compiled()
    count = next(one for one in application.symbols if one.path == "Quick.count")
    altered = b""
    for frame in open_recording(folder).frames:
        plain = frame.plain()
        spans = {
            "scans": (frame.first_scan, frame.last_scan),
            "wall_ns": (frame.first_wall_ns, frame.last_wall_ns),
        }
        if frame.kind == FrameKind.CHECKPOINT:
            point = frame.checkpoint()
            block = bytearray(point.block)
            block[count.offset] ^= 1
            digest = hashlib.sha256(block).hexdigest()
            point = msgspec.structs.replace(point, block=bytes(block), digest=digest)
            plain = msgspec.msgpack.encode(point) if altered.count(b"TWRF") > 3 else plain
        altered += encode_frame(frame.kind, plain, **spans)
    file.write_bytes(altered)
    code, text = tickwork("replay", folder)
    assert code == 1, text
    assert "Quick.count" in text


def test_node_when_it_has_run_then_its_recordings_replay_and_say_who_wrote(tmp_path: pathlib.Path) -> None:
    plant = write_plant(tmp_path / "plant")
    with NodeProcess(plant, tmp_path / "state", tmp_path / "cache") as node:
        node.until_running()
        node.ask("write", values={"Main.setpoint": "2.5"})
        wait_for(lambda: list(node.directory.recordings.glob("*.twr")), "a recording")
        node.kill("gate")
        wait_for(lambda: len(list(node.directory.recordings.glob("*.twr"))) > 1, "a new recorder")
        node.until_running()
        node.ask("write", values={"Main.setpoint": "3.5"})
        node.ask("write", values={"Main.fail": "TRUE"})
        faults = node.directory.recordings / "faults"
        wait_for(lambda: faults.is_dir() and list(faults.iterdir()), "the files of the fault")
    code, text = tickwork("replay", node.directory.recordings)
    assert code == 0, text
    assert "RF1001" in text
    assert "gap" not in text, "the killed gate has lost nothing"
    _, *more = open_recording(node.directory.recordings).stretches()
    assert all(one.continues for one in more)
    code, text = tickwork("replay", next(faults.iterdir()), "--json")
    assert (code, json.loads(text)["mismatches"]) == (0, [])
    code, text = tickwork("trace", node.directory.recordings, "--why", "Main.count")
    assert code == 0, text
    line = next(n for n, row in enumerate(PROGRAM.splitlines(), 1) if row.startswith("count :="))
    assert f"main.st:{line}" in text
    code, text = tickwork("trace", node.directory.recordings, "--why", "main.setpoint")
    assert "an operator" in text
