"""Whatever a runtime sends: a message, or one of our errors."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import link
from scan.problem import TickworkError
from supervisor.node_state import Board, unpack

TAGS = tuple(link.Tag(i * 3, f"t{i}", 14) for i in range(5))


@given(data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_decode_when_any_bytes_then_message_or_error(data):
    try:
        link.decode_up(data)
    except TickworkError as error:
        assert error.code == "LK1001"


@given(
    ids=st.binary(max_size=64), times=st.binary(max_size=128), values=st.binary(max_size=128),
    quality=st.binary(max_size=32), texts=st.lists(st.tuples(st.integers(-3, 20), st.text(max_size=5)), max_size=3),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_unpack_when_any_columns_then_equal_lengths_or_error(ids, times, values, quality, texts):
    batch = link.Batch(1, "d", ids, times, values, quality, tuple(texts))
    try:
        sample = unpack(batch)
    except TickworkError as error:
        assert error.code == "SV3004"
        return
    assert (
        len(sample.ids)
        == len(sample.columns.times)
        == len(sample.columns.values)
        == len(sample.columns.quality)
    )
    Board(link.Describe("n", "d", "", TAGS, (), ())).apply(sample, 1)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 20), st.integers(0, 50), st.floats(allow_nan=True), st.sampled_from([0, 0x8000])
        ),
        max_size=60,
    )
)
@settings(max_examples=200, deadline=None)
def test_apply_when_rows_come_in_any_order_then_newest_of_each_tag_stays(rows):
    board = Board(link.Describe("n", "d", "", TAGS, (), ()))
    model = {}
    for start in range(0, len(rows), 7):
        part = rows[start : start + 7]
        ids, times, values, quality = (np.array(c) for c in zip(*part, strict=True))
        batch = link.Batch(1, "d", ids.astype("<u4").tobytes(), times.astype("<i8").tobytes(),
                           values.astype("<f8").tobytes(), quality.astype("<u2").tobytes())  # fmt: skip
        before = dict(model)
        for number, at, value, worst in part:
            if at >= before.get(number, (0,))[0]:
                model[number] = (at, value, worst)
        board.apply(unpack(batch), start + 1)
    for index, tag in enumerate(TAGS):
        if tag.id in model:
            at, value, worst = model[tag.id]
            assert int(board.times[index]) == at
            assert int(board.quality[index]) == worst
            assert board.values[index] == value or np.isnan(value)
