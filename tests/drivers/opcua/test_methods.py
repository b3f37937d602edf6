"""Methods and conditions: who may call what, with which arguments, and what operators see of alarms."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from asyncua import Client, ua

from drivers.opcua.certificates import CertificateFiles
from drivers.opcua.conditions import Condition
from tests.drivers.opcua.conftest import Bench, connected
from tests.drivers.opcua.fake_node import FakeNode

Start = Callable[..., AbstractAsyncContextManager[Bench]]
PLANT = "PROGRAM Main VAR level : REAL; count : INT; name : STRING; END_VAR END_PROGRAM"
_codes = ua.StatusCodes


async def call(client: Client, node: str, method: str, *given: Any) -> int:
    """StatusCode of a call; ``given`` are Variants."""
    index = await client.get_namespace_index("urn:tickwork:water")
    request = ua.CallMethodRequest()
    request.ObjectId, request.MethodId = ua.NodeId(node, index), ua.NodeId(method, index)
    request.InputArguments = list(given)
    (result,) = await client.uaclient.call([request])
    return int(result.StatusCode.value)


async def test_force_when_arguments_and_role_fit_then_is_ordered_and_else_says_what_is_wrong(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    async with start(FakeNode(PLANT)) as bench:
        async with connected(bench, identities["known"], "eva") as client:
            index = await client.get_namespace_index("urn:tickwork:water")
            level = ua.Variant(ua.NodeId("Main.level", index))
            value = ua.Variant(2.5, ua.VariantType.Float)
            reason, lease = ua.Variant("test", ua.VariantType.String), ua.Variant(1500.0)
            force = ("/Node", "/Node/Force")
            assert await call(client, *force, level, value, reason, lease) == _codes.Good
            assert bench.orders.others == [("force", "Main.level", 2.5, "opcua:eva", "test", 2)]
            double = ua.Variant(2.5, ua.VariantType.Double)
            wrong = {
                _codes.BadArgumentsMissing: (level, value, reason),
                _codes.BadTooManyArguments: (level, value, reason, lease, lease),
                _codes.BadInvalidArgument: (level, value, lease, lease),
                _codes.BadTypeMismatch: (level, double, reason, lease),
                _codes.BadNodeIdUnknown: (ua.Variant(ua.NodeId("Main.no", index)), value, reason, lease),
                _codes.BadOutOfRange: (level, value, reason, ua.Variant(-1.0)),
            }
            for code, given in wrong.items():
                assert await call(client, *force, *given) == code
            assert await call(client, "/Node", "/Node/Unforce", level) == _codes.Good
            assert await call(client, "/Resource/MethodSet", "/Resource/MethodSet/Stop") == _codes.Good
            assert bench.orders.others[1:] == [("unforce", "Main.level", "opcua:eva"), ("stop", "opcua:eva")]
            assert await call(client, "/Node", "Main.level") == _codes.BadNotExecutable
            bench.orders.refusal = "the scan refused the value"
            assert await call(client, *force, level, value, reason, lease) == _codes.BadInvalidState
        async with connected(bench, identities["known"], "ann") as client:
            assert await call(client, *force, level, value, reason, lease) == _codes.BadUserAccessDenied
            node = client.get_node(ua.NodeId("/Node/Force", index))
            allowed = await node.read_attribute(ua.AttributeIds.UserExecutable)
            assert allowed.Value.Value is False


class FakeAlarms:
    """A source of one alarm."""

    def __init__(self) -> None:
        self.one = Condition(
            "High",
            "the level is high",
            625,
            True,
            False,
            1_700_000_000_000_000_000,
            7,
            "Main.level",
            retain=True,
        )
        self.told: Callable[[Sequence[Condition]], None] = lambda _changed: None
        self.orders: list[tuple[object, ...]] = []

    def watch(self, told: Callable[[Sequence[Condition]], None]) -> Callable[[], None]:
        self.told = told
        return lambda: None

    async def conditions(self) -> Sequence[Condition]:
        return (self.one,)

    def change(self, **more: object) -> None:
        self.one = dataclasses.replace(self.one, **more)  # type: ignore[arg-type]
        self.told((self.one,))

    async def acknowledge(self, name: str, occurrence: int, comment: str, user: str) -> str:
        self.orders.append(("acknowledge", name, occurrence, comment, user))
        self.change(acked=True, user=user, comment=comment)
        return ""

    async def confirm(self, name: str, occurrence: int, comment: str, user: str) -> str:
        return "no"

    async def comment(self, name: str, occurrence: int, comment: str, user: str) -> str:
        self.orders.append(("comment", name, comment))
        return ""

    async def shelve(self, name: str, duration_s: int, user: str) -> str:
        self.orders.append(("shelve", name, duration_s))
        return ""

    async def unshelve(self, name: str, user: str) -> str:
        self.orders.append(("unshelve", name))
        return ""


FIELDS = (
    "EventId", "EventType", "SourceName", "SourceNode", "Message", "Severity", "ConditionName", "Retain",
    "AckedState/Id", "ActiveState/Id", "ShelvingState/CurrentState", "ClientUserId", "Changes",
)  # fmt: skip


def event_filter(kind: int | None = None, severity: int = 0) -> ua.EventFilter:
    """Fields by their paths; only events of a type and above a severity."""
    made = ua.EventFilter()
    for path in FIELDS:
        clause = ua.SimpleAttributeOperand()
        clause.TypeDefinitionId = ua.NodeId(ua.ObjectIds.BaseEventType)
        clause.AttributeId = ua.AttributeIds.Value
        clause.BrowsePath = [ua.QualifiedName(name) for name in path.split("/")]
        made.SelectClauses.append(clause)
    condition = ua.SimpleAttributeOperand()
    condition.TypeDefinitionId = ua.NodeId(ua.ObjectIds.ConditionType)
    condition.AttributeId = ua.AttributeIds.NodeId
    made.SelectClauses.append(condition)
    if kind is not None:
        of_type = ua.ContentFilterElement()
        of_type.FilterOperator = ua.FilterOperator.OfType
        of_type.FilterOperands = [ua.LiteralOperand(Value=ua.Variant(ua.NodeId(kind)))]
        made.WhereClause.Elements = [of_type]
    if severity:
        both, of_type = ua.ContentFilterElement(), made.WhereClause.Elements[0]
        both.FilterOperator = ua.FilterOperator.And
        both.FilterOperands = [ua.ElementOperand(Index=1), ua.ElementOperand(Index=2)]
        above = ua.ContentFilterElement()
        above.FilterOperator = ua.FilterOperator.GreaterThanOrEqual
        above.FilterOperands = [
            made.SelectClauses[FIELDS.index("Severity")],
            ua.LiteralOperand(Value=ua.Variant(severity)),
        ]
        made.WhereClause.Elements = [both, of_type, above]
    return made


class Events:
    """A subscription to events of the Server object, raw."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.queue: asyncio.Queue[list[ua.Variant]] = asyncio.Queue()

    async def open(self, wanted: ua.EventFilter) -> int:
        parameters = ua.CreateSubscriptionParameters()
        parameters.RequestedPublishingInterval, parameters.PublishingEnabled = 50, True
        parameters.RequestedLifetimeCount, parameters.RequestedMaxKeepAliveCount = 100, 10
        made = await self._client.uaclient.create_subscription(parameters, self._hear)
        request = ua.MonitoredItemCreateRequest()
        request.ItemToMonitor.NodeId = ua.NodeId(ua.ObjectIds.Server)
        request.ItemToMonitor.AttributeId = ua.AttributeIds.EventNotifier
        request.MonitoringMode = ua.MonitoringMode.Reporting
        request.RequestedParameters.ClientHandle = 1
        request.RequestedParameters.QueueSize = 100
        request.RequestedParameters.Filter = wanted
        items = ua.CreateMonitoredItemsParameters()
        items.SubscriptionId = made.SubscriptionId
        items.ItemsToCreate = [request]
        items.TimestampsToReturn = ua.TimestampsToReturn.Both
        (result,) = await self._client.uaclient.create_monitored_items(items)
        result.StatusCode.check()
        return int(made.SubscriptionId)

    async def _hear(self, result: Any) -> None:
        for data in result.NotificationMessage.NotificationData:
            for one in getattr(data, "Events", ()):
                self.queue.put_nowait(one.EventFields)

    async def next(self) -> dict[str, Any]:
        fields = await asyncio.wait_for(self.queue.get(), 5)
        return dict(zip((*FIELDS, "ConditionId"), (one.Value for one in fields), strict=True))


async def test_alarm_when_it_changes_then_is_an_event_that_can_be_acknowledged_once(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    alarms = FakeAlarms()
    async with (
        start(FakeNode(PLANT), {"alarms": alarms}) as bench,
        connected(bench, identities["known"]) as client,
    ):
        index = await client.get_namespace_index("urn:tickwork:water")
        events = Events(client)
        number = await events.open(event_filter(ua.ObjectIds.AcknowledgeableConditionType, severity=500))
        alarms.change(severity=600, time_ns=1_700_000_001_000_000_000)
        seen = await events.next()
        assert (seen["ConditionName"], seen["Severity"], seen["SourceName"]) == ("High", 600, "Main.level")
        assert (seen["AckedState/Id"], seen["ActiveState/Id"], seen["Retain"]) == (False, True, True)
        assert seen["SourceNode"] == ua.NodeId("Main.level", index)
        assert seen["ConditionId"] == ua.NodeId("/Conditions/High", index)

        async def order(method: int, *given: ua.Variant, target: ua.NodeId = seen["ConditionId"]) -> int:
            request = ua.CallMethodRequest(target, ua.NodeId(method), list(given))
            (result,) = await client.uaclient.call([request])
            return int(result.StatusCode.value)

        acknowledge = ua.ObjectIds.AcknowledgeableConditionType_Acknowledge
        event_id = ua.Variant(seen["EventId"], ua.VariantType.ByteString)
        comment = ua.Variant(ua.LocalizedText("seen"))
        forged = ua.Variant(bytes(16), ua.VariantType.ByteString)
        assert await order(acknowledge, forged, comment) == _codes.BadEventIdUnknown
        assert await order(acknowledge, event_id) == _codes.BadArgumentsMissing
        other = ua.NodeId("/Conditions/Low", index)
        assert await order(acknowledge, event_id, comment, target=other) == _codes.BadEventIdUnknown
        assert await order(acknowledge, event_id, comment) == _codes.Good
        assert alarms.orders == [("acknowledge", "High", 7, "seen", "opcua:ann")]
        seen = await events.next()
        assert (seen["AckedState/Id"], seen["ClientUserId"]) == (True, "opcua:ann")
        assert await order(acknowledge, event_id, comment) == _codes.BadConditionBranchAlreadyAcked

        shelve = ua.ObjectIds.AlarmConditionType_ShelvingState_TimedShelve
        assert await order(shelve, ua.Variant(60_000.0)) == _codes.Good
        assert await order(shelve, ua.Variant(-1.0)) == _codes.BadShelvingTimeOutOfRange
        assert alarms.orders[-1] == ("shelve", "High", 60)

        refresh = ua.ObjectIds.ConditionType_ConditionRefresh
        kind = ua.NodeId(ua.ObjectIds.ConditionType)
        asked = ua.Variant(number, ua.VariantType.UInt32)
        assert await order(refresh, asked, target=kind) == _codes.Good
        assert (await events.next())["ConditionName"] == "High"
        nobody = ua.Variant(number + 1, ua.VariantType.UInt32)
        assert await order(refresh, nobody, target=kind) == _codes.BadSubscriptionIdInvalid


async def test_program_when_it_is_exchanged_then_node_ids_stay_and_the_change_is_an_event(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        index = await client.get_namespace_index("urn:tickwork:water")
        version = client.get_node(ua.NodeId("Main/NodeVersion", index))
        before = await version.read_value()
        events = Events(client)
        await events.open(event_filter(ua.ObjectIds.BaseModelChangeEventType))
        node.load("PROGRAM Main VAR level : REAL; count : DINT; more : INT; END_VAR END_PROGRAM")
        node.set("Main.level", 3.5)
        seen = await events.next()
        verbs = {one.Affected.Identifier: one.Verb for one in seen["Changes"]}
        assert verbs == {"Main.more": 1, "Main.name": 2, "Main": 4 | 8, "Main.count": 16}
        assert await client.get_node(ua.NodeId("Main.level", index)).read_value() == 3.5
        assert await version.read_value() != before
        with pytest.raises(ua.UaStatusCodeError):
            await client.get_node(ua.NodeId("Main.name", index)).read_value()
