"""Literals and direct addresses: one token, one node (IEC 61131-3, 6.3 and 6.5.5)."""

from __future__ import annotations

import re

from programs import ast, parse_literals
from programs.parse_cursor import Cursor
from programs.parse_literals import LiteralError
from programs.tokens import NAME, WSTRING

DIRECT_SIZES = "XBWDL"
_ADDRESS = re.compile(r"\*|\d{1,9}(?:\.\d{1,9}){0,7}", re.ASCII)


class Atoms(Cursor):
    """Operands without parts."""

    def _boolean(self) -> ast.Expression:
        i = self.i
        self.i += 1
        return ast.BoolLiteral(self.starts[i], self.ends[i], self.keys[i] == "TRUE", "")

    def _null(self) -> ast.Expression:
        i = self.i
        self.i += 1
        return ast.NullLiteral(self.starts[i], self.ends[i])

    def _decode_failed(self, error: LiteralError, start: int, end: int) -> None:
        if error.length:
            start, end = start + error.offset, start + error.offset + error.length
        self.report(error.code, error.message, at=(start, end), remedy=error.remedy)

    def _number(self, prefix: str, start: int) -> ast.IntegerLiteral | ast.RealLiteral:
        i = self.i
        self.i += 1
        text, end = self.texts[i], self.ends[i]
        try:
            if "#" not in text and ("." in text or "e" in text or "E" in text):
                return ast.RealLiteral(start, end, parse_literals.real(text), text.replace("_", ""), prefix)
            value, radix = parse_literals.integer(text)
        except LiteralError as error:
            self._decode_failed(error, self.starts[i], end)
            value, radix = 0, 10
        literal = ast.IntegerLiteral(start, end, value, radix, prefix)
        next_i = self.i
        if self.kinds[next_i] == NAME and self.starts[next_i] == end and not self.in_il_operand():
            self.fail(
                "ST1006",
                f"{text[:20]}{self.texts[next_i][:20]} is neither a number nor a name",
                at=(start, self.ends[next_i]),
                remedy="a name starts with a letter; hexadecimal numbers start with 16#",
            )
        return literal

    def in_il_operand(self) -> bool:
        return False

    def _time(self) -> ast.Expression:
        i = self.i
        self.i += 1
        try:
            value_ns, kind = parse_literals.time(self.texts[i])
        except LiteralError as error:
            self._decode_failed(error, self.starts[i], self.ends[i])
            value_ns, kind = 0, "TIME"
        return ast.TimeLiteral(self.starts[i], self.ends[i], value_ns, kind)

    def _string(self, prefix: str = "", start: int | None = None) -> ast.Expression:
        i = self.i
        self.i += 1
        wide = self.kinds[i] == WSTRING
        try:
            value = parse_literals.string(self.texts[i], wide=wide)
        except LiteralError as error:
            self._decode_failed(error, self.starts[i], self.ends[i])
            value = ""
        return ast.StringLiteral(
            self.starts[i] if start is None else start, self.ends[i], value, wide, prefix
        )

    def _direct(self) -> ast.DirectVariable:
        """``%IX0.3`` (6.5.5)."""
        i = self.i
        self.i += 1
        text = self.texts[i].upper()
        area, rest = text[1:2], text[2:]
        size = rest[:1] if rest[:1] in DIRECT_SIZES and rest else ""
        numbers = rest[len(size) :].replace("_", "")
        inside = bool(self.open_ends) and self.open_ends[-1] in ("END_STRUCT", "END_UNION")
        if inside and area in ("X", "B", "W", "D", "L") and _ADDRESS.fullmatch(rest) and rest != "*":
            # Relative to the beginning of the structure (6.4.4.8).
            address = tuple(int(part) for part in rest.replace("_", "").split("."))
            return ast.DirectVariable(self.starts[i], self.ends[i], text, "", area, address)
        if area not in ("I", "Q", "M") or not _ADDRESS.fullmatch(numbers):
            self.report(
                "ST1010",
                f"{self.texts[i][:40]} is no direct address",
                at=(self.starts[i], self.ends[i]),
                remedy="write area I, Q or M, size X, B, W, D or L, and the address, as in %IX0.3 or %QW4",
            )
            return ast.DirectVariable(self.starts[i], self.ends[i], text, "M", "B", (0,))
        address = () if numbers == "*" else tuple(int(part) for part in numbers.split("."))
        return ast.DirectVariable(
            self.starts[i], self.ends[i], text, area, "*" if numbers == "*" else size, address
        )
