"""Figures of how much the alarms ask of people (ISA-18.2 §16, EEMUA 191): from the times at which they were raised.

A flood begins with more than 10 in 10 minutes and ends with fewer than 5; a chattering alarm was raised three times or
more within a minute; a stale one has stood for more than a day.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence

from supervisor.alarm_model import Bad, Figures

SECOND = 1_000_000_000
INTERVAL_NS = 600 * SECOND
FLOOD_BEGINS, FLOOD_ENDS = 10, 5
CHATTER_COUNT, CHATTER_NS = 3, 60 * SECOND
WORST = 10

Raised = tuple[int, str, str, int]  # time, node, alarm, priority


def figures_of(
    raised: Sequence[Raised],
    acknowledged: Sequence[tuple[int, int]],
    *,
    from_ns: int,
    to_ns: int,
    operators: int,
    stale: int,
    name_of: Callable[[str], str],
) -> Figures:
    """``raised`` in order of time."""
    counts = per_interval([time_ns for time_ns, *_ in raised], from_ns, to_ns)
    floods, flooded = floods_of(counts)
    by_alarm = Counter((node, alarm) for _, node, alarm, _ in raised)
    total = len(raised)

    def bad(key: tuple[str, str], count: int) -> Bad:
        return Bad(key[0], name_of(key[0]), key[1], count, count / total)

    priorities = Counter(priority for *_, priority in raised)
    intervals = max((to_ns - from_ns) / INTERVAL_NS, 1e-9)
    waits = [(after - before) / SECOND for before, after in acknowledged if after >= before > 0]
    return Figures(
        from_ns=from_ns, to_ns=to_ns, operators=operators, raised=total, rate=total / intervals / operators,
        peak=max(counts, default=0), floods=floods, flood_share=flooded / len(counts) if counts else 0.0, stale=stale,
        chattering=tuple(bad(key, by_alarm[key]) for key in chattering(raised)),
        priorities=tuple(priorities[number] / total if total else 0.0 for number in (1, 2, 3, 4)),  # type: ignore[arg-type]
        worst=tuple(bad(key, count) for key, count in by_alarm.most_common(WORST)), per_interval=tuple(counts),
        mean_ack_s=sum(waits) / len(waits) if waits else 0.0,
    )  # fmt: skip


def per_interval(times_ns: Sequence[int], from_ns: int, to_ns: int) -> list[int]:
    """How many in each 10 minutes from ``from_ns`` on."""
    counts = [0] * max(-(-(to_ns - from_ns) // INTERVAL_NS), 0)
    for time_ns in times_ns:
        counts[(time_ns - from_ns) // INTERVAL_NS] += 1
    return counts


def floods_of(counts: Sequence[int]) -> tuple[int, int]:
    """(how many floods, intervals in them)."""
    floods = flooded = 0
    inside = False
    for count in counts:
        if not inside and count > FLOOD_BEGINS:
            floods, inside = floods + 1, True
        elif inside and count < FLOOD_ENDS:
            inside = False
        flooded += inside
    return floods, flooded


def chattering(raised: Sequence[Raised]) -> list[tuple[str, str]]:
    """Alarms that were raised three times or more within some minute, worst first."""
    recent: dict[tuple[str, str], deque[int]] = defaultdict(lambda: deque(maxlen=CHATTER_COUNT))
    found: Counter[tuple[str, str]] = Counter()
    for time_ns, node, alarm, _ in raised:
        times = recent[node, alarm]
        times.append(time_ns)
        if len(times) == CHATTER_COUNT and time_ns - times[0] <= CHATTER_NS:
            found[node, alarm] += 1
    return [key for key, _ in found.most_common(WORST)]
