"""Replay: recorded scans run again from a checkpoint, and every later checkpoint has to be met bit for bit.

With another program the replay is *open-loop*: the recorded inputs do not react to its outputs. Both programs then run
side by side over the same records, and their outputs are compared scan by scan.
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
from scan.abi import Application, Symbol, decode_application
from scan.problem import Place, fail
from scan.values import Value, read_value
from scan.virtual import ProgramFault, VirtualEngine

Words = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]  # scans done, scans in all


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A checkpoint that the replay did not meet: scan, and the variables that differ."""

    scan: int
    variables: tuple[str, ...]


@dataclass(slots=True)
class Report:
    scans: int = 0
    checkpoints: int = 0  # met bit for bit
    mismatches: list[Mismatch] = field(default_factory=list)
    gaps: int = 0  # places where records were lost or the file is damaged
    faults: list[tuple[int, ProgramFault]] = field(default_factory=list)
    recorded_ns: int = 0
    elapsed_ns: int = 0

    @property
    def speed(self) -> float:
        """How many times faster than the plant it ran."""
        return self.recorded_ns / self.elapsed_ns if self.elapsed_ns else 0.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records between two checkpoints: ``words`` are those after ``start`` up to the scan of ``end`` (None: the end)."""

    start: r.Checkpoint
    end: r.Checkpoint | None
    words: Words


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames of one or several files in order, and the applications that ran, by digest."""

    frames: tuple[r.Frame, ...]
    applications: dict[str, Application]
    damaged: tuple[str, ...] = ()  # files with a torn or damaged end

    def checkpoints(self) -> list[r.Checkpoint]:
        return [frame.checkpoint() for frame in self.frames if frame.kind == r.FrameKind.CHECKPOINT]

    def stretches(self) -> Iterator[Stretch]:
        """The parts that can be replayed. A loss ends one; the next begins at the next checkpoint."""
        start: r.Checkpoint | None = None
        collected: list[Words] = []
        for frame in self.frames:
            if frame.kind == r.FrameKind.RECORDS and start is not None:
                collected.append(frame.records())
            elif frame.kind == r.FrameKind.LOSS:
                if start is not None:
                    yield Stretch(start, None, _between(collected, start.scan, None))
                start, collected = None, []
            elif frame.kind == r.FrameKind.CHECKPOINT:
                end = frame.checkpoint()
                same = start is not None and start.generation == end.generation and end.scan >= start.scan
                if start is not None:
                    yield Stretch(
                        start,
                        end if same else None,
                        _between(collected, start.scan, end.scan if same else None),
                    )
                # Records may run ahead of a checkpoint by the part of a frame: keep what is behind it.
                start, collected = end, [_between(collected, end.scan, None)] if same else []
        if start is not None:
            yield Stretch(start, None, _between(collected, start.scan, None))

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


def _between(parts: list[Words], after: int, until: int | None) -> Words:
    """The records with a scan number behind ``after`` and not behind ``until``."""
    if not parts:
        return np.zeros(0, np.int64)
    words = np.concatenate(parts)
    begin, end, position = len(words), len(words), 0
    while position < len(words):
        number = int(words[position + 1])
        if begin == len(words) and number > after:
            begin = position
        if until is not None and number > until:
            end = position
            break
        position += (int(words[position]) >> 8) // 8
    return words[min(begin, end) : end]


def replay(recording: Recording, *, progress: Progress | None = None) -> Report:
    """Run every stretch again with the program that was recorded, and compare the state at each checkpoint."""
    report = Report(gaps=sum(frame.kind == r.FrameKind.LOSS for frame in recording.frames))
    engines: dict[str, VirtualEngine] = {}
    stretches = list(recording.stretches())
    total = sum(_scan_count(stretch.words) for stretch in stretches)
    begun = time.perf_counter_ns()
    for stretch in stretches:
        digest = stretch.start.application
        engine = engines.get(digest) or VirtualEngine(recording.application(digest))
        engines[digest] = engine
        _run_stretch(engine, stretch, report)
        if progress is not None:
            progress(report.scans, total)
    report.elapsed_ns = time.perf_counter_ns() - begun
    return report


def restore(engine: VirtualEngine, checkpoint: r.Checkpoint) -> None:
    """Put an engine into the state of a checkpoint."""
    inputs = checkpoint.inputs or None
    engine.restore(checkpoint.block, forces=b"".join(checkpoint.forces), inputs=inputs, scan=checkpoint.scan)


def _scan_count(words: Words) -> int:
    return sum(record.kind == w.RECORD_SCAN for record in r.iterate_records(words))


def _run_stretch(engine: VirtualEngine, stretch: Stretch, report: Report) -> None:
    restore(engine, stretch.start)
    before = engine.scan_count
    data = stretch.words.tobytes()
    used = engine.replay(data)
    engine.flush()
    report.scans += engine.scan_count - before
    if used < len(data):
        rest = next(r.iterate_records(stretch.words[used // 8 :]))
        if rest.kind == w.RECORD_FAULT and engine.last_fault is not None:
            report.faults.append((rest.scan, engine.last_fault))
        return
    if stretch.end is None:
        return
    report.recorded_ns += stretch.end.now_ns - stretch.start.now_ns
    if hashlib.sha256(engine.block.tobytes()).hexdigest() == stretch.end.digest:
        report.checkpoints += 1
    else:
        report.mismatches.append(Mismatch(stretch.end.scan, differing(engine, stretch.end.block)))


def differing(engine: VirtualEngine, block: bytes) -> tuple[str, ...]:
    """Paths of the variables that differ between the engine and a recorded block."""
    other = np.frombuffer(block, np.uint8)
    return tuple(
        symbol.path
        for symbol in engine.application.symbols
        if not _equal(read_value(engine.block, symbol), read_value(other, symbol))
    )


def _equal(one: Value, other: Value) -> bool:
    return repr(one) == repr(other)  # NaN equals NaN, and TRUE is not 1


# ---------------------------------------------------------------- another program


@dataclass(slots=True)
class OutputDifference:
    """How an output of another program differs from the recorded program's."""

    path: str
    first_scan: int = 0
    first_wall_ns: int = 0
    differing: int = 0
    largest: float = 0.0


@dataclass(slots=True)
class Comparison:
    scans: int = 0
    outputs: dict[str, OutputDifference] = field(default_factory=dict)
    faults: list[tuple[int, ProgramFault]] = field(default_factory=list)
    unmapped: tuple[str, ...] = ()  # variables of the recorded program that the other one lacks


def compare(recording: Recording, other: Application, *, progress: Progress | None = None) -> Comparison:
    """Run another program over the recording beside the recorded one. Open-loop: inputs do not react to it."""
    result = Comparison()
    stretches = list(recording.stretches())
    if not stretches:
        return result
    recorded = recording.application(stretches[0].start.application)
    ours, theirs = VirtualEngine(recorded), VirtualEngine(other)
    pairs = _outputs(recorded, other)
    result.outputs = {mine.path: OutputDifference(mine.path) for mine, _ in pairs}
    names = {symbol.path.upper() for symbol in other.symbols}
    result.unmapped = tuple(symbol.path for symbol in recorded.symbols if symbol.path.upper() not in names)
    restore(ours, stretches[0].start)
    _carry(ours, theirs, stretches[0].start)
    total = sum(_scan_count(stretch.words) for stretch in stretches)
    for stretch in stretches:
        for record in _whole_scans(stretch.words):
            ours.replay(record.words.tobytes())
            ours.flush()
            if not _step(theirs, record, result):
                return result
            result.scans += 1
            _compare_outputs(pairs, ours, theirs, record, result)
        if progress is not None:
            progress(result.scans, total)
    return result


def _whole_scans(words: Words) -> Iterator[r.Record]:
    return (record for record in r.iterate_records(words) if record.kind == w.RECORD_SCAN)


def _outputs(recorded: Application, other: Application) -> list[tuple[Symbol, Symbol]]:
    """Outputs of both programs with the same place in %Q, or else the same path."""
    by_place = {symbol.location: symbol for symbol in other.symbols if symbol.location.startswith("%Q")}
    mine = [symbol for symbol in recorded.symbols if symbol.location.startswith("%Q")]
    return [(symbol, by_place[symbol.location]) for symbol in mine if symbol.location in by_place]


def _carry(ours: VirtualEngine, theirs: VirtualEngine, checkpoint: r.Checkpoint) -> None:
    """The other program starts with the recorded values of the variables that it has too."""
    targets = {symbol.path.upper(): symbol for symbol in theirs.application.symbols}
    for symbol in ours.application.symbols:
        target = targets.get(symbol.path.upper())
        if target is not None and (target.type, target.dims, target.length) == (
            symbol.type,
            symbol.dims,
            symbol.length,
        ):
            theirs.write(target.path, ours.read(symbol.path))
    theirs.set_inputs(checkpoint.inputs[: theirs.application.inputs.size])


def _step(engine: VirtualEngine, record: r.Record, result: Comparison) -> bool:
    used = engine.replay(record.words.tobytes())
    engine.flush()
    if used == 0 or engine.last_fault is not None:
        if engine.last_fault is not None:
            result.faults.append((record.scan, engine.last_fault))
        return False
    return True


def _compare_outputs(
    pairs: list[tuple[Symbol, Symbol]],
    ours: VirtualEngine,
    theirs: VirtualEngine,
    record: r.Record,
    result: Comparison,
) -> None:
    for mine, other in pairs:
        one, two = read_value(ours.block, mine), read_value(theirs.block, other)
        if _equal(one, two):
            continue
        difference = result.outputs[mine.path]
        if difference.differing == 0:
            difference.first_scan = record.scan
            difference.first_wall_ns = int(record.words[w.RECORD_HEAD_WORDS])
        difference.differing += 1
        if isinstance(one, int | float) and isinstance(two, int | float):
            difference.largest = max(difference.largest, abs(float(one) - float(two)))
