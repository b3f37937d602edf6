"""Reading a TOML table with exact errors: all problems at once, each with its line, unknown keys with a proposal.

A reader takes what it knows from a ``Table`` and ends with ``done()``, which reports what nobody took. Nothing here
raises: problems gather in the ``Document`` and a default stands in for each bad value, so that one wrong key
does not hide the next one.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.toml_lines import Path, Spot, locate
from scan.problem import Place, Problem, TickworkError

_AT = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(slots=True)
class Document:
    """A parsed TOML file and the problems found in it so far."""

    file: str
    text: str
    data: dict[str, Any]
    spots: dict[Path, Spot]
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """The place of ``path``, or of the nearest table around it."""
        while path and path not in self.spots:
            path = path[:-1]
        spot = self.spots.get(path)
        return Place(self.file, spot.line, spot.column, spot.length) if spot else Place(self.file)

    def report(
        self,
        code: str,
        message: str,
        path: Path,
        *,
        expected: str = "",
        found: str = "",
        remedy: str = "",
        severity: str = "error",
    ) -> None:
        place = self.place(path)
        lines = self.text.splitlines()
        source = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
        self.problems.append(
            Problem(code, message, place, expected, found, remedy, severity=severity, source_line=source)
        )

    def root(self) -> Table:
        return Table(self, (), self.data)

    def raise_errors(self) -> None:
        """Raises TickworkError with every problem if one of them is an error."""
        if any(problem.severity == "error" for problem in self.problems):
            raise TickworkError(*sorted(self.problems, key=lambda one: one.place.line))


def parse(text: str, file: str) -> Document:
    """Raises TickworkError PL1001 with line and column when ``text`` is no TOML."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TickworkError(_syntax_problem(text, file, str(error))) from None
    return Document(file, text, data, locate(text))


def _syntax_problem(text: str, file: str, message: str) -> Problem:
    at = _AT.search(message)
    lines = text.splitlines() or [""]
    line = int(at.group(1)) if at and at.group(1) else len(lines)
    column = int(at.group(2)) if at and at.group(2) else len(lines[-1]) + 1
    return Problem(
        "PL1001",
        f"the file is not valid TOML: {_AT.sub('', message)}",
        Place(file, line, column, 1),
        source_line=lines[line - 1] if line <= len(lines) else "",
        remedy="correct the marked place; https://toml.io shows the format",
    )


class Table:
    """One table of a document. The getters take a key, check its type and range, and remember that it is known."""

    def __init__(self, document: Document, path: Path, data: Mapping[str, Any]) -> None:
        self.document = document
        self.path = path
        self.data = data
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def report(self, code: str, message: str, key: str = "", **parts: str) -> None:
        self.document.report(code, message, (*self.path, key) if key else self.path, **parts)

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        value = self._take(key, str, "a text in quotes", required)
        return default if value is None else str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._take(key, bool, "true or false", False)
        return default if value is None else bool(value)

    def integer(
        self,
        key: str,
        default: int = 0,
        *,
        low: int | None = None,
        high: int | None = None,
        required: bool = False,
    ) -> int:
        value = self._take(key, int, "a whole number", required)
        return default if value is None else int(self._ranged(key, value, default, low, high))

    def number(
        self, key: str, default: float = 0.0, *, low: float | None = None, high: float | None = None
    ) -> float:
        value = self._take(key, (int, float), "a number", False)
        return default if value is None else float(self._ranged(key, value, default, low, high))

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        value = self.text(key, default)
        options = tuple(choices)
        if value in options:
            return value
        near = difflib.get_close_matches(value, options, n=1)
        self.report(
            "PL1004",
            f"`{key}` cannot be {value!r}",
            key,
            expected=" or ".join(f'"{option}"' for option in options),
            found=f'"{value}"',
            remedy=f'write "{near[0]}"' if near else "take one of the expected values",
        )
        return default

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._take(key, list, 'a list of texts, ["one", "two"]', False)
        if value is None:
            return default
        for index, element in enumerate(value):
            if not isinstance(element, str):
                self._mistyped((key, index), f"element {index + 1} of `{key}`", "a text in quotes", element)
        return tuple(element for element in value if isinstance(element, str))

    def table(self, key: str) -> Table:
        """The sub-table, empty if it is missing."""
        value = self._take(key, dict, f"a table, [{key}]", False)
        return Table(self.document, (*self.path, key), value or {})

    def tables(self, key: str) -> list[Table]:
        """The elements of an array of tables, none if it is missing."""
        value = self._take(key, list, f"tables, [[{key}]]", False) or []
        found = []
        for index, element in enumerate(value):
            if isinstance(element, dict):
                found.append(Table(self.document, (*self.path, key, index), element))
            else:
                self._mistyped((key, index), f"element {index + 1} of `{key}`", "a table", element)
        return found

    def done(self) -> None:
        """Reports each key that no getter asked for (PL1002)."""
        for key in self.data:
            if key in self._known:
                continue
            near = difflib.get_close_matches(key, self._known, n=1, cutoff=0.5)
            where = ".".join(str(part) for part in self.path if isinstance(part, str))
            self.report(
                "PL1002",
                f"unknown key `{key}`" + (f" in [{where}]" if where else ""),
                key,
                expected=", ".join(sorted(self._known)),
                found=key,
                remedy=f"did you mean `{near[0]}`?" if near else "remove the key",
            )

    def _take(self, key: str, types: type | tuple[type, ...], expected: str, required: bool) -> Any:
        self._known.add(key)
        if key not in self.data:
            if required:
                self.report(
                    "PL1003", f"`{key}` is missing", expected=f"{key} = {expected}", found="nothing",
                    remedy=f"add `{key}`",
                )  # fmt: skip
            return None
        value = self.data[key]
        # bool is an int to Python, never to a person.
        if isinstance(value, types) and (types is bool or not isinstance(value, bool)):
            return value
        self._mistyped((key,), f"`{key}`", expected, value)
        return None

    def _mistyped(self, keys: Path, what: str, expected: str, value: object) -> None:
        shown = (
            {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
        )
        self.document.report(
            "PL1004", f"{what} has the wrong type", (*self.path, *keys), expected=expected, found=shown[:80],
            remedy=f"write {expected}",
        )  # fmt: skip

    def _ranged(self, key: str, value: float, default: float, low: float | None, high: float | None) -> float:
        if (low is None or value >= low) and (high is None or value <= high):
            return value
        bounds = (
            f"{low} to {high}"
            if None not in (low, high)
            else f"at least {low}"
            if high is None
            else f"at most {high}"
        )
        self.report(
            "PL1005",
            f"`{key}` is out of range",
            key,
            expected=bounds,
            found=str(value),
            remedy=f"choose {bounds}",
        )
        return default
