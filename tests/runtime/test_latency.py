"""What ``cyclictest`` prints, and how rounds add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.latency import _Counts, parse_cyclictest

PRINTED = """# /dev/cpu_dma_latency set to 0us
# Histogram
000000 000000
000001 000002
000002 000007
000004 000001
# Min Latencies: 00001
# Avg Latencies: 00002
# Max Latencies: 30123
"""


def test_histogram_when_printed_then_bounds_counts_and_maximum_are_read() -> None:
    upper_us, counts, max_us = parse_cyclictest(PRINTED)
    assert counts.tolist() == [0, 2, 7, 0, 1]
    assert upper_us.tolist() == [1, 2, 3, 4, 5]
    assert max_us == 30123


@given(st.text(max_size=200))
def test_histogram_when_any_text_then_read_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no histogram"):
        parse_cyclictest(text)


def test_counts_when_rounds_differ_in_length_then_they_add_up() -> None:
    counts = _Counts()
    counts.add(np.arange(1.0, 4), np.array([5, 0, 5]), 2.5)
    counts.add(np.arange(1.0, 6), np.array([0, 0, 0, 0, 1]), 4.5)
    counts.add(np.arange(1.0, 2), np.array([89]), 0.5)
    figures = counts.figures()
    assert (figures.wakeups, figures.p50_us, figures.p99_us, figures.p999_us) == (100, 1.0, 3.0, 4.5)
    assert figures.max_us == 4.5


def test_counts_when_nothing_was_counted_then_zero() -> None:
    assert _Counts().figures().wakeups == 0
