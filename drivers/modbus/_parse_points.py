from __future__ import annotations

from drivers._table import Table
from drivers.modbus.config import ReadBlock
from scan.iomap import Channel


def scan_groups(table: Table, device: str, inputs: list[Channel]) -> list[ReadBlock]:
    return []
