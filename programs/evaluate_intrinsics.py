"""Standard functions in plain Python, from the standard's description (IEC 61131-3:2013 §6.6.2.5)."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable

from programs import hir
from programs.evaluate_memory import Value, integer, number
from programs.evaluate_values import (
    DAY_NS,
    FLOATS,
    UNSIGNED,
    Number,
    bit_width,
    float_operation,
    library,
    saturated,
    wrap,
)
from programs.layout import scalar_type
from scan.abi import IecType

_LIBRARY = {
    "LN": "log", "LOG": "log10", "EXP": "exp", "SIN": "sin", "COS": "cos", "TAN": "tan", "ASIN": "asin",
    "ACOS": "acos", "ATAN": "atan", "ATAN2": "atan2",
}  # fmt: skip
_EPOCH = datetime.date(1970, 1, 1).toordinal()


def intrinsic(node: hir.Intrinsic, values: list[Value]) -> Value:
    """The result for arguments that have been evaluated. TIME and FIRST_SCAN are the evaluator's own business."""
    name = node.name
    if name in _LIBRARY:
        return wrap(_kind(node.type), library(_LIBRARY[name], *(float(number(value)) for value in values)))
    if name in _NUMBERS:
        return wrap(_kind(node.type), _NUMBERS[name](float(number(values[0]))))
    if name in _TEXTS:
        return _TEXTS[name](*values)
    if name in _SELECTIONS:
        return _SELECTIONS[name](*values)
    if name in _TIMES:
        return wrap(_kind(node.type), _TIMES[name](*values))
    return _TYPED[name](node, values)


def _kind(kind: hir.Type | None) -> IecType:
    found = None if kind is None else scalar_type(kind)
    assert found is not None
    return found


def _round_even(value: float) -> float:
    return float(round(value)) if math.isfinite(value) and abs(value) < 2**53 else value


def _square_root(value: float) -> float:
    return library("sqrt", value)


_NUMBERS: dict[str, Callable[[float], float]] = {
    "FLOOR": lambda value: library("floor", value),
    "CEIL": lambda value: library("ceil", value),
    "ROUND": lambda value: math.copysign(_round_even(value), value),
    "SQRT": _square_root,
}


# -- typed by their first argument


def _abs(node: hir.Intrinsic, values: list[Value]) -> Value:
    kind = _kind(node.type)
    return wrap(kind, abs(number(values[0])))


def _shift(node: hir.Intrinsic, values: list[Value]) -> Value:
    kind = _kind(node.type)
    bits = bit_width(kind)
    pattern, count = integer(values[0]) & ((1 << bits) - 1), integer(values[1])
    if kind is IecType.BOOL:
        return pattern
    if node.name == "SHR" and kind not in UNSIGNED:
        return 0 if count < 0 else integer(values[0]) >> min(count, bits)
    if not 0 <= count < bits:
        return 0
    return wrap(kind, pattern << count if node.name == "SHL" else pattern >> count)


def _rotate(node: hir.Intrinsic, values: list[Value]) -> Value:
    kind = _kind(node.type)
    bits = bit_width(kind)
    pattern, count = integer(values[0]) & ((1 << bits) - 1), integer(values[1])
    left = count % bits if node.name == "ROL" else -count % bits
    return wrap(kind, pattern << left | pattern >> (bits - left))


def _byte_swap(node: hir.Intrinsic, values: list[Value]) -> Value:
    kind = _kind(node.type)
    size = bit_width(kind) // 8
    pattern = integer(values[0]) & ((1 << 8 * size) - 1)
    return wrap(kind, int.from_bytes(pattern.to_bytes(size, "little"), "big"))


def _is_valid(node: hir.Intrinsic, values: list[Value]) -> Value:
    return int(not math.isnan(number(values[0])))


def _is_valid_bcd(node: hir.Intrinsic, values: list[Value]) -> Value:
    bits = bit_width(_kind(node.arguments[0].type))
    return int(all(digit <= "9" for digit in f"{integer(values[0]) & ((1 << bits) - 1):x}"))


def _add_time(node: hir.Intrinsic, values: list[Value]) -> Value:
    sign = 1 if node.name.startswith("ADD") else -1
    total = int(wrap(IecType.LINT, integer(values[0]) + sign * integer(values[1])))
    if node.name.endswith("TOD_TIME") or _kind(node.type) in (IecType.TOD, IecType.LTOD):
        return total % DAY_NS
    return total


def _scale_time(node: hir.Intrinsic, values: list[Value]) -> Value:
    op = "mul" if node.name == "MUL_TIME" else "div"
    factor_kind = _kind(node.arguments[1].type)
    factor = float(number(values[1])) if factor_kind in FLOATS else float(integer(values[1]))
    return saturated(IecType.LINT, float_operation(op, float(integer(values[0])), factor))


_TYPED: dict[str, Callable[[hir.Intrinsic, list[Value]], Value]] = {
    "ABS": _abs, "SHL": _shift, "SHR": _shift, "ROL": _rotate, "ROR": _rotate, "BYTE_SWAP": _byte_swap,
    "IS_VALID": _is_valid, "IS_VALID_BCD": _is_valid_bcd, "ADD_TIME": _add_time, "SUB_TIME": _add_time,
    "ADD_TOD_TIME": _add_time, "SUB_TOD_TIME": _add_time, "MUL_TIME": _scale_time, "DIV_TIME": _scale_time,
}  # fmt: skip


# -- selection


def _mux(index: Value, *inputs: Value) -> Value:
    return inputs[max(0, min(integer(index), len(inputs) - 1))]


def _smallest(*values: Value) -> Value:
    result = values[0]
    for value in values[1:]:
        result = value if value < result else result  # type: ignore[operator]
    return result


def _largest(*values: Value) -> Value:
    result = values[0]
    for value in values[1:]:
        result = value if result < value else result  # type: ignore[operator]
    return result


def _limit(low: Value, value: Value, high: Value) -> Value:
    raised = low if value < low else value  # type: ignore[operator]
    return high if high < raised else raised  # type: ignore[operator]


_SELECTIONS: dict[str, Callable[..., Value]] = {
    "SEL": lambda chosen, first, second: second if chosen else first,
    "MUX": _mux,
    "MIN": _smallest,
    "MAX": _largest,
    "LIMIT": _limit,
}


# -- strings, positions from 1


def _mid(text: str, count: int, position: int) -> str:
    first = max(0, position - 1)
    return text[first : first + max(0, count)]


def _replace(text: str, inserted: str, count: int, position: int) -> str:
    first = min(max(0, position - 1), len(text))
    return text[:first] + inserted + text[first + max(0, count) :]


def _insert(text: str, inserted: str, position: int) -> str:
    first = max(0, position)
    return text[:first] + inserted + text[first:]


_TEXTS: dict[str, Callable[..., Value]] = {
    "LEN": lambda text: len(text),
    "LEFT": lambda text, count: text[: max(0, count)],
    "RIGHT": lambda text, count: text[len(text) - min(max(0, count), len(text)) :],
    "MID": _mid,
    "CONCAT": lambda *texts: "".join(texts),
    "INSERT": _insert,
    "DELETE": lambda text, count, position: _replace(text, "", count, position),
    "REPLACE": _replace,
    "FIND": lambda text, wanted: text.find(wanted) + 1 if wanted else 0,
}


# -- dates


def _civil(ns: int) -> datetime.date:
    return datetime.date.fromordinal(ns // DAY_NS + _EPOCH)


def _concat_date(year: int, month: int, day: int) -> int:
    """Months and days beyond their range carry over."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return (datetime.date(year, month, 1).toordinal() - _EPOCH + day - 1) * DAY_NS


def _concat_tod(hour: int, minute: int, second: int, millisecond: int) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + millisecond * 1_000_000


_TIMES: dict[str, Callable[..., Number]] = {
    "CONCAT_DATE": _concat_date,
    "CONCAT_TOD": _concat_tod,
    "CONCAT_DT": lambda y, mo, d, h, mi, s, ms: _concat_date(y, mo, d) + _concat_tod(h, mi, s, ms),
    "CONCAT_DATE_TOD": lambda date, time: date + time,
    "YEAR": lambda ns: _civil(ns).year,
    "MONTH": lambda ns: _civil(ns).month,
    "DAY": lambda ns: _civil(ns).day,
    "HOUR": lambda ns: ns % DAY_NS // 3_600_000_000_000,
    "MINUTE": lambda ns: ns // 60_000_000_000 % 60,
    "SECOND": lambda ns: ns // 1_000_000_000 % 60,
    "MILLISECOND": lambda ns: ns // 1_000_000 % 1000,
    "DAY_OF_WEEK": lambda ns: _civil(ns).isoweekday() % 7,
}
