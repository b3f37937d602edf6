"""Which variables a set of definitions looks at."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.alarms.expression import Expression
from runtime.alarms.model import SYSTEM, Definition
from scan.problem import TickworkError


def variables_of(definitions: Iterable[Definition]) -> tuple[str, ...]:
    """Names as they were written, each once without regard to case; names of system inputs are not among them."""
    found: dict[str, str] = {}
    for definition in definitions:
        if definition.kind == "comms":
            continue
        names = [definition.tag, definition.setpoint, *definition.depends_on]
        for text in (definition.expression, definition.suppress_when):
            if text:
                try:
                    names += Expression(text).tags
                except TickworkError:
                    continue  # the definition's own problem tells it
        for name in names:
            if name and not name.startswith(SYSTEM):
                found.setdefault(name.upper(), name)
    return tuple(found.values())
