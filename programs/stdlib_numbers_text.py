"""Numbers, times and dates as texts and back.

Writing gives what the language reads: 12, -0.5, 1.5e+20, T#1h30m, D#2024-02-29. A REAL is written with the fewest
digits that read back as the same number by ``text_to_real``. Reading takes the longest beginning that makes
sense, skips blanks before it and underscores in it, and gives 0 when nothing does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from programs.stdlib_compile import compiled
from programs.stdlib_time import civil_part


@compiled
def put_char(target: Any, capacity: int, position: int, code: int) -> int:
    if position < capacity:
        target[position] = code
        position += 1
    target[position] = 0
    return position


@compiled
def put_digits(target: Any, capacity: int, position: int, value: int, least: int) -> int:
    """A number of 0 or more with at least ``least`` digits."""
    count = 1
    scale = 1
    while count < least or (count < 19 and value // scale >= 10):
        scale = scale * 10
        count += 1
    while count > 0:
        position = put_char(target, capacity, position, 48 + value // scale % 10)
        scale = scale // 10
        count -= 1
    return position


def bool_to_text(target: Any, capacity: int, value: int) -> int:
    position = 0
    if value:
        for code in (84, 82, 85, 69):
            position = put_char(target, capacity, position, code)
    else:
        for code in (70, 65, 76, 83, 69):
            position = put_char(target, capacity, position, code)
    return position


def char_to_text(target: Any, capacity: int, value: int) -> int:
    target[0] = 0
    if value == 0:
        return 0
    return put_char(target, capacity, 0, value)


def int_to_text(target: Any, capacity: int, value: int, signed: int) -> int:
    """Decimal; ``signed`` 0 takes the 64 bits as an unsigned number."""
    position = 0
    if value >= 0:
        return put_digits(target, capacity, 0, value, 1)
    if signed:
        position = put_char(target, capacity, position, 45)
        # The smallest number has no positive counterpart: write all but its last digit, then that.
        last = 10 - value % 10 if value % 10 != 0 else 0
        rest = -((value + last) // 10)
    else:
        # Half of the number is 0 or more as a signed one; the rest is long division.
        half = (value >> 1) & 0x7FFFFFFFFFFFFFFF
        rest = half // 5
        last = (half % 5) * 2 + (value & 1)
    if rest > 0:
        position = put_digits(target, capacity, position, rest, 1)
    return put_char(target, capacity, position, 48 + last)


@compiled
def scaled(mantissa: int, exponent: int) -> float:
    """mantissa × 10^exponent; exact steps for small exponents, so that short decimals come out as one expects."""
    value = float(mantissa)
    while exponent > 22 and value != 0.0 and value < 1e300:
        value = value * 1e22
        exponent -= 22
    while exponent < -22 and value != 0.0:
        value = value / 1e22
        exponent += 22
    factor = 1.0
    for _ in range(min(abs(exponent), 400)):
        factor = factor * 10.0
    return value * factor if exponent >= 0 else value / factor


@compiled
def decimal_exponent(value: float) -> int:
    """e such that 10^e <= value < 10^(e+1), for a positive number; may be one off at the edges."""
    exponent = 0
    while value >= 1e16:
        value = value / 1e16
        exponent += 16
    while value < 1e-15:
        value = value * 1e16
        exponent -= 16
    while value >= 10.0:
        value = value / 10.0
        exponent += 1
    while value < 1.0:
        value = value * 10.0
        exponent -= 1
    return exponent


@compiled
def rounded_mantissa(value: float, shift: int) -> int:
    """value / 10^shift to the nearest integer."""
    number = value
    while shift > 22:
        number = number / 1e22
        shift -= 22
    while shift < -22:
        number = number * 1e22
        shift += 22
    factor = 1.0
    for _ in range(abs(shift)):
        factor = factor * 10.0
    number = number / factor if shift >= 0 else number * factor
    return int(number + 0.5)


@compiled
def put_real(target: Any, capacity: int, position: int, mantissa: int, digits: int, exponent: int) -> int:
    """mantissa (``digits`` decimal digits, the first worth 10^exponent) as fixed or scientific notation."""
    while digits > 1 and mantissa % 10 == 0:
        mantissa = mantissa // 10
        digits -= 1
    scientific = exponent < -5 or exponent > 14
    point = 0 if scientific else exponent
    if point < 0:
        position = put_char(target, capacity, position, 48)
        position = put_char(target, capacity, position, 46)
        for _ in range(-point - 1):
            position = put_char(target, capacity, position, 48)
    scale = 1
    for _ in range(digits - 1):
        scale = scale * 10
    for index in range(max(digits, point + 1)):
        digit = mantissa // scale % 10 if index < digits else 0
        position = put_char(target, capacity, position, 48 + digit)
        if index == point:
            position = put_char(target, capacity, position, 46)
        scale = scale // 10 if scale > 1 else 1
    if point >= 0 and digits <= point + 1:
        position = put_char(target, capacity, position, 48)
    if scientific:
        position = put_char(target, capacity, position, 101)
        position = put_char(target, capacity, position, 45 if exponent < 0 else 43)
        position = put_digits(target, capacity, position, abs(exponent), 2)
    return position


@compiled
def put_word(target: Any, capacity: int, position: int, first: int, second: int, third: int) -> int:
    position = put_char(target, capacity, position, first)
    position = put_char(target, capacity, position, second)
    return put_char(target, capacity, position, third)


def real_to_text(target: Any, capacity: int, value: float, digits_max: int) -> int:
    """``digits_max`` is 9 for REAL and 17 for LREAL; a REAL must only read back as itself when rounded to REAL."""
    position = 0
    target[0] = 0
    if value != value:
        return put_word(target, capacity, position, 110, 97, 110)
    if value == value and math.copysign(1.0, value) < 0.0:
        position = put_char(target, capacity, position, 45)
        value = -value
    if value > 1.7976931348623157e308:
        return put_word(target, capacity, position, 105, 110, 102)
    if value == 0.0:
        return put_word(target, capacity, position, 48, 46, 48)
    exponent = decimal_exponent(value)
    tolerance = value * 2.9e-8 if digits_max == 9 else 0.0
    mantissa, digits = 0, 1
    for tried in range(1, digits_max + 1):
        digits = tried
        mantissa = rounded_mantissa(value, exponent - tried + 1)
        if abs(scaled(mantissa, exponent - tried + 1) - value) <= tolerance:
            break
    scale = 1
    for _ in range(digits):
        scale = scale * 10
    if mantissa >= scale:
        mantissa = mantissa // 10
        exponent += 1
    return put_real(target, capacity, position, mantissa, digits, exponent)


@compiled
def put_date(target: Any, capacity: int, position: int, days: int) -> int:
    position = put_digits(target, capacity, position, civil_part(days, 0), 4)
    position = put_char(target, capacity, position, 45)
    position = put_digits(target, capacity, position, civil_part(days, 1), 2)
    position = put_char(target, capacity, position, 45)
    return put_digits(target, capacity, position, civil_part(days, 2), 2)


@compiled
def put_clock(target: Any, capacity: int, position: int, ns: int) -> int:
    """hh:mm:ss and, if there is one, the fraction in groups of three digits."""
    position = put_digits(target, capacity, position, ns // 3600000000000, 2)
    position = put_char(target, capacity, position, 58)
    position = put_digits(target, capacity, position, ns // 60000000000 % 60, 2)
    position = put_char(target, capacity, position, 58)
    position = put_digits(target, capacity, position, ns // 1000000000 % 60, 2)
    fraction = ns % 1000000000
    if fraction:
        position = put_char(target, capacity, position, 46)
        digits = 9
        while fraction % 1000 == 0:
            fraction = fraction // 1000
            digits -= 3
        position = put_digits(target, capacity, position, fraction, digits)
    return position


@compiled
def put_prefix(target: Any, capacity: int, long: int, first: int, second: int, third: int) -> int:
    target[0] = 0
    position = put_char(target, capacity, 0, 76) if long else 0
    for code in (first, second, third, 35):
        if code:
            position = put_char(target, capacity, position, code)
    return position


def date_to_text(target: Any, capacity: int, ns: int, long: int) -> int:
    position = put_prefix(target, capacity, long, 68, 0, 0)
    return put_date(target, capacity, position, ns // 86400000000000)


def tod_to_text(target: Any, capacity: int, ns: int, long: int) -> int:
    position = put_prefix(target, capacity, long, 84, 79, 68)
    return put_clock(target, capacity, position, ns % 86400000000000)


def dt_to_text(target: Any, capacity: int, ns: int, long: int) -> int:
    position = put_prefix(target, capacity, long, 68, 84, 0)
    position = put_date(target, capacity, position, ns // 86400000000000)
    position = put_char(target, capacity, position, 45)
    return put_clock(target, capacity, position, ns % 86400000000000)


@compiled
def put_unit(target: Any, capacity: int, position: int, value: int, first: int, second: int) -> int:
    if value:
        position = put_digits(target, capacity, position, value, 1)
        position = put_char(target, capacity, position, first)
        if second:
            position = put_char(target, capacity, position, second)
    return position


def time_to_text(target: Any, capacity: int, ns: int, long: int) -> int:
    """T#1d2h3m4s5ms6us7ns without the parts that are zero; T#0s."""
    position = put_prefix(target, capacity, long, 84, 0, 0)
    if ns < 0:
        position = put_char(target, capacity, position, 45)
        ns = -ns if ns > -9223372036854775807 else 9223372036854775807
    if ns == 0:
        position = put_char(target, capacity, position, 48)
        return put_char(target, capacity, position, 115)
    position = put_unit(target, capacity, position, ns // 86400000000000, 100, 0)
    position = put_unit(target, capacity, position, ns // 3600000000000 % 24, 104, 0)
    position = put_unit(target, capacity, position, ns // 60000000000 % 60, 109, 0)
    position = put_unit(target, capacity, position, ns // 1000000000 % 60, 115, 0)
    position = put_unit(target, capacity, position, ns // 1000000 % 1000, 109, 115)
    position = put_unit(target, capacity, position, ns // 1000 % 1000, 117, 115)
    return put_unit(target, capacity, position, ns % 1000, 110, 115)


FORMS: dict[str, tuple[Callable[..., Any], str]] = {
    "bool_to_text": (bool_to_text, "i p i i"),
    "char_to_text": (char_to_text, "i p i i"),
    "int_to_text": (int_to_text, "i p i i i"),
    "real_to_text": (real_to_text, "i p i f i"),
    "time_to_text": (time_to_text, "i p i i i"),
    "date_to_text": (date_to_text, "i p i i i"),
    "tod_to_text": (tod_to_text, "i p i i i"),
    "dt_to_text": (dt_to_text, "i p i i i"),
}
