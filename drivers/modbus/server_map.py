"""Which bytes of the state block stand behind which Modbus address.

Theory. Every register is a pair of block bytes, high byte first; every bit is a byte and a mask. So a table is an index
array, a read is one indexed copy of the snapshot, and any byte and word order is in the index, not in the code.

The profile "openplc" lays %QX, %IX, %IW, %QW, %MW, %MD and %ML out as OpenPLC does (docs/modbus.md). Addresses of the
profile beyond what the program uses read as 0 and cannot be written; all others are illegal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from drivers.modbus.pdu import ADDRESSES
from drivers.modbus.points import byte_order
from drivers.modbus.server_config import MapEntry, ModbusServerSection
from scan.abi import Application, IecType, Region, Symbol
from scan.problem import Problem

ILLEGAL = -2
ZERO = -1
BIT_TABLES = ("coils", "discrete-inputs")
REGISTER_TABLES = ("holding-registers", "input-registers")
PROFILE_BITS = 8192
WORDS = 1024  # of each kind in the profile
UNMAPPABLE = (IecType.STRING, IecType.WSTRING, IecType.REF)


class Refusal(Exception):  # noqa: N818 - an answer of the protocol, not an error of ours
    """A request is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Plan(NamedTuple):
    """A read, prepared: which bytes of the block go on the wire. ``holes``: those that read as 0."""

    places: npt.NDArray[np.intp]
    shifts: npt.NDArray[np.uint8] | None  # bits only
    holes: npt.NDArray[np.intp] | None

    def read(self, block: npt.NDArray[np.uint8]) -> bytes:
        """Registers as on the wire, or packed bits with the first in bit 0."""
        values = block[self.places]
        if self.shifts is not None:
            values >>= self.shifts
            values &= 1
        if self.holes is not None:
            values[self.holes] = 0
        return values.tobytes() if self.shifts is None else np.packbits(values, bitorder="little").tobytes()


def _holes(index: npt.NDArray[np.int32]) -> npt.NDArray[np.intp] | None:
    found = np.flatnonzero(index < 0)
    return found if len(found) else None


class AddressMap:
    """The map for one application; made anew when the program changes. ``problems``: entries that do not fit it."""

    def __init__(self, section: ModbusServerSection, application: Application | None) -> None:
        self.problems: list[Problem] = []
        self._bits = {name: np.full(ADDRESSES, ILLEGAL, np.int32) for name in BIT_TABLES}
        self._shifts = {name: np.zeros(ADDRESSES, np.uint8) for name in BIT_TABLES}
        self._bytes = {name: np.full(2 * ADDRESSES, ILLEGAL, np.int32) for name in REGISTER_TABLES}
        self._variables: dict[tuple[str, int], Symbol] = {}
        if application is None:
            return
        if section.profile == "openplc":
            self._lay_openplc(application, high_first=section.word_order == "high-first")
        symbols = {symbol.path.upper(): symbol for symbol in application.symbols}
        for entry in section.entries:
            self._lay_variable(entry, symbols.get(entry.variable.upper()))

    # ------------------------------------------------------------ reading

    def plan_bits(self, table: str, address: int, count: int) -> Plan:
        """How to read ``count`` bits. Raises Refusal(2)."""
        index = self._bits[table][address : address + count]
        if len(index) < count or index.min() == ILLEGAL:
            raise Refusal(2)
        return Plan(index.astype(np.intp), self._shifts[table][address : address + count], _holes(index))

    def plan_registers(self, table: str, address: int, count: int) -> Plan:
        """How to read ``count`` registers. Raises Refusal(2)."""
        index = self._bytes[table][2 * address : 2 * (address + count)]
        if len(index) < 2 * count or index.min() == ILLEGAL:
            raise Refusal(2)
        return Plan(index.astype(np.intp), None, _holes(index))

    # ------------------------------------------------------------ writing

    def coils(self, address: int, count: int, packed: bytes) -> dict[Symbol, object]:
        """Values by symbol for ``count`` coils. Raises Refusal(2) where there is nothing to write."""
        index = self._bits["coils"][address : address + count]
        if len(index) < count or index.min() < 0:
            raise Refusal(2)
        values: dict[Symbol, object] = {}
        for at in range(count):
            on = bool(packed[at >> 3] >> (at & 7) & 1)
            symbol = self._variables.get(("coils", address + at))
            if symbol is not None and symbol.access != "rw":
                raise Refusal(2)
            if symbol is None:
                offset, bit = int(index[at]), int(self._shifts["coils"][address + at])
                symbol = Symbol(f"%QX@{offset}.{bit}", IecType.BOOL, offset, 1, bit=bit, access="rw")
            values[symbol] = on
        return values

    def registers(self, address: int, data: bytes) -> dict[Symbol, object]:
        """Values by symbol for registers from ``address`` on; neighbouring bytes of the block become one place."""
        index = self._bytes["holding-registers"][2 * address : 2 * address + len(data)]
        if len(index) < len(data) or index.min() < 0:
            raise Refusal(2)
        for place in range(address, address + len(data) // 2):
            symbol = self._variables.get(("holding-registers", place))
            if symbol is not None and symbol.access != "rw":
                raise Refusal(2)
        order = np.argsort(index, kind="stable")
        offsets = index[order]
        values = np.frombuffer(data, np.uint8)[order]
        breaks = np.flatnonzero(np.diff(offsets) != 1) + 1
        found: dict[Symbol, object] = {}
        for run, content in zip(np.split(offsets, breaks), np.split(values, breaks), strict=True):
            found[_place(int(run[0]), len(run))] = content.tolist() if len(run) > 1 else int(content[0])
        return found

    # ------------------------------------------------------------ laying out

    def _lay_openplc(self, application: Application, *, high_first: bool) -> None:
        self._lay_bits("coils", application.outputs)
        self._lay_bits("discrete-inputs", application.inputs)
        self._lay_words("input-registers", 0, application.inputs, registers=1, high_first=True)
        self._lay_words("holding-registers", 0, application.outputs, registers=1, high_first=True)
        at = WORDS
        for registers in (1, 2, 4):  # %MW, %MD, %ML
            self._lay_words(
                "holding-registers", at, application.markers, registers=registers, high_first=high_first
            )
            at += WORDS * registers

    def _lay_bits(self, table: str, region: Region) -> None:
        number = np.arange(PROFILE_BITS)
        inside = number // 8 < region.size
        self._bits[table][:PROFILE_BITS] = np.where(inside, region.offset + number // 8, ZERO)
        self._shifts[table][:PROFILE_BITS] = number % 8

    def _lay_words(
        self, table: str, address: int, region: Region, *, registers: int, high_first: bool
    ) -> None:
        """``WORDS`` values of ``registers`` registers each, from ``address`` on."""
        size = 2 * registers
        places = np.empty(size, np.int64)
        for significance, place in enumerate(
            byte_order("ABCD" if high_first else "CDAB", registers=registers)
        ):
            places[place] = significance  # which byte of the little-endian value stands there
        number = (np.arange(WORDS)[:, None] * size + places[None, :]).reshape(-1)
        inside = number // size * size + size <= region.size
        target = self._bytes[table][2 * address : 2 * address + size * WORDS]
        target[:] = np.where(inside, region.offset + number, ZERO)

    def _lay_variable(self, entry: MapEntry, symbol: Symbol | None) -> None:
        if symbol is None or symbol.dims or symbol.type in UNMAPPABLE or symbol.access == "none":
            self._refuse(
                entry, "the program has no such variable of an elementary type", found=entry.variable
            )
        elif entry.table in BIT_TABLES:
            if symbol.type is not IecType.BOOL:
                self._refuse(entry, f"{symbol.path} is no BOOL", found=symbol.type.name)
                return
            self._bits[entry.table][entry.address] = symbol.offset
            self._shifts[entry.table][entry.address] = max(symbol.bit, 0)
            self._variables[entry.table, entry.address] = symbol
        elif symbol.size == 1:
            self._refuse(entry, f"{symbol.path} is narrower than a register", found=symbol.type.name)
        else:
            self._lay_number(entry, symbol)

    def _lay_number(self, entry: MapEntry, symbol: Symbol) -> None:
        registers = symbol.size // 2
        if entry.address + registers > ADDRESSES:
            self._refuse(entry, f"{symbol.path} goes beyond address 65535", found=str(entry.address))
            return
        table = self._bytes[entry.table]
        for significance, place in enumerate(byte_order(entry.order, registers=registers)):
            table[2 * entry.address + place] = symbol.offset + significance
        for register in range(registers):
            self._variables[entry.table, entry.address + register] = symbol

    def _refuse(self, entry: MapEntry, message: str, *, found: str) -> None:
        self.problems.append(
            Problem(
                "DV4002",
                f"{entry.table} {entry.address} of the Modbus server: {message}",
                found=found,
                remedy="correct the [[modbus-server.map]] entry; until then the address is illegal",
                severity="warning",
            )
        )


def _place(offset: int, size: int) -> Symbol:
    """A stretch of the block, as the command lane takes it."""
    if size == 1:
        return Symbol(f"%B@{offset}", IecType.BYTE, offset, 1, access="rw")
    bounds = ((0, size - 1),)
    return Symbol(f"%B@{offset}", IecType.BYTE, offset, size, dims=bounds, access="rw")
