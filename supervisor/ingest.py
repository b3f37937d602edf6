"""From links to history: what arrived is committed every 250 ms, and only then acknowledged.

Rules. One task, one history thread. While a commit runs, the next one gathers. More than ``SAMPLES_WAITING_MAX`` makes
``submit`` wait, so a link is read no faster than the disk writes (back-pressure instead of memory). When the disk is
full nothing is acknowledged and nothing thrown away: it is tried again every second, and the runtimes keep their data.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from scan.problem import Problem, TickworkError
from supervisor.history_store import Arrival, Committed, HistoryStore, NewEvent
from supervisor.live import Bus

COMMIT_PERIOD_MS = 250
RETRY_MS = 1000
SAMPLES_WAITING_MAX = 1_000_000
QUERY_THREADS = 3
ARRIVALS_WAITING_MAX = 20_000

log = logging.getLogger("tickwork.supervisor.ingest")
T = TypeVar("T")


class Acknowledge(Protocol):
    def committed(self, seq: int) -> None: ...


Waiting = tuple[Arrival, Acknowledge]


@dataclass(slots=True)
class IngestFigures:
    """Counters since start; ``commit_ns`` has the last few hundred commits."""

    samples: int = 0
    commits: int = 0
    duplicates: int = 0
    commit_ns: deque[int] = field(default_factory=lambda: deque(maxlen=400))
    rate: float = 0.0  # samples a second, over the last seconds
    problem: Problem | None = None  # why nothing can be stored at present


class Ingest:
    """Owns the history thread. ``start`` and ``stop`` on the event loop."""

    def __init__(self, store: HistoryStore, bus: Bus, now_ns: Callable[[], int]) -> None:
        self.store = store
        self.figures = IngestFigures()
        self._bus = bus
        self.now_ns = now_ns
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")
        self._queries = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="query")
        self._arrivals: list[Waiting] = []
        self._events: list[NewEvent] = []
        self._waiting = 0
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._room.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ingest")

    async def stop(self) -> None:
        """Commit what is there once more and end."""
        self._stopping = True
        self._work.set()
        if self._task:
            await self._task
        self._queries.shutdown(cancel_futures=True)
        await asyncio.get_running_loop().run_in_executor(self._thread, self.store.close)
        self._thread.shutdown()

    async def on_history_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def on_query_thread(self, work: Callable[[], T]) -> T:
        """Reading does not wait for commits."""
        return await asyncio.get_running_loop().run_in_executor(self._queries, work)

    async def submit(self, arrival: Arrival, link: Acknowledge) -> None:
        """Queue it for the next commit; ``link.committed`` is called when it is durable. Waits while too much waits."""
        await self._room.wait()
        self._arrivals.append((arrival, link))
        self._waiting += len(arrival.series)
        if self._waiting > SAMPLES_WAITING_MAX or len(self._arrivals) > ARRIVALS_WAITING_MAX:
            self._room.clear()
        self._work.set()

    def event(self, event: NewEvent) -> None:
        """An event of the supervisor's own."""
        self._events.append(event)
        self._work.set()

    @property
    def waiting(self) -> int:
        return self._waiting

    # ------------------------------------------------------------ the loop

    async def _run(self) -> None:
        last = time.monotonic()
        while not (self._stopping and not self._arrivals and not self._events):
            await self._work.wait()
            self._work.clear()
            if not self._stopping:
                await asyncio.sleep(max(0.0, last + COMMIT_PERIOD_MS / 1000 - time.monotonic()))
            before, last = last, time.monotonic()
            if not await self._commit(last - before):
                if self._stopping:
                    return
                await asyncio.sleep(RETRY_MS / 1000)

    async def _commit(self, elapsed_s: float) -> bool:
        waiting, self._arrivals = self._arrivals, []
        events, self._events = self._events, []
        if not waiting and not events:
            return True
        start = time.monotonic_ns()
        arrivals = [arrival for arrival, _ in waiting]
        try:
            done = await self.on_history_thread(
                partial(self.store.commit, arrivals, tuple(events), self.now_ns())
            )
        except TickworkError as error:
            self._put_back(waiting, events, error.problems[0])
            return False
        except Exception as error:
            # A defect of ours must not end the acknowledging of everybody for good.
            log.exception("a commit failed")
            self._put_back(waiting, events, Problem("SV1009", "a commit failed", found=repr(error)))
            return False
        self._count(done, time.monotonic_ns() - start, elapsed_s)
        self._waiting = sum(len(arrival.series) for arrival, _ in self._arrivals)
        self._room.set()
        _acknowledge(self.store, waiting)
        for row in done.events:
            node = self._bus.nodes.get(row.node_id)
            self._bus.publish(msgspec.structs.replace(row, node=node.name if node else ""))
        return True

    def _put_back(self, waiting: list[Waiting], events: list[NewEvent], problem: Problem) -> None:
        if self.figures.problem is None:
            log.error("history cannot be written: %s", problem.render())
        self.figures.problem = problem
        self._arrivals[:0] = waiting
        self._events[:0] = events
        self._work.set()

    def _count(self, done: Committed, took_ns: int, elapsed_s: float) -> None:
        figures = self.figures
        figures.problem = None
        figures.samples += done.samples
        figures.duplicates += done.duplicates
        figures.commits += 1
        figures.commit_ns.append(took_ns)
        weight = min(1.0, elapsed_s / 5)
        figures.rate += weight * (done.samples / max(elapsed_s, 0.001) - figures.rate)


def _acknowledge(store: HistoryStore, waiting: list[Waiting]) -> None:
    """Tell each link once, with the highest mark."""
    for (node_id, boot), link in {(a.node_id, a.boot): link for a, link in waiting}.items():
        link.committed(store.mark(node_id, boot))
