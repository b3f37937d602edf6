"""Sampled tags as columns: what changed between two snapshots, packed as OPC UA notifications.

Theory. The items of one subscription with one sampling interval form an ``ItemSet``. Its scalar items are grouped by
data type; a sample gathers each group's values from the block with one numpy expression, compares them with the last
sampled and the last reported values, and appends the changed rows to a queue of packed records. A publish
concatenates the queue.

Queue rules (OPC 10000-4 §5.13.1.5): when an item has more values than its queue, the oldest go, or, with discardOldest
FALSE, the newest replaces its predecessor; the overflow bit is set where the gap is, but never with a queue of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncua import ua

from scan.abi import IecType

from .column_groups import Bytes, Item, Others, Pending, Polled, Scalars, Stamps, ticks
from .types import is_enumeration

OVERFLOW_BITS = 0x0480  # InfoType DataValue, Overflow (OPC 10000-4 §7.39)
# After so many unsent samples a queue is trimmed, so a silent client costs no memory.
PENDING_SAMPLES_MAX = 64


@dataclass(slots=True)
class ItemSet:
    """Items of one subscription that are sampled together. ``status`` is filled by the caller for each sample.

    Values of items that another one triggers are held until ``fire``.
    """

    items: list[Item]
    stamps: Stamps
    _groups: list[Scalars | Others | Polled] = field(init=False)
    _pending: list[Pending] = field(init=False, default_factory=list)
    _held: list[Pending] = field(init=False, default_factory=list)
    _holding: npt.NDArray[np.bool_] = field(init=False)
    # Groups by kind, with the place of each item in its group.
    _places: dict[object, tuple[Any, dict[int, int]]] = field(init=False, default_factory=dict)
    _queue_sizes: npt.NDArray[np.int64] = field(init=False)
    _discard_oldest: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._queue_sizes = np.array([item.queue_size for item in self.items], np.int64)
        self._discard_oldest = np.array([item.discard_oldest for item in self.items])
        self._holding = np.array([item.triggered and not item.reporting for item in self.items], np.bool_)
        by_kind: dict[object, list[int]] = {}
        for row, item in enumerate(self.items):
            by_kind.setdefault(_kind(item), []).append(row)
        self._groups = []
        for kind, rows in by_kind.items():
            chosen = [self.items[row] for row in rows]
            makers: dict[object, type[Others | Polled]] = {"other": Others, "polled": Polled}
            group = makers.get(kind, Scalars)(chosen, rows, self.stamps)
            self._groups.append(group)
            self._places[kind] = (group, {item.item_id: place for place, item in enumerate(chosen)})

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], wall_ns: int) -> npt.NDArray[np.intp]:
        """Queue what changed; the rows of what is to be reported.

        ``status`` is the StatusCode of each item, in the order of ``items``.
        """
        now = ticks(wall_ns)
        found = [group.sample(block, status, now) for group in self._groups]
        reported: list[npt.NDArray[np.intp]] = []
        for pending in found:
            if pending is None:
                continue
            if self._holding.any():
                pending = self._hold(pending)
            if len(pending.rows):
                self._pending.append(pending)
                reported.append(pending.rows)
        if len(self._pending) > PENDING_SAMPLES_MAX * len(self._groups):
            self._pending = [self._trimmed(self._pending)]
        if len(self._held) > PENDING_SAMPLES_MAX:
            self._held = [self._trimmed(self._held)]
        return np.concatenate(reported) if reported else np.zeros(0, np.intp)

    def _hold(self, pending: Pending) -> Pending:
        """Puts aside what waits for a trigger; the rest."""
        waiting = self._holding[pending.rows]
        if waiting.any():
            (aside,) = np.nonzero(waiting)
            self._held.append(_select(pending, aside, pending.rows[aside]))
        (keep,) = np.nonzero(~waiting)
        return _select(pending, keep, pending.rows[keep])

    def fire(self, rows: set[int]) -> None:
        """An item that triggers these has reported: what they hold goes out with it."""
        if not self._held:
            return
        whole = self._trimmed(self._held)
        fired = np.isin(whole.rows, np.array(sorted(rows), np.intp))
        parts = []
        for chosen in (fired, ~fired):
            (keep,) = np.nonzero(chosen)
            parts.append(_select(whole, keep, whole.rows[keep]))
        if len(parts[0].rows):
            self._pending.append(parts[0])
        self._held = [parts[1]] if len(parts[1].rows) else []

    def inherit(self, before: ItemSet, fresh: set[int]) -> None:
        """Take over queue and last values of the set that this one replaces; ``fresh`` items begin anew."""
        for kind, (group, here) in self._places.items():
            old, there = before._places.get(kind, (None, {}))
            if old is not None:
                both = (here.keys() & there.keys()) - fresh
                group.adopt(old, [(here[item_id], there[item_id]) for item_id in both])
        place = {item.item_id: row for row, item in enumerate(self.items)}
        for name in ("_pending", "_held"):
            queue = getattr(before, name)
            if not queue:
                continue
            whole = before._trimmed(queue)
            new_rows = np.array([place.get(before.items[row].item_id, -1) for row in whole.rows], np.intp)
            (keep,) = np.nonzero(new_rows >= 0)
            if len(keep):
                setattr(self, name, [_select(whole, keep, new_rows[keep])])

    def has_pending(self) -> bool:
        return bool(self._pending)

    def take(self, limit: int) -> tuple[int, bytes]:
        """At most ``limit`` notifications (0: all) in time order for each item; the rest stays queued."""
        if not self._pending:
            return 0, b""
        whole = self._trimmed(self._pending)
        count = len(whole.rows) if limit <= 0 else min(limit, len(whole.rows))
        self._pending = []
        if count == len(whole.rows):
            return count, whole.data.tobytes()
        end = int(whole.ends[count - 1])
        rest = slice(count, None)
        self._pending = [
            Pending(whole.rows[rest], whole.data[end:], whole.ends[rest] - end, whole.status_at[rest] - end)
        ]
        return count, whole.data[:end].tobytes()

    def _trimmed(self, queue: list[Pending]) -> Pending:
        """All queued rows as one, with no item over its queue size."""
        shift = np.cumsum([0, *(len(pending.data) for pending in queue)])
        rows = np.concatenate([pending.rows for pending in queue])
        data = np.concatenate([pending.data for pending in queue])
        ends = np.concatenate([pending.ends + at for pending, at in zip(queue, shift, strict=False)])
        places = np.concatenate([pending.status_at + at for pending, at in zip(queue, shift, strict=False)])
        counts = np.bincount(rows, minlength=len(self.items))
        if (counts <= self._queue_sizes).all():
            return Pending(rows, data, ends, places)
        keep, marked = self._choose(rows, counts)
        for place in places[marked]:
            data[place : place + 2] |= np.array([OVERFLOW_BITS], "<u2").view(np.uint8)
        return _select(Pending(rows, data, ends, places), keep, rows[keep])

    def _choose(
        self, rows: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """(positions to keep, positions to mark with overflow)."""
        order = np.argsort(rows, kind="stable")
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows)) - first[rows[order]]
        size, count = self._queue_sizes[rows], counts[rows]
        over = count > size
        oldest = self._discard_oldest[rows]
        keep = np.where(oldest, rank >= count - size, (rank < size - 1) | (rank == count - 1))
        gap = np.where(oldest, rank == count - size, rank == count - 1)
        (kept,) = np.nonzero(keep | ~over)
        (marked,) = np.nonzero(over & gap & (size > 1))
        return kept, marked


def _kind(item: Item) -> object:
    """Items of one kind are sampled as one column; those of "other" and "polled" one by one."""
    if item.symbol is None:
        return "polled"
    if item.symbol.dims or item.symbol.type in (IecType.STRING, IecType.WSTRING):
        return "other"
    return item.symbol.type, is_enumeration(item.symbol)


def _select(whole: Pending, keep: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]) -> Pending:
    """Some of the packed rows, under the item indices ``rows``."""
    if len(keep) == 0:
        nothing = np.zeros(0, np.int64)
        return Pending(np.zeros(0, np.intp), np.zeros(0, np.uint8), nothing, nothing)
    starts = np.concatenate([[0], whole.ends[:-1]])
    lengths = (whole.ends - starts)[keep]
    spans = zip(starts[keep], whole.ends[keep], strict=True)
    index = np.concatenate([np.arange(start, end) for start, end in spans])
    ends = np.cumsum(lengths)
    return Pending(rows, whole.data[index], ends, whole.status_at[keep] - starts[keep] + ends - lengths)


def notification(parts: list[tuple[int, bytes]]) -> ua.ExtensionObject | None:
    """A DataChangeNotification (OPC 10000-4 §7.25.2) of packed items, None when there are none."""
    count = sum(number for number, _ in parts)
    if count == 0:
        return None
    body = count.to_bytes(4, "little") + b"".join(data for _, data in parts) + (0).to_bytes(4, "little")
    type_id = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
    return ua.ExtensionObject(TypeId=type_id, Body=body)


__all__ = ["Item", "ItemSet", "Stamps", "notification", "ticks"]
