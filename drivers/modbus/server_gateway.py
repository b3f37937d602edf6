"""Requests of the server's clients that go on to devices behind the node.

A reply is judged as strictly as one of our own: what does not match never reaches the client. Failures are answered as
the gateway exceptions of V1.1b3 §7: 10 when the device cannot be reached, 11 when it did not answer rightly.
"""

from __future__ import annotations

import asyncio
import struct

from drivers.modbus import pdu as requests
from drivers.modbus.config import Connection
from drivers.modbus.link import Done, Job, Link
from drivers.modbus.open import open_link
from drivers.modbus.pdu import EXCEPTION_FLAG, ExceptionCode, Failure, FailureKind, Function, Request
from drivers.modbus.server_config import GatewayEntry

WRITES = (
    Function.WRITE_SINGLE_COIL,
    Function.WRITE_SINGLE_REGISTER,
    Function.WRITE_MULTIPLE_COILS,
    Function.WRITE_MULTIPLE_REGISTERS,
    Function.MASK_WRITE_REGISTER,
    Function.READ_WRITE_MULTIPLE_REGISTERS,
)


class Gateway:
    """The units that stand behind the node; entries with an equal connection share a link."""

    def __init__(self, entries: tuple[GatewayEntry, ...]) -> None:
        self._entries = {entry.unit: entry for entry in entries}
        self._links: dict[Connection, Link] = {
            entry.connection: open_link(entry.connection) for entry in entries
        }

    def __contains__(self, unit: int) -> bool:
        return unit in self._entries

    def start(self) -> None:
        for link in self._links.values():
            link.gives_up_silent = False  # one silent unit says nothing about the others
            link.start()

    async def stop(self) -> None:
        await asyncio.gather(*(link.stop() for link in self._links.values()))

    async def forward(self, unit: int, pdu: bytes) -> bytes:
        """The reply PDU for a client."""
        entry = self._entries[unit]
        if pdu[0] in WRITES and not entry.writable:
            return bytes((pdu[0] | EXCEPTION_FLAG, ExceptionCode.ILLEGAL_FUNCTION))
        try:
            request = judged(pdu)
        except (ValueError, struct.error, IndexError):
            return bytes((pdu[0] | EXCEPTION_FLAG, ExceptionCode.ILLEGAL_DATA_VALUE))
        if request is None:
            return bytes((pdu[0] & 0x7F | EXCEPTION_FLAG, ExceptionCode.ILLEGAL_FUNCTION))
        future: asyncio.Future[tuple[bytes, Failure | None]] = asyncio.get_running_loop().create_future()
        link = self._links[entry.connection]
        link.submit(
            Job(entry.to_unit, request, _settle(future), timeout_s=entry.timeout_ms / 1000, priority=1)
        )
        link.flush()
        reply, failure = await future
        return reply if failure is None else bytes((pdu[0] | EXCEPTION_FLAG, _code(failure)))


def judged(pdu: bytes) -> Request | None:
    """The request of a client with the reply that it must have; None for functions that are not forwarded.

    Raises ValueError, IndexError or struct.error for what is no valid request.
    """
    function = pdu[0]
    match function:
        case 1 | 2 | 3 | 4 | 5 | 6:
            first, second = struct.unpack(">HH", pdu[1:])
            if function in (1, 2):
                return requests.read_bits(Function(function), first, second)
            if function in (3, 4):
                return requests.read_registers(Function(function), first, second)
            return Request(pdu, pdu, 5, 5)
        case 15 | 16:
            _whole(pdu, 6 + pdu[5])
            return Request(pdu, pdu[:5], 5, 5)
        case 22:
            _whole(pdu, 7)
            return Request(pdu, pdu, 7, 7)
        case 23:
            _whole(pdu, 10 + pdu[9])
            count = int.from_bytes(pdu[3:5], "big")
            return Request(pdu, bytes((23, 2 * count)), 2 + 2 * count, 2)
        case 7 | 11 | 17 | 43:
            return Request(pdu, pdu[:1], 0, 1)
        case _:
            return None


def _whole(pdu: bytes, size: int) -> None:
    if len(pdu) != size:
        raise ValueError(f"{len(pdu)} bytes in a request of {size}")


def _settle(future: asyncio.Future[tuple[bytes, Failure | None]]) -> Done:
    def done(_job: Job, reply: bytes, failure: Failure | None) -> None:
        if not future.done():
            future.set_result((reply, failure))

    return done


def _code(failure: Failure) -> int:
    if failure.kind is FailureKind.EXCEPTION:
        return failure.exception
    unreachable = failure.kind in (FailureKind.NOT_CONNECTED, FailureKind.CONNECTION_LOST)
    return ExceptionCode.GATEWAY_PATH_UNAVAILABLE if unreachable else ExceptionCode.GATEWAY_TARGET_FAILED
