"""Store and forward: durable messages wait on disk until the supervisor has committed them.

Theory. Messages are numbered 1, 2, 3 … within a *boot* (the life of this buffer) and appended to segment files
``<first seq>.seg``. A record is header and payload; the header carries a CRC over itself and the payload.
A crash or power cut can only tear the tail of the newest segment, so opening cuts that file at its first bad record.

Invariants.
* A message is sent only after ``sync``: the other side can never have committed a number that is not on this disk.
  Otherwise a power cut would give the number to another message, which the supervisor would ignore as a repetition.
* A segment is deleted when the supervisor has committed all of it, or when the buffer exceeds its size or age;
  the latter is counted in ``lost``. The newest segment always stays: its name carries the next number.
* Nothing here reads a clock or knows the link: times come with the messages.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import secrets
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.state import sync_folder, write_atomically
from scan.problem import Place, fail

RECORD_SIZE_MAX = 16 * 1024 * 1024  # as a frame of the link
SEGMENT_SIZE = 4 * 1024 * 1024  # the unit of deletion
_HEADER = struct.Struct("<IIQq")  # payload size, crc32 of the rest of the record, seq, UTC ns
_HEADER_CRC_FROM = 8


@dataclass(frozen=True, slots=True)
class Record:
    seq: int
    time_ns: int
    payload: bytes


@dataclass(slots=True)
class _Segment:
    path: pathlib.Path
    first: int
    last: int  # first - 1 while empty
    size: int
    oldest_ns: int
    newest_ns: int


class Buffer:
    """The messages of a node that its supervisor has not committed yet."""

    def __init__(self, folder: pathlib.Path, *, size_max: int, age_ns_max: int) -> None:
        self._folder = folder
        self._size_max = size_max
        self._age_ns_max = age_ns_max
        self._segment_size = min(SEGMENT_SIZE, max(size_max // 8, 4096))
        self._segments: list[_Segment] = []
        self._handle = -1
        self._file_lock = threading.Lock()  # ``sync`` may run in a thread while messages are appended
        self._synced = 0
        self._cursor = (0, 0, 0)  # (first seq of the segment, seq, offset) where the next read continues
        self.boot = ""
        self.committed = 0
        self.lost = 0  # messages dropped or damaged before they were committed, since opening
        self._open()

    # ---------------------------------------------------------------- what the owner sees

    @property
    def next_seq(self) -> int:
        return self._segments[-1].last + 1

    @property
    def first_seq(self) -> int:
        """The oldest message that is still wanted; ``next_seq`` when there is none."""
        return max(self._segments[0].first, self.committed + 1)

    @property
    def pending(self) -> int:
        """How many messages wait to be committed."""
        return max(self.next_seq - self.first_seq, 0)

    @property
    def synced_seq(self) -> int:
        """The newest message that is surely on the disk."""
        return self._synced

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def append(self, payload: bytes, time_ns: int) -> int:
        """Stores a message and returns its seq. Raises LK2003 when the disk refuses it."""
        if len(payload) > RECORD_SIZE_MAX:
            raise fail("LK1002", f"a message of {len(payload)} bytes is too large for the link")
        if self._is_full(self._segments[-1], time_ns):
            self._roll(self.next_seq)
        segment = self._segments[-1]
        seq = segment.last + 1
        record = encode_record(seq, time_ns, payload)
        try:
            _write(self._handle, record)
        except OSError as error:
            os.ftruncate(self._handle, segment.size)
            raise fail(
                "LK2003", "the buffer of the link cannot be written", place=Place(str(segment.path)),
                found=error.strerror or str(error), remedy="make room on the disk of the state directory",
            ) from error  # fmt: skip
        segment.last, segment.size, segment.newest_ns = seq, segment.size + len(record), time_ns
        segment.oldest_ns = segment.oldest_ns or time_ns
        self._bound(time_ns)
        return seq

    def sync(self) -> int:
        """Brings everything appended so far to the disk; returns ``synced_seq``. May take milliseconds."""
        with self._file_lock:
            seq = self._segments[-1].last
            if seq > self._synced:
                os.fdatasync(self._handle)
                self._synced = seq
        return self._synced

    def commit(self, seq: int) -> None:
        """The supervisor has everything up to ``seq``: forget it."""
        self.committed = max(self.committed, min(seq, self._segments[-1].last))
        while len(self._segments) > 1 and self._segments[0].last <= self.committed:
            self._delete_oldest()
        newest = self._segments[-1]
        if newest.last == self.committed and newest.size >= self._segment_size // 4:
            self._roll(self.next_seq)
            self._delete_oldest()

    def read(self, seq: int, *, count_max: int, size_max: int) -> list[Record]:
        """Synced messages from ``seq`` on, at least one if there is one, bounded by count and size."""
        found: list[Record] = []
        size = 0
        for record in self._from(max(seq, self.first_seq)):
            if record.seq > self._synced or len(found) >= count_max or (found and size >= size_max):
                break
            found.append(record)
            size += len(record.payload)
        return found

    def close(self) -> None:
        if self._handle >= 0:
            self.sync()
            os.close(self._handle)
            self._handle = -1

    # ---------------------------------------------------------------- inside

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        boot_file = self._folder / "boot"
        self.boot = boot_file.read_text("ascii", "replace").strip() if boot_file.exists() else ""
        paths = sorted(path for path in self._folder.glob("*.seg") if path.stem.isdigit())
        if len(self.boot) != 32 or not paths:  # what lies there without its boot cannot be numbered any more
            for path in paths:
                path.unlink()
            self.boot, paths = secrets.token_hex(16), []
            write_atomically(boot_file, self.boot.encode())
        for path in paths:
            self._segments.append(self._examine(path, newest=path is paths[-1]))
        for one, following in itertools.pairwise(self._segments):
            self.lost += max(following.first - one.last - 1, 0)  # damaged on the disk
        if self._segments:
            self._handle = os.open(self._segments[-1].path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        else:
            self._roll(1)
        os.fdatasync(self._handle)
        self._synced = self._segments[-1].last

    def _examine(self, path: pathlib.Path, *, newest: bool) -> _Segment:
        segment = _Segment(path, int(path.stem), int(path.stem) - 1, 0, 0, 0)
        for record, end in _scan(path.read_bytes(), segment.first):
            segment.last, segment.size, segment.newest_ns = record.seq, end, record.time_ns
            segment.oldest_ns = segment.oldest_ns or record.time_ns
        if newest and path.stat().st_size > segment.size:
            os.truncate(path, segment.size)
        return segment

    def _roll(self, first: int) -> None:
        with self._file_lock:
            if self._handle >= 0:
                os.fdatasync(self._handle)
                os.close(self._handle)
                self._synced = first - 1
            path = self._folder / f"{first:020d}.seg"
            self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_folder(self._folder)
            self._segments.append(_Segment(path, first, first - 1, 0, 0, 0))

    def _is_full(self, segment: _Segment, now_ns: int) -> bool:
        """By size, or by age so that a quiet node's old messages can be dropped too."""
        aged = segment.size > 0 and now_ns - segment.oldest_ns > self._age_ns_max // 8
        return aged or segment.size >= self._segment_size

    def _delete_oldest(self) -> None:
        self._segments.pop(0).path.unlink(missing_ok=True)

    def _bound(self, now_ns: int) -> None:
        while len(self._segments) > 1 and (
            self.size > self._size_max or now_ns - self._segments[0].newest_ns > self._age_ns_max
        ):
            oldest = self._segments[0]
            self.lost += max(oldest.last - max(oldest.first - 1, self.committed), 0)
            self._delete_oldest()

    def _from(self, seq: int) -> Iterator[Record]:
        """Records from ``seq`` on, in order. Reading on where the last read ended costs no search."""
        for segment in tuple(self._segments):
            if segment.last < seq:
                continue
            start_seq, offset = segment.first, 0
            if self._cursor[0] == segment.first and self._cursor[1] <= seq:
                _, start_seq, offset = self._cursor
            with segment.path.open("rb") as file:
                file.seek(offset)
                for record, end in _scan(file.read(segment.size - offset), start_seq):
                    if record.seq >= seq:
                        yield record
                    self._cursor = (segment.first, record.seq + 1, offset + end)


def encode_record(seq: int, time_ns: int, payload: bytes) -> bytes:
    head = _HEADER.pack(len(payload), 0, seq, time_ns)
    crc = zlib.crc32(payload, zlib.crc32(head[_HEADER_CRC_FROM:], len(payload)))
    return _HEADER.pack(len(payload), crc, seq, time_ns) + payload


def _scan(data: bytes, seq: int) -> Iterator[tuple[Record, int]]:
    """Whole, intact records numbered from ``seq``, each with the offset of its end; stops at the first other byte."""
    at = 0
    while at + _HEADER.size <= len(data):
        size, crc, found, time_ns = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + size
        if found != seq or size > RECORD_SIZE_MAX or end > len(data):
            return
        body = memoryview(data)[at + _HEADER_CRC_FROM : end]
        if zlib.crc32(body[_HEADER.size - _HEADER_CRC_FROM :], zlib.crc32(body[:16], size)) != crc:
            return
        yield Record(seq, time_ns, data[at + _HEADER.size : end]), end
        at, seq = end, seq + 1


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
