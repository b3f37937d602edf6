"""Lays out Structured Text: ``tickwork fmt``.

Rules.
* Only white space changes: every token, comment and pragma stays as it is, in its order.
* One statement a line, four spaces a level; variable sections stand level with their POU, CASE labels one level
  inside. A line break inside a statement is the author's and stays; so does one empty line.
* What the author aligned (colons, assignments, comments under each other) stays aligned.
* Formatting twice is formatting once.
"""

from __future__ import annotations

from programs.diagnostics import Diagnostics
from programs.format_lines import Line, Lines
from programs.lexer import tokenize
from programs.parser import Parser
from programs.source import Source
from programs.tokens import Tokens
from scan.problem import TickworkError


def format_source(text: str, dialect: str = "auto", *, path: str = "") -> str:
    """The text laid out anew, with its own kind of line ends.

    Raises ``TickworkError`` with all problems when the text has errors of syntax: its structure is not known then.
    """
    source = Source(path, text)
    diagnostics = Diagnostics(source)
    tokens = tokenize(source, diagnostics)
    parser = Parser(source, tokens, dialect, diagnostics)
    parser.unit()
    if diagnostics.error_count:
        raise TickworkError(*diagnostics.problems())
    lines = Lines(source, tokens, parser.layout).read()
    align(lines)
    formatted = "\n".join(line.text() for line in lines) + "\n" if lines else ""
    if "\r\n" in text:
        formatted = formatted.replace("\r\n", "\n").replace("\n", "\r\n")
    return formatted if _same_tokens(tokens, formatted) else text


def _same_tokens(tokens: Tokens, formatted: str) -> bool:
    """The formatted text reads as the same tokens; otherwise the layout is at fault and is not used."""
    source = Source("", formatted)
    return tokenize(source, Diagnostics(source)).texts == tokens.texts


def align(lines: list[Line]) -> None:
    """Put under each other again what stood under each other."""
    for kind in ("colon", "assign", "comment"):
        run: list[tuple[Line, int]] = []
        for line in lines:
            at = line.marked(kind)
            if at > 0:
                run.append((line, at))
            elif not line.only_remarks():
                _align_run(run, kind)
                run = []
        _align_run(run, kind)


def _align_run(run: list[tuple[Line, int]], kind: str) -> None:
    """Lines one below the other, each with the index of the piece that may be aligned."""
    columns: dict[int, list[tuple[Line, int]]] = {}
    for line, at in run:
        columns.setdefault(line.pieces[at].column, []).append((line, at))
    for group in columns.values():
        if len(group) > 1:
            gap = max(min(line.pieces[at].source_gap for line, at in group), 1)
            column = max(line.width(at) for line, at in group) + gap
            for line, at in group:
                line.pieces[at].gap = column - line.width(at)
        elif kind == "comment":
            line, at = group[0]
            line.pieces[at].gap = max(line.pieces[at].source_gap, 1)
