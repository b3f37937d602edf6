"""Replay: recorded scans run again from a checkpoint, and every later checkpoint has to be met bit for bit.

Theory. A stretch (``scan.stretches``) begins with a known state and ends at the next checkpoint, which must be met, at
an online change, which is followed, or at a record that a replay cannot cross (a loss, a start).
"""

from __future__ import annotations

import hashlib
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from scan import layout as w
from scan import recording as r
from scan.abi import Application, decode_application
from scan.problem import Place, TickworkError, fail
from scan.state import NodeState
from scan.stretches import Engines, Stretch, cut_frames
from scan.values import Value, read_value
from scan.virtual import ProgramFault, VirtualEngine

Progress = Callable[[int, int], None]  # scans done, scans in all


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A checkpoint that the replay did not meet: scan, and the variables that differ; or a fault of its own."""

    scan: int
    variables: tuple[str, ...]
    fault: ProgramFault | None = None


@dataclass(slots=True)
class Report:
    scans: int = 0
    checkpoints: int = 0  # met bit for bit
    mismatches: list[Mismatch] = field(default_factory=list)
    changes: int = 0  # online changes and ways back from a trial that it followed
    gaps: int = 0  # places where records were lost or the file is damaged
    faults: list[tuple[int, ProgramFault | None]] = field(
        default_factory=list
    )  # None: it does not recur here
    recorded_ns: int = 0
    elapsed_ns: int = 0

    @property
    def speed(self) -> float:
        """How many times faster than the plant it ran."""
        return self.recorded_ns / self.elapsed_ns if self.elapsed_ns else 0.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames of one or several files in order, and the applications that ran, by digest."""

    frames: tuple[r.Frame, ...]
    applications: dict[str, Application]
    damaged: tuple[str, ...] = ()  # files with a torn or damaged end

    def checkpoints(self) -> list[r.Checkpoint]:
        return [frame.checkpoint() for frame in self.frames if frame.kind == r.FrameKind.CHECKPOINT]

    def stretches(self) -> Iterator[Stretch]:
        """The parts that can be replayed, see ``scan.stretches``."""
        return cut_frames(self.frames, Engines(self.application))

    def changes(self) -> list[r.Change]:
        """The online changes in it."""
        return [frame.change() for frame in self.frames if frame.kind == r.FrameKind.CHANGE]

    def application(self, digest: str) -> Application:
        if digest not in self.applications:
            raise fail(
                "SC4004", "the application of the recording is missing", found=digest[:16],
                remedy="keep the folder `applications` beside the segments",
            )  # fmt: skip
        return self.applications[digest]


def open_recording(path: pathlib.Path) -> Recording:
    """A segment file, or a folder of them. Raises TickworkError SC4001, SC4004, SC4005."""
    files = sorted(path.glob("*.twr")) if path.is_dir() else [path]
    if not files:
        raise fail(
            "SC4005", "there is no recording here", place=Place(str(path)), remedy="name a folder with *.twr"
        )
    frames: list[r.Frame] = []
    damaged: list[str] = []
    for file in files:
        found = _read_file(file, alone=len(files) == 1)
        frames += found.frames
        if found.damaged_at >= 0:
            damaged.append(file.name)
            frames.append(_gap(frames[-1] if frames else None))
    folders = [folder / "applications" for folder in (files[0].parent, *files[0].parents[1:3])]
    return Recording(tuple(frames), _applications(folders), tuple(damaged))


def _read_file(file: pathlib.Path, *, alone: bool) -> r.SegmentScan:
    """One file among others may be damaged from its beginning; a recording that is nothing else is refused."""
    try:
        return r.read_segment(file.read_bytes(), str(file))
    except OSError as error:
        raise fail(
            "SC4005", "the recording cannot be read", place=Place(str(file)), found=str(error)
        ) from error
    except TickworkError:
        if alone:
            raise
        return r.SegmentScan((), 0)


def _gap(before: r.Frame | None) -> r.Frame:
    scan, wall_ns = (before.last_scan, before.last_wall_ns) if before is not None else (0, 0)
    loss = r.encode_loss(0, scan=scan, wall_ns=wall_ns)
    return r.read_segment(r.encode_header(r.SegmentHeader("", "", "", 0)) + loss).frames[1]


def _applications(folders: Sequence[pathlib.Path]) -> dict[str, Application]:
    found: dict[str, Application] = {}
    for folder in folders:
        for path in folder.glob("*.app") if folder.is_dir() else ():
            try:
                found.setdefault(path.stem, decode_application(path.read_bytes()))
            except (OSError, msgspec.MsgspecError):
                continue
    return found


def chunks(stretch: Stretch) -> Iterator[tuple[list[r.Record], r.Record]]:
    """Runs of records after which no task is in a scan, each with its last scan."""
    chunk: list[r.Record] = []
    commands: list[r.Record] = []  # they belong to the scan that follows
    last: r.Record | None = None
    for record in stretch.records():
        if record.kind == w.RECORD_COMMAND:
            commands.append(record)
            continue
        if record.kind == w.RECORD_SCAN:
            if last is not None and not _runs_on(record):
                yield chunk, last
                chunk = []
            last = record
        chunk += [*commands, record]
        commands = []
    if last is not None:
        yield chunk, last


def _runs_on(record: r.Record) -> bool:
    """Whether another task was in a scan when this record's scan began."""
    return int(record.words[w.RECORD_HEAD_WORDS + 1]) >> w.RECORD_RUNNING_SHIFT != 0


def replay(recording: Recording, *, progress: Progress | None = None) -> Report:
    """Run every stretch again with the program that was recorded, and compare the state at each checkpoint.

    Raises TickworkError SC3002, SC3003, SC4002 to SC4004.
    """
    report = Report(gaps=sum(frame.kind == r.FrameKind.LOSS for frame in recording.frames))
    engines = Engines(recording.application)
    begun = time.perf_counter_ns()
    stretches = list(recording.stretches())
    total = sum(stretch.scans for stretch in stretches)
    for stretch in stretches:
        report.changes += stretch.changed
        _run_stretch(engines.at(stretch.start), stretch, report)
        if progress is not None:
            progress(report.scans, total)
    report.elapsed_ns = time.perf_counter_ns() - begun
    return report


def _run_stretch(engine: VirtualEngine, stretch: Stretch, report: Report) -> None:
    data = stretch.words.tobytes()
    used = engine.replay(data)
    engine.flush()
    report.scans += engine.scan_count - stretch.start.scan
    report.recorded_ns += stretch.duration_ns
    fault = engine.last_fault if engine.state is NodeState.FAULT else None
    if used < len(data):
        rest = next(r.iterate_records(stretch.words[used // 8 :]))
        if rest.kind == w.RECORD_FAULT:
            report.faults.append((rest.scan, fault))
        else:
            report.mismatches.append(Mismatch(rest.scan, (), fault))
    elif fault is not None:
        report.mismatches.append(Mismatch(engine.scan_count, (), fault))
    elif stretch.end is None:
        return
    elif hashlib.sha256(engine.block.tobytes()).hexdigest() == stretch.end.digest:
        report.checkpoints += 1
    else:
        report.mismatches.append(Mismatch(stretch.end.scan, differing(engine, stretch.end.block)))


def differing(engine: VirtualEngine, block: bytes) -> tuple[str, ...]:
    """Paths of the variables that differ between the engine and a recorded block."""
    other = np.frombuffer(block, np.uint8)
    return tuple(
        symbol.path
        for symbol in engine.application.symbols
        if not equal(read_value(engine.block, symbol), read_value(other, symbol))
    )


def equal(one: Value, other: Value) -> bool:
    return repr(one) == repr(other)  # NaN equals NaN, and TRUE is not 1
