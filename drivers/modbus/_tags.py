"""Figures about a device and its scan groups as inputs of the program."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from drivers.modbus.config import StatisticTag
from scan.quality import GOOD

if TYPE_CHECKING:
    from drivers.modbus.device import DevicePoller

INTERVAL_S = 1.0


class StatisticTags:
    """Writes the declared figures into the image once a second. Counters that do not fit stay at their limit."""

    def __init__(self, poller: DevicePoller, tags: tuple[StatisticTag, ...]) -> None:
        self._poller = poller
        self._tags = tags
        first = poller.first_row + poller.device.statistics_row
        self._rows = slice(first, first + len(tags))
        self._replies: dict[str, int] = {}
        self._at_ns = time.monotonic_ns()

    def update(self) -> None:
        now_ns = time.monotonic_ns()
        elapsed_s = max(now_ns - self._at_ns, 1) / 1e9
        self._at_ns = now_ns
        figures: dict[str, Mapping[str, float]] = {}
        image = self._poller.image
        for tag in self._tags:
            if tag.group not in figures:
                figures[tag.group] = self._figures(tag.group, elapsed_s)
            key = f"exceptions {tag.exception}" if tag.exception else tag.value
            value = figures[tag.group].get(key, 0)
            dtype = np.dtype(tag.store)
            if dtype.kind != "f":
                value = min(int(value), int(np.iinfo(tag.store).max))
            encoded = np.array([value], dtype).view(np.uint8)
            image.image[tag.offset : tag.offset + tag.size] = encoded
        image.quality[self._rows] = GOOD
        image.times[self._rows] = time.time_ns()
        image.changed()

    def _figures(self, group: str, elapsed_s: float) -> Mapping[str, float]:
        poller = self._poller
        statistics = poller.groups[group] if group else poller.statistics
        figures = statistics.figures()
        replies = statistics.replies
        rate = (replies - self._replies.get(group, replies)) / elapsed_s
        self._replies[group] = replies
        return {**figures, "rate": rate, "quality": poller.worst_quality(group)}
