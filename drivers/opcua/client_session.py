"""One remote server at work: connect, subscribe, follow, lose, come back.

States::

    connecting --session, items--> online --lost, silent--> offline --back-off--> connecting ...

Inputs are subscribed: one subscription, one item a node, the newest value counts. What the server will not monitor is
polled. An input has the quality and source time that the server gave its value; from the moment the connection is
lost it is bad, and uncertain while the server is silent for longer than it promised. After a return all items are made
anew and report their value at once, so nothing that happened in between is missing from the image.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from asyncua import Client, ua

from scan.quality import (
    BAD_NO_COMMUNICATION,
    BAD_WAITING_FOR_INITIAL_DATA,
    GOOD,
    UNCERTAIN_LAST_USABLE,
    is_bad,
)

from .client_config import Input, OpcUaDevice
from .client_figures import Figures
from .client_link import CONNECT_ERRORS, close, connect, describe
from .client_outputs import Outputs
from .client_points import decode
from .client_services import Limits, create_items, node_ids, read_values

BACKOFF_MIN_S = 1.0
KEEP_ALIVE_MS = 1000
LIFETIME_FACTOR = 10  # keep-alives that may fail before the server drops the subscription
SILENT_FACTOR = (
    3  # keep-alives that may be missing before values count as old, and as many again before we reconnect
)
WATCH_S = 0.25
STABLE_S = 10.0  # a connection that held so long starts the back-off anew
UNKNOWN_POLL_S = 10.0  # how often a node that is not there is asked for
_UNKNOWN = (ua.StatusCodes.BadNodeIdUnknown, ua.StatusCodes.BadNodeIdInvalid)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NAIVE_EPOCH = datetime.datetime(1970, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)


class InputImage(Protocol):
    """Where inputs go: the working copy of the process image with quality and time of each channel (UTC ns)."""

    image: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint16]
    times: npt.NDArray[np.int64]

    def changed(self) -> None:
        """Asks for publication soon."""


class RemoteSession:
    """Drives one device. ``on_state(name, state, why)`` is told of each change."""

    def __init__(
        self,
        device: OpcUaDevice,
        image: InputImage,
        directory: Path,
        *,
        first_row: int = 0,
        on_state: Callable[[str, str, str], None] = lambda name, state, why: None,
    ) -> None:
        self.device = device
        self.state = "connecting"
        self.since_ns = time.time_ns()
        self.figures = Figures()
        self.outputs = Outputs(device.writes)
        self._image = image
        self._directory = directory
        self._first_row = first_row
        self._on_state = on_state
        self._task: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._due = asyncio.Event()
        self._lost = asyncio.Event()
        self._heard_s = 0.0
        self._keep_alive_s = 1.0
        self._limits = Limits()

    # ------------------------------------------------------------ life

    def start(self) -> None:
        self._lose_all(BAD_WAITING_FOR_INITIAL_DATA)
        self._task = asyncio.create_task(self._run(), name=f"opcua {self.device.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def settled(self) -> bool:
        return self.state != "online" or self.outputs.settled

    def follow(self, image: bytes, *, live: bool) -> None:
        if self.outputs.follow(image, live=live):
            self._due.set()

    async def _run(self) -> None:
        backoff_s = BACKOFF_MIN_S
        try:
            while True:
                started_s = time.monotonic()
                why = await self._why_lost()
                self.figures.failed(why)
                self._lose_all(BAD_NO_COMMUNICATION)
                self._enter("offline", why)
                await self._leave()
                if time.monotonic() - started_s > STABLE_S:
                    backoff_s = BACKOFF_MIN_S
                await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
                backoff_s = min(2 * backoff_s, self.device.backoff_max_ms / 1000)
        finally:
            await self._leave()

    async def _why_lost(self) -> str:
        try:
            return await self._work()
        except CONNECT_ERRORS as error:
            return describe(error)
        except Exception as error:  # a server may answer anything: this device is offline, the others go on
            return f"unexpected answer: {describe(error)}"

    async def _leave(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await close(client)

    async def _work(self) -> str:
        """One connection, from first to last; says why it ended."""
        self._enter("connecting", self.device.remote.url)
        self._lost.clear()
        client = self._client = await connect(
            self.device.remote, self._directory, name=self._directory.parent.name
        )
        client.connection_lost_callback = self._connection_lost
        self._limits = await Limits.read(client)
        reads = await node_ids(client, [one.node for one in self.device.reads])
        await self.outputs.prepare(client, await node_ids(client, [one.node for one in self.device.writes]))
        self.figures.connects += 1
        polled = await self._subscribe(client, reads)
        self._enter("online", f"{self.device.name} answers")
        return await self._serve(client, polled)

    async def _connection_lost(self, _error: Exception) -> None:
        self._lost.set()

    async def _serve(self, client: Client, polled: Sequence[tuple[Input, Any, float]]) -> str:
        """Until something ends it; says what."""
        jobs: list[Coroutine[Any, Any, str]] = [self._wait_lost(), self._watch()]
        if self.outputs:
            jobs.append(self._write(client))
        for period_s in sorted({period_s for _, _, period_s in polled}):
            jobs.append(self._poll(client, [(i, n) for i, n, p in polled if p == period_s], period_s))
        tasks = [asyncio.ensure_future(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_lost(self) -> str:
        await self._lost.wait()
        return "the connection was lost"

    def _enter(self, state: str, why: str) -> None:
        if state == self.state and state != "offline":
            return
        self.state, self.since_ns = state, time.time_ns()
        if self.device.status[0] >= 0:
            self._show_status(state == "online")
        self._on_state(self.device.name, state, why)

    # ------------------------------------------------------------ inputs

    async def _subscribe(self, client: Client, ids: Sequence[Any]) -> list[tuple[Input, Any, float]]:
        """Monitors what can be; the rest comes back with the period to poll it in."""
        reads = self.device.reads
        self._heard_s, self._keep_alive_s = time.monotonic(), 0.0
        slow = [(one, node_id, self._period_s(one)) for one, node_id in zip(reads, ids, strict=True)]
        if self.device.mode == "poll" or not reads:
            return slow
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval = self.device.publishing_ms
        parameters.RequestedMaxKeepAliveCount = max(1, round(KEEP_ALIVE_MS / self.device.publishing_ms))
        parameters.RequestedLifetimeCount = LIFETIME_FACTOR * parameters.RequestedMaxKeepAliveCount
        parameters.PublishingEnabled = True
        try:
            made = await client.uaclient.create_subscription(parameters, self._published)
        except ua.UaStatusCodeError as error:  # a server without subscriptions, or without room for one
            self.figures.last_error = f"no subscription: {describe(error)}"
            return slow
        self._keep_alive_s = made.RevisedMaxKeepAliveCount * made.RevisedPublishingInterval / 1000
        results = await create_items(client, made.SubscriptionId, reads, ids, self._limits)
        polled = []
        for one, result in zip(slow, results, strict=True):
            code = result.StatusCode.value
            if not result.StatusCode.is_good():
                self._set_bad(one[0], code >> 16)
                polled.append((*one[:2], UNKNOWN_POLL_S if code in _UNKNOWN else one[2]))
        return polled

    def _period_s(self, one: Input) -> float:
        return max(one.sampling_ms, 10.0) / 1000 if one.sampling_ms else self.device.publishing_ms / 1000

    def _published(self, result: Any) -> None:
        """A notification of the subscription, or its keep-alive."""
        self._heard_s = time.monotonic()
        self.figures.replies += 1
        for data in result.NotificationMessage.NotificationData or ():
            if isinstance(data, ua.DataChangeNotification):
                for item in data.MonitoredItems:
                    if item.ClientHandle < len(self.device.reads):
                        self._take(self.device.reads[item.ClientHandle], item.Value)
            elif isinstance(data, ua.StatusChangeNotification):
                self._lost.set()  # the server has dropped the subscription
        self._image.changed()

    async def _poll(self, client: Client, group: Sequence[tuple[Input, Any]], period_s: float) -> str:
        due_s = time.monotonic()
        while True:
            sent_ns = time.monotonic_ns()
            values = await read_values(client, [node_id for _, node_id in group], self._limits)
            self.figures.answered(time.monotonic_ns() - sent_ns)
            self._heard_s = time.monotonic()
            for (one, _), value in zip(group, values, strict=True):
                self._take(one, value)
            self._image.changed()
            due_s = max(due_s + period_s, time.monotonic())  # late is late: never made up in a burst
            await asyncio.sleep(due_s - time.monotonic())

    def _take(self, one: Input, value: Any) -> None:
        """A value of the server into the image."""
        quality = int(value.StatusCode.value) >> 16 if value.StatusCode is not None else GOOD
        parts = None
        if not is_bad(quality):
            parts, problem = decode(one.point, value.Value.Value if value.Value is not None else None)
            quality = problem or quality
        time_ns = _nanoseconds(value.SourceTimestamp or value.ServerTimestamp)
        if parts is None:
            self._set_bad(one, quality, time_ns)
            return
        self._store(one, parts)
        rows = slice(self._first_row + one.row, self._first_row + one.row + one.point.count)
        self._image.quality[rows] = quality
        self._image.times[rows] = time_ns

    def _store(self, one: Input, parts: Sequence[bytes]) -> None:
        point, image = one.point, self._image.image
        if point.bit < 0:
            data = b"".join(parts)
            image[point.offset : point.offset + len(data)] = np.frombuffer(data, np.uint8)
            return
        for index, part in enumerate(parts):
            _set_bit(image, point.offset * 8 + point.bit + index, part[0] != 0)

    def _set_bad(self, one: Input, quality: int, time_ns: int = 0) -> None:
        if one.substitute:
            size = max(one.point.size, 1)
            parts = [one.substitute[start : start + size] for start in range(0, len(one.substitute), size)]
            self._store(one, parts)
        rows = slice(self._first_row + one.row, self._first_row + one.row + one.point.count)
        self._image.quality[rows] = quality
        self._image.times[rows] = time_ns or time.time_ns()

    def _lose_all(self, quality: int) -> None:
        for one in self.device.reads:
            self._set_bad(one, quality)
        if self.device.status[0] >= 0:
            self._show_status(False)
        self._image.changed()

    def _show_status(self, online: bool) -> None:
        byte, bit = self.device.status
        _set_bit(self._image.image, byte * 8 + bit, online)
        row = self._first_row + len(self.device.inputs) - 1
        self._image.quality[row], self._image.times[row] = GOOD, time.time_ns()
        self._image.changed()

    # ------------------------------------------------------------ beside the values

    async def _watch(self) -> str:
        """Ends when the server has been silent for too long; before that its values become uncertain."""
        while True:
            await asyncio.sleep(WATCH_S)
            if not self._keep_alive_s:
                continue
            silent_s = time.monotonic() - self._heard_s
            if silent_s > 2 * SILENT_FACTOR * self._keep_alive_s:
                return f"the server has sent nothing for {silent_s:.1f} s"
            if silent_s > SILENT_FACTOR * self._keep_alive_s:
                rows = self._image.quality[self._first_row : self._first_row + self._rows]
                rows[rows < UNCERTAIN_LAST_USABLE] = UNCERTAIN_LAST_USABLE
                self._image.changed()

    @property
    def _rows(self) -> int:
        return len(self.device.inputs) - (self.device.status[0] >= 0)

    async def _write(self, client: Client) -> str:
        while True:
            await self._due.wait()
            self._due.clear()
            sent_ns = time.monotonic_ns()
            confirmed = await self.outputs.write(client, self._limits.nodes_per_write)
            self.figures.writes += confirmed
            self.figures.last_error = self.outputs.last_error or self.figures.last_error
            if confirmed:
                self.figures.answered(time.monotonic_ns() - sent_ns)


def _set_bit(image: npt.NDArray[np.uint8], at: int, value: bool) -> None:
    mask = 1 << (at & 7)
    image[at >> 3] = int(image[at >> 3]) | mask if value else int(image[at >> 3]) & ~mask & 0xFF


def _nanoseconds(moment: datetime.datetime | None) -> int:
    if moment is None:
        return time.time_ns()
    epoch = _EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH
    return (moment - epoch) // _MICROSECOND * 1000
