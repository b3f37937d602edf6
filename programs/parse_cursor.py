"""The parser's place in the tokens: looking, taking, failing, recovering.

Theory. The parser is one class in layers, each module adding a part of the grammar (recursive descent, and operator
precedence for expressions). A syntax error is reported once and raised as ``ParseError``; whoever owns a list (of
statements, variables, declarations) catches it, skips to a place where the next element can start, and goes on.
A misspelt keyword is reported, put right in the token list, and read again (``RepairedError``).

Invariant. Whoever catches a failure moves forward by at least one token or returns, so any text ends.
"""

from __future__ import annotations

from typing import NoReturn

from programs import ast
from programs.diagnostics import Diagnostics, closest
from programs.source import Source
from programs.tokens import (
    BLOCK_ENDS,
    ENDS,
    KIND_NAMES,
    NAME,
    OPERATOR,
    OPERATOR_WORDS,
    RESERVED,
    STATEMENT_OPENERS,
    STRING,
    TOP_LEVEL,
    Layout,
    Tokens,
)

NESTING_MAX = 100  # blocks and brackets inside each other; four Python frames each stay under 1,000
OPERATORS_MAX = 1_000  # operators and brackets in one expression; bounds the height of the tree
ERRORS_MAX = 5_000  # errors in one source after which the rest is not looked at
LOOK_AHEAD_MAX = 200  # tokens looked at to tell two forms apart
GUESSES_MAX = 2_000  # words compared with the keywords; bounds the work on a text that is no program
_CLOSING = frozenset(")]")


class ParseError(Exception):
    """A syntax error that has been reported; what was being read is given up."""


class RepairedError(ParseError):
    """A keyword was put right; read again from the current token."""


class GiveUpError(Exception):
    """So many errors that the text is no program; bounds the work on it."""


class Cursor:
    """Tokens of one source and the place in them."""

    def __init__(self, source: Source, tokens: Tokens, dialect: str, diagnostics: Diagnostics) -> None:
        self.source = source
        self.tokens = tokens
        self.keys = tokens.keys
        self.kinds = tokens.kinds
        self.texts = tokens.texts
        self.starts = tokens.starts
        self.ends = tokens.ends
        self.dialect = dialect
        self.diagnostics = diagnostics
        self.i = 0
        self.depth = 0
        self.operator_count = 0
        self.guess_count = 0
        self.errors_before = diagnostics.error_count
        self.open_ends: list[str] = []  # END_… words of the constructs that are open, outermost first
        self.layout = Layout()
        self.used_dialects: list[frozenset[str]] = []

    # ------------------------------------------------------------ looking

    def key(self, ahead: int = 0) -> str:
        index = self.i + ahead
        return self.keys[index] if index < len(self.keys) else self.keys[-1]

    def kind(self, ahead: int = 0) -> int:
        index = self.i + ahead
        return self.kinds[index] if index < len(self.kinds) else self.kinds[-1]

    def at_name(self, ahead: int = 0) -> bool:
        """A word that may be a name."""
        return self.kind(ahead) == NAME and self.key(ahead) not in RESERVED

    def on_new_line(self, ahead: int = 0) -> bool:
        """There is a line end before the token."""
        index = min(self.i + ahead, len(self.starts) - 1)
        if index == 0:
            return True
        base = self.source.base
        between = self.source.text[self.ends[index - 1] - base : self.starts[index] - base]
        return "\n" in between or "\r" in between

    def found(self) -> str:
        """The current token in words."""
        key = self.keys[self.i]
        if self.kinds[self.i] == NAME and (key in RESERVED or key in TOP_LEVEL):
            return key
        if self.kinds[self.i] in (NAME, OPERATOR):
            return self.texts[self.i][:40]
        text = self.texts[self.i][:40]
        return f"{KIND_NAMES[self.kinds[self.i]]} {text}".strip()

    # ------------------------------------------------------------ taking

    def accept(self, key: str) -> bool:
        if self.keys[self.i] == key:
            self.i += 1
            return True
        return False

    def expect(self, key: str, context: str = "") -> int:
        """Take the operator or word, return its index; a failure otherwise."""
        if self.keys[self.i] != key:
            self.fail_expected(key, context)
        self.i += 1
        return self.i - 1

    def close(self, closing: str, opened_at: int) -> None:
        """Take a closing bracket."""
        if self.keys[self.i] == closing:
            self.i += 1
            return
        opening = self.texts[opened_at]
        self.fail(
            "ST2013",
            f"the bracket {opening} is not closed",
            expected=closing,
            found=self.found(),
            remedy=f"write {closing} where the bracket ends",
            notes=(f"it was opened at {self.diagnostics.describe(self.starts[opened_at])}",),
        )

    def expect_name(self, what: str) -> ast.Name:
        """A simple name of something (``what`` for the message)."""
        i = self.i
        if self.kinds[i] == NAME and self.keys[i] not in RESERVED:
            self.i = i + 1
            return ast.Name(self.starts[i], self.ends[i], self.texts[i])
        if self.kinds[i] == NAME and self.key(1) in (":", ",", ":=", "AT"):
            self.report(
                "ST2008",
                f"{self.keys[i]} is a keyword and cannot be {what}",
                expected="a name",
                found=self.found(),
                remedy="choose another name",
            )
            self.i = i + 1
            return ast.Name(self.starts[i], self.ends[i], self.texts[i])
        if self.kinds[i] == NAME and not self.on_new_line():
            self.fail(
                "ST2008",
                f"{self.keys[i]} is a keyword and cannot be {what}",
                expected="a name",
                found=self.found(),
                remedy="choose another name",
            )
        return self.fail_expected("a name", what)

    def any_word(self, what: str) -> ast.Name:
        """A name behind a point, where also a keyword is one."""
        i = self.i
        if self.kinds[i] != NAME:
            self.fail_expected("a name", what)
        self.i = i + 1
        return ast.Name(self.starts[i], self.ends[i], self.texts[i])

    def dotted_name(self, what: str) -> ast.Name | ast.Member:
        """``a`` or ``a.b.c``."""
        name: ast.Name | ast.Member = self.expect_name(what)
        while self.keys[self.i] == "." and self.kind(1) == NAME:
            self.i += 1
            member = self.any_word(what)
            name = ast.Member(name.start, member.end, name, member)
        return name

    def enter(self) -> None:
        """One level of nesting deeper; whoever catches failures resets ``depth``."""
        self.depth += 1
        if self.depth > NESTING_MAX:
            self.fail(
                "ST2010",
                f"blocks and brackets are nested more than {NESTING_MAX} deep",
                remedy="move the inner part to a function or a variable of its own",
            )

    def count_operator(self) -> None:
        self.operator_count += 1
        if self.operator_count > OPERATORS_MAX:
            self.fail(
                "ST2010",
                f"the expression has more than {OPERATORS_MAX} operators",
                remedy="compute it in several statements",
            )

    # ------------------------------------------------------------ problems

    def span(self, ahead: int = 0) -> tuple[int, int]:
        index = min(max(self.i + ahead, 0), len(self.starts) - 1)
        return self.starts[index], self.ends[index]

    def report(
        self,
        code: str,
        message: str,
        *,
        at: tuple[int, int] | None = None,
        expected: str = "",
        found: str = "",
        remedy: str = "",
        notes: tuple[str, ...] = (),
    ) -> None:
        if at is None and self.i in self.tokens.damaged:
            return  # a consequence of what the lexer has reported
        self.diagnostics.report(
            code, at or self.span(), message, expected=expected, found=found, remedy=remedy, notes=notes
        )
        if self.diagnostics.error_count > self.errors_before + ERRORS_MAX:
            raise GiveUpError

    def fail(
        self,
        code: str,
        message: str,
        *,
        at: tuple[int, int] | None = None,
        expected: str = "",
        found: str = "",
        remedy: str = "",
        notes: tuple[str, ...] = (),
    ) -> NoReturn:
        self.report(code, message, at=at, expected=expected, found=found, remedy=remedy, notes=notes)
        raise ParseError

    def fail_expected(self, expected: str, context: str = "") -> NoReturn:
        where = f" ({context})" if context else ""
        self.fail("ST2001", f"{self.found()} does not fit here{where}", expected=expected, found=self.found())

    def other_dialect(self, form: str, *dialects: str, at: tuple[int, int] | None = None) -> None:
        """Note that a form of certain dialects is used; a problem if the current dialect lacks it."""
        if self.dialect == "auto":
            self.used_dialects.append(frozenset(dialects))
        elif self.dialect not in dialects:
            names = " and ".join(dialects)
            self.report(
                "ST2009",
                f"{form} is a form of the dialect {names}, this source is read as {self.dialect}",
                at=at,
                remedy=f"set the dialect of the program to {dialects[0]}, or use the standard's form",
            )

    def semicolon(self, context: str) -> None:
        """Take the ``;`` behind something complete. At a line end a missing one is reported and supplied."""
        if self.keys[self.i] == ";":
            self.i += 1
            return
        end = self.ends[self.i - 1]
        begins = self.kinds[self.i] == NAME and self.key(1) in (":", ":=")  # the next one, on the same line
        if self.on_new_line() or begins or self.keys[self.i] in RESERVED or self.keys[self.i] == "<end>":
            self.report(
                "ST2002",
                f"a semicolon is missing after {context}",
                at=(max(end - 1, self.source.base), end),
                expected=";",
                found=self.found(),
                remedy="end it with ;",
            )
            return
        if self.keys[self.i] in _CLOSING:
            self.fail(
                "ST2013", f"the bracket {self.found()} was not opened", remedy="remove it, or open it before"
            )
        if self.kinds[self.i] == STRING and self.kinds[self.i - 1] == STRING and self.starts[self.i] == end:
            self.fail(
                "ST1002",
                "the string ends at its second quote",
                at=(end - 1, end + 1),
                remedy="a ' inside a string is written $'",
            )
        self.fail_expected(";", context)

    def keyword(self, key: str, context: str) -> None:
        """Take THEN, DO, OF, …; when it is missing say so and go on as if it were there."""
        if self.keys[self.i] == key:
            self.i += 1
            return
        misspelt = self.at_name() and not self.on_new_line() and closest(self.keys[self.i], [key])
        if misspelt:
            self._report_misspelt(key)
            self.i += 1
            return
        end = self.ends[self.i - 1]
        self.report(
            "ST2014",
            f"{key} is missing {context}",
            at=(max(end - 1, self.source.base), end),
            expected=key,
            found=self.found(),
            remedy=f"write {key}",
        )
        if self.keys[self.i] in (":", ";") and key in ("THEN", "DO", "OF"):
            self.i += 1

    # ------------------------------------------------------------ misspelt keywords

    def repair(self, known: list[str]) -> None:
        """If the current word is probably one of ``known``, report it, put it right and read again."""
        meant = self.meant(known)
        if meant:
            self._report_misspelt(meant)
            self.keys[self.i] = meant
            raise RepairedError

    def meant(self, known: list[str]) -> str:
        """The keyword that the current word was probably meant to be."""
        key = self.keys[self.i]
        if self.kinds[self.i] != NAME or key in known:
            return ""
        plain = key.replace("_", "")
        for candidate in known:
            if candidate.replace("_", "") == plain:
                return candidate
        if plain in ("ELSEIF", "ELIF", "ELSIFF") and "ELSIF" in known:
            return "ELSIF"
        self.guess_count += 1
        if self.guess_count > GUESSES_MAX:
            return ""
        return closest(key, known)

    def _report_misspelt(self, meant: str) -> None:
        self.report(
            "ST2007",
            f"{self.texts[self.i][:40]} is no keyword; did you mean {meant}?",
            expected=meant,
            found=self.texts[self.i][:40],
            remedy=f"write {meant}",
        )

    # ------------------------------------------------------------ blocks

    def end_line(self, *, colon: bool = False) -> None:
        """The head of a construct is complete: for the formatter. ``colon``: it ends with that of a label."""
        self.layout.line_ends.add(self.i - 1)
        if colon and self.keys[self.i - 1] == ":":
            self.layout.tight_colons.add(self.i - 1)

    def end_of(self, end: str, opened_at: int, what: str) -> bool:
        """Take the END_… word of a construct; a missing or another one is reported. True if it was there."""
        key = self.keys[self.i]
        if key == end:
            self.layout.blocks.append((opened_at, self.i))
            self.i += 1
            return True
        opened = self.diagnostics.describe(self.starts[opened_at])
        wrong = key in ENDS and key not in BLOCK_ENDS - {
            "END_IF",
            "END_CASE",
            "END_FOR",
            "END_WHILE",
            "END_REPEAT",
        }
        if wrong and key not in self.open_ends:
            self.report(
                "ST2003",
                f"{key} closes {what}, which ends with {end}",
                expected=end,
                found=key,
                remedy=f"write {end}",
                notes=(f"{what} starts at {opened}",),
            )
            self.i += 1
            return False
        self.report(
            "ST2003",
            f"{end} is missing: {what} is not closed",
            at=(self.starts[opened_at], self.ends[opened_at]),
            expected=end,
            found=f"{self.found()} at {self.diagnostics.describe(self.starts[self.i])}",
            remedy=f"write {end} where it ends",
        )
        return False

    # ------------------------------------------------------------ recovery

    def skip_statement(self, start: int) -> None:
        """After a failure in a statement or declaration that began at token ``start``: to the next one."""
        keys, first = self.keys, True
        if self.i == start and keys[start] not in ENDS and keys[start] != "<end>":
            self.i += 1
        while True:
            key = keys[self.i]
            if key == ";":
                self.i += 1
                return
            if key == "<end>" or key in ENDS:
                return
            if not first and self.on_new_line() and (key in STATEMENT_OPENERS or self._starts_element()):
                return
            if key in TOP_LEVEL and self.kind(1) == NAME and self.on_new_line():
                return
            self.i += 1
            first = False

    def _starts_element(self) -> bool:
        """An assignment or a variable section at the start of a line."""
        key = self.keys[self.i]
        if key.startswith("VAR"):
            return key in RESERVED
        if self.kinds[self.i] != NAME or key in RESERVED or key in OPERATOR_WORDS:
            return False
        return self.key(1) == ":="

    def skip_to(self, keys: frozenset[str]) -> None:
        """To one of the keys, the end of the statement, or the end of the file."""
        while True:
            key = self.keys[self.i]
            if key in keys or key in (";", "<end>") or key in ENDS or key in STATEMENT_OPENERS:
                return
            self.i += 1
