"""Values as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scan.abi import IecType
from supervisor.iec_text import duration, text_of, value_of

SECOND = 1_000_000_000
DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (IecType.BOOL, 1.0, "TRUE"),
        (IecType.BOOL, 0.0, "FALSE"),
        (IecType.INT, -5.0, "-5"),
        (IecType.REAL, 0.1, "0.1"),
        (IecType.REAL, 2.0, "2.0"),
        (IecType.LREAL, 1e300, "1e+300"),
        (IecType.LREAL, math.inf, "+INF"),
        (IecType.LREAL, math.nan, ""),
        (IecType.WORD, 255.0, "16#00FF"),
        (IecType.TIME, 90_500_000_000.0, "T#1m30s500ms"),
        (IecType.TIME, -1_000_000.0, "T#-1ms"),
        (IecType.TIME, 0.0, "T#0s"),
        (IecType.TOD, 3_661.0 * SECOND, "01:01:01"),
        (IecType.DATE, 20_000.0 * DAY, "2024-10-04"),
        (IecType.DT, 20_000.0 * DAY + SECOND, "2024-10-04-00:00:01"),
        (IecType.DINT, math.nan, ""),
    ],
)
def test_text_when_of_a_type_then_its_literal_form(kind, number, text):
    assert text_of(kind, value_of(kind, number, None)) == text


def test_text_when_enumeration_then_name_and_number_where_none():
    assert text_of(IecType.INT, 2, {2: "Filling"}) == "Filling"
    assert text_of(IecType.INT, 3, {2: "Filling"}) == "3"


@given(kind=st.integers(-5, 40), number=st.floats())
def test_text_when_any_number_of_any_type_then_some_text(kind, number):
    assert isinstance(text_of(kind, value_of(kind, number, None)), str)


@given(st.integers(-(10**18), 10**18))
def test_duration_when_any_then_parts_add_up(nanoseconds):
    sizes = {"d": DAY, "h": 3600 * SECOND, "ms": 10**6, "us": 1000, "ns": 1, "m": 60 * SECOND, "s": SECOND}
    text = duration(nanoseconds).removeprefix("T#")
    sign, text, total = (-1, text[1:], 0) if text.startswith("-") else (1, text, 0)
    number = ""
    while text:
        if text[0].isdigit():
            number, text = number + text[0], text[1:]
            continue
        unit = next(u for u in sizes if text.startswith(u) and (u != "m" or not text.startswith("ms")))
        total, number, text = total + int(number) * sizes[unit], "", text.removeprefix(unit)
    assert sign * total == nanoseconds
