"""The node's side of the link as a state machine: frames in, frames out, nothing that waits or opens anything.

States: *down* (no connection), *greeting* (Hello sent, Welcome awaited), *up*. Whoever owns the socket calls
``opened``, ``received`` and ``closed`` and sends what ``outgoing`` returns.

Rules.
* Durable messages (Batch, Journal) go to the buffer first and are sent from there, in order, at most ``WINDOW`` beyond
  the last committed one. After a reconnect sending starts again behind what the supervisor says it has.
* What was appended while the link was down is marked historical when it is sent: it must not move a live value.
* Results of commands and deployments that could not be sent, and the last word on each deployment, are sent after
  the next Welcome. A command or deployment that comes twice is answered with its first result, not done again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

import msgspec

from runtime import link
from runtime.link import Batch, Command, CommandResult, Deploy, DeployState, Down, Event, Fetch, Fetched, Up
from runtime.uplink_buffer import Buffer
from runtime.uplink_identity import Identity
from scan.problem import Problem, TickworkError

WINDOW = 64  # messages sent and not yet committed
WINDOW_BYTES = 4 * 1024 * 1024
RESULTS_KEPT = 1000  # of commands and deployments, to recognise repetitions
GREETING_NS = 15 * 1_000_000_000
EVENTS_IN_JOURNAL = 200

FINAL = ("running", "refused", "rolled_back")

_V = TypeVar("_V")


class State(Enum):
    DOWN = "down"
    GREETING = "greeting"
    UP = "up"


class Uplink:
    """One node towards one supervisor. ``orders`` holds what the supervisor asked for, for the owner to take."""

    def __init__(self, identity: Identity, node_id: str, buffer: Buffer) -> None:
        self.state = State.DOWN
        self.refused: Problem | None = None
        self.orders: deque[Command | Deploy | Fetch] = deque()
        self._identity = identity
        self._node_id = node_id
        self._buffer = buffer
        self._now: deque[bytes] = deque()  # frames to send before anything from the buffer
        self._sent = 0  # seq of the newest durable message sent on this connection
        self._sent_bytes = 0
        self._historical_to = 0
        self._opened_ns = 0
        self._unsent: deque[CommandResult | DeployState | Fetched] = deque(maxlen=RESULTS_KEPT)
        self._results: OrderedDict[str, CommandResult | None] = OrderedDict()
        self._deployments: OrderedDict[str, DeployState | None] = OrderedDict()

    # ---------------------------------------------------------------- the connection

    def opened(self, now_ns: int) -> None:
        self.state, self._opened_ns = State.GREETING, now_ns
        self._now.clear()

    def closed(self) -> None:
        self.state = State.DOWN
        self._now.clear()

    def is_overdue(self, now_ns: int) -> bool:
        """The supervisor did not welcome us in time: the owner should close and try again."""
        return self.state is State.GREETING and now_ns - self._opened_ns > GREETING_NS

    def received(self, frame: bytes, now_ns: int) -> bool:
        """Takes a frame; True when the connection has just come up. Raises LK1001 for what is no message."""
        message: Down = link.decode_down(frame)
        if isinstance(message, link.Challenge) and self.state is State.GREETING:
            hello = self._identity.answer(
                message, node_id=self._node_id, boot=self._buffer.boot, time_ns=now_ns
            )
            self._now.append(link.encode(hello))
        elif isinstance(message, link.Welcome) and self.state is State.GREETING:
            self._welcomed(message.committed)
            return True
        elif isinstance(message, link.Refused):
            self.refused = message.problem
        elif self.state is State.UP:
            self._ordered(message, now_ns)
        return False

    def _welcomed(self, committed: int) -> None:
        self.state, self.refused = State.UP, None
        self._buffer.commit(committed)
        self._sent = self._buffer.first_seq - 1
        self._sent_bytes = 0
        self._historical_to = self._buffer.next_seq - 1

    def _ordered(self, message: Down, now_ns: int) -> None:
        if isinstance(message, link.Committed):
            self._buffer.commit(message.seq)
            if self._buffer.first_seq > self._sent:
                self._sent_bytes = 0
        elif isinstance(message, Command):
            self._take_command(message, now_ns)
        elif isinstance(message, Deploy):
            self._take_deploy(message, now_ns)
        elif isinstance(message, Fetch):
            self.orders.append(message)

    def _take_command(self, command: Command, now_ns: int) -> None:
        if command.id in self._results:
            if (done := self._results[command.id]) is not None:
                self._now.append(link.encode(done))
        elif command.expires_ns and now_ns > command.expires_ns:
            self.result(CommandResult(command.id, "expired", time_ns=now_ns))
        else:
            _keep(self._results, command.id, None)
            self.orders.append(command)

    def _take_deploy(self, deploy: Deploy, now_ns: int) -> None:
        if deploy.id in self._deployments:
            if (done := self._deployments[deploy.id]) is not None:
                self._now.append(link.encode(done))
        elif deploy.expires_ns and now_ns > deploy.expires_ns:
            problem = Problem("LK4009", "the deployment came too late", remedy="deploy again")
            self.deploy_state(DeployState(deploy.id, "refused", problems=(problem,), time_ns=now_ns))
        else:
            _keep(self._deployments, deploy.id, None)
            self.orders.append(deploy)

    # ---------------------------------------------------------------- what the node says

    def append(self, make: Callable[[int], Batch | link.Journal | link.Alarms], now_ns: int) -> int:
        """Stores a durable message; ``make`` gets its seq."""
        return self._buffer.append(link.encode(make(self._buffer.next_seq)), now_ns)

    def append_events(self, events: tuple[Event, ...], now_ns: int) -> None:
        for start in range(0, len(events), EVENTS_IN_JOURNAL):
            part = events[start : start + EVENTS_IN_JOURNAL]

            def numbered(seq: int, part: tuple[Event, ...] = part) -> link.Journal:
                return link.Journal(seq, part)

            self.append(numbered, now_ns)

    def say(self, message: Up) -> None:
        """Sends a latest-wins message (Describe, Status); without a connection it is dropped."""
        if self.state is State.UP:
            self._now.append(link.encode(message))

    def result(self, result: CommandResult) -> None:
        _keep(self._results, result.id, result)
        self._owe(result)

    def deploy_state(self, state: DeployState) -> None:
        if state.state in FINAL:
            _keep(self._deployments, state.id, state)
        if state.id:  # a local deployment has none: the supervisor sees it by Describe and Journal
            self._owe(state)

    def fetched(self, answer: Fetched) -> None:
        self._owe(answer)

    def _owe(self, message: CommandResult | DeployState | Fetched) -> None:
        if self.state is State.UP:
            self._now.append(link.encode(message))
        else:
            self._unsent.append(message)

    def resume(self, describe: link.Describe) -> None:
        """First words after a Welcome: what runs here, and what could not be said before."""
        self.say(describe)
        while self._unsent:
            self.say(self._unsent.popleft())
        for final in self._deployments.values():
            if final is not None:
                self.say(final)

    # ---------------------------------------------------------------- what to send

    def outgoing(self) -> list[bytes]:
        """The next frames, in order. Only synced messages are among them (see ``uplink_buffer``)."""
        frames = list(self._now)
        self._now.clear()
        if self.state is not State.UP:
            return frames
        in_flight = max(self._sent - self._buffer.committed, 0)
        room, room_bytes = WINDOW - in_flight, WINDOW_BYTES - self._sent_bytes
        if room <= 0 or room_bytes <= 0 or self._sent >= self._buffer.synced_seq:
            return frames
        for record in self._buffer.read(self._sent + 1, count_max=room, size_max=room_bytes):
            frames.append(self._marked(record.seq, record.payload))
            self._sent = record.seq
            self._sent_bytes += len(record.payload)
        return frames

    def _marked(self, seq: int, payload: bytes) -> bytes:
        if seq > self._historical_to:
            return payload
        try:
            message = link.decode_up(payload)
        except TickworkError:
            return payload
        return (
            link.encode(msgspec.structs.replace(message, historical=True))
            if isinstance(message, Batch)
            else payload
        )


def _keep(table: OrderedDict[str, _V], key: str, value: _V) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > RESULTS_KEPT:
        table.popitem(last=False)
