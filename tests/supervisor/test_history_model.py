"""The history store against a dictionary: any mixture of commits, repeats, back-fill, restarts and queries agrees."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from supervisor import history_engine
from supervisor._history_tails import Tails
from supervisor.history_codec import Columns
from supervisor.history_embedded import EmbeddedHistory
from supervisor.history_store import Arrival, NewEvent, SeriesSpec

T0 = 1_700_000_000_000_000_000
TAGS = 3
STEP = 1_000_000_000


class StoreMachine(RuleBasedStateMachine):
    """``model``: for each tag the value and quality by time, a later correction replacing an earlier one."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tickwork-model-"))
        self.age, history_engine.JOURNAL_AGE_ROWS = history_engine.JOURNAL_AGE_ROWS, 6
        self.row, Tails.grow = Tails.grow, _small_rows
        self.store = EmbeddedHistory(self.folder / "history.db")
        self.numbers = self.store.open_series("n", tuple(SeriesSpec(f"t{i}", "REAL") for i in range(TAGS)))
        self.model: list[dict[int, tuple[float, int]]] = [{} for _ in range(TAGS)]
        self.seq = 0
        self.samples = 0
        self.events: list[str] = []
        self.last: Arrival | None = None

    @rule(
        tag=st.integers(0, TAGS - 1),
        start=st.integers(0, 400),
        count=st.integers(1, 40),
        quality=st.sampled_from([0, 0x4000, 0x8031]),
        value=st.floats(-1e6, 1e6),
    )
    def commit(self, tag: int, start: int, count: int, quality: int, value: float) -> None:
        self.seq += 1
        times = T0 + (start + np.arange(count)) * STEP
        columns = Columns(times, np.full(count, value), np.full(count, quality, np.uint16))
        events = (NewEvent("n", T0, "e", "info", "", f"event {self.seq}"),) if count % 5 == 0 else ()
        self.last = Arrival(
            "n", "b", self.seq, np.full(count, self.numbers[tag], np.uint32), columns, events=events
        )
        self.store.commit([self.last], (), T0)
        self.model[tag].update({int(at): (value, quality) for at in times})
        self.samples += count
        self.events += [e.text for e in events]

    @rule()
    def repeat(self) -> None:
        if self.last is not None:
            assert self.store.commit([self.last], (), T0).duplicates == 1

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = EmbeddedHistory(self.folder / "history.db")
        again = self.store.open_series("n", tuple(SeriesSpec(f"t{i}", "REAL") for i in range(TAGS)))
        assert again.tolist() == self.numbers.tolist()

    @rule(tag=st.integers(0, TAGS - 1), start=st.integers(-5, 450), length=st.integers(0, 450))
    def query(self, tag: int, start: int, length: int) -> None:
        first, last = T0 + start * STEP, T0 + (start + length) * STEP
        model = self.model[tag]
        wanted = sorted(at for at in model if first <= at <= last)
        earlier = [at for at in model if at < first]
        got = self.store.read(int(self.numbers[tag]), first, last, before=True)
        assert got.times.tolist() == ([max(earlier)] if earlier else []) + wanted
        assert list(zip(got.values.tolist(), got.quality.tolist(), strict=True)) == [
            model[t] for t in got.times.tolist()
        ]

    @rule(tag=st.integers(0, TAGS - 1), points=st.integers(1, 30))
    def trend(self, tag: int, points: int) -> None:
        model = self.model[tag]
        got = self.store.buckets(int(self.numbers[tag]), T0, T0 + 500 * STEP, points).columns
        if model:
            assert (got.values.min(), got.values.max()) == (
                min(v for v, _ in model.values()),
                max(v for v, _ in model.values()),
            )
            assert (got.times[0], got.times[-1]) == (min(model), max(model))

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.mark("n", "b") == self.seq
        assert [e.text for e in self.store.events("", "", 0, 1000)] == self.events[::-1]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)
            history_engine.JOURNAL_AGE_ROWS, Tails.grow = self.age, self.row


_grow = Tails.grow


def _small_rows(tails: Tails, series_max: int) -> None:
    """Chunks are closed after a few samples, so that short runs meet every way of closing."""
    _grow(tails, series_max)
    tails.threshold[:] = np.minimum(tails.threshold, 50)


StoreMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestStore = StoreMachine.TestCase
