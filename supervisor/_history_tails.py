"""Samples that are in the journal but in no chunk yet, in memory, by series.

A slab holds the tails of a run of series as rows of three arrays. The arrays are taken from the system as untouched
pages, so a row costs memory only as far as it is filled. The first slabs keep 1,024 samples a series; when a fleet
has so many tags that this would not fit, further series get 256 (their chunks are joined again when written).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from supervisor.history_codec import Columns, SeriesNumbers

SLAB_SERIES = 4096
ROW_SAMPLES = 1024
ROW_SAMPLES_MANY = 256
SLABS_OF_LONG_ROWS = 5  # 20,480 series at 18 kB each are 370 MB at most

Integers = npt.NDArray[np.int64]


class Tails:
    """Invariants: ``count[s]`` samples of series ``s`` in arrival order; ``oldest[s]`` is the journal row of the
    first of them; ``threshold[s]`` at most the length of its row. Series numbers start at 1."""

    def __init__(self) -> None:
        self._slabs: list[Columns] = []
        self.count: Integers = np.zeros(0, np.int64)
        self.oldest: Integers = np.zeros(0, np.int64)
        self.threshold: Integers = np.zeros(0, np.int64)

    def grow(self, series_max: int) -> None:
        while len(self.count) <= series_max:
            long = len(self._slabs) < SLABS_OF_LONG_ROWS
            row = ROW_SAMPLES if long else ROW_SAMPLES_MANY
            shape = (SLAB_SERIES, row)
            self._slabs.append(
                Columns(np.empty(shape, np.int64), np.empty(shape, np.float64), np.empty(shape, np.uint16))
            )
            first = len(self.count)
            numbers = np.arange(first, first + SLAB_SERIES)
            # The first chunk of each series closes at another length, so that a fleet does not close all at once;
            # neighbours close together, because their rows lie on the same pages of the index.
            stagger = row - (numbers % SLAB_SERIES) * (row // 2) // SLAB_SERIES
            zeros = np.zeros(SLAB_SERIES, np.int64)
            self.count = np.concatenate([self.count, zeros])
            self.oldest = np.concatenate([self.oldest, zeros])
            self.threshold = np.concatenate([self.threshold, stagger])

    def row_samples(self, series: int) -> int:
        return ROW_SAMPLES if series // SLAB_SERIES < SLABS_OF_LONG_ROWS else ROW_SAMPLES_MANY

    def get(self, series: int) -> Columns:
        """A copy of the tail of one series, in arrival order."""
        if series >= len(self.count):
            return Columns(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint16))
        slab = self._slabs[series // SLAB_SERIES]
        row, count = series % SLAB_SERIES, int(self.count[series])
        return Columns(
            slab.times[row, :count].copy(), slab.values[row, :count].copy(), slab.quality[row, :count].copy()
        )

    def clear(self, series: list[int]) -> None:
        """Their samples are in chunks now; from here on they close at full length."""
        index = np.asarray(series, np.int64)
        self.count[index] = 0
        self.oldest[index] = 0
        self.threshold[index] = np.where(
            index // SLAB_SERIES < SLABS_OF_LONG_ROWS, ROW_SAMPLES, ROW_SAMPLES_MANY
        )

    def add(self, series: SeriesNumbers, columns: Columns, journal: int) -> None:
        """Append samples that are grouped by series (ascending); the caller has made sure that they fit."""
        if not len(series):
            return
        starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
        groups = series[starts].astype(np.int64)
        counts = np.diff(np.append(starts, len(series)))
        positions = np.repeat(self.count[groups] - starts, counts) + np.arange(len(series))
        slab_of = series // SLAB_SERIES
        bounds = np.searchsorted(slab_of, np.arange(len(self._slabs) + 1))
        for number, slab in enumerate(self._slabs):
            part = slice(int(bounds[number]), int(bounds[number + 1]))
            if part.start == part.stop:
                continue
            at = (series[part] % SLAB_SERIES, positions[part])
            slab.times[at] = columns.times[part]
            slab.values[at] = columns.values[part]
            slab.quality[at] = columns.quality[part]
        fresh = groups[self.count[groups] == 0]
        self.oldest[fresh] = journal
        self.count[groups] += counts

    def oldest_journal(self) -> int:
        """The first journal row that a tail still needs; 0 when none does."""
        needed = self.oldest[self.count > 0]
        return int(needed.min()) if len(needed) else 0

    def aged(self, journal: int, limit: int) -> list[int]:
        """At most ``limit`` series whose tails need a journal row before ``journal``."""
        return [int(s) for s in np.flatnonzero((self.count > 0) & (self.oldest < journal))[:limit]]
