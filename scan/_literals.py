"""IEC 61131-3 literals of elementary types: numbers (6.3.2), strings (6.3.3), durations and dates (6.3.4, 6.3.5)."""

from __future__ import annotations

import datetime
import re

from scan.abi import IecType

_DURATIONS = (IecType.TIME, IecType.LTIME)
_DATES = (IecType.DATE, IecType.LDATE)
_TIMES_OF_DAY = (IecType.TOD, IecType.LTOD)
_MOMENTS = (IecType.DT, IecType.LDT)
_BITS = (IecType.BYTE, IecType.WORD, IecType.DWORD, IecType.LWORD)
_PREFIX = {
    IecType.TIME: "T#", IecType.LTIME: "LT#", IecType.DATE: "D#", IecType.LDATE: "LD#", IecType.TOD: "TOD#",
    IecType.LTOD: "LTOD#", IecType.DT: "DT#", IecType.LDT: "LDT#",
}  # fmt: skip
_UNITS_NS = {
    "d": 86_400_000_000_000, "h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000,
    "ms": 1_000_000, "us": 1_000, "ns": 1,
}  # fmt: skip
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|d|h|m|s)")
_DATE = re.compile(r"(\d{1,4})-(\d{1,2})-(\d{1,2})")
_CLOCK = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,9}))?")
_ESCAPES = {"$": "$", "'": "'", '"': '"', "L": "\n", "N": "\n", "P": "\f", "R": "\r", "T": "\t"}
_UNESCAPES = {"$": "$$", "\n": "$N", "\f": "$P", "\r": "$R", "\t": "$T"}
_EPOCH = datetime.date(1970, 1, 1)

Scalar = bool | int | float | str


def parse_scalar(kind: IecType, text: str, enum_values: tuple[tuple[str, int], ...] = ()) -> Scalar:
    """A literal as a value. Raises ValueError that says what is wrong."""
    text = text.strip()
    for name, number in enum_values:
        if text.rpartition("#")[2].upper() == name.upper():
            return number
    if kind in (IecType.STRING, IecType.WSTRING, IecType.CHAR, IecType.WCHAR):
        return _parse_string(kind, text)
    if kind == IecType.BOOL:
        return _parse_bool(text)
    if kind in (IecType.REAL, IecType.LREAL):
        return _parse_real(text)
    if kind in _DURATIONS:
        return _parse_duration(_without(text, "T", "TIME", "LT", "LTIME"))
    if kind in _DATES:
        return _parse_date(_without(text, "D", "DATE", "LD", "LDATE"))
    if kind in _TIMES_OF_DAY:
        return _parse_clock(_without(text, "TOD", "TIME_OF_DAY", "LTOD", "LTIME_OF_DAY"))
    if kind in _MOMENTS:
        return _parse_moment(_without(text, "DT", "DATE_AND_TIME", "LDT", "LDATE_AND_TIME"))
    return parse_integer(text)


def _without(text: str, *prefixes: str) -> str:
    head, mark, rest = text.partition("#")
    if mark and head.upper() in prefixes:
        return rest
    if mark:
        raise ValueError(f"prefix {head}# does not belong here")
    return text


def _parse_bool(text: str) -> bool:
    known = {"TRUE": True, "1": True, "FALSE": False, "0": False}
    value = known.get(_without(text, "BOOL").upper())
    if value is None:
        raise ValueError("TRUE or FALSE")
    return value


def _parse_real(text: str) -> float:
    text = _without(text, "REAL", "LREAL")
    special = {"NAN": "nan", "INF": "inf", "+INF": "inf", "-INF": "-inf"}.get(text.upper())
    if special is None and not re.fullmatch(r"[+-]?\d[\d_]*(\.[\d_]+)?([eE][+-]?\d+)?", text):
        raise ValueError("a number such as 1.5 or -2.0E3")
    return float(special or text.replace("_", ""))


def parse_integer(text: str) -> int:
    """``-12``, ``1_000``, ``16#FF``, ``INT#5``, ``DINT#16#FF``."""
    parts = text.upper().split("#")
    if len(parts) > 1 and not parts[0].isdigit():
        parts = parts[1:]
    if not all(re.fullmatch(r"[+-]?[0-9A-F]+(_[0-9A-F]+)*", part) for part in parts):
        raise ValueError("an integer such as 12, -5 or 16#FF")
    if len(parts) == 1:
        return int(parts[0].replace("_", ""), 10)
    if len(parts) == 2 and parts[0] in ("2", "8", "10", "16"):
        return int(parts[1].replace("_", ""), int(parts[0]))
    raise ValueError("a base of 2, 8, 10 or 16")


def _parse_duration(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-").replace("_", "").lower()
    total, position = 0, 0
    for part in _DURATION_PART.finditer(body):
        if part.start() != position:
            break
        whole, _, fraction = part[1].partition(".")
        unit = _UNITS_NS[part[2]]
        total += int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
        position = part.end()
    if position == 0 or position != len(body):
        raise ValueError("a duration such as T#1m30s or T#250ms")
    return sign * total


def _parse_date(text: str) -> int:
    found = _DATE.fullmatch(text)
    if not found:
        raise ValueError("a date such as D#2024-12-31")
    days = (datetime.date(int(found[1]), int(found[2]), int(found[3])) - _EPOCH).days
    return days * _UNITS_NS["d"]


def _parse_clock(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    if not found or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3]) > 59:
        raise ValueError("a time of day such as TOD#15:36:55.36")
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    return seconds * _UNITS_NS["s"] + int((found[4] or "").ljust(9, "0"))


def _parse_moment(text: str) -> int:
    year, _, rest = text.partition("-")
    month, _, rest = rest.partition("-")
    day, _, clock = rest.partition("-")
    if not clock:
        raise ValueError("a moment such as DT#2024-12-31-15:36:55")
    return _parse_date(f"{year}-{month}-{day}") + _parse_clock(clock)


def _parse_string(kind: IecType, text: str) -> str | int:
    text = text[5:] if text.upper().startswith("CHAR#") else text
    quote = text[:1]
    if len(text) < 2 or quote not in ("'", '"') or text[-1] != quote:
        raise ValueError("a text in quotes")
    value = _unescape(text[1:-1], 4 if quote == '"' else 2)
    if kind in (IecType.CHAR, IecType.WCHAR):
        if len(value) != 1:
            raise ValueError("one character in quotes")
        return ord(value)
    return value


def _unescape(text: str, digits: int) -> str:
    result, position = [], 0
    while position < len(text):
        character = text[position]
        if character == "$":
            code = text[position + 1 : position + 1 + digits]
            follower = text[position + 1 : position + 2].upper()
            if follower in _ESCAPES:
                character, position = _ESCAPES[follower], position + 1
            elif re.fullmatch(rf"[0-9A-Fa-f]{{{digits}}}", code):
                character, position = chr(int(code, 16)), position + digits
            else:
                raise ValueError("after $ one of $ ' \" L N P R T or the code of a character")
        result.append(character)
        position += 1
    return "".join(result)


def format_scalar(kind: IecType, value: object, enum_values: tuple[tuple[str, int], ...] = ()) -> str:
    """The literal of a value, in the form that ``parse_scalar`` reads."""
    for name, number in enum_values:
        if value == number:
            return name
    if kind in (IecType.STRING, IecType.WSTRING):
        return _format_string(str(value), wide=kind == IecType.WSTRING)
    if kind in (IecType.CHAR, IecType.WCHAR):
        return _format_string(chr(_int(value)), wide=kind == IecType.WCHAR)
    if kind == IecType.BOOL:
        return "TRUE" if value else "FALSE"
    if kind in (IecType.REAL, IecType.LREAL):
        return _format_real(kind, value)
    if kind in _PREFIX:
        return _PREFIX[kind] + _format_time(kind, _int(value))
    if kind in _BITS:
        return f"16#{_int(value):X}"
    return str(_int(value))


def _int(value: object) -> int:
    return int(value)  # type: ignore[call-overload]


def _format_real(kind: IecType, value: object) -> str:
    number = float(value)  # type: ignore[arg-type]
    if number != number or number in (float("inf"), float("-inf")):
        return {"nan": "NAN", "inf": "INF", "-inf": "-INF"}[str(number)]
    if kind == IecType.LREAL:
        return repr(number)
    import numpy as np

    text = str(np.float32(number))
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def _format_time(kind: IecType, value_ns: int) -> str:
    if kind in _DURATIONS:
        return format_duration(value_ns)
    days, rest_ns = divmod(value_ns, _UNITS_NS["d"])
    if kind in _DATES:
        return _format_date(days)
    if kind in _TIMES_OF_DAY:
        return _format_clock(value_ns)
    return f"{_format_date(days)}-{_format_clock(rest_ns)}"


def format_duration(value_ns: int) -> str:
    """``1m30s``, ``250ms``, ``0s``; exact."""
    parts, rest = [], abs(value_ns)
    for unit, size in _UNITS_NS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if value_ns < 0 else "") + ("".join(parts) or "0s")


def _format_date(days: int) -> str:
    try:
        return (_EPOCH + datetime.timedelta(days)).isoformat()
    except OverflowError:
        return f"1970-01-01{days:+d}d"  # outside the calendar: shown, and refused when read back


def _format_clock(value_ns: int) -> str:
    seconds, fraction_ns = divmod(value_ns, _UNITS_NS["s"])
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return text + (f".{fraction_ns:09}".rstrip("0") if fraction_ns else "")


def _format_string(text: str, *, wide: bool) -> str:
    quote = '"' if wide else "'"
    digits = 4 if wide else 2
    shown = []
    for character in text:
        if character == quote:
            shown.append("$" + character)
        elif character in _UNESCAPES:
            shown.append(_UNESCAPES[character])
        elif ord(character) < 32 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000:
            shown.append(f"${ord(character):0{digits}X}")
        else:
            shown.append(character)
    return quote + "".join(shown) + quote
