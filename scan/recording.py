"""The recording file: frames of records and checkpoints that survive a torn end.

Theory. The scan pushes change-only records into a ring (``scan._records``); whoever drains the ring wraps runs of them
into frames. A *segment* is one file: a header frame, then any number of checkpoint and record frames. A replay starts
at a checkpoint and re-executes the records behind it. Every frame carries its own checksum and the range of scans
in it, so an index is a walk over frame heads, and a file that ends in the middle of a frame is whole up to there.

Frame head, little-endian, 48 bytes::

    0  magic "TWRF"     4  kind u16          6  version u16         8  payload length u32
    12 CRC-32 of the head without itself, then the payload u32
    16 first scan u64   24 last scan u64    32 first wall ns i64   40 last wall ns i64

Payloads: ``HEADER`` and ``CHECKPOINT`` are msgpack structures, compressed; ``RECORDS`` is the ring's own bytes,
compressed. All sizes are bounded before anything is decompressed.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard

from scan import layout as w
from scan.online_change import Change as Change
from scan.problem import Place, TickworkError, fail

MAGIC = b"TWRF"
VERSION = 1
PAYLOAD_SIZE_MAX = 64 * 1024 * 1024
PLAIN_SIZE_MAX = 512 * 1024 * 1024
_HEAD = struct.Struct("<4sHHIIQQqq")
HEAD_SIZE = _HEAD.size
_CHECKED_FROM = 16
LEVEL = 3

_T = TypeVar("_T")


class FrameKind(enum.IntEnum):
    HEADER = 1
    CHECKPOINT = 2
    RECORDS = 3
    LOSS = 4  # records were dropped here: the run behind it cannot be replayed from before it
    CHANGE = 5  # an online change, in front of the records in which it happens


class SegmentHeader(msgspec.Struct, frozen=True):
    """First frame of a file: whose recording it is."""

    node: str
    boot: str
    target: str  # CPU type that the application was compiled for: only there is a replay bit for bit
    created_ns: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The whole state after scan ``scan`` with no task in execution: where a replay may start."""

    generation: int
    application: str  # digest of the application; its file lies beside the segments
    scan: int
    now_ns: int
    wall_ns: int
    block: bytes
    inputs: bytes  # %I as the scan last took it, before any force
    forces: tuple[bytes, ...] = ()
    digest: str = ""  # hex sha256 of ``block``
    slots: dict[str, int] = {}  # slot of each task, as the records number them
    begin: bool = False  # of a start: the first scan that follows is the first at all


class Loss(msgspec.Struct, frozen=True):
    records: int


@dataclass(frozen=True, slots=True)
class Frame:
    kind: FrameKind
    first_scan: int
    last_scan: int
    first_wall_ns: int
    last_wall_ns: int
    payload: bytes  # as stored

    @property
    def size(self) -> int:
        return HEAD_SIZE + len(self.payload)

    def plain(self) -> bytes:
        """The payload, decompressed. Raises TickworkError SC4002 when it is not what the head promised."""
        try:
            size = zstandard.frame_content_size(self.payload)
            if not 0 <= size <= PLAIN_SIZE_MAX:
                raise fail("SC4002", "a frame of the recording is too large", found=f"{size} bytes")
            return zstandard.ZstdDecompressor().decompress(self.payload, max_output_size=PLAIN_SIZE_MAX)
        except zstandard.ZstdError as error:
            raise fail("SC4002", "a frame of the recording cannot be read", found=str(error)) from error

    def checkpoint(self) -> Checkpoint:
        return _decode(self.plain(), Checkpoint)

    def header(self) -> SegmentHeader:
        return _decode(self.plain(), SegmentHeader)

    def change(self) -> Change:
        return _decode(self.plain(), Change)

    def records(self) -> npt.NDArray[np.int64]:
        """The ring words of this frame, checked to be whole records."""
        return check_records(self.plain())


@dataclass(frozen=True, slots=True)
class Record:
    """One record: ``words`` is all of it, head included."""

    kind: int
    scan: int
    task: int
    now_ns: int
    words: npt.NDArray[np.int64]


def encode_frame(
    kind: FrameKind, payload: bytes, *, scans: tuple[int, int] = (0, 0), wall_ns: tuple[int, int] = (0, 0)
) -> bytes:
    """A frame ready to be appended; ``payload`` is plain."""
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(payload)
    head = _HEAD.pack(MAGIC, kind, VERSION, len(packed), 0, *scans, *wall_ns)
    checksum = zlib.crc32(packed, zlib.crc32(head[_CHECKED_FROM:], zlib.crc32(head[:12])))
    return head[:12] + struct.pack("<I", checksum) + head[_CHECKED_FROM:] + packed


def encode_header(header: SegmentHeader) -> bytes:
    wall = (header.created_ns, header.created_ns)
    return encode_frame(FrameKind.HEADER, msgspec.msgpack.encode(header), wall_ns=wall)


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    return encode_frame(
        FrameKind.CHECKPOINT,
        msgspec.msgpack.encode(checkpoint),
        scans=(checkpoint.scan, checkpoint.scan),
        wall_ns=(checkpoint.wall_ns, checkpoint.wall_ns),
    )


def encode_loss(records: int, *, scan: int, wall_ns: int) -> bytes:
    payload = msgspec.msgpack.encode(Loss(records))
    return encode_frame(FrameKind.LOSS, payload, scans=(scan, scan), wall_ns=(wall_ns, wall_ns))


def encode_change(change: Change) -> bytes:
    return encode_frame(FrameKind.CHANGE, msgspec.msgpack.encode(change))


def encode_records(ring: bytes) -> bytes:
    """A frame of whole records as drained from the ring. Raises TickworkError SC4003 on anything else."""
    words = check_records(ring)
    scans: list[int] = []
    walls: list[int] = []
    for record in iterate_records(words):
        scans.append(record.scan)
        if record.kind == w.RECORD_SCAN:
            walls.append(int(record.words[w.RECORD_HEAD_WORDS]))
    span = (min(scans, default=0), max(scans, default=0))
    wall = (min(walls, default=0), max(walls, default=0))
    return encode_frame(FrameKind.RECORDS, ring, scans=span, wall_ns=wall)


def check_records(data: bytes) -> npt.NDArray[np.int64]:
    """The bytes as words, after walking over every record's length and kind."""
    if len(data) % 8:
        raise fail("SC4003", "records do not end at a word", found=f"{len(data)} bytes")
    words = np.frombuffer(data, np.int64)
    record_positions(words)
    return words


def record_positions(words: npt.NDArray[np.int64]) -> list[int]:
    """Where each record begins. Raises TickworkError SC4003 when one of them is not whole."""
    plain: list[int] = words.tolist()  # plain numbers: a walk over arrays takes five times as long
    positions: list[int] = []
    position, end = 0, len(plain)
    while position < end:
        first = plain[position]
        length = first >> 11
        if not _is_record(plain, position, first, length):
            found = f"kind {first & 0xFF}, {first >> 8} bytes at word {position}"
            raise fail("SC4003", "a record is not whole", found=found)
        positions.append(position)
        position += length
    return positions


def _is_record(words: list[int], position: int, first: int, length: int) -> bool:
    kind, head = first & 0xFF, w.RECORD_HEAD_WORDS
    if not w.RECORD_SCAN <= kind <= w.RECORD_FINISH or first >> 8 & 7 or length < head:
        return False
    if position + length > len(words) or (kind == w.RECORD_FINISH and length <= head):
        return False
    return kind != w.RECORD_SCAN or (
        length >= head + 3 and length == head + 3 + 2 * words[position + head + 2]
    )


def iterate_records(words: npt.NDArray[np.int64]) -> Iterator[Record]:
    """The records of checked words, in the order in which they took effect."""
    position = 0
    while position < len(words):
        first = int(words[position])
        length = (first >> 8) // 8
        part = words[position : position + length]
        yield Record(first & 0xFF, int(part[1]), int(part[2]), int(part[3]), part)
        position += length


def apply_command(block: npt.NDArray[np.uint8], words: npt.NDArray[np.int64]) -> None:
    """What the write or force of a COMMAND record does to the variables before the program runs."""
    row = words[w.RECORD_HEAD_WORDS :].view(w.COMMAND_DTYPE)[0]
    if int(row["kind"]) not in (w.COMMAND_WRITE, w.COMMAND_FORCE):
        return
    data, offset, mask = row["data"].tobytes(), int(row["offset"]), int(row["mask"])
    if mask:
        block[offset] = int(block[offset]) & ~mask & 0xFF | (mask if data[0] else 0)
    else:
        size = int(row["size"])
        block[offset : offset + size] = np.frombuffer(data[:size], np.uint8)


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What a walk over a file found: whole frames, and where the rest is damaged (-1: nowhere)."""

    frames: tuple[Frame, ...]
    damaged_at: int


def read_segment(data: bytes, name: str = "") -> SegmentScan:
    """All whole frames of a file. A torn or damaged end is left out and reported by its position.

    Raises TickworkError SC4001 when the file does not begin as a recording of this version.
    """
    frames: list[Frame] = []
    position = 0
    while position < len(data):
        frame = _frame_at(data, position)
        if frame is None:
            break
        frames.append(frame)
        position += frame.size
    if not frames or frames[0].kind != FrameKind.HEADER:
        raise _no_recording(data, name)
    return SegmentScan(tuple(frames), position if position < len(data) else -1)


def _frame_at(data: bytes, position: int) -> Frame | None:
    if len(data) - position < HEAD_SIZE:
        return None
    magic, kind, version, length, checksum, first, last, wall, wall_end = _HEAD.unpack_from(data, position)
    payload = data[position + HEAD_SIZE : position + HEAD_SIZE + length]
    if magic != MAGIC or version != VERSION or length > PAYLOAD_SIZE_MAX or len(payload) != length:
        return None
    head = data[position : position + HEAD_SIZE]
    if checksum != zlib.crc32(payload, zlib.crc32(head[_CHECKED_FROM:], zlib.crc32(head[:12]))):
        return None
    if kind not in FrameKind._value2member_map_:
        return None
    return Frame(FrameKind(kind), first, last, wall, wall_end, payload)


def _no_recording(data: bytes, name: str) -> TickworkError:
    found = "nothing"
    if data:
        found = "other bytes"
        if data[:4] == MAGIC and len(data) >= 8:
            found = f"version {int.from_bytes(data[6:8], 'little')} or a damaged first frame"
    return fail(
        "SC4001",
        "this is no recording that can be read here",
        place=Place(name),
        expected=f"a recording of version {VERSION}",
        found=found,
        remedy="use a file *.twr of a node's recordings folder, and the version of tickwork that wrote it",
    )


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise fail("SC4002", "a frame of the recording cannot be read", found=str(error)) from error
