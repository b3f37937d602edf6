"""Conditions over variables, in the notation of Structured Text: ``pump AND NOT valve``, ``level >= 3.5 OR Main.trip``.

Grammar (precedence as in IEC 61131-3:2013, table 71): OR, XOR, AND or &, comparisons, NOT, parentheses; operands are
variables and literals. A literal is read as one of the type of the variable that it is compared with. There is no
arithmetic, and nothing here evaluates anything but this grammar.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from scan.abi import Symbol
from scan.problem import TickworkError, fail
from scan.values import Value, parse_literal

Read = Callable[[str], Value]
Find = Callable[[str], Symbol]  # raises TickworkError SC2001
Node = Callable[[Read], Value]

LENGTH_MAX = 2000
DEPTH_MAX = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<op><=|>=|<>|[=<>()&])|(?P<text>'(?:[^'$]|\$.)*'|\"(?:[^\"$]|\$.)*\")"
    r"|(?P<literal>[A-Za-z_][A-Za-z_0-9]*\#[^\s()&<>=]+|[+-]?\d[\w.#+-]*)"
    r"|(?P<name>[A-Za-z_][\w.\[\],]*))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WORDS = {"AND", "OR", "XOR", "NOT", "TRUE", "FALSE"}


class Condition:
    """A parsed condition. ``holds`` takes a function from a path to a value. Raises TickworkError SC4007, SC2001."""

    def __init__(self, text: str, find: Find) -> None:
        self.text = text
        self.paths: list[str] = []
        self._find = find
        self._tokens = _tokens(text)
        self._position = self._depth = 0
        self._node, kind = self._or()
        if self._position < len(self._tokens):
            raise self._wrong("the end, or AND, OR, XOR")
        if kind is not None and kind.type.name != "BOOL":
            raise fail("SC4007", "the condition is no truth value", expected="a comparison", found=text)

    def holds(self, read: Read) -> bool:
        return bool(self._node(read))

    # Each rule gives the node and, for a plain operand, its symbol.

    def _or(self) -> tuple[Node, Symbol | None]:
        return self._chain(
            ("OR",), lambda: self._chain(("XOR",), lambda: self._chain(("AND", "&"), self._compare))
        )

    def _chain(
        self, words: tuple[str, ...], below: Callable[[], tuple[Node, Symbol | None]]
    ) -> tuple[Node, Symbol | None]:
        node, kind = below()
        while self._peek() in words:
            word = self._next()
            self._boolean(kind)
            right, other = below()
            self._boolean(other)
            node, kind = _joined(word, node, right), None
        return node, kind

    def _boolean(self, kind: Symbol | None) -> None:
        if kind is not None and kind.type.name != "BOOL":
            raise fail("SC4007", f"{kind.path} is no truth value", expected="BOOL", found=kind.type_name)

    def _compare(self) -> tuple[Node, Symbol | None]:
        start = self._position
        left, kind = self._operand(None)
        if self._peek() not in _COMPARISONS:
            return left, kind
        compare = _COMPARISONS[self._next()]
        right, other = self._operand(kind)
        if kind is None and other is not None:  # a literal stood first: read it as what it is compared with
            end, self._position = self._position, start
            left, _ = self._operand(other)
            self._position = end
        return lambda read: _compared(compare, left(read), right(read)), None

    def _operand(self, like: Symbol | None) -> tuple[Node, Symbol | None]:
        kind, text = (
            self._tokens[self._position] if self._position < len(self._tokens) else ("end", "the end")
        )
        self._position += 1
        if text == "NOT":
            node, found = self._deeper(lambda: self._operand(None))
            self._boolean(found)
            return lambda read: not node(read), None
        if text == "(":
            inner, _ = self._deeper(self._or)
            if self._next() != ")":
                raise self._wrong(")", back=1)
            return inner, None
        if text in ("TRUE", "FALSE"):
            return lambda _read: text == "TRUE", None
        if kind == "name":
            value = _enumeration_value(text, like)
            if value is not None:
                return lambda _read: value, None
            symbol = self._find(text)
            self.paths.append(symbol.path)
            return lambda read: read(symbol.path), symbol
        if kind in ("literal", "text"):
            value = _literal(text, like)
            return lambda _read: value, None
        raise self._wrong("a variable or a literal", back=1)

    def _deeper(self, rule: Callable[[], tuple[Node, Symbol | None]]) -> tuple[Node, Symbol | None]:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise fail("SC4007", "the condition is nested too deeply", expected=f"at most {DEPTH_MAX} levels")
        found = rule()
        self._depth -= 1
        return found

    def _peek(self) -> str:
        return self._tokens[self._position][1] if self._position < len(self._tokens) else ""

    def _next(self) -> str:
        found = self._peek()
        self._position += 1
        return found

    def _wrong(self, expected: str, *, back: int = 0) -> TickworkError:
        position = self._position - back
        found = self._tokens[position][1] if position < len(self._tokens) else "the end"
        return fail(
            "SC4007", "the condition cannot be understood", expected=expected, found=found,
            remedy="an example: pump AND NOT valve OR level > 3.5",
        )  # fmt: skip


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > LENGTH_MAX:
        raise fail("SC4007", "the condition is too long", expected=f"at most {LENGTH_MAX} characters")
    found: list[tuple[str, str]] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise fail(
                "SC4007", "the condition cannot be understood", expected="variables, literals, AND, OR, NOT, = < >",
                found=text[position : position + 20],
            )  # fmt: skip
        word = match[match.lastgroup]
        upper = word.upper()
        kind = "op" if match.lastgroup == "name" and upper in _WORDS else match.lastgroup
        found.append((kind, upper if kind == "op" else word))
        position = match.end()
    return found


def _literal(text: str, like: Symbol | None) -> Value:
    if like is not None:
        return parse_literal(like, text)
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _enumeration_value(text: str, like: Symbol | None) -> Value | None:
    """The value that a name means for an enumeration; None when it is no such name."""
    if like is None or like.type.name in ("BOOL", "STRING", "WSTRING"):
        return None
    try:
        return parse_literal(like, text)
    except TickworkError:
        return None


def _joined(word: str, left: Node, right: Node) -> Node:
    if word == "OR":
        return lambda read: bool(left(read)) or bool(right(read))
    if word == "XOR":
        return lambda read: bool(left(read)) != bool(right(read))
    return lambda read: bool(left(read)) and bool(right(read))


def _compared(compare: Callable[[Any, Any], bool], left: Value, right: Value) -> bool:
    try:
        return compare(left, right)
    except TypeError:
        raise fail("SC4007", "these values cannot be compared", found=f"{left!r} and {right!r}") from None
