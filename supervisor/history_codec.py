"""Bytes of stored samples: columns of one tag (a chunk) or of many (a journal row), compressed by pcodec.

Layout of both: ``HEAD`` (format, columns, samples, bytes of each column), then the columns. A column is a pcodec
standalone file, lossless; the quality column of a chunk is left out when every sample is good. Measured on the
reference mix of bench/supervisor.py at 1,024 samples: about one byte a sample for time, value and quality together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, standalone

from scan.problem import fail

FORMAT_CHUNK = 1
FORMAT_JOURNAL = 2
SAMPLES_MAX = 1 << 24  # of one blob: bounds what a damaged head can make us allocate
_HEAD = struct.Struct("<BxHIIIII")  # format, reserved, samples, bytes of series, times, values, quality
_CHUNK_LEVEL = ChunkConfig(compression_level=4)
_JOURNAL_LEVEL = ChunkConfig(compression_level=2)
# Times grow: naming the first difference spares the search for the best one, half of the time at the same size.
_CHUNK_TIMES = ChunkConfig(compression_level=4, delta_spec=DeltaSpec.try_consecutive(1))
_JOURNAL_TIMES = ChunkConfig(compression_level=2, delta_spec=DeltaSpec.try_consecutive(1))

Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Qualities = npt.NDArray[np.uint16]
SeriesNumbers = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Columns:
    """Samples of one tag: times UTC ns, values, OPC UA quality; equal lengths."""

    times: Times
    values: Values
    quality: Qualities

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, stop: int) -> Columns:
        return Columns(self.times[start:stop], self.values[start:stop], self.quality[start:stop])


def no_samples() -> Columns:
    return Columns(np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint16))


def join(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return Columns(
        np.concatenate([p.times for p in parts] or [np.empty(0, np.int64)]),
        np.concatenate([p.values for p in parts] or [np.empty(0, np.float64)]),
        np.concatenate([p.quality for p in parts] or [np.empty(0, np.uint16)]),
    )


def in_time_order(columns: Columns) -> Columns:
    """Sorted by time; of samples with the same time the one that came last stays (a resent correction wins)."""
    times = columns.times
    if len(times) < 2 or bool(np.all(times[1:] > times[:-1])):
        return columns
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    order = order[np.append(ordered[1:] != ordered[:-1], True)]
    return Columns(times[order], columns.values[order], columns.quality[order])


def encode_chunk(columns: Columns) -> bytes:
    times = standalone.simple_compress(np.ascontiguousarray(columns.times), _CHUNK_TIMES)
    values = standalone.simple_compress(np.ascontiguousarray(columns.values), _CHUNK_LEVEL)
    quality = b""
    if columns.quality.any():
        quality = standalone.simple_compress(np.ascontiguousarray(columns.quality), _CHUNK_LEVEL)
    head = _HEAD.pack(FORMAT_CHUNK, 0, len(columns), 0, len(times), len(values), len(quality))
    return b"".join((head, times, values, quality))


def decode_chunk(blob: bytes) -> Columns:
    """Raises TickworkError SV2002 on bytes that are no chunk."""
    return decode_chunks([blob])


def decode_chunks(blobs: list[bytes]) -> Columns:
    """Several chunks behind one another, decoded in place: what a trend over many of them needs."""
    heads = [_head(blob, FORMAT_CHUNK) for blob in blobs]
    total = sum(count for count, _ in heads)
    columns = Columns(np.empty(total, np.int64), np.empty(total), np.zeros(total, np.uint16))
    start = 0
    for blob, (count, (_, times, values, quality)) in zip(blobs, heads, strict=True):
        stop, at = start + count, _HEAD.size
        _fill(columns.times[start:stop], blob[at : at + times])
        _fill(columns.values[start:stop], blob[at + times : at + times + values])
        if quality:
            _fill(columns.quality[start:stop], blob[at + times + values :])
        start = stop
    return columns


def encode_journal(series: SeriesNumbers, columns: Columns) -> bytes:
    parts = [
        standalone.simple_compress(np.ascontiguousarray(column), level)
        for column, level in (
            (series, _JOURNAL_LEVEL),
            (columns.times, _JOURNAL_TIMES),
            (columns.values, _JOURNAL_LEVEL),
            (columns.quality, _JOURNAL_LEVEL),
        )
    ]
    head = _HEAD.pack(FORMAT_JOURNAL, 0, len(columns), *(len(part) for part in parts))
    return b"".join((head, *parts))


def decode_journal(blob: bytes) -> tuple[SeriesNumbers, Columns]:
    """Raises TickworkError SV2002 on bytes that are no journal row."""
    count, sizes = _head(blob, FORMAT_JOURNAL)
    series = np.empty(count, np.uint32)
    columns = Columns(np.empty(count, np.int64), np.empty(count), np.empty(count, np.uint16))
    offset = _HEAD.size
    parts: tuple[npt.NDArray[Any], ...] = (series, columns.times, columns.values, columns.quality)
    for size, column in zip(sizes, parts, strict=True):
        _fill(column, blob[offset : offset + size])
        offset += size
    return series, columns


def _head(blob: bytes, form: int) -> tuple[int, list[int]]:
    """Samples and the size of each column."""
    try:
        kind, _, count, *sizes = _HEAD.unpack_from(blob)
    except struct.error as error:
        raise _unreadable(f"{len(blob)} bytes are too few") from error
    if kind != form or count > SAMPLES_MAX or _HEAD.size + sum(sizes) != len(blob):
        raise _unreadable(f"format {kind}, {count} samples, {len(blob)} bytes")
    return count, sizes


def _fill(column: npt.NDArray[Any], data: bytes) -> None:
    try:
        progress = standalone.simple_decompress_into(data, column)
    except (RuntimeError, TypeError, ValueError) as error:
        raise _unreadable(str(error)) from error
    if progress.n_processed != len(column):
        raise _unreadable(f"{progress.n_processed} of {len(column)} samples in a column")


def _unreadable(found: str) -> Exception:
    return fail(
        "SV2002",
        "stored samples cannot be read",
        expected="a chunk or journal row of this version",
        found=found,
        remedy="restore the history file from a backup; the other tags and times remain readable",
    )
