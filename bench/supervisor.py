"""The supervisor's storage and link against plain SQLite rows: ``./dev bench supervisor``.

The reference is a table (tag, time, value, quality) WITHOUT ROWID in the same library with the same
``synchronous=FULL``, filled with the same samples in the same run. The chain is real: a supervisor process, simulated
runtimes over WebSockets in another, acknowledged after the commit. ``TICKWORK_BENCH_RUNTIMES=1000`` for the large one.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import _signals as signals
import apsw
import numpy as np
import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from supervisor.config_store import ConfigStore
from supervisor.history_codec import Columns
from supervisor.history_embedded import EmbeddedHistory
from supervisor.history_store import Arrival, SeriesSpec

TAGS = 1000
SECONDS = 3000
ROWS_PER_COMMIT = 100_000
LIVE_TAGS = 10_000
LIVE_COMMITS = 20
DAY = 86_400
CHAIN_RUNTIMES = int(os.environ.get("TICKWORK_BENCH_RUNTIMES", "100"))
CHAIN_TAGS = 100
CHAIN_SECONDS = 12


class Rows:
    """The reference: one row a sample."""

    def __init__(self, path: pathlib.Path) -> None:
        self.db = apsw.Connection(str(path))
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self.db.execute(f"PRAGMA {pragma}").fetchall()
        self.db.execute("CREATE TABLE s(tag, t, v, q, PRIMARY KEY(tag, t)) WITHOUT ROWID")

    def commit(self, series: np.ndarray, columns: Columns) -> None:
        rows = zip(
            series.tolist(),
            columns.times.tolist(),
            columns.values.tolist(),
            columns.quality.tolist(),
            strict=True,
        )
        with self.db:
            self.db.executemany("INSERT INTO s VALUES(?,?,?,?)", rows)


class Chunks:
    """Ours."""

    def __init__(self, path: pathlib.Path, tags: int) -> None:
        self.store = EmbeddedHistory(path)
        self.numbers = self.store.open_series("n", tuple(SeriesSpec(f"t{i}", "REAL") for i in range(tags)))
        self.seq = 0

    def commit(self, series: np.ndarray, columns: Columns) -> None:
        self.seq += 1
        self.store.commit([Arrival("n", "b", self.seq, self.numbers[series], columns)], (), 0)


def reference_signals(tags: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    times = np.stack([signals.times(count, rng) for _ in range(tags)])
    return times, np.stack([signals.values(tag, count, rng) for tag in range(tags)])


def batches(times: np.ndarray, values: np.ndarray, rows: int):  # type: ignore[no-untyped-def]
    tags, count = times.shape
    step = max(1, rows // tags)
    for start in range(0, count, step):
        part = slice(start, start + step)
        width = times[:, part].shape[1]
        series = np.repeat(np.arange(tags), width)
        yield (
            series,
            Columns(times[:, part].ravel(), values[:, part].ravel(), np.zeros(tags * width, np.uint16)),
        )


def fill(commit: Callable[[np.ndarray, Columns], None], parts: list[tuple[np.ndarray, Columns]]) -> float:
    """Samples a second."""
    start = time.perf_counter()
    for series, columns in parts:
        commit(series, columns)
    return sum(len(series) for series, _ in parts) / (time.perf_counter() - start)


def written_bytes() -> int:
    return int(psutil.Process().io_counters().write_bytes)


def say(what: str, ours: str, reference: str = "", ratio: float = 0.0) -> None:
    compared = f"   rows {reference:<12} ratio {ratio:6.1f}" if reference else ""
    print(f"{what:<18} {ours:<28}{compared}")


def ingest(folder: pathlib.Path) -> None:
    times, values = reference_signals(TAGS, SECONDS)
    parts = list(batches(times, values, ROWS_PER_COMMIT))
    rows, chunks = Rows(folder / "rows.db"), Chunks(folder / "chunks.db", TAGS)
    ours, plain = fill(chunks.commit, parts), fill(rows.commit, parts[: len(parts) // 4])
    say("ingest", f"{ours / 1e6:.2f} M samples/s", f"{plain / 1e6:.2f} M/s", ours / plain)
    chunks.store.close()
    start = time.perf_counter()
    store = EmbeddedHistory(folder / "chunks.db")
    took = time.perf_counter() - start
    left = int(store._writer.tails.count.sum())
    say("recovery", f"{took / left * 1e6:.2f} s a million journalled samples")
    store.close()


def kept(folder: pathlib.Path) -> None:
    """Bytes a sample once everything is in chunks."""
    count = 1024 * 8
    times, values = reference_signals(200, count)
    chunks, rows = Chunks(folder / "kept.db", 200), Rows(folder / "kept-rows.db")
    for series, columns in batches(times, values, 200 * 1024):
        chunks.commit(series, columns)
    for series, columns in list(batches(times, values, 200 * 1024))[:2]:
        rows.commit(series, columns)
    samples = chunks.store._writer._db.execute("SELECT sum(samples) FROM chunk").get
    chunks.store.close()
    rows.db.close()
    for name in ("kept.db", "kept-rows.db"):
        db = apsw.Connection(str(folder / name))
        db.execute("DELETE FROM journal" if name == "kept.db" else "SELECT 1").fetchall()
        db.execute("VACUUM")
        db.close()
    ours = (folder / "kept.db").stat().st_size / samples
    plain = (folder / "kept-rows.db").stat().st_size / (200 * 2048)
    say("bytes kept", f"{ours:.2f} a sample", f"{plain:.1f}", plain / ours)


def live(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(2)
    chunks, rows = Chunks(folder / "live.db", LIVE_TAGS), Rows(folder / "live-rows.db")
    series = np.arange(LIVE_TAGS)

    def batch(second: int) -> Columns:
        stamps = signals.T0 + (second * 1000 + rng.integers(0, 250, LIVE_TAGS)) * signals.MS
        levels = np.rint(rng.normal(2048, 50, LIVE_TAGS)) / 409.6
        return Columns(stamps, levels, np.zeros(LIVE_TAGS, np.uint16))

    def run(
        commit: Callable[[np.ndarray, Columns], None], first: int, count: int
    ) -> tuple[float, float, float]:
        took, before = [], written_bytes()
        for second in range(first, first + count):
            columns = batch(second)
            start = time.perf_counter()
            commit(series, columns)
            took.append((time.perf_counter() - start) * 1000)
        return float(np.median(took)), max(took), (written_bytes() - before) / (count * LIVE_TAGS)

    for second in range(600):  # until chunks are being closed all the time
        chunks.commit(series, batch(second))
    p50, most, size = run(chunks.commit, 600, 10 * LIVE_COMMITS)
    for second in range(60):
        rows.commit(series, batch(second))
    plain, plain_most, plain_size = run(rows.commit, 60, LIVE_COMMITS)
    say(
        "commit 10,000 rows", f"{p50:.1f} ms (max {most:.0f})", f"{plain:.0f} ({plain_most:.0f})", plain / p50
    )
    say("bytes written", f"{size:.1f} a sample", f"{plain_size:.0f}", plain_size / size)
    chunks.store.close()


def trends(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(3)
    tags, days = 8, 30
    chunks = Chunks(folder / "trend.db", tags)
    for day in range(days):
        for tag in range(tags):
            stamps = signals.times(DAY, rng) + day * DAY * 1000 * signals.MS
            columns = Columns(stamps, signals.values(tag, DAY, rng), np.zeros(DAY, np.uint16))
            chunks.commit(np.full(DAY, tag), columns)
    rows = Rows(folder / "trend-rows.db")
    columns = Columns(signals.times(DAY, rng), signals.values(0, DAY, rng), np.zeros(DAY, np.uint16))
    rows.commit(np.zeros(DAY, np.int64), columns)

    def timed(work: Callable[[], object], repeat: int) -> np.ndarray:
        took = []
        for _ in range(repeat):
            start = time.perf_counter()
            work()
            took.append((time.perf_counter() - start) * 1000)
        return np.array(took)

    first, last = signals.T0, signals.T0 + DAY * 1000 * signals.MS
    store, numbers = chunks.store, chunks.numbers.tolist()
    day_ms = timed(lambda: store.buckets(numbers[0], first, last, 500), 15)
    sql = "SELECT (t-?)/172800000000 AS b, min(v), max(v), avg(v) FROM s WHERE tag=0 AND t BETWEEN ? AND ? GROUP BY b"
    rows_ms = timed(lambda: rows.db.execute(sql, (first, first, last)).fetchall(), 7)
    ratio = np.median(rows_ms) / np.median(day_ms)
    say("tag-day to 500", f"{np.median(day_ms):.1f} ms", f"{np.median(rows_ms):.1f} ms", float(ratio))
    end = first + days * DAY * 1000 * signals.MS
    month = timed(lambda: [store.buckets(number, first, end, 1000) for number in numbers], 12)
    say("8 tags x 30 days", f"{np.percentile(month, 95):.0f} ms p95 for 1,000 points each")
    store.close()


def chain(folder: pathlib.Path) -> None:
    identities = enrol(folder / "sup", CHAIN_RUNTIMES)
    server = subprocess.Popen([sys.executable, "-m", "supervisor.main", str(folder / "sup"), "0"],
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert server.stdout is not None
    url = server.stdout.readline().split()[0]
    try:
        fleet = subprocess.Popen(
            [sys.executable, "-P", str(pathlib.Path(__file__).with_name("_fleet.py")), url, str(CHAIN_RUNTIMES),
             str(CHAIN_TAGS), str(CHAIN_SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(pathlib.Path.cwd())},
        )  # fmt: skip
        assert fleet.stdin is not None and fleet.stdout is not None
        fleet.stdin.write("\n".join(identities) + "\n")
        fleet.stdin.flush()
        assert fleet.stdout.readline().strip() == "ready"
        fleet.stdin.write("go\n")
        fleet.stdin.flush()
        process = psutil.Process(server.pid)
        time.sleep(4 + CHAIN_RUNTIMES / 300)
        before, start = process.cpu_times(), time.perf_counter()
        time.sleep(CHAIN_SECONDS - 3)
        after, span = process.cpu_times(), time.perf_counter() - start
        memory = process.memory_info().rss / 1e6
        result = json.loads(fleet.communicate(timeout=120)[0])
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
    cpu = (after.user + after.system - before.user - before.system) / span * 100
    took = np.array(result["took_ms"])
    p50, p99 = np.percentile(took, [50, 99])
    say(
        "chain", f"{CHAIN_RUNTIMES} runtimes x {CHAIN_TAGS} changes/s: {cpu:.0f} % of a core, {memory:.0f} MB"
    )
    done = f"{result['acknowledged']} of {result['sent']} batches"
    say("", f"acknowledged after {p50:.0f} ms (p50), {p99:.0f} ms (p99): {done}")


def enrol(folder: pathlib.Path, count: int) -> list[str]:
    """Runtimes straight into the supervisor's tables: node id and private key of each."""
    folder.mkdir()
    store = ConfigStore(folder / "config.db")
    made = []
    for number in range(count):
        key = Ed25519PrivateKey.generate()
        public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        row = {
            "node_id": f"n{number}",
            "name": f"sim-{number}",
            "public_key": public,
            "version": "",
            "enrolled_ns": 1,
        }
        store.run_blocking(lambda db, row=row: db.table("node").insert(row))
        made.append(f"n{number} {key.private_bytes_raw().hex()}")
    store.close()
    return made


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickwork-bench-") as name:
        folder = pathlib.Path(name)
        for part in (ingest, kept, live, trends, chain):
            part(folder)


if __name__ == "__main__":
    main()
