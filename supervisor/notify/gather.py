"""Floods become few messages: when a message that gathers mentions is closed, and what it says. Pure."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence

from runtime.alarms.model import PRIORITIES
from supervisor.notify.model import SECOND, Channel, Mention

LISTED_MAX = 20  # alarms that a message names; the others are counted
SUBJECT_MAX = 180  # characters


def due_ns(opened_ns: int, sealed: Sequence[int], channel: Channel) -> int:
    """When a message opened now is closed. ``sealed``: when the last ones to the same address were, in any order.

    Any ``window_s`` has at most ``burst`` messages to an address.
    """
    soonest, window = opened_ns + channel.gather_s * SECOND, channel.window_s * SECOND
    recent = sorted(at for at in sealed if at > opened_ns - window)
    if len(recent) < channel.burst:
        return soonest
    return max(soonest, recent[-channel.burst] + window)


def plain(text: str) -> str:
    """One line without control signs: names come from programs and must not become headers."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()


def compose(mentions: Sequence[Mention], count: int, link: str = "") -> tuple[str, str]:
    """Subject and text. ``mentions``: the most urgent ones of ``count``."""
    ordered = sorted(mentions, key=lambda one: (one.facts.priority, -one.level, one.facts.raised_ns))
    lines = [_line(one) for one in ordered[:LISTED_MAX]]
    if count > len(lines):
        lines.append(f"… and {count - len(lines)} more")
    subject = _subject(ordered, count)
    text = "\n\n".join([subject, *lines] if count > 1 else lines)
    return plain(subject)[:SUBJECT_MAX], f"{text}\n\n{link}\n" if link else f"{text}\n"


def _subject(ordered: Sequence[Mention], count: int) -> str:
    first = ordered[0]
    escalated = "Escalated: " if any(one.level for one in ordered) else ""
    if count == 1:
        word = PRIORITIES.get(first.facts.priority, "")
        return (
            f"{escalated}[{word}] {plain(first.facts.text or first.facts.alarm)} ({plain(first.facts.node)})"
        )
    by_priority = Counter(one.facts.priority for one in ordered)
    words = ", ".join(f"{number} {PRIORITIES.get(key, '')}" for key, number in sorted(by_priority.items()))
    partly = f"of the first {len(ordered)}: " if count > len(ordered) else ""
    nodes = sorted({plain(one.facts.node) for one in ordered})
    return f"{escalated}{count} alarms ({partly}{words}) on {', '.join(nodes[:3])}{' …' if nodes[3:] else ''}"


def _line(mention: Mention) -> str:
    facts = mention.facts
    at = datetime.datetime.fromtimestamp(facts.raised_ns / SECOND, datetime.UTC).strftime(
        "%Y-%m-%d %H:%M:%SZ"
    )
    where = " · ".join(plain(text) for text in (facts.node, facts.area, facts.unit, facts.alarm) if text)
    parts = [
        f"[{PRIORITIES.get(facts.priority, '')}] {plain(facts.text or facts.alarm)}",
        f"  {at} · {where}",
    ]
    if facts.value:
        parts.append(f"  value {plain(facts.value)}")
    if facts.response:
        parts.append(f"  do: {plain(facts.response)}")
    if mention.level:
        parts.append(f"  escalated, level {mention.level}: nobody has acknowledged it yet")
    return "\n".join(parts)
