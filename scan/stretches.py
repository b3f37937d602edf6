"""The parts of a recording that a replay can run, each from a state to the next place that it cannot cross by itself.

Theory. A stretch begins with a checkpoint and holds the records behind it, all for one program. Scan numbers leave no
gap inside of a recording, and a record says of itself when it does not follow from those before (a loss, a start):
there a stretch ends for good, and the next recorded checkpoint begins another. At an online change a stretch ends too,
but its end is a state that can be computed: it is run, the recorded program is exchanged by the production code, and
the next stretch begins with the result. A way back from a trial begins with the state that was kept at the exchange.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan import recording as r
from scan.abi import Application
from scan.problem import TickworkError
from scan.virtual import VirtualEngine

Words = npt.NDArray[np.int64]
FindApplication = Callable[[str], Application]


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """Records behind the checkpoint ``start``: up to the scan of ``end``, or (None) as far as they go."""

    start: r.Checkpoint
    end: r.Checkpoint | None
    words: Words
    positions: list[int]  # where each record begins
    continues: bool = False  # nothing is missing between the stretch before and this one
    changed: bool = False  # it begins with an online change or the way back from a trial

    @property
    def scans(self) -> int:
        kinds = self.words[self.positions] & 0xFF if self.positions else self.words[:0]
        return int(np.count_nonzero(kinds == w.RECORD_SCAN))

    @property
    def duration_ns(self) -> int:
        return int(self.words[self.positions[-1] + 3]) - self.start.now_ns if self.positions else 0

    def records(self) -> Iterator[r.Record]:
        return r.iterate_records(self.words)


class Engines:
    """Engines of the recorded applications, one for each program and numbering of its tasks."""

    def __init__(self, find: FindApplication) -> None:
        self._find = find
        self._engines: dict[tuple[str, tuple[tuple[str, int], ...]], VirtualEngine] = {}

    def at(self, checkpoint: r.Checkpoint) -> VirtualEngine:
        """An engine in the state of a checkpoint. Raises TickworkError SC3002, SC3003, SC4004."""
        key = (checkpoint.application, tuple(sorted(checkpoint.slots.items())))
        if key not in self._engines:
            self._engines[key] = self.new(checkpoint)
        return restored(self._engines[key], checkpoint)

    def new(self, checkpoint: r.Checkpoint) -> VirtualEngine:
        """One that nobody else uses: an exchange makes it that of another program."""
        return VirtualEngine(self._find(checkpoint.application), slots=checkpoint.slots)

    def swapped(self, before: r.Checkpoint, change: r.Change, now_ns: int) -> r.Checkpoint:
        """The state after an online change. Raises TickworkError SC3002, SC3003, SC4004."""
        engine = restored(self.new(before), before)
        engine.swap(
            self._find(change.application), now_ns, renames=change.renames, slots=change.slots,
            generation=change.generation,
        )  # fmt: skip
        return state_of(engine, before, now_ns)


def restored(engine: VirtualEngine, checkpoint: r.Checkpoint) -> VirtualEngine:
    engine.restore(
        checkpoint.block, forces=b"".join(checkpoint.forces), inputs=checkpoint.inputs or None,
        scan=checkpoint.scan, generation=checkpoint.generation,
    )  # fmt: skip
    return engine


def state_of(engine: VirtualEngine, before: r.Checkpoint, now_ns: int) -> r.Checkpoint:
    """The state of an engine as the recorder would have noted it."""
    block = engine.block.tobytes()
    return r.Checkpoint(
        generation=engine.generation, application=engine.application.digest, scan=engine.scan_count, now_ns=now_ns,
        wall_ns=before.wall_ns, block=block, inputs=engine.inputs, forces=(engine.force_table,),
        digest=hashlib.sha256(block).hexdigest(), slots=engine.task_slots,
    )  # fmt: skip


def cut_frames(frames: Iterable[r.Frame], engines: Engines) -> Iterator[Stretch]:
    """All stretches in order. Raises TickworkError SC4002, SC4003 for frames that cannot be read."""
    start: r.Checkpoint | None = None
    parts: list[Words] = []
    memory, boot, continues = _Memory(engines), "", False
    for frame in frames:
        if frame.kind == r.FrameKind.CHANGE:
            change = frame.change()
            memory.changes[change.generation] = change
            continue
        if frame.kind == r.FrameKind.RECORDS:
            if start is not None:
                parts.append(frame.records())
            continue
        if frame.kind == r.FrameKind.HEADER:
            before, boot = boot, frame.header().boot
            if before == boot:
                continue
            memory = _Memory(engines)
        end = frame.checkpoint() if frame.kind == r.FrameKind.CHECKPOINT else None
        if start is not None:
            until = None if end is not None and end.begin else end
            continues = yield from _Cutter(memory, parts).stretches(start, until, continues)
        start, parts = end, []
    if start is not None:
        yield from _Cutter(memory, parts).stretches(start, None, continues)


@dataclasses.dataclass(slots=True)
class _Memory:
    """What is known of the changes in one run of a scan process."""

    engines: Engines
    changes: dict[int, r.Change] = dataclasses.field(default_factory=dict)  # by generation of the new program
    kept: r.Checkpoint | None = None  # the state at the last exchange: where a trial may lead back to

    def after(self, stretch: Stretch, generation: int, scan: int, now_ns: int) -> r.Checkpoint | None:
        """The state with which the program of that generation begins behind a stretch, if it can be known."""
        if self.kept is not None and self.kept.generation == generation:
            return msgspec.structs.replace(self.kept, scan=scan, now_ns=now_ns)
        change = self.changes.get(generation)
        if change is None or change.previous != stretch.start.generation:
            return None
        try:
            self.kept = self._end_of(stretch, now_ns)
            return self.engines.swapped(self.kept, change, now_ns) if self.kept is not None else None
        except TickworkError:  # the application is missing: what follows is known from the next checkpoint on
            return None

    def _end_of(self, stretch: Stretch, now_ns: int) -> r.Checkpoint | None:
        engine, data = self.engines.at(stretch.start), stretch.words.tobytes()
        used = engine.replay(data)
        engine.flush()
        return state_of(engine, stretch.start, now_ns) if used == len(data) else None


class _Cutter:
    """Cuts the records between two checkpoints."""

    def __init__(self, memory: _Memory, parts: list[Words]) -> None:
        self._memory = memory
        self._words = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        self._positions = r.record_positions(self._words)
        places = np.array(self._positions, np.int64)
        self._kinds, self._scans = (self._words[places + word] for word in (0, 1))
        self._kinds = self._kinds & 0xFF
        last = max(len(self._words) - 1, 0)
        # Words behind the head mean this only in records of their kind.
        self._generations, self._flags = (
            self._words[np.minimum(places + w.RECORD_HEAD_WORDS + word, last)] for word in (0, 1)
        )

    def stretches(
        self, start: r.Checkpoint, end: r.Checkpoint | None, continues: bool
    ) -> Generator[Stretch, None, bool]:
        """Returns whether the next stretch, from ``end`` on, follows without a gap."""
        first, changed = self._first(start), False
        while True:
            stop = self._reach(first, start)
            whole = stop == len(self._positions)
            met = whole and end is not None and end.generation == start.generation and end.scan >= start.scan
            stretch = self._stretch(first, stop, start, end if met else None)
            yield dataclasses.replace(stretch, continues=continues, changed=changed)
            after = None if whole else self._after(stretch, stop)
            if after is None:
                return met
            start, first, continues, changed = after, stop + 1, True, True

    def _stretch(self, first: int, stop: int, start: r.Checkpoint, end: r.Checkpoint | None) -> Stretch:
        places = [*self._positions, len(self._words)]
        begin, until = places[first], places[stop]
        return Stretch(start, end, self._words[begin:until], [place - begin for place in places[first:stop]])

    def _first(self, start: r.Checkpoint) -> int:
        """The first record behind a checkpoint; in its very scan that may be the start of a later program."""
        later = (self._kinds == w.RECORD_START) & (self._generations > start.generation)
        return _first_true((self._scans > start.scan) | (self._scans == start.scan) & later)

    def _reach(self, first: int, start: r.Checkpoint) -> int:
        """The record that a replay from ``first`` on cannot cross."""
        is_scan = self._kinds[first:] == w.RECORD_SCAN
        expected = start.scan + np.cumsum(is_scan)
        cut = (self._scans[first:] != expected) | (self._flags[first:] & w.RECORD_FLAG_CUT != 0)
        if start.begin and is_scan.any():  # only that it does not follow from the scans before
            begins = int(np.argmax(is_scan))
            cut[begins] = self._scans[first + begins] != expected[begins]
        return first + _first_true(is_scan & cut | (self._kinds[first:] == w.RECORD_START))

    def _after(self, stretch: Stretch, stop: int) -> r.Checkpoint | None:
        if self._kinds[stop] != w.RECORD_START:
            return None
        now_ns = int(self._words[self._positions[stop] + 3])
        return self._memory.after(stretch, int(self._generations[stop]), int(self._scans[stop]), now_ns)


def _first_true(marks: npt.NDArray[np.bool_]) -> int:
    """Its index, or the length."""
    return int(np.argmax(marks)) if marks.any() else len(marks)
