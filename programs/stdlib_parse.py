"""Texts as numbers, times and dates: the longest sensible beginning counts, 0 when there is none.

Blanks before the text and underscores between digits are skipped; a prefix with # (INT#, T#, 16#) is understood.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from programs.stdlib_compile import compiled
from programs.stdlib_numbers_text import scaled
from programs.stdlib_time import days_from_civil


@compiled
def is_digit(code: int) -> bool:
    return 48 <= code <= 57


@compiled
def upper(code: int) -> int:
    return code - 32 if 97 <= code <= 122 else code


@compiled
def after_prefix(text: Any) -> int:
    """Index behind blanks and a type prefix such as ``T#`` (letters, then #)."""
    start = 0
    while text[start] == 32 or text[start] == 9:
        start += 1
    index = start
    while 65 <= upper(text[index]) <= 90 or text[index] == 95:
        index += 1
    return index + 1 if index > start and text[index] == 35 else start


@compiled
def digits_end(text: Any, start: int) -> int:
    index = start
    while is_digit(text[index]) or (text[index] == 95 and index > start):
        index += 1
    return index


@compiled
def digits_value(text: Any, start: int, end: int) -> int:
    """Decimal digits as a number, wrapping at 64 bits."""
    value = 0
    for index in range(start, end):
        if text[index] != 95:
            value = value * 10 + (text[index] - 48)
    return value


@compiled
def digit_of(code: int) -> int:
    if is_digit(code):
        return code - 48
    code = upper(code)
    return code - 55 if 65 <= code <= 90 else 99


def text_to_bool(text: Any) -> int:
    """TRUE (in any case) and numbers other than 0."""
    index = after_prefix(text)
    word = 1
    for code in (84, 82, 85, 69):
        if upper(text[index]) != code:
            word = 0
            break
        index += 1
    if word:
        return 1
    index = after_prefix(text)
    return 1 if digits_value(text, index, digits_end(text, index)) != 0 else 0


def text_to_int(text: Any) -> int:
    index = after_prefix(text)
    negative = text[index] == 45
    if text[index] == 45 or text[index] == 43:
        index += 1
    end = digits_end(text, index)
    value = digits_value(text, index, end)
    if text[end] == 35 and (value == 2 or value == 8 or value == 16):
        base, value = value, 0
        index = end + 1
        while digit_of(text[index]) < base or text[index] == 95:
            if text[index] != 95:
                value = value * base + digit_of(text[index])
            index += 1
    return -value if negative else value


@compiled
def number_end(text: Any, start: int) -> int:
    """End of digits with an optional fraction."""
    end = digits_end(text, start)
    if text[end] == 46 and is_digit(text[end + 1]):
        end = digits_end(text, end + 1)
    return end


@compiled
def read_number(text: Any, start: int, end: int, shift: int) -> float:
    """Digits with an optional point between ``start`` and ``end``, times 10^shift; 18 digits count."""
    mantissa = 0
    used = 0
    exponent = shift
    fraction = False
    for index in range(start, end):
        code = text[index]
        if code == 46:
            fraction = True
        elif code != 95:
            if used < 18:
                mantissa = mantissa * 10 + (code - 48)
                used += 1 if mantissa != 0 else 0
                exponent -= 1 if fraction else 0
            elif not fraction:
                exponent += 1
    return scaled(mantissa, exponent)


def text_to_real(text: Any) -> float:
    index = after_prefix(text)
    negative = text[index] == 45
    if text[index] == 45 or text[index] == 43:
        index += 1
    end = number_end(text, index)
    exponent = 0
    if end > index and upper(text[end]) == 69:
        first = end + 1
        if text[first] == 45 or text[first] == 43:
            first += 1
        last = digits_end(text, first)
        exponent = min(digits_value(text, first, min(last, first + 5)), 99999)
        if text[end + 1] == 45:
            exponent = -exponent
    value = read_number(text, index, end, exponent)
    return -value if negative else value


@compiled
def unit_ns(first: int, second: int) -> int:
    """Nanoseconds of a unit d h m s ms us ns; 0 for none."""
    if upper(second) == 83:
        if upper(first) == 77:
            return 1000000
        if upper(first) == 85:
            return 1000
        if upper(first) == 78:
            return 1
    first = upper(first)
    if first == 68:
        return 86400000000000
    if first == 72:
        return 3600000000000
    if first == 77:
        return 60000000000
    return 1000000000 if first == 83 else 0


def text_to_time(text: Any) -> int:
    """T#1h30m, 1.5s, -20ms: parts with units, added."""
    index = after_prefix(text)
    negative = text[index] == 45
    if text[index] == 45 or text[index] == 43:
        index += 1
    total = 0
    while True:
        end = number_end(text, index)
        if end == index:
            break
        unit = unit_ns(text[end], text[end + 1] if text[end] != 0 else 0)
        if unit == 0:
            break
        whole = digits_end(text, index)
        total += digits_value(text, index, whole) * unit
        if whole < end:
            total += int(read_number(text, whole, end, 0) * unit + 0.5)
        index = end + (2 if unit < 1000000000 else 1)
        if text[index] == 95:
            index += 1
    return -total if negative else total


@compiled
def read_field(text: Any, start: int, code: int) -> int:
    """Index behind a field of digits and the separator; the field must be there and followed by it."""
    end = digits_end(text, start)
    return end + 1 if end > start and text[end] == code else end


@compiled
def date_days(text: Any, index: int) -> int:
    month = read_field(text, index, 45)
    day = read_field(text, month, 45)
    end = digits_end(text, day)
    if end == day:
        return 0
    return days_from_civil(
        digits_value(text, index, digits_end(text, index)), digits_value(text, month, digits_end(text, month)),
        digits_value(text, day, end),
    )  # fmt: skip


@compiled
def clock_ns(text: Any, index: int) -> int:
    minute = read_field(text, index, 58)
    second = read_field(text, minute, 58)
    total = digits_value(text, index, digits_end(text, index)) * 3600000000000
    total += digits_value(text, minute, digits_end(text, minute)) * 60000000000
    end = number_end(text, second)
    whole = digits_end(text, second)
    total += digits_value(text, second, whole) * 1000000000
    if whole < end:
        total += int(read_number(text, whole, end, 9) + 0.5)
    return total


def text_to_date(text: Any) -> int:
    return date_days(text, after_prefix(text)) * 86400000000000


def text_to_tod(text: Any) -> int:
    return clock_ns(text, after_prefix(text))


def text_to_dt(text: Any) -> int:
    index = after_prefix(text)
    month = read_field(text, index, 45)
    day = read_field(text, month, 45)
    end = digits_end(text, day)
    clock = clock_ns(text, end + 1) if text[end] == 45 else 0
    return date_days(text, index) * 86400000000000 + clock


FORMS: dict[str, tuple[Callable[..., Any], str]] = {
    "text_to_bool": (text_to_bool, "i p"),
    "text_to_int": (text_to_int, "i p"),
    "text_to_real": (text_to_real, "f p"),
    "text_to_time": (text_to_time, "i p"),
    "text_to_date": (text_to_date, "i p"),
    "text_to_tod": (text_to_tod, "i p"),
    "text_to_dt": (text_to_dt, "i p"),
}
