"""What an editor asks: places are paths and character offsets, answers are plain values.

Nothing here knows a protocol; ``programs.lsp.server`` speaks it, and the editor in the pages may ask the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from programs.format import format_source
from programs.lsp.names import Symbol, builtins
from programs.lsp.occurrences import AWAITED, Occurrence, Occurrences
from programs.lsp.workspace import Workspace
from programs.tokens import RESERVED
from scan.problem import TickworkError

_NAME = re.compile(r"[^\W\d]\w*")
_TAIL = re.compile(r"\w*$")
_SOFT_WORDS = {"PROGRAM", "TYPE", "STRUCT", "METHOD", "REF_TO", "BY", "CONTINUE", "CONSTANT", "RETAIN"}
_WORDS = sorted(RESERVED | _SOFT_WORDS)
_CLOSES = {"(": ")", "[": "]"}
COMPLETIONS_MAX = 2_000
WORD_CHARACTERS_MAX = 100
STATEMENT_CHARACTERS_MAX = 2_000  # looked at before the cursor


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` … ``end`` of a file, offsets from 0."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hover:
    span: Span
    text: str  # Markdown


@dataclass(frozen=True, slots=True)
class Completion:
    """``insert`` is what is written; ``kind`` as ``Symbol.kind``, or "keyword"."""

    label: str
    kind: str
    detail: str = ""
    comment: str = ""
    insert: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    label: str
    parameters: tuple[str, ...]
    comment: str
    active: int


@dataclass(slots=True)
class Outline:
    """A declaration of a file with what is declared inside."""

    name: str
    kind: str
    detail: str
    extent: Span
    span: Span
    inside: list[Outline] = field(default_factory=list)


def _at(workspace: Workspace, path: str, offset: int) -> Occurrence | None:
    """The name at an offset, also right behind its last character."""
    position = workspace.parsed(path)[0].base + offset
    return next((one for one in workspace.occurrences(path) if one.start <= position <= one.end), None)


def _span(workspace: Workspace, start: int, end: int) -> Span:
    source = workspace.sources.source(start)
    return Span(source.path, start - source.base, end - source.base)


def hover(workspace: Workspace, path: str, offset: int) -> Hover | None:
    """Declaration, unit and comment of the name at an offset."""
    found = _at(workspace, path, offset)
    if found is None:
        return None
    symbol = found.symbol
    parts = [f"```iecst\n{symbol.detail or symbol.name}\n```"]
    if symbol.section:
        parts.append(f"{symbol.section}{f' of {symbol.owner.name}' if symbol.owner else ''}")
    parts += [f"{name}: {value}" for name, value in symbol.attributes.items() if value]
    if symbol.comment:
        parts.append(symbol.comment)
    return Hover(_span(workspace, found.start, found.end), "\n\n".join(parts))


def definition(workspace: Workspace, path: str, offset: int) -> Span | None:
    """Where the name at an offset is declared; None for standard functions and blocks."""
    found = _at(workspace, path, offset)
    if found is None or found.symbol.span is None:
        return None
    return _span(workspace, *found.symbol.span)


def references(workspace: Workspace, path: str, offset: int, *, declaration: bool = True) -> list[Span]:
    """Every place in the program that means the same thing, by path and offset."""
    found = _at(workspace, path, offset)
    if found is None:
        return []
    spans = {
        _span(workspace, one.start, one.end)
        for other in workspace.paths()
        for one in workspace.occurrences(other)
        if one.symbol is found.symbol and (declaration or not one.declares)
    }
    return sorted(spans, key=lambda span: (span.path, span.start))


def rename(workspace: Workspace, path: str, offset: int, new_name: str) -> list[Span]:
    """The places to be written anew. Empty when there is nothing that may be renamed, or the name is none."""
    found = _at(workspace, path, offset)
    if found is None or found.symbol.span is None:
        return []
    if not _NAME.fullmatch(new_name) or new_name.upper() in RESERVED:
        return []
    return references(workspace, path, offset)


def formatted(workspace: Workspace, path: str) -> str | None:
    """The file laid out anew; None while it has errors of syntax."""
    try:
        return format_source(workspace.text(path), workspace.dialect, path=path)
    except TickworkError:
        return None


# ---------------------------------------------------------------- completion


def _awaiting(workspace: Workspace, path: str, offset: int) -> tuple[Occurrences, str]:
    """A walk with ``AWAITED`` in place of the word before the offset, and the text before it.

    When brackets are still open in the statement, they are closed: half a call is read as a call.
    """
    text = workspace.text(path)
    tail = _TAIL.search(text, max(offset - WORD_CHARACTERS_MAX, 0), offset)
    before = text[: tail.start() if tail else offset]
    walk = workspace.awaited(path, f"{before}{AWAITED}{text[offset:]}")
    if walk.awaited is None and walk.awaited_callee is None:
        closing = "".join(_CLOSES[bracket] for bracket in reversed(_open_brackets(before)))
        walk = workspace.awaited(path, f"{before}{AWAITED}{closing};\n{text[offset:]}")
    return walk, before


def _open_brackets(before: str) -> list[str]:
    """The brackets that are open at the end of a text, in the last statement."""
    statement = before[-STATEMENT_CHARACTERS_MAX:].rpartition(";")[2]
    found: list[str] = []
    for character in statement:
        if character in _CLOSES:
            found.append(character)
        elif character in ")]" and found:
            found.pop()
    return found


def completion(workspace: Workspace, path: str, offset: int) -> list[Completion]:
    """What may be written at an offset: members behind a point, else pins of the call, names in scope, keywords."""
    walk, before = _awaiting(workspace, path, offset)
    if before.rstrip().endswith("."):
        members = workspace.names.members(walk.awaited) if walk.awaited is not None else []
        visible = [one for one in members if one.section not in ("VAR", "VAR_TEMP") or one.owner is None]
        own = walk.awaited is not None and not visible
        return [_completion(one) for one in (members if own else visible)]
    found = [_pin(one) for one in _pins(workspace, walk.awaited_callee)]
    seen: set[str] = set()
    for symbol in _in_scope(workspace, path, offset):
        if symbol.name.upper() not in seen:
            seen.add(symbol.name.upper())
            found.append(_completion(symbol))
    found += [Completion(word, "keyword", insert=word) for word in _WORDS]
    return found[:COMPLETIONS_MAX]


def _in_scope(workspace: Workspace, path: str, offset: int) -> list[Symbol]:
    position = workspace.parsed(path)[0].base + offset
    found: list[Symbol] = []
    for symbol in workspace.scope(path, position).symbols:
        found += workspace.names.members(symbol)
    return [*found, *workspace.names.globals.values(), *builtins().values()]


def _completion(symbol: Symbol) -> Completion:
    return Completion(symbol.name, symbol.kind, symbol.detail, symbol.comment, symbol.name)


def _pins(workspace: Workspace, callee: Symbol | None) -> list[Symbol]:
    if callee is None:
        return []
    sections = ("VAR_INPUT", "VAR_IN_OUT", "VAR_OUTPUT")
    return [one for one in workspace.names.members(callee) if one.section in sections]


def _pin(symbol: Symbol) -> Completion:
    arrow = "=>" if symbol.section == "VAR_OUTPUT" else ":="
    return Completion(
        f"{symbol.name} {arrow}", "pin", symbol.detail, symbol.comment, f"{symbol.name} {arrow} "
    )


def signature(workspace: Workspace, path: str, offset: int) -> Signature | None:
    """Parameters of the call that the offset stands in."""
    walk, before = _awaiting(workspace, path, offset)
    callee = walk.awaited_callee
    if callee is None:
        return None
    pins = _pins(workspace, callee)
    return Signature(
        callee.detail, tuple(pin.detail for pin in pins), callee.comment, _argument_index(before)
    )


def _argument_index(before: str) -> int:
    """Commas behind the bracket that is open last."""
    depth, commas = 0, 0
    for character in reversed(before[-STATEMENT_CHARACTERS_MAX:]):
        if character in ")]":
            depth += 1
        elif character in _CLOSES:
            if depth == 0:
                break
            depth -= 1
        elif character == "," and depth == 0:
            commas += 1
    return commas


# ---------------------------------------------------------------- outline


def outline(workspace: Workspace, path: str) -> list[Outline]:
    """Declarations of a file, members inside of their blocks."""
    source, _ = workspace.parsed(path)
    names = workspace.names
    symbols = [
        one for one in names.by_node.values() if _is_in(one, source.base, source.base + len(source.text))
    ]
    entries = {id(one): _outline(workspace, one) for one in symbols}
    roots: list[Outline] = []
    for one in sorted(symbols, key=lambda symbol: symbol.span or (0, 0)):
        parent = entries.get(id(one.owner)) if one.owner is not None else None
        (roots if parent is None else parent.inside).append(entries[id(one)])
    return roots


def _is_in(symbol: Symbol, start: int, end: int) -> bool:
    return symbol.span is not None and start <= symbol.span[0] <= end and symbol.extent is not None


def _outline(workspace: Workspace, symbol: Symbol) -> Outline:
    span, extent = symbol.span or (0, 0), symbol.extent or symbol.span or (0, 0)
    return Outline(
        symbol.name, symbol.kind, symbol.detail, _span(workspace, *extent), _span(workspace, *span)
    )
