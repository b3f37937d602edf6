"""Source texts and positions in them.

A *position* is an integer that names a character of one source among all sources of a compilation:
``source.base``
plus the character's offset. Bases are handed out by ``SourceSet.add``; a source on its own has base 0.
"""

from __future__ import annotations

import bisect
import codecs
from dataclasses import dataclass, field
from pathlib import Path

from scan.problem import Place

SOURCE_CHARACTERS_MAX = 5_000_000  # the largest public library (OSCAT) has 1.2 million in one file


@dataclass(slots=True, eq=False)
class Source:
    """A text with the name that messages show. ``too_large`` is set when ``text`` had to be cut."""

    path: str
    text: str
    base: int = 0
    too_large: bool = False
    _line_starts: list[int] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        if len(self.text) > SOURCE_CHARACTERS_MAX:
            self.text = self.text[:SOURCE_CHARACTERS_MAX]
            self.too_large = True

    def _lines(self) -> list[int]:
        """Offsets where lines start. LF, CR LF and a lone CR end a line."""
        if not self._line_starts:
            text = self.text
            starts = [0]
            find = text.find
            if "\r" in text:
                text = text.replace("\r\n", " \n").replace("\r", "\n")
                find = text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._line_starts = starts
        return self._line_starts

    def line(self, position: int) -> int:
        """1-based line of a position of this source."""
        return bisect.bisect_right(self._lines(), position - self.base)

    def line_range(self, position: int) -> tuple[range, int]:
        """All positions in the line of a position, and the line."""
        starts = self._lines()
        line = bisect.bisect_right(starts, position - self.base)
        end = starts[line] if line < len(starts) else len(self.text) + 1
        return range(self.base + starts[max(line - 1, 0)], self.base + end), line

    def line_column(self, position: int) -> tuple[int, int]:
        """1-based line and column (in characters)."""
        starts = self._lines()
        offset = min(max(position - self.base, 0), len(self.text))
        line = bisect.bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line_text(self, line: int, characters_max: int = SOURCE_CHARACTERS_MAX) -> str:
        """The text of a 1-based line without its end, "" outside."""
        starts = self._lines()
        if not 1 <= line <= len(starts):
            return ""
        start = starts[line - 1]
        end = starts[line] if line < len(starts) else len(self.text)
        return self.text[start : min(end, start + characters_max)].rstrip("\r\n")

    def place(self, start: int, end: int | None = None) -> Place:
        """Where ``start`` … ``end`` is; the length stays within the first line."""
        line, column = self.line_column(start)
        starts = self._lines()
        line_end = starts[line] - 1 if line < len(starts) else len(self.text)
        room = max(line_end - starts[line - 1] - column + 1, 1)
        length = 1 if end is None else min(max(end - start, 1), room)
        return Place(self.path, line, column, length)


def decode(data: bytes) -> str:
    """Text of a source file: UTF-8 (with or without BOM), UTF-16 with BOM, else Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_source(path: Path, *, shown_as: str = "") -> Source:
    """A source file with base 0. Raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return Source(shown_as or str(path), decode(file.read(4 * SOURCE_CHARACTERS_MAX + 4)))


class SourceSet:
    """The sources of one compilation. Only grows: a changed file is added again and gets a new base."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._bases: list[int] = []

    def add(self, path: str, text: str | bytes) -> Source:
        base = self._bases[-1] + len(self.sources[-1].text) + 1 if self.sources else 0
        source = Source(path, decode(text) if isinstance(text, bytes) else text, base)
        self.sources.append(source)
        self._bases.append(base)
        return source

    def source(self, position: int) -> Source:
        """The source that a position lies in."""
        return self.sources[max(bisect.bisect_right(self._bases, position) - 1, 0)]

    def place(self, start: int, end: int | None = None) -> Place:
        return self.source(start).place(start, end)

    def line(self, position: int) -> int:
        return self.source(position).line(position)
