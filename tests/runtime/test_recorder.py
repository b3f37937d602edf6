"""The recorder's files: what it keeps, what it drops, what it does when the disk fails."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import os
import pathlib
import tempfile
from typing import Any

import pytest

import runtime.recorder as module
from runtime.plant import RecorderSection
from runtime.recorder import Recorder
from scan import NodeView, encode_application
from scan.recording import FrameKind, SegmentHeader, encode_header, read_segment
from scan.replay import open_recording, replay
from tests.scan.scan_process import ScanProcess, wait_for
from tests.scan.toy import counter

MINUTE_NS = 60_000_000_000


@pytest.fixture(scope="module")
def directory() -> collections.abc.Iterator[pathlib.Path]:
    """Segments of a running scan process."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=base) as folder,
        ScanProcess(pathlib.Path(folder), "--no-realtime") as scan,
    ):
        application = counter().build()
        scan.load(application)
        (scan.directory / f"program-{application.digest[:16]}.app").write_bytes(
            encode_application(application)
        )
        scan.do("start")
        view = NodeView.open(scan.directory)
        view.refresh()
        wait_for(lambda: view.snapshot().scan, "the first scan")
        yield scan.directory


class Bench:
    """A recorder on a clock that the test sets."""

    def __init__(self, directory: pathlib.Path, folder: pathlib.Path, **limits: int) -> None:
        self.now_ns = 10**18
        self.notes: list[tuple[str, str]] = []
        self.folder = folder
        self.view = NodeView.open(directory)
        self.view.refresh()
        self.recorder = Recorder(
            NodeView.open(directory), segments=directory, folder=folder, section=RecorderSection(True, **limits),
            node="test", now_ns=lambda: self.now_ns, note=lambda text, severity: self.notes.append((text, severity)),
        )  # fmt: skip

    def pump(self, *, later_ns: int = 0) -> None:
        """One pump that finds some new scans, so much later."""
        at = self.view.snapshot().scan
        wait_for(lambda: self.view.snapshot().scan > at + 3, "scans")
        self.now_ns += later_ns
        self.recorder.pump()

    @property
    def files(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("*.twr"))


def old_file(folder: pathlib.Path, time_ns: int, size: int = 0) -> pathlib.Path:
    path = folder / f"{time_ns:020d}.twr"
    path.write_bytes(encode_header(SegmentHeader("test", "old", "here", time_ns)) + bytes(size))
    return path


def test_files_when_older_than_the_limit_then_they_go_at_the_next_rotation(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bench = Bench(directory, tmp_path, minutes=15, size_mb=100)
    gone = old_file(tmp_path, bench.now_ns - 20 * MINUTE_NS)
    kept = old_file(tmp_path, bench.now_ns - 5 * MINUTE_NS)
    bench.pump()
    bench.pump(later_ns=2_000_000_000)
    bench.pump(later_ns=MINUTE_NS)
    assert not gone.exists()
    assert kept.exists()
    bench.recorder.close()


def test_files_when_larger_than_the_limit_then_the_oldest_go_and_the_newest_stays(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bench = Bench(directory, tmp_path, minutes=15, size_mb=1)
    files = [old_file(tmp_path, bench.now_ns - age * MINUTE_NS, 700_000) for age in (5, 4, 3)]
    bench.pump()
    bench.pump(later_ns=2_000_000_000)
    bench.pump(later_ns=MINUTE_NS)
    assert [path.exists() for path in files] == [False, False, True]
    assert len(bench.files) == 2
    bench.recorder.close()


def test_segments_when_rotated_then_the_folder_replays_without_a_gap(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bench = Bench(directory, tmp_path)
    for _ in range(6):
        bench.pump(later_ns=31_000_000_000)
    bench.recorder.close()
    assert len(bench.files) >= 2
    report = replay(open_recording(tmp_path))
    assert (report.gaps, report.mismatches) == (0, [])
    assert report.checkpoints >= 4
    for path in bench.files:
        header = read_segment(path.read_bytes()).frames[0].header()
        assert (header.node, bool(header.target)) == ("test", True)


def test_recorder_when_a_second_one_follows_then_no_replay_runs_from_one_into_the_other(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for life in range(2):
        bench = Bench(directory, tmp_path)
        bench.now_ns += life
        for _ in range(3):
            bench.pump(later_ns=11_000_000_000)
        bench.recorder.close()
        bench.now_ns += MINUTE_NS
    report = replay(open_recording(tmp_path))
    assert report.mismatches == []
    assert report.checkpoints >= 2


def test_close_when_called_then_what_was_drained_is_in_the_file(
    directory: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    bench = Bench(directory, tmp_path)
    for _ in range(3):
        bench.pump()
    bench.recorder.close()
    (file,) = bench.files
    found = read_segment(file.read_bytes())
    assert found.damaged_at == -1
    assert found.frames[-1].kind == FrameKind.RECORDS


@pytest.mark.asyncio
async def test_run_when_the_disk_fails_then_it_is_told_once_and_goes_on_afterwards(
    directory: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    monkeypatch.setattr(module, "PUMP_S", 0.01)
    bench = Bench(directory, tmp_path / "blocked")
    (tmp_path / "blocked").write_text("a file where the folder should be")
    task = asyncio.create_task(bench.recorder.run())
    await until(lambda: bench.notes)
    bench.now_ns += 10_000_000_000
    await asyncio.sleep(0.1)
    assert [severity for _, severity in bench.notes] == ["error"]
    (tmp_path / "blocked").unlink()
    await until(lambda: _pass_time(bench) or bench.files)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(bench.notes) == 1


def _pass_time(bench: Bench) -> None:
    bench.now_ns += 2_000_000_000


async def until(condition: collections.abc.Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the recorder works in a thread
            await asyncio.sleep(0.01)
