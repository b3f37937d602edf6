"""The editor of a web page: sources in, plain values out, lines and columns from 1. No protocol and no state to keep.

The last few programs are remembered, so that a question after each key costs the file that changed and no more.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from programs.libraries import LOCK, MANIFEST
from programs.lsp import features
from programs.lsp.features import Completion, Hover, Signature, Span
from programs.lsp.workspace import Workspace
from programs.source import decode
from programs.user_blocks import SUFFIX

WORKSPACES_MAX = 8
SOURCES_BYTES_MAX = 20_000_000
_lock = threading.Lock()
_recent: list[Workspace] = []


def complete(
    sources: Mapping[str, str | bytes], file: str, line: int, column: int, *, dialect: str = "auto"
) -> list[Completion]:
    """What may be written at a place of ``file``: members behind a point, pins of a call, names in scope, keywords."""
    with _lock:
        workspace = _workspace(sources, dialect)
        return features.completion(workspace, file, _offset(workspace.text(file), line, column))


def describe(
    sources: Mapping[str, str | bytes], file: str, line: int, column: int, *, dialect: str = "auto"
) -> Hover | None:
    """Declaration, unit and comment of the name at a place, as Markdown; None where there is none."""
    with _lock:
        workspace = _workspace(sources, dialect)
        return features.hover(workspace, file, _offset(workspace.text(file), line, column))


def parameters(
    sources: Mapping[str, str | bytes], file: str, line: int, column: int, *, dialect: str = "auto"
) -> Signature | None:
    """The pins of the call that a place stands in."""
    with _lock:
        workspace = _workspace(sources, dialect)
        return features.signature(workspace, file, _offset(workspace.text(file), line, column))


def declared_at(
    sources: Mapping[str, str | bytes], file: str, line: int, column: int, *, dialect: str = "auto"
) -> tuple[str, int, int] | None:
    """File, line and column of the declaration of the name at a place; None for standard functions and blocks."""
    with _lock:
        workspace = _workspace(sources, dialect)
        found = features.definition(workspace, file, _offset(workspace.text(file), line, column))
        return _place(workspace, found) if found is not None else None


def _workspace(sources: Mapping[str, str | bytes], dialect: str) -> Workspace:
    """The remembered program with the same files, brought up to date, or a new one."""
    texts = {
        path: text if isinstance(text, str) else decode(text)
        for path, text in sources.items()
        if not path.endswith((SUFFIX, LOCK, MANIFEST))
    }
    if sum(map(len, texts.values())) > SOURCES_BYTES_MAX:
        return Workspace(dialect)
    known = next((one for one in _recent if one.dialect == dialect and set(one.paths()) == set(texts)), None)
    if known is None:
        known = Workspace(dialect)
        _recent.insert(0, known)
        del _recent[WORKSPACES_MAX:]
    for path, text in texts.items():
        known.set(path, text)
    return known


def _offset(text: str, line: int, column: int) -> int:
    """Past the end of a line it is the line's end, past the end of the text the text's."""
    lines = text.splitlines(keepends=True)
    if not 1 <= line <= len(lines):
        return len(text) if line > 1 else 0
    inside = lines[line - 1].rstrip("\r\n")
    return sum(map(len, lines[: line - 1])) + min(max(column - 1, 0), len(inside))


def _place(workspace: Workspace, span: Span) -> tuple[str, int, int]:
    before = workspace.text(span.path)[: span.start]
    return span.path, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
