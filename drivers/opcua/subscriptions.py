"""Subscriptions of tags: revised intervals, deadbands, queues and publishing as OPC 10000-4 §5.13 and §5.14 have them.

Everything about tags is here; items on other nodes (server status, events) stay with asyncua.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService

import scan
from scan.abi import IecType, Symbol

from .columns import Item, ItemSet, Stamps, notification
from .plane import TagSpace
from .types import VARIANT_TYPE

log = structlog.get_logger("tickwork.opcua")

SAMPLING_GROUPS_MS = (50, 100, 250, 500, 1000, 2000, 5000)
PUBLISHING_MS_MIN, PUBLISHING_MS_MAX = 50.0, 60_000.0
QUEUE_MAX = 100
ITEMS_MAX = 200_000  # of one subscription
LIFETIME_FACTOR = 3  # lifetime counts at least three keep-alives (OPC 10000-4 §5.14.2.2)
KEEP_ALIVE_MAX = 1000
_TEXTS = {IecType.STRING, IecType.WSTRING, IecType.BOOL}
_STAMPS = {
    ua.TimestampsToReturn.Source: Stamps(True, False),
    ua.TimestampsToReturn.Server: Stamps(False, True),
    ua.TimestampsToReturn.Both: Stamps(True, True),
    ua.TimestampsToReturn.Neither: Stamps(False, False),
}


def revise_sampling_ms(requested_ms: float, publishing_ms: float) -> float:
    """The sampling group that is no faster than asked for; -1 asks for the publishing interval."""
    wanted = publishing_ms if requested_ms < 0 else requested_ms
    return float(next((group for group in SAMPLING_GROUPS_MS if group >= wanted), SAMPLING_GROUPS_MS[-1]))


class TagItems(MonitoredItemService):
    """The monitored items of one subscription."""

    def __init__(self, isub: TagSubscription, aspace: TagSpace) -> None:
        super().__init__(isub, aspace)
        self._tags = aspace.tags
        self._stamps = Stamps()
        self.items: dict[int, Item] = {}
        self._placement: dict[int, tuple[float, Stamps]] = {}
        self.sets: dict[tuple[float, int], ItemSet] = {}
        self._gathers: dict[tuple[float, int], scan.Gather] = {}
        self._due: dict[tuple[float, int], float] = {}
        self._stale = False

    async def create_monitored_items(self, params: Any) -> list[Any]:
        self._stamps = _STAMPS[params.TimestampsToReturn]
        results = await super().create_monitored_items(params)
        self.sample()
        return results

    async def _create_data_change_monitored_item(self, params: Any) -> Any:
        symbol = self._tags.find(params.ItemToMonitor.NodeId)
        if symbol is None or params.ItemToMonitor.AttributeId != ua.AttributeIds.Value:
            return await super()._create_data_change_monitored_item(params)
        result = ua.MonitoredItemCreateResult()
        requested = params.RequestedParameters
        status, deadband, status_only = _filter(symbol, requested.Filter)
        if params.ItemToMonitor.IndexRange:
            status = ua.StatusCodes.BadIndexRangeNoData
        if len(self.items) >= ITEMS_MAX:
            status = ua.StatusCodes.BadTooManyMonitoredItems
        result.StatusCode = ua.StatusCode(status)
        if status != ua.StatusCodes.Good:
            return result
        self._monitored_item_counter += 1
        sampling_ms = revise_sampling_ms(requested.SamplingInterval, self.isub.data.RevisedPublishingInterval)
        item = Item(
            item_id=self._monitored_item_counter,
            symbol=symbol,
            client_handle=requested.ClientHandle,
            queue_size=min(max(requested.QueueSize, 1), QUEUE_MAX),
            discard_oldest=requested.DiscardOldest,
            reporting=params.MonitoringMode == ua.MonitoringMode.Reporting,
            sampling=params.MonitoringMode != ua.MonitoringMode.Disabled,
            status_only=status_only,
            deadband=deadband,
        )
        self._place(item, sampling_ms, self._stamps)
        result.MonitoredItemId = item.item_id
        result.RevisedSamplingInterval = sampling_ms
        result.RevisedQueueSize = item.queue_size
        return result

    def _place(self, item: Item, sampling_ms: float, stamps: Stamps) -> None:
        self.items[item.item_id] = item
        self._placement[item.item_id] = (sampling_ms, stamps)
        self._stale = True

    def modify_monitored_items(self, params: Any) -> list[Any]:
        stamps = _STAMPS[params.TimestampsToReturn]
        results = []
        for request in params.ItemsToModify:
            if request.MonitoredItemId in self.items:
                results.append(self._modify(request, stamps))
            elif request.MonitoredItemId in self._monitored_items:
                results.append(self._modify_monitored_item(request))
            else:
                result = ua.MonitoredItemModifyResult()
                result.StatusCode = ua.StatusCode(ua.StatusCodes.BadMonitoredItemIdInvalid)
                results.append(result)
        return results

    def _modify(self, request: Any, stamps: Stamps) -> Any:
        result = ua.MonitoredItemModifyResult()
        item, requested = self.items[request.MonitoredItemId], request.RequestedParameters
        status, deadband, status_only = _filter(item.symbol, requested.Filter)
        result.StatusCode = ua.StatusCode(status)
        if status != ua.StatusCodes.Good:
            return result
        item.client_handle = requested.ClientHandle
        item.queue_size = min(max(requested.QueueSize, 1), QUEUE_MAX)
        item.discard_oldest = requested.DiscardOldest
        item.deadband, item.status_only = deadband, status_only
        sampling_ms = revise_sampling_ms(requested.SamplingInterval, self.isub.data.RevisedPublishingInterval)
        self._place(item, sampling_ms, stamps)
        result.RevisedSamplingInterval = sampling_ms
        result.RevisedQueueSize = item.queue_size
        return result

    async def set_monitoring_mode(self, mode: Any, ids: list[int]) -> list[Any]:
        results = []
        for item_id in ids:
            if (item := self.items.get(item_id)) is None:
                results += await super().set_monitoring_mode(mode, [item_id])
                continue
            item.reporting = mode == ua.MonitoringMode.Reporting
            item.sampling = mode != ua.MonitoringMode.Disabled
            self._stale = True
            results.append(ua.StatusCode())
        return results

    def _delete_monitored_items(self, mid: int) -> Any:
        if self.items.pop(mid, None) is None:
            return super()._delete_monitored_items(mid)
        self._placement.pop(mid)
        self._stale = True
        return ua.StatusCode()

    def delete_all_monitored_items(self) -> None:
        super().delete_all_monitored_items()
        self.items.clear()
        self._placement.clear()
        self.sets.clear()
        self._gathers.clear()

    def rebind(self) -> None:
        """The program has changed: tags are found again by path; those that are gone stay silent."""
        for item_id, item in list(self.items.items()):
            symbol = self._tags.symbols.get(item.symbol.path)
            if symbol is None or VARIANT_TYPE[symbol.type] != VARIANT_TYPE[item.symbol.type]:
                self._delete_monitored_items(item_id)
            else:
                item.symbol = symbol
        self._stale = True

    def _regroup(self) -> None:
        """Sets anew after items came, went or changed; what is queued in a set that stays the same stays."""
        groups: dict[tuple[float, int], list[Item]] = {}
        for item_id, item in self.items.items():
            sampling_ms, stamps = self._placement[item_id]
            groups.setdefault((sampling_ms, stamps.mask), []).append(item)
        kept = {}
        for key, members in groups.items():
            before = self.sets.get(key)
            stamps = Stamps(bool(key[1] & 4), bool(key[1] & 8))
            kept[key] = ItemSet(members, stamps)
            if before is not None:
                kept[key].inherit(before)
        self.sets = kept
        view = self._tags.view
        self._gathers = {
            key: scan.Gather(view, [item.symbol for item in members.items]) for key, members in kept.items()
        }
        self._due = {key: self._due.get(key, 0.0) for key in kept}
        self._stale = False

    def sample(self) -> None:
        """Sample the sets that are due."""
        if self._stale:
            self._regroup()
        now = time.monotonic()
        due = [key for key in self.sets if now >= self._due[key]]
        snapshot = self._tags.take_snapshot() if due else None
        if snapshot is None:
            return
        if any(gather.generation != snapshot.generation for gather in self._gathers.values()):
            return  # the address space is about to be renewed
        for key in due:
            # On the grid of the group, not of this call: intervals do not drift.
            period = key[0] / 1000
            self._due[key] = max(self._due[key] + period, now + period / 2)
            members = self.sets[key]
            gather = self._gathers[key]
            gather.update(snapshot)
            codes = gather.quality.astype(np.uint32) << np.uint32(16)
            members.sample(snapshot.block, codes, snapshot.wall_ns)

    def next_due(self) -> float | None:
        """Monotonic time of the next sample, None without tags."""
        return min(self._due.values(), default=None)


def _filter(symbol: Symbol, wanted: Any) -> tuple[int, float, bool]:
    """(StatusCode, absolute deadband, only status changes count) of a DataChangeFilter."""
    codes = ua.StatusCodes
    if wanted is None or (isinstance(wanted, ua.ExtensionObject) and wanted.TypeId.is_null()):
        return int(codes.Good), 0.0, False
    if not isinstance(wanted, ua.DataChangeFilter):
        return int(codes.BadMonitoredItemFilterUnsupported), 0.0, False
    status_only = wanted.Trigger == ua.DataChangeTrigger.Status
    if wanted.DeadbandType == ua.DeadbandType.None_:
        return int(codes.Good), 0.0, status_only
    if symbol.type in _TEXTS or wanted.DeadbandValue < 0:
        return int(codes.BadFilterNotAllowed), 0.0, False
    if wanted.DeadbandType == ua.DeadbandType.Absolute:
        return int(codes.Good), float(wanted.DeadbandValue), status_only
    if symbol.low is None or symbol.high is None or wanted.DeadbandValue > 100:
        return int(codes.BadDeadbandFilterInvalid), 0.0, False
    return int(codes.Good), wanted.DeadbandValue / 100 * (symbol.high - symbol.low), status_only


class TagSubscription(InternalSubscription):
    """A subscription whose tag notifications come packed from its item sets."""

    monitored_item_srv: TagItems
    max_notifications = 0
    _task: asyncio.Task[None] | None

    def __init__(self, data: Any, aspace: TagSpace, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, aspace, *args, **kwargs)
        self.monitored_item_srv = TagItems(self, aspace)
        self._sampling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._sampling = asyncio.create_task(self._sample_loop())

    async def stop(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        await super().stop()

    async def _sample_loop(self) -> None:
        while True:
            due = self.monitored_item_srv.next_due()
            pause = 0.05 if due is None else min(max(due - time.monotonic(), 0.002), 0.05)
            await asyncio.sleep(pause)
            try:
                self.monitored_item_srv.sample()
            except Exception:
                log.exception("sampling failed", subscription=self.data.SubscriptionId)

    def _has_tags(self) -> bool:
        return any(members.has_pending() for members in self.monitored_item_srv.sets.values())

    def has_published_results(self) -> bool:
        if self._publishing_enabled and self._has_tags():
            return True
        return bool(super().has_published_results())

    def _pop_triggered_datachanges(self, result: Any) -> None:
        super()._pop_triggered_datachanges(result)
        parts = []
        left = self.max_notifications
        for members in self.monitored_item_srv.sets.values():
            if self.max_notifications and left <= 0:
                break
            count, data = members.take(left)
            left -= count
            parts.append((count, data))
        packed = notification(parts)
        if packed is not None:
            result.NotificationMessage.NotificationData.append(packed)

    def _pop_publish_result(self) -> Any:
        result = super()._pop_publish_result()
        result.MoreNotifications = self._publishing_enabled and self._has_tags()
        return result

    async def publish_results(self, requestdata: Any = None) -> bool:
        sent = bool(await super().publish_results(requestdata))
        # More than one message's worth: as many as there are requests waiting.
        while sent and self._publishing_enabled and self._has_tags():
            sent = bool(await super().publish_results())
        return sent

    def republish(self, nb: int) -> Any:
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return result.NotificationMessage

    def revise(self, params: Any) -> None:
        """Take over the parameters of a ModifySubscription request; the publishing loop starts anew."""
        revised = revise_parameters(params)
        changed = revised.RequestedPublishingInterval != self.data.RevisedPublishingInterval
        self.data.RevisedPublishingInterval = revised.RequestedPublishingInterval
        self.data.RevisedLifetimeCount = revised.RequestedLifetimeCount
        self.data.RevisedMaxKeepAliveCount = revised.RequestedMaxKeepAliveCount
        self.max_notifications = params.MaxNotificationsPerPublish
        if changed and self._task is not None:
            self._task.cancel()
            self._task = asyncio.create_task(self._subscription_loop())


def revise_parameters(params: Any) -> Any:
    """Clamp what a client asks for, in place (OPC 10000-4 §5.14.2)."""
    wanted = params.RequestedPublishingInterval
    finite = wanted if wanted == wanted else PUBLISHING_MS_MIN
    params.RequestedPublishingInterval = min(max(finite, PUBLISHING_MS_MIN), PUBLISHING_MS_MAX)
    params.RequestedMaxKeepAliveCount = min(max(params.RequestedMaxKeepAliveCount, 1), KEEP_ALIVE_MAX)
    shortest = LIFETIME_FACTOR * params.RequestedMaxKeepAliveCount
    params.RequestedLifetimeCount = min(max(params.RequestedLifetimeCount, shortest), 15_000)
    return params


class TagSubscriptions(SubscriptionService):
    """The Subscription service set over ``TagSubscription``; a subscription belongs to its session's user."""

    def __init__(self, aspace: TagSpace, iserver: Any) -> None:
        super().__init__(aspace, iserver=iserver)

    async def create_subscription(
        self, params: Any, callback: Callable[..., Any], session_id: Any, request_callback: Any = None
    ) -> Any:
        if len(self.subscriptions) >= self.iserver.max_subscriptions:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        revise_parameters(params)
        result = ua.CreateSubscriptionResult()
        result.RevisedPublishingInterval = params.RequestedPublishingInterval
        result.RevisedLifetimeCount = params.RequestedLifetimeCount
        result.RevisedMaxKeepAliveCount = params.RequestedMaxKeepAliveCount
        self._sub_id_counter += 1
        result.SubscriptionId = self._sub_id_counter
        subscription = TagSubscription(
            result,
            self.aspace,
            callback,
            session_id,
            request_callback=request_callback,
            delete_callback=lambda: self.subscriptions.pop(result.SubscriptionId, None),
            no_acks_limit=100,
            max_queue_size=QUEUE_MAX,
            publishing_enabled=params.PublishingEnabled,
        )
        subscription.max_notifications = params.MaxNotificationsPerPublish
        await subscription.start()
        self.subscriptions[result.SubscriptionId] = subscription
        return result

    def modify_subscription(self, params: Any) -> Any:
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is None:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        subscription.revise(params)
        result = ua.ModifySubscriptionResult()
        result.RevisedPublishingInterval = subscription.data.RevisedPublishingInterval
        result.RevisedLifetimeCount = subscription.data.RevisedLifetimeCount
        result.RevisedMaxKeepAliveCount = subscription.data.RevisedMaxKeepAliveCount
        return result

    def republish(self, params: Any) -> Any:
        subscription = self.subscriptions.get(params.SubscriptionId)
        if subscription is None:
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        return subscription.republish(params.RetransmitSequenceNumber)

    def rebind(self) -> None:
        for subscription in self.subscriptions.values():
            subscription.monitored_item_srv.rebind()
