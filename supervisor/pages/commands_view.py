"""Commands as pages show them: what may be typed, what is asked before it is sent, how it went."""

from __future__ import annotations

import re

from supervisor.model import Actor, CommandRow, Force, Role, Runtime, TagValue
from supervisor.pages import views
from web import contexts as c

KINDS = ("write", "force", "unforce", "start", "stop", "restart", "reset_statistics")
ACTIONS = {
    "start": "The program starts from its initial values; retained values are kept.",
    "stop": "The program stops after this scan. Outputs go to their declared safe values.",
    "restart": "The program starts anew from its initial values; retained values are kept.",
    "reset_statistics": "Counters, maxima and histograms of all tasks start from zero. The program is not touched.",
}
LEASES = ((600, "10 minutes"), (1800, "30 minutes"), (3600, "1 hour"), (14400, "4 hours"), (28800, "8 hours"))
_INTEGERS = {
    "SINT": (-(2**7), 2**7 - 1),
    "INT": (-(2**15), 2**15 - 1),
    "DINT": (-(2**31), 2**31 - 1),
    "LINT": (-(2**63), 2**63 - 1),
    "USINT": (0, 2**8 - 1),
    "UINT": (0, 2**16 - 1),
    "UDINT": (0, 2**32 - 1),
    "ULINT": (0, 2**64 - 1),
    "BYTE": (0, 2**8 - 1),
    "WORD": (0, 2**16 - 1),
    "DWORD": (0, 2**32 - 1),
    "LWORD": (0, 2**64 - 1),
}
_REALS = ("REAL", "LREAL")


def choices(value: TagValue) -> tuple[str, ...]:
    if value.enum_values:
        return tuple(name for name, _ in value.enum_values)
    return ("FALSE", "TRUE") if value.type == "BOOL" else ()


def why_refused(value: TagValue, typed: str) -> str:
    """Why a typed value can not be meant, "" when it can; the runtime decides in the end."""
    if not typed and value.type not in ("STRING", "WSTRING"):
        return "Type a value."
    number = _number(value, typed)
    if number is None:
        return ""
    if isinstance(number, str):
        return number
    if value.type in _INTEGERS and not _INTEGERS[value.type][0] <= number <= _INTEGERS[value.type][1]:
        low, high = _INTEGERS[value.type]
        return f"{value.type} holds {low} to {high}."
    if (value.low is not None and number < value.low) or (value.high is not None and number > value.high):
        return (
            f"The range of this tag is {_plain(value.low)} to {_plain(value.high)} {value.unit}".rstrip()
            + "."
        )
    return ""


def _number(value: TagValue, typed: str) -> float | int | str | None:
    """The number that was typed, a refusal, or None for types that are not numbers."""
    if value.type in _REALS:
        text = typed.replace(",", ".")
        if re.fullmatch(r"[+-]?\d[\d_]*(\.\d[\d_]*)?([eE][+-]?\d+)?", text):
            return float(text.replace("_", ""))
        return f"“{typed}” is not a number such as 12.5."
    if value.type in _INTEGERS and not value.enum_values:
        if re.fullmatch(r"[+-]?\d[\d_]*", typed):
            return int(typed.replace("_", ""))
        if re.fullmatch(r"(2|8|16)#[0-9A-Fa-f_]+", typed):
            base, digits = typed.split("#")
            try:
                return int(digits.replace("_", ""), int(base))
            except ValueError:
                return f"“{typed}” is not a number to the base {base}."
        return f"“{typed}” is not a whole number."
    return None


def literal(value: TagValue, typed: str) -> str:
    return typed.replace(",", ".") if value.type in _REALS else typed


def _plain(number: float | None) -> str:
    return "–" if number is None else f"{number:g}"


def tag_sheet(
    value: TagValue,
    runtime: Runtime,
    force: Force | None,
    recent: tuple[str, str],
    *,
    actor: Actor,
    csrf: str,
    wrong: str,
    typed: str,
) -> c.TagSheet:
    operates = actor.role.includes(Role.OPERATOR)
    linked = runtime.link == "up"
    why_not = ""
    if not operates:
        why_not = "Your role may look, not write."
    elif not linked:
        why_not = "The runtime is not linked: nothing can be written now."
    return c.TagSheet(
        node=value.node_id,
        runtime=runtime.name,
        row=views.tag_row(value),
        low="" if value.low is None else _plain(value.low),
        high="" if value.high is None else _plain(value.high),
        choices=choices(value),
        can_write=operates and linked,
        can_force=operates and linked,
        why_not=why_not,
        force=views.force_view(force, value, runtime.name) if force else None,
        spark=recent[0],
        spark_text=recent[1],
        csrf=csrf,
        wrong=wrong,
        typed=typed,
        leases=LEASES,
    )


def write_confirm(
    value: TagValue, runtime: Runtime, *, kind: str, new: str, csrf: str, lease_s: int, reason: str, key: str
) -> c.WriteConfirm:
    row = views.tag_row(value)
    return c.WriteConfirm(
        node=runtime.node_id,
        runtime=runtime.name,
        path=value.path,
        href=row.href,
        kind=kind,
        old=value.text,
        new=new,
        unit=value.unit,
        csrf=csrf,
        lease_s=lease_s,
        reason=reason,
        key=key,
    )


def action_confirm(runtime: Runtime, *, kind: str, csrf: str, key: str) -> c.WriteConfirm:
    return c.WriteConfirm(
        node=runtime.node_id,
        runtime=runtime.name,
        path="",
        href=views.runtime_href(runtime.node_id),
        kind=kind,
        old="",
        new=ACTIONS[kind],
        unit="",
        csrf=csrf,
        lease_s=0,
        reason="",
        key=key,
    )


def progress(row: CommandRow) -> c.CommandProgress:
    return c.CommandProgress(
        command=views.command_view(row), poll=views.runtime_href(row.node_id, "commands", row.id)
    )
