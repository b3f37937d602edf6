"""Store and forward: nothing that was synced is lost or renumbered, whatever is cut where."""

import pathlib
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.uplink_buffer import Buffer, encode_record
from scan.problem import TickworkError

DAY_NS = 86_400 * 10**9


def opened(folder: pathlib.Path, *, size_max: int = 10**7, age_ns_max: int = DAY_NS) -> Buffer:
    return Buffer(folder, size_max=size_max, age_ns_max=age_ns_max)


def contents(buffer: Buffer) -> list[tuple[int, bytes]]:
    buffer.sync()
    return [(one.seq, one.payload) for one in buffer.read(1, count_max=10**6, size_max=10**9)]


def test_append_when_opened_again_then_numbers_and_contents_go_on(tmp_path: pathlib.Path) -> None:
    first = opened(tmp_path)
    for number in range(1, 6):
        assert first.append(b"m%d" % number, number) == number
    first.close()
    again = opened(tmp_path)
    assert again.boot == first.boot
    assert contents(again) == [(number, b"m%d" % number) for number in range(1, 6)]
    assert again.append(b"m6", 6) == 6
    again.close()


def test_read_when_not_synced_then_nothing_is_handed_out(tmp_path: pathlib.Path) -> None:
    buffer = opened(tmp_path)
    buffer.append(b"x", 1)
    assert buffer.read(1, count_max=10, size_max=100) == []
    buffer.sync()
    assert [one.seq for one in buffer.read(1, count_max=10, size_max=100)] == [1]
    buffer.close()


def test_commit_when_all_is_committed_then_the_next_number_survives(tmp_path: pathlib.Path) -> None:
    buffer = opened(tmp_path, size_max=40_000)
    for number in range(1, 101):
        buffer.append(b"x" * 200, number)
    buffer.commit(100)
    assert buffer.pending == 0
    assert buffer.size < 5_000 + 232
    buffer.close()
    again = opened(tmp_path, size_max=40_000)
    assert again.next_seq == 101
    again.close()


def test_bound_when_the_supervisor_stays_away_then_the_oldest_go_and_are_counted(
    tmp_path: pathlib.Path,
) -> None:
    buffer = opened(tmp_path, size_max=50_000)
    for number in range(1, 1001):
        buffer.append(b"x" * 200, number)
    assert buffer.size <= 50_000
    assert buffer.lost == buffer.first_seq - 1 > 0
    assert contents(buffer)[-1][0] == 1000
    buffer.close()


def test_bound_when_messages_are_too_old_then_they_go(tmp_path: pathlib.Path) -> None:
    buffer = opened(tmp_path, age_ns_max=800)
    for time_ns in range(0, 4000, 100):
        buffer.append(b"x", time_ns)
    assert buffer.lost > 0
    assert contents(buffer)[0][0] > 20
    buffer.close()


def test_boot_when_the_buffer_is_lost_then_it_is_another_one(tmp_path: pathlib.Path) -> None:
    buffer = opened(tmp_path)
    buffer.append(b"x", 1)
    buffer.close()
    (tmp_path / "boot").unlink()
    again = opened(tmp_path)
    assert again.boot != buffer.boot
    assert again.next_seq == 1
    again.close()


def test_append_when_a_message_is_too_large_then_it_is_refused(tmp_path: pathlib.Path) -> None:
    buffer = opened(tmp_path)
    with pytest.raises(TickworkError) as raised:
        buffer.append(bytes(17 * 1024 * 1024), 1)
    assert raised.value.code == "LK1002"
    buffer.close()


def test_open_when_cut_at_any_byte_then_the_whole_records_before_it_stay(tmp_path: pathlib.Path) -> None:
    payloads = [b"", b"a", b"bb" * 9, b"c" * 40]
    records = [encode_record(seq, seq, payload) for seq, payload in enumerate(payloads, 1)]
    data = b"".join(records)
    ends = [sum(map(len, records[:count])) for count in range(len(records) + 1)]
    for cut in range(len(data) + 1):
        with tempfile.TemporaryDirectory(dir=tmp_path) as name:
            folder = pathlib.Path(name)
            (folder / "boot").write_text("0" * 32)
            (folder / f"{1:020d}.seg").write_bytes(data[:cut])
            whole = max(index for index, end in enumerate(ends) if end <= cut)
            buffer = opened(folder)
            assert buffer.next_seq == whole + 1
            assert buffer.append(b"new", 9) == whole + 1
            assert contents(buffer) == [*enumerate(payloads[:whole], 1), (whole + 1, b"new")]
            buffer.close()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_open_when_any_byte_is_wrong_then_a_prefix_stays(data: st.DataObject) -> None:
    records = b"".join(encode_record(seq, seq, bytes([seq]) * seq) for seq in range(1, 8))
    at = data.draw(st.integers(0, len(records) - 1))
    wrong = bytearray(records)
    wrong[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "boot").write_text("0" * 32)
        (folder / f"{1:020d}.seg").write_bytes(bytes(wrong))
        buffer = opened(folder)
        found = contents(buffer)
        assert found == [(seq, bytes([seq]) * seq) for seq in range(1, len(found) + 1)]
        assert len(found) < 7
        buffer.close()


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 3000)),
            st.tuples(st.just("commit"), st.integers(0, 40)),
            st.tuples(st.just("reopen"), st.just(0)),
            st.tuples(st.just("read"), st.integers(1, 40)),
        ),
        max_size=60,
    )
)
@settings(max_examples=80, deadline=None)
def test_buffer_when_used_in_any_order_then_it_keeps_what_is_not_committed(
    steps: list[tuple[str, int]],
) -> None:
    """Against the simplest model: a dictionary."""
    with tempfile.TemporaryDirectory() as name:
        buffer, model, committed = opened(pathlib.Path(name), size_max=10**9), {}, 0
        for step, number in steps:
            if step == "append":
                payload = bytes([number % 251]) * number
                model[buffer.append(payload, number)] = payload
            elif step == "commit":
                committed = max(committed, min(number, len(model)))
                buffer.commit(number)
            elif step == "reopen":
                buffer.close()
                buffer = opened(pathlib.Path(name), size_max=10**9)
                buffer.commit(committed)
            else:
                buffer.sync()
                read = buffer.read(number, count_max=5, size_max=5000)
                wanted = [seq for seq in sorted(model) if seq >= max(number, committed + 1)]
                assert [one.seq for one in read] == wanted[: len(read)]
                assert bool(read) == bool(wanted)
        assert dict(contents(buffer)) == {seq: model[seq] for seq in model if seq > committed}
        assert buffer.lost == 0
        buffer.close()
