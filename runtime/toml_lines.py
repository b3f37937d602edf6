"""Where each key of a TOML text stands. ``tomllib`` gives values only; people need lines.

Theory. The text is known to be valid TOML (``tomllib`` has read it), so this scanner only has to know where keys,
values and their ends are; it checks nothing. A path is a tuple of keys and of indices into arrays of tables:
``("device", 0, "point", 3, "address")``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]*")
# A quote may stand before the closing three: up to five in a row end a multi-line string (TOML 1.0).
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)


@dataclass(frozen=True, slots=True)
class Spot:
    """1-based line and column of a key (or array element), and its length in characters."""

    line: int
    column: int
    length: int


def locate(text: str) -> dict[Path, Spot]:
    """The place of each key and array element of a valid TOML text."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._spots: dict[Path, Spot] = {}
        self._counts: dict[Path, int] = {}  # elements seen of each array of tables
        self._line, self._line_start, self._counted = 1, 0, 0

    def scan(self) -> dict[Path, Spot]:
        table: Path = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)
        return self._spots

    def _header(self) -> Path:
        array = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if array else 1
        keys = self._keys()
        self._at += 2 if array else 1
        path: Path = ()
        for index, (key, _) in enumerate(keys):
            path += (key,)
            if array and index == len(keys) - 1:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                self._mark(path, start)
                path += (self._counts[path] - 1,)
        self._mark(path, start)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for key, start in self._keys():
            path += (key,)
            self._mark(path, start, length=self._at - start)
        self._at += 1  # "="
        self._skip(_BLANK)
        self._value(path)

    def _keys(self) -> list[tuple[str, int]]:
        """A dotted key with the start of each part; ends before "=" or "]"."""
        keys = []
        while True:
            self._skip(_BLANK)
            start = self._at
            keys.append((self._key(), start))
            self._skip(_BLANK)
            if self._at >= len(self._text) or self._text[self._at] != ".":
                return keys
            self._at += 1

    def _key(self) -> str:
        for pattern in (*_STRINGS[2:], _BARE):
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return match.group().strip("\"'")
        self._at += 1  # cannot be in a valid text; moving on keeps the scan finite
        return ""

    def _value(self, path: Path) -> None:
        here = self._text[self._at : self._at + 1]
        if here == "[":
            self._array(path)
        elif here == "{":
            self._inline(path)
        else:
            for pattern in _STRINGS:
                if match := pattern.match(self._text, self._at):
                    self._at = match.end()
                    return
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        self._skip(_GAP)
        while self._at < len(self._text) and self._text[self._at] != "]":
            start = self._at
            self._value((*path, index))
            self._mark((*path, index), start, length=self._at - start)
            index += 1
            self._skip(_GAP)
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        self._skip(_GAP)
        while self._at < len(self._text) and self._text[self._at] != "}":
            before = self._at
            self._pair(path)
            self._skip(_GAP)
            if self._at == before:
                return
        self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _mark(self, path: Path, start: int, length: int = 0) -> None:
        """Remembers the first place of a path. Places mostly come in order: lines are counted once."""
        if path in self._spots:
            return
        if start < self._counted:
            self._line, self._line_start, self._counted = 1, 0, 0
        self._line += self._text.count("\n", self._counted, start)
        self._line_start = self._text.rfind("\n", 0, start) + 1
        self._counted = start
        end = self._text.find("\n", start)
        rest = (end if end >= 0 else len(self._text)) - start
        self._spots[path] = Spot(self._line, start - self._line_start + 1, min(length or rest, rest))
