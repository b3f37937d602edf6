"""The recording file: whole frames come back, a torn end is left out, other bytes are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scan import layout as w
from scan import recording as r
from scan.problem import TickworkError

HEADER = r.encode_header(r.SegmentHeader("water", "boot", "x86", 5))


def scan_record(scan: int, wall_ns: int, *changes: tuple[int, int]) -> bytes:
    words = [0, scan, 0, scan * 1000, wall_ns, 0, len(changes), *(item for pair in changes for item in pair)]
    words[0] = len(words) * 8 << 8 | w.RECORD_SCAN
    return np.array(words, np.int64).tobytes()


def segment() -> bytes:
    block = bytes(range(64))
    checkpoint = r.Checkpoint(1, "abc", 10, 10_000, 77, block, b"", ())
    run = b"".join(scan_record(scan, 100 + scan, (0, scan)) for scan in range(11, 15))
    return HEADER + r.encode_checkpoint(checkpoint) + r.encode_records(run)


def test_segment_when_read_then_frames_come_back_whole() -> None:
    found = r.read_segment(segment())
    assert found.damaged_at == -1
    header, checkpoint, records = found.frames
    assert header.header().node == "water"
    assert checkpoint.checkpoint().block == bytes(range(64))
    assert (records.first_scan, records.last_scan) == (11, 14)
    assert (records.first_wall_ns, records.last_wall_ns) == (111, 114)
    assert [record.scan for record in r.iterate_records(records.records())] == [11, 12, 13, 14]


def test_segment_when_cut_at_any_byte_then_whole_frames_are_kept_and_the_rest_is_reported() -> None:
    data = segment()
    sizes = [frame.size for frame in r.read_segment(data).frames]
    for cut in range(sizes[0], len(data)):
        found = r.read_segment(data[:cut])
        whole = sum(1 for count in range(1, 4) if sum(sizes[:count]) <= cut)
        assert len(found.frames) == whole
        assert (found.damaged_at == -1) == (cut == sum(sizes[:whole]))


@settings(max_examples=300)
@given(st.integers(min_value=0), st.integers(1, 255))
def test_segment_when_a_byte_is_changed_then_no_changed_frame_is_taken_for_good(
    position: int, flip: int
) -> None:
    data = bytearray(segment())
    position %= len(data)
    data[position] ^= flip
    try:
        found = r.read_segment(bytes(data))
    except TickworkError as error:
        assert error.code == "SC4001"
        return
    original = r.read_segment(segment()).frames
    assert found.damaged_at >= 0
    assert all(frame in original for frame in found.frames)


@given(st.binary(max_size=300))
def test_segment_when_any_bytes_then_is_refused_with_a_code(data: bytes) -> None:
    with pytest.raises(TickworkError) as caught:
        r.read_segment(data)
    assert caught.value.code == "SC4001"


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_records_when_words_are_arbitrary_then_are_whole_or_refused(words: list[int]) -> None:
    data = np.array(words, np.int64).tobytes()
    try:
        checked = r.check_records(data)
    except TickworkError as error:
        assert error.code == "SC4003"
        return
    assert sum(len(record.words) for record in r.iterate_records(checked)) == len(words)


def test_frame_when_it_unpacks_to_too_much_then_is_refused() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(r.PLAIN_SIZE_MAX + 1))
    with pytest.raises(TickworkError) as caught:
        r.Frame(r.FrameKind.RECORDS, 0, 0, 0, 0, bomb).plain()
    assert caught.value.code == "SC4002"
