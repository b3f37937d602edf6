"""Modbus protocol data units: requests, and what an acceptable reply to each looks like.

Theory. For every function but the diagnostic ones the reply is determined by the request up to its data: its size and
its first bytes (function and byte count, or the echo of address and value) are known beforehand. So a request carries
``head`` and ``size``, and a reply is accepted exactly if it starts with the one and has the other. Anything else is an
error and never data (Modbus Application Protocol V1.1b3 §6; the checks are those of §4.2 and §7 turned round).
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

import msgspec

READ_BITS_MAX = 2000  # V1.1b3 §6.1, §6.2
READ_REGISTERS_MAX = 125  # §6.3, §6.4
WRITE_BITS_MAX = 1968  # §6.11
WRITE_REGISTERS_MAX = 123  # §6.12
READ_WRITE_REGISTERS_MAX = 121  # written registers of §6.17
PDU_SIZE_MAX = 253  # §4.1
ADDRESSES = 65536
EXCEPTION_FLAG = 0x80

_THREE = struct.Struct(">BHH")
_FOUR = struct.Struct(">BHHH")


class Function(enum.IntEnum):
    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    READ_EXCEPTION_STATUS = 7
    DIAGNOSTICS = 8
    GET_COMM_EVENT_COUNTER = 11
    WRITE_MULTIPLE_COILS = 15
    WRITE_MULTIPLE_REGISTERS = 16
    REPORT_SERVER_ID = 17
    MASK_WRITE_REGISTER = 22
    READ_WRITE_MULTIPLE_REGISTERS = 23
    ENCAPSULATED_INTERFACE = 43


class ExceptionCode(enum.IntEnum):
    """V1.1b3 §7."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_DATA_ADDRESS = 2
    ILLEGAL_DATA_VALUE = 3
    SERVER_DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    SERVER_DEVICE_BUSY = 6
    MEMORY_PARITY_ERROR = 8
    GATEWAY_PATH_UNAVAILABLE = 10
    GATEWAY_TARGET_FAILED = 11


EXCEPTION_TEXT = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge: still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
BUSY_EXCEPTIONS = frozenset({5, 6})
GATEWAY_EXCEPTIONS = frozenset({10, 11})


class FailureKind(enum.Enum):
    """Why a request has no data. The value is the error code that people see."""

    TIMEOUT = "DV2001"
    NOT_CONNECTED = "DV2002"
    EXCEPTION = "DV2003"
    MISMATCH = "DV2004"
    CONNECTION_LOST = "DV2005"
    FRAME = "DV2006"


class Failure(NamedTuple):
    """A request that brought no data: kind, a sentence, and the exception code for ``EXCEPTION``."""

    kind: FailureKind
    text: str
    exception: int = 0

    def __str__(self) -> str:
        return f"{self.kind.value}: {self.text}"


class Request(msgspec.Struct, frozen=True):
    """A request PDU with the exact reply it expects. ``size`` 0: any size (diagnostic functions)."""

    pdu: bytes
    head: bytes
    size: int
    data_at: int  # where data starts in the reply

    @property
    def function(self) -> int:
        return self.pdu[0]


def read_bits(function: Function, address: int, count: int) -> Request:
    """FC 1 or 2. The reply's data is ``(count + 7) // 8`` bytes, first point in bit 0 of byte 0."""
    _check(address, count, READ_BITS_MAX)
    size = (count + 7) // 8
    return Request(_THREE.pack(function, address, count), bytes((function, size)), 2 + size, 2)


def read_registers(function: Function, address: int, count: int) -> Request:
    """FC 3 or 4. The reply's data is ``2 * count`` bytes, each register big-endian."""
    _check(address, count, READ_REGISTERS_MAX)
    return Request(_THREE.pack(function, address, count), bytes((function, 2 * count)), 2 + 2 * count, 2)


def write_coil(address: int, on: bool) -> Request:
    _check(address, 1, 1)
    return _echo(_THREE.pack(Function.WRITE_SINGLE_COIL, address, 0xFF00 if on else 0))


def write_register(address: int, value: int) -> Request:
    _check(address, 1, 1)
    return _echo(_THREE.pack(Function.WRITE_SINGLE_REGISTER, address, value))


def write_coils(address: int, count: int, packed: bytes) -> Request:
    """FC 15. ``packed``: ``(count + 7) // 8`` bytes, first coil in bit 0 of byte 0; spare bits are cleared."""
    _check(address, count, WRITE_BITS_MAX)
    _expect(len(packed) == (count + 7) // 8, "packed coils and their count differ")
    spare = -count % 8
    body = packed[:-1] + bytes((packed[-1] & (0xFF >> spare),))
    head = _THREE.pack(Function.WRITE_MULTIPLE_COILS, address, count)
    return Request(head + bytes((len(body),)) + body, head, 5, 5)


def write_registers(address: int, values: bytes) -> Request:
    """FC 16. ``values``: registers big-endian."""
    count = len(values) // 2
    _check(address, count, WRITE_REGISTERS_MAX)
    _expect(len(values) % 2 == 0, "an odd number of bytes is no number of registers")
    head = _THREE.pack(Function.WRITE_MULTIPLE_REGISTERS, address, count)
    return Request(head + bytes((len(values),)) + values, head, 5, 5)


def mask_write_register(address: int, *, and_mask: int, or_mask: int) -> Request:
    """FC 22: new = (current AND and_mask) OR (or_mask AND NOT and_mask)."""
    _check(address, 1, 1)
    return _echo(_FOUR.pack(Function.MASK_WRITE_REGISTER, address, and_mask, or_mask))


def read_write_registers(*, read_address: int, read_count: int, write_address: int, values: bytes) -> Request:
    """FC 23: the device writes first, then reads."""
    write_count = len(values) // 2
    _check(read_address, read_count, READ_REGISTERS_MAX)
    _check(write_address, write_count, READ_WRITE_REGISTERS_MAX)
    function = Function.READ_WRITE_MULTIPLE_REGISTERS
    pdu = _THREE.pack(function, read_address, read_count) + struct.pack(
        ">HHB", write_address, write_count, len(values)
    )
    return Request(pdu + values, bytes((function, 2 * read_count)), 2 + 2 * read_count, 2)


def read_exception_status() -> Request:
    return Request(bytes((Function.READ_EXCEPTION_STATUS,)), bytes((Function.READ_EXCEPTION_STATUS,)), 2, 1)


def diagnostics(sub_function: int, data: int = 0) -> Request:
    """FC 8. Sub-function 0 (return query data) must be echoed whole; counters answer with their value."""
    pdu = _THREE.pack(Function.DIAGNOSTICS, sub_function, data)
    return Request(pdu, pdu if sub_function == 0 else pdu[:3], 5, 3)


def comm_event_counter() -> Request:
    function = bytes((Function.GET_COMM_EVENT_COUNTER,))
    return Request(function, function, 5, 1)


def report_server_id() -> Request:
    function = bytes((Function.REPORT_SERVER_ID,))
    return Request(function, function, 0, 2)


def read_device_identification(*, code: int = 1, object_id: int = 0) -> Request:
    """FC 43/14. ``code`` 1 basic, 2 regular, 3 extended, 4 one object."""
    pdu = bytes((Function.ENCAPSULATED_INTERFACE, 14, code, object_id))
    return Request(pdu, pdu[:3], 0, 3)


def check_reply(request: Request, reply: bytes) -> Failure | None:
    """None if ``reply`` is the acceptable answer to ``request``; else why not."""
    if reply.startswith(request.head) and (len(reply) == request.size or not request.size):
        return None
    function = request.pdu[0]
    if len(reply) == 2 and reply[0] == function | EXCEPTION_FLAG:
        code = reply[1]
        text = EXCEPTION_TEXT.get(code, "unknown exception")
        return Failure(FailureKind.EXCEPTION, f"function {function}: exception {code}, {text}", code)
    return Failure(FailureKind.MISMATCH, _mismatch(request, reply))


def identification_objects(reply: bytes) -> dict[int, bytes]:
    """Objects of a whole FC 43/14 reply PDU. Raises ValueError if they do not fit their lengths."""
    if len(reply) < 7:
        raise ValueError("device identification: reply too short")
    found: dict[int, bytes] = {}
    position = 7
    for _ in range(reply[6]):
        if position + 2 > len(reply) or position + 2 + reply[position + 1] > len(reply):
            raise ValueError("device identification: an object exceeds the reply")
        size = reply[position + 1]
        found[reply[position]] = reply[position + 2 : position + 2 + size]
        position += 2 + size
    if position != len(reply):
        raise ValueError("device identification: bytes after the last object")
    return found


def _mismatch(request: Request, reply: bytes) -> str:
    function = request.pdu[0]
    if not reply or reply[0] != function:
        return f"function {function} asked, {reply[0] if reply else 'nothing'} answered"
    if request.size and len(reply) != request.size:
        return f"function {function}: {request.size} bytes expected, {len(reply)} answered"
    found = reply[: len(request.head)].hex(" ")
    return f"function {function}: reply must begin {request.head.hex(' ')}, found {found}"


def _echo(pdu: bytes) -> Request:
    return Request(pdu, pdu, len(pdu), len(pdu))


def _check(address: int, count: int, count_max: int) -> None:
    _expect(1 <= count <= count_max, f"count {count} is not within 1..{count_max}")
    _expect(address >= 0 and address + count <= ADDRESSES, f"address {address} + {count} exceeds 65536")


def _expect(condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(text)
