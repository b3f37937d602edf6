"""RTU and ASCII links, on a serial line or over TCP: one request at a time, and silence where it is due.

Rules (Modbus over Serial Line V1.02 §2.4.1, §2.5.1.1).
* Between two frames the line is silent for 3.5 characters, counted from the last byte that was on it.
* A reply that did not come in time may still come. Until it came, or ``LATE_FACTOR`` times the time-out has passed,
  nothing is asked, and what arrives is thrown away: otherwise it would be taken for the answer to the next request.
  The same holds after a reply that was damaged or of another kind.
* A broadcast is not answered; the line rests for the turnaround time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import ModuleType

from drivers.modbus import ascii as ascii_frames
from drivers.modbus import rtu
from drivers.modbus.link import Job, Link
from drivers.modbus.pdu import Failure
from drivers.modbus.tcp import tune_socket

LATE_WINDOW_MAX_S = 1.0
TURNS_S = 0.0006
SETTLE_S = 0.005  # silence that ends a damaged frame; serial adapters deliver in blocks of some milliseconds
FRAMINGS: dict[str, ModuleType] = {"rtu": rtu, "ascii": ascii_frames}
BROADCAST = 0


class StreamLink(Link):
    """Base of the links whose replies carry no transaction number."""

    def __init__(
        self,
        *,
        framing: str,
        baud: int = 0,
        connect_timeout_s: float = 3.0,
        backoff_max_s: float = 10.0,
        pause_s: float = 0.0,
        pause_after_connect_s: float = 0.0,
        overtake_max: int = 10,
        turnaround_s: float = 0.1,
        local_echo: bool = False,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            max_outstanding=1,
            connect_timeout_s=connect_timeout_s,
            backoff_max_s=backoff_max_s,
            pause_after_connect_s=pause_after_connect_s,
            overtake_max=overtake_max,
            seed=seed,
        )
        self.gives_up_silent = False  # several units share a bus: silence of one says nothing about the line
        self._framing = FRAMINGS[framing]
        self._character_s = rtu.character_s(baud) if baud else 0.0
        self._silence_s = max(rtu.silence_s(baud) if baud and framing == "rtu" else 0.0, pause_s)
        self._turnaround_s = turnaround_s
        self._local_echo = local_echo
        self._clock = clock
        self._job: Job | None = None
        self._echo = b""
        self._buffer = b""
        self._drained: Job | None = None  # the request whose late reply may still come
        self._drain_until = 0.0
        self._quiet_at = 0.0
        self._settle: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ sending

    def _outstanding(self) -> int:
        return 1 if self._job is not None else 0

    def _may_send(self) -> bool:
        now = self._clock()
        wait = max(self._quiet_at - now, (self._drain_until - now) if self._drained else 0.0)
        wait = max(wait, self._not_before - self._loop.time())
        if wait <= 0:
            self._drained = None
            return True
        if self._wake is None:
            # Timers of the loop are as coarse as the silence of a fast line: the last bit is waited for turn by turn.
            if wait < TURNS_S:
                self._wake = self._loop.call_soon(self._woken)
            else:
                self._wake = self._loop.call_later(wait, self._woken)
        return False

    def _transmit(self, job: Job) -> None:
        frame: bytes = self._framing.encode(job.unit, job.request.pdu)
        self._frames.append(frame)
        self._job = job
        self._buffer = b""
        self._echo = frame if self._local_echo else b""
        sending_s = len(frame) * self._character_s
        self._quiet_at = self._clock() + sending_s + self._silence_s
        if job.unit == BROADCAST:
            self._loop.call_later(sending_s + self._turnaround_s, self._broadcast_over, job)
            job.deadline += sending_s + self._turnaround_s
        else:
            reply_size = job.request.size + 5 if job.request.size else rtu.FRAME_SIZE_MAX
            job.deadline += sending_s + reply_size * self._character_s * (2 if self._is_ascii else 1)

    @property
    def _is_ascii(self) -> bool:
        return self._framing is ascii_frames

    def _broadcast_over(self, job: Job) -> None:
        if self._job is job:
            self._job = None
            job.done(job, job.request.head, None)
            self.flush()

    # ------------------------------------------------------------ receiving

    def data_received(self, data: bytes) -> None:
        self._silent_timeouts = 0
        self._quiet_at = self._clock() + self._silence_s
        if self._settle is not None:
            self._settle.cancel()
            self._settle = None
        self._buffer = (self._buffer + data)[-rtu.BUFFER_SIZE_MAX :]
        if self._echo:
            self._strip_echo()
        if self._job is not None:
            self._look_for_reply(self._job)
        elif self._drained is not None:
            self._look_for_late_reply(self._drained)
        else:
            self.stray_replies += 1
            self._buffer = b""

    def _strip_echo(self) -> None:
        """With a two-wire adapter that hears itself the request comes back first."""
        size = min(len(self._echo), len(self._buffer))
        if self._buffer[:size] != self._echo[:size]:
            self._echo = b""  # no echo after all: the bytes are the reply
            return
        self._buffer = self._buffer[size:]
        self._echo = self._echo[size:]

    def _look_for_reply(self, job: Job) -> None:
        found: rtu.Found = self._framing.find_reply(self._buffer, job.unit, job.request)
        if found.reply:
            self._finish(job, found.reply, found.failure)
        elif found.complete:
            self._settle = self._loop.call_later(max(SETTLE_S, self._silence_s), self._settled, job)

    def _settled(self, job: Job) -> None:
        """Enough bytes for a reply came, then silence, and no valid frame is among them."""
        self._settle = None
        if self._job is job:
            self._finish(job, b"", rtu.damaged(job.unit))

    def _finish(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        self._job = None
        self._buffer = b""
        if failure is not None and not failure.exception:
            self._drain(job, self._clock() + max(job.deadline - self._loop.time(), 0.0))
        job.done(job, b"" if failure else reply, failure)
        self.flush()

    def _drain(self, job: Job, until: float) -> None:
        self._drained = job
        self._drain_until = until

    def _look_for_late_reply(self, job: Job) -> None:
        found: rtu.Found = self._framing.find_reply(self._buffer, job.unit, job.request)
        if found.reply:
            self.late_replies += 1
            self._buffer = b""
            self._drained = None
            if self._wake is not None:
                self._wake.cancel()
                self._wake = None
            self.flush()

    # ------------------------------------------------------------ deadlines and loss

    def cost_ns(self, job: Job) -> int:
        """The late reply is waited for as well."""
        late_s = max(self._drain_until - self._clock(), 0.0) if self._drained is job else 0.0
        return super().cost_ns(job) + int(1e9 * late_s)

    def _expired(self, now: float) -> list[Job]:
        job = self._job
        if job is None or job.deadline > now:
            return []
        self._job = None
        if job.unit != BROADCAST:
            self._drain(job, self._clock() + min(job.timeout_s, LATE_WINDOW_MAX_S))
        if self._settle is not None:
            self._settle.cancel()
            self._settle = None
        return [job]

    def _next_deadline(self) -> float | None:
        return self._job.deadline if self._job is not None else None

    def _abandon(self) -> list[Job]:
        jobs = [self._job] if self._job is not None else []
        self._job = None
        self._drained = None
        self._buffer = self._echo = b""
        if self._settle is not None:
            self._settle.cancel()
            self._settle = None
        return jobs


class StreamTcpLink(StreamLink):
    """RTU or ASCII frames over TCP, as serial device servers carry them."""

    def __init__(self, host: str, port: int, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # the options of StreamLink, checked by open_link
        self.address = f"{host}:{port}"
        self._host = host
        self._port = port

    async def _open(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: self, self._host, self._port
        )
        tune_socket(transport)
