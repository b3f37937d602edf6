import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.statistics import BlockStatistics, LatencyHistogram


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=300), st.sampled_from([1, 50, 90, 99, 100]))
def test_percentile_when_computed_from_buckets_then_at_most_a_quarter_too_high(
    values: list[int], percent: int
) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    exact = int(np.percentile(values, percent, method="inverted_cdf"))
    assert exact <= histogram.percentile_ns(percent) <= max(exact * 1.26, exact + 512)
    assert histogram.max_ns == max(values)


def test_percentile_when_there_is_nothing_then_0() -> None:
    assert LatencyHistogram().percentile_ns(99) == 0


def test_rate_when_read_twice_then_that_of_the_time_between() -> None:
    statistics = BlockStatistics()
    statistics.as_dict(1_000_000_000)
    for _ in range(20):
        statistics.answered(1000)
    assert statistics.as_dict(3_000_000_000)["rate_per_s"] == pytest.approx(10.0)
