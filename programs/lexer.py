"""Characters to tokens, by one regular expression (IEC 61131-3, 6.1 to 6.3).

Rules.
* Any text gives a token list; what cannot be read is reported and left out.
* Comments nest (table 3, feature 3). A file in which a comment would so run to the end of the file was written for a
  compiler without nesting: from there on comments end at the first closing mark.
* Only a prefix of a time or date may swallow ``:`` and ``-``: ``STATE#RUN:`` is a CASE label.
"""

from __future__ import annotations

import re

from programs.diagnostics import Diagnostics
from programs.source import Source
from programs.tokens import (
    DIRECT,
    DIRECT_KEY,
    END,
    END_KEY,
    NAME,
    NUMBER,
    NUMBER_KEY,
    OPERATOR,
    STRING,
    STRING_KEY,
    TIME,
    TIME_KEY,
    WSTRING,
    WSTRING_KEY,
    Tokens,
)

_CLOCK = r"\d[\d_]*+(?::\d[\d_]*+){1,2}(?:\.\d[\d_]*+)?"
_DATE = r"\d[\d_]*+-\d[\d_]*+-\d[\d_]*+"
_TIMES = (
    rf"(?:LDATE_AND_TIME|DATE_AND_TIME|LDT|DT)\#{_DATE}-{_CLOCK}"
    rf"|(?:LDATE|DATE|LD|D)\#{_DATE}"
    rf"|(?:LTIME_OF_DAY|TIME_OF_DAY|LTOD|TOD)\#{_CLOCK}"
    # A malformed rest is taken too, so that one clear problem is reported for the whole literal.
    r"|(?:LTIME|TIME|LT|T)\#[-+]?\d(?:[\d_]|\.(?=\d)|[A-Z])*+"
    r"|(?:LDATE_AND_TIME|DATE_AND_TIME|LDT|DT|LDATE|DATE|LD|D|LTIME_OF_DAY|TIME_OF_DAY|LTOD|TOD)\#\d(?:[\w:-]|\.(?=\d))*+"
)
_PATTERN = re.compile(
    r"[ \t\r\n\f\v\xa0\ufeff]*+(?:"
    r"([^\W\d]\w*+)(?!\#)"  # 1 word
    r"|(:=|=>|\?=|\.\.\.?|\*\*(?!\))|<=|>=|<>|[-+=<>\[\],;:.^&)]|/(?![/*])|\((?!\*)|\*)"  # 2 operator
    r"|(\d[\d_]*+(?:\#\w*+|(?:\.\d[\d_]*+)?(?:E[-+]?\d[\d_]*+)?))"  # 3 number
    r"|('[^'$\r\n]*+(?:\$[^\r\n][^'$\r\n]*+)*+')"  # 4 string
    r"|(\"[^\"$\r\n]*+(?:\$[^\r\n][^\"$\r\n]*+)*+\")"  # 5 wide string
    rf"|({_TIMES})"  # 6 time
    r"|([^\W\d]\w*+)"  # 7 word before #
    r"|(\#)"  # 8
    r"|(%(?:[IQM][XBWDL]?\*|[A-Z]*(?:\d[\d_]*+(?:\.\d+)*+)?))"  # 9 direct
    r"|(//[^\r\n]*+)"  # 10 comment to the end of the line
    r"|(\(\*|/\*)"  # 11 comment
    r"|(\{|@EXTERNAL\b)"  # 12 pragma; the second form is an old one of RuSTy
    r"|(.)"  # 13 anything else
    r")",
    re.DOTALL | re.IGNORECASE,
)
_KINDS = (END, NAME, OPERATOR, NUMBER, STRING, WSTRING, TIME, NAME, OPERATOR, DIRECT)
_KEYS = ("", "", "", NUMBER_KEY, STRING_KEY, WSTRING_KEY, TIME_KEY, "", "#", DIRECT_KEY)
_LINE_COMMENT, _COMMENT, _PRAGMA = 10, 11, 12
_FOREIGN = {
    "!": ("<> compares for inequality, NOT negates", "write <> or NOT"),
    "|": ("the operator for a disjunction is OR", "write OR"),
    "~": ("the operator for a complement is NOT", "write NOT"),
    "?": ("there is no conditional operator", "use SEL(condition, value_if_false, value_if_true) or IF"),
    "\\": ("the escape character in strings is $", "write $ inside a string"),
    "}": ("a pragma is closed that was not opened", "remove the brace"),
}
_BRACES = re.compile(r"[{}]")
_NEXT_MARK = {"(*": re.compile(r"\(\*|\*\)"), "/*": re.compile(r"/\*|\*/")}


class Lexer:
    """One pass over one source. ``tokens`` is complete after ``run``."""

    def __init__(self, source: Source, diagnostics: Diagnostics) -> None:
        self._source = source
        self._diagnostics = diagnostics
        self._nesting = True
        self._braces_nest = True
        self._last_brace = source.text.rfind("}")
        self._last_braces = source.text.rfind("}}")
        self.tokens = Tokens()

    def run(self) -> Tokens:
        text, tokens, base = self._source.text, self.tokens, self._source.base
        match, position, upper = _PATTERN.match, 0, dict[str, str]()
        add_key, add_kind = tokens.keys.append, tokens.kinds.append
        add_text, add_start, add_end = tokens.texts.append, tokens.starts.append, tokens.ends.append
        while (found := match(text, position)) is not None:
            group = found.lastindex or 0
            start, position = found.span(group)
            if group > 9:
                position = self._trivia(group, start, position)
                continue
            written = found[group]
            if group == 1 or group == 7:
                key = upper.get(written) or upper.setdefault(written, written.upper())
            else:
                key = _KEYS[group] or written
            add_key(key)
            add_kind(_KINDS[group])
            add_text(written)
            add_start(start + base)
            add_end(position + base)
        end = len(text) + base
        for add, value in ((add_key, END_KEY), (add_text, "")):
            add(value)
        add_kind(END)
        add_start(end)
        add_end(end)
        return tokens

    def _trivia(self, group: int, start: int, position: int) -> int:
        """Comments, pragmas and what has no place; returns where to go on."""
        if group == _LINE_COMMENT:
            self._keep(self.tokens.comments, start, position)
            return position
        if group == _COMMENT:
            position = self._comment_end(start)
            self._keep(self.tokens.comments, start, position)
            return position
        if group == _PRAGMA:
            if self._source.text[start] == "{":
                position = self._pragma_end(start)
            self._keep(self.tokens.pragmas, start, position)
            return position
        return self._unreadable(start)

    def _keep(self, kept: dict[int, list[tuple[int, int]]], start: int, end: int) -> None:
        base = self._source.base
        kept.setdefault(len(self.tokens.keys), []).append((start + base, end + base))

    def _comment_end(self, start: int) -> int:
        text = self._source.text
        opening = text[start : start + 2]
        closing = opening[::-1] if opening == "/*" else "*)"
        first = text.find(closing, start + 2)
        if first < 0:
            self._report(
                "ST1003",
                (start, start + 2),
                f"the comment that starts here is not closed by {closing}",
                f"write {closing} where the comment ends",
            )
            return len(text)
        if not self._nesting or text.find(opening, start + 2, first) < 0:
            return first + 2
        depth = 0
        for mark in _NEXT_MARK[opening].finditer(text, start):
            depth += 1 if mark[0] == opening else -1
            if depth == 0:
                return mark.end()
        self._nesting = False
        return first + 2

    def _pragma_end(self, start: int) -> int:
        text = self._source.text
        # Beremiz writes C code inside a body as {{ … }}.
        closing = "}}" if text.startswith("{{", start) and start < self._last_braces else "}"
        end = text.find(closing, start) if start < self._last_brace else -1
        if end >= 0:
            return self._braces_end(start, end + len(closing))
        self._report(
            "ST1004", (start, start + 1), "the pragma that starts here is not closed by }", "write }"
        )
        line_end = text.find("\n", start)
        return len(text) if line_end < 0 else line_end

    def _braces_end(self, start: int, first_end: int) -> int:
        """The end of ``{external if (x) { … } }``, whose C code has braces of its own; else the first brace."""
        text = self._source.text
        is_code = self._braces_nest and text.startswith("external", start + 1)
        if not is_code or text.find("{", start + 2, first_end) < 0:
            return first_end
        depth = 0
        for mark in _BRACES.finditer(text, start):
            depth += 1 if mark[0] == "{" else -1
            if depth == 0:
                return mark.end()
        self._braces_nest = False  # as for comments; also keeps the pass linear
        return first_end

    def _unreadable(self, start: int) -> int:
        text = self._source.text
        character = text[start]
        if character in "'\"":
            end = start + 1
            while end < len(text) and text[end] not in "\r\n":
                end += 1
            self._report(
                "ST1002",
                (start, end),
                "the string is not closed on its line",
                f"close it with {character}; a {character} inside a string is written ${character}",
            )
            self._string_left_open(start, end)
            return end
        self.tokens.damaged.add(len(self.tokens.keys))
        end = start + 1
        while end < len(text) and text[end] == character:
            end += 1
        if character in _FOREIGN:
            message, remedy = _FOREIGN[character]
            self._report("ST1011", (start, end), f"{text[start:end][:8]} is no operator: {message}", remedy)
        else:
            shown = character if character.isprintable() else f"U+{ord(character):04X}"
            self._report(
                "ST1001",
                (start, end),
                f"the character {shown} has no place in a program",
                "remove it or put it in a comment",
            )
        return end

    def _string_left_open(self, start: int, end: int) -> None:
        """Stands for the string, closed at the end of its line, so that no further problem follows."""
        text, tokens, base = self._source.text, self.tokens, self._source.base
        quote = text[start]
        inner_end = end
        while inner_end > start + 1 and text[inner_end - 1] in "; )\t,":
            inner_end -= 1
        tokens.keys.append(STRING_KEY if quote == "'" else WSTRING_KEY)
        tokens.kinds.append(STRING if quote == "'" else WSTRING)
        tokens.texts.append(quote + quote)
        tokens.starts.append(start + base)
        tokens.ends.append(inner_end + base)
        for offset in range(inner_end, end):
            if text[offset] in ";),":
                tokens.keys.append(text[offset])
                tokens.kinds.append(OPERATOR)
                tokens.texts.append(text[offset])
                tokens.starts.append(offset + base)
                tokens.ends.append(offset + 1 + base)

    def _report(self, code: str, span: tuple[int, int], message: str, remedy: str) -> None:
        base = self._source.base
        self._diagnostics.report(code, (span[0] + base, span[1] + base), message, remedy=remedy)


def tokenize(source: Source, diagnostics: Diagnostics) -> Tokens:
    """All tokens of a source; problems go to ``diagnostics``."""
    if source.too_large:
        diagnostics.report(
            "ST1012",
            (source.base, source.base + 1),
            f"the source is larger than {len(source.text)} characters; the rest is not read",
            remedy="split it into several files",
        )
    return Lexer(source, diagnostics).run()
