"""The files of a program as an editor has them, parsed once each time they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from programs import ast
from programs.check import check
from programs.libraries import split
from programs.lsp.names import Names
from programs.lsp.occurrences import Occurrence, Occurrences, Scope
from programs.parser import parse
from programs.source import Source, SourceSet
from programs.user_blocks import read_blocks
from scan.problem import Problem

VERSIONS_MAX = 500  # parsed versions kept in one set of sources, before positions are counted anew


@dataclass(slots=True)
class _Parsed:
    source: Source
    unit: ast.Unit


@dataclass(slots=True)
class _Found:
    occurrences: list[Occurrence]
    scopes: list[tuple[int, int, Scope]]


class Workspace:
    """Texts by path; everything else is worked out when it is asked for."""

    def __init__(self, dialect: str = "auto") -> None:
        self.dialect = dialect
        self._texts: dict[str, str] = {}
        self._parsed: dict[str, _Parsed] = {}
        self._found: dict[str, _Found] = {}
        self._names: Names | None = None
        self.sources = SourceSet()

    def set(self, path: str, text: str) -> None:
        """Add a file or change its text."""
        if self._texts.get(path) != text:
            self._texts[path] = text
            self._forget(path)

    def remove(self, path: str) -> None:
        if self._texts.pop(path, None) is not None:
            self._forget(path)

    def paths(self) -> list[str]:
        return list(self._texts)

    def text(self, path: str) -> str:
        return self._texts.get(path, "")

    def _forget(self, path: str) -> None:
        self._parsed.pop(path, None)
        self._found.clear()
        self._names = None
        if len(self.sources.sources) > VERSIONS_MAX:
            self.sources = SourceSet()
            self._parsed.clear()

    def parsed(self, path: str) -> tuple[Source, ast.Unit]:
        """The current source and its tree; their positions belong to ``sources``."""
        if path not in self._parsed:
            source = self.sources.add(path, self._texts.get(path, ""))
            self._parsed[path] = _Parsed(source, parse(source, self.dialect)[0])
        found = self._parsed[path]
        return found.source, found.unit

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names([self.parsed(path)[1] for path in self._texts], self.sources)
        return self._names

    def occurrences(self, path: str) -> list[Occurrence]:
        """Every name of a file that is known, in no particular order."""
        return self._occurrences(path).occurrences

    def scope(self, path: str, position: int) -> Scope:
        """The innermost scope at a position."""
        around = [one for one in self._occurrences(path).scopes if one[0] <= position <= one[1]]
        return min(around, key=lambda one: one[1] - one[0])[2] if around else Scope()

    def _occurrences(self, path: str) -> _Found:
        if path not in self._found:
            names = self.names  # may parse, which may begin a new set of sources
            walk = Occurrences(names)
            walk.unit(self.parsed(path)[1])
            self._found[path] = _Found(walk.found, walk.scopes)
        return self._found[path]

    def awaited(self, path: str, text: str) -> Occurrences:
        """A walk over another text of a file, one with ``AWAITED`` in it."""
        source = self.sources.add(path, text)
        walk = Occurrences(self.names)
        walk.unit(parse(source, self.dialect)[0])
        return walk

    def texts(self) -> dict[str, str]:
        """All texts by path, a copy."""
        return dict(self._texts)


def problems_of(
    texts: dict[str, str],
    dialect: str,
    python: Mapping[str, bytes] | None = None,
    vendored: Mapping[str, bytes] | None = None,
) -> dict[str, list[Problem]]:
    """What is wrong with a program, by path; a path without problems has an empty list. Touches nothing shared.

    ``python`` are files whose blocks the program may call; what is wrong in them is not looked at. ``vendored``: the
    lock and the files of its libraries, as ``programs.libraries.read_vendored`` gives them.
    """
    found: dict[str, list[Problem]] = {path: [] for path in texts}
    sources = [Source(path, text) for path, text in texts.items()]
    libraries = split(vendored or {}).libraries
    result = check(sources, dialect=dialect, blocks=read_blocks(python or {})[0], libraries=libraries)
    for problem in result.problems:
        found.setdefault(problem.place.file, []).append(problem)
    return found
