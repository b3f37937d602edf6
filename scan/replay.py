"""Replay: recorded scans run again from a checkpoint, and every later checkpoint has to be met bit for bit.

Theory. A stretch begins at a checkpoint and holds the records behind it. It ends at the next checkpoint, which must be
met, or earlier at a record that a replay cannot cross: a full record (a loss, a start) or the start of another program.
"""

from __future__ import annotations

import hashlib
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan import recording as r
from scan.abi import Application, decode_application
from scan.problem import Place, fail
from scan.state import NodeState
from scan.values import Value, read_value
from scan.virtual import ProgramFault, VirtualEngine

Words = npt.NDArray[np.int64]
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
class Stretch:
    """Records behind the checkpoint ``start``: up to the scan of ``end``, or (None) as far as they go."""

    start: r.Checkpoint
    end: r.Checkpoint | None
    words: Words
    positions: list[int]  # where each record begins

    @property
    def scans(self) -> int:
        kinds = self.words[self.positions] & 0xFF if self.positions else self.words[:0]
        return int(np.count_nonzero(kinds == w.RECORD_SCAN))

    @property
    def duration_ns(self) -> int:
        return int(self.words[self.positions[-1] + 3]) - self.start.now_ns if self.positions else 0

    def records(self) -> Iterator[r.Record]:
        return r.iterate_records(self.words)


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames of one or several files in order, and the applications that ran, by digest."""

    frames: tuple[r.Frame, ...]
    applications: dict[str, Application]
    damaged: tuple[str, ...] = ()  # files with a torn or damaged end

    def checkpoints(self) -> list[r.Checkpoint]:
        return [frame.checkpoint() for frame in self.frames if frame.kind == r.FrameKind.CHECKPOINT]

    def stretches(self) -> Iterator[Stretch]:
        """The parts that can be replayed. A gap, a start, an online change end one; the next checkpoint begins one."""
        start: r.Checkpoint | None = None
        parts: list[Words] = []
        boot = ""
        for frame in self.frames:
            if frame.kind == r.FrameKind.RECORDS and start is not None:
                parts.append(frame.records())
                continue
            end = frame.checkpoint() if frame.kind == r.FrameKind.CHECKPOINT else None
            if frame.kind == r.FrameKind.HEADER:
                before, boot = boot, frame.header().boot
                if before == boot:
                    continue
            if start is not None:
                yield _stretch(start, end, parts)
            start, parts = end, []
        if start is not None:
            yield _stretch(start, None, parts)

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
        try:
            found = r.read_segment(file.read_bytes(), str(file))
        except OSError as error:
            raise fail(
                "SC4005", "the recording cannot be read", place=Place(str(file)), found=str(error)
            ) from error
        frames += found.frames
        if found.damaged_at >= 0:
            damaged.append(file.name)
            last = found.frames[-1]
            loss = r.encode_loss(0, scan=last.last_scan, wall_ns=last.last_wall_ns)
            frames += r.read_segment(r.encode_header(r.SegmentHeader("", "", "", 0)) + loss).frames[1:]
    folders = [folder / "applications" for folder in (files[0].parent, *files[0].parents[1:3])]
    return Recording(tuple(frames), _applications(folders), tuple(damaged))


def _applications(folders: Sequence[pathlib.Path]) -> dict[str, Application]:
    found: dict[str, Application] = {}
    for folder in folders:
        for path in folder.glob("*.app") if folder.is_dir() else ():
            try:
                found.setdefault(path.stem, decode_application(path.read_bytes()))
            except (OSError, msgspec.MsgspecError):
                continue
    return found


def _stretch(start: r.Checkpoint, end: r.Checkpoint | None, parts: list[Words]) -> Stretch:
    """The records of ``parts`` behind ``start``, up to the first that a replay cannot cross."""
    words = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    positions = r.record_positions(words)
    heads = words[positions] if positions else words
    scans = words[np.array(positions, np.int64) + 1] if positions else words
    first = int(np.argmax(scans > start.scan)) if (scans > start.scan).any() else len(positions)
    stop, cut = len(positions), False
    for number in range(first, len(positions)):
        kind = int(heads[number]) & 0xFF
        if kind == w.RECORD_START or (kind == w.RECORD_SCAN and _is_full(words, positions[number])):
            stop, cut = number, True
            break
    begin = positions[first] if first < len(positions) else len(words)
    until = positions[stop] if stop < len(positions) else len(words)
    met = end is not None and not cut and end.generation == start.generation and end.scan >= start.scan
    kept = [position - begin for position in positions[first:stop]]
    return Stretch(start, end if met else None, words[begin:until], kept)


def _is_full(words: Words, position: int) -> bool:
    return bool(int(words[position + w.RECORD_HEAD_WORDS + 1]) & w.RECORD_FLAG_FULL)


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


class Engines:
    """Engines of the recorded applications, one for each program and numbering of its tasks."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._engines: dict[tuple[str, tuple[tuple[str, int], ...]], VirtualEngine] = {}

    def at(self, checkpoint: r.Checkpoint) -> VirtualEngine:
        """An engine in the state of a checkpoint. Raises TickworkError SC3002, SC3003, SC4004."""
        key = (checkpoint.application, tuple(sorted(checkpoint.slots.items())))
        if key not in self._engines:
            application = self._recording.application(checkpoint.application)
            self._engines[key] = VirtualEngine(application, slots=checkpoint.slots)
        engine = self._engines[key]
        engine.restore(
            checkpoint.block, forces=b"".join(checkpoint.forces), inputs=checkpoint.inputs or None,
            scan=checkpoint.scan, generation=checkpoint.generation,
        )  # fmt: skip
        return engine


def replay(recording: Recording, *, progress: Progress | None = None) -> Report:
    """Run every stretch again with the program that was recorded, and compare the state at each checkpoint.

    Raises TickworkError SC3002, SC3003, SC4002 to SC4004.
    """
    report = Report(gaps=sum(frame.kind == r.FrameKind.LOSS for frame in recording.frames))
    engines = Engines(recording)
    begun = time.perf_counter_ns()
    stretches = list(recording.stretches())
    total = sum(stretch.scans for stretch in stretches)
    for stretch in stretches:
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
