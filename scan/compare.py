"""Another program over a recording, beside the recorded one: where they first differ, how often, by how much.

It is *open-loop*: the recorded inputs do not react to what the other program puts out. Commands that were recorded are
carried to the variable of the same path; those on variables that the other program lacks are counted and left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan import recording as r
from scan.abi import Application, Symbol
from scan.replay import Progress, Recording, chunks, equal
from scan.state import NodeState
from scan.stretches import Engines, Stretch
from scan.values import read_value
from scan.view import bit_mask
from scan.virtual import ProgramFault, VirtualEngine

Words = npt.NDArray[np.int64]
Place = tuple[int, int, int]  # slot, offset, bit mask: what a command names


@dataclass(slots=True)
class OutputDifference:
    """How an output of another program differs from the recorded program's."""

    path: str
    first_scan: int = 0
    first_wall_ns: int = 0
    differing: int = 0  # scans
    largest: float = 0.0


@dataclass(frozen=True, slots=True)
class FirstScan:
    """The scan of the other program in which a variable first differed: its block before and after, what ran."""

    before: bytes
    after: bytes
    runs: tuple[tuple[str, int, int, int], ...]  # task, scan, IEC time, wall time


@dataclass(slots=True)
class Comparison:
    scans: int = 0
    outputs: dict[str, OutputDifference] = field(default_factory=dict)
    first_scan: int = 0  # in which any variable that both have differed; 0 = none did
    first_variables: tuple[str, ...] = ()
    first: FirstScan | None = None
    faults: list[tuple[int, ProgramFault]] = field(default_factory=list)
    commands_left_out: int = 0
    unmapped: tuple[str, ...] = ()  # variables of the recorded program that the other one lacks


def compare(recording: Recording, other: Application, *, progress: Progress | None = None) -> Comparison:
    """Runs another program over the recording. A fault of it ends the comparison up to the next gap."""
    result = Comparison()
    engines = Engines(recording.application)
    theirs = VirtualEngine(other)
    stretches = list(recording.stretches())
    total = sum(stretch.scans for stretch in stretches)
    pair: Pair | None = None
    for stretch in stretches:
        if pair is None or not stretch.continues:
            theirs.reset()
            pair = Pair(engines.at(stretch.start), theirs, stretch.start, result, carry=True)
        elif stretch.changed:  # the other program runs on beside the next recorded one
            failed = pair.failed
            pair = Pair(engines.at(stretch.start), theirs, stretch.start, result, carry=False)
            pair.failed = failed
        pair.run(stretch)
        if progress is not None:
            progress(result.scans, total)
    return result


class Pair:
    """The recorded program and the other one, from one checkpoint on."""

    def __init__(
        self,
        ours: VirtualEngine,
        theirs: VirtualEngine,
        checkpoint: r.Checkpoint,
        result: Comparison,
        *,
        carry: bool,
    ) -> None:
        self._ours, self._theirs, self._result = ours, theirs, result
        self.failed = False
        self._before = np.zeros(0, np.uint8)
        self._chunk: list[r.Record] = []
        self._names = {slot: name for name, slot in checkpoint.slots.items()}
        mine, other = ours.application, theirs.application
        by_path = {symbol.path.upper(): symbol for symbol in other.symbols}
        common = [(one, by_path[one.path.upper()]) for one in mine.symbols if one.path.upper() in by_path]
        self._common = [(one, two) for one, two in common if _form(one) == _form(two)]
        self._outputs = _outputs(mine, other)
        self._bytes = _ByteMap(self._common)
        their_slots = {task.name: number for number, task in enumerate(other.tasks)}
        self._slots = {
            slot: their_slots[name] for name, slot in checkpoint.slots.items() if name in their_slots
        }
        self._places = {_place(one, checkpoint.slots): _place(two, their_slots) for one, two in self._common}
        for symbol, _ in self._outputs:
            result.outputs.setdefault(symbol.path, OutputDifference(symbol.path))
        result.unmapped = tuple(one.path for one in mine.symbols if one.path.upper() not in by_path)
        if carry:
            self._carry(checkpoint)

    def _carry(self, checkpoint: r.Checkpoint) -> None:
        """The other program starts with the recorded values of the variables that it has too."""
        size = self._theirs.application.inputs.size
        self._theirs.set_inputs(checkpoint.inputs[:size])
        for one, two in self._common:
            self._theirs.write(two.path, read_value(self._ours.block, one))

    def run(self, stretch: Stretch) -> None:
        if self.failed:
            return
        for chunk, record in chunks(stretch):
            self._ours.replay(np.concatenate([one.words for one in chunk]).tobytes())
            self._ours.flush()
            carried = [words for one in chunk if (words := self._carried(one)) is not None]
            if not self._result.first_scan:
                self._before = self._theirs.block.copy()
                for words in carried:
                    if int(words[0]) & 0xFF == w.RECORD_COMMAND:
                        r.apply_command(self._before, words)
            if carried:
                self._theirs.replay(np.concatenate(carried).tobytes())
                self._theirs.flush()
            self._result.scans += 1
            self._chunk = chunk
            fault = self._theirs.last_fault
            if self._theirs.state is NodeState.FAULT and fault is not None:
                self._result.faults.append((record.scan, fault))
                self.failed = True
                return
            self._compare(record)

    def _runs(self) -> tuple[tuple[str, int, int, int], ...]:
        scans = [one for one in self._chunk if one.kind == w.RECORD_SCAN and one.task in self._names]
        return tuple(
            (self._names[one.task], one.scan, one.now_ns, int(one.words[w.RECORD_HEAD_WORDS]))
            for one in scans
        )

    def _carried(self, record: r.Record) -> Words | None:
        """The record as it means the same to the other program; None when that has no such task or variable."""
        if record.kind in (w.RECORD_START, w.RECORD_FAULT):
            return None
        if record.kind == w.RECORD_COMMAND:
            return self._carried_command(record)
        if record.task not in self._slots:
            return None
        words = record.words.copy()
        words[2] = self._slots[record.task]
        if record.kind == w.RECORD_SCAN:
            flags = int(words[w.RECORD_HEAD_WORDS + 1])
            mask = self._carried_slots(flags >> w.RECORD_RUNNING_SHIFT)
            low = flags & (1 << w.RECORD_RUNNING_SHIFT) - 1
            words[w.RECORD_HEAD_WORDS + 1] = low | mask << w.RECORD_RUNNING_SHIFT
        elif record.kind == w.RECORD_FINISH:
            words[w.RECORD_HEAD_WORDS] = self._carried_slots(int(words[w.RECORD_HEAD_WORDS]))
        return words

    def _carried_slots(self, running: int) -> int:
        return sum(1 << theirs for ours, theirs in self._slots.items() if running >> ours & 1)

    def _carried_command(self, record: r.Record) -> Words | None:
        words = record.words.copy()
        row = words[w.RECORD_HEAD_WORDS :].view(w.COMMAND_DTYPE)[0]
        place = self._places.get((int(row["owner"]), int(row["offset"]), int(row["mask"])))
        if place is None:
            self._result.commands_left_out += 1
            return None
        row["owner"], row["offset"], row["mask"] = place
        row["generation"] = 1  # the only one that this engine has
        row["more"] = 0
        words[2] = 0
        return words

    def _compare(self, record: r.Record) -> None:
        ours, theirs, result = self._ours, self._theirs, self._result
        rows = self._bytes.differing(ours.block, theirs.block)
        if len(rows) and not result.first_scan:
            result.first_scan = record.scan
            result.first_variables = tuple(self._common[row][0].path for row in rows)
            result.first = FirstScan(self._before.tobytes(), theirs.block.tobytes(), self._runs())
        for mine, other in self._outputs:
            one, two = read_value(ours.block, mine), read_value(theirs.block, other)
            if equal(one, two):
                continue
            difference = result.outputs[mine.path]
            if difference.differing == 0:
                difference.first_scan = record.scan
                difference.first_wall_ns = int(record.words[w.RECORD_HEAD_WORDS])
            difference.differing += 1
            if isinstance(one, int | float) and isinstance(two, int | float):
                difference.largest = max(difference.largest, abs(float(one) - float(two)))


class _ByteMap:
    """Where the common variables lie in both blocks, byte by byte, to compare them all at once."""

    def __init__(self, pairs: list[tuple[Symbol, Symbol]]) -> None:
        places = [
            (row, one.offset + byte, two.offset + byte, bit_mask(one) or 255)
            for row, (one, two) in enumerate(pairs)
            if bit_mask(one) == bit_mask(two)
            for byte in range(one.size)
        ]
        columns = np.array(places, np.int64).reshape(-1, 4)
        self._rows, self._ours, self._theirs = columns[:, 0], columns[:, 1], columns[:, 2]
        self._masks = columns[:, 3].astype(np.uint8)

    def differing(self, ours: npt.NDArray[np.uint8], theirs: npt.NDArray[np.uint8]) -> Words:
        different = (ours[self._ours] ^ theirs[self._theirs]) & self._masks
        return np.unique(self._rows[different != 0])


def _form(symbol: Symbol) -> tuple[object, ...]:
    return symbol.type, symbol.dims, symbol.length, symbol.size


def _place(symbol: Symbol, slots: dict[str, int]) -> Place:
    return slots.get(symbol.owner, -1), symbol.offset, bit_mask(symbol)


def _outputs(recorded: Application, other: Application) -> list[tuple[Symbol, Symbol]]:
    """Outputs of both programs with the same place in %Q."""
    by_place = {symbol.location: symbol for symbol in other.symbols if symbol.location.startswith("%Q")}
    mine = [symbol for symbol in recorded.symbols if symbol.location.startswith("%Q")]
    return [(symbol, by_place[symbol.location]) for symbol in mine if symbol.location in by_place]
