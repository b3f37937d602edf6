"""The embedded history engine: a journal and chunks in one SQLite file, opened through apsw alone.

Theory. A commit writes its samples as *one* compressed journal row and keeps them in memory as *tails*. When the tail
of a series is long enough, all of it becomes one chunk row, in the transaction of the commit that filled it; the
journal row of that commit names the series that it closed, so reading the journal in order makes the same tails again.
The oldest journal rows go as soon as no tail needs them. A series that changes rarely is flushed when its journal row
gets old, and joined to its last chunk.

Invariants.
* A sample is in exactly one of: a chunk, or a journal row after the last one that closed its series.
* Memory changes only after COMMIT returned (``synchronous=FULL``): a failed commit leaves everything as it was.
* The mark (node, boot, seq) and the samples it speaks of are in one transaction.

What could go wrong: two SQLite libraries on one file drop each other's POSIX locks, and Debian 12's SQLite has the
WAL-reset defect; so nothing but apsw may open this file. Chunks may overlap in time (back-fill); readers sort.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import numpy.typing as npt

from scan.problem import TickworkError, fail
from supervisor._history_tails import Tails
from supervisor.history_codec import (
    Columns,
    SeriesNumbers,
    decode_chunk,
    decode_journal,
    encode_chunk,
    encode_journal,
    in_time_order,
    join,
)
from supervisor.history_store import TIME_MAX_NS, TIME_MIN_NS, Arrival, Committed, NewEvent, SeriesSpec
from supervisor.model import EventRow

FORMAT = 1
CHUNK_SAMPLES = 1024
JOURNAL_AGE_ROWS = 4800  # 20 minutes of commits: bounds recovery after a crash for rarely changing tags
FLUSH_PER_COMMIT = 64
BOOTS_KEPT = 8  # marks of a node's earlier buffers
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series(
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, path TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL,
    low REAL, high REAL, UNIQUE(node, path));
CREATE TABLE IF NOT EXISTS journal(
    id INTEGER PRIMARY KEY AUTOINCREMENT, closed BLOB NOT NULL, samples INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS chunk(
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, samples INTEGER NOT NULL,
    first REAL, low REAL, low_at INTEGER, high REAL, high_at INTEGER, last REAL, worst INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS chunk_by_series ON chunk(series, t1, t0, samples);
CREATE TABLE IF NOT EXISTS text(
    series INTEGER NOT NULL, time_ns INTEGER NOT NULL, quality INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY(series, time_ns)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark(
    node TEXT NOT NULL, boot TEXT NOT NULL, seq INTEGER NOT NULL, at_ns INTEGER NOT NULL,
    PRIMARY KEY(node, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event(
    seq INTEGER PRIMARY KEY, node TEXT NOT NULL, time_ns INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, severity TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, fields TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_by_node ON event(node, kind, seq);
"""
_INSERT_CHUNK = (
    "INSERT INTO chunk(series, t0, t1, samples, first, low, low_at, high, high_at, last, worst, data) "
    "VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"
)


class Writer:
    """The one connection that writes, with the tails. Used by one thread at a time, but for ``snapshot``."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._db = _open(path, vfs)
        self.tails = Tails()
        self.marks: dict[tuple[str, str], int] = {}
        self.last_event = 0
        self.last_journal = 0
        self.samples_total = 0
        # Held while a commit becomes visible: a reader that takes it sees chunks and tails of the same commit.
        self.visible = threading.Lock()
        self._series: dict[tuple[str, str], int] = {}
        try:
            self._recover()
        except (apsw.Error, TickworkError, IndexError) as error:
            self._db.close()
            raise not_usable(path, str(error)) from error

    def close(self) -> None:
        self._db.close()

    # ------------------------------------------------------------ series

    def open_series(self, node_id: str, specs: tuple[SeriesSpec, ...]) -> npt.NDArray[np.uint32]:
        new = [s for s in specs if (node_id, s.path) not in self._series]
        with self._transaction():
            for spec in new:
                self._db.execute(
                    "INSERT INTO series(node, path, type, unit, low, high) VALUES(?,?,?,?,?,?)",
                    (node_id, spec.path, spec.type, spec.unit, spec.low, spec.high),
                )
                self._series[node_id, spec.path] = self._db.last_insert_rowid()
            known = set(specs) - set(new)
            self._db.executemany(
                "UPDATE series SET type=?, unit=?, low=?, high=? WHERE node=? AND path=? "
                "AND (type, unit, low, high) IS NOT (?,?,?,?)",
                [
                    (s.type, s.unit, s.low, s.high, node_id, s.path, s.type, s.unit, s.low, s.high)
                    for s in known
                ],
            )
        with self.visible:
            self.tails.grow(max(self._series.values(), default=0))
        return np.array([self._series[node_id, s.path] for s in specs], np.uint32)

    # ------------------------------------------------------------ commit

    def commit(self, arrivals: list[Arrival], events: tuple[NewEvent, ...], received_ns: int) -> Committed:
        fresh, marks = self._fresh(arrivals)
        series, columns = _grouped(fresh)
        closing = self._closing(series)
        keep = ~np.isin(series, np.array(closing, np.uint32)) if closing else np.ones(len(series), bool)
        rest = Columns(columns.times[keep], columns.values[keep], columns.quality[keep])
        rest_series = series[keep]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            journal = self._write_journal(closing, rest_series, rest)
            for number in closing:
                parts = [self.tails.get(number), _of(number, series, columns)]
                self._write_chunk(number, join(parts))
            self._write_marks(marks, received_ns)
            self._write_texts(fresh)
            rows = self._write_events([e for a in fresh for e in a.events] + list(events), received_ns)
            self._trim_journal(journal, closing)
            self.visible.acquire()
        except BaseException:
            self._roll_back()
            raise
        try:
            self._commit_or_roll_back()
            self.last_journal = journal
            self.tails.clear(closing)
            self.tails.add(rest_series, rest, journal)
            self.marks.update(marks)
            self.last_event += len(rows)
            self.samples_total += len(series)
        finally:
            self.visible.release()
        return Committed(marks, rows, len(series), len(arrivals) - len(fresh))

    def _commit_or_roll_back(self) -> None:
        try:
            self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # a full disk has rolled back by itself
            self._db.execute("ROLLBACK")

    def _fresh(self, arrivals: list[Arrival]) -> tuple[list[Arrival], dict[tuple[str, str], int]]:
        marks: dict[tuple[str, str], int] = {}
        fresh = []
        for arrival in arrivals:
            key = (arrival.node_id, arrival.boot)
            if arrival.seq > marks.get(key, self.marks.get(key, 0)):
                marks[key] = arrival.seq
                fresh.append(arrival)
        return fresh, marks

    def _closing(self, series: SeriesNumbers) -> list[int]:
        starts = _starts(series)
        groups = series[starts].astype(np.int64)
        counts = np.diff(np.append(starts, len(series)))
        full = self.tails.count[groups] + counts >= self.tails.threshold[groups]
        # Besides the full ones those whose oldest sample keeps an old journal row alive: recovery stays short.
        aged = self.tails.aged(self.last_journal - JOURNAL_AGE_ROWS, FLUSH_PER_COMMIT)
        return sorted({int(s) for s in groups[full]}.union(aged))

    def _write_journal(self, closing: list[int], series: SeriesNumbers, columns: Columns) -> int:
        """The journal row, also when it is empty: its number orders this commit among the others."""
        closed = np.array(closing, "<u4").tobytes()
        self._db.execute(
            "INSERT INTO journal(closed, samples, data) VALUES(?,?,?)",
            (closed, len(series), encode_journal(series, columns)),
        )
        return self._db.last_insert_rowid()

    def _write_chunk(self, series: int, columns: Columns) -> None:
        columns = in_time_order(columns)
        if len(columns) < CHUNK_SAMPLES // 2:
            columns = self._joined_to_last(series, columns)
        pieces = max(1, round(len(columns) / CHUNK_SAMPLES))  # a commit may carry many samples of one tag
        ends = [len(columns) * piece // pieces for piece in range(pieces + 1)]
        for start, stop in itertools.pairwise(ends):
            part = columns.part(start, stop)
            self._db.execute(_INSERT_CHUNK, (series, *summary(part), encode_chunk(part)))

    def _joined_to_last(self, series: int, columns: Columns) -> Columns:
        """With the samples of the newest chunk, which is deleted, if both together make no more than one chunk."""
        sql = "SELECT id, samples, data FROM chunk WHERE series=? ORDER BY t1 DESC LIMIT 1"
        found: tuple[Any, ...] | None = self._db.execute(sql, (series,)).fetchone()
        if found is None or found[1] + len(columns) > CHUNK_SAMPLES:
            return columns
        try:
            earlier = decode_chunk(found[2])
        except TickworkError:
            return columns  # the damaged chunk stays where it is and is told when somebody reads it
        self._db.execute("DELETE FROM chunk WHERE id=?", (found[0],))
        return in_time_order(join([earlier, columns]))

    def _trim_journal(self, journal: int, emptied: list[int]) -> None:
        if journal % 4:
            return  # about once a second is enough
        needed = self.tails.oldest.copy()
        needed[self.tails.count == 0] = journal
        needed[emptied] = journal
        oldest = int(needed.min()) if len(needed) else journal
        self._db.execute("DELETE FROM journal WHERE id<?", (oldest,))

    def _write_marks(self, marks: dict[tuple[str, str], int], received_ns: int) -> None:
        for (node, boot), seq in marks.items():
            self._db.execute(
                "INSERT INTO mark VALUES(?,?,?,?) ON CONFLICT(node, boot) "
                "DO UPDATE SET seq=excluded.seq, at_ns=excluded.at_ns",
                (node, boot, seq, received_ns),
            )
            if (node, boot) not in self.marks:
                self._db.execute(
                    "DELETE FROM mark WHERE node=?1 AND boot NOT IN "
                    "(SELECT boot FROM mark WHERE node=?1 ORDER BY at_ns DESC LIMIT ?2)",
                    (node, BOOTS_KEPT),
                )

    def _write_texts(self, arrivals: list[Arrival]) -> None:
        rows = [row for arrival in arrivals for row in arrival.texts]
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO text VALUES(?,?,?,?)", rows)

    def _write_events(self, events: list[NewEvent], received_ns: int) -> tuple[EventRow, ...]:
        rows = tuple(
            EventRow(
                self.last_event + 1 + offset, e.node_id, "", e.time_ns, received_ns, e.kind, e.severity, e.source,
                e.text, e.fields,
            )
            for offset, e in enumerate(events)
        )  # fmt: skip
        self._db.executemany(
            "INSERT INTO event VALUES(?,?,?,?,?,?,?,?,?)",
            [
                (r.seq, r.node_id, r.time_ns, r.received_ns, r.kind, r.severity, r.source, r.text,
                 msgspec.json.encode(r.fields).decode())
                for r in rows
            ],
        )  # fmt: skip
        return rows

    # ------------------------------------------------------------ retention and recovery

    def trim(self, older_than_ns: int, limit: int) -> int:
        with self._transaction():
            self._db.execute(
                "DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE t1<? LIMIT ?)",
                (older_than_ns, limit),
            )
            return self._db.changes()

    def _recover(self) -> None:
        for number, node, path in self._db.execute("SELECT id, node, path FROM series"):
            self._series[node, path] = number
        self.tails.grow(max(self._series.values(), default=0))
        for node, boot, seq in self._db.execute("SELECT node, boot, seq FROM mark"):
            self.marks[node, boot] = seq
        self.last_event = self._db.execute("SELECT coalesce(max(seq), 0) FROM event").get
        stored = self._db.execute("SELECT coalesce(sum(samples), 0) FROM chunk").get
        for number, closed, blob in self._db.execute("SELECT id, closed, data FROM journal ORDER BY id"):
            self.tails.clear(np.frombuffer(closed, "<u4").tolist())
            self.tails.add(*decode_journal(blob), number)
            self.last_journal = number
        journalled = int(self.tails.count.sum())
        self.samples_total = stored + journalled

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._roll_back()
            raise
        self._commit_or_roll_back()


def summary(columns: Columns) -> tuple[int, int, int, float, float, int, float, int, float, int]:
    """What a trend needs of a chunk that lies inside one bucket: ends, extremes with their times, worst quality."""
    values = columns.values
    low, high = 0, 0
    if not np.isnan(values).all():
        low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    return (
        int(columns.times[0]),
        int(columns.times[-1]),
        len(columns),
        float(values[0]),
        float(values[low]),
        int(columns.times[low]),
        float(values[high]),
        int(columns.times[high]),
        float(values[-1]),
        int(columns.quality.max()),
    )


def _starts(series: SeriesNumbers) -> npt.NDArray[np.int64]:
    if not len(series):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.append(True, series[1:] != series[:-1]))


def _of(number: int, series: SeriesNumbers, columns: Columns) -> Columns:
    start, stop = np.searchsorted(series, [number, number + 1])
    return columns.part(int(start), int(stop))


def _grouped(arrivals: list[Arrival]) -> tuple[SeriesNumbers, Columns]:
    """All samples, grouped by series, in arrival order within each; impossible times are left out."""
    filled = [a for a in arrivals if len(a.series)]
    if not filled:
        return np.empty(0, np.uint32), join([])
    series = np.concatenate([a.series for a in filled])
    columns = join([a.columns for a in filled])
    order = np.argsort(series, kind="stable")
    sane = (columns.times >= TIME_MIN_NS) & (columns.times < TIME_MAX_NS)
    if not sane.all():
        order = order[sane[order]]
    return series[order], Columns(columns.times[order], columns.values[order], columns.quality[order])


def _open(path: Path, vfs: str | None) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), vfs=vfs)
        db.set_busy_timeout(5000)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=2000"):
            db.execute(
                f"PRAGMA {pragma}"
            ).fetchall()  # statements after one that gives a row would wait for it
        db.execute(_SCHEMA)
        db.execute("INSERT OR IGNORE INTO meta VALUES('format', ?)", (FORMAT,))
        found = db.execute("SELECT value FROM meta WHERE key='format'").get
    except apsw.Error as error:
        raise not_usable(path, str(error)) from error
    if found != FORMAT:
        db.close()
        raise not_usable(path, f"format {found}")
    return db


def not_usable(path: Path, found: str) -> TickworkError:
    return fail(
        "SV2001",
        f"the history file {path} cannot be used",
        expected=f"a history file of format {FORMAT}",
        found=found,
        remedy="restore it from a backup, or move it away: a new one is begun and the runtimes send what they keep",
    )
