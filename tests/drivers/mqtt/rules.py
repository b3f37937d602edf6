"""Which test shows which assertion of the Sparkplug 3.0.0 specification: a check has the ids of what it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Check = Callable[..., Any]
F = TypeVar("F", bound=Check)


class Rules:
    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}

    def __call__(self, *identifiers: str) -> Callable[[F], F]:
        def note(check: F) -> F:
            for one in identifiers:
                assert one not in self.checks, f"{one} is shown twice"
                self.checks[one] = check
            return check

        return note
