"""A session as clients have it: every service checks its limits, and that subscriptions are the session's own."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError

from . import limits
from .browsing import Points, View
from .history import History
from .limits import check
from .methods import Methods
from .plane import TagAttributes
from .sessions import StrictSession
from .subscriptions import TagSubscription, TagSubscriptions
from .users import OpcUaUser

_codes = ua.StatusCodes


class Session(StrictSession):
    """One client's session; ``iserver`` carries ``view``, ``attribute_service``, ``methods`` and ``history``."""

    iserver: Any
    subscription_service: TagSubscriptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.points = Points()
        self.history_points = Points()
        self.created = datetime.datetime.now(datetime.UTC)
        self.client_name = ""

    @property
    def who(self) -> OpcUaUser:
        assert isinstance(self.user, OpcUaUser), "services need an activated session"
        return self.user

    async def create_session(self, params: Any, sockname: Any = None) -> Any:
        self.client_name = str(params.SessionName or "")[:200]
        return await super().create_session(params, sockname)

    @property
    def idle(self) -> datetime.timedelta:
        """Since the last request."""
        return datetime.timedelta(seconds=time.monotonic() - self._last_activity)

    # ---------------------------------------------------------------- attributes, view, methods

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        check(len(params.NodesToRead), limits.READ_MAX)
        attributes: TagAttributes = self.iserver.attribute_service
        return attributes.read_for(params, self.who)

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        check(len(params.NodesToWrite), limits.WRITE_MAX)
        attributes: TagAttributes = self.iserver.attribute_service
        return await attributes.write(params, self.who)

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        check(len(params.NodesToBrowse), limits.BROWSE_MAX)
        view: View = self.iserver.view
        return view.browse(params, self.points)

    async def browse_next(self, parameters: ua.BrowseNextParameters) -> list[ua.BrowseResult]:
        check(len(parameters.ContinuationPoints), limits.BROWSE_MAX)
        view: View = self.iserver.view
        return view.browse_next(parameters, self.points)

    async def translate_browsepaths_to_nodeids(
        self, params: list[ua.BrowsePath]
    ) -> list[ua.BrowsePathResult]:
        check(len(params), limits.TRANSLATE_MAX)
        view: View = self.iserver.view
        return view.translate(params)

    def read_history(self, params: Any) -> list[Any]:
        history: History = self.iserver.history
        return history.read(params, self.history_points)

    async def call(self, params: list[Any]) -> list[Any]:
        check(len(params), limits.CALL_MAX)
        methods: Methods = self.iserver.methods
        return [await methods.call(one, self) for one in params]

    # ---------------------------------------------------------------- subscriptions

    def own(self, identifier: int) -> TagSubscription:
        """Raises ServiceError for a subscription that is not this session's (OPC 10000-4 §5.14)."""
        found = self.subscription_service.subscriptions.get(identifier)
        if not isinstance(found, TagSubscription) or found.session_id != self.session_id:
            raise ServiceError(_codes.BadSubscriptionIdInvalid)
        return found

    def owned(self) -> list[TagSubscription]:
        everything = self.subscription_service.subscriptions.values()
        return [
            one
            for one in everything
            if isinstance(one, TagSubscription) and one.session_id == self.session_id
        ]

    async def create_subscription(
        self, params: Any, callback: Callable[..., Any], request_callback: Callable[..., Any] | None = None
    ) -> Any:
        if len(self.owned()) >= limits.SUBSCRIPTIONS_MAX:
            raise ServiceError(_codes.BadTooManySubscriptions)
        result = await super().create_subscription(params, callback, request_callback)
        made = self.own(result.SubscriptionId)
        made.user, made.certificate = self.who, self.channel_certificate
        return result

    def modify_subscription(self, params: Any) -> Any:
        self.own(params.SubscriptionId)
        return super().modify_subscription(params)

    async def create_monitored_items(self, params: Any) -> list[Any]:
        check(len(params.ItemsToCreate), limits.ITEMS_MAX)
        if params.TimestampsToReturn not in (0, 1, 2, 3):
            raise ServiceError(_codes.BadTimestampsToReturnInvalid)
        self.own(params.SubscriptionId)
        if self.subscription_service.count_items() + len(params.ItemsToCreate) > limits.ITEMS_TOTAL_MAX:
            raise ServiceError(_codes.BadTooManyMonitoredItems)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> list[Any]:
        check(len(params.ItemsToModify), limits.ITEMS_MAX)
        if params.TimestampsToReturn not in (0, 1, 2, 3):
            raise ServiceError(_codes.BadTimestampsToReturnInvalid)
        self.own(params.SubscriptionId)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> list[Any]:
        check(len(params.MonitoredItemIds), limits.ITEMS_MAX)
        self.own(params.SubscriptionId)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: Any) -> list[Any]:
        check(len(params.MonitoredItemIds), limits.ITEMS_MAX)
        self.own(params.SubscriptionId)
        return await super().set_monitoring_mode(params)

    def set_triggering(self, params: Any) -> tuple[list[Any], list[Any]]:
        """(results of the links to add, of the links to remove)."""
        check(len(params.LinksToAdd) + len(params.LinksToRemove), limits.ITEMS_MAX)
        items = self.own(params.SubscriptionId).monitored_item_srv
        return items.set_triggering(params.TriggeringItemId, params.LinksToAdd, params.LinksToRemove)

    async def set_publishing_mode(self, params: Any) -> list[Any]:
        check(len(params.SubscriptionIds), limits.SUBSCRIPTIONS_TOTAL_MAX)
        return [
            await self._each(identifier, lambda one: one.set_publishing_mode(params.PublishingEnabled))
            for identifier in params.SubscriptionIds
        ]

    async def _each(self, identifier: int, act: Callable[[TagSubscription], Any]) -> Any:
        try:
            await act(self.own(identifier))
        except ServiceError as error:
            return ua.StatusCode(error.code)
        return ua.StatusCode()

    def republish(self, params: Any) -> Any:
        return self.own(params.SubscriptionId).republish(params.RetransmitSequenceNumber)

    async def delete_subscriptions(self, ids: list[int]) -> list[Any]:
        if self.external and not ids:
            return []
        mine = {one.data.SubscriptionId for one in self.owned()} if self.external else set(ids)
        results = []
        for identifier in ids:
            if identifier in mine:
                results += await super().delete_subscriptions([identifier])
            else:
                results.append(ua.StatusCode(_codes.BadSubscriptionIdInvalid))
        return results

    def publish(self, acks: Iterable[Any] | None = None) -> tuple[int, list[Any]]:
        """(number of subscriptions, results of the acknowledgements)."""
        mine = {one.data.SubscriptionId: one for one in self.owned()}
        if not mine:
            raise ServiceError(_codes.BadNoSubscription)
        results = []
        for acknowledgement in acks or ():
            found = mine.get(acknowledgement.SubscriptionId)
            if found is None:
                results.append(ua.StatusCode(_codes.BadSubscriptionIdInvalid))
            else:
                results.append(ua.StatusCode(found.acknowledge(acknowledgement.SequenceNumber)))
        for one in mine.values():
            one.heard()
        return len(mine), results

    async def transfer_subscriptions(self, params: Any, callback: Callable[..., Any]) -> list[Any]:
        check(len(params.SubscriptionIds), limits.SUBSCRIPTIONS_TOTAL_MAX)
        return [
            await self.subscription_service.transfer(int(one), self, callback, bool(params.SendInitialValues))
            for one in params.SubscriptionIds
        ]
