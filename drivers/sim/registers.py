"""A Modbus device as a table of points: request PDU in, reply PDU out.

Written apart from ``drivers.modbus`` on purpose, so that a mistake there is not answered by the same mistake here.
"""

from __future__ import annotations

import struct

SIZE = 65536
_BITS = {1: "coils", 2: "discrete"}
_WORDS = {3: "holding", 4: "inputs"}


class RegisterDevice:
    """Four tables of ``size`` points each. ``writes`` keeps every write PDU in order of arrival."""

    def __init__(self, *, size: int = SIZE) -> None:
        self.coils = [False] * size
        self.discrete = [False] * size
        self.holding = [0] * size
        self.inputs = [0] * size
        self.requests = 0
        self.writes: list[bytes] = []

    def answer(self, pdu: bytes) -> bytes:
        """The reply PDU; an exception reply for what the device does not have."""
        self.requests += 1
        function = pdu[0]
        try:
            if function in _BITS:
                return self._read_bits(function, *struct.unpack(">HH", pdu[1:5]))
            if function in _WORDS:
                return self._read_words(function, *struct.unpack(">HH", pdu[1:5]))
            if function == 23:
                self.writes.append(pdu)
                self._write(16, b"\x10" + pdu[5:])
                words = self._read_words(3, *struct.unpack(">HH", pdu[1:5]))
                return bytes((function,)) + words[1:]
            if function in (5, 6, 15, 16, 22):
                self.writes.append(pdu)
                return self._write(function, pdu)
        except (struct.error, IndexError):
            return bytes((function | 0x80, 3))
        except LookupError:
            return bytes((function | 0x80, 2))
        return bytes((function | 0x80, 1))

    def _read_bits(self, function: int, address: int, count: int) -> bytes:
        table = getattr(self, _BITS[function])
        self._inside(table, address, count)
        packed = sum(bit << i for i, bit in enumerate(table[address : address + count]))
        body = packed.to_bytes((count + 7) // 8, "little")
        return bytes((function, len(body))) + body

    def _read_words(self, function: int, address: int, count: int) -> bytes:
        table = getattr(self, _WORDS[function])
        self._inside(table, address, count)
        return struct.pack(f">BB{count}H", function, 2 * count, *table[address : address + count])

    def _write(self, function: int, pdu: bytes) -> bytes:
        address, value = struct.unpack(">HH", pdu[1:5])
        if function == 5:
            self._inside(self.coils, address, 1)
            self.coils[address] = value == 0xFF00
            return pdu
        if function == 6:
            self._inside(self.holding, address, 1)
            self.holding[address] = value
            return pdu
        if function == 22:
            (or_mask,) = struct.unpack(">H", pdu[5:7])
            self._inside(self.holding, address, 1)
            self.holding[address] = self.holding[address] & value | or_mask & ~value & 0xFFFF
            return pdu
        if function == 15:
            self._inside(self.coils, address, value)
            bits = int.from_bytes(pdu[6:], "little")
            self.coils[address : address + value] = [bool(bits >> i & 1) for i in range(value)]
        else:
            self._inside(self.holding, address, value)
            self.holding[address : address + value] = struct.unpack(f">{value}H", pdu[6 : 6 + 2 * value])
        return pdu[:5]

    @staticmethod
    def _inside(table: list[bool] | list[int], address: int, count: int) -> None:
        if not 1 <= count <= 2000 or address + count > len(table):
            raise LookupError
