"""What a person is told when something is wrong: one form for every part of Tickwork.

Rule: a message that a person sees has a stable code; the code stands in the ``CODES`` table of exactly one
module named ``codes`` (``programs.codes``, ``runtime.codes``, …) and has a page ``docs/errors/<code>.md``.
Codes are never reused.

Prefixes: ``ST`` language, ``RF`` program faults, ``SC`` scan engine and its files, ``PL`` plant file,
``AR`` artifacts, ``DV`` devices, ``UA`` OPC UA, ``MQ`` MQTT, ``LK`` link, ``SV`` supervisor, ``CL`` command line.
"""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, frozen=True):
    """Where a problem is: a file and, when known, a 1-based line and column (of a character) and a length."""

    file: str = ""
    line: int = 0
    column: int = 0
    length: int = 0

    def __str__(self) -> str:
        parts = [self.file, *(str(number) for number in (self.line, self.column) if number)]
        return ":".join(part for part in parts if part)


class Problem(msgspec.Struct, frozen=True):
    """One problem: what happened, where, what was expected and found, what to do."""

    code: str
    message: str
    place: Place = Place()
    expected: str = ""
    found: str = ""
    remedy: str = ""
    severity: str = "error"  # "error" or "warning"
    source_line: str = ""  # the text of place.line, for the caret
    notes: tuple[str, ...] = ()

    def render(self) -> str:
        """The problem as plain text with the source line and a caret under the place."""
        head = f"{self.severity}[{self.code}]: {self.message}"
        lines = [head if not str(self.place) else f"{self.place}: {head}"]
        if self.source_line:
            caret = " " * max(self.place.column - 1, 0) + "^" * max(self.place.length, 1)
            lines += [f"    {self.source_line.expandtabs(1)}", f"    {caret}"]
        if self.expected or self.found:
            lines.append(f"  expected: {self.expected or '-'}; found: {self.found or '-'}")
        lines += [f"  note: {note}" for note in self.notes]
        if self.remedy:
            lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)


class TickworkError(Exception):
    """Carries one or more problems to whoever can show them to a person."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = problems

    @property
    def code(self) -> str:
        return self.problems[0].code if self.problems else ""


def fail(
    code: str,
    message: str,
    *,
    place: Place | None = None,
    expected: str = "",
    found: str = "",
    remedy: str = "",
) -> TickworkError:
    """The usual one-problem error: ``raise fail("PL1001", "…", remedy="…")``."""
    return TickworkError(
        Problem(code, message, place or Place(), expected=expected, found=found, remedy=remedy)
    )
