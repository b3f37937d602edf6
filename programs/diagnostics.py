"""Collects problems of a compilation and gives each its place, source line and remedy."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import Protocol

from programs.source import Source, SourceSet
from scan.problem import Place, Problem

PROBLEMS_MAX = 200  # a person mends the first few; the rest is counted
SOURCE_LINE_CHARACTERS_MAX = 400  # a longer line is no help to anybody


class Spanned(Protocol):
    """Anything with positions: every node of the tree, every token."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


class Diagnostics:
    """Problems in the order found. ``report`` never raises; past ``problems_max`` it only counts.

    One problem is kept for one code at one place, so a node that is visited twice reports once.
    """

    def __init__(self, sources: SourceSet | Source, *, problems_max: int = PROBLEMS_MAX) -> None:
        self._sources = sources
        self._problems_max = problems_max
        self._seen: set[tuple[str, int]] = set()
        self._problems: list[tuple[int, Problem]] = []
        self.error_count = 0
        self.dropped_count = 0

    @property
    def sources(self) -> SourceSet | Source:
        """What positions refer to."""
        return self._sources

    def report(
        self,
        code: str,
        where: Spanned | tuple[int, int],
        message: str,
        *,
        expected: str = "",
        found: str = "",
        remedy: str = "",
        severity: str = "error",
        notes: Iterable[str] = (),
    ) -> None:
        """Add a problem at a node or at ``(start, end)`` positions."""
        start, end = where if isinstance(where, tuple) else (where.start, where.end)
        if (code, start) in self._seen:
            return
        self._seen.add((code, start))
        self.error_count += severity == "error"
        if len(self._problems) >= self._problems_max:
            self.dropped_count += 1
            return
        source = self._source(start)
        place = source.place(start, end)
        self._problems.append(
            (
                start,
                Problem(
                    code,
                    message,
                    place,
                    expected=expected,
                    found=found,
                    remedy=remedy,
                    severity=severity,
                    source_line=_shown_line(source, place),
                    notes=tuple(notes),
                ),
            )
        )

    def warn(
        self,
        code: str,
        where: Spanned | tuple[int, int],
        message: str,
        *,
        remedy: str = "",
        notes: Iterable[str] = (),
    ) -> None:
        """Add a warning."""
        self.report(code, where, message, remedy=remedy, severity="warning", notes=notes)

    def describe(self, where: Spanned | int) -> str:
        """``file:line:column`` for a note that points at another place."""
        position = where if isinstance(where, int) else where.start
        return str(self._source(position).place(position))

    def line(self, position: int) -> int:
        """1-based line of a position in its file."""
        return self._source(position).line(position)

    def source(self, position: int) -> Source:
        """The source that a position lies in."""
        return self._source(position)

    def problems(self) -> list[Problem]:
        """All kept problems by place."""
        return [problem for _, problem in sorted(self._problems, key=lambda pair: pair[0])]

    def _source(self, position: int) -> Source:
        return self._sources if isinstance(self._sources, Source) else self._sources.source(position)


def _shown_line(source: Source, place: Place) -> str:
    """The line of a problem for the caret; nothing when the place is far out on an endless line."""
    if place.column > SOURCE_LINE_CHARACTERS_MAX:
        return ""
    return source.line_text(place.line, SOURCE_LINE_CHARACTERS_MAX)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, "" if none is near (case does not count)."""
    # One letter of three may be wrong, in longer names about one in four.
    cutoff = 0.66 if len(name) <= 3 else 0.72
    wanted = name.upper()[:64]
    own = _letters(wanted)
    by_key: dict[str, str] = {}
    for candidate in known:
        # difflib is slow: what differs too much in length or letters is left out before (its ratio is 2 M / T).
        needed = cutoff * (len(wanted) + len(candidate)) / 2
        if len(candidate) >= needed <= len(wanted):
            key = candidate.upper()
            theirs = _letters(key)
            if len(wanted) - len(own - theirs) >= needed <= len(key) - len(theirs - own):
                by_key[key] = candidate
    found = difflib.get_close_matches(wanted, by_key, n=1, cutoff=cutoff)
    return by_key[found[0]] if found else ""


@functools.lru_cache(maxsize=1 << 16)
def _letters(name: str) -> frozenset[str]:
    return frozenset(name)
