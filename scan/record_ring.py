"""The reading end of the record ring: one process drains it, at its own pace."""

from __future__ import annotations

import pathlib
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
        self._lost_before = 0

    def drain(self) -> bytes:
        """All whole records since the last call, in order; empty while there is no scan process."""
        segment = self._attached()
        if segment is None:
            return b""
        words = segment.words
        head, tail = int(words[w.R_HEAD]), int(words[w.R_TAIL])
        fence()
        size = tail - head
        if size <= 0 or size > w.RECORDS_CAPACITY:
            return b""
        start = w.RECORDS_HEADER_SIZE + head % w.RECORDS_CAPACITY
        end = w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY
        first = segment.data[start : min(start + size, end)]
        rest = segment.data[w.RECORDS_HEADER_SIZE : w.RECORDS_HEADER_SIZE + size - len(first)]
        data = np.concatenate([first, rest]).tobytes()
        fence()
        words[w.R_HEAD] = tail
        return data

    def take_lost(self) -> int:
        """Records that found no room since the last call."""
        if self._segment is None:
            return 0
        lost = int(self._segment.words[w.R_LOST])
        since, self._lost_before = lost - self._lost_before, lost
        return since

    def restart(self) -> None:
        """Leaves what is in the ring; the next scan records the whole input image."""
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
        words[w.R_HEAD] = int(words[w.R_TAIL])
        self._lost_before = int(words[w.R_LOST])
        fence()
        # A value that the scan has not seen makes its next record carry the whole input image.
        words[w.R_ENABLED] = time.monotonic_ns()
        self._segment = segment
