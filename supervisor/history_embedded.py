"""The embedded ``HistoryStore``: the writer of ``history_engine`` and a few reading connections on the same file."""

from __future__ import annotations

import queue
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import numpy as np
import numpy.typing as npt

from scan.problem import Problem, TickworkError, fail
from supervisor.history_codec import Columns, decode_chunk, decode_chunks
from supervisor.history_engine import Writer, not_usable
from supervisor.history_read import bucket_edges, clip, decimate, merge, summary_points
from supervisor.history_store import TIME_MAX_NS, Arrival, Buckets, Committed, NewEvent, SeriesSpec
from supervisor.model import EventRow, Series

READERS = 3
SAMPLES_PER_QUERY_MAX = 20_000_000  # 360 MB of columns: more is asked by mistake
_JSON = msgspec.json.Decoder(dict[str, str])
_SERIES = "id, node, path, type, unit, low, high"
_EVENT = "seq, node, time_ns, received_ns, kind, severity, source, text, fields"
_SUMMARY = "t0, t1, samples, first, low, low_at, high, high_at, last, worst"


class EmbeddedHistory:
    """Construct it where blocking is allowed. Raises TickworkError SV2001 when the file cannot be used."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._path = path
        self._writer = Writer(path, vfs=vfs)
        self._readers: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._readers.put(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs))

    def close(self) -> None:
        for _ in range(READERS):
            self._readers.get().close()
        self._writer.close()

    def open_series(self, node_id: str, specs: tuple[SeriesSpec, ...]) -> npt.NDArray[np.uint32]:
        return self._writer.open_series(node_id, specs)

    def mark(self, node_id: str, boot: str) -> int:
        return self._writer.marks.get((node_id, boot), 0)

    def commit(self, arrivals: list[Arrival], events: tuple[NewEvent, ...], received_ns: int) -> Committed:
        try:
            return self._writer.commit(arrivals, events, received_ns)
        except apsw.Error as error:
            raise fail(
                "SV2004",
                f"history cannot be written to {self._path}",
                found=str(error),
                remedy="make room on the disk or make it writable; runtimes keep their data until then",
            ) from error

    def trim(self, older_than_ns: int, limit: int) -> int:
        return self._writer.trim(older_than_ns, limit)

    # ------------------------------------------------------------ queries

    @contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
        reader = self._readers.get()
        try:
            yield reader
        finally:
            self._readers.put(reader)

    @contextmanager
    def _snapshot(self, series: int) -> Iterator[tuple[apsw.Connection, Columns]]:
        """A connection inside a read transaction and the tail that belongs to the same commit."""
        with self._reader() as reader:
            with self._writer.visible:
                tail = self._writer.tails.get(series)
                reader.execute("BEGIN")
                reader.execute("SELECT 1 FROM meta LIMIT 1").fetchall()  # takes the snapshot
            try:
                yield reader, tail
            finally:
                reader.execute("COMMIT")

    def read(self, series: int, from_ns: int, to_ns: int, *, before: bool = False) -> Columns:
        with self._snapshot(series) as (reader, tail):
            where = "FROM chunk WHERE series=? AND t1>=? AND t0<=?"
            asked = (series, from_ns, to_ns)
            [(count,)] = _rows(reader, f"SELECT coalesce(sum(samples), 0) {where}", asked)
            if count > SAMPLES_PER_QUERY_MAX:
                raise _too_large(count)
            rows = _rows(reader, f"SELECT data {where} ORDER BY id", asked)
            parts = [decode_chunks([row[0] for row in rows])]
            if before:
                parts += self._before(reader, series, from_ns)
        return clip(merge([*parts, tail]), from_ns, to_ns, before=before)

    def _before(self, reader: apsw.Connection, series: int, from_ns: int) -> list[Columns]:
        """The newest chunk that ends before ``from_ns``, if there is one, as its last sample."""
        sql = "SELECT data FROM chunk WHERE series=? AND t1<? ORDER BY t1 DESC LIMIT 1"
        chunks = [decode_chunk(row[0]) for row in _rows(reader, sql, (series, from_ns))]
        return [chunk.part(len(chunk) - 1, len(chunk)) for chunk in chunks]

    def buckets(self, series: int, from_ns: int, to_ns: int, count: int) -> Buckets:
        edges = bucket_edges(from_ns, to_ns, count)
        with self._snapshot(series) as (reader, tail):
            sql = f"SELECT id, {_SUMMARY} FROM chunk WHERE series=? AND t1>=? AND t0<=? ORDER BY id"  # noqa: S608
            rows = _rows(reader, sql, (series, from_ns, to_ns))
            inside = _summarised(rows, edges, tail) if len(rows) > count // 4 else [False] * len(rows)
            whole = [row[1:] for row, within in zip(rows, inside, strict=True) if within]
            cut = [row[0] for row, within in zip(rows, inside, strict=True) if not within]
            blobs = [_rows(reader, "SELECT data FROM chunk WHERE id=?", (number,))[0][0] for number in cut]
            earlier = self._before(reader, series, from_ns)
        decoded = merge([decode_chunks(blobs), tail])
        found = clip(decoded, from_ns, to_ns, before=False)
        samples = len(found) + sum(row[2] for row in whole)
        if (
            whole
        ):  # points of a bucket's points are that bucket's points, so the two kinds meet when they are few
            found = merge([summary_points(whole), decimate(found, edges, samples).columns])
        buckets = decimate(found, edges, samples)
        held = clip(merge([*earlier, decoded]), from_ns, from_ns - 1, before=True)
        return Buckets(merge([held, buckets.columns]), buckets.samples, buckets.decimated)

    def texts(self, series: int, from_ns: int, to_ns: int, limit: int) -> list[tuple[int, int, str]]:
        sql = (
            "SELECT time_ns, quality, text FROM text WHERE series=? AND time_ns BETWEEN ? AND ? "
            "ORDER BY time_ns LIMIT ?"
        )
        with self._reader() as reader:
            return [(t, q, text) for t, q, text in _rows(reader, sql, (series, from_ns, to_ns, limit))]

    def last(self, series: npt.NDArray[np.uint32]) -> Columns:
        out = Columns(
            np.zeros(len(series), np.int64), np.full(len(series), np.nan), np.zeros(len(series), np.uint16)
        )
        for index, number in enumerate(series.tolist()):
            with self._snapshot(number) as (reader, tail):
                parts = [merge([tail])] if len(tail) else self._before(reader, number, TIME_MAX_NS)
            if parts:
                out.times[index], out.values[index] = parts[0].times[-1], parts[0].values[-1]
                out.quality[index] = parts[0].quality[-1]
        return out

    # ------------------------------------------------------------ series, events, size

    def series(self, node_id: str, search: str, limit: int) -> tuple[tuple[int, Series], ...]:
        sql = (
            f"SELECT {_SERIES} FROM series WHERE (?1='' OR node=?1) "  # noqa: S608
            "AND instr(lower(path), lower(?2)) ORDER BY node, id LIMIT ?3"
        )
        with self._reader() as reader:
            return tuple(
                self._with_range(reader, row) for row in _rows(reader, sql, (node_id, search, limit))
            )

    def find(self, node_id: str, path: str) -> tuple[int, Series] | None:
        sql = f"SELECT {_SERIES} FROM series WHERE node=? AND path=?"  # noqa: S608
        with self._reader() as reader:
            rows = _rows(reader, sql, (node_id, path))
            return self._with_range(reader, rows[0]) if rows else None

    def _with_range(self, reader: apsw.Connection, row: tuple[Any, ...]) -> tuple[int, Series]:
        number, node, path, type_name, unit, low, high = row
        sql = (
            "SELECT (SELECT t0 FROM chunk WHERE series=?1 ORDER BY t1 LIMIT 1), "
            "(SELECT max(t1) FROM chunk WHERE series=?1)"
        )
        [(first, last)] = _rows(reader, sql, (number,))
        with self._writer.visible:
            tail = self._writer.tails.get(number)
        times = [t for t in (first, last, *tail.times[:1].tolist(), *tail.times[-1:].tolist()) if t]
        return number, Series(
            node, "", path, type_name, unit, low, high, min(times, default=0), max(times, default=0)
        )

    def events(
        self, node_id: str, kind: str, before: int, limit: int, *, after: int = 0
    ) -> tuple[EventRow, ...]:
        where = "(?1='' OR node=?1) AND (?2='' OR kind=?2) AND (?3=0 OR seq<?3) AND seq>?4"
        order = "ASC" if after else "DESC"
        sql = f"SELECT {_EVENT} FROM event WHERE {where} ORDER BY seq {order} LIMIT ?5"  # noqa: S608
        with self._reader() as reader:
            rows = _rows(reader, sql, (node_id, kind, before, after, limit))
        return tuple(
            EventRow(seq, node, "", at, received, of_kind, severity, source, text, _JSON.decode(fields))
            for seq, node, at, received, of_kind, severity, source, text, fields in rows
        )

    def starts(self, node_id: str, from_ns: int, to_ns: int) -> list[int]:
        sql = (
            "SELECT time_ns FROM event WHERE node=? AND kind='start' AND time_ns BETWEEN ? AND ? "
            "ORDER BY time_ns LIMIT 1000"
        )
        with self._reader() as reader:
            return [row[0] for row in _rows(reader, sql, (node_id, from_ns, to_ns))]

    def last_event(self) -> int:
        return self._writer.last_event

    def copy_to(self, path: Path) -> None:
        """A consistent, compact copy as a file of its own; commits go on meanwhile."""
        with self._reader() as reader:
            reader.execute("VACUUM INTO ?", (str(path),)).fetchall()

    def check(self) -> None:
        """Read the whole file. Raises TickworkError SV2001 when a page or an index is damaged."""
        with self._reader() as reader:
            found = _rows(reader, "PRAGMA integrity_check(5)", ())
        if found != [("ok",)]:
            raise not_usable(self._path, "; ".join(str(row[0]) for row in found))

    def size(self) -> tuple[int, int, int]:
        files = (self._path, Path(f"{self._path}-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        with self._reader() as reader:
            [(series,)] = _rows(reader, "SELECT count(*) FROM series", ())
        return size, self._writer.samples_total, series


def _rows(reader: apsw.Connection, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    return reader.execute(sql, values).fetchall()


def _summarised(rows: list[tuple[Any, ...]], edges: npt.NDArray[np.int64], tail: Columns) -> list[bool]:
    """Which chunks (id, t0, t1, …) their summary stands for: those inside one bucket that nothing else overlaps.

    Where chunks overlap (back-fill, corrections) a later sample may replace one that the summary still has.
    """
    ends = np.array([row[1:3] for row in rows], np.int64)
    bucket = np.searchsorted(edges, ends, "right")
    inside = (bucket[:, 0] == bucket[:, 1]) & (bucket[:, 0] > 0) & (bucket[:, 1] < len(edges))
    order = np.argsort(ends[:, 0], kind="stable")
    starts, stops = ends[order, 0], ends[order, 1]
    alone = np.ones(len(rows), bool)
    alone[1:] &= starts[1:] > np.maximum.accumulate(stops)[:-1]
    alone[:-1] &= stops[:-1] < starts[1:]
    if len(tail):
        alone &= (stops < tail.times.min()) | (starts > tail.times.max())
    inside[order] &= alone
    return inside.tolist()


def open_or_quarantine(path: Path) -> tuple[EmbeddedHistory, Problem | None]:
    """The history store; a file that cannot be used is moved aside, told about, and a new one begun."""
    try:
        return EmbeddedHistory(path), None
    except TickworkError as error:
        aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        for suffix in ("", "-wal", "-shm"):
            part = Path(f"{path}{suffix}")
            if part.exists():
                shutil.move(part, f"{aside}{suffix}")
        problem = msgspec.structs.replace(
            error.problems[0],
            notes=(f"it was moved to {aside}; a new history file was begun",),
        )
        return EmbeddedHistory(path), problem


def _too_large(samples: int) -> TickworkError:
    return fail(
        "SV2005",
        "the query covers too many samples",
        expected=f"at most {SAMPLES_PER_QUERY_MAX}",
        found=str(samples),
        remedy="ask for a shorter time, or for a trend or aggregates instead of raw samples",
    )


__all__ = ["EmbeddedHistory", "open_or_quarantine"]
