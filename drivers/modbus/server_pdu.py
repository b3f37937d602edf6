"""What the server answers: request PDU in, reply PDU or a change of the process out, without I/O.

Follows the state diagrams of V1.1b3 §6 to the letter: first the function (exception 1), then the quantities and byte
counts (exception 3), then the addresses (exception 2), then the carrying out (exception 4 or 6).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drivers.modbus.pdu import (
    EXCEPTION_FLAG,
    READ_BITS_MAX,
    READ_REGISTERS_MAX,
    READ_WRITE_REGISTERS_MAX,
    WRITE_BITS_MAX,
    WRITE_REGISTERS_MAX,
    ExceptionCode,
    Function,
)
from drivers.modbus.server_map import AddressMap, Plan, Refusal
from scan.abi import Symbol

_PAIR = struct.Struct(">HH")
Block = npt.NDArray[np.uint8]
Allowed = Callable[[str, str, int, int], bool]  # client, table, first address, count
PLANS_MAX = 4096  # different read requests that are kept prepared


class Order(NamedTuple):
    """A write to be carried out before ``reply`` may be sent; ``then_read`` (FC 23) is read after it.

    ``place``: table, first address and count of what is written.
    """

    values: Mapping[Symbol, object]
    reply: bytes
    place: tuple[str, int, int]
    then_read: tuple[int, int] | None = None


class Identity(NamedTuple):
    """Objects 0, 1, 2 (basic) and 4 (regular) of FC 43/14."""

    vendor: str
    product: str
    version: str
    name: str


class Write(NamedTuple):
    """Who wants to write, and what decides."""

    allowed: Allowed
    client: str

    def require(self, table: str, address: int, count: int) -> None:
        _require(self.allowed(self.client, table, address, count), ExceptionCode.ILLEGAL_DATA_ADDRESS)


def exception(function: int, code: int) -> bytes:
    return bytes((function & 0x7F | EXCEPTION_FLAG, code))


class Responder:
    """Answers for one node. ``map`` is exchanged when the program changes."""

    def __init__(self, address_map: AddressMap, identity: Identity) -> None:
        self.map = address_map
        self._identity = identity
        self._plans: dict[bytes, tuple[bytes, Plan]] = {}
        self._handlers: dict[int, Callable[[bytes, Block, Write], bytes | Order]] = {
            Function.READ_COILS: self._read_bits,
            Function.READ_DISCRETE_INPUTS: self._read_bits,
            Function.READ_HOLDING_REGISTERS: self._read_registers,
            Function.READ_INPUT_REGISTERS: self._read_registers,
            Function.WRITE_SINGLE_COIL: self._write_coil,
            Function.WRITE_SINGLE_REGISTER: self._write_register,
            Function.WRITE_MULTIPLE_COILS: self._write_coils,
            Function.WRITE_MULTIPLE_REGISTERS: self._write_registers,
            Function.MASK_WRITE_REGISTER: self._mask_write,
            Function.READ_WRITE_MULTIPLE_REGISTERS: self._read_write,
            Function.ENCAPSULATED_INTERFACE: self._identify,
        }

    def answer(self, pdu: bytes, block: Block, allowed: Allowed, client: str = "") -> bytes | Order:
        """The reply PDU, or the order to carry out first. Never raises on any bytes.

        ``allowed`` decides on writes of ``client``.
        """
        prepared = self._plans.get(pdu)
        if prepared is not None:
            return prepared[0] + prepared[1].read(block)
        handler = self._handlers.get(pdu[0])
        if handler is None:
            return exception(pdu[0], ExceptionCode.ILLEGAL_FUNCTION)
        try:
            return handler(pdu, block, Write(allowed, client))
        except Refusal as refusal:
            return exception(pdu[0], refusal.code)

    def read_after(self, order: Order, block: Block) -> bytes:
        """The reply to FC 23 once its write has taken effect."""
        assert order.then_read is not None
        address, count = order.then_read
        data = self.map.plan_registers("holding-registers", address, count).read(block)
        return bytes((Function.READ_WRITE_MULTIPLE_REGISTERS, len(data))) + data

    # ------------------------------------------------------------ reading

    def _read_bits(self, pdu: bytes, block: Block, _write: Write) -> bytes:
        address, count = _span(pdu, READ_BITS_MAX)
        table = "coils" if pdu[0] == Function.READ_COILS else "discrete-inputs"
        return self._prepare(pdu, (count + 7) // 8, self.map.plan_bits(table, address, count), block)

    def _read_registers(self, pdu: bytes, block: Block, _write: Write) -> bytes:
        address, count = _span(pdu, READ_REGISTERS_MAX)
        table = "holding-registers" if pdu[0] == Function.READ_HOLDING_REGISTERS else "input-registers"
        return self._prepare(pdu, 2 * count, self.map.plan_registers(table, address, count), block)

    def _prepare(self, pdu: bytes, size: int, plan: Plan, block: Block) -> bytes:
        """Keeps the plan: clients ask the same again and again."""
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        head = bytes((pdu[0], size))
        self._plans[pdu] = (head, plan)
        return head + plan.read(block)

    # ------------------------------------------------------------ writing

    def _write_coil(self, pdu: bytes, _block: Block, write: Write) -> Order:
        address, value = _exact(pdu)
        _require(value in (0x0000, 0xFF00), ExceptionCode.ILLEGAL_DATA_VALUE)
        write.require("coils", address, 1)
        return Order(self.map.coils(address, 1, b"\1" if value else b"\0"), pdu, ("coils", address, 1))

    def _write_register(self, pdu: bytes, _block: Block, write: Write) -> Order:
        address, _value = _exact(pdu)
        write.require("holding-registers", address, 1)
        return Order(self.map.registers(address, pdu[3:5]), pdu, ("holding-registers", address, 1))

    def _write_coils(self, pdu: bytes, _block: Block, write: Write) -> Order:
        address, count = _counted(pdu, WRITE_BITS_MAX, bits=True)
        write.require("coils", address, count)
        return Order(self.map.coils(address, count, pdu[6:]), pdu[:5], ("coils", address, count))

    def _write_registers(self, pdu: bytes, _block: Block, write: Write) -> Order:
        address, count = _counted(pdu, WRITE_REGISTERS_MAX, bits=False)
        write.require("holding-registers", address, count)
        place = ("holding-registers", address, count)
        return Order(self.map.registers(address, pdu[6:]), pdu[:5], place)

    def _mask_write(self, pdu: bytes, block: Block, write: Write) -> Order:
        _require(len(pdu) == 7, ExceptionCode.ILLEGAL_DATA_VALUE)
        address, and_mask, or_mask = struct.unpack_from(">HHH", pdu, 1)
        write.require("holding-registers", address, 1)
        current = int.from_bytes(self.map.plan_registers("holding-registers", address, 1).read(block), "big")
        value = current & and_mask | or_mask & ~and_mask & 0xFFFF
        place = ("holding-registers", address, 1)
        return Order(self.map.registers(address, value.to_bytes(2, "big")), pdu, place)

    def _read_write(self, pdu: bytes, block: Block, write: Write) -> Order:
        _require(len(pdu) >= 10, ExceptionCode.ILLEGAL_DATA_VALUE)
        read_address, read_count, address, count, size = struct.unpack_from(">HHHHB", pdu, 1)
        right = (
            1 <= read_count <= READ_REGISTERS_MAX
            and 1 <= count <= READ_WRITE_REGISTERS_MAX
            and size == 2 * count == len(pdu) - 10
        )
        _require(right, ExceptionCode.ILLEGAL_DATA_VALUE)
        write.require("holding-registers", address, count)
        self.map.plan_registers("holding-registers", read_address, read_count)  # legal before the write
        place = ("holding-registers", address, count)
        return Order(self.map.registers(address, pdu[10:]), b"", place, (read_address, read_count))

    # ------------------------------------------------------------ identification

    def _identify(self, pdu: bytes, _block: Block, _write: Write) -> bytes:
        """FC 43/14 (§6.21): stream access to basic (1) and regular (2, 3) objects, or one object (4)."""
        _require(len(pdu) >= 2 and pdu[1] == 14, ExceptionCode.ILLEGAL_FUNCTION)
        _require(len(pdu) == 4 and 1 <= pdu[2] <= 4, ExceptionCode.ILLEGAL_DATA_VALUE)
        code, first = pdu[2], pdu[3]
        objects = {0: self._identity.vendor, 1: self._identity.product, 2: self._identity.version}
        if code != 1:
            objects[4] = self._identity.name
        if code == 4:
            _require(first in objects, ExceptionCode.ILLEGAL_DATA_ADDRESS)
            objects = {first: objects[first]}
        elif first in objects:
            objects = {number: text for number, text in objects.items() if number >= first}
        encoded = [(number, text.encode("ascii", "replace")[:60]) for number, text in objects.items()]
        body = b"".join(bytes((number, len(text))) + text for number, text in encoded)
        return bytes((43, 14, code, 0x82, 0, 0, len(encoded))) + body


def _span(pdu: bytes, count_max: int) -> tuple[int, int]:
    address, count = _exact(pdu)
    _require(1 <= count <= count_max, ExceptionCode.ILLEGAL_DATA_VALUE)
    return address, count


def _exact(pdu: bytes) -> tuple[int, int]:
    _require(len(pdu) == 5, ExceptionCode.ILLEGAL_DATA_VALUE)
    first, second = _PAIR.unpack_from(pdu, 1)
    return first, second


def _counted(pdu: bytes, count_max: int, *, bits: bool) -> tuple[int, int]:
    _require(len(pdu) >= 6, ExceptionCode.ILLEGAL_DATA_VALUE)
    address, count = _PAIR.unpack_from(pdu, 1)
    size = (count + 7) // 8 if bits else 2 * count
    _require(1 <= count <= count_max and pdu[5] == size == len(pdu) - 6, ExceptionCode.ILLEGAL_DATA_VALUE)
    return address, count


def _require(condition: bool, code: int) -> None:
    if not condition:
        raise Refusal(code)
