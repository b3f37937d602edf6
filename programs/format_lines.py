"""Tokens to lines: where a line ends, how far it is indented, where a space stands."""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field

from programs.source import Source
from programs.tokens import (
    BLOCK_ENDS,
    DIRECT,
    END,
    NAME,
    NUMBER,
    RESERVED,
    STRING,
    TIME,
    VARIABLE_SECTIONS,
    WSTRING,
    Layout,
    Tokens,
)

INDENT = 4
COLUMNS_MAX = 1_000  # nothing further to the right is aligned
TAB = 4  # columns of a tab, to tell what the author aligned
_OPERANDS = frozenset((NUMBER, STRING, WSTRING, TIME, DIRECT))
_NO_SPACE_BEFORE = frozenset((";", ",", ")", "]", "^", "#", "..", "..."))
_NO_SPACE_AFTER = frozenset(("(", "[", "#", "..", "."))
_OPERATOR_LIKE = frozenset(("BY", "FROM", "AND_THEN", "OR_ELSE", "AT", "WITH"))
_SIGNS = frozenset(("-", "+", "&"))
_DEDENTED = frozenset(("ELSE", "ELSIF", "UNTIL", "__CATCH", "__FINALLY"))
_LINE_END_WORDS = frozenset(("THEN", "DO", "ELSE", "REPEAT"))
_LEVEL_SECTIONS = frozenset(
    ("FUNCTION", "FUNCTION_BLOCK", "PROGRAM", "CLASS", "METHOD", "GET", "SET", "FUNCTIONBLOCK")
)
_DECLARING = VARIABLE_SECTIONS | {"STRUCT", "UNION"}
_TYPE_ENDS = frozenset(("END_STRUCT", "END_UNION"))
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


@dataclass(slots=True)
class Piece:
    """A token, comment or pragma of a line, ``gap`` spaces behind the one before.

    ``column`` and ``source_gap``: where it stood in the source. ``mark``: "colon", "assign", "comment" or "".
    """

    text: str
    gap: int = 0
    column: int = 0
    source_gap: int = 0
    mark: str = ""


@dataclass(slots=True)
class Line:
    """A line of the result; without pieces it is empty."""

    indent: int = 0
    pieces: list[Piece] = field(default_factory=list)

    def text(self) -> str:
        parts = [" " * self.indent, *(" " * piece.gap + piece.text for piece in self.pieces)]
        return "".join(parts).rstrip(" \t") if self.pieces else ""

    def width(self, until: int) -> int:
        """Columns up to the end of the piece before ``until``; of a comment of several lines, its last one."""
        column = self.indent
        for piece in self.pieces[:until]:
            column += piece.gap
            head, line_break, tail = piece.text.rpartition("\n")
            column = len(tail) if line_break else column + len(head + tail)
        return column

    def only_remarks(self) -> bool:
        """Comments and pragmas alone."""
        return bool(self.pieces) and all(piece.mark == "comment" for piece in self.pieces)

    def marked(self, kind: str) -> int:
        """Index of the first piece of a kind behind the line's first, -1 without one."""
        return next((at for at, piece in enumerate(self.pieces) if at and piece.mark == kind), -1)


@dataclass(slots=True)
class _Item:
    start: int
    end: int
    token: int  # index of the token, or of the one that a comment or pragma stands before
    is_token: bool


class Lines:
    """One pass over tokens, comments and pragmas in their order."""

    def __init__(self, source: Source, tokens: Tokens, layout: Layout) -> None:
        self._text = source.text
        self._base = source.base
        self._tokens = tokens
        self._keys = tokens.keys
        self._layout = layout
        self._closes = {end: opened for opened, end in layout.blocks}
        self._opens = {opened for opened, _ in layout.blocks}
        self._in_list = {index for span in layout.instruction_lists for index in range(*span)}
        self._extra = self._branch_levels()
        self._stack: list[int] = []  # openers of the blocks that are open
        self._brackets = 0
        self._lines: list[Line] = []
        self._fresh = True  # a new logical line starts with the next token
        self._previous = -1  # index of the token before
        self._leading = True  # the current line has nothing that the next statement must not stand behind
        self._after_trivia = False  # the last piece is a comment or pragma
        self._line_start = [0, *(found.end() for found in _LINE_BREAK.finditer(self._text))]
        self._logical_indent = 0  # of the line on which the current statement starts
        self._logical_column = 0  # the same in the source

    def _branch_levels(self) -> list[int]:
        """One level more for the statements of CASE branches, by token."""
        change = [0] * (len(self._keys) + 1)
        for _, colon, end in self._layout.branches:
            change[colon + 1] += 1
            change[end] -= 1
        level, levels = 0, []
        for step in change:
            level += step
            levels.append(level)
        return levels

    def read(self) -> list[Line]:
        """All lines; no empty one at either end, never two in a row."""
        previous_end = 0
        for item in self._items():
            between = self._text[previous_end : item.start]
            breaks = len(_LINE_BREAK.findall(between))
            if item.is_token:
                self._token(item, breaks, between)
            else:
                self._trivia(item, breaks, between)
            previous_end = item.end
        while self._lines and not self._lines[-1].pieces:
            self._lines.pop()
        return self._lines

    def _items(self) -> list[_Item]:
        tokens, base = self._tokens, self._base
        found = [
            _Item(start - base, end - base, index, True)
            for index, (start, end, kind) in enumerate(
                zip(tokens.starts, tokens.ends, tokens.kinds, strict=True)
            )
            if kind != END
        ]
        for kept in (tokens.comments, tokens.pragmas):
            found += [
                _Item(start - base, end - base, index, False)
                for index, spans in kept.items()
                for start, end in spans
            ]
        return sorted(found, key=lambda item: item.start)

    # ------------------------------------------------------------ tokens

    def _token(self, item: _Item, breaks: int, between: str) -> None:
        index = item.token
        key = self._keys[index]
        closes = index in self._closes
        if closes:
            while self._stack and self._stack.pop() != self._closes[index]:
                pass
        forced = self._fresh or ((closes or key in _DEDENTED) and self._keys[index - 1] != ".")
        logical_start = forced or index in self._in_list or index - 1 in self._layout.tight_colons
        if not self._lines or breaks or (forced and not self._leading):
            indent = self._indent(index, key, logical_start)
            if logical_start:
                self._logical_indent, self._logical_column = indent, self._column(item.start)
            elif key not in (")", "]"):
                indent = max(indent, self._logical_indent + self._column(item.start) - self._logical_column)
            self._new_line(breaks, indent, keep_blank=not closes)
        space = self._space(index) or (self._after_trivia and key not in _NO_SPACE_BEFORE)
        self._add(item, space, between, self._mark(index, key))
        if key in ("(", "["):
            self._brackets += 1
        elif key in (")", "]"):
            self._brackets = max(self._brackets - 1, 0)
        if index in self._opens:
            self._stack.append(index)
        self._fresh = self._ends_line(index, key)
        self._previous = index

    def _new_line(self, breaks: int, indent: int, *, keep_blank: bool) -> None:
        opened = self._previous in self._layout.line_ends or (
            self._previous >= 0 and self._keys[self._previous] in _LINE_END_WORDS
        )
        if breaks > 1 and self._lines and keep_blank and not (opened and self._fresh and self._just_opened()):
            self._lines.append(Line())
        self._lines.append(Line(indent))
        self._leading = True

    def _just_opened(self) -> bool:
        """Nothing but the head of a block precedes."""
        return bool(self._lines) and bool(self._lines[-1].pieces) and not self._after_trivia

    def _indent(self, index: int, key: str, logical_start: bool) -> int:
        level = len(self._stack) + self._extra[index]
        level -= sum(1 for opener in self._stack if self._is_level_section(opener))
        if self._keys[index - 1] != "." and key in _DEDENTED and index not in self._closes and self._stack:
            level -= 1
        if self._level_section_starts(index, key):
            level -= 1
        if not logical_start:
            closing = key in (")", "]")
            level += max(self._brackets - (1 if closing else 0), 0 if closing else 1)
        return max(level, 0) * INDENT

    def _is_level_section(self, opener: int) -> bool:
        """A variable section inside a POU, which stands level with it."""
        if self._keys[opener] not in VARIABLE_SECTIONS:
            return False
        at = self._stack.index(opener)
        return at > 0 and self._keys[self._stack[at - 1]] in _LEVEL_SECTIONS

    def _level_section_starts(self, index: int, key: str) -> bool:
        opens = index in self._opens and key in VARIABLE_SECTIONS
        closes = index in self._closes and key == "END_VAR"
        return (opens or closes) and bool(self._stack) and self._keys[self._stack[-1]] in _LEVEL_SECTIONS

    def _ends_line(self, index: int, key: str) -> bool:
        following = self._keys[index + 1]
        if key == ";":
            return self._brackets == 0
        if index in self._closes:
            return following != ";" and not (key in _TYPE_ENDS and following == ":=")
        if index in self._layout.line_ends:
            return following != ";"
        return key in _LINE_END_WORDS and self._keys[index - 1] != "."

    def _mark(self, index: int, key: str) -> str:
        if key == ":" and self._brackets == 0 and index not in self._layout.tight_colons:
            declares = bool(self._stack) and self._keys[self._stack[-1]] in _DECLARING
            return "colon" if declares else ""
        return "assign" if key in (":=", "=>") else ""

    # ------------------------------------------------------------ comments and pragmas

    def _trivia(self, item: _Item, breaks: int, between: str) -> None:
        pragma_of_next = self._fresh and not self._leading and self._text[item.start] in "{@"
        if not self._lines or breaks or pragma_of_next:
            key = self._keys[item.token]
            belongs_inside = key in BLOCK_ENDS or item.token in self._closes
            indent = self._indent(item.token, "" if belongs_inside else key, self._fresh)
            self._new_line(breaks, indent, keep_blank=True)
        self._add(item, bool(self._lines[-1].pieces), between, "comment")
        self._after_trivia = True

    # ------------------------------------------------------------ spaces

    def _add(self, item: _Item, space: bool, between: str, mark: str) -> None:
        line = self._lines[-1]
        text = self._text[item.start : item.end]
        piece = Piece(text.rstrip(" \t") if text.startswith("//") else text, int(space) if line.pieces else 0)
        if mark:
            piece.mark = mark
            piece.column = self._column(item.start)
            piece.source_gap = (
                0 if "\n" in between else piece.column - self._column(item.start - len(between))
            )
        line.pieces.append(piece)
        if item.is_token:
            self._leading = False
            self._after_trivia = False
        elif text.startswith("//"):
            self._leading = False

    def _column(self, offset: int) -> int:
        """Column of an offset of the source, from 0, tabs expanded."""
        start = self._line_start[bisect.bisect_right(self._line_start, offset) - 1]
        return len(self._text[start : min(offset, start + COLUMNS_MAX)].expandtabs(TAB))

    def _space(self, index: int) -> bool:
        """A space stands before the token (on the same line)."""
        if index == 0:
            return False
        keys, kinds = self._keys, self._tokens.kinds
        key, before = keys[index], keys[index - 1]
        if before in _NO_SPACE_AFTER or self._is_sign(index - 1):
            return False
        if key in _NO_SPACE_BEFORE or index in self._layout.tight_colons:
            return False
        if key == ".":
            return not self._is_operand(index - 1)
        if key in ("(", "["):
            return not self._is_operand(index - 1)
        if key == "=" and before in ("S", "R", "REF"):
            return self._tokens.starts[index] != self._tokens.ends[index - 1]
        return kinds[index] != END

    def _is_operand(self, index: int) -> bool:
        """A value or name ends with the token."""
        if index < 0:
            return False
        key, kind = self._keys[index], self._tokens.kinds[index]
        if kind in _OPERANDS or key in (")", "]", "^"):
            return True
        if kind != NAME:
            return False
        if index and self._keys[index - 1] == ".":
            return True
        if key in ("ARRAY", "TRUE", "FALSE"):
            return True
        return key not in RESERVED and key not in _OPERATOR_LIKE

    def _is_sign(self, index: int) -> bool:
        """A sign of what follows, not an operator between two operands."""
        return index >= 0 and self._keys[index] in _SIGNS and not self._is_operand(index - 1)
