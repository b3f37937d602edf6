"""What the field process holds: the writing end of the inputs and the reading end of the outputs."""

from __future__ import annotations

import dataclasses
import pathlib
import time

import numpy as np

from scan import layout as w
from scan import quality
from scan.iomap import IoMap
from scan.problem import TickworkError, fail
from scan.segments import (
    OPEN_ATTEMPTS,
    OPEN_PAUSE_S,
    Bytes,
    Segment,
    align,
    create_segment,
    fence,
    generation_path,
    inputs_path,
    node_path,
    open_segment,
    show,
)
from scan.state import NodeState

HEARTBEAT_TIMEOUT_NS = 500_000_000  # a writer that is silent for longer counts as gone
READ_ATTEMPTS = 1000


class InputsWriter:
    """The %I image with quality and time of each channel, published whole under a sequence.

    ``image`` (uint8), ``quality`` (uint16 a channel) and ``times`` (int64 UTC ns a channel) are private working copies:
    change them, then ``publish``. One writer a node.
    """

    def __init__(self, segment: Segment, channels: int, image_size: int) -> None:
        self._segment = segment
        self.image: Bytes = segment.bytes_at(w.INPUTS_HEADER_SIZE, image_size).copy()
        self._quality = _column(segment, w.I_QUALITY_OFFSET, channels, "<u2")
        self._times = _column(segment, w.I_TIMES_OFFSET, channels, "<i8")
        self._image = segment.bytes_at(w.INPUTS_HEADER_SIZE, image_size)
        self.quality = np.full(channels, quality.BAD_WAITING_FOR_INITIAL_DATA, np.uint16)
        self.times = self._times.astype(np.int64)

    @classmethod
    def create(cls, directory: pathlib.Path, iomap: IoMap) -> InputsWriter:
        """Opens the inputs of a predecessor with the same channels, keeping its last values, or makes new ones.

        Every channel starts *bad, waiting for the first value* either way.
        """
        path = inputs_path(directory)
        table = channel_table(iomap)
        segment = _same_inputs(path, table, iomap.inputs_size)
        if segment is None:
            segment = _new_inputs(path, table, iomap.inputs_size)
        writer = cls(segment, len(table), iomap.inputs_size)
        writer.publish()
        return writer if segment.path == path else _shown(writer, segment, path)

    def publish(self) -> None:
        """Shows image, quality and times to the scan and gives the heartbeat."""
        words = self._segment.words
        sequence = int(words[w.I_SEQUENCE]) | 1
        words[w.I_SEQUENCE] = sequence
        fence()
        self._image[:] = self.image
        self._quality[:] = self.quality
        self._times[:] = self.times
        words[w.I_HEARTBEAT_NS] = time.monotonic_ns()
        fence()
        words[w.I_SEQUENCE] = sequence + 1


def channel_table(iomap: IoMap) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    table = np.zeros(len(iomap.inputs), w.CHANNEL_DTYPE)
    for row, channel in enumerate(iomap.inputs):
        table[row] = (channel.offset, channel.size, channel.bit, 0)
    return table


def _column(segment: Segment, word: int, count: int, kind: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    dtype = np.dtype(kind)
    return segment.bytes_at(int(segment.words[word]), count * dtype.itemsize).view(dtype)


def _same_inputs(path: pathlib.Path, table: np.ndarray, image_size: int) -> Segment | None:
    try:
        segment = open_segment(path, w.KIND_INPUTS, size_min=w.INPUTS_HEADER_SIZE, writable=True)
    except TickworkError:
        return None
    words = segment.words
    if int(words[w.I_IMAGE_SIZE]) != image_size or int(words[w.I_CHANNELS]) != len(table):
        return None
    start = int(words[w.I_TABLE_OFFSET])
    same = segment.bytes_at(start, table.nbytes).tobytes() == table.tobytes()
    return segment if same else None


def _new_inputs(path: pathlib.Path, table: np.ndarray, image_size: int) -> Segment:
    quality_offset = align(w.INPUTS_HEADER_SIZE + image_size)
    times_offset = align(quality_offset + 2 * len(table))
    table_offset = align(times_offset + 8 * len(table))
    segment = create_segment(path, w.KIND_INPUTS, table_offset + table.nbytes)
    words = segment.words
    words[w.I_IMAGE_OFFSET], words[w.I_IMAGE_SIZE] = w.INPUTS_HEADER_SIZE, image_size
    words[w.I_CHANNELS], words[w.I_QUALITY_OFFSET] = len(table), quality_offset
    words[w.I_TIMES_OFFSET], words[w.I_TABLE_OFFSET] = times_offset, table_offset
    segment.bytes_at(table_offset, table.nbytes)[:] = table.view(np.uint8)
    return segment


def _shown(writer: InputsWriter, segment: Segment, path: pathlib.Path) -> InputsWriter:
    show(segment, path)
    return writer


@dataclasses.dataclass(frozen=True, slots=True)
class Outputs:
    """A consistent copy of the outputs; ``fresh`` is False when the scan process gives no sign of life."""

    image: Bytes
    scan: int
    state: NodeState
    fresh: bool
    generation: int

    @property
    def running(self) -> bool:
        """Whether the image is what a living program computed; otherwise safe values are due."""
        return self.fresh and self.state in (NodeState.RUNNING, NodeState.TRIAL)


NO_OUTPUTS = Outputs(np.zeros(0, np.uint8), 0, NodeState.EMPTY, False, 0)


class OutputsReader:
    """Reads the %Q image of whichever program runs."""

    def __init__(self, directory: pathlib.Path, timeout_ns: int) -> None:
        self._directory = directory
        self._timeout_ns = timeout_ns
        self._node: Segment | None = None
        self._segment: Segment | None = None
        self._copy: Bytes = np.zeros(0, np.uint8)

    @classmethod
    def open(cls, directory: pathlib.Path, *, timeout_ns: int = HEARTBEAT_TIMEOUT_NS) -> OutputsReader:
        """``directory`` may be empty yet: until a program is loaded, ``read`` gives outputs that are not fresh."""
        return cls(directory, timeout_ns)

    def read(self) -> Outputs:
        """The latest outputs. Raises TickworkError SC1003, SC1004 for files of another version, SC1005 if it cannot."""
        segment = self._attach()
        if segment is None:
            return NO_OUTPUTS
        words = segment.words
        for _ in range(READ_ATTEMPTS):
            before = int(words[w.O_SEQUENCE])
            fence()
            self._copy[:] = segment.bytes_at(w.OUTPUTS_HEADER_SIZE, len(self._copy))
            scan, state, beat_ns = (int(words[word]) for word in (w.O_SCAN, w.O_STATE, w.O_HEARTBEAT_NS))
            fence()
            if before & 1 == 0 and int(words[w.O_SEQUENCE]) == before:
                fresh = time.monotonic_ns() - beat_ns <= self._timeout_ns
                return Outputs(self._copy.copy(), scan, NodeState(state), fresh, segment.generation)
        if time.monotonic_ns() - int(words[w.O_HEARTBEAT_NS]) > self._timeout_ns:
            # Its writer died in the middle of a publish: nothing here can be trusted.
            return dataclasses.replace(NO_OUTPUTS, generation=segment.generation)
        raise fail("SC1005", "no consistent copy of the outputs could be read", found=str(segment.path))

    def _attach(self) -> Segment | None:
        for _ in range(OPEN_ATTEMPTS):
            if self._node is None and not node_path(self._directory).exists():
                return None
            if self._node is None:
                self._node = open_segment(node_path(self._directory), w.KIND_NODE, size_min=w.NODE_SIZE)
            generation = int(self._node.words[w.N_GENERATION])
            if self._segment is not None and self._segment.generation == generation:
                return self._segment
            if generation == 0:
                return None
            path = generation_path(self._directory, "outputs", generation)
            if path.exists():
                self._segment = open_segment(path, w.KIND_OUTPUTS, size_min=w.OUTPUTS_HEADER_SIZE)
                self._copy = np.zeros(int(self._segment.words[w.O_IMAGE_SIZE]), np.uint8)
                return self._segment
            time.sleep(OPEN_PAUSE_S)
        raise fail("SC1001", "the outputs of the running program are missing", found=str(self._directory))
