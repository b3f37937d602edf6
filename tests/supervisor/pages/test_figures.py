"""Drawings made by the server, and numbers as people read them."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from scan.statistics import bucket_bounds_ns
from supervisor.model import Gap, SeriesKey, Trace
from supervisor.pages import figures, trend_pages, views
from tests.supervisor.pages.fakes import Plant

KEY = SeriesKey("n1", "x")


def test_bucket_edge_when_compared_with_the_scan_then_both_mean_the_same_buckets() -> None:
    assert [figures.bucket_edge_ns(bucket) for bucket in range(592)] == bucket_bounds_ns()[:592].tolist()


@given(st.lists(st.integers(0, 10**9), max_size=592), st.integers(0, 10**9))
def test_histogram_when_any_counts_are_given_then_every_bar_stands_in_the_box(
    counts: list[int], deadline: int
) -> None:
    drawing = figures.histogram(counts, caption="x", deadline_ns=deadline, p99_ns=1)
    if not any(counts):
        assert drawing is None
        return
    assert drawing is not None
    for bar in drawing.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= figures.BOX_WIDTH + 1
        assert 0 <= bar.y <= bar.y + bar.height <= figures.BASE_Y + 0.11
    assert sum(1 for _ in drawing.bars) <= figures.BARS_MAX


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (840, "840 ns"),
        (38_000, "38 µs"),
        (1_250_000, "1.25 ms"),
        (20_000_000, "20 ms"),
        (3.6e12, "3600 s"),
    ],
)
def test_duration_when_shown_then_it_has_few_digits_and_a_unit(ns: float, text: str) -> None:
    assert views.duration(ns) == text


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_shown_text_when_a_real_flickers_then_its_width_follows_the_range(number: float) -> None:
    value = msgspec.structs.replace(Plant().value("n1", "Control.Level1"), value=number, text=f"{number:.7g}")
    text = views.shown_text(value)
    assert math.isfinite(float(text))
    if 1e-4 <= abs(number) < 1e9:
        assert len(text.split(".")[1]) == 1  # 0 to 100 %: tenths


def test_sparkline_when_a_value_is_bad_then_the_pen_is_lifted() -> None:
    path = figures.sparkline(Trace(KEY, (0, 1, 2, 3), (1.0, None, 2.0, 3.0), (0, 0x8000, 0, 0)))
    assert path.count("M") == 2
    assert figures.sparkline(Trace(KEY, (), (), ())) == ""


def test_columns_when_there_is_a_gap_then_the_curve_ends_where_it_begins() -> None:
    ms = 1_000_000
    trace = Trace(KEY, (0, 10 * ms, 90 * ms), (1.0, 2.0, 3.0), (0, 0, 0), (Gap(20 * ms, 80 * ms, "no link"),))
    body = trend_pages.columns(trace, 5, 200)
    assert body["t"] == [5, 10, 20, 90, 200]
    assert body["v"] == [1.0, 2.0, None, 3.0, 3.0]
    assert body["gaps"] == [(20, 80)]


def test_columns_when_nothing_is_known_at_the_end_then_the_last_value_is_not_drawn_on() -> None:
    ms = 1_000_000
    body = trend_pages.columns(Trace(KEY, (0,), (1.0,), (0,), (Gap(20 * ms, 200 * ms, "no link"),)), 0, 200)
    assert (body["t"], body["v"]) == ([0, 20], [1.0, None])
    bad = trend_pages.columns(Trace(KEY, (0, 9 * ms), (1.0, None), (0, 0x8000)), 0, 200)
    assert bad["t"] == [0, 9]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=30)), max_size=8))
def test_asked_when_any_address_is_given_then_it_means_something(pairs: list[tuple[str, str]]) -> None:
    names = ["tag", "range", "from", "to", "compare"]
    query = QueryParams([(names[len(name) % 5], text) for name, text in pairs])
    ask = trend_pages.asked(query, 1_000_000_000)
    assert ask.start_ms < ask.end_ms
    assert len(ask.keys) <= trend_pages.SERIES_MAX
    assert trend_pages.asked(QueryParams(ask.address().partition("?")[2]), 1_000_000_000).keys == ask.keys
