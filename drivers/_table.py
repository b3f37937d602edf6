"""Reading one table of a plant file: each key is asked for once, every problem is collected with its place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from scan.problem import Place, Problem, TickworkError

Placer = Callable[..., Place]
_T = TypeVar("_T")


def no_place(*path: str | int) -> Place:
    """The placer for tables that do not come from a file."""
    return Place()


class Table:
    """A TOML table with the path to it. Readers return a usable default after noting a problem."""

    def __init__(
        self,
        values: Mapping[str, object],
        place: Placer = no_place,
        *,
        path: tuple[str | int, ...] = (),
        problems: list[Problem] | None = None,
    ) -> None:
        self._values = values
        self._place = place
        self._path = path
        self._asked: set[str] = set()
        self.problems: list[Problem] = problems if problems is not None else []

    def place(self, key: str | None = None) -> Place:
        return self._place(*self._path) if key is None else self._place(*self._path, key)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(
        self, code: str, message: str, *, key: str | None = None, expected: str = "", remedy: str = ""
    ) -> None:
        found = repr(self._values[key]) if key is not None and key in self._values else ""
        remedy = remedy or f"correct {key or 'this table'}"
        self.problems.append(
            Problem(code, message, self.place(key), expected=expected, found=found, remedy=remedy)
        )

    def integer(self, key: str, default: int | None = None, *, low: int, high: int) -> int:
        """An integer within low..high; required if there is no default."""
        value = self._get(key, default)
        if value is None:
            return low
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            usual = default if default is not None else low
            near = usual
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                near = min(max(round(value), low), high)
            return self._wrong(key, f"an integer from {low} to {high}", usual, f"write {key} = {near}")
        return value

    def number(self, key: str, default: float) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return self._wrong(key, "a finite number", default, f"write {key} = {default:g}")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        return self._wrong(key, "a text in quotes", default or "", f"put {key} in quotes")

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if isinstance(value, bool):
            return value
        return self._wrong(key, "true or false", default, f"write {key} = {str(default).lower()}")

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self._get(key, default)
        if value is None:
            return choices[0]
        if value not in choices:
            near = _closest(value, choices) or default or choices[0]
            remedy = f'write {key} = "{near}"'
            return self._wrong(key, "one of " + ", ".join(choices), default or choices[0], remedy)
        return str(value)

    def raw(self, key: str) -> object:
        """The value as it stands, None if absent; the caller checks it."""
        return self._get(key, "") if key in self._values else None

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of an array of tables ``[[…key]]``."""
        value = self._values.get(key, [])
        self._asked.add(key)
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self._wrong(key, f"tables written as [[device.{key}]]", None, "write it as such tables")
            return
        for index, item in enumerate(value):
            yield Table(item, self._place, path=(*self._path, key, index), problems=self.problems)

    def inner(self, key: str, values: Mapping[str, object]) -> Table:
        """The table ``[…key]``, which the caller has found to be one."""
        self._asked.add(key)
        return Table(values, self._place, path=(*self._path, key), problems=self.problems)

    def with_defaults(self, defaults: Mapping[str, object]) -> Table:
        """The same table with further values where it says nothing; they need not be asked for."""
        merged = Table({**defaults, **self._values}, self._place, path=self._path, problems=self.problems)
        merged._asked = self._asked | set(defaults)
        return merged

    def finish(self) -> None:
        """Notes every key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                near = _closest(key, sorted(self._asked))
                remedy = f"write {near} instead" if near else "remove it"
                known = ", ".join(sorted(self._asked))
                self.problem("DV1001", f"{key} is not known here", key=key, expected=known, remedy=remedy)

    def raise_problems(self) -> None:
        if self.problems:
            raise TickworkError(*self.problems)

    def _get(self, key: str, default: object) -> object:
        self._asked.add(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            self.problem("DV1002", f"{key} is missing", remedy=f"add {key} = … to this table")
        return default

    def _wrong(self, key: str, expected: str, default: _T, remedy: str) -> _T:
        self.problem("DV1003", f"{key} has a wrong value", key=key, expected=expected, remedy=remedy)
        return default


def _closest(text: object, known: Sequence[str]) -> str:
    """What was probably meant, "" if nothing is like it."""
    return next(iter(difflib.get_close_matches(str(text), known, 1)), "")


def file_path(table: Table, key: str) -> str:
    """An absolute path: the processes of a node do not run in the folder of the plant file."""
    text = table.text(key)
    if text and not text.startswith("/"):
        table.problem(
            "DV1003",
            f"{key} is no absolute path",
            key=key,
            expected="a path like /etc/tickwork/tls/node.pem",
            remedy="write the whole path",
        )
    return text
