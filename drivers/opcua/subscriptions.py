"""Subscriptions: revised intervals, publishing, lifetime and transfer as OPC 10000-4 §5.14 has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.subscription_service import SubscriptionService

from .events import Event
from .items import QUEUE_MAX, TagItems
from .limits import SUBSCRIPTIONS_TOTAL_MAX
from .space import Space
from .users import OpcUaUser

log = structlog.get_logger("tickwork.opcua")

PUBLISHING_MS_MIN, PUBLISHING_MS_MAX = 50.0, 60_000.0
LIFETIME_FACTOR = 3  # lifetime counts at least three keep-alives (OPC 10000-4 §5.14.2.2)
LIFETIME_MAX = 15_000
KEEP_ALIVE_MAX = 1000
UNACKNOWLEDGED_MAX = 100  # messages kept for Republish
UNACKNOWLEDGED_SIZE_MAX = 8 * 1024 * 1024  # bytes of these
_SAMPLE_S = 0.05
_codes = ua.StatusCodes


class TagSubscription(InternalSubscription):
    """A subscription whose tag notifications come packed from its item sets."""

    monitored_item_srv: TagItems
    max_notifications = 0
    priority = 0
    user: OpcUaUser | None = None  # who it belongs to
    certificate: bytes | None = None  # of the channel that it was made on
    _task: asyncio.Task[None] | None

    def __init__(self, data: Any, aspace: Space, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, aspace, *args, **kwargs)
        self.monitored_item_srv = TagItems(self, aspace)
        self._sampling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._sampling = asyncio.create_task(self._sample_loop())

    async def stop(self) -> None:
        self._end_sampling()
        await super().stop()

    def _end_sampling(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
            self._sampling = None

    async def _sample_loop(self) -> None:
        while True:
            due = self.monitored_item_srv.next_due()
            pause = _SAMPLE_S if due is None else min(max(due - time.monotonic(), 0.002), _SAMPLE_S)
            await asyncio.sleep(pause)
            try:
                self.monitored_item_srv.sample()
            except Exception:
                log.exception("sampling failed", subscription=self.data.SubscriptionId)

    # ---------------------------------------------------------------- publishing

    @property
    def publishing_enabled(self) -> bool:
        return bool(self._publishing_enabled)

    @property
    def next_number(self) -> int:
        return int(self._notification_seq)

    @property
    def unacknowledged(self) -> int:
        return len(self._not_acknowledged_results)

    def _is_ready(self) -> bool:
        return bool(self._publishing_enabled) and self.monitored_item_srv.has_pending()

    def has_published_results(self) -> bool:
        return self._is_ready() or bool(super().has_published_results())

    def _pop_triggered_datachanges(self, result: Any) -> None:
        result.NotificationMessage.NotificationData += self.monitored_item_srv.take(self.max_notifications)

    def _pop_publish_result(self) -> Any:
        result = super()._pop_publish_result()
        result.MoreNotifications = self._is_ready()
        self._forget_oldest()
        return result

    def _forget_oldest(self) -> None:
        """A client that acknowledges nothing must not cost more than so much."""
        kept = self._not_acknowledged_results
        sizes = {number: _size(result) for number, result in kept.items()}
        total = sum(sizes.values())
        for number in list(sizes)[:-1]:
            if total <= UNACKNOWLEDGED_SIZE_MAX:
                break
            total -= sizes[number]
            del kept[number]

    async def publish_results(self, requestdata: Any = None) -> bool:
        """Whether ``requestdata`` has been answered."""
        sent = more = bool(await super().publish_results(requestdata))
        # More than one message's worth: as many as there are requests waiting.
        while more and self._is_ready():
            more = bool(await super().publish_results())
        if self._task is None:
            self._end_sampling()  # its lifetime is over
        return sent

    def heard(self) -> None:
        """The client has sent a Publish request: the lifetime begins anew."""
        self._publish_cycles_count = 0

    def acknowledge(self, number: int) -> int:
        """A StatusCode: Good, or BadSequenceNumberUnknown."""
        known = self._not_acknowledged_results.pop(number, None) is not None
        return int(_codes.Good if known else _codes.BadSequenceNumberUnknown)

    def republish(self, nb: int) -> Any:
        result = self._not_acknowledged_results.get(nb)
        if result is None:
            raise ServiceError(_codes.BadMessageNotAvailable)
        return result.NotificationMessage

    def revise(self, params: Any) -> None:
        """Take over the parameters of a ModifySubscription request; the publishing loop starts anew."""
        revised = revise_parameters(params)
        changed = revised.RequestedPublishingInterval != self.data.RevisedPublishingInterval
        self.data.RevisedPublishingInterval = revised.RequestedPublishingInterval
        self.data.RevisedLifetimeCount = revised.RequestedLifetimeCount
        self.data.RevisedMaxKeepAliveCount = revised.RequestedMaxKeepAliveCount
        self.max_notifications = params.MaxNotificationsPerPublish
        self.priority = params.Priority
        if changed and self._task is not None:
            self._task.cancel()
            self._task = asyncio.create_task(self._subscription_loop())

    # ---------------------------------------------------------------- transfer

    async def move(self, session: Any, callback: Any) -> None:
        """From now on for another session; the old one is told (OPC 10000-4 §5.14.7)."""
        await self._say_goodbye()
        self.session_id = session.session_id
        self.pub_result_callback = callback
        # asyncua hands over how to answer only; requests wait at the same connection.
        self.pub_request_callback = callback.__self__.get_publish_request
        self.heard()

    async def _say_goodbye(self) -> None:
        request = self.pub_request_callback(self.data.SubscriptionId) if self.pub_request_callback else None
        if request is None:
            return
        last = ua.PublishResult()
        last.SubscriptionId = self.data.SubscriptionId
        last.NotificationMessage.SequenceNumber = self._notification_seq
        status = ua.StatusCode(_codes.GoodSubscriptionTransferred)
        last.NotificationMessage.NotificationData = [ua.StatusChangeNotification(Status=status)]
        await self.pub_result_callback(last, request)

    @property
    def available(self) -> list[int]:
        """Sequence numbers of the messages that can be had again."""
        return sorted(self._not_acknowledged_results)


def _size(result: Any) -> int:
    """Bytes of the packed notifications of a message."""
    data = result.NotificationMessage.NotificationData or ()
    return sum(len(one.Body or b"") for one in data if isinstance(one, ua.ExtensionObject))


def revise_parameters(params: Any) -> Any:
    """Clamp what a client asks for, in place (OPC 10000-4 §5.14.2)."""
    wanted = params.RequestedPublishingInterval
    finite = wanted if wanted == wanted else PUBLISHING_MS_MIN  # NaN
    params.RequestedPublishingInterval = min(max(finite, PUBLISHING_MS_MIN), PUBLISHING_MS_MAX)
    params.RequestedMaxKeepAliveCount = min(max(params.RequestedMaxKeepAliveCount, 1), KEEP_ALIVE_MAX)
    shortest = LIFETIME_FACTOR * params.RequestedMaxKeepAliveCount
    params.RequestedLifetimeCount = min(max(params.RequestedLifetimeCount, shortest), LIFETIME_MAX)
    return params


class TagSubscriptions(SubscriptionService):
    """The subscriptions of all sessions; whose they are is judged by ``session``."""

    iserver: Any

    def __init__(self, aspace: Space, iserver: Any) -> None:
        super().__init__(aspace, iserver=iserver)
        self.made = 0  # since the server started

    def known(self) -> list[TagSubscription]:
        return [one for one in self.subscriptions.values() if isinstance(one, TagSubscription)]

    def count_items(self) -> int:
        return sum(len(one.monitored_item_srv.items) for one in self.known())

    async def create_subscription(
        self, params: Any, callback: Callable[..., Any], session_id: Any, request_callback: Any = None
    ) -> Any:
        if len(self.subscriptions) >= SUBSCRIPTIONS_TOTAL_MAX:
            raise ServiceError(_codes.BadTooManySubscriptions)
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
            no_acks_limit=UNACKNOWLEDGED_MAX,
            max_queue_size=QUEUE_MAX,
            publishing_enabled=params.PublishingEnabled,
        )
        subscription.max_notifications = params.MaxNotificationsPerPublish
        subscription.priority = params.Priority
        await subscription.start()
        self.subscriptions[result.SubscriptionId] = subscription
        self.made += 1
        return result

    def modify_subscription(self, params: Any) -> Any:
        subscription = self.subscriptions[params.SubscriptionId]
        subscription.revise(params)
        result = ua.ModifySubscriptionResult()
        result.RevisedPublishingInterval = subscription.data.RevisedPublishingInterval
        result.RevisedLifetimeCount = subscription.data.RevisedLifetimeCount
        result.RevisedMaxKeepAliveCount = subscription.data.RevisedMaxKeepAliveCount
        return result

    async def transfer(self, identifier: int, session: Any, callback: Any, resend: bool) -> Any:
        """To another session of the same user on a channel with the same certificate; a TransferResult."""
        result = ua.TransferResult()
        found = self.subscriptions.get(identifier)
        if not isinstance(found, TagSubscription):
            result.StatusCode = ua.StatusCode(_codes.BadSubscriptionIdInvalid)
            return result
        same = found.user is not None and (found.user.name, found.certificate) == (
            session.who.name, session.channel_certificate,
        )  # fmt: skip
        if not same or found.user is None or found.user.name is None:
            # Nobody can be told from somebody else without a name (OPC 10000-4 §5.14.7.1).
            result.StatusCode = ua.StatusCode(_codes.BadUserAccessDenied)
            return result
        if found.session_id != session.session_id:
            await found.move(session, callback)
        if resend:
            found.monitored_item_srv.resend()
        result.AvailableSequenceNumbers = found.available
        return result

    def rebind(self) -> None:
        for subscription in self.known():
            subscription.monitored_item_srv.rebind()

    def publish_event(self, event: Event) -> None:
        """For all clients that asked for such."""
        for subscription in self.known():
            subscription.monitored_item_srv.offer(event)
