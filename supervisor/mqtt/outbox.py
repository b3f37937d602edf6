"""Messages that wait on disk until a receiver has them, in order, bounded by size and age."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec

from runtime.uplink_buffer import Buffer
from scan.problem import TickworkError

PART = 200  # messages that are handed over together
PART_BYTES = 1_000_000
DAY_NS = 86_400 * 10**9


class Message(msgspec.Struct, frozen=True, array_like=True):
    """``channel``: the end of an MQTT topic. ``body``: JSON."""

    channel: str
    body: bytes
    retain: bool = False


class Outbox:
    """``put`` never waits for the receiver; beyond the limits the oldest go and are counted."""

    def __init__(self, folder: Path, *, size_mb: int, days: int) -> None:
        self._buffer = Buffer(folder, size_max=size_mb * 1_000_000, age_ns_max=days * DAY_NS)
        self._folder = folder
        self._news = asyncio.Event()
        self.refused = 0  # messages that the disk did not take
        self._sent = _read_number(folder / "sent")
        self._buffer.commit(self._sent)

    @property
    def pending(self) -> int:
        return self._buffer.pending

    @property
    def lost(self) -> int:
        return self._buffer.lost + self.refused

    def put(self, message: Message) -> None:
        try:
            self._buffer.append(msgspec.msgpack.encode(message), time.time_ns())
        except TickworkError:
            self.refused += 1
            return
        self._news.set()

    async def part(self) -> tuple[list[Message], int]:
        """The oldest messages and the number to give to ``sent``; waits while there is none."""
        while True:
            self._news.clear()
            await asyncio.to_thread(self._buffer.sync)
            records = self._buffer.read(self._buffer.first_seq, count_max=PART, size_max=PART_BYTES)
            if records:
                return [msgspec.msgpack.decode(one.payload, type=Message) for one in records], records[-1].seq
            await self._news.wait()

    def sent(self, number: int) -> None:
        """Kept over restarts, so that what was sent is not sent again but for the last part."""
        self._buffer.commit(number)
        temporary = self._folder / "sent.new"
        temporary.write_text(str(number))
        temporary.replace(self._folder / "sent")

    def close(self) -> None:
        self._buffer.close()


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
