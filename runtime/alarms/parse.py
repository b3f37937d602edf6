"""Definitions from text: ``[[alarm]]`` tables of a plant file or a page, and the attribute ``alarm`` of a variable.

``{attribute 'alarm' := 'h = 80, deadband = 2, text = "Level high"'}`` has the keys of an ``[[alarm]]`` table in one
line; ``tag`` is the variable itself, ``name`` its path unless given.
"""

from __future__ import annotations

import re

import msgspec

from runtime.alarms.expression import Expression
from runtime.alarms.model import DEFINITIONS_MAX, KINDS, SHELVE_S_MAX, SYSTEM, Definition
from runtime.toml_table import Table, parse
from scan.problem import Problem, TickworkError

NAME = re.compile(r"[^\s#\"'<>][^#\"'<>\x00-\x1f]{0,118}[^\s#\"'<>]|[^\s#\"'<>]")
DELAY_MS_MAX = 24 * 3600 * 1000
_LIMITS = ("hh", "h", "l", "ll")


def parse_tables(tables: list[Table], *, origin: str, file: str = "") -> tuple[Definition, ...]:
    """The definitions; problems go to the tables' document."""
    found: dict[str, Definition] = {}
    for table in tables[:DEFINITIONS_MAX]:
        definition = parse_table(table, origin=origin, file=file)
        if definition.name in found:
            table.report("AL1001", f"the alarm {definition.name} is given twice", "name", remedy="rename one")
        found[definition.name] = definition
    if len(tables) > DEFINITIONS_MAX:
        tables[-1].report("AL1001", "too many alarms", expected=f"at most {DEFINITIONS_MAX}")
    return tuple(found.values())


def parse_text(text: str, *, origin: str, file: str = "alarms.toml") -> tuple[Definition, ...]:
    """A TOML text of ``[[alarm]]`` tables. Raises TickworkError with all its problems."""
    document = parse(text, file)
    root = document.root()
    found = parse_tables(root.tables("alarm"), origin=origin, file=file)
    root.done()
    document.raise_errors()
    return found


def parse_attribute(text: str, path: str, *, file: str = "", line: int = 0) -> Definition:
    """The attribute of the variable ``path``. Raises TickworkError AL1006."""
    try:
        table = parse("alarm = { " + text + " }", file or path).root().table("alarm")
        definition = parse_table(table, origin="program", file=file, path=path)
        table.document.raise_errors()
    except TickworkError as error:
        cause = error.problems[0]
        raise TickworkError(
            Problem("AL1006", f"the attribute 'alarm' of {path}: {cause.message}", found=text[:200],
                    expected=cause.expected or 'h = 80, deadband = 2, text = "Level high"')
        ) from error  # fmt: skip
    return msgspec.structs.replace(definition, line=line)


def parse_table(table: Table, *, origin: str, file: str = "", path: str = "") -> Definition:
    """One definition. ``path``: the variable that it is an attribute of."""
    name = table.text("name", path, required=not path)
    if not NAME.fullmatch(name) or (name.startswith(SYSTEM) and origin == "program"):
        table.report(
            "AL1001",
            f"{name!r} is no name for an alarm",
            "name",
            expected="1 to 120 signs without #, \" and '",
        )
    tag = table.text("tag", path)
    limits = {key: table.number(key) if key in table else None for key in _LIMITS}
    kind = table.choice("kind", KINDS, _kind_of(table, limits))
    deadband = table.number("deadband", low=0.0)
    priority = table.integer("priority", 3, low=1, high=4)
    first_out = table.flag("first_out")
    definition = Definition(
        name=name, kind=kind, text=table.text("text", name), priority=priority, tag=tag,  # type: ignore[arg-type]
        active_when=table.flag("active_when", True),
        hh=limits["hh"], h=limits["h"], l=limits["l"], ll=limits["ll"],
        hh_deadband=table.number("hh_deadband", deadband, low=0.0),
        h_deadband=table.number("h_deadband", deadband, low=0.0),
        l_deadband=table.number("l_deadband", deadband, low=0.0),
        ll_deadband=table.number("ll_deadband", deadband, low=0.0),
        hh_priority=table.integer("hh_priority", 0, low=0, high=4),
        ll_priority=table.integer("ll_priority", 0, low=0, high=4),
        setpoint=table.text("setpoint"),
        over_ms=table.integer("over_ms", 1000, low=100, high=DELAY_MS_MAX),
        states=table.texts("states"), expression=table.text("expression"),
        depends_on=table.texts("depends_on"),
        on_delay_ms=table.integer("on_delay_ms", 0, low=0, high=DELAY_MS_MAX),
        off_delay_ms=table.integer("off_delay_ms", 0, low=0, high=DELAY_MS_MAX),
        comms_delay_ms=table.integer("comms_delay_ms", 5000, low=0, high=DELAY_MS_MAX),
        latching=table.flag("latching"), acknowledge=table.flag("acknowledge", True),
        realarm_s=table.integer("realarm_s", 0, low=0, high=86_400),
        group=table.text("group"), first_out=first_out,
        area=table.text("area"), unit=table.text("unit"), cause=table.text("cause"),
        consequence=table.text("consequence"), response=table.text("response"), page=table.text("page"),
        respond_within_s=table.integer("respond_within_s", 0, low=0, high=86_400),
        suppress_when=table.text("suppress_when"),
        shelve_s_max=table.integer("shelve_s_max", SHELVE_S_MAX, low=60, high=30 * 86_400),
        trend=table.texts("trend"), enabled=table.flag("enabled", True),
        origin=origin, file=file, line=table.document.place(table.path).line,
    )  # fmt: skip
    _check(table, definition)
    table.done()
    return definition


def _kind_of(table: Table, limits: dict[str, float | None]) -> str:
    """The kind that the other keys mean."""
    if "expression" in table:
        return "expression"
    if "states" in table:
        return "state"
    if "setpoint" in table:
        return "deviation"
    return "limit" if any(limit is not None for limit in limits.values()) else "digital"


def _check(table: Table, d: Definition) -> None:
    limits = [limit for limit in (d.ll, d.l, d.h, d.hh) if limit is not None]
    if d.kind in ("limit", "deviation", "rate") and not limits:
        table.report("AL1002", f"the alarm {d.name} has no limit", expected="one of hh, h, l, ll")
    if limits != sorted(limits):
        table.report("AL1002", f"the limits of {d.name} are not in order", expected="ll <= l <= h <= hh")
    if d.kind == "deviation" and not d.setpoint:
        table.report(
            "AL1002", f"the alarm {d.name} has nothing to deviate from", expected='setpoint = "a tag"'
        )
    if d.kind == "state" and not d.states:
        table.report("AL1002", f"the alarm {d.name} names no state", expected='states = ["Tripped"]')
    if d.kind != "expression" and not d.tag:
        table.report("AL1002", f"the alarm {d.name} looks at nothing", expected='tag = "a variable"')
    if d.first_out and not d.group:
        table.report("AL1002", f"the alarm {d.name} is in no group", "first_out", expected='group = "a name"')
    for key, text in (("expression", d.expression), ("suppress_when", d.suppress_when)):
        if text or (key == "expression" and d.kind == key):
            try:
                Expression(text)
            except TickworkError as error:
                problem = error.problems[0]
                table.report(
                    problem.code, problem.message, key, expected=problem.expected, found=problem.found
                )


def to_toml(definitions: tuple[Definition, ...]) -> str:
    """The definitions as ``[[alarm]]`` tables; ``parse_text`` of it gives them back."""
    parts = []
    for definition in definitions:
        plain = msgspec.to_builtins(definition)
        lines = [
            f"{key} = {_value(value)}"
            for key, value in plain.items()
            if key not in ("origin", "file", "line")
        ]
        parts.append("[[alarm]]\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return repr(value)
