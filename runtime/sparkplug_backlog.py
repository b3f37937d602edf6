"""History of a Sparkplug edge node that waits on disk until a host is there."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence

import msgspec

from drivers.mqtt.sparkplug_edge import Past
from runtime.uplink_buffer import Buffer

HISTORY_DAYS = 30
RECORDS = 64
BYTES = 4_000_000


class DiskBacklog:
    """Changes that nobody heard of, on disk until they are sent. Rows of one turn are one record."""

    def __init__(self, folder: pathlib.Path, size_mb: int) -> None:
        self.buffer = Buffer(folder, size_max=size_mb * 1_000_000, age_ns_max=HISTORY_DAYS * 86_400 * 10**9)
        self._peeked: list[tuple[int, int]] = []  # (seq, rows)

    def __len__(self) -> int:
        return self.buffer.pending

    def append(self, past: Sequence[Past]) -> None:
        if past:
            self.buffer.append(msgspec.msgpack.encode(list(past)), time.time_ns())

    def peek(self, count: int) -> list[Past]:
        self.buffer.sync()
        found: list[Past] = []
        self._peeked = []
        for record in self.buffer.read(self.buffer.first_seq, count_max=RECORDS, size_max=BYTES):
            rows = msgspec.msgpack.decode(record.payload, type=list[Past])
            if found and len(found) + len(rows) > count:
                break
            found += rows
            self._peeked.append((record.seq, len(rows)))
        return found

    def drop(self, count: int) -> None:
        """Whole records only: what ``peek`` gave."""
        for seq, rows in self._peeked:
            count -= rows
            if count >= 0:
                self.buffer.commit(seq)
        self._peeked = []
