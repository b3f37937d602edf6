"""The embedded history store: every stored sample comes back, once, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan.problem import TickworkError
from supervisor.history_codec import Columns, decode_chunk, decode_journal, encode_chunk, encode_journal
from supervisor.history_embedded import EmbeddedHistory, open_or_quarantine
from supervisor.history_store import Arrival, NewEvent, SeriesSpec

T0 = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def columns(times: list[int], values: list[float], quality: list[int] | None = None) -> Columns:
    return Columns(
        np.array(times, np.int64),
        np.array(values, np.float64),
        np.array(quality or [0] * len(times), np.uint16),
    )


def arrival(seq: int, series: list[int], cols: Columns, *, boot: str = "b", node: str = "n") -> Arrival:
    return Arrival(node, boot, seq, np.array(series, np.uint32), cols)


def open_store(tmp_path: Path, tags: int = 2) -> tuple[EmbeddedHistory, list[int]]:
    store = EmbeddedHistory(tmp_path / "history.db")
    numbers = store.open_series("n", tuple(SeriesSpec(f"Main.t{i}", "REAL") for i in range(tags)))
    return store, numbers.tolist()


def fill(store: EmbeddedHistory, numbers: list[int], seqs: range, per_batch: int = 10) -> None:
    for seq in seqs:
        rows = [
            (n, T0 + ((seq - 1) * per_batch + k) * SECOND, seq * 100.0 + k)
            for n in numbers
            for k in range(per_batch)
        ]
        series, times, values = (list(x) for x in zip(*rows, strict=True))
        store.commit([arrival(seq, series, columns(times, values))], (), T0)


def test_read_when_samples_are_in_chunks_and_tail_then_all_come_back_in_order(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    fill(store, numbers, range(1, 301))
    got = store.read(numbers[0], T0, T0 + 10_000 * SECOND)
    assert len(got) == 3000
    assert np.array_equal(got.times, T0 + np.arange(3000) * SECOND)
    assert got.values[-1] == 30009.0
    store.close()


def test_open_when_process_ended_without_closing_then_journal_gives_the_tails_back(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    fill(store, numbers, range(1, 151))
    store.close()
    again = EmbeddedHistory(tmp_path / "history.db")
    assert again.mark("n", "b") == 150
    assert len(again.read(numbers[1], T0, T0 + 10_000 * SECOND)) == 1500
    fill(again, numbers, range(151, 301))
    assert len(again.read(numbers[1], T0, T0 + 10_000 * SECOND)) == 3000
    again.close()


def test_commit_when_batch_is_delivered_twice_then_it_counts_once(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    batch = arrival(1, [numbers[0]], columns([T0], [1.0]))
    store.commit([batch], (), T0)
    done = store.commit([batch, arrival(2, [numbers[0]], columns([T0 + SECOND], [2.0]))], (), T0)
    assert (done.duplicates, done.samples, done.marks) == (1, 1, {("n", "b"): 2})
    assert store.read(numbers[0], T0, T0 + SECOND).values.tolist() == [1.0, 2.0]
    store.close()


def test_read_when_back_fill_is_older_then_it_is_sorted_in(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    fill(store, numbers, range(200, 301))
    fill(store, numbers, range(301, 302))
    late = columns([T0 + k * SECOND for k in range(1200)], [float(k) for k in range(1200)])
    store.commit([arrival(999, [numbers[0]] * 1200, late)], (), T0)
    got = store.read(numbers[0], T0, T0 + 100_000 * SECOND)
    assert len(got) == 1020 + 1200
    assert bool(np.all(np.diff(got.times) > 0))
    store.close()


def test_read_when_before_is_asked_then_the_held_value_leads(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    fill(store, numbers, range(1, 301))
    got = store.read(numbers[0], T0 + 100 * SECOND + 1, T0 + 102 * SECOND, before=True)
    assert got.times.tolist() == [T0 + s * SECOND for s in (100, 101, 102)]
    late = store.read(numbers[0], T0 + 90_000 * SECOND, T0 + 90_001 * SECOND, before=True)
    assert late.times.tolist() == [T0 + 2999 * SECOND]
    store.close()


def test_commit_when_time_is_impossible_then_sample_is_left_out(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path)
    store.commit([arrival(1, [numbers[0]] * 3, columns([5, T0, (1 << 63) - 1], [1.0, 2.0, 3.0]))], (), T0)
    assert store.read(numbers[0], 0, (1 << 63) - 1).values.tolist() == [2.0]
    store.close()


def test_commit_when_event_is_in_it_then_sequence_grows_by_one(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path)
    events = tuple(NewEvent("n", T0 + i, "fault", "error", "Task", f"e{i}", {"k": "v"}) for i in range(3))
    done = store.commit([], events, T0 + 9)
    assert [e.seq for e in done.events] == [1, 2, 3]
    assert [e.text for e in store.events("n", "", 0, 2)] == ["e2", "e1"]
    assert [e.text for e in store.events("", "", 0, 9, after=1)] == ["e1", "e2"]
    store.close()


def test_buckets_when_range_is_long_then_extremes_survive(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path, 1)
    count = 200_000
    values = np.sin(np.arange(count) / 500.0)
    values[123_456] = 99.0
    values[77_777] = -99.0
    step = 5000
    for seq in range(count // step):
        part = slice(seq * step, (seq + 1) * step)
        times = T0 + np.arange(part.start, part.stop) * SECOND
        store.commit(
            [Arrival("n", "b", seq + 1, np.full(step, numbers[0], np.uint32),
                     Columns(times, values[part], np.zeros(step, np.uint16)))], (), T0)  # fmt: skip
    got = store.buckets(numbers[0], T0, T0 + count * SECOND, 50)
    assert got.samples == count
    assert got.decimated
    assert len(got.columns) <= 4 * 50 + 1
    assert got.columns.values.max() == 99.0
    assert got.columns.values.min() == -99.0
    at = got.columns.times[got.columns.values.argmax()]
    assert at == T0 + 123_456 * SECOND
    store.close()


def test_buckets_when_samples_are_few_then_all_are_given(tmp_path: Path) -> None:
    store, numbers = open_store(tmp_path, 1)
    store.commit([arrival(1, [numbers[0]] * 3, columns([T0, T0 + 1, T0 + 2], [1, 2, 3]))], (), T0)
    got = store.buckets(numbers[0], T0, T0 + SECOND, 100)
    assert not got.decimated
    assert got.columns.values.tolist() == [1.0, 2.0, 3.0]
    store.close()


def test_flush_when_tag_changes_rarely_then_journal_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.history_engine.JOURNAL_AGE_ROWS", 20)
    store, numbers = open_store(tmp_path)
    for seq in range(1, 200):
        tags = numbers if seq % 50 == 1 else numbers[:1]
        store.commit(
            [arrival(seq, tags, columns([T0 + seq * SECOND] * len(tags), [float(seq)] * len(tags)))], (), T0
        )
    rows = store._writer._db.execute("SELECT count(*) FROM journal").get
    assert rows < 120
    assert len(store.read(numbers[1], T0, T0 + 1000 * SECOND)) == 4
    chunks = store._writer._db.execute("SELECT count(*) FROM chunk WHERE series=?", (numbers[1],)).get
    assert chunks == 1
    store.close()


def test_open_when_file_is_damaged_then_it_is_moved_aside_and_told(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(b"this is no database" * 500)
    store, problem = open_or_quarantine(path)
    assert problem is not None
    assert problem.code == "SV2001"
    assert "moved to" in problem.notes[0]
    assert store.size()[1] == 0
    store.close()
    assert list(tmp_path.glob("history.db.damaged-*"))


times_st = st.lists(st.integers(T0, T0 + 10**15), min_size=1, max_size=300)


@given(times=times_st, seed=st.integers(0, 2**31), worst=st.sampled_from([0, 0x40, 0x8031]))
@settings(max_examples=60, deadline=None)
def test_chunk_when_encoded_then_decodes_to_the_same_bits(times: list[int], seed: int, worst: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=len(times))
    values[::3] = np.nan
    cols = Columns(np.array(times), values, np.full(len(times), worst, np.uint16))
    back = decode_chunk(encode_chunk(cols))
    assert np.array_equal(back.times, cols.times)
    assert back.values.tobytes() == values.tobytes()
    assert np.array_equal(back.quality, cols.quality)
    series, rest = decode_journal(encode_journal(np.arange(len(times), dtype=np.uint32), cols))
    assert np.array_equal(series, np.arange(len(times)))
    assert rest.values.tobytes() == values.tobytes()


@given(data=st.binary(max_size=200), at=st.integers(0, 150), byte=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_decode_when_bytes_are_damaged_then_one_error_or_samples(data: bytes, at: int, byte: int) -> None:
    blob = bytearray(encode_chunk(columns([T0 + i for i in range(50)], [float(i) for i in range(50)])))
    blob[at % len(blob)] = byte
    for candidate in (data, bytes(blob), bytes(blob[: at % len(blob)])):
        try:
            assert len(decode_chunk(candidate)) >= 0
        except TickworkError as error:
            assert error.code == "SV2002"


def test_open_when_file_is_made_then_every_commit_is_synced(tmp_path: Path) -> None:
    store, _ = open_store(tmp_path)
    db = store._writer._db
    assert db.execute("PRAGMA synchronous").get == 2
    assert db.execute("PRAGMA journal_mode").get == "wal"
    assert db.execute("PRAGMA wal_autocheckpoint").get == 2000
    store.close()
