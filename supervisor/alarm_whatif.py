"""What other definitions would have done: recorded history through the engine, before anything is changed.

The samples that were stored are what a runtime reported, so a spike shorter than its report interval is not in them.
Nobody acknowledges anything here; each excursion counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from runtime.alarms.conditions import TagInfo
from runtime.alarms.engine import Engine, Moment
from runtime.alarms.life import Kept
from runtime.alarms.model import SYSTEM, Definition, Entry
from scan import quality as q
from supervisor.alarm_figures import floods_of, per_interval
from supervisor.history_codec import Columns

STEP_NS = 100_000_000  # of a node's engine
STEPS_MAX = 200_000  # beyond that the steps become longer, so that a trial ends in seconds
SECOND = 1_000_000_000


class TrialAlarm(msgspec.Struct, frozen=True):
    """One alarm under both sets of definitions. Times in UTC ns of the occurrences that only one of them had."""

    name: str
    before: int
    after: int
    missed: tuple[int, ...] = ()
    new: tuple[int, ...] = ()


class Trial(msgspec.Struct, frozen=True):
    """``rate``: raised in 10 minutes on average, before and after; ``floods`` likewise."""

    from_ns: int
    to_ns: int
    step_ms: int
    samples: int
    rate: tuple[float, float]
    peak: tuple[int, int]
    floods: tuple[int, int]
    alarms: tuple[TrialAlarm, ...]
    untried: tuple[str, ...] = ()  # alarms whose variables have no history


@dataclass(frozen=True, slots=True)
class Story:
    """The samples of all variables as steps in time: row changes of a matrix of values."""

    tags: tuple[TagInfo, ...]
    times: np.ndarray
    tag: np.ndarray
    values: np.ndarray
    quality: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.times)


def story_of(tags: Sequence[TagInfo], columns: Sequence[Columns], from_ns: int) -> Story:
    """Merges the columns; a value from before the range holds from its start."""
    times = np.concatenate([np.maximum(one.times, from_ns) for one in columns] or [np.zeros(0, np.int64)])
    number = np.concatenate(
        [np.full(len(one.times), i) for i, one in enumerate(columns)] or [np.zeros(0, np.intp)]
    )
    values = np.concatenate([one.values for one in columns] or [np.zeros(0)])
    quality = np.concatenate([one.quality for one in columns] or [np.zeros(0, np.uint16)])
    order = np.argsort(times, kind="stable")
    return Story(tuple(tags), times[order], number[order].astype(np.intp), values[order], quality[order])


def excursions(
    definitions: Sequence[Definition], story: Story, to_ns: int, step_ns: int
) -> tuple[dict[str, list[tuple[int, int]]], set[str]]:
    """(raised, cleared) of each occurrence by alarm, and the alarms that could not be tried."""
    engine = Engine(definitions, story.tags, Kept("trial"))
    values = np.full(len(story.tags), np.nan)
    quality = np.full(len(story.tags), q.BAD_WAITING_FOR_INITIAL_DATA, np.uint16)
    found: dict[str, list[tuple[int, int]]] = {}
    steps = story.times // step_ns
    begins = np.flatnonzero(np.diff(steps, prepend=-1)).tolist()
    ends = [*begins[1:], story.samples] if begins else []
    for start, end in zip(begins, ends, strict=True):
        rows = story.tag[start:end]
        values[rows], quality[rows] = story.values[start:end], story.quality[start:end]
        at = int(story.times[end - 1])
        _collect(engine.update(Moment(at, at), np.unique(rows), values, quality), found)
    _collect(engine.update(Moment(to_ns, to_ns)), found)
    return (
        {name: [(begun, ended or to_ns) for begun, ended in spans] for name, spans in found.items()},
        set(engine.problems),
    )


def _collect(entries: Sequence[Entry], found: dict[str, list[tuple[int, int]]]) -> None:
    for entry in entries:
        if entry.alarm.startswith(SYSTEM):
            continue
        spans = found.setdefault(entry.alarm, [])
        if entry.event == "raised":
            spans.append((entry.time_ns, 0))
        elif entry.event == "cleared" and spans and not spans[-1][1]:
            spans[-1] = (spans[-1][0], entry.time_ns)


def compare(
    before: Sequence[Definition], after: Sequence[Definition], story: Story, *, from_ns: int, to_ns: int
) -> Trial:
    """Both sets of definitions over the same story."""
    steps = max(len(np.unique(story.times // STEP_NS)), 1)
    step_ns = STEP_NS * max(-(-steps // STEPS_MAX), 1)
    old, missing_old = excursions(before, story, to_ns, step_ns)
    new, missing_new = excursions(after, story, to_ns, step_ns)
    alarms = tuple(
        TrialAlarm(
            name, len(old.get(name, ())), len(new.get(name, ())),
            _without(old.get(name, ()), new.get(name, ())), _without(new.get(name, ()), old.get(name, ())),
        )
        for name in sorted(set(old) | set(new))
    )  # fmt: skip
    counts = [per_interval(_starts(one, from_ns, to_ns), from_ns, to_ns) for one in (old, new)]
    return Trial(
        from_ns, to_ns, step_ns // 1_000_000, story.samples, _pair(counts, lambda c: sum(c) / max(len(c), 1)),
        _pair(counts, lambda c: max(c, default=0)), _pair(counts, lambda c: floods_of(c)[0]), alarms,
        tuple(sorted(missing_old | missing_new)),
    )  # fmt: skip


def _pair(counts: list[list[int]], of: Callable[[list[int]], float]) -> tuple[int, int]:
    return of(counts[0]), of(counts[1])  # type: ignore[return-value]  # whole numbers but for the rate


def _starts(found: dict[str, list[tuple[int, int]]], from_ns: int, to_ns: int) -> list[int]:
    return sorted(begun for spans in found.values() for begun, _ in spans if from_ns <= begun < to_ns)


def _without(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Starts of the spans that none of the others touches."""
    return tuple(
        begun for begun, ended in spans if not any(start <= ended and begun <= end for start, end in others)
    )
