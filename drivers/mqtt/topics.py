"""Topic names, filters and templates (MQTT 5.0 §4.7).

A template is a filter with named levels: ``plant/{line}/temperature`` is subscribed as ``plant/+/temperature``, and a
message's level tells which line it is of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TOPIC_BYTES_MAX = 65_535  # MQTT 5.0 §1.5.4
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def topic_fault(topic: str, *, wildcards: bool) -> str:
    """Why a topic name (or, with ``wildcards``, a filter) is not valid; "" when it is."""
    if not topic:
        return "it is empty"
    if "\0" in topic or any(0xD800 <= ord(character) <= 0xDFFF for character in topic):
        return "it contains NUL or half a surrogate pair"
    if len(topic.encode("utf-8")) > TOPIC_BYTES_MAX:
        return f"it is longer than {TOPIC_BYTES_MAX} bytes"
    levels = topic.split("/")
    if not wildcards:
        return "it contains + or #" if "+" in topic or "#" in topic else ""
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            return "# must be the whole last level"
        if "+" in level and level != "+":
            return "+ must be a whole level"
    return ""


def matches(filter_: str, topic: str) -> bool:
    """Whether a broker delivers ``topic`` to a subscription. Topics with a leading $ need one in the filter."""
    if topic.startswith("$") and filter_[:1] in ("+", "#"):
        return False
    wanted, levels = filter_.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or (level != "+" and level != levels[index]):
            return False
    return len(wanted) == len(levels)


def fill(template: str, variables: Mapping[str, str]) -> str:
    """Replaces the placeholders that have a value; the others stay."""
    return _PLACEHOLDER.sub(lambda found: variables.get(found.group(1), found.group(0)), template)


def placeholders(template: str) -> tuple[tuple[str, int], ...]:
    """(name, level) of each placeholder that is a whole level."""
    found = []
    for index, level in enumerate(template.split("/")):
        match = _PLACEHOLDER.fullmatch(level)
        if match:
            found.append((match.group(1), index))
    return tuple(found)


def as_filter(template: str) -> str:
    """The subscription of a template: each placeholder becomes a single-level wildcard."""
    return "/".join("+" if _PLACEHOLDER.fullmatch(level) else level for level in template.split("/"))
