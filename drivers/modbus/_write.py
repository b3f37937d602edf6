"""One block of outputs that a device follows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drivers.modbus import pdu
from drivers.modbus._image import fetch_bits, fetch_registers, swap_registers
from drivers.modbus.config import Point, WriteBlock
from drivers.modbus.link import Job
from drivers.modbus.pdu import Failure, FailureKind, Function, Request
from drivers.modbus.points import KINDS, encode_point

if TYPE_CHECKING:
    from drivers.modbus.device import DevicePoller

REFUSED_WAIT_NS = 1_000_000_000  # before a write that the device refused is tried again
COIL_FUNCTIONS = (Function.WRITE_SINGLE_COIL, Function.WRITE_MULTIPLE_COILS)


class Writer:
    """A write block of a device: only the latest value counts, at most one request is open."""

    def __init__(self, poller: DevicePoller, block: WriteBlock) -> None:
        self._poller = poller
        self.block = block
        self._coils = block.function in COIL_FUNCTIONS
        self._is_mask = block.function is Function.MASK_WRITE_REGISTER
        self._safe = self._safe_registers()
        self._written: bytes | None = None  # what the device is known to have, None: unknown
        self._sending = b""
        self._open = False
        self._target: bytes | None = b""  # what the device shall have, None: whatever it has
        self._value = 0.0  # what was written last, in engineering units
        self._refresh_ns = 0
        self._not_before_ns = 0

    def forget(self) -> None:
        """What the device holds is no longer known: the next ``follow`` writes."""
        self._written = None
        self._not_before_ns = 0

    def follow(self, image: bytes, live: bool, now_ns: int) -> None:
        block = self.block
        if not live and block.safe is None:
            self._target = None
            return
        value = self._fetch(image) if live else self._safe
        if live and self._stays(image, now_ns):
            value = self._written or value
        self._target = value
        if self._open or now_ns < self._not_before_ns:
            return
        if self._written is None or self._is_due(value, now_ns):
            if live and block.points and block.points[0].deadband:
                self._value = engineering_value(block.points[0], image)
            self._send(value)

    def _stays(self, image: bytes, now_ns: int) -> bool:
        """The output has moved less than its deadband since it was written, and a refresh is not due."""
        points = self.block.points
        if not points or not points[0].deadband or self._written is None:
            return False
        if self.block.mode != "change" and now_ns >= self._refresh_ns:
            return False
        return abs(engineering_value(points[0], image) - self._value) < points[0].deadband

    def _fetch(self, image: bytes) -> bytes:
        """What the device shall have: packed bits, or little-endian registers."""
        block = self.block
        if self._coils or self._is_mask:
            return fetch_bits(image, block.offset, block.bit, block.count)
        if block.points:
            return swap_registers(encode_point(block.points[0], image))
        return fetch_registers(image, block.offset, block.count)

    def _safe_registers(self) -> bytes:
        block = self.block
        if block.safe is None or not block.points or self._is_mask:
            return block.safe or b""
        point = msgspec.structs.replace(block.points[0], offset=0)
        return swap_registers(encode_point(point, block.safe))

    @property
    def settled(self) -> bool:
        return not self._open and (self._target is None or self._target == self._written)

    def probe(self) -> None:
        """Asks with the harmless read of the block."""
        if not self._open:
            self._open = True
            self._poller.send(self._read_request(), self._probed, self.block.priority)

    def _is_due(self, value: bytes, now_ns: int) -> bool:
        if value != self._written and self.block.mode != "cyclic":
            return True
        return self.block.mode != "change" and now_ns >= self._refresh_ns

    def _send(self, value: bytes) -> None:
        self._open = True
        self._sending = value
        self._poller.statistics.writes += 1
        self._poller.send(self._write_request(value), self._done, self.block.priority)

    def _done(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        if failure is not None:
            self._failed(job, failure)
            return
        if self.block.verify == "exchange":
            self._read_back(job, reply, None)
            return
        self._poller.answered(job)
        if self.block.verify == "read-back":
            self._poller.send(self._read_request(), self._read_back, self.block.priority)
            self._poller.link.flush()
            return
        self._accepted()

    def _accepted(self) -> None:
        now_ns = time.monotonic_ns()
        self._open = False
        self._written = self._sending
        self._refresh_ns = now_ns + self.block.refresh_ns
        self._not_before_ns = now_ns + self.block.gap_ns

    def _read_back(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        if failure is None:
            found = self._found(reply)
            if found == self._sending:
                self._poller.answered(job)
                self._accepted()
                return
            text = (
                f"read-back of {self.block.address} differs: wrote {self._sending.hex()}, found {found.hex()}"
            )
            failure = Failure(FailureKind.MISMATCH, text)
        self._failed(job, failure)

    def _found(self, reply: bytes) -> bytes:
        if self._is_mask:
            register = int.from_bytes(reply[2:], "big")
            return bytes((register >> self.block.points[0].register_bit & 1,))
        return reply[2:] if self._coils else swap_registers(reply[2:])

    def _failed(self, job: Job, failure: Failure) -> None:
        alive = self._poller.failed(job, failure)
        self._open = False
        self._written = None
        if alive or failure.kind is FailureKind.MISMATCH:
            self._not_before_ns = time.monotonic_ns() + REFUSED_WAIT_NS
        if not alive and failure.kind not in (FailureKind.CONNECTION_LOST, FailureKind.NOT_CONNECTED):
            self._poller.gave_up()

    def _probed(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        self._open = False
        if failure is None:
            self._poller.answered(job)
        else:
            self._poller.failed(job, failure)

    def _write_request(self, value: bytes) -> Request:
        block = self.block
        match block.function:
            case Function.WRITE_SINGLE_COIL:
                return pdu.write_coil(block.address, bool(value[0] & 1))
            case Function.WRITE_MULTIPLE_COILS:
                return pdu.write_coils(block.address, block.count, value)
            case Function.MASK_WRITE_REGISTER:  # V1.1b3 §6.16: the other bits stay, whoever else writes them
                mask = 1 << block.points[0].register_bit
                return pdu.mask_write_register(
                    block.address, and_mask=0xFFFF & ~mask, or_mask=mask if value[0] & 1 else 0
                )
            case Function.READ_WRITE_MULTIPLE_REGISTERS:  # V1.1b3 §6.17: it writes before it reads
                return pdu.read_write_registers(
                    read_address=block.address, read_count=block.count, write_address=block.address,
                    values=swap_registers(value),
                )  # fmt: skip
            case Function.WRITE_SINGLE_REGISTER:
                return pdu.write_register(block.address, int.from_bytes(value, "little"))
            case _:
                return pdu.write_registers(block.address, swap_registers(value))

    def _read_request(self) -> Request:
        block = self.block
        if self._coils:
            return pdu.read_bits(Function.READ_COILS, block.address, block.count)
        return pdu.read_registers(Function.READ_HOLDING_REGISTERS, block.address, block.count)


def engineering_value(point: Point, image: bytes) -> float:
    """The output as the program has it."""
    dtype = np.dtype(point.store or KINDS[point.kind][1])
    return float(np.frombuffer(image, dtype, 1, point.offset)[0])
