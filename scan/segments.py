"""Files of the segment directory: mapped memory with a versioned header.

Theory. Files that belong to a program carry its generation in their names (``outputs.3``); the node file lives as
long as the directory and says which generation runs. So a reader never sees a file change its shape: it notices another
generation, opens other files and drops the old mapping. A file appears under its name complete, by a rename.

What could go wrong. A reader may look for a generation that has just gone: it reads the node file again and retries,
a bounded number of times. A file of another version or a torn one is refused with a code and never interpreted.
"""

from __future__ import annotations

import mmap
import os
import pathlib
import tempfile
import threading
import time

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan.problem import Place, fail

Words = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

OPEN_ATTEMPTS = 50
OPEN_PAUSE_S = 0.002
KIND_NAMES = {
    w.KIND_NODE: "node",
    w.KIND_INPUTS: "inputs",
    w.KIND_OUTPUTS: "outputs",
    w.KIND_SNAPSHOT: "snapshot",
    w.KIND_STATS: "stats",
    w.KIND_LANE: "lane",
    w.KIND_RECORDS: "records",
}

_FENCE = threading.Lock()


def fence() -> None:
    """Orders memory: taking and giving a lock is a barrier on every CPU, and the interpreter offers no other."""
    with _FENCE:
        pass


class Segment:
    """A mapped segment file: ``words`` and ``data`` (bytes) of the same memory."""

    def __init__(self, path: pathlib.Path, memory: mmap.mmap, *, inode: int) -> None:
        self.path = path
        self.inode = inode
        self._memory = memory
        self.data: Bytes = np.frombuffer(memory, np.uint8)
        self.words: Words = self.data.view(np.int64)

    @property
    def address(self) -> int:
        return int(self.data.ctypes.data)

    @property
    def generation(self) -> int:
        return int(self.words[w.H_GENERATION])

    def bytes_at(self, offset: int, size: int) -> Bytes:
        return self.data[offset : offset + size]


def align(size: int, to: int = w.CACHE_LINE) -> int:
    return -(-size // to) * to


def create_segment(path: pathlib.Path, kind: int, size: int, *, generation: int = 0) -> Segment:
    """A new zeroed file that nobody sees yet; ``show`` gives it its name."""
    size = align(size, 4096)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.truncate(size)
        segment = _map(pathlib.Path(file.name), file.fileno(), size, writable=True)
    header = (w.MAGIC, w.LAYOUT_VERSION, kind, size, generation, os.getpid(), time.time_ns())
    segment.words[: len(header)] = header
    return segment


def show(segment: Segment, path: pathlib.Path) -> Segment:
    """Gives a complete file its name, replacing an older one of that name."""
    segment.path.replace(path)
    segment.path = path
    return segment


def open_segment(path: pathlib.Path, kind: int, *, size_min: int, writable: bool = False) -> Segment:
    """Maps a segment file. Raises SC1001 (missing), SC1002 (none of ours), SC1003 (version), SC1004 (damaged)."""
    try:
        descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    except OSError as error:
        remedy = "start the node, or name its segment directory"
        raise fail(
            "SC1001", "a segment file is missing", place=_at(path), found=str(error), remedy=remedy
        ) from error
    try:
        size = os.fstat(descriptor).st_size
        if size < 8 * w.HEADER_WORDS:
            raise _damaged(path, f"{size} bytes", f"at least {size_min} bytes")
        segment = _map(path, descriptor, size, writable=writable)
    finally:
        os.close(descriptor)
    check_header(segment, kind, size=size, size_min=size_min)
    return segment


def check_header(segment: Segment, kind: int, *, size: int, size_min: int) -> None:
    magic, version, found_kind, found_size = (int(word) for word in segment.words[:4])
    path = segment.path
    if magic != w.MAGIC:
        raise fail(
            "SC1002", "this is no segment file", place=_at(path), found=f"magic {magic & (1 << 64) - 1:#018x}"
        )
    if version != w.LAYOUT_VERSION:
        raise fail(
            "SC1003",
            "a segment file has another layout version",
            place=_at(path),
            expected=str(w.LAYOUT_VERSION),
            found=str(version),
            remedy="run all processes of a node from one version of tickwork",
        )
    if found_kind != kind:
        found = KIND_NAMES.get(found_kind, str(found_kind))
        raise _damaged(path, f"kind {found}", f"kind {KIND_NAMES[kind]}")
    if found_size != size or size < size_min:
        raise _damaged(path, f"{size} bytes, header says {found_size}", f"at least {size_min} bytes")


def _map(path: pathlib.Path, descriptor: int, size: int, *, writable: bool) -> Segment:
    access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, access)
    return Segment(path, memory, inode=os.fstat(descriptor).st_ino)


def _at(path: pathlib.Path) -> Place:
    return Place(str(path))


def _damaged(path: pathlib.Path, found: str, expected: str) -> Exception:
    remedy = "restart the node"
    return fail(
        "SC1004", "a segment file is damaged", place=_at(path), expected=expected, found=found, remedy=remedy
    )


# ---------------------------------------------------------------- the files


def node_path(directory: pathlib.Path) -> pathlib.Path:
    return directory / "node"


def inputs_path(directory: pathlib.Path) -> pathlib.Path:
    return directory / "inputs"


def lane_path(directory: pathlib.Path, lane: str) -> pathlib.Path:
    return directory / f"lane-{lane}"


def records_path(directory: pathlib.Path) -> pathlib.Path:
    return directory / "records"


def generation_path(directory: pathlib.Path, name: str, generation: int) -> pathlib.Path:
    """``name`` is "outputs", "snapshot", "stats" or "application"."""
    return directory / f"{name}.{generation}"


def change_path(directory: pathlib.Path, generation: int) -> pathlib.Path:
    """How the program of that generation took over (``scan.recording.Change``), if it did so online."""
    return directory / f"change.{generation}"


def begin_path(directory: pathlib.Path) -> pathlib.Path:
    """With which state a program was started last (``scan.online_change.Begin``)."""
    return directory / "begin"


def create_outputs(directory: pathlib.Path, generation: int, image_size: int) -> Segment:
    path = generation_path(directory, "outputs", generation)
    size = w.OUTPUTS_HEADER_SIZE + image_size
    segment = create_segment(path, w.KIND_OUTPUTS, size, generation=generation)
    segment.words[w.O_IMAGE_OFFSET] = w.OUTPUTS_HEADER_SIZE
    segment.words[w.O_IMAGE_SIZE] = image_size
    return show(segment, path)


def create_snapshot(directory: pathlib.Path, generation: int, block_size: int) -> Segment:
    path = generation_path(directory, "snapshot", generation)
    slot_size = align(w.SLOT_FORCES + w.FORCES_MAX * w.FORCE_SIZE + block_size)
    size = w.SNAPSHOT_HEADER_SIZE + w.SNAPSHOT_SLOTS * slot_size
    segment = create_segment(path, w.KIND_SNAPSHOT, size, generation=generation)
    segment.words[w.P_SLOTS_OFFSET] = w.SNAPSHOT_HEADER_SIZE
    segment.words[w.P_SLOT_SIZE] = slot_size
    segment.words[w.P_BLOCK_SIZE] = block_size
    return show(segment, path)


def create_stats(directory: pathlib.Path, generation: int, names: list[str]) -> Segment:
    path = generation_path(directory, "stats", generation)
    names_offset = w.STATS_HEADER_SIZE + 8 * w.TASK_STATS_WORDS * len(names)
    segment = create_segment(
        path, w.KIND_STATS, names_offset + w.TASK_NAME_SIZE * len(names), generation=generation
    )
    segment.words[w.A_TASKS] = len(names)
    segment.words[w.A_TASKS_OFFSET] = w.STATS_HEADER_SIZE
    segment.words[w.A_NAMES_OFFSET] = names_offset
    for index, name in enumerate(names):
        text = np.frombuffer(name.encode()[: w.TASK_NAME_SIZE], np.uint8)
        start = names_offset + index * w.TASK_NAME_SIZE
        segment.data[start : start + len(text)] = text
    return show(segment, path)


LANE_SIZE = w.LANE_HEADER_SIZE + w.COMMANDS_MAX * w.COMMAND_SIZE + w.ACKS_MAX * w.ACK_SIZE


def create_lane(directory: pathlib.Path, lane: str) -> Segment:
    path = lane_path(directory, lane)
    segment = create_segment(path, w.KIND_LANE, LANE_SIZE)
    segment.words[w.L_COMMANDS_OFFSET] = w.LANE_HEADER_SIZE
    segment.words[w.L_ACKS_OFFSET] = w.LANE_HEADER_SIZE + w.COMMANDS_MAX * w.COMMAND_SIZE
    return show(segment, path)


RECORDS_SIZE = w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY


def create_records(directory: pathlib.Path) -> Segment:
    path = records_path(directory)
    segment = create_segment(path, w.KIND_RECORDS, RECORDS_SIZE)
    segment.words[w.R_DATA_OFFSET] = w.RECORDS_HEADER_SIZE
    segment.words[w.R_CAPACITY] = w.RECORDS_CAPACITY
    return show(segment, path)


def create_node(directory: pathlib.Path) -> Segment:
    path = node_path(directory)
    return show(create_segment(path, w.KIND_NODE, w.NODE_SIZE), path)
