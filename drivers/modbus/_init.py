"""What a device is told after each connection, and after each return, before anything else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drivers.modbus import pdu
from drivers.modbus.config import InitWrite
from drivers.modbus.link import Job
from drivers.modbus.pdu import Failure, FailureKind, Function, Request

if TYPE_CHECKING:
    from drivers.modbus.device import DevicePoller

PRIORITY = -2  # before outputs
AGAIN_NS = 200_000_000  # after no or a damaged reply
REFUSED_NS = 1_000_000_000  # after an exception


class Initialiser:
    """Sends the init writes one after another. Until the last has been accepted nothing is read or written.

    A device that is not set up as it should be may answer with values that mean something else.
    """

    __slots__ = ("_next", "_open", "_poller", "_requests", "due_ns")

    def __init__(self, poller: DevicePoller, writes: Sequence[InitWrite]) -> None:
        self._poller = poller
        self._requests = [init_request(write) for write in writes]
        self._next = 0
        self._open = False
        self.due_ns = 0  # when to try again

    @property
    def done(self) -> bool:
        return self._next == len(self._requests)

    def restart(self) -> None:
        """The device may have lost what it was told."""
        self._next = 0
        self.due_ns = 0

    def advance(self) -> None:
        if not self._open and not self.done:
            self._open = True
            self.due_ns = 0
            self._poller.statistics.writes += 1
            self._poller.send(self._requests[self._next], self._answered, PRIORITY)

    def _answered(self, job: Job, _reply: bytes, failure: Failure | None) -> None:
        self._open = False
        poller = self._poller
        if failure is None:
            self._next += 1
            poller.answered(job)
            if self.done:
                poller.initialised()
                return
            self.advance()
            poller.link.flush()
            return
        alive = poller.failed(job, failure)
        if failure.kind in (FailureKind.CONNECTION_LOST, FailureKind.NOT_CONNECTED):
            return
        self.due_ns = time.monotonic_ns() + (REFUSED_NS if alive else AGAIN_NS)
        if alive:
            poller.init_refused(f"init write {self._next + 1} refused: {failure}")
        else:
            poller.gave_up()
        poller.wake()


def init_request(write: InitWrite) -> Request:
    match write.function:
        case Function.WRITE_SINGLE_COIL:
            return pdu.write_coil(write.address, bool(write.data[0] & 1))
        case Function.WRITE_MULTIPLE_COILS:
            return pdu.write_coils(write.address, write.count, write.data)
        case Function.WRITE_SINGLE_REGISTER:
            return pdu.write_register(write.address, int.from_bytes(write.data, "big"))
        case _:
            return pdu.write_registers(write.address, write.data)
