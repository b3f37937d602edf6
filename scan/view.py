"""What any process of a node sees of its scan: program, state, snapshots, statistics, qualities.

Read-only: no reader can make a scan wait.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan import quality
from scan.abi import Application, IecType, Symbol, decode_application
from scan.field_io import HEARTBEAT_TIMEOUT_NS
from scan.problem import TickworkError, fail
from scan.segments import (
    OPEN_ATTEMPTS,
    OPEN_PAUSE_S,
    Bytes,
    Segment,
    Words,
    fence,
    generation_path,
    inputs_path,
    node_path,
    open_segment,
)
from scan.state import Counters, FaultRecord, Force, NodeState
from scan.statistics import TaskStatistics, read_statistics, task_slots
from scan.values import decode_scalar

SNAPSHOT_ATTEMPTS = 100
BLOCK_START = w.SLOT_FORCES + w.FORCES_MAX * w.FORCE_SIZE  # of a slot


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent copy of all variables after one scan. ``now_ns`` is IEC time."""

    generation: int
    scan: int
    mono_ns: int
    wall_ns: int
    now_ns: int
    state: NodeState
    block: Bytes
    forces: tuple[Force, ...]
    forced: frozenset[tuple[int, int]]  # (offset, bit mask) of each force
    quiet: bool  # no task was in a scan: a replay may start here
    force_table: bytes  # layout.FORCE_DTYPE rows, as a checkpoint keeps them


@dataclasses.dataclass(frozen=True, slots=True)
class Inputs:
    """A consistent copy of the channels, rows as in ``IoMap.inputs``; ``age_ns`` since it was published."""

    image: Bytes
    quality: npt.NDArray[np.uint16]
    times: npt.NDArray[np.int64]
    age_ns: int
    file: int  # another number: other channels


class Published:
    """The latest snapshot where it lies: what was read from ``block`` is of one scan if it is ``intact`` afterwards."""

    __slots__ = ("_sequence", "_words", "block")

    def __init__(self, words: Words, sequence: int, block: Bytes) -> None:
        self._words = words
        self._sequence = sequence
        self.block = block

    def intact(self) -> bool:
        """The scan has not begun to put another snapshot there."""
        fence()
        return int(self._words[w.S_SEQUENCE]) == self._sequence


def _latest_slot(segment: Segment) -> tuple[int, Words]:
    """Where the slot that was published last begins, and its header."""
    latest = int(segment.words[w.P_LATEST])
    fence()
    offset = w.SNAPSHOT_HEADER_SIZE + latest % w.SNAPSHOT_SLOTS * int(segment.words[w.P_SLOT_SIZE])
    return offset, segment.words[offset // 8 : offset // 8 + w.S_RUNNING + 1]


class NodeView:
    """One node as it is now. ``refresh`` after each wait: it follows the node to other programs."""

    def __init__(self, directory: pathlib.Path, node: Segment) -> None:
        self.directory = directory
        self._node = node
        self._generation = 0
        self._application: Application | None = None
        self._snapshot: Segment | None = None
        self._stats: Segment | None = None
        self._inputs: _InputsView | None = None
        self._symbols: dict[str, Symbol] = {}
        self._offsets: dict[tuple[int, int], Symbol] = {}
        self.refresh()

    @classmethod
    def open(cls, directory: pathlib.Path) -> NodeView:
        """Raises TickworkError SC1001–SC1004 when there is no node of this version."""
        return cls(directory, open_segment(node_path(directory), w.KIND_NODE, size_min=w.NODE_SIZE))

    def refresh(self) -> bool:
        """Follows the node to the running program; True when it is another one than before."""
        for _ in range(OPEN_ATTEMPTS):
            generation = self._word(w.N_GENERATION)
            if generation == self._generation:
                return False
            try:
                self._attach(generation)
            except (TickworkError, FileNotFoundError):
                if self._word(w.N_GENERATION) == generation:
                    time.sleep(OPEN_PAUSE_S)
                continue
            return True
        raise fail("SC1001", "the files of the running program are missing", found=str(self.directory))

    def _attach(self, generation: int) -> None:
        if generation == 0:
            self._application, self._snapshot, self._stats = None, None, None
            self._symbols, self._offsets, self._generation = {}, {}, 0
            return
        data = generation_path(self.directory, "application", generation).read_bytes()
        application = decode_application(data)
        path = generation_path(self.directory, "snapshot", generation)
        snapshot = open_segment(
            path, w.KIND_SNAPSHOT, size_min=w.SNAPSHOT_HEADER_SIZE + application.block_size
        )
        path = generation_path(self.directory, "stats", generation)
        stats = open_segment(path, w.KIND_STATS, size_min=w.STATS_HEADER_SIZE)
        self._application, self._snapshot, self._stats = application, snapshot, stats
        self._symbols = {symbol.path.upper(): symbol for symbol in application.symbols}
        self._offsets = {(symbol.offset, bit_mask(symbol)): symbol for symbol in application.symbols}
        self._generation = generation

    def _word(self, word: int) -> int:
        return int(self._node.words[word])

    # ------------------------------------------------------------ program and state

    @property
    def generation(self) -> int:
        """Number of the program that this view is attached to; 0 = none."""
        return self._generation

    @property
    def application(self) -> Application | None:
        """The running program without its object code; None while the node is empty."""
        return self._application

    @property
    def state(self) -> NodeState:
        return NodeState(self._word(w.N_STATE))

    @property
    def alive(self) -> bool:
        """Whether the scan process has given a sign of life within half a second."""
        return time.monotonic_ns() - self._word(w.N_HEARTBEAT_NS) <= HEARTBEAT_TIMEOUT_NS

    @property
    def counters(self) -> Counters:
        words = (
            w.N_SCAN, w.N_SNAPSHOTS, w.N_COMMANDS, w.N_ACKS_LOST, w.N_RECORDS_LOST, w.N_INPUTS_TORN, w.N_INPUTS_STALE,
            w.N_FORCES, w.N_FORCES_EXPIRED, w.N_SWAPS, w.N_ROLLBACKS, w.N_SWAP_PAUSE_NS, w.N_TRIAL_LEFT, w.N_FAULTS,
        )  # fmt: skip
        return Counters(*(self._word(word) for word in words))

    @property
    def fault(self) -> FaultRecord | None:
        """The last program fault since the scan process started, or None."""
        for _ in range(SNAPSHOT_ATTEMPTS):
            count = self._word(w.N_FAULTS)
            if count == 0:
                return None
            fence()
            record = self._read_fault()
            fence()
            if self._word(w.N_FAULTS) == count:
                return record
        return None

    def _read_fault(self) -> FaultRecord:
        task, pou, file = (
            self._node.bytes_at(w.NODE_TEXTS + index * w.NODE_TEXT_SIZE, w.NODE_TEXT_SIZE)
            .tobytes()
            .rstrip(b"\0")
            .decode("utf-8", "replace")
            for index in range(3)
        )
        return FaultRecord(
            code=f"RF{self._word(w.N_FAULT_CODE):04}",
            task=task,
            pou=pou,
            file=file,
            line=self._word(w.N_FAULT_LINE),
            detail=self._word(w.N_FAULT_DETAIL),
            scan=self._word(w.N_FAULT_SCAN),
            wall_ns=self._word(w.N_FAULT_WALL_NS),
            generation=self._word(w.N_FAULT_GENERATION),
        )

    def symbol(self, path: str) -> Symbol:
        """A variable by its path, case-insensitive. Raises TickworkError SC2001."""
        found = self._symbols.get(path.upper())
        if found is None:
            name = self._application.name if self._application else "no program"
            raise fail(
                "SC2001", f"unknown variable {path}", found=name, remedy="look at the list of variables"
            )
        return found

    def stats(self) -> tuple[TaskStatistics, ...]:
        return read_statistics(self._stats) if self._stats is not None else ()

    def task_slots(self) -> dict[str, int]:
        """Name of each task of the running program and its slot, as acknowledgements and commands number it."""
        return task_slots(self._stats) if self._stats is not None else {}

    # ------------------------------------------------------------ values

    def published(self) -> Published:
        """The latest snapshot, not copied. Raises SC3004 while the node is empty, SC1005 if none is whole."""
        segment = self._attached()
        size = int(segment.words[w.P_BLOCK_SIZE])
        for _ in range(SNAPSHOT_ATTEMPTS):
            offset, words = _latest_slot(segment)
            sequence = int(words[w.S_SEQUENCE])
            fence()
            if sequence & 1 == 0:
                return Published(words, sequence, segment.bytes_at(offset + BLOCK_START, size))
        raise fail("SC1005", "no consistent snapshot could be read", found=str(segment.path))

    def snapshot(self) -> Snapshot:
        """A copy of the latest snapshot. Raises SC3004 while the node is empty, SC1005 if none is whole."""
        segment = self._attached()
        block_size = int(segment.words[w.P_BLOCK_SIZE])
        for _ in range(SNAPSHOT_ATTEMPTS):
            offset, words = _latest_slot(segment)
            before = int(words[w.S_SEQUENCE])
            fence()
            head = [int(word) for word in words]
            block = segment.bytes_at(offset + BLOCK_START, block_size).copy()
            count = min(max(head[w.S_FORCES], 0), w.FORCES_MAX)
            table = segment.bytes_at(offset + w.SLOT_FORCES, count * w.FORCE_SIZE).copy().view(w.FORCE_DTYPE)
            fence()
            if before & 1 == 0 and int(words[w.S_SEQUENCE]) == before:
                return self._make_snapshot(head, block, table)
        raise fail("SC1005", "no consistent snapshot could be read", found=str(segment.path))

    def _attached(self) -> Segment:
        if self._snapshot is None:
            raise fail("SC3004", "there is no program", remedy="load a program, then refresh")
        return self._snapshot

    def _make_snapshot(self, head: list[int], block: Bytes, table: np.ndarray) -> Snapshot:
        now_ns = head[w.S_NOW_NS]
        forces = tuple(self._make_force(row, now_ns) for row in table) if len(table) else ()
        return Snapshot(
            generation=self._generation,
            scan=head[w.S_SCAN],
            mono_ns=head[w.S_MONO_NS],
            wall_ns=head[w.S_WALL_NS],
            now_ns=now_ns,
            state=NodeState(head[w.S_STATE]),
            block=block,
            forces=forces,
            forced=frozenset((int(row["offset"]), int(row["mask"])) for row in table),
            quiet=head[w.S_RUNNING] == 0,
            force_table=table.tobytes(),
        )

    def _make_force(self, row: np.void, now_ns: int) -> Force:
        symbol = self._offsets.get((int(row["offset"]), int(row["mask"])))
        value, actual = int(row["value"]), int(row["actual"])
        expires_ns = int(row["expires_ns"])
        return Force(
            path=symbol.path if symbol else f"@{int(row['offset'])}",
            value=_force_value(symbol, value, int(row["size"])),
            actual=_force_value(symbol, actual, int(row["size"])),
            owner=bytes(row["who"]).decode("utf-8", "replace"),
            reason=bytes(row["why"]).decode("utf-8", "replace"),
            remaining_ns=None if expires_ns == w.FOREVER_NS else max(expires_ns - now_ns, 0),
            id=int(row["id"]),
        )

    # ------------------------------------------------------------ qualities

    def inputs(self) -> Inputs | None:
        """The channels as the field process published them last, or None before it has started."""
        try:
            inode = inputs_path(self.directory).stat().st_ino
        except FileNotFoundError:
            return None
        if self._inputs is None or self._inputs.inode != inode:
            self._inputs = _InputsView.open(inputs_path(self.directory))
        return self._inputs.read()

    def channel_of(self, symbol: Symbol) -> int:
        """Row of the channel that feeds a symbol of the input image, -1 = none."""
        application = self._application
        if application is None or not _inside(symbol, application) or self.inputs() is None:
            return -1
        assert self._inputs is not None
        return self._inputs.row_of(symbol, symbol.offset - application.inputs.offset)

    def quality(self, symbol: Symbol) -> int:
        """Effective quality: forced, else the channel's (bad while the field process is silent), else good."""
        snapshot = self.snapshot()
        if (symbol.offset, bit_mask(symbol)) in snapshot.forced:
            return quality.GOOD_LOCAL_OVERRIDE
        row = self.channel_of(symbol)
        inputs = self.inputs()
        if row < 0 or inputs is None:
            return quality.GOOD
        return effective_quality(int(inputs.quality[row]), inputs.age_ns)


def effective_quality(channel_quality: int, age_ns: int) -> int:
    """A channel's quality, made bad when its writer has been silent for too long."""
    if age_ns > HEARTBEAT_TIMEOUT_NS and not quality.is_bad(channel_quality):
        return quality.BAD_NO_COMMUNICATION
    return channel_quality


def bit_mask(symbol: Symbol) -> int:
    return 1 << symbol.bit if symbol.bit >= 0 else 0


def _inside(symbol: Symbol, application: Application) -> bool:
    return 0 <= symbol.offset - application.inputs.offset < application.inputs.size


def _force_value(symbol: Symbol | None, word: int, size: int) -> bool | int | float:
    if symbol is None:
        return word
    if symbol.type == IecType.BOOL:
        return word != 0
    value = decode_scalar((word & (1 << 64) - 1).to_bytes(8, "little")[:size], symbol)
    assert not isinstance(value, str), "texts cannot be forced"
    return value


class _InputsView:
    """A mapped inputs file."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.inode = segment.inode
        self._last: tuple[int, Inputs] | None = None  # its heartbeat, and the last whole copy
        words = segment.words
        self._size, self._channels = int(words[w.I_IMAGE_SIZE]), int(words[w.I_CHANNELS])
        start = int(words[w.I_TABLE_OFFSET])
        table = segment.bytes_at(start, self._channels * w.CHANNEL_DTYPE.itemsize).view(w.CHANNEL_DTYPE)
        self._rows = {
            (int(offset), int(bit)): (row, int(size))
            for row, (offset, size, bit, _) in enumerate(table.tolist())
        }

    @classmethod
    def open(cls, path: pathlib.Path) -> _InputsView:
        return cls(open_segment(path, w.KIND_INPUTS, size_min=w.INPUTS_HEADER_SIZE))

    def row_of(self, symbol: Symbol, offset: int) -> int:
        """The channel at exactly this place, else the one of whole bytes that covers it."""
        exact = self._rows.get((offset, symbol.bit))
        if exact is not None:
            return exact[0]
        for (start, bit), (row, size) in self._rows.items():
            if bit < 0 and start <= offset < start + size:
                return row
        return -1

    def read(self) -> Inputs:
        words = self._segment.words
        for _ in range(SNAPSHOT_ATTEMPTS):
            before = int(words[w.I_SEQUENCE])
            fence()
            image = self._segment.bytes_at(w.INPUTS_HEADER_SIZE, self._size).copy()
            channel_quality = self._column(w.I_QUALITY_OFFSET, "<u2")
            times = self._column(w.I_TIMES_OFFSET, "<i8")
            beat_ns = int(words[w.I_HEARTBEAT_NS])
            fence()
            if before & 1 == 0 and int(words[w.I_SEQUENCE]) == before:
                age_ns = max(time.monotonic_ns() - beat_ns, 0)
                self._last = (beat_ns, Inputs(image, channel_quality, times, age_ns, self.inode))
                return self._last[1]
        # The writer was preempted or died in the middle of a publish: what it had shown before counts until it is old.
        if self._last is not None:
            beat_ns, last = self._last
            return dataclasses.replace(last, age_ns=max(time.monotonic_ns() - beat_ns, 0))
        channel_quality[:] = quality.BAD_NO_COMMUNICATION
        return Inputs(image, channel_quality, times, time.monotonic_ns() - beat_ns, self.inode)

    def _column(self, word: int, kind: str) -> np.ndarray:
        dtype = np.dtype(kind)
        start = int(self._segment.words[word])
        return self._segment.bytes_at(start, self._channels * dtype.itemsize).copy().view(dtype)
