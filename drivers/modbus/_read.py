"""One block that is read again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drivers.modbus import pdu
from drivers.modbus._image import store_bits, store_registers
from drivers.modbus.config import Point, ReadBlock
from drivers.modbus.link import Job
from drivers.modbus.pdu import BUSY_EXCEPTIONS, ExceptionCode, Failure, FailureKind, Function, Request
from drivers.modbus.points import PointDecoder
from drivers.modbus.statistics import BlockStatistics
from scan.quality import BAD_DEVICE_FAILURE, BAD_NO_COMMUNICATION, BAD_NOT_CONNECTED, GOOD

if TYPE_CHECKING:
    from drivers.modbus.device import DevicePoller

BUSY_WAIT_S = 0.05
STALE_PERIODS = 3
ILLEGAL_WAIT_NS = 10_000_000_000  # before an address that the device does not have is asked for again
BIT_FUNCTIONS = (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)


class Reader:
    """A read block of a device, at most one request open. ``is_part``: of a block that the device refused."""

    __slots__ = (
        "_attempts", "_bits", "_busy_attempts", "_decoder", "_good_ns", "_group", "_is_part", "_level", "_lost",
        "_open", "_poller", "_request", "_rows", "_stale_ns", "block", "due_ns", "periodic", "statistics",
    )  # fmt: skip

    def __init__(self, poller: DevicePoller, block: ReadBlock, *, is_part: bool = False) -> None:
        self._poller = poller
        self.block = block
        self.statistics = BlockStatistics()
        self._group = poller.groups.get(block.group)  # the same counters for the whole scan group
        self._is_part = is_part
        self.due_ns = 0
        self.periodic = block.trigger[0] < 0
        self._bits = block.function in BIT_FUNCTIONS
        self._request = _request(block)
        self._decoder = PointDecoder(block.points, bits=self._bits) if block.points else None
        first = poller.first_row + block.first_row
        self._rows = slice(first, first + block.rows)
        self._open = False
        self._attempts = 0
        self._busy_attempts = 0
        self._good_ns = 0
        device = poller.device
        answer_ns = device.timeout_ms * 1_000_000 * (device.retries + 1)
        self._stale_ns = STALE_PERIODS * block.period_ns + answer_ns
        self._lost = False
        self._level = False

    def fire(self, now_ns: int) -> None:
        """The block is due: ask, unless the last request is still open, and set the next time on the grid."""
        if self.due_ns:
            periods = max(0, now_ns - self.due_ns) // self.block.period_ns + 1
            self.due_ns += periods * self.block.period_ns
        if self._open:
            self._poller.statistics.missed += 1
            self.statistics.missed += 1
            if self._group is not None:
                self._group.missed += 1
            if now_ns - self._good_ns > self._stale_ns and not self._lost:
                self.lose(BAD_NO_COMMUNICATION)
            return
        self._open = True
        self._attempts = 0
        self._busy_attempts = 0
        self._send()

    def _send(self) -> None:
        self._poller.send(self._request, self._done, self.block.priority)

    @property
    def worst_quality(self) -> int:
        quality = self._poller.image.quality[self._rows]
        return int(quality.max()) if len(quality) else 0

    def report(self) -> dict[str, object]:
        """This block for the statistics of the device."""
        block = self.block
        return {
            "group": block.group,
            "function": int(block.function),
            "address": block.address,
            "count": block.count,
            "period_ms": block.period_ns // 1_000_000 if self.periodic else 0,
            "quality": self.worst_quality,
            **self.statistics.as_dict(time.monotonic_ns()),
        }

    def resume(self, now_ns: int) -> None:
        """The device is back: a block that was not read for longer than its period is due now."""
        if self.due_ns and now_ns - self._good_ns > self.block.period_ns:
            self.due_ns = now_ns

    def rising(self, image: bytes) -> bool:
        offset, bit = self.block.trigger
        level = offset < len(image) and bool(image[offset] >> bit & 1)
        edge = level and not self._level
        self._level = level
        return edge

    def lose(self, quality: int) -> None:
        """The values are no longer known to be true."""
        image = self._poller.image
        image.quality[self._rows] = quality
        if self._decoder is not None:
            self._decoder.forget()
            self._substitute_points()
        elif self.block.on_loss != "hold":
            self._substitute()
        self._lost = True
        image.changed()

    def _substitute(self) -> None:
        """Puts 0 or the substitute in the place of values that are not known."""
        block = self.block
        target = self._poller.image.image
        if self._bits:
            store_bits(target, block.offset, block.bit, block.count, block.substitute)
        else:
            data = block.substitute or bytes(2 * block.count)
            target[block.offset : block.offset + 2 * block.count] = np.frombuffer(data, np.uint8)

    def _substitute_points(self) -> None:
        target = self._poller.image.image
        for point in self.block.points:
            data = point.substitute or (bytes(max(point.size, 1)) if self.block.on_loss == "zero" else b"")
            if data and point.bit >= 0:
                store_bits(target, point.offset, point.bit, 1, data)
            elif data:
                target[point.offset : point.offset + point.size] = np.frombuffer(data, np.uint8)

    def _done(self, job: Job, reply: bytes, failure: Failure | None) -> None:
        poller = self._poller
        if failure is not None:
            self._failed(job, failure)
            return
        self._open = False
        poller.answered(job)
        latency_ns = time.monotonic_ns() - job.sent_ns
        self.statistics.answered(latency_ns)
        if self._group is not None:
            self._group.answered(latency_ns)
        block = self.block
        image = poller.image
        if self._decoder is not None:
            image.quality[self._rows] = self._decoder.store(image.image, reply[2:])
        elif self._bits:
            store_bits(image.image, block.offset, block.bit, block.count, reply[2:])
            image.quality[self._rows] = GOOD
        else:
            store_registers(image.image, block.offset, block.count, reply, 2)
            image.quality[self._rows] = GOOD
        image.times[self._rows] = time.time_ns()
        self._good_ns = time.monotonic_ns()
        self._lost = False
        image.changed()

    def _failed(self, job: Job, failure: Failure) -> None:
        poller = self._poller
        alive = poller.failed(job, failure)
        if failure.kind in (FailureKind.CONNECTION_LOST, FailureKind.NOT_CONNECTED):
            self._open = False
            self.lose(BAD_NOT_CONNECTED)
            return
        self._count(failure)
        if failure.exception == ExceptionCode.ILLEGAL_DATA_ADDRESS and self._divide():
            return
        if failure.exception in BUSY_EXCEPTIONS and self._busy_attempts < poller.device.busy_retries:
            self._busy_attempts += 1
            poller.after(BUSY_WAIT_S, self._again)
            return
        if not alive and self._attempts < poller.device.retries and poller.may_retry:
            self._attempts += 1
            self._again()
            return
        self._open = False
        self.statistics.failures += 1
        if self._group is not None:
            self._group.failures += 1
        self.lose(BAD_DEVICE_FAILURE if alive else BAD_NO_COMMUNICATION)
        if not alive:
            poller.gave_up()

    def _count(self, failure: Failure) -> None:
        self.statistics.failed(failure)
        if self._group is not None:
            self._group.failed(failure)

    def _divide(self) -> bool:
        """Asks for the halves of a joined block, one of which may be legal. True if there are halves."""
        halves = divide(self.block) if self._decoder is not None else ()
        if halves:
            self._open = False
            self.lose(BAD_DEVICE_FAILURE)
            self._poller.divide(self, [Reader(self._poller, half, is_part=True) for half in halves])
        elif self._is_part and self.due_ns:
            skipped = -(-ILLEGAL_WAIT_NS // self.block.period_ns)
            self.due_ns += skipped * self.block.period_ns
        return bool(halves)

    def _again(self) -> None:
        self._poller.statistics.retries += 1
        self.statistics.retries += 1
        if self._group is not None:
            self._group.retries += 1
        self._send()
        self._poller.link.flush()


def divide(block: ReadBlock) -> tuple[ReadBlock, ...]:
    """Two blocks for the points of ``block``, or none where all of them share a register.

    The cut is at the widest hole, as registers that nobody wants may be the illegal ones; without holes in the middle.
    """
    points = block.points
    ends = [0]
    for point in points:
        ends.append(max(ends[-1], point.at + point.registers))
    cuts = [at for at in range(1, len(points)) if points[at].at >= ends[at]]
    if not cuts:
        return ()
    middle = len(points) / 2
    cut = max(cuts, key=lambda at: (points[at].at - ends[at], -abs(at - middle)))
    return _part(block, points[:cut], 0), _part(block, points[cut:], cut)


def _part(block: ReadBlock, points: tuple[Point, ...], row: int) -> ReadBlock:
    first = points[0].at
    return msgspec.structs.replace(
        block,
        address=block.address + first,
        count=max(point.at + point.registers for point in points) - first,
        points=tuple(msgspec.structs.replace(point, at=point.at - first) for point in points),
        first_row=block.first_row + row,
        rows=len(points),
    )


def _request(block: ReadBlock) -> Request:
    if block.function in BIT_FUNCTIONS:
        return pdu.read_bits(block.function, block.address, block.count)
    return pdu.read_registers(block.function, block.address, block.count)
