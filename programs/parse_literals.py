"""Written literals to values: integers, durations, dates, strings (IEC 61131-3, 6.3).

Each function returns the value or raises ``LiteralError`` with a code and words for a person.
"""

from __future__ import annotations

import datetime
import re

NS_PER_UNIT = {
    "D": 86_400_000_000_000,
    "H": 3_600_000_000_000,
    "M": 60_000_000_000,
    "S": 1_000_000_000,
    "MS": 1_000_000,
    "US": 1_000,
    "NS": 1,
}
_UNITS = tuple(NS_PER_UNIT)
NS_MAX = 2**63 - 1  # durations and dates are 64-bit nanoseconds (scan.abi)
INTEGER_MAX = 2**64 - 1  # ULINT, LWORD
DIGITS_MAX = 80  # 64 binary digits with a few underscores; bounds the work on any input
_TYPES = {
    "T": "TIME", "TIME": "TIME", "LT": "LTIME", "LTIME": "LTIME",
    "D": "DATE", "DATE": "DATE", "LD": "LDATE", "LDATE": "LDATE",
    "TOD": "TOD", "TIME_OF_DAY": "TOD", "LTOD": "LTOD", "LTIME_OF_DAY": "LTOD",
    "DT": "DT", "DATE_AND_TIME": "DT", "LDT": "LDT", "LDATE_AND_TIME": "LDT",
}  # fmt: skip
_COMPONENT = re.compile(r"(\d[\d_]*)(?:\.(\d[\d_]*))?_*(MS|US|NS|D|H|M|S)_*", re.IGNORECASE)
_CLOCK = re.compile(r"(\d[\d_]*):(\d[\d_]*)(?::(\d[\d_]*)(?:\.(\d[\d_]*))?)?")
_DATE = re.compile(r"(\d[\d_]*)-(\d[\d_]*)-(\d[\d_]*)")
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_ESCAPES = {"L": "\n", "N": "\n", "P": "\f", "R": "\r", "T": "\t", "$": "$", "'": "'", '"': '"'}


class LiteralError(Exception):
    """A literal that has no value. ``offset`` counts from the literal's first character."""

    def __init__(self, code: str, message: str, remedy: str, offset: int = 0, length: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.offset = offset
        self.length = length


def integer(text: str) -> tuple[int, int]:
    """Value and radix of ``12``, ``1_000``, ``16#FF``."""
    radix_text, mark, digits = text.replace("_", "").partition("#")
    if not mark:
        digits, radix = radix_text, 10
    elif radix_text in ("2", "8", "16", "10"):
        radix = int(radix_text)
    else:
        raise LiteralError(
            "ST1006", f"a number to the base {radix_text[:8]} is not known", "use 2#, 8# or 16#"
        )
    if not digits:
        raise LiteralError("ST1006", f"digits are missing after {radix}#", f"write them, as in {radix}#10")
    if len(digits) > DIGITS_MAX:
        raise LiteralError(
            "ST1007", "the number is too large for 64 bits", "the largest is 16#FFFF_FFFF_FFFF_FFFF"
        )
    try:
        value = int(digits, radix)
    except ValueError:
        raise LiteralError(
            "ST1006",
            f"{text[:40]} has a digit that base {radix} does not have",
            f"use the digits of base {radix}",
        ) from None
    if value > INTEGER_MAX:
        raise LiteralError(
            "ST1007", "the number is too large for 64 bits", "the largest is 16#FFFF_FFFF_FFFF_FFFF"
        )
    return value, radix


def real(text: str) -> float:
    """The nearest double of ``1.5E-3``."""
    value = float(text.replace("_", ""))
    if value in (float("inf"), float("-inf")):
        raise LiteralError("ST1007", "the number is too large for LREAL", "the largest is about 1.79E308")
    return value


def time(text: str) -> tuple[int, str]:
    """Nanoseconds and type of ``T#…``, ``D#…``, ``TOD#…``, ``DT#…`` and their long forms."""
    prefix, _, rest = text.partition("#")
    kind = _TYPES[prefix.upper()]
    if kind in ("TIME", "LTIME"):
        return _duration(rest), kind
    if kind in ("DATE", "LDATE"):
        return _in_range(_date(rest)), kind
    if kind in ("TOD", "LTOD"):
        return _clock(rest), kind
    date, clock = _split_date_and_time(rest)
    return _in_range(_date(date) + _clock(clock)), kind


def _split_date_and_time(rest: str) -> tuple[str, str]:
    date, _, clock = rest.rpartition("-")
    return date, clock


def _duration(rest: str) -> int:
    """IEC 61131-3, 6.3.3: units in falling order, only the last may have a fraction, the first may overflow."""
    negative = rest.startswith("-")
    body = rest.lstrip("+-")
    remedy = "write units in falling order, as in T#1d2h3m4s5ms"
    at, total_ns, last = 0, 0, -1
    while at < len(body):
        found = _COMPONENT.match(body, at)
        if found is None:
            raise LiteralError("ST1008", f"T#{rest[:40]} is no duration", remedy)
        whole, fraction, unit = found[1].replace("_", ""), (found[2] or "").replace("_", ""), found[3].upper()
        rank = _UNITS.index(unit)
        if rank <= last:
            raise LiteralError("ST1008", f"the unit {unit.lower()} is out of order in T#{rest[:40]}", remedy)
        if fraction and found.end() < len(body):
            raise LiteralError("ST1008", "only the last unit of a duration may have a fraction", remedy)
        if len(whole) > 20 or len(fraction) > 20:
            raise LiteralError("ST1008", "the duration is out of range", "durations go up to about 292 years")
        scale = NS_PER_UNIT[unit]
        total_ns += int(whole) * scale
        if fraction:
            total_ns += int(fraction) * scale // 10 ** len(fraction)
        at, last = found.end(), rank
    if total_ns > NS_MAX:
        raise LiteralError("ST1008", "the duration is out of range", "durations go up to about 292 years")
    return -total_ns if negative else total_ns


def _date(text: str) -> int:
    found = _DATE.fullmatch(text)
    remedy = "write year, month and day, as in D#2024-02-29"
    if found is None or any(len(part) > 8 for part in found.groups()):
        raise LiteralError("ST1009", f"{text[:40]} is no date", remedy)
    try:
        day = datetime.date(*(int(part) for part in found.groups()))
    except ValueError:
        raise LiteralError("ST1009", f"there is no day {text[:40]}", remedy) from None
    return (day.toordinal() - _EPOCH) * NS_PER_UNIT["D"]


def _in_range(value_ns: int) -> int:
    if not -NS_MAX - 1 <= value_ns <= NS_MAX:
        raise LiteralError("ST1009", "the date is out of range", "dates go from 1677-09-22 to 2262-04-11")
    return value_ns


def _clock(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    remedy = "write hours, minutes and seconds, as in TOD#23:59:59.5"
    if found is None or any(part is not None and len(part) > 20 for part in found.groups()):
        raise LiteralError("ST1009", f"{text[:40]} is no time of day", remedy)
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise LiteralError("ST1009", f"there is no time of day {text[:40]}", remedy)
    fraction = (found[4] or "").replace("_", "")
    total_ns = ((hour * 60 + minute) * 60 + second) * NS_PER_UNIT["S"]
    return total_ns + (int(fraction) * NS_PER_UNIT["S"] // 10 ** len(fraction) if fraction else 0)


def string(text: str, *, wide: bool) -> str:
    """The characters of a quoted string (6.3.2, tables 6 and 7)."""
    inner = text[1:-1]
    if "$" not in inner:
        return inner
    out: list[str] = []
    at, hex_digits = 0, 4 if wide else 2
    while (dollar := inner.find("$", at)) >= 0:
        out.append(inner[at:dollar])
        after = inner[dollar + 1 : dollar + 2].upper()
        code = inner[dollar + 1 : dollar + 1 + hex_digits]
        if after in _ESCAPES and after:
            out.append(_ESCAPES[after])
            at = dollar + 2
        elif len(code) == hex_digits and all(digit in "0123456789abcdefABCDEF" for digit in code):
            out.append(chr(int(code, 16)))
            at = dollar + 1 + hex_digits
        else:
            raise LiteralError(
                "ST1005",
                f"${inner[dollar + 1 : dollar + 3]} is no escape",
                f"use $L $N $P $R $T $$ $' $\" or $ with {hex_digits} hexadecimal digits; a dollar sign is $$",
                dollar + 1,
                2,
            )
    out.append(inner[at:])
    return "".join(out)
