"""Dates and times of day in the proleptic Gregorian calendar, as nanoseconds since 1970-01-01 and since midnight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs.stdlib_compile import compiled

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


@compiled
def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01. Months and days beyond their range carry over, as a calendar computes with them."""
    shifted = month - 3
    year = year + shifted // 12
    shifted = shifted % 12
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * shifted + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@compiled
def civil_part(days: int, which: int) -> int:
    """Year (0), month (1) or day (2) of a day number."""
    shifted = days + 719468
    era = shifted // 146097
    day_of_era = shifted - era * 146097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_index = (5 * day_of_year + 2) // 153
    month = month_index + 3 if month_index < 10 else month_index - 9
    if which == 1:
        return month
    if which == 2:
        return day_of_year - (153 * month_index + 2) // 5 + 1
    return year_of_era + era * 400 + (1 if month <= 2 else 0)


def concat_date(year: int, month: int, day: int) -> int:
    return days_from_civil(year, month, day) * 86400000000000


def concat_tod(hour: int, minute: int, second: int, millisecond: int) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000000000 + millisecond * 1000000


def year(ns: int) -> int:
    return civil_part(ns // 86400000000000, 0)


def month(ns: int) -> int:
    return civil_part(ns // 86400000000000, 1)


def day(ns: int) -> int:
    return civil_part(ns // 86400000000000, 2)


def hour(ns: int) -> int:
    return ns % 86400000000000 // 3600000000000


def minute(ns: int) -> int:
    return ns % 3600000000000 // 60000000000


def second(ns: int) -> int:
    return ns % 60000000000 // 1000000000


def millisecond(ns: int) -> int:
    return ns % 1000000000 // 1000000


def day_of_week(ns: int) -> int:
    """0 is Sunday; 1970-01-01 was a Thursday."""
    return (ns // 86400000000000 + 4) % 7


HELPERS: dict[str, tuple[Callable[..., Any], str]] = {
    "concat_date": (concat_date, "i i i i"),
    "concat_tod": (concat_tod, "i i i i i"),
    **{
        one.__name__: (one, "i i")
        for one in (year, month, day, hour, minute, second, millisecond, day_of_week)
    },
}
