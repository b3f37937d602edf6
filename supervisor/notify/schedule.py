"""Who is on duty. Pure: the time is an argument. Shifts follow the local clock, through summer time too."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from supervisor.notify.model import Schedule, Shift

LOCAL_FORM = "%Y-%m-%d %H:%M"


def zone(name: str) -> ZoneInfo | None:
    """None when there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_time(text: str) -> datetime.datetime | None:
    """ "2026-12-24 18:00" without a zone; None when it is no time."""
    try:
        return datetime.datetime.strptime(text, LOCAL_FORM)
    except ValueError:
        return None


def on_duty(schedule: Schedule, at_ns: int) -> tuple[str, ...]:
    """Names of people, each once. The last override that holds goes before all shifts."""
    found = zone(schedule.time_zone)
    if found is None:
        return ()
    utc = datetime.datetime.fromtimestamp(at_ns // 1_000_000_000, datetime.UTC)
    local = utc.astimezone(found).replace(tzinfo=None)
    for override in reversed(schedule.overrides):
        begin, end = local_time(override.begin), local_time(override.end)
        if begin is not None and end is not None and begin <= local < end:
            return tuple(dict.fromkeys(override.who))
    minute = local.hour * 60 + local.minute
    names = [name for shift in schedule.shifts if holds(shift, local.weekday(), minute) for name in shift.who]
    return tuple(dict.fromkeys(names))


def holds(shift: Shift, weekday: int, minute: int) -> bool:
    if shift.from_min < shift.to_min:
        return weekday in shift.days and shift.from_min <= minute < shift.to_min
    evening = weekday in shift.days and minute >= shift.from_min
    return evening or ((weekday - 1) % 7 in shift.days and minute < shift.to_min)
