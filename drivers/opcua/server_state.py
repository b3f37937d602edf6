"""The Server object: what it can do, how it does, and how well its node is (OPC 10000-5 §6.3)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from asyncua import ua

import scan

from . import limits
from .browsing import POINTS_MAX
from .diagnostics import Device
from .items import SAMPLING_GROUPS_MS
from .session import Session

HEALTHY, DEVICE_LOST, OVERRUNS, STOPPED = 255, 200, 100, 1
OVERRUN_MEMORY_S = 60.0
_PROFILES = (
    "http://opcfoundation.org/UA-Profile/Server/StandardUA2017",
    "http://opcfoundation.org/UA-Profile/Server/DataAccess",
    "http://opcfoundation.org/UA-Profile/Server/Methods",
    "http://opcfoundation.org/UA-Profile/Server/StandardEventSubscription",
)
_ids = ua.ObjectIds
Write = Callable[[int, ua.Variant], Any]


def capabilities() -> Iterator[tuple[int, ua.Variant]]:
    """Numbers of standard nodes and what this server says there; none may be null (clients refuse that)."""
    prefix = "Server_ServerCapabilities_"
    kinds = ua.VariantType
    for name, value in limits.OPERATION_LIMITS.items():
        yield getattr(_ids, f"{prefix}OperationLimits_{name}"), ua.Variant(value, kinds.UInt32)
    yield _ids.Server_ServerCapabilities_ServerProfileArray, _texts(_PROFILES)
    yield _ids.Server_ServerCapabilities_LocaleIdArray, _texts(("en",))
    rate = ua.Variant(float(SAMPLING_GROUPS_MS[0]), kinds.Double)
    yield _ids.Server_ServerCapabilities_MinSupportedSampleRate, rate
    yield _ids.Server_ServerCapabilities_MaxBrowseContinuationPoints, ua.Variant(POINTS_MAX, kinds.UInt16)
    yield _ids.Server_ServerCapabilities_MaxQueryContinuationPoints, ua.Variant(0, kinds.UInt16)
    yield _ids.Server_ServerCapabilities_MaxHistoryContinuationPoints, ua.Variant(POINTS_MAX, kinds.UInt16)
    for name, number in (
        ("MaxArrayLength", 65_536),
        ("MaxStringLength", 65_536),
        ("MaxByteStringLength", 1 << 20),
    ):
        yield getattr(_ids, prefix + name), ua.Variant(number, kinds.UInt32)
    yield _ids.Server_ServerDiagnostics_EnabledFlag, ua.Variant(True, kinds.Boolean)
    yield _ids.Server_ServerRedundancy_RedundancySupport, ua.Variant(0, kinds.Int32)
    yield _ids.Server_Auditing, ua.Variant(True, kinds.Boolean)
    history = "HistoryServerCapabilities_"
    for name, told in (("AccessHistoryDataCapability", True), ("AccessHistoryEventsCapability", False)):
        yield getattr(_ids, history + name), ua.Variant(told, kinds.Boolean)


def _texts(values: Sequence[str]) -> ua.Variant:
    return ua.Variant(list(values), ua.VariantType.String, is_array=True)


# ---------------------------------------------------------------- diagnostics


def summary(core: Any) -> ua.ServerDiagnosticsSummaryDataType:
    """Sessions and subscriptions of now and since the start."""
    subscriptions = core.subscription_service
    made = ua.ServerDiagnosticsSummaryDataType()
    made.ServerViewCount = 0
    made.CurrentSessionCount = len(core.sessions())
    made.CumulatedSessionCount = core.sessions_made
    made.RejectedSessionCount = made.RejectedRequestsCount = core.sessions_refused
    made.SecurityRejectedSessionCount = made.SecurityRejectedRequestsCount = core.security_refused
    made.SessionTimeoutCount = made.SessionAbortCount = 0
    made.CurrentSubscriptionCount = len(subscriptions.subscriptions)
    made.CumulatedSubscriptionCount = subscriptions.made
    made.PublishingIntervalCount = len({one.data.RevisedPublishingInterval for one in subscriptions.known()})
    return made


def session_details(session: Session) -> ua.SessionDiagnosticsDataType:
    made = ua.SessionDiagnosticsDataType()
    owned = session.owned()
    made.SessionId = session.session_id
    made.SessionName = session.client_name
    made.ActualSessionTimeout = (session.session_timeout or 0.0) * 1000
    made.ClientConnectionTime = session.created
    made.ClientLastContactTime = datetime.datetime.now(datetime.UTC) - session.idle
    made.CurrentSubscriptionsCount = len(owned)
    made.CurrentMonitoredItemsCount = sum(len(one.monitored_item_srv.items) for one in owned)
    made.LocaleIds = []
    return made


def subscription_details(one: Any) -> ua.SubscriptionDiagnosticsDataType:
    made = ua.SubscriptionDiagnosticsDataType()
    made.SessionId, made.SubscriptionId = one.session_id, one.data.SubscriptionId
    made.Priority = one.priority
    made.PublishingInterval = one.data.RevisedPublishingInterval
    made.MaxKeepAliveCount = one.data.RevisedMaxKeepAliveCount
    made.MaxLifetimeCount = one.data.RevisedLifetimeCount
    made.MaxNotificationsPerPublish = one.max_notifications
    made.PublishingEnabled = one.publishing_enabled
    made.UnacknowledgedMessageCount = one.unacknowledged
    items = one.monitored_item_srv.items
    made.MonitoredItemCount = len(items) + len(one.monitored_item_srv.event_items)
    made.DisabledMonitoredItemCount = sum(not item.sampling for item in items.values())
    made.NextSequenceNumber = one.next_number
    return made


def diagnostics(core: Any) -> Iterator[tuple[int, ua.Variant]]:
    """As ``capabilities``, for what changes: written once a second."""
    kind = ua.VariantType.ExtensionObject
    head = summary(core)
    base = "Server_ServerDiagnostics_ServerDiagnosticsSummary"
    yield getattr(_ids, base), ua.Variant(head, kind)
    for name in (
        "ServerViewCount", "CurrentSessionCount", "CumulatedSessionCount", "SecurityRejectedSessionCount",
        "RejectedSessionCount", "SessionTimeoutCount", "SessionAbortCount", "PublishingIntervalCount",
        "CurrentSubscriptionCount", "CumulatedSubscriptionCount", "SecurityRejectedRequestsCount",
        "RejectedRequestsCount",
    ):  # fmt: skip
        yield getattr(_ids, f"{base}_{name}"), ua.Variant(getattr(head, name), ua.VariantType.UInt32)
    sessions = [session_details(one) for one in core.sessions()]
    place = _ids.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray
    yield place, ua.Variant(sessions, kind, is_array=True)
    # Who is connected by which certificate is for administrators of the node, not for clients.
    place = _ids.Server_ServerDiagnostics_SessionsDiagnosticsSummary_SessionSecurityDiagnosticsArray
    yield place, ua.Variant([], kind, is_array=True)
    details = [subscription_details(one) for one in core.subscription_service.known()]
    yield (
        _ids.Server_ServerDiagnostics_SubscriptionDiagnosticsArray,
        ua.Variant(details, kind, is_array=True),
    )


# ---------------------------------------------------------------- service level


class Health:
    """ServiceLevel of the node (OPC 10000-4 §6.6.2.4.2); overruns count for a minute."""

    def __init__(self) -> None:
        self._overruns = -1
        self._overrun_at_s = float("-inf")

    def level(self, view: scan.NodeView, devices: Sequence[Device], now_s: float) -> int:
        running = view.state in (scan.NodeState.RUNNING, scan.NodeState.TRIAL)
        if not view.alive or not running:
            return STOPPED
        count = sum(task.overruns for task in view.stats())
        if self._overruns >= 0 and count > self._overruns:
            self._overrun_at_s = now_s
        self._overruns = count
        if now_s - self._overrun_at_s < OVERRUN_MEMORY_S:
            return OVERRUNS
        return HEALTHY if all(device.online for device in devices) else DEVICE_LOST
