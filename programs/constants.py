"""Evaluation of constant expressions of the typed tree, exactly as compiled code would compute them.

``fold`` gives a ``Constant`` or None when the expression is not constant. Integers wrap at their declared width, REAL
is rounded to 32 bits after each operation, a division by zero is not constant (the caller reports it).
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable

from programs import hir, types
from scan.abi import IecType

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
POWER_BITS_MAX = 4096  # an integer literal's power beyond this is no number of any type
FOLD_DEPTH_MAX = 200

Number = int | float


def as_real(kind: hir.Type, value: Number) -> float:
    """``value`` rounded to REAL or LREAL."""
    try:
        number = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    if types.is_kind(kind, IecType.REAL):
        try:
            return float(struct.unpack("<f", struct.pack("<f", number))[0])
        except OverflowError:
            return math.copysign(math.inf, number)
    return number


def normal(kind: hir.Type, value: Number | str) -> Number | str:
    """A result brought into the range of its type."""
    if isinstance(value, str):
        return value[: kind.length] if isinstance(kind, hir.String) else value
    if kind == types.INT_LITERAL:
        return int(value)
    if types.is_real(kind):
        return as_real(kind, value)
    return types.wrapped(kind, int(value))


def fold(expression: hir.Expression, depth: int = 0) -> hir.Constant | None:
    """The value of a constant expression, None if it is not constant."""
    if depth > FOLD_DEPTH_MAX:
        return None
    match expression:
        case hir.Constant():
            return expression
        case hir.Convert():
            operand = fold(expression.operand, depth + 1)
            return None if operand is None else convert(operand, expression.type, expression.kind)
        case hir.Unary():
            operand = fold(expression.operand, depth + 1)
            return None if operand is None else _unary(expression, operand)
        case hir.Binary() | hir.Compare() | hir.Logical():
            left = fold(expression.left, depth + 1)
            right = fold(expression.right, depth + 1) if left is not None else None
            return None if left is None or right is None else _binary(expression, left, right)
        case hir.Intrinsic():
            return _intrinsic(expression, depth)
    return None


def _unary(expression: hir.Unary, operand: hir.Constant) -> hir.Constant | None:
    value = operand.value
    if isinstance(value, str):
        return None
    if expression.op == "neg":
        return hir.Constant(expression.type, normal(expression.type, -value), expression.line)
    flipped = int(not value) if types.is_bool(expression.type) else ~int(value)
    return hir.Constant(expression.type, normal(expression.type, flipped), expression.line)


_COMPARISONS: dict[str, Callable[[Number | str, Number | str], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def _binary(
    expression: hir.Binary | hir.Compare | hir.Logical, left: hir.Constant, right: hir.Constant
) -> hir.Constant | None:
    one, other = left.value, right.value
    if isinstance(expression, hir.Compare):
        if isinstance(one, str) != isinstance(other, str):
            return None
        return hir.Constant(types.BOOL, int(_COMPARISONS[expression.op](one, other)), expression.line)
    if isinstance(one, str) or isinstance(other, str):
        return None
    value = calculate(expression.op, one, other, real=types.is_real(expression.type))
    if value is None:
        return None
    return hir.Constant(expression.type, normal(expression.type, value), expression.line)


def calculate(op: str, left: Number, right: Number, *, real: bool) -> Number | None:
    """One arithmetic or bit operation; None if it has no value (division by zero of integers, absurd powers)."""
    try:
        match op:
            case "add":
                return left + right
            case "sub":
                return left - right
            case "mul":
                return left * right
            case "div":
                return _divide(left, right, real=real)
            case "mod":
                return _modulo(int(left), int(right))
            case "pow":
                return _power(left, right, real=real)
            case "and":
                return int(left) & int(right)
            case "or":
                return int(left) | int(right)
            case "xor":
                return int(left) ^ int(right)
    except (OverflowError, ValueError):
        return None
    return None


def _divide(left: Number, right: Number, *, real: bool) -> Number | None:
    if real:
        if right == 0:
            if left == 0 or math.isnan(left):
                return math.nan
            return math.copysign(math.inf, left) * math.copysign(1.0, right)
        return left / right
    if right == 0:
        return None
    quotient = abs(int(left)) // abs(int(right))  # towards zero, IEC 61131-3 table 29
    return quotient if (left < 0) == (right < 0) else -quotient


def _modulo(left: int, right: int) -> int | None:
    if right == 0:
        return None
    rest = abs(left) % abs(right)
    return rest if left >= 0 else -rest


def _power(left: Number, right: Number, *, real: bool) -> Number | None:
    if real:
        try:
            return math.pow(left, right)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan
    if right < 0 or int(right) * int(left).bit_length() > POWER_BITS_MAX:
        return None
    return int(left) ** int(right)


# ---------------------------------------------------------------- conversions


def convert(operand: hir.Constant, target: hir.Type, kind: str = "to") -> hir.Constant | None:
    """A constant in another type; None where only run time knows the text form or there is no conversion."""
    value = _converted(operand, target, kind)
    return None if value is None else hir.Constant(target, normal(target, value), operand.line)


def _converted(operand: hir.Constant, target: hir.Type, kind: str) -> Number | str | None:
    value = operand.value
    if isinstance(target, hir.String):
        return value if isinstance(value, str) else _character(operand)
    if isinstance(value, str):
        return ord(value) if types.is_kind(target, *types.CHARS) and len(value) == 1 else None
    if kind == "bits":
        return value if isinstance(value, int) else None
    if kind == "bcd":
        return int(str(abs(int(value))), 16)
    if kind == "from_bcd":
        text = f"{int(value):x}"
        return int(text) if text.isdigit() else None
    source_scale, target_scale = _scale(operand.type), _scale(target)
    if isinstance(value, float):
        if types.is_real(target):
            return value
        return _rounded(value * target_scale, target, trunc=kind == "trunc")
    if types.is_real(target):
        return value / source_scale if source_scale != 1 else value
    return _integer(value, operand.type, target, source_scale, target_scale)


def _character(operand: hir.Constant) -> str | None:
    if types.is_kind(operand.type, *types.CHARS) and isinstance(operand.value, int):
        return chr(operand.value)
    return None


def _rounded(value: float, target: hir.Type, *, trunc: bool) -> Number | None:
    """To the nearest integer, halves to even (IEC 60559), saturated at the limits of the type; NaN gives 0."""
    if math.isnan(value):
        return 0
    if types.is_bool(target):
        return int(value != 0)
    found = types.iec_type(target)
    if found is None or found not in types.RANGE:
        return None
    low, high = types.RANGE[found]
    if math.isinf(value):
        return high if value > 0 else low
    return min(max(math.trunc(value) if trunc else round(value), low), high)


def _integer(value: int, source: hir.Type, target: hir.Type, source_scale: int, target_scale: int) -> int:
    if types.is_bool(target):
        return int(value != 0)
    from_time = types.is_kind(source, *types.TIMES)
    to_time = types.is_kind(target, *types.TIMES)
    if from_time and to_time:
        return _between_times(value, source, target)
    if from_time:
        return int(_divide(value, source_scale, real=False) or 0)
    return value * target_scale


def _between_times(value: int, source: hir.Type, target: hir.Type) -> int:
    if types.is_kind(source, *types.DTS) and types.is_kind(target, *types.DATES):
        return value // NS_PER_DAY * NS_PER_DAY
    if types.is_kind(source, *types.DTS) and types.is_kind(target, *types.TODS):
        return value % NS_PER_DAY
    return value


def _scale(kind: hir.Type) -> int:
    """Nanoseconds of one unit of a time type when it is converted to or from a number."""
    if types.is_kind(kind, IecType.TIME, IecType.TOD):
        return NS_PER_MS
    if types.is_kind(kind, IecType.DATE, IecType.DT):
        return NS_PER_S
    return 1


# ---------------------------------------------------------------- standard functions


def _real_function(function: Callable[[float], float]) -> Callable[[list[Number]], Number]:
    return lambda arguments: function(float(arguments[0]))


_FUNCTIONS: dict[str, Callable[[list[Number]], Number]] = {
    "ABS": lambda arguments: abs(arguments[0]),
    "MAX": max,
    "MIN": min,
    "LIMIT": lambda arguments: min(max(arguments[1], arguments[0]), arguments[2]),
    "SEL": lambda arguments: arguments[2] if arguments[0] else arguments[1],
    "MUX": lambda arguments: arguments[1 + min(max(int(arguments[0]), 0), len(arguments) - 2)],
    "ATAN2": lambda arguments: math.atan2(arguments[0], arguments[1]),
    **{
        name: _real_function(function)
        for name, function in {
            "SQRT": math.sqrt,
            "LN": math.log,
            "LOG": math.log10,
            "EXP": math.exp,
            "SIN": math.sin,
            "COS": math.cos,
            "TAN": math.tan,
            "ASIN": math.asin,
            "ACOS": math.acos,
            "ATAN": math.atan,
        }.items()
    },
}


def _intrinsic(expression: hir.Intrinsic, depth: int) -> hir.Constant | None:
    function = _FUNCTIONS.get(expression.name)
    if expression.name in _TEXT_FUNCTIONS:
        return _text(expression, depth)
    if function is None:
        return _shift(expression, depth)
    values: list[Number] = []
    for argument in expression.arguments:
        folded = fold(argument, depth + 1)
        if folded is None or isinstance(folded.value, str):
            return None
        values.append(folded.value)
    try:
        return hir.Constant(expression.type, normal(expression.type, function(values)), expression.line)
    except (ValueError, OverflowError):
        return None


def _insert(text: str, other: str, at: int) -> str:
    at = min(max(at, 0), len(text))
    return text[:at] + other + text[at:]


def _delete(text: str, count: int, at: int) -> str:
    first = max(at - 1, 0)
    return text[:first] + text[first + max(count, 0) :]


# Table 31; positions count from 1, and what lies outside is clamped.
_TEXT_FUNCTIONS: dict[str, Callable[..., str | int]] = {
    "LEN": len,
    "CONCAT": lambda *texts: "".join(texts),
    "LEFT": lambda text, count: text[: max(count, 0)],
    "RIGHT": lambda text, count: text[max(len(text) - max(count, 0), 0) :],
    "MID": lambda text, count, at: text[max(at - 1, 0) : max(at - 1, 0) + max(count, 0)],
    "INSERT": _insert,
    "DELETE": _delete,
    "REPLACE": lambda text, other, count, at: _insert(_delete(text, count, at), other, at - 1),
    "FIND": lambda text, other: text.find(other) + 1 if other else 0,
}


def _text(expression: hir.Intrinsic, depth: int) -> hir.Constant | None:
    folded = [fold(argument, depth + 1) for argument in expression.arguments]
    values = [constant.value for constant in folded if constant is not None]
    if len(values) != len(folded):
        return None
    value = _TEXT_FUNCTIONS[expression.name](*values)
    return hir.Constant(expression.type, normal(expression.type, value), expression.line)


def _shift(expression: hir.Intrinsic, depth: int) -> hir.Constant | None:
    if expression.name not in ("SHL", "SHR"):
        return None
    value, count = (fold(argument, depth + 1) for argument in expression.arguments)
    if value is None or count is None or not isinstance(value.value, int) or not isinstance(count.value, int):
        return None
    bits = min(max(count.value, 0), 64)
    shifted = value.value << bits if expression.name == "SHL" else value.value >> bits
    return hir.Constant(expression.type, normal(expression.type, shifted), expression.line)
