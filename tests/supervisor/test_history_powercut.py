"""A hundred simulated power cuts: nothing corrupt, nothing acknowledged lost, nothing doubled."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import numpy as np
import pytest

from supervisor import history_engine
from supervisor.history_codec import Columns
from supervisor.history_embedded import EmbeddedHistory
from supervisor.history_engine import Writer
from supervisor.history_store import Arrival, NewEvent, SeriesSpec
from tests.supervisor import powercut_vfs

T0 = 1_700_000_000_000_000_000
TAGS = 7
PER_COMMIT = 60
CUTS = 100


@pytest.fixture
def exclusive():
    """The VFS has no shared memory: the one connection takes the file for itself."""

    def hook(db: apsw.Connection) -> None:
        if db.open_vfs.startswith("powercut"):
            db.execute("PRAGMA locking_mode=EXCLUSIVE")

    apsw.connection_hooks.append(hook)
    yield
    apsw.connection_hooks.remove(hook)


def arrival(seq: int, numbers: np.ndarray) -> Arrival:
    series = np.repeat(numbers, PER_COMMIT)
    step = np.tile(np.arange(PER_COMMIT), len(numbers)) + (seq - 1) * PER_COMMIT
    columns = Columns(T0 + step * 1_000_000, step.astype(np.float64), np.zeros(len(series), np.uint16))
    events = (NewEvent("n", T0 + seq, "start", "info", "t", f"event {seq}"),)
    return Arrival("n", "b", seq, series.astype(np.uint32), columns, events=events)


def test_open_when_power_was_cut_then_what_was_acknowledged_is_there_once(tmp_path, monkeypatch, exclusive):
    monkeypatch.setattr(history_engine, "JOURNAL_AGE_ROWS", 15)
    rng = random.Random(20_261_123)
    for cut in range(CUTS):
        disk = powercut_vfs.Disk(f"powercut-{cut}")
        writer = Writer(Path("/disk/history.db"), vfs=disk.vfs_name)
        numbers = writer.open_series("n", tuple(SeriesSpec(f"t{i}", "REAL") for i in range(TAGS)))
        acknowledged = rng.randrange(1, 40)
        for seq in range(1, acknowledged + 1):
            chosen = numbers if seq % 3 == 1 else numbers[: 1 + seq % TAGS]
            writer.commit([arrival(seq, chosen)], (), T0)
        files = _cut_in_the_middle_of_the_next(writer, disk, rng, arrival(acknowledged + 1, numbers))
        _check(tmp_path / str(cut), files, acknowledged)


def _cut_in_the_middle_of_the_next(writer, disk, rng, batch) -> dict[str, bytes]:
    """The files as they are at a random write or sync of one more commit, which nobody acknowledged."""
    moment = rng.randrange(1, 25)
    found: dict[str, bytes] = {}
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == moment:
            found.update(disk.cut(rng))

    disk.on_step = step
    writer.commit([batch], (), T0)
    disk.on_step = lambda: None
    if not found:
        found = disk.cut(rng)
    writer.close()
    return found


def _check(folder: Path, files: dict[str, bytes], acknowledged: int) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    check = apsw.Connection(str(folder / "history.db"))
    assert check.execute("PRAGMA integrity_check").get == "ok"
    check.close()
    store = EmbeddedHistory(folder / "history.db")
    committed = store.mark("n", "b")
    assert committed in (acknowledged, acknowledged + 1)
    assert store.last_event() == committed
    for tag in range(TAGS):
        number, _ = store.find("n", f"t{tag}")
        got = store.read(number, T0, T0 + 10**15)
        seqs = [
            s for s in range(1, committed + 1) if s % 3 == 1 or tag < 1 + s % TAGS or s == acknowledged + 1
        ]
        steps = [(s - 1) * PER_COMMIT + k for s in seqs for k in range(PER_COMMIT)]
        assert got.values.tolist() == [float(s) for s in steps]
    assert store.size()[1] == sum(
        PER_COMMIT * (TAGS if s % 3 == 1 or s == acknowledged + 1 else min(TAGS, 1 + s % TAGS))
        for s in range(1, committed + 1)
    )
    store.close()


def test_disk_when_nothing_was_synced_then_a_cut_loses_it(exclusive):
    """The simulation itself: without syncs acknowledged commits are lost, so the test above can fail."""
    rng = random.Random(1)
    lost = 0
    for cut in range(20):
        disk = powercut_vfs.Disk(f"powercut-off-{cut}")
        db = apsw.Connection("/disk/x.db", vfs=disk.vfs_name)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", "CREATE TABLE t(a)"):
            db.execute(statement).fetchall()
        for number in range(20):
            db.execute("INSERT INTO t VALUES(?)", (number,))
        files = disk.cut(rng)
        db.close()
        try:
            again = powercut_vfs.Disk(f"powercut-again-{cut}")
            again.fill(files)
            reopened = apsw.Connection("/disk/x.db", vfs=again.vfs_name)
            lost += reopened.execute("SELECT count(*) FROM t").get < 20
            reopened.close()
        except apsw.Error:
            lost += 1
    assert lost > 10
