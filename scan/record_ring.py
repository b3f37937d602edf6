"""The reading end of the record ring: one process drains it, at its own pace.

Theory. What is drained stays in the ring until the reader says that it is kept for good, so a reader that dies loses
nothing: the next one finds the place in the shared memory and goes on there, as long as the ring has room for what
happens meanwhile. A *session* is a run of records without a gap that no reader knows of; the reader names it.
"""

from __future__ import annotations

import pathlib
import secrets
import time

import numpy as np

from scan import layout as w
from scan.problem import TickworkError
from scan.segments import RECORDS_SIZE, Segment, fence, open_segment, records_path


class RecordReader:
    """Makes the scan record, and takes what it recorded. A scan process that restarts is followed by itself."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._segment: Segment | None = None
        self._position = 0  # drained up to here
        self.went_on = False  # with the session of the reader before

    @property
    def session(self) -> str:
        """Names the run of records; empty while there is no scan process."""
        return f"{int(self._segment.words[w.R_SESSION]):016x}" if self._segment is not None else ""

    def drain(self) -> bytes:
        """All whole records since the last call, in order; empty while there is no scan process."""
        segment = self._attached()
        if segment is None:
            return b""
        tail = int(segment.words[w.R_TAIL])
        fence()
        data = self._read(self._position, tail - self._position)
        if data:
            self._position = tail
        return data

    def _read(self, position: int, size: int) -> bytes:
        assert self._segment is not None
        if not 0 < size <= w.RECORDS_CAPACITY:
            return b""
        start = w.RECORDS_HEADER_SIZE + position % w.RECORDS_CAPACITY
        end = w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY
        first = self._segment.data[start : min(start + size, end)]
        rest = self._segment.data[w.RECORDS_HEADER_SIZE : w.RECORDS_HEADER_SIZE + size - len(first)]
        return np.concatenate([first, rest]).tobytes()

    def confirm(self, pending: int = 0) -> None:
        """All that was drained but the last ``pending`` bytes is kept for good: the scan may write over it."""
        if self._segment is not None:
            fence()
            self._segment.words[w.R_HEAD] = self._position - pending

    def skip(self, records: bytes) -> bool:
        """Leaves out records that the reader before has kept but not confirmed, if the ring begins with them."""
        segment = self._attached()
        if segment is None or not records:
            return False
        left = int(segment.words[w.R_TAIL]) - self._position
        if len(records) > left or self._read(self._position, len(records)) != records:
            return False
        self._position += len(records)
        self.confirm()
        return True

    def lost(self) -> int:
        """Records that found no room and are not marked yet."""
        if self._segment is None:
            return 0
        return int(self._segment.words[w.R_LOST]) - int(self._segment.words[w.R_LOST_TOLD])

    def tell_lost(self, count: int) -> None:
        """So many of them are marked now."""
        if self._segment is not None:
            self._segment.words[w.R_LOST_TOLD] += count

    def attach(self) -> bool:
        """Finds the ring; False while there is no scan process."""
        return self._attached() is not None

    def rewind(self) -> None:
        """Begins again behind what is confirmed; the next scan records the whole input image."""
        self._segment = None

    def close(self) -> None:
        """The scan stops recording."""
        if self._segment is not None:
            self._segment.words[w.R_ENABLED] = 0
            self._segment = None

    def _attached(self) -> Segment | None:
        path = records_path(self._directory)
        try:
            inode = path.stat().st_ino
            if self._segment is None or self._segment.inode != inode:
                self._attach(open_segment(path, w.KIND_RECORDS, size_min=RECORDS_SIZE, writable=True))
        except (OSError, TickworkError):
            self._segment = None
        return self._segment

    def _attach(self, segment: Segment) -> None:
        words = segment.words
        left = int(words[w.R_TAIL]) - int(words[w.R_HEAD])
        recording = words[w.R_ENABLED] != 0 and words[w.R_SESSION] != 0
        self.went_on = bool(recording) and 0 <= left <= w.RECORDS_CAPACITY
        if not self.went_on:
            words[w.R_HEAD] = int(words[w.R_TAIL])
            words[w.R_LOST_TOLD] = int(words[w.R_LOST])
            words[w.R_SESSION] = secrets.randbits(62) + 1
        self._position = int(words[w.R_HEAD])
        fence()
        # A value that the scan has not seen makes its next record carry the whole input image.
        words[w.R_ENABLED] = time.monotonic_ns()
        self._segment = segment
