"""What an editor shows and offers beside names: kinds of words, foldable blocks, corrections of problems."""

from __future__ import annotations

import re
from dataclasses import dataclass

from programs.diagnostics import Diagnostics
from programs.lexer import tokenize
from programs.lsp.workspace import Workspace
from programs.parser import Parser
from programs.source import Source
from scan.problem import Problem

# The protocol's names for kinds of words, in the order of their numbers.
TOKEN_KINDS = (
    "namespace", "class", "interface", "type", "enumMember", "function", "method", "property", "parameter", "variable",
)  # fmt: skip
TOKEN_MODIFIERS = ("declaration", "readonly", "defaultLibrary")
_KINDS = {
    "program": "class", "function block": "class", "class": "class", "interface": "interface", "type": "type",
    "value": "enumMember", "function": "function", "method": "method", "action": "method", "property": "property",
    "step": "variable", "namespace": "namespace",
}  # fmt: skip
_PARAMETERS = ("VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT")
_MEANT = re.compile(r"did you mean (.+?)\?$")
_WRITE = re.compile(r"(?:write|remove it, or write) (:=|=>|ELSIF|[A-Z]\w*)$")


@dataclass(frozen=True, slots=True)
class Token:
    """A name and what it is: indices into ``TOKEN_KINDS``, bits of ``TOKEN_MODIFIERS``."""

    start: int
    end: int
    kind: int
    modifiers: int


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines from 0, both included."""

    first: int
    last: int
    comment: bool = False


@dataclass(frozen=True, slots=True)
class Fix:
    """A correction: the characters ``start`` … ``end`` become ``text``."""

    title: str
    start: int
    end: int
    text: str


def tokens(workspace: Workspace, path: str) -> list[Token]:
    """The names of a file in order, each once."""
    base = workspace.parsed(path)[0].base
    found: dict[int, Token] = {}
    for one in workspace.occurrences(path):
        symbol = one.symbol
        kind = _KINDS.get(symbol.kind, "parameter" if symbol.section in _PARAMETERS else "variable")
        constant = "CONSTANT" in symbol.section or symbol.kind == "value"
        built_in = symbol.span is None and symbol.owner is None
        modifiers = int(one.declares) | int(constant) << 1 | int(built_in) << 2
        start = one.start - base
        found.setdefault(start, Token(start, one.end - base, TOKEN_KINDS.index(kind), modifiers))
    ordered = sorted(found.values(), key=lambda token: token.start)
    return [one for at, one in enumerate(ordered) if not at or ordered[at - 1].end <= one.start]


def folds(text: str, dialect: str = "auto") -> list[Fold]:
    """Blocks from the line that opens them to the one before their END word, and comments over several lines."""
    source = Source("", text)
    diagnostics = Diagnostics(source)
    read = tokenize(source, diagnostics)
    parser = Parser(source, read, dialect, diagnostics)
    parser.unit()
    found = set()
    for opened, closed in parser.layout.blocks:
        first, last = source.line(read.starts[opened]) - 1, source.line(read.starts[closed]) - 2
        found.add(Fold(first, last))
    for spans in read.comments.values():
        found |= {Fold(source.line(start) - 1, source.line(end - 1) - 1, True) for start, end in spans}
    return sorted((one for one in found if one.last > one.first), key=lambda one: (one.first, one.last))


def fixes(text: str, problem: Problem) -> list[Fix]:
    """What can be done about a problem of a file with one edit."""
    start, end = _marked(text, problem)
    meant = _MEANT.search(problem.remedy)
    if meant and re.fullmatch(r"[\w.#]+", meant[1]):
        word = re.compile(r"\w+").match(text, start)
        return [Fix(f"Change to {meant[1]}", start, word.end() if word else end, meant[1])]
    wanted = _WRITE.search(problem.remedy)
    if wanted and end > start:
        return [Fix(f"Change to {wanted[1]}", start, end, wanted[1])]
    if problem.code == "ST2002":
        return [Fix("Insert a semicolon", *_behind_statement(text, start), ";")]
    return []


def _marked(text: str, problem: Problem) -> tuple[int, int]:
    lines = text.splitlines(keepends=True)
    at = sum(map(len, lines[: max(problem.place.line - 1, 0)])) + max(problem.place.column - 1, 0)
    return min(at, len(text)), min(at + max(problem.place.length, 1), len(text))


def _behind_statement(text: str, at: int) -> tuple[int, int]:
    """Behind the last word before a place: the problem may be noticed at the next statement."""
    end = at + len(text[at:].split("\n", 1)[0].split("(*")[0].split("//")[0].rstrip())
    return end, end
