"""A Modbus device as tables of points, as pymodbus' server asks for them."""

from __future__ import annotations

from pymodbus.constants import ExcCodes

SIZE = 65536
WRITES = (5, 6, 15, 16, 22, 23)
_TABLES = {
    1: "coils", 2: "discrete", 3: "holding", 4: "inputs", 5: "coils", 6: "holding", 15: "coils", 16: "holding",
    22: "holding", 23: "holding",
}  # fmt: skip


class RegisterDevice:
    """Four tables of ``size`` points each. ``writes`` keeps every write PDU in order of arrival."""

    def __init__(self, *, size: int = SIZE) -> None:
        self.coils = [False] * size
        self.discrete = [False] * size
        self.holding = [0] * size
        self.inputs = [0] * size
        self.requests = 0
        self.writes: list[bytes] = []

    def heard(self, pdu: bytes) -> None:
        """A request has come, and is about to be executed."""
        self.requests += 1
        if pdu[0] in WRITES:
            self.writes.append(pdu)

    def read(self, function: int, address: int, count: int) -> list[int] | list[bool] | ExcCodes:
        """What ``function`` reads, or ILLEGAL_ADDRESS."""
        table: list[int] | list[bool] = getattr(self, _TABLES[function])
        if address + count > len(table):
            return ExcCodes.ILLEGAL_ADDRESS
        return table[address : address + count]

    def write(self, function: int, address: int, values: list[int] | list[bool]) -> ExcCodes | None:
        """Does what ``function`` asks for; ILLEGAL_ADDRESS if the points are not all there."""
        table = getattr(self, _TABLES[function])
        if address + len(values) > len(table):
            return ExcCodes.ILLEGAL_ADDRESS
        table[address : address + len(values)] = values
        return None
