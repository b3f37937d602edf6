"""Alarms as conditions (OPC 10000-9): events when their state changes, refresh, and the methods of operators.

Where alarms come from is no matter here: a ``ConditionSource`` tells their states and takes orders. A condition is
known by ``/Conditions/NAME``; it is no node that can be browsed, which OPC 10000-9 §4.2 leaves to the server.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from asyncua import ua

from .entries import NULL, standard
from .events import SERVER, Event, make, text
from .methods import Method, Methods, argument
from .space import Space
from .subscriptions import TagSubscriptions
from .types import to_datetime

PREFIX = "/Conditions/"
EVENTS_KEPT = 10_000  # EventIds that can still be acknowledged
COMMENT_MAX = 500
_ALARM = standard(ua.ObjectIds.AlarmConditionType)
_PROCESS, _SYSTEM = (
    standard(ua.ObjectIds.ProcessConditionClassType),
    standard(ua.ObjectIds.SystemConditionClassType),
)
_codes = ua.StatusCodes


@dataclass(frozen=True, slots=True)
class Condition:
    """One alarm now. ``occurrence`` tells one excursion from the next; ``source`` is the path of a variable or ""."""

    name: str
    message: str
    severity: int  # 1 to 1000
    active: bool
    acked: bool
    time_ns: int  # of the last change, UTC
    occurrence: int = 0
    source: str = ""
    enabled: bool = True
    shelved: str = ""  # "", "timed" or "once"
    suppressed: bool = False
    retain: bool = False  # of interest to an operator
    good: bool = True  # the quality of its input
    comment: str = ""
    user: str = ""  # who acknowledged, commented or shelved
    system: bool = False  # about the node itself, not about the process


class ConditionSource(Protocol):
    """Alarms of a node. Orders answer "" when they took effect, else the reason; ``occurrence`` 0 means any."""

    def watch(self, told: Callable[[Sequence[Condition]], None]) -> Callable[[], None]:
        """``told`` is called on the loop with those that changed; the result ends it."""
        ...

    async def conditions(self) -> Sequence[Condition]: ...
    async def acknowledge(self, name: str, occurrence: int, comment: str, user: str) -> str: ...
    async def confirm(self, name: str, occurrence: int, comment: str, user: str) -> str: ...
    async def comment(self, name: str, occurrence: int, comment: str, user: str) -> str: ...
    async def shelve(self, name: str, duration_s: int, user: str) -> str: ...  # 0: until it clears
    async def unshelve(self, name: str, user: str) -> str: ...


class Conditions:
    """Makes events of changes and orders of method calls."""

    def __init__(self, space: Space, subscriptions: TagSubscriptions, source: ConditionSource) -> None:
        self._space = space
        self._subscriptions = subscriptions
        self._source = source
        self._last: dict[str, tuple[Condition, bytes]] = {}
        self._known: OrderedDict[bytes, tuple[str, int]] = OrderedDict()  # EventId -> name, occurrence
        self._end: Callable[[], None] | None = None

    async def start(self) -> None:
        self._end = self._source.watch(self.tell)
        for condition in await self._source.conditions():
            if condition.retain:
                self._remember(condition)

    def stop(self) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    # ---------------------------------------------------------------- events

    def tell(self, changed: Iterable[Condition]) -> None:
        """States that are other than before, as events."""
        for condition in changed:
            before = self._last.get(condition.name)
            if before is not None and before[0] == condition:
                continue
            self._subscriptions.publish_event(self._event(condition, self._remember(condition)))

    def _remember(self, condition: Condition) -> bytes:
        event_id = secrets.token_bytes(16)
        if condition.retain:
            self._last[condition.name] = (condition, event_id)
        else:
            self._last.pop(condition.name, None)
        self._known[event_id] = (condition.name, condition.occurrence)
        if len(self._known) > EVENTS_KEPT:
            self._known.popitem(last=False)
        return event_id

    def _event(self, one: Condition, event_id: bytes) -> Event:
        source = ua.NodeId(one.source, self._space.tags.index) if one.source else SERVER
        if source not in self._space:
            source = SERVER
        return make(
            _ALARM, one.message, severity=one.severity, time_ns=one.time_ns, source=source,
            source_name=one.source or "Server", event_id=event_id, more=self._fields(one),
        )  # fmt: skip

    def _fields(self, one: Condition) -> dict[str, ua.Variant]:
        """What conditions have besides (OPC 10000-9 §5.5 to §5.8)."""
        moment = ua.Variant(to_datetime(one.time_ns), ua.VariantType.DateTime)
        hidden = bool(one.shelved) or one.suppressed
        quality = _codes.Good if one.good else _codes.Bad
        fields = {
            "": ua.Variant(self.node_id(one.name), ua.VariantType.NodeId),
            "ConditionClassId": ua.Variant(_SYSTEM if one.system else _PROCESS, ua.VariantType.NodeId),
            "ConditionClassName": text("System" if one.system else "Process"),
            "ConditionName": ua.Variant(one.name, ua.VariantType.String),
            "BranchId": ua.Variant(NULL, ua.VariantType.NodeId),
            "Retain": _boolean(one.retain),
            "Quality": ua.Variant(ua.StatusCode(quality), ua.VariantType.StatusCode),
            "LastSeverity": ua.Variant(one.severity, ua.VariantType.UInt16),
            "Comment": text(one.comment),
            "ClientUserId": ua.Variant(one.user, ua.VariantType.String),
            "InputNode": ua.Variant(NULL, ua.VariantType.NodeId),
            "SuppressedOrShelved": _boolean(hidden),
        }
        for name, (yes, no), state in (
            ("EnabledState", ("Enabled", "Disabled"), one.enabled),
            ("AckedState", ("Acknowledged", "Unacknowledged"), one.acked),
            ("ConfirmedState", ("Confirmed", "Unconfirmed"), True),
            ("ActiveState", ("Active", "Inactive"), one.active),
            ("SuppressedState", ("Suppressed", "Unsuppressed"), one.suppressed),
        ):
            fields[name] = text(yes if state else no)
            fields[f"{name}/Id"] = _boolean(state)
            fields[f"{name}/TransitionTime"] = moment
        shelving, number = _SHELVING[one.shelved]
        fields["ShelvingState/CurrentState"] = text(shelving)
        fields["ShelvingState/CurrentState/Id"] = ua.Variant(standard(number), ua.VariantType.NodeId)
        return fields

    def node_id(self, name: str) -> ua.NodeId:
        """The ConditionId of an alarm."""
        return ua.NodeId(f"{PREFIX}{name}", self._space.tags.index)

    # ---------------------------------------------------------------- refresh

    async def refresh(self, session: Any, subscription: int, item: int | None) -> int:
        """Everything that stands, for one subscription or one of its items (OPC 10000-9 §5.5.7)."""
        items = session.own(subscription).monitored_item_srv
        if item is not None and item not in items.event_items:
            return int(_codes.BadMonitoredItemIdInvalid)
        now_ns = max((one.time_ns for one, _ in self._last.values()), default=0)
        for kind, message in ((_START, "Refresh begins"), (None, ""), (_END, "Refresh ends")):
            if kind is not None:
                items.offer(make(kind, message, severity=1, time_ns=now_ns), item)
                continue
            for condition, event_id in list(self._last.values()):
                items.offer(self._event(condition, event_id), item)
        return int(_codes.Good)

    # ---------------------------------------------------------------- methods

    def add_methods(self, methods: Methods) -> None:
        ids = ua.ObjectIds
        event_id, comment = argument("EventId", ids.ByteString), argument("Comment", ids.LocalizedText)
        for name, act in (
            ("AcknowledgeableConditionType_Acknowledge", self._source.acknowledge),
            ("AcknowledgeableConditionType_Confirm", self._source.confirm),
            ("ConditionType_AddComment", self._source.comment),
        ):
            methods.add(standard(getattr(ids, name)), Method((event_id, comment), self._on_event(act)))
        duration = argument("ShelvingTime", ids.Duration)
        for prefix in ("ShelvedStateMachineType_", "AlarmConditionType_ShelvingState_"):
            timed, once, none = (
                standard(getattr(ids, prefix + name)) for name in ("TimedShelve", "OneShotShelve", "Unshelve")
            )
            methods.add(timed, Method((duration,), self._shelve))
            methods.add(once, Method((), self._shelve))
            methods.add(none, Method((), self._unshelve))
        subscription, item = (
            argument("SubscriptionId", ids.IntegerId),
            argument("MonitoredItemId", ids.IntegerId),
        )
        refresh, refresh_item = ids.ConditionType_ConditionRefresh, ids.ConditionType_ConditionRefresh2
        methods.add(standard(refresh), Method((subscription,), self._refresh, role=""))
        methods.add(standard(refresh_item), Method((subscription, item), self._refresh, role=""))

    async def _refresh(
        self, session: Any, _object: ua.NodeId, given: list[ua.Variant]
    ) -> tuple[int, list[ua.Variant]]:
        numbers = [int(one.Value) for one in given]
        return await self.refresh(session, numbers[0], numbers[1] if len(numbers) > 1 else None), []

    def _on_event(self, act: Callable[..., Any]) -> Any:
        """Acknowledge and its like: they name the event that the operator has seen."""

        async def body(
            session: Any, wanted: ua.NodeId, given: list[ua.Variant]
        ) -> tuple[int, list[ua.Variant]]:
            name = self._name(wanted)
            if name is None:
                return int(_codes.BadNodeIdUnknown), []
            known = self._known.get(given[0].Value or b"")
            if known is None or known[0] != name:
                return int(_codes.BadEventIdUnknown), []
            comment = (given[1].Value.Text or "") if given[1].Value is not None else ""
            if act == self._source.acknowledge and self._is_acked(name):
                return int(_codes.BadConditionBranchAlreadyAcked), []
            reason = await act(name, known[1], comment[:COMMENT_MAX], f"opcua:{session.who.name}")
            return int(_codes.BadInvalidState if reason else _codes.Good), []

        return body

    def _is_acked(self, name: str) -> bool:
        found = self._last.get(name)
        return found is not None and found[0].acked

    def _name(self, wanted: ua.NodeId) -> str | None:
        identifier = str(wanted.Identifier)
        own = wanted.NamespaceIndex == self._space.tags.index and identifier.startswith(PREFIX)
        return identifier[len(PREFIX) :] if own else None

    async def _shelve(
        self, session: Any, wanted: ua.NodeId, given: list[ua.Variant]
    ) -> tuple[int, list[ua.Variant]]:
        name = self._name(_condition_of(wanted))
        if name is None:
            return int(_codes.BadNodeIdUnknown), []
        duration_s = int(given[0].Value / 1000) if given and given[0].Value == given[0].Value else 0
        if given and duration_s <= 0:
            return int(_codes.BadShelvingTimeOutOfRange), []
        reason = await self._source.shelve(name, min(duration_s, 10**6), f"opcua:{session.who.name}")
        return int(_codes.BadConditionAlreadyShelved if reason else _codes.Good), []

    async def _unshelve(
        self, session: Any, wanted: ua.NodeId, _given: list[ua.Variant]
    ) -> tuple[int, list[ua.Variant]]:
        name = self._name(_condition_of(wanted))
        if name is None:
            return int(_codes.BadNodeIdUnknown), []
        reason = await self._source.unshelve(name, f"opcua:{session.who.name}")
        return int(_codes.BadConditionNotShelved if reason else _codes.Good), []


def _condition_of(wanted: ua.NodeId) -> ua.NodeId:
    """Shelving is called on the condition or on its ShelvingState."""
    identifier = str(wanted.Identifier).removesuffix("/ShelvingState")
    return ua.NodeId(identifier, wanted.NamespaceIndex)


def _boolean(value: bool) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.Boolean)


_START, _END = standard(ua.ObjectIds.RefreshStartEventType), standard(ua.ObjectIds.RefreshEndEventType)
_SHELVING = {
    "": ("Unshelved", ua.ObjectIds.ShelvedStateMachineType_Unshelved),
    "timed": ("Timed Shelved", ua.ObjectIds.ShelvedStateMachineType_TimedShelved),
    "once": ("One Shot Shelved", ua.ObjectIds.ShelvedStateMachineType_OneShotShelved),
}
