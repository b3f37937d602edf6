"""What a configured item must be, alone and together with the others. Pure; raises SV7001 with all that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from scan.problem import Problem, TickworkError, fail
from supervisor.notify.lines import DAY_MIN
from supervisor.notify.model import Channel, Item, Person, Pipeline, Roster, Rule, Schedule, Settings
from supervisor.notify.schedule import local_time, zone

# By kind of channel: each setting, and whether it must be given.
SETTINGS: dict[str, dict[str, bool]] = {
    "email": {"host": True, "port": True, "security": True, "sender": True, "user": False, "ca_file": False},
    "webhook": {"ca_file": False},
    "mqtt": {"bridge": True},
    "apprise": {},
}
SECRET = {
    "email": "password of the mail account",
    "webhook": "key of the signature",
    "mqtt": "",
    "apprise": "address of the service, with its token",
}
SECURITY = ("starttls", "tls", "none")
_NAME = re.compile(r"[^\W_][\w.-]{0,39}")
_MAIL = re.compile(r"[^\s@<>,;:\"\\]+@[^\s@<>,;:\"\\]+")
LIST_MAX, TEXT_MAX = 500, 200
_BOUNDS = {
    "gather_s": (0, 3600),
    "burst": (1, 1000),
    "window_s": (1, 86_400),
    "fails_max": (1, 100),
    "tries_max": (1, 100),
}


def check(item: Item, settings: Settings, *, secret: bool = False) -> None:
    """``secret``: the channel has or gets one. Raises TickworkError SV7001."""
    found = list(_problems(item, settings, secret))
    if not _NAME.fullmatch(item.name):
        found.insert(
            0, _wrong("name", "1 to 40 letters, digits and . _ -, first a letter or digit", item.name)
        )
    if found:
        raise TickworkError(*found)


def address_fault(channel: Channel, to: str) -> str:
    """What an address of this channel must be; "" when it is."""
    if not to or len(to) > 2 * TEXT_MAX or any(ord(sign) < 32 for sign in to):
        return "one line that is not empty"
    if channel.kind == "email" and not _MAIL.fullmatch(to):
        return "an e-mail address"
    if channel.kind == "webhook" and not _url_ok(to):
        return "https://host/path (http only to this machine)"
    if channel.kind == "mqtt" and not re.fullmatch(r"[^+#\x00/][^+#\x00]*", to):
        return "the end of an MQTT topic, without + and #"
    return ""


def users_of(kind: str, name: str, settings: Settings) -> tuple[str, ...]:
    """What would break without this item."""
    found = []
    for other in ("person", "roster", "schedule", "pipeline", "rule"):
        for item in settings.of(other).values():
            if name in dict(_references(item)).get(kind, ()):
                found.append(f"{other} {item.name}")
    return tuple(found)


def still_used(kind: str, name: str, users: tuple[str, ...]) -> TickworkError:
    return fail(
        "SV7002", f"the {kind} {name} is still used", found=", ".join(users[:10]),
        remedy="take it out there first",
    )  # fmt: skip


def _references(item: Item) -> list[tuple[str, set[str]]]:
    """Names that an item uses, by kind."""
    if isinstance(item, Person):
        return [("channel", {one.channel for one in item.addresses})]
    if isinstance(item, Roster):
        return [("person", set(item.people))]
    if isinstance(item, Schedule):
        return [
            (
                "person",
                {
                    name
                    for who in (*(one.who for one in item.shifts), *(one.who for one in item.overrides))
                    for name in who
                },
            )
        ]
    if isinstance(item, Rule):
        return [("pipeline", {item.pipeline})]
    if isinstance(item, Pipeline):
        told = [step.to.partition(":") for step in item.steps if step.kind != "wait"]
        kinds = ("person", "roster", "schedule")
        by_kind = [(kind, {name for one, _, name in told if one == kind}) for kind in kinds]
        return [*by_kind, ("channel", {name for step in item.steps for name in step.channels})]
    return []


def _problems(item: Item, settings: Settings, secret: bool) -> Iterator[Problem]:
    for kind, names in _references(item):
        for name in sorted(names - set(settings.of(kind))):
            yield _wrong(kind, f"a {kind} that there is", name)
    for field, value in msgspec.structs.asdict(item).items():
        if isinstance(value, tuple) and len(value) > LIST_MAX:
            yield _wrong(field, f"at most {LIST_MAX}", len(value))
        if isinstance(value, str) and len(value) > TEXT_MAX:
            yield _wrong(field, f"at most {TEXT_MAX} characters", len(value))
    if isinstance(item, Channel):
        yield from _channel(item, secret)
    elif isinstance(item, Person):
        yield from _person(item, settings)
    elif isinstance(item, Schedule):
        yield from _schedule(item)
    elif isinstance(item, Pipeline):
        yield from _pipeline(item)
    elif isinstance(item, Rule) and not set(item.priorities) <= {1, 2, 3, 4}:
        yield _wrong("priorities", "1 urgent to 4 low", item.priorities)


def _channel(item: Channel, secret: bool) -> Iterator[Problem]:
    known = SETTINGS[item.kind]
    for key in sorted(set(item.settings) - set(known)):
        yield _wrong(
            key, f"one of {', '.join(known) or 'no settings'}", "a setting that this kind does not have"
        )
    for key, needed in known.items():
        if needed and not item.settings.get(key):
            yield _wrong(key, "a value", "nothing")
    for field, (low, high) in _BOUNDS.items():
        if not low <= getattr(item, field) <= high:
            yield _wrong(field, f"{low} to {high}", getattr(item, field))
    if any(len(text) > TEXT_MAX or not text.isprintable() for text in item.settings.values()):
        yield _wrong("settings", f"one line each, at most {TEXT_MAX} characters", "something else")
    if item.kind == "email":
        yield from _email(item, secret)
    if item.kind == "apprise" and not secret:
        yield _wrong("secret", "the address of the service, as apprise writes it", "nothing")


def _email(item: Channel, secret: bool) -> Iterator[Problem]:
    given = item.settings
    port = given.get("port", "")
    if port and not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65_536):
        yield _wrong("port", "1 to 65535", port)
    security = given.get("security", "")
    if security and security not in SECURITY:
        yield _wrong("security", " or ".join(SECURITY), security)
    if security == "none" and (secret or given.get("user")):
        yield _wrong("security", "starttls or tls when there is a password", security)
    if given.get("user") and not secret:
        yield _wrong("secret", "the password of the user", "nothing")
    if given.get("sender") and not _MAIL.fullmatch(given["sender"]):
        yield _wrong("sender", "an e-mail address", given["sender"])


def _person(item: Person, settings: Settings) -> Iterator[Problem]:
    for one in item.addresses:
        channel = settings.channels.get(one.channel)
        fault = address_fault(channel, one.to) if channel else ""
        if fault:
            yield _wrong(f"address by {one.channel}", fault, one.to[:TEXT_MAX])


def _schedule(item: Schedule) -> Iterator[Problem]:
    if zone(item.time_zone) is None:
        yield _wrong("time zone", "a name such as Europe/Berlin or UTC", item.time_zone)
    for shift in item.shifts:
        days = bool(shift.days) and set(shift.days) <= set(range(7))
        if not days or not 0 <= shift.from_min < DAY_MIN or not 0 <= shift.to_min <= DAY_MIN:
            yield _wrong("shift", "days 0 to 6 and minutes of a day", msgspec.to_builtins(shift))
    for one in item.overrides:
        begin, end = local_time(one.begin), local_time(one.end)
        if begin is None or end is None or begin >= end:
            yield _wrong("override", "two times, the first before the second", f"{one.begin} to {one.end}")


def _pipeline(item: Pipeline) -> Iterator[Problem]:
    if not any(step.kind != "wait" for step in item.steps):
        yield _wrong("steps", "at least one that tells somebody", len(item.steps))
    if not 0 <= item.repeat <= 100:
        yield _wrong("repeat", "0 to 100", item.repeat)
    if item.repeat and not any(step.wait_s for step in item.steps):
        yield _wrong("repeat", "a pipeline that waits before it begins again", item.repeat)
    for step in item.steps:
        if step.kind == "wait" and not 1 <= step.wait_s <= 7 * 86_400:
            yield _wrong("wait", "1 s to 7 days", step.wait_s)
        kind, colon, _ = step.to.partition(":")
        if step.kind != "wait" and (not colon or kind not in ("person", "roster", "schedule")):
            yield _wrong("step", "person:NAME, roster:NAME or schedule:NAME", step.to[:TEXT_MAX])


def _url_ok(url: str) -> bool:
    """https, or http to this machine: messages carry names and values of a plant."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    local = host in ("localhost", "::1") or host.startswith("127.")
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def _wrong(what: str, expected: str, found: object) -> Problem:
    return Problem("SV7001", f"{what} has a wrong value", expected=expected, found=str(found)[:TEXT_MAX])
