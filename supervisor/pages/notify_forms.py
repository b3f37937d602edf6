"""Settings of notifications as fields of a form, and back. Pure; raises SV7001 for a line that is not understood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

from runtime.alarms.model import PRIORITIES
from scan.problem import fail
from supervisor.notify import check, lines
from supervisor.notify.model import (
    Channel,
    Item,
    Person,
    Pipeline,
    Roster,
    Rule,
    Schedule,
    Settings,
)
from web import contexts_notify as n

SETTINGS = "/notifications/settings"
KIND_WORDS = {"email": "E-mail", "webhook": "Webhook", "mqtt": "MQTT", "apprise": "Other service (apprise)"}
TITLES = {
    "rule": ("Rules", "A rule says which alarms start which pipeline. Without one nobody is told."),
    "pipeline": ("Pipelines", "Steps: tell somebody, wait, escalate, until somebody answers."),
    "schedule": ("Schedules", "Who is on duty when."),
    "roster": ("Rosters", "Groups of people."),
    "person": ("People", "Names and their addresses by channel."),
    "channel": ("Channels", "Mail server, webhook, MQTT bridge or other service. Administrators make them."),
}
ABOUT = {
    "rule": "An alarm is picked when it fits every list that is not empty. Texts may hold * for anything.",
    "pipeline": "One step a line. A wait counts from when it is reached; acknowledging ends the pipeline at once.",
    "schedule": "Shifts follow the local clock. The last override that holds goes before all shifts.",
    "roster": "All of them are told together.",
    "person": "One address a line: the name of a channel, then the address there.",
    "channel": "Secrets are encrypted at rest and never shown again.",
}
_NO_CHOICES: tuple[n.Choice, ...] = ()
_LABELS = {
    "host": ("Server", "name or address"),
    "port": ("Port", "587 for starttls, 465 for tls"),
    "sender": ("Sender", "the address that messages come from"),
    "user": ("User", "empty when the server wants no password"),
    "ca_file": ("File of the certificate authority", "empty: the authorities that this machine trusts"),
    "bridge": (
        "Bridge",
        "name of a bridge of kind json in mqtt.toml; messages go to TOPIC/notifications/ADDRESS",
    ),
}
_NUMBERS = {
    "gather_s": ("Gather for (s)", "alarms that come together become one message"),
    "burst": ("Messages at most", "to one address in the window below; what is more is put together"),
    "window_s": ("Window (s)", ""),
    "fails_max": ("Failures that open the circuit", "in a row; then nothing is sent for 1 to 15 minutes"),
    "tries_max": ("Tries", "of one message, with growing pauses"),
}


def item_href(kind: str, name: str) -> str:
    return f"{SETTINGS}/{kind}/{quote(name, safe='')}"


def blank(kind: str, channel_kind: str = "") -> Item:
    """What the form of a new item begins with."""
    made: dict[str, Callable[[], Item]] = {
        "channel": lambda: Channel("", channel_kind if channel_kind in check.SETTINGS else "email"),  # type: ignore[arg-type]
        "person": lambda: Person(""),
        "roster": lambda: Roster(""),
        "schedule": lambda: Schedule(""),
        "pipeline": lambda: Pipeline("", lines.read_steps("wait 10 min")),
        "rule": lambda: Rule("", "", (1, 2)),
    }
    return made[kind]()


# ---------------------------------------------------------------- to fields


def fields_of(item: Item, settings: Settings) -> tuple[n.Field, ...]:
    if isinstance(item, Channel):
        return _channel_fields(item, item.name in settings.secrets)
    if isinstance(item, Person):
        channels = ", ".join(settings.channels) or "none yet"
        return (
            _field("full_name", "Full name", "text", item.full_name),
            _field("addresses", "Addresses", "area", lines.write_addresses(item.addresses),
                   f"for example: mail anna@example.com. Channels: {channels}"),
            _field("enabled", "Is told", "check", "1" if item.enabled else ""),
        )  # fmt: skip
    if isinstance(item, Roster):
        chosen = _choices(settings.people, item.people)
        return (_field("people", "People", "checks", "", "" if chosen else "Make people first.", chosen),)
    if isinstance(item, Schedule):
        return (
            _field("time_zone", "Time zone", "text", item.time_zone, "for example Europe/Berlin"),
            _field("shifts", "Shifts", "area", lines.write_shifts(item.shifts),
                   "one a line: Mon-Fri 06:00-14:00 anna, ben; or daily 22:00-06:00 carl"),
            _field("overrides", "Overrides", "area", lines.write_overrides(item.overrides),
                   "one a line: 2026-12-24 18:00 to 2026-12-25 06:00 dora (or nobody)"),
        )  # fmt: skip
    if isinstance(item, Pipeline):
        return _pipeline_fields(item, settings)
    return _rule_fields(item, settings)


def _channel_fields(item: Channel, has_secret: bool) -> tuple[n.Field, ...]:
    known = [key for key in check.SETTINGS[item.kind] if key != "security"]
    found = [_field("kind", "Kind", "select", "", "", _choices((item.kind,), (item.kind,), KIND_WORDS))]
    found += [
        _field(key, _LABELS[key][0], "text", item.settings.get(key, ""), _LABELS[key][1]) for key in known
    ]
    if item.kind == "email":
        chosen = item.settings.get("security", "starttls")
        found.append(_field("security", "Encryption", "select", "", "none: only without a password",
                            _choices(check.SECURITY, (chosen,))))  # fmt: skip
    if check.SECRET[item.kind]:
        word = check.SECRET[item.kind]
        kept = "One is stored; leave this empty to keep it." if has_secret else "None is stored."
        more = " {to} in it stands for a person's address." if item.kind == "apprise" else ""
        found.append(_field("secret", word[0].upper() + word[1:], "secret", "", kept + more))
        if has_secret and item.kind != "apprise":
            found.append(_field("forget", "Forget the stored one", "check", ""))
    found += [
        _field(key, label, "number", str(getattr(item, key)), help_)
        for key, (label, help_) in _NUMBERS.items()
    ]
    return (*found, _field("enabled", "Is used", "check", "1" if item.enabled else ""))


def _pipeline_fields(item: Pipeline, settings: Settings) -> tuple[n.Field, ...]:
    targets = [f"{kind}:{name}" for kind in ("schedule", "roster", "person") for name in settings.of(kind)]
    help_ = (
        "one a line: notify schedule:NAME by CHANNEL, CHANNEL; or wait 10 min; or escalate roster:NAME. "
        f"There are {', '.join(targets[:20]) or 'no people yet'}."
    )
    return (
        _field("steps", "Steps", "area", lines.write_steps(item.steps), help_),
        _field("stop_on_acknowledge", "Ends when somebody acknowledges the alarm", "check",
               "1" if item.stop_on_acknowledge else ""),
        _field("stop_on_return", "Ends when the alarm returns to normal, acknowledged or not", "check",
               "1" if item.stop_on_return else ""),
        _field("repeat", "Repeat", "number", str(item.repeat), "how often all steps are done again"),
    )  # fmt: skip


def _rule_fields(item: Rule, settings: Settings) -> tuple[n.Field, ...]:
    priorities = {str(number): f"{number} {word}" for number, word in PRIORITIES.items()}
    chosen = tuple(str(one) for one in item.priorities)
    return (
        _field("pipeline", "Pipeline", "select", "", "" if settings.pipelines else "Make a pipeline first.",
               _choices(settings.pipelines, (item.pipeline,))),
        _field("priorities", "Priorities", "checks", "", "none chosen: all",
               _choices(priorities, chosen, priorities)),
        _field("runtimes", "Runtimes", "text", ", ".join(item.runtimes), "names between commas; empty: all"),
        _field("areas", "Areas or units", "text", ", ".join(item.areas), "empty: all"),
        _field("groups", "Groups", "text", ", ".join(item.groups), "empty: all; system alarms are in group system"),
        _field("alarms", "Alarms", "text", ", ".join(item.alarms), "names of alarms; empty: all"),
        _field("enabled", "Is used", "check", "1" if item.enabled else ""),
    )  # fmt: skip


def _field(
    name: str, label: str, form: str, value: str, help_: str = "", choices: tuple[n.Choice, ...] = _NO_CHOICES
) -> n.Field:
    return n.Field(name, label, form, value, help_, choices)


def _choices(
    values: Iterable[str], chosen: Iterable[str], words: Mapping[str, str] | None = None
) -> tuple[n.Choice, ...]:
    now, words = set(chosen), words or {}
    return tuple(n.Choice(value, words.get(value, value), value in now) for value in values)


# ---------------------------------------------------------------- from a form


def item_of(kind: str, form: Mapping[str, list[str]]) -> Item:
    """Raises TickworkError SV7001."""

    def text(name: str) -> str:
        return form.get(name, [""])[0].strip()

    name, on = text("name"), bool(text("enabled"))
    if kind == "channel":
        return _channel(name, on, text)
    if kind == "person":
        return Person(name, text("full_name"), lines.read_addresses(text("addresses")), on)
    if kind == "roster":
        return Roster(name, tuple(form.get("people", ())))
    if kind == "schedule":
        shifts, overrides = lines.read_shifts(text("shifts")), lines.read_overrides(text("overrides"))
        return Schedule(name, text("time_zone") or "UTC", shifts, overrides)
    if kind == "pipeline":
        steps = lines.read_steps(text("steps"))
        answers = bool(text("stop_on_acknowledge")), bool(text("stop_on_return"))
        return Pipeline(name, steps, *answers, _number("repeat", text("repeat")))
    priorities = tuple(_number("priority", one) for one in form.get("priorities", ()))
    lists = {key: lines.names(text(key)) for key in ("runtimes", "groups", "areas", "alarms")}
    return Rule(name, text("pipeline"), priorities, **lists, enabled=on)


def secret_of(form: Mapping[str, list[str]]) -> str | None:
    """None: the stored one stays."""
    given = form.get("secret", [""])[0].strip()
    return given or ("" if form.get("forget") else None)


def _channel(name: str, on: bool, text: Callable[[str], str]) -> Channel:
    kind = text("kind")
    if kind not in check.SETTINGS:
        raise fail("SV7001", "kind has a wrong value", expected=", ".join(check.SETTINGS), found=kind[:50])
    settings = {key: text(key) for key in check.SETTINGS[kind] if text(key)}
    numbers = {key: _number(key, text(key)) for key in _NUMBERS}
    return Channel(name, kind, settings, on, **numbers)  # type: ignore[arg-type]  # one of the kinds


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise fail("SV7001", f"{name} has a wrong value", expected="a number", found=text[:50])
    return int(text)


# ---------------------------------------------------------------- in words


def facts_of(item: Item) -> tuple[str, ...]:
    """What an item says, as short lines."""
    if isinstance(item, Channel):
        shown = (f"{key} {value}" for key, value in item.settings.items())
        return (KIND_WORDS[item.kind], ", ".join(shown) or "no settings")
    if isinstance(item, Person):
        return (item.full_name or "–", *lines.write_addresses(item.addresses).splitlines())
    if isinstance(item, Roster):
        return (", ".join(item.people) or "nobody",)
    if isinstance(item, Schedule):
        both = lines.write_shifts(item.shifts), lines.write_overrides(item.overrides)
        return (item.time_zone, *(line for text in both for line in text.splitlines()))
    if isinstance(item, Pipeline):
        ends = (("acknowledged", item.stop_on_acknowledge), ("returned to normal", item.stop_on_return))
        words = " or ".join(word for word, holds in ends if holds) or "over"
        again = f"; all steps again {item.repeat}×" if item.repeat else ""
        return (*lines.write_steps(item.steps).splitlines(), f"ends when {words}{again}")
    lists = (
        ("runtimes", item.runtimes),
        ("areas", item.areas),
        ("groups", item.groups),
        ("alarms", item.alarms),
    )
    picked = [f"{word} {', '.join(names)}" for word, names in lists if names]
    priorities = ", ".join(PRIORITIES.get(one, str(one)) for one in item.priorities) or "all priorities"
    return ("; ".join([priorities, *picked]), f"starts {item.pipeline}")
