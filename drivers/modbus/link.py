"""A link to devices: one connection or bus with its queue of requests, deadlines and reconnection.

Rules.
* A request is answered exactly once: by its reply, or by a ``Failure``. A lost connection fails all of them at once.
* ``max_outstanding`` requests are on their way at a time; the others wait by priority, then in order. After
  ``overtake_max`` of them the one that has waited longest has its turn: writes cannot starve reads, nor high low.
* While there is no connection a request fails immediately: nothing old is sent after a reconnect.
* Reconnection backs off from 0.5 s by doubling to ``backoff_max_s`` with ± 20 % jitter, so that a fleet of nodes does
  not return in step. A connection which let several time-outs pass in complete silence is given up (half-open TCP).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import time
from collections.abc import Callable
from typing import cast

from drivers.modbus.pdu import Failure, FailureKind, Request

BACKOFF_FIRST_S = 0.5
SILENT_TIMEOUTS_MAX = 3
STABLE_AFTER_S = 2.0  # a connection that lived this long resets the back-off
CLOSE_TIMEOUT_S = 1.0

Done = Callable[["Job", bytes, Failure | None], None]
Listener = Callable[[bool, str], None]


class Job:
    """One request on its way. ``done`` gets the reply PDU, or b"" and the failure; it must not raise."""

    __slots__ = ("deadline", "done", "priority", "request", "sent_ns", "timeout_s", "unit")

    def __init__(self, unit: int, request: Request, done: Done, *, timeout_s: float, priority: int) -> None:
        self.unit = unit
        self.request = request
        self.done = done
        self.timeout_s = timeout_s
        self.priority = priority
        self.deadline = 0.0
        self.sent_ns = 0


class Link(asyncio.Protocol):
    """Base of all links. Subclasses open a transport, transmit a job, and take bytes apart."""

    def __init__(
        self,
        *,
        max_outstanding: int,
        connect_timeout_s: float,
        backoff_max_s: float,
        pause_s: float = 0.0,
        pause_after_connect_s: float = 0.0,
        overtake_max: int = 10,
        seed: int | None = None,
    ) -> None:
        self.address = ""
        self.connected = False
        self.connects = 0
        self.late_replies = 0
        self.stray_replies = 0
        self.dead = 0  # devices on it that are only probed
        self.gives_up_silent = True  # several time-outs in silence end the connection
        self.max_outstanding = max_outstanding
        self._connect_timeout_s = connect_timeout_s
        self._backoff_max_s = backoff_max_s
        self._pause_s = pause_s
        self._pause_after_connect_s = pause_after_connect_s
        self._overtake_max = overtake_max
        self._overtaken = 0
        self._random = random.Random(seed)  # noqa: S311 - jitter, not a secret
        self._listeners: list[Listener] = []
        self._queue: list[tuple[int, int, Job]] = []
        self._order = 0
        self._frames: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        self._not_before = 0.0
        self._silent_timeouts = 0
        self._sweep: asyncio.TimerHandle | None = None
        self._wake: asyncio.Handle | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._loss_text = ""
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop

    # ------------------------------------------------------------ what subclasses give

    async def _open(self) -> None:
        """Opens the transport with this object as its protocol. Raises OSError."""
        raise NotImplementedError

    def _transmit(self, job: Job) -> None:
        """Puts the job's frame into ``_frames`` and remembers the job as outstanding."""
        raise NotImplementedError

    def _outstanding(self) -> int:
        raise NotImplementedError

    def _expired(self, now: float) -> list[Job]:
        """Removes and returns the jobs whose deadline has passed."""
        raise NotImplementedError

    def _next_deadline(self) -> float | None:
        raise NotImplementedError

    def _abandon(self) -> list[Job]:
        """Removes and returns all outstanding jobs and forgets received bytes."""
        raise NotImplementedError

    # ------------------------------------------------------------ life

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"modbus link {self.address}")

    async def stop(self) -> None:
        """Closes the connection; every open request fails."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self.close("stopped")
        for handle in (self._sweep, self._wake):
            if handle is not None:
                handle.cancel()

    def listen(self, listener: Listener) -> None:
        """``listener(connected, text)`` is called at each change, and with False at each failed attempt."""
        self._listeners.append(listener)

    @property
    def is_shared(self) -> bool:
        return len(self._listeners) > 1

    def cost_ns(self, job: Job) -> int:
        """For how long a request that has just failed kept others off the link."""
        return time.monotonic_ns() - job.sent_ns

    async def _run(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            self._lost.clear()
            opened_at = self._loop.time()
            try:
                await asyncio.wait_for(self._open(), self._connect_timeout_s)
            except TimeoutError:
                self._notify(False, f"{self.address}: no connection within {self._connect_timeout_s:g} s")
            except (OSError, ValueError) as error:  # ValueError: a host name that no resolver takes
                self._notify(False, f"{self.address}: {getattr(error, 'strerror', '') or error}")
            else:
                await self._lost.wait()
                if self._loop.time() - opened_at > STABLE_AFTER_S:
                    backoff_s = BACKOFF_FIRST_S
            await asyncio.sleep(backoff_s * self._random.uniform(0.8, 1.2))
            backoff_s = min(2 * backoff_s, self._backoff_max_s)

    def _notify(self, connected: bool, text: str) -> None:
        for listener in self._listeners:
            listener(connected, text)

    # ------------------------------------------------------------ requests

    def submit(self, job: Job) -> None:
        """Queues a job. Call ``flush`` after the last one of a batch."""
        if not self.connected:
            failure = Failure(FailureKind.NOT_CONNECTED, f"{self.address} is not connected")
            self._loop.call_soon(job.done, job, b"", failure)
            return
        self._order += 1
        heapq.heappush(self._queue, (job.priority, self._order, job))

    def flush(self) -> None:
        """Sends what may be sent now, in one write."""
        if not self._queue or self._transport is None:
            return
        queue = self._queue
        while queue and self._outstanding() < self.max_outstanding and self._may_send():
            job = self._next_job()
            job.sent_ns = time.monotonic_ns()
            job.deadline = self._loop.time() + job.timeout_s
            self._transmit(job)
            if self._pause_s:
                self._not_before = self._loop.time() + self._pause_s
        if self._frames:
            frames, self._frames = self._frames, []
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
            if self._sweep is None:
                self._arm_sweep()

    def _next_job(self) -> Job:
        queue = self._queue
        if len(queue) == 1:
            self._overtaken = 0
            return queue.pop()[2]
        self._overtaken += 1
        if self._overtaken <= self._overtake_max:
            return heapq.heappop(queue)[2]
        self._overtaken = 0
        oldest = min(range(len(queue)), key=lambda at: queue[at][1])
        job = queue[oldest][2]
        queue[oldest] = queue[-1]
        queue.pop()
        heapq.heapify(queue)
        return job

    def _may_send(self) -> bool:
        """False while a pause lasts; then ``flush`` is called again when it ends."""
        now = self._loop.time()
        if now >= self._not_before:
            return True
        if self._wake is None:
            self._wake = self._loop.call_at(self._not_before + 0.0005, self._woken)
        return False

    def _woken(self) -> None:
        self._wake = None
        self.flush()

    def _arm_sweep(self) -> None:
        deadline = self._next_deadline()
        self._sweep = None if deadline is None else self._loop.call_at(deadline + 0.001, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        expired = self._expired(self._loop.time())
        self._silent_timeouts += bool(expired)
        for job in expired:
            text = f"unit {job.unit}: no reply within {1000 * job.timeout_s:.0f} ms"
            job.done(job, b"", Failure(FailureKind.TIMEOUT, text))
        if self._silent_timeouts >= SILENT_TIMEOUTS_MAX and self.gives_up_silent:
            self.close(f"silent for {self._silent_timeouts} time-outs")
        self._arm_sweep()
        self.flush()

    # ------------------------------------------------------------ transport events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance
        self._silent_timeouts = 0
        self.connects += 1
        self.connected = True
        self._not_before = self._loop.time() + self._pause_after_connect_s
        self._notify(True, f"{self.address}: connected")
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "closed by the device")

    def eof_received(self) -> None:
        return None

    def close(self, text: str) -> None:
        """Gives the connection up now; open requests fail with ``text``."""
        transport = self._transport
        self._end(text)
        if transport is not None:
            transport.abort()

    def _end(self, text: str) -> None:
        if self._transport is None:
            return
        self._transport = None
        self.connected = False
        jobs = self._abandon() + [entry[2] for entry in sorted(self._queue)]
        self._queue.clear()
        self._frames.clear()
        failure = Failure(FailureKind.CONNECTION_LOST, f"{self.address}: connection lost: {text}")
        for job in jobs:
            job.done(job, b"", failure)
        self._notify(False, failure.text)
        self._lost.set()
