"""Steps, shifts, overrides and addresses as lines of text, as people write them in forms. Pure, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from scan.problem import Problem, TickworkError
from supervisor.notify.model import DAYS, Address, Override, Shift, Step

Made = TypeVar("Made")
_UNITS = {"s": 1, "min": 60, "h": 3600}
_STEP = re.compile(r"(notify|escalate)\s+(\S+)(?:\s+by\s+(.+))?", re.IGNORECASE)
_WAIT = re.compile(r"wait\s+(\d{1,6})\s*(s|min|h)", re.IGNORECASE)
_SHIFT = re.compile(r"(\S+)\s+(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)\s+(.+)")
_OVERRIDE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d)\s+to\s+(\d{4}-\d\d-\d\d \d\d:\d\d)\s+(.+)", re.IGNORECASE
)
_NOBODY = "nobody"
DAY_MIN = 24 * 60


def names(text: str) -> tuple[str, ...]:
    """Names between commas or on lines of their own."""
    return tuple(dict.fromkeys(part.strip() for part in re.split(r"[,\n]", text) if part.strip()))


def read_steps(text: str) -> tuple[Step, ...]:
    return _lines(text, _step, "notify schedule:NAME by CHANNEL, or wait 10 min, or escalate roster:NAME")


def read_shifts(text: str) -> tuple[Shift, ...]:
    return _lines(text, _shift, "Mon-Fri 06:00-14:00 NAME, NAME")


def read_overrides(text: str) -> tuple[Override, ...]:
    return _lines(text, _override, "2026-12-24 18:00 to 2026-12-25 06:00 NAME (or nobody)")


def read_addresses(text: str) -> tuple[Address, ...]:
    return _lines(text, _address, "CHANNEL ADDRESS")


def write_steps(steps: Iterable[Step]) -> str:
    return "\n".join(_step_text(step) for step in steps)


def write_shifts(shifts: Iterable[Shift]) -> str:
    return "\n".join(
        f"{_days_text(one.days)} {_clock(one.from_min)}-{_clock(one.to_min)} {', '.join(one.who)}"
        for one in shifts
    )


def write_overrides(overrides: Iterable[Override]) -> str:
    return "\n".join(f"{one.begin} to {one.end} {', '.join(one.who) or _NOBODY}" for one in overrides)


def write_addresses(addresses: Iterable[Address]) -> str:
    return "\n".join(f"{one.channel} {one.to}" for one in addresses)


def duration_text(seconds: int) -> str:
    for unit in ("h", "min"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]} {unit}"
    return f"{seconds} s"


# ---------------------------------------------------------------- one line


def _lines(text: str, read: Callable[[str], Made | None], expected: str) -> tuple[Made, ...]:
    found, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        made = read(line.strip())
        if made is None:
            problems.append(
                Problem(
                    "SV7001", f"line {number} is not understood", expected=expected, found=line.strip()[:200]
                )
            )
        else:
            found.append(made)
    if problems:
        raise TickworkError(*problems)
    return tuple(found)


def _step(line: str) -> Step | None:
    if wait := _WAIT.fullmatch(line):
        return Step("wait", wait_s=int(wait[1]) * _UNITS[wait[2].lower()])
    if step := _STEP.fullmatch(line):
        kind: Literal["notify", "escalate"] = "escalate" if step[1].lower() == "escalate" else "notify"
        return Step(kind, step[2], names(step[3] or ""))
    return None


def _step_text(step: Step) -> str:
    if step.kind == "wait":
        return f"wait {duration_text(step.wait_s)}"
    return f"{step.kind} {step.to}" + (f" by {', '.join(step.channels)}" if step.channels else "")


def _shift(line: str) -> Shift | None:
    match = _SHIFT.fullmatch(line)
    days = _days(match[1]) if match else None
    if match is None or days is None:
        return None
    begin, end = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
    fits = int(match[3]) < 60 and int(match[5]) < 60 and begin < DAY_MIN and end <= DAY_MIN
    return Shift(days, begin, end, names(match[6])) if fits and names(match[6]) else None


def _override(line: str) -> Override | None:
    match = _OVERRIDE.fullmatch(line)
    if match is None or not names(match[3]):
        return None
    who = () if match[3].strip().lower() == _NOBODY else names(match[3])
    return Override(match[1], match[2], who)


def _address(line: str) -> Address | None:
    channel, _, to = line.partition(" ")
    return Address(channel, to.strip()) if to.strip() else None


def _days(text: str) -> tuple[int, ...] | None:
    """ "daily", "Mon-Fri", "Sat,Sun"; also over the end of the week."""
    if text.lower() == "daily":
        return tuple(range(7))
    known = {day.lower(): number for number, day in enumerate(DAYS)}
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in known or (dash and last not in known):
            return None
        count = (known[last] - known[first]) % 7 if dash else 0
        found |= {(known[first] + step) % 7 for step in range(count + 1)}
    return tuple(sorted(found))


def _days_text(days: Sequence[int]) -> str:
    if tuple(days) == tuple(range(7)):
        return "daily"
    if len(days) > 2 and tuple(days) == tuple(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
