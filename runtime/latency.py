"""Wake-up latency of a scan on this machine, beside that of ``cyclictest``: what ``tickwork doctor`` measures.

A scan process runs an empty task of 1 ms. The two take turns in short rounds, each at the real-time priority that the
other has, so that both see the same machine.
"""

from __future__ import annotations

import asyncio
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

import programs
import scan
from runtime import shm
from runtime.child import Child, spawn
from runtime.control import Message

PERIOD_NS = 1_000_000
ROUND_S = 5.0
LEFT_MIN_S = 0.1  # too short for a round
HISTOGRAM_US = 20_000  # cyclictest counts what is longer as an overflow; its maximum is exact all the same
PERCENTILES = (50.0, 99.0, 99.9)
SOURCE = b"""PROGRAM Empty
END_PROGRAM
CONFIGURATION Doctor
  RESOURCE Cpu ON Any
    TASK Main(INTERVAL := T#1ms, PRIORITY := 0);
    PROGRAM Empty WITH Main : Empty;
  END_RESOURCE
END_CONFIGURATION
"""
_ROW = re.compile(r"^(\d{6}) (\d{6,})", re.MULTILINE)
_LONGEST = re.compile(r"# Max Latencies: (\d+)")

Tell = Callable[[str], None]
_Array = npt.NDArray[Any]


class Figures(msgspec.Struct, frozen=True):
    """Latencies in µs, from due to start."""

    wakeups: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


class Measured(msgspec.Struct, frozen=True):
    """``realtime``: the SCHED_FIFO priority of both, 0 = ordinary. ``without``: why there is no ``cyclictest``."""

    realtime: int
    overruns: int
    scan: Figures
    cyclictest: Figures | None
    without: str = ""


class _Counts:
    """Latencies of several rounds: how many (``counts``) were at most so long (``upper_us``)."""

    def __init__(self) -> None:
        self.upper_us = np.zeros(0)
        self.counts = np.zeros(0, np.int64)
        self.max_us = 0.0

    def add(self, upper_us: _Array, counts: _Array, max_us: float) -> None:
        size = max(len(counts), len(self.counts))
        self.counts = _longer(self.counts, size) + _longer(counts, size)
        if len(upper_us) > len(self.upper_us):
            self.upper_us = upper_us
        self.max_us = max(self.max_us, max_us)

    def figures(self) -> Figures:
        total, sums = int(self.counts.sum()), np.cumsum(self.counts)
        if total == 0:
            return Figures(0, 0.0, 0.0, 0.0, self.max_us)
        ranks = [np.searchsorted(sums, max(np.ceil(total * percent / 100), 1)) for percent in PERCENTILES]
        p50_us, p99_us, p999_us = (min(float(self.upper_us[rank]), self.max_us) for rank in ranks)
        return Figures(total, p50_us, p99_us, p999_us, self.max_us)


def _longer(counts: _Array, size: int) -> _Array:
    return np.pad(counts, (0, size - len(counts)))


async def measure(seconds: float, tell: Tell) -> Measured:
    """``seconds`` altogether, both measurements included. Raises what keeps the scan process from starting."""
    tell("preparing: the first time on a machine takes some seconds")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tickwork-doctor-", dir=shm.memory_root()))
    child: Child | None = None
    try:
        path = folder / "empty.app"
        path.write_bytes(scan.encode_application(await asyncio.to_thread(_application)))
        child = await spawn("scan", ("-m", "scan.process", "--dir", str(folder)), listener=_ignore)
        await child.ready()
        await child.request("load", application=str(path), timeout_s=30.0)
        return await _rounds(child, folder, seconds, tell)
    finally:
        if child is not None:
            await child.stop({"id": 0, "op": "quit"}, 3.0)
        shutil.rmtree(folder, ignore_errors=True)


def _ignore(_event: str, _fields: Message) -> None:
    """Overruns and states are read from the statistics."""


def _application() -> scan.Application:
    from programs.native_cache import default_cache_dir

    settings = programs.read_settings('[node]\nname = "doctor"\n', "doctor")
    return programs.compile_sources(settings, {"doctor.st": SOURCE}, cache_dir=default_cache_dir())


async def _rounds(child: Child, folder: pathlib.Path, seconds: float, tell: Tell) -> Measured:
    view, lane = scan.NodeView.open(folder), scan.CommandLane.open(folder, "gate")
    ours, theirs = _Counts(), _Counts()
    overruns = realtime = 0
    without = "" if shutil.which("cyclictest") else "it is not installed (Debian: apt-get install rt-tests)"
    left_s = seconds
    while left_s > LEFT_MIN_S:
        round_s = min(ROUND_S, left_s if without else left_s / 2)
        tell(f"measuring a scan of 1 ms, {left_s:.0f} s to go")
        task = await _scan_round(child, view, lane, round_s)
        bounds = scan.bucket_bounds_ns()[1:] / 1000
        ours.add(bounds, task.latency.counts, task.latency.max_ns / 1000)
        overruns, realtime = overruns + task.overruns, task.realtime
        left_s -= round_s
        if not without:
            tell(f"measuring cyclictest, {left_s:.0f} s to go")
            without = await _cyclictest_round(theirs, realtime, round_s)
            left_s -= round_s
    known = theirs.figures() if theirs.counts.size else None
    return Measured(realtime, overruns, ours.figures(), known, without)


async def _scan_round(
    child: Child, view: scan.NodeView, lane: scan.CommandLane, seconds: float
) -> scan.TaskStatistics:
    await child.request("start", mode="cold")
    view.refresh()
    lane.reset_statistics(view)
    await asyncio.sleep(seconds)
    lane.poll()
    (task,) = view.stats()
    await child.request("stop")
    return task


async def _cyclictest_round(counts: _Counts, realtime: int, seconds: float) -> str:
    """Adds a round of cyclictest; returns why that was not possible, else nothing."""
    priority = (f"-p{realtime}", "-m") if realtime else ("--policy=other",)
    options = ("-q", "-t1", "-i1000", f"-l{max(int(seconds * 1000), 1)}", f"-h{HISTOGRAM_US}", *priority)
    process = await asyncio.create_subprocess_exec(
        "cyclictest", *options, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds * 2 + 10)
    except TimeoutError:
        return "it did not end in time"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        counts.add(*parse_cyclictest(out.decode("utf-8", "replace")))
    except ValueError:
        return (err or out).decode("utf-8", "replace").strip()[:200] or f"it ended with {process.returncode}"
    return ""


def parse_cyclictest(text: str) -> tuple[_Array, _Array, float]:
    """Upper bounds in µs, counts, maximum in µs of a histogram of cyclictest (``-h``). ValueError if it is none."""
    longest = _LONGEST.search(text)
    rows = [(int(us), int(count)) for us, count in _ROW.findall(text)]
    if longest is None or not rows:
        raise ValueError("no histogram")
    counts = np.zeros(rows[-1][0] + 1, np.int64)
    for us, count in rows:
        counts[us] = count
    return np.arange(1.0, len(counts) + 1), counts, float(longest[1])
