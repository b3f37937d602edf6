"""Expressions over tags: ``Pump.Run AND NOT (Flow > 0.5)``, ``ABS(Tank1.Level - Tank2.Level) > 10``.

Grammar (operators and precedence of IEC 61131-3:2013 table 71): OR, XOR, AND or &, = <> < <= > >=, + -, * / MOD,
unary - and NOT, ABS MIN MAX SQRT, parentheses; operands are numbers, TRUE, FALSE, variables, and variables of another
runtime in double quotes: ``"water-1:Control.Level1"``. Beside a variable of an enumeration type its names are known.
Nothing here evaluates anything but this grammar; a division by zero gives no value (NaN).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scan.problem import TickworkError, fail

Values = Sequence[float]  # by the expression's own operands
Node = Callable[[Values], float]

LENGTH_MAX = 2000
DEPTH_MAX = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<op><=|>=|<>|[=<>()&+\-*/,])"
    r"|\"(?P<quoted>[^\"]+)\"|(?P<name>\$?[A-Za-z_][\w.]*(?:\[[^\]]*\][\w.]*)*))"
)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
_FUNCTIONS: dict[str, tuple[int, Callable[..., float]]] = {
    "ABS": (1, abs), "MIN": (2, min), "MAX": (2, max), "SQRT": (1, lambda a: math.sqrt(a) if a >= 0 else math.nan),
}  # fmt: skip
_WORDS = {"AND", "OR", "XOR", "NOT", "MOD", "TRUE", "FALSE", *_FUNCTIONS}
_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan, "MOD": lambda a, b: math.fmod(a, b) if b else math.nan,
    "AND": lambda a, b: float(bool(a) and bool(b)), "OR": lambda a, b: float(bool(a) or bool(b)),
    "XOR": lambda a, b: float(bool(a) != bool(b)),
}  # fmt: skip
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("OR",),
    ("XOR",),
    ("AND",),
    tuple(_COMPARE),
    ("+", "-"),
    ("*", "/", "MOD"),
)
Enumerations = Mapping[str, Mapping[str, int]]  # path in capitals -> name in capitals -> number


@dataclass(slots=True)
class Expression:
    """``evaluate`` takes the values of ``tags`` in their order. Raises TickworkError AL1003 when it is none."""

    text: str
    enumerations: Enumerations = field(default_factory=dict)
    tags: tuple[str, ...] = field(init=False, default=())
    _node: Node = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parser = _Parser(self.text, self.enumerations)
        self._node = parser.whole()
        self.tags = tuple(parser.tags)

    def evaluate(self, values: Values) -> float:
        """NaN when there is no value."""
        try:
            return float(self._node(values))
        except (OverflowError, ValueError):
            return math.nan


class _Parser:
    def __init__(self, text: str, enumerations: Enumerations) -> None:
        if len(text) > LENGTH_MAX:
            raise _wrong(text[:60] + "…", f"at most {LENGTH_MAX} characters")
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._enumerations = enumerations
        self.tags: list[str] = []

    def whole(self) -> Node:
        node = self._level(0)
        if self._at < len(self._tokens):
            raise _wrong(self._text, "an operator", self._peek()[1])
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _level(self, depth: int) -> Node:
        if depth == len(_LEVELS):
            return self._unary()
        start = self._at
        node = self._level(depth + 1)
        while self._peek()[0] == "op" and self._peek()[1] in _LEVELS[depth]:
            operator = self._take()[1]
            middle = self._at
            right = self._level(depth + 1)
            if operator in _COMPARE:
                node, right = self._named(start, middle, node, right)
                node = _comparison(_COMPARE[operator], node, right)
            else:
                node = _operation(_BINARY[operator], node, right)
        return node

    def _named(self, start: int, middle: int, left: Node, right: Node) -> tuple[Node, Node]:
        """``State = Tripped``: a lone name beside a variable of an enumeration is one of its values."""
        sides = (self._tokens[start : middle - 1], self._tokens[middle : self._at])
        if any(len(side) != 1 or side[0][0] not in ("name", "quoted") for side in sides):
            return left, right
        names = [side[0][1] for side in sides]
        for one, other in ((0, 1), (1, 0)):
            number = self._enumerations.get(names[one].upper(), {}).get(names[other].split("#")[-1].upper())
            if number is not None:
                self._forget(names[other])
                constant = float(number)
                node: Node = lambda _values, constant=constant: constant  # type: ignore[misc]  # noqa: E731
                return (left, node) if one == 0 else (node, right)
        return left, right

    def _forget(self, name: str) -> None:
        """It was taken for a variable; a later operand never refers to it, so its place can only be the last."""
        if self.tags and self.tags[-1] == name:
            self.tags.pop()

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _wrong(self._text, f"at most {DEPTH_MAX} levels of nesting")
        kind, word = self._take()
        node = self._operand(kind, word)
        self._depth -= 1
        return node

    def _operand(self, kind: str, word: str) -> Node:
        if kind == "number":
            number = float(word)
            return lambda _values: number
        if kind == "op" and word in ("NOT", "-"):
            inner = self._unary()
            return (
                (lambda v: -inner(v)) if word == "-" else (lambda v: _unless_nan(inner(v), lambda a: not a))
            )
        if kind == "op" and word in ("TRUE", "FALSE"):
            truth = float(word == "TRUE")
            return lambda _values: truth
        if kind == "op" and word in _FUNCTIONS:
            return self._call(word)
        if kind == "op" and word == "(":
            node = self._level(0)
            self._expect(")")
            return node
        if kind in ("name", "quoted"):
            return self._variable(word)
        raise _wrong(self._text, "a variable, a number or (", word)

    def _variable(self, name: str) -> Node:
        known = [tag.upper() for tag in self.tags]
        if name.upper() not in known:
            self.tags.append(name)
            known.append(name.upper())
        index = known.index(name.upper())
        return lambda values: values[index]

    def _call(self, name: str) -> Node:
        count, function = _FUNCTIONS[name]
        self._expect("(")
        first = self._level(0)
        if count == 1:
            self._expect(")")
            return lambda v: _unless_nan(first(v), function)
        self._expect(",")
        second = self._level(0)
        self._expect(")")
        return _operation(function, first, second)

    def _expect(self, sign: str) -> None:
        _, word = self._take()
        if word != sign:
            raise _wrong(self._text, sign, word)


def _unless_nan(value: float, function: Callable[[float], float]) -> float:
    return value if math.isnan(value) else float(function(value))


def _comparison(compare: Callable[[float, float], bool], left: Node, right: Node) -> Node:
    return _operation(lambda a, b: float(compare(a, b)), left, right)


def _operation(function: Callable[[float, float], float], left: Node, right: Node) -> Node:
    def node(values: Values) -> float:
        a, b = left(values), right(values)
        return math.nan if math.isnan(a) or math.isnan(b) else float(function(a, b))

    return node


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise _wrong(text, "variables, numbers and operators", text[position : position + 20])
        word, kind = match[match.lastgroup], match.lastgroup
        if kind == "name" and word.upper() in _WORDS:
            kind, word = "op", word.upper()
        found.append((kind, "AND" if word == "&" else word))
        position = match.end()
    return found


def _wrong(text: str, expected: str, found: str = "") -> TickworkError:
    return fail(
        "AL1003", f"the expression {text!r} cannot be understood", expected=expected, found=found,
        remedy="an example: Pump.Run AND NOT (Flow > 0.5)",
    )  # fmt: skip
