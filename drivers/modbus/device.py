"""One device on a link: reads its blocks on a fixed time grid, follows outputs, and knows whether it is alive.

Theory. Due times are ``t0 + phase + k * period``: a late request is counted and skipped, never made up in a burst.
A block has at most one request open, so a slow device is asked slower and nothing piles up. A value in the image has
the quality of its last request: good with the time of the reply, or bad from the moment the request failed.

States::

    connecting --reply--> online --failures_max failures in a row--> offline (demoted)
        ^                   |                                           | one probe every probe_ms
        '-- link is back -- offline <------ link lost                   '--reply--> online

While demoted only the probe is sent, after all that waits. On a link that others share it comes so seldom that its
time-outs cost them no more than a fortieth of the time (``PROBE_SHARE``). An exception is an answer: the device lives,
only that block is bad. Where the device has init writes they come first after each connection and each return, and one
of them is the probe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from drivers.modbus._exchange import ExchangeReader
from drivers.modbus._init import Initialiser
from drivers.modbus._read import Reader
from drivers.modbus._tags import INTERVAL_S, StatisticTags
from drivers.modbus._write import Writer
from drivers.modbus.config import ModbusDevice, ReadBlock
from drivers.modbus.link import Job, Link
from drivers.modbus.pdu import GATEWAY_EXCEPTIONS, Failure, FailureKind, Request
from drivers.modbus.statistics import BlockStatistics, Statistics
from scan.quality import BAD_NO_COMMUNICATION, BAD_NOT_CONNECTED, GOOD

EARLY_NS = 1_000_000  # the event loop's timers have a resolution of 1 ms
PROBE_SHARE = 1 / 40  # of the time of a shared link that probes of its dead devices may take
PROBE_NS_MAX = 60_000_000_000  # a device that is back is found within this time, however many are dead
PROBE_PRIORITY = 9  # behind everything else


class InputImage(Protocol):
    """Where inputs go: the working copy of the process image with quality and time of each channel (UTC ns)."""

    image: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint16]
    times: npt.NDArray[np.int64]

    def changed(self) -> None:
        """Asks for publication soon."""


StateListener = Callable[["DevicePoller", str, str], None]


class DevicePoller:
    """Drives one device. ``first_row`` is the row of its first input channel in the image's columns."""

    def __init__(
        self,
        device: ModbusDevice,
        link: Link,
        image: InputImage,
        *,
        first_row: int = 0,
        on_state: StateListener | None = None,
        phase_ns: int = 0,
    ) -> None:
        self.device = device
        self.link = link
        self.image = image
        self.first_row = first_row
        self.statistics = Statistics()
        self.state = "connecting"
        self.since_ns = time.time_ns()
        self.lateness_ns_max = 0
        self._on_state = on_state
        self.phase_ns = phase_ns
        self._timeout_s = device.timeout_ms / 1000
        self._failures = 0
        self._demoted_until_ns = 0
        self._cost_ns = 0  # what the last request without an answer took from the link
        self.groups = {block.group: BlockStatistics() for block in device.reads if block.group}
        self._whole = [self._reader(block) for block in device.reads]
        self._exchanges = [reader for reader in self._whole if isinstance(reader, ExchangeReader)]
        self._readers = list(self._whole)  # blocks that the device refused are divided here
        self._init = Initialiser(self, device.inits)
        self._tags = StatisticTags(self, device.statistics) if device.statistics else None
        self._tags_timer: asyncio.TimerHandle | None = None
        self._writers = [Writer(self, block) for block in device.writes]
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopped = False

    def _reader(self, block: ReadBlock) -> Reader:
        return ExchangeReader(self, block, block.exchange) if block.exchange else Reader(self, block)

    # ------------------------------------------------------------ life

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set_status(False)
        for reader in self._readers:
            reader.lose(BAD_NOT_CONNECTED)
        self._update_tags()
        self.link.listen(self._link_changed)
        if self.link.connected:
            self._link_changed(True, "")

    def stop(self) -> None:
        """Ends polling. Writes that are still open are the link's."""
        self._stopped = True
        self._revive()
        for timer in (self._timer, self._tags_timer):
            if timer is not None:
                timer.cancel()

    def _update_tags(self) -> None:
        if self._tags is not None:
            self._tags.update()
            self._tags_timer = self._loop.call_later(INTERVAL_S, self._update_tags)

    def _link_changed(self, connected: bool, text: str) -> None:
        if self._stopped:
            return
        if connected:
            self._failures = 0
            self._revive()
            self.statistics.reconnects += self.link.connects > 1
            self._enter("connecting", text)
            self._readers = list(self._whole)  # it may be another device by now
            self._restart_grid()
            self._init.advance()
            self.link.flush()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.statistics.last_error = text
        self._lose_all(BAD_NOT_CONNECTED)
        self._enter("offline", text)

    def _restart_grid(self) -> None:
        start_ns = time.monotonic_ns() + self.phase_ns
        for reader in self._readers:
            reader.due_ns = start_ns + reader.block.phase_ns if reader.periodic else 0
        for writer in self._writers:
            writer.forget()
        self._arm()

    # ------------------------------------------------------------ the grid

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = min((r.due_ns for r in self._readers if r.due_ns), default=0)
        if not self._init.done:
            due_ns = self._init.due_ns
        if self._demoted_until_ns:
            due_ns = self._demoted_until_ns
        if due_ns and not self._stopped:
            delay_ns = max(due_ns - time.monotonic_ns(), 0)
            self._timer = self._loop.call_later(delay_ns / 1e9, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        if self._demoted_until_ns:
            self._probe(now_ns)
        elif not self._init.done:
            self._init.advance()
        else:
            for reader in self._readers:
                if reader.due_ns and reader.due_ns <= now_ns + EARLY_NS:
                    self.lateness_ns_max = max(self.lateness_ns_max, now_ns - reader.due_ns)
                    reader.fire(now_ns)
        self.link.flush()
        self._arm()

    def _probe(self, now_ns: int) -> None:
        """One request finds out whether a demoted device is back."""
        self._demoted_until_ns = now_ns + self._probe_interval_ns()
        if not self._init.done:
            self._init.advance()
        elif self._readers:
            self._readers[0].fire(now_ns)
        elif self._writers:
            self._writers[0].probe()

    def _probe_interval_ns(self) -> int:
        interval_ns = self.device.probe_ms * 1_000_000
        fair_ns = int(self._cost_ns * self.link.dead / self.link.max_outstanding / PROBE_SHARE)
        return max(interval_ns, min(fair_ns, PROBE_NS_MAX)) if self.link.is_shared else interval_ns

    def trigger(self, reader: Reader) -> None:
        """Reads a block now, on a rising edge of its trigger output."""
        if self.link.connected and not self._demoted_until_ns:
            reader.fire(time.monotonic_ns())
            self.link.flush()

    # ------------------------------------------------------------ outputs

    def follow(self, image: bytes, *, live: bool) -> None:
        """Sends what differs from the device. ``live`` False: the scan is gone or stopped, safe values apply."""
        if not self.link.connected or self._demoted_until_ns or not self._init.done:
            return
        now_ns = time.monotonic_ns()
        for writer in self._writers:
            writer.follow(image, live, now_ns)
        for exchange in self._exchanges:
            exchange.follow(image, live=live)
        for reader in self._readers:
            if not reader.periodic and live and reader.rising(image):
                self.trigger(reader)
        self.link.flush()

    @property
    def settled(self) -> bool:
        """No write is open and every output block is as it should be, or the device cannot be reached."""
        if not self.link.connected or self._demoted_until_ns or not self._init.done:
            return True
        settled = all(writer.settled for writer in self._writers)
        return settled and all(exchange.settled for exchange in self._exchanges)

    def report(self) -> dict[str, object]:
        """Statistics of the device, with those of its read blocks under "blocks"."""
        blocks = [reader.report() for reader in self._readers]
        link = {"late_replies": self.link.late_replies, "stray_replies": self.link.stray_replies}
        return {**self.statistics.as_dict(), **link, "blocks": blocks}

    # ------------------------------------------------------------ what readers and writers tell

    def send(
        self, request: Request, done: Callable[[Job, bytes, Failure | None], None], priority: int
    ) -> None:
        self.statistics.requests += 1
        if self._demoted_until_ns:
            priority = PROBE_PRIORITY
        self.link.submit(Job(self.device.unit, request, done, timeout_s=self._timeout_s, priority=priority))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, action)

    @property
    def may_retry(self) -> bool:
        return self._failures == 0 and not self._stopped and self.link.connected

    def answered(self, job: Job) -> None:
        """A valid reply, or an exception of the device itself, has come."""
        statistics = self.statistics
        statistics.replies += 1
        statistics.latency.add(time.monotonic_ns() - job.sent_ns)
        self._failures = 0
        if self.state != "online" and not self._stopped:
            self._revive()
            self._set_status(True)
            self._enter("online", f"{self.device.name} answers")
            now_ns = time.monotonic_ns()
            for reader in self._readers:
                reader.resume(now_ns)
            self._loop.call_soon(self._arm)

    def failed(self, job: Job, failure: Failure) -> bool:
        """Counts a failure. True if the device itself answered (an exception): then it is alive."""
        statistics = self.statistics
        kind = failure.kind
        if kind in (FailureKind.CONNECTION_LOST, FailureKind.NOT_CONNECTED):
            return False
        statistics.last_error = str(failure)
        self._cost_ns = self.link.cost_ns(job)
        if kind is FailureKind.EXCEPTION:
            statistics.exceptions[failure.exception] += 1
            if failure.exception not in GATEWAY_EXCEPTIONS:
                self.answered(job)
                return True
        elif kind is FailureKind.TIMEOUT:
            statistics.timeouts += 1
        else:
            statistics.mismatches += 1
        return False

    def gave_up(self) -> None:
        """A request failed for good: too many in a row demote the device."""
        self._failures += 1
        if self._failures < self.device.failures_max or self._demoted_until_ns or not self.link.connected:
            return
        self.statistics.demotions += 1
        self.link.dead += 1
        self._demoted_until_ns = time.monotonic_ns() + self._probe_interval_ns()
        self._lose_all(BAD_NO_COMMUNICATION)
        self._enter("offline", self.statistics.last_error)
        self._arm()

    def _revive(self) -> None:
        self.link.dead -= bool(self._demoted_until_ns)
        self._demoted_until_ns = 0

    def initialised(self) -> None:
        """The device has taken all init writes: now it is polled."""
        self._restart_grid()

    def init_refused(self, text: str) -> None:
        self.statistics.last_error = text

    def wake(self) -> None:
        """The time of the next action has changed."""
        self._arm()

    def divide(self, reader: Reader, parts: Sequence[Reader]) -> None:
        """``parts`` take the place of a block that the device refused, and are asked for at once."""
        at = self._readers.index(reader)
        self._readers[at : at + 1] = parts
        now_ns = time.monotonic_ns()
        for part in parts:
            if not self._demoted_until_ns:
                part.fire(now_ns)
            part.due_ns = reader.due_ns
        self.link.flush()
        self._arm()

    def worst_quality(self, group: str) -> int:
        """Of all inputs of a scan group, or of the device."""
        return max((r.worst_quality for r in self._readers if group in ("", r.block.group)), default=GOOD)

    # ------------------------------------------------------------ state

    def _lose_all(self, quality: int) -> None:
        self._set_status(False)
        self._init.restart()
        for reader in self._readers:
            reader.lose(quality)
        for writer in self._writers:
            writer.forget()

    def _set_status(self, alive: bool) -> None:
        offset, bit = self.device.status
        if offset < 0:
            return
        byte = int(self.image.image[offset])
        self.image.image[offset] = byte | 1 << bit if alive else byte & ~(1 << bit) & 0xFF
        row = self.first_row + self.device.status_row
        self.image.quality[row] = GOOD
        self.image.times[row] = time.time_ns()
        self.image.changed()

    def _enter(self, state: str, text: str) -> None:
        if state == self.state:
            return
        self.state = state
        self.since_ns = time.time_ns()
        if self._on_state is not None:
            self._on_state(self, state, text)
