"""The monitored items of one subscription (OPC 10000-4 §5.13): variables, other nodes, events, and their triggers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.server.monitored_item_service import MonitoredItemService

import scan
from scan.abi import IecType, Symbol

from . import index_range
from .column_groups import Item, Stamps
from .columns import ItemSet, notification
from .events import Event, EventItem, Filter, revise_queue, taken
from .filters import Limits, judge
from .space import Space
from .types import variant_type

SAMPLING_GROUPS_MS = (50, 100, 250, 500, 1000, 2000, 5000)
QUEUE_MAX = 100
ITEMS_MAX = 200_000  # of one subscription
EVENT_ITEMS_MAX = 20
AT_ONCE_MAX = 2000  # with more items the sampling loop takes new ones, many at once
_TEXTS = {IecType.STRING, IecType.WSTRING, IecType.BOOL}
_NUMBERS = range(ua.VariantType.SByte, ua.VariantType.Double + 1)
_STAMPS = {
    ua.TimestampsToReturn.Source: Stamps(True, False),
    ua.TimestampsToReturn.Server: Stamps(False, True),
    ua.TimestampsToReturn.Both: Stamps(True, True),
    ua.TimestampsToReturn.Neither: Stamps(False, False),
}
_NOTIFIER = ua.AttributeIds.EventNotifier
_codes = ua.StatusCodes


def revise_sampling_ms(requested_ms: float, publishing_ms: float) -> float:
    """The sampling group that is no faster than asked for; -1 asks for the publishing interval."""
    wanted = publishing_ms if requested_ms < 0 else requested_ms
    return float(next((group for group in SAMPLING_GROUPS_MS if group >= wanted), SAMPLING_GROUPS_MS[-1]))


class TagItems(MonitoredItemService):
    """Samples what its items ask for; asyncua's own notifications are not used."""

    def __init__(self, isub: Any, aspace: Space) -> None:
        super().__init__(isub, aspace)
        self._space = aspace
        self._tags = aspace.tags
        self.items: dict[int, Item] = {}
        self.event_items: dict[int, EventItem] = {}
        self._sources: dict[int, ua.ReadValueId] = {}
        self._placement: dict[int, tuple[float, Stamps]] = {}
        self.sets: dict[tuple[float, int], ItemSet] = {}
        self._gathers: dict[tuple[float, int], tuple[np.ndarray[Any, Any], scan.Gather]] = {}
        self._due: dict[tuple[float, int], float] = {}
        self._links: dict[int, set[int]] = {}  # triggering item -> items that it triggers
        self._stale = False
        self._fresh: set[int] = set()  # items whose next value is reported whatever it is

    # ---------------------------------------------------------------- creating

    async def create_monitored_items(self, params: Any) -> list[Any]:
        stamps = _STAMPS[ua.TimestampsToReturn(params.TimestampsToReturn)]
        results = []
        for wanted in params.ItemsToCreate:
            events = wanted.ItemToMonitor.AttributeId == _NOTIFIER
            results.append(self._create_events(wanted) if events else self._create(wanted, stamps))
        if len(self.items) <= AT_ONCE_MAX:
            self.sample()
        return results

    def _create(self, wanted: Any, stamps: Stamps) -> Any:
        requested, source = wanted.RequestedParameters, wanted.ItemToMonitor
        symbol = self._plain_tag(source)
        status = self._judge_source(source)
        if status == _codes.Good and len(self.items) >= ITEMS_MAX:
            status = int(_codes.BadTooManyMonitoredItems)
        limits = Limits(status, 0.0)
        if status == _codes.Good:
            limits = self._judge_filter(source, symbol, requested.Filter)
        result = ua.MonitoredItemCreateResult()
        result.StatusCode = ua.StatusCode(limits.status)
        if limits.status != _codes.Good:
            return result
        self._monitored_item_counter += 1
        item = Item(
            item_id=self._monitored_item_counter,
            symbol=symbol,
            client_handle=requested.ClientHandle,
            reporting=wanted.MonitoringMode == ua.MonitoringMode.Reporting,
            sampling=wanted.MonitoringMode != ua.MonitoringMode.Disabled,
            read=None if symbol is not None else self._reader(source),
        )
        self._sources[item.item_id] = source
        result.RevisedSamplingInterval = self._apply(item, requested, limits, stamps)
        result.RevisedQueueSize = item.queue_size
        result.MonitoredItemId = item.item_id
        return result

    def _apply(self, item: Item, requested: Any, limits: Limits, stamps: Stamps) -> float:
        """Takes over what was asked for; the revised sampling interval."""
        item.client_handle = requested.ClientHandle
        item.queue_size = min(max(requested.QueueSize, 1), QUEUE_MAX)
        item.discard_oldest = bool(requested.DiscardOldest)
        item.deadband, item.status_only, item.every_scan = limits.deadband, limits.status_only, limits.stamped
        sampling_ms = revise_sampling_ms(requested.SamplingInterval, self.isub.data.RevisedPublishingInterval)
        self.items[item.item_id] = item
        self._placement[item.item_id] = (sampling_ms, stamps)
        self._stale = True
        return sampling_ms

    def _plain_tag(self, source: Any) -> Symbol | None:
        if source.AttributeId != ua.AttributeIds.Value or source.IndexRange:
            return None
        return self._tags.find(source.NodeId)

    def _reader(self, source: Any) -> Callable[[], ua.DataValue]:
        def read() -> ua.DataValue:
            value = self._space.read_attribute_value(source.NodeId, source.AttributeId)
            return index_range.select(value, source.IndexRange) if source.IndexRange else value

        return read

    def _judge_source(self, source: Any) -> int:
        if source.NodeId not in self._space:
            return int(_codes.BadNodeIdUnknown)
        if source.IndexRange and index_range.parse(source.IndexRange) is None:
            return int(_codes.BadIndexRangeInvalid)
        if source.DataEncoding is not None and source.DataEncoding.Name not in (None, "", "Default Binary"):
            return int(_codes.BadDataEncodingInvalid)
        held = self._space.read_attribute_value(source.NodeId, source.AttributeId).StatusCode
        known = held is None or held.value != _codes.BadAttributeIdInvalid
        return int(_codes.Good if known else _codes.BadAttributeIdInvalid)

    def _judge_filter(self, source: Any, symbol: Symbol | None, wanted: Any) -> Limits:
        if symbol is None and (whole := self._tags.find(source.NodeId)) is not None:
            symbol = whole if source.AttributeId == ua.AttributeIds.Value else None
        numeric, span = False, None
        if symbol is not None:
            numeric = symbol.type not in _TEXTS
            if symbol.low is not None and symbol.high is not None:
                span = symbol.high - symbol.low
        elif source.AttributeId == ua.AttributeIds.Value:
            value = self._space.read_attribute_value(source.NodeId, source.AttributeId).Value
            numeric = value is not None and value.VariantType in _NUMBERS
        value_wanted = source.AttributeId == ua.AttributeIds.Value
        return judge(wanted, numeric=numeric, span=span, value=value_wanted)

    # ---------------------------------------------------------------- changing

    def modify_monitored_items(self, params: Any) -> list[Any]:
        stamps = _STAMPS[ua.TimestampsToReturn(params.TimestampsToReturn)]
        return [self._modify(request, stamps) for request in params.ItemsToModify]

    def _modify(self, request: Any, stamps: Stamps) -> Any:
        result = ua.MonitoredItemModifyResult()
        requested = request.RequestedParameters
        if (event_item := self.event_items.get(request.MonitoredItemId)) is not None:
            return self._modify_events(event_item, requested, result)
        item = self.items.get(request.MonitoredItemId)
        if item is None:
            result.StatusCode = ua.StatusCode(_codes.BadMonitoredItemIdInvalid)
            return result
        limits = self._judge_filter(self._sources[item.item_id], item.symbol, requested.Filter)
        result.StatusCode = ua.StatusCode(limits.status)
        if limits.status == _codes.Good:
            result.RevisedSamplingInterval = self._apply(item, requested, limits, stamps)
            result.RevisedQueueSize = item.queue_size
        return result

    async def set_monitoring_mode(self, mode: Any, ids: list[int]) -> list[Any]:
        return [ua.StatusCode(self._set_mode(mode, item_id)) for item_id in ids]

    def _set_mode(self, mode: Any, item_id: int) -> int:
        reporting, sampling = mode == ua.MonitoringMode.Reporting, mode != ua.MonitoringMode.Disabled
        if (event_item := self.event_items.get(item_id)) is not None:
            event_item.reporting, event_item.enabled = reporting, sampling
        elif (item := self.items.get(item_id)) is not None:
            if sampling and not item.sampling:
                self._fresh.add(item_id)
            item.reporting, item.sampling = reporting, sampling
            self._stale = True
        else:
            return int(_codes.BadMonitoredItemIdInvalid)
        return int(_codes.Good)

    def set_triggering(
        self, triggering: int, to_add: list[int], to_remove: list[int]
    ) -> tuple[list[Any], list[Any]]:
        """Links an item to others that are reported with it (OPC 10000-4 §5.13.5)."""
        if triggering not in self.items and triggering not in self.event_items:
            raise ua.UaStatusCodeError(_codes.BadMonitoredItemIdInvalid)
        linked = self._links.setdefault(triggering, set())

        def change(item_id: int, *, add: bool) -> Any:
            if item_id not in self.items or (not add and item_id not in linked):
                return ua.StatusCode(_codes.BadMonitoredItemIdInvalid)
            (linked.add if add else linked.discard)(item_id)
            return ua.StatusCode()

        # Removals first, as the standard wants it.
        removed = [change(item_id, add=False) for item_id in to_remove]
        added = [change(item_id, add=True) for item_id in to_add]
        self._mark_triggered()
        return added, removed

    def _mark_triggered(self) -> None:
        targets = set().union(*self._links.values()) if self._links else set()
        for item_id, item in self.items.items():
            item.triggered = item_id in targets
        self._stale = True

    def _delete_monitored_items(self, mid: int) -> Any:
        if self.event_items.pop(mid, None) is not None:
            return ua.StatusCode()
        if self.items.pop(mid, None) is None:
            return ua.StatusCode(_codes.BadMonitoredItemIdInvalid)
        self._placement.pop(mid)
        self._sources.pop(mid)
        self._stale = True
        if self._links:
            self._links.pop(mid, None)
            for targets in self._links.values():
                targets.discard(mid)
            self._mark_triggered()
        return ua.StatusCode()

    def delete_all_monitored_items(self) -> None:
        for kept in (self.items, self.event_items, self._placement, self._sources, self.sets, self._links):
            kept.clear()
        self._gathers.clear()

    def rebind(self) -> None:
        """The program has changed: items find their variables again by path; one that is gone says so."""
        for item_id, item in self.items.items():
            source = self._sources[item_id]
            before, item.symbol = item.symbol, self._plain_tag(source)
            if (
                before is not None
                and item.symbol is not None
                and variant_type(before) != variant_type(item.symbol)
            ):
                item.deadband = 0.0
            item.read = None if item.symbol is not None else self._reader(source)
        self._stale = True

    def resend(self) -> None:
        """All values anew with the next sample (OPC 10000-5 §9.2)."""
        self.sets = {key: ItemSet(before.items, before.stamps) for key, before in self.sets.items()}
        self._stale = True
        self._due = {}

    # ---------------------------------------------------------------- sampling

    def _regroup(self) -> None:
        """Sets anew after items came, went or changed; what is queued in a set that stays the same stays."""
        groups: dict[tuple[float, int], list[Item]] = {}
        for item_id, item in self.items.items():
            sampling_ms, stamps = self._placement[item_id]
            groups.setdefault((sampling_ms, stamps.mask), []).append(item)
        kept = {}
        for key, members in groups.items():
            before = self.sets.get(key)
            kept[key] = ItemSet(members, Stamps(bool(key[1] & 4), bool(key[1] & 8)))
            if before is not None:
                kept[key].inherit(before, self._fresh)
        self.sets = kept
        self._gathers = {}
        for key, chosen in kept.items():
            rows = [row for row, item in enumerate(chosen.items) if item.symbol is not None]
            symbols = [chosen.items[row].tag for row in rows]
            self._gathers[key] = (np.array(rows, np.intp), scan.Gather(self._tags.view, symbols))
        self._due = {key: self._due.get(key, 0.0) for key in kept}
        self._stale = False
        self._fresh = set()

    def sample(self) -> None:
        """Sample the sets that are due."""
        if self._stale:
            self._regroup()
        now = time.monotonic()
        due = [key for key in self.sets if now >= self._due[key]]
        if not due:
            return
        snapshot = self._tags.take_snapshot()
        for key in due:
            if self._sample_set(key, snapshot):
                # On the grid of the group, not of this call: intervals do not drift.
                period = key[0] / 1000
                self._due[key] = max(self._due[key] + period, now + period / 2)

    def _sample_set(self, key: tuple[float, int], snapshot: scan.Snapshot | None) -> bool:
        members = self.sets[key]
        rows, gather = self._gathers[key]
        codes = np.zeros(len(members.items), np.uint32)
        block, wall_ns = np.zeros(0, np.uint8), 0
        if len(rows):
            if snapshot is None or gather.generation != snapshot.generation:
                return False  # no program, or the address space is about to be renewed
            gather.update(snapshot)
            codes[rows] = self._tags.overlay(gather.quality, snapshot.state)
            block, wall_ns = snapshot.block, snapshot.wall_ns
        reported = members.sample(block, codes, wall_ns)
        if self._links and len(reported):
            self._trigger({members.items[row].item_id for row in reported})
        return True

    def _trigger(self, reported: set[int]) -> None:
        targets = set().union(*(self._links.get(item_id, set()) for item_id in reported))
        for members in self.sets.values() if targets else ():
            rows = {row for row, item in enumerate(members.items) if item.item_id in targets}
            if rows:
                members.fire(rows)

    def next_due(self) -> float | None:
        """Monotonic time of the next sample, None without items."""
        return min(self._due.values(), default=None)

    # ---------------------------------------------------------------- notifications

    def has_pending(self) -> bool:
        waiting = any(item.waiting for item in self.event_items.values())
        return waiting or any(members.has_pending() for members in self.sets.values())

    def take(self, limit: int) -> list[Any]:
        """Notification data of at most ``limit`` items and events (0: all); the rest stays queued."""
        parts, left = [], limit
        for members in self.sets.values():
            if limit and left <= 0:
                break
            count, data = members.take(left)
            left -= count
            parts.append((count, data))
        found = [one for one in (notification(parts),) if one is not None]
        events = taken(self.event_items.values(), left) if not limit or left > 0 else []
        if events:
            found.append(ua.EventNotificationList(Events=events))
        return found

    # ---------------------------------------------------------------- events

    def _create_events(self, wanted: Any) -> Any:
        result = ua.MonitoredItemCreateResult()
        result.StatusCode = ua.StatusCode(self._judge_notifier(wanted.ItemToMonitor.NodeId))
        if not result.StatusCode.is_good():
            return result
        requested = wanted.RequestedParameters
        try:
            checked = Filter(requested.Filter, self._is_a)
        except ValueError as error:
            result.StatusCode = ua.StatusCode(error.args[0])
            return result
        self._monitored_item_counter += 1
        item = EventItem(
            self._monitored_item_counter, requested.ClientHandle, checked, revise_queue(requested.QueueSize),
            bool(requested.DiscardOldest), wanted.MonitoringMode == ua.MonitoringMode.Reporting,
            wanted.MonitoringMode != ua.MonitoringMode.Disabled,
        )  # fmt: skip
        self.event_items[item.item_id] = item
        result.MonitoredItemId = item.item_id
        result.RevisedQueueSize = item.queue_size
        return result

    def _judge_notifier(self, node_id: ua.NodeId) -> int:
        if node_id not in self._space:
            return int(_codes.BadNodeIdUnknown)
        held = self._space.read_attribute_value(node_id, _NOTIFIER).Value
        if held is None or not isinstance(held.Value, int) or not held.Value & 1:
            return int(_codes.BadAttributeIdInvalid)
        full = len(self.event_items) >= EVENT_ITEMS_MAX
        return int(_codes.BadTooManyMonitoredItems if full else _codes.Good)

    def _modify_events(self, item: EventItem, requested: Any, result: Any) -> Any:
        try:
            item.filter = Filter(requested.Filter, self._is_a)
        except ValueError as error:
            result.StatusCode = ua.StatusCode(error.args[0])
            return result
        item.client_handle = requested.ClientHandle
        item.queue_size = result.RevisedQueueSize = revise_queue(requested.QueueSize)
        item.discard_oldest = bool(requested.DiscardOldest)
        return result

    def _is_a(self, kind: ua.NodeId, wanted: ua.NodeId) -> bool:
        return kind in self._space.subtypes(wanted)

    def offer(self, event: Event, item_id: int | None = None) -> None:
        """An event for all that asked for such, or for one item only."""
        reported = {
            item.item_id
            for item in list(self.event_items.values())
            if item_id in (None, item.item_id) and item.offer(event)
        }
        if self._links and reported:
            self._trigger(reported)
