"""Values as people read them: a tag's float64 in the literal form of its IEC type, without prefix where it is plain."""

from __future__ import annotations

import datetime
import math

from scan.abi import IecType
from supervisor.model import Value

_BITS = {IecType.BYTE: 2, IecType.WORD: 4, IecType.DWORD: 8, IecType.LWORD: 16}
_DURATIONS = frozenset({IecType.TIME, IecType.LTIME})
_DATES = frozenset({IecType.DATE, IecType.LDATE})
_TIMES_OF_DAY = frozenset({IecType.TOD, IecType.LTOD})
_MOMENTS = frozenset({IecType.DT, IecType.LDT})
_REALS = {IecType.REAL: 7, IecType.LREAL: 15}  # significant decimal digits
_TEXTS = frozenset({IecType.STRING, IecType.WSTRING, IecType.CHAR, IecType.WCHAR})
_UNITS = (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
          ("ms", 1_000_000), ("us", 1_000), ("ns", 1))  # fmt: skip


def type_name(number: int) -> str:
    try:
        return IecType(number).name
    except ValueError:
        return f"TYPE {number}"


def value_of(kind: int, number: float, text: str | None) -> Value:
    """The value in JSON's terms; None when there is none."""
    if text is not None:
        return text
    if math.isnan(number):
        return None
    if kind == IecType.BOOL:
        return number != 0
    return number if kind in _REALS or math.isinf(number) else int(number)


def text_of(kind: int, value: Value, names: dict[int, str] | None = None) -> str:
    """``names``: of an enumeration. "" when there is no value."""
    if value is None or isinstance(value, str):
        return value or ""
    if names and int(value) in names:
        return names[int(value)]
    if kind == IecType.BOOL:
        return "TRUE" if value else "FALSE"
    if kind in _REALS:
        return real(float(value), _REALS[IecType(kind)])
    if isinstance(value, float):
        return real(value, 15)
    if kind in _BITS:
        return f"16#{value:0{_BITS[IecType(kind)]}X}"
    if kind in _DURATIONS:
        return duration(value)
    if kind in _TIMES_OF_DAY:
        return _clock(value)
    if kind in _DATES or kind in _MOMENTS:
        return _date(value, kind in _MOMENTS)
    return str(value)


def real(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return {math.inf: "+INF", -math.inf: "-INF"}.get(value, "NaN")
    text = f"{value:.{digits}g}"
    return text if any(c in text for c in ".e") else text + ".0"


def duration(nanoseconds: int) -> str:
    """IEC 61131-3 table 8: T#1m30s500ms."""
    parts, rest = [], abs(nanoseconds)
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("T#-" if nanoseconds < 0 else "T#") + ("".join(parts) or "0s")


def _clock(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds % 86_400_000_000_000, 1_000_000_000)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{rest:09}".rstrip("0") if rest else "")


def _date(nanoseconds: int, with_time: bool) -> str:
    days, rest = divmod(nanoseconds, 86_400_000_000_000)
    try:
        day = (datetime.date(1970, 1, 1) + datetime.timedelta(days=days)).isoformat()
    except OverflowError:
        return str(nanoseconds)
    return f"{day}-{_clock(rest)}" if with_time else day
