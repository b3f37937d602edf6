"""Subscriptions as clients have them: modes, triggers, filters, republish, transfer, lifetime, ownership."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from asyncua import Client, ua

from drivers.opcua.certificates import CertificateFiles
from drivers.opcua.items import revise_sampling_ms
from tests.drivers.opcua.conftest import Bench, connected
from tests.drivers.opcua.fake_node import FakeNode

Start = Callable[..., AbstractAsyncContextManager[Bench]]
_codes = ua.StatusCodes
PLANT = """
TYPE ST_Point : STRUCT x : REAL; y : REAL; END_STRUCT; END_TYPE
PROGRAM Main
VAR
    {attribute 'low' := '0'} {attribute 'high' := '200'} level : REAL;
    count : INT; other : INT; text : STRING; row : ARRAY[0..3] OF INT; point : ST_Point;
END_VAR
END_PROGRAM
"""
REPORTING, SAMPLING, DISABLED = (
    ua.MonitoringMode.Reporting,
    ua.MonitoringMode.Sampling,
    ua.MonitoringMode.Disabled,
)


class Raw:
    """One subscription, request by request."""

    def __init__(self, client: Client, own: int) -> None:
        self.client, self.own = client, own
        self.results: asyncio.Queue[Any] = asyncio.Queue()
        self.id = 0

    async def open(self, **more: Any) -> Any:
        params = ua.CreateSubscriptionParameters()
        params.RequestedPublishingInterval, params.PublishingEnabled = 50.0, True
        params.RequestedLifetimeCount, params.RequestedMaxKeepAliveCount = 60, 20
        for name, value in more.items():
            setattr(params, name, value)
        made = await self.client.uaclient.create_subscription(params, self._hear)
        self.id = made.SubscriptionId
        return made

    async def _hear(self, result: Any) -> None:
        self.results.put_nowait(result)

    async def items(self, *names: str, mode: Any = REPORTING, **more: Any) -> list[Any]:
        requests = []
        for handle, name in enumerate(names):
            one = ua.MonitoredItemCreateRequest()
            path, _, part = name.partition("!")
            node_id = ua.NodeId(int(path)) if path.isdecimal() else ua.NodeId(f"Main.{path}", self.own)
            one.ItemToMonitor.NodeId, one.ItemToMonitor.AttributeId = node_id, ua.AttributeIds.Value
            one.ItemToMonitor.IndexRange = part or None
            one.MonitoringMode = mode
            one.RequestedParameters.ClientHandle = handle
            one.RequestedParameters.SamplingInterval, one.RequestedParameters.QueueSize = 50.0, 5
            for key, value in more.items():
                setattr(one.RequestedParameters, key, value)
            requests.append(one)
        params = ua.CreateMonitoredItemsParameters()
        params.SubscriptionId, params.ItemsToCreate = self.id, requests
        params.TimestampsToReturn = ua.TimestampsToReturn.Both
        return list(await self.client.uaclient.create_monitored_items(params))

    async def values(self, wait_s: float = 5.0) -> list[tuple[int, Any, int]]:
        """(handle, value, StatusCode) of the next message with data."""
        async with asyncio.timeout(wait_s):
            while True:
                result = await self.results.get()
                for data in result.NotificationMessage.NotificationData or ():
                    if isinstance(data, ua.DataChangeNotification):
                        return [
                            (
                                one.ClientHandle,
                                one.Value.Value.Value if one.Value.Value else None,
                                one.Value.StatusCode.value,
                            )
                            for one in data.MonitoredItems
                        ]

    async def silent(self, wait_s: float = 0.3) -> bool:
        """Whether nothing with data comes for a while."""
        try:
            await self.values(wait_s)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def subscribed(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode
) -> AsyncIterator[tuple[Raw, Bench]]:
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        raw = Raw(client, await client.get_namespace_index("urn:tickwork:water"))
        await raw.open()
        yield raw, bench


def test_sampling_when_revised_then_is_the_group_that_is_no_faster() -> None:
    assert [revise_sampling_ms(wanted, 300.0) for wanted in (0, 50, 51, 120, -1, 1e9)] == [
        50,
        50,
        100,
        250,
        500,
        5000,
    ]


async def test_items_of_all_kinds_when_they_change_then_are_reported_with_their_parts(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with subscribed(start, identities, node) as (raw, _bench):
        results = await raw.items(
            "level", "row!1:2", "point", str(ua.ObjectIds.Server_ServiceLevel), "no", "row!x"
        )
        codes = [one.StatusCode.value for one in results]
        assert codes == [0, 0, 0, 0, _codes.BadNodeIdUnknown, _codes.BadIndexRangeInvalid]
        assert (results[0].RevisedSamplingInterval, results[0].RevisedQueueSize) == (50.0, 5)
        first = {handle: value for handle, value, _ in await raw.values()}
        assert (first[0], first[1], first[3]) == (0.0, [0, 0], 255)
        assert first[2].Body == bytes(8)
        node.set("Main.row", [9, 0, 7, 0])
        assert [(handle, value) for handle, value, _ in await raw.values()] == [(1, [0, 7])]
        node.set("Main.point.y", 2.0)
        ((handle, value, _),) = await raw.values()
        assert (handle, value.Body) == (2, struct.pack("<ff", 0.0, 2.0))


async def test_mode_when_sampling_or_disabled_then_only_a_trigger_reports(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with subscribed(start, identities, node) as (raw, _bench):
        (trigger,) = await raw.items("count")
        await raw.values()
        (linked,) = await raw.items("other", mode=SAMPLING, ClientHandle=7)
        node.set("Main.other", 5)
        assert await raw.silent()
        params = ua.SetTriggeringParameters(raw.id, trigger.MonitoredItemId, [linked.MonitoredItemId, 99], [])
        request = ua.SetTriggeringRequest(Parameters=params)
        data = await raw.client.uaclient._send_request(request)
        answer = ua.ua_binary.struct_from_binary(ua.SetTriggeringResponse, data).Parameters
        assert [one.value for one in answer.AddResults] == [0, _codes.BadMonitoredItemIdInvalid]
        node.set("Main.other", 6)
        assert await raw.silent()
        node.set("Main.count", 1)
        assert sorted((handle, value) for handle, value, _ in await raw.values()) == [(0, 1), (7, 6)]
        modes = ua.SetMonitoringModeParameters(raw.id, DISABLED, [trigger.MonitoredItemId])
        await raw.client.uaclient.set_monitoring_mode(modes)
        node.set("Main.count", 2)
        assert await raw.silent()


def deadband(kind: int, value: float) -> ua.DataChangeFilter:
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue, DeadbandType=kind, DeadbandValue=value
    )


async def test_deadband_when_in_percent_then_is_of_the_range_and_from_the_last_report(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with subscribed(start, identities, node) as (raw, _bench):
        (good,) = await raw.items("level", Filter=deadband(ua.DeadbandType.Percent, 1.0))
        assert good.StatusCode.is_good()
        (no_range,) = await raw.items("count", Filter=deadband(ua.DeadbandType.Percent, 1.0))
        (a_text,) = await raw.items("text", Filter=deadband(ua.DeadbandType.Absolute, 1.0))
        (too_much,) = await raw.items("level", Filter=deadband(ua.DeadbandType.Percent, 101.0))
        codes = [one.StatusCode.value for one in (no_range, a_text, too_much)]
        assert codes == [
            _codes.BadDeadbandFilterInvalid,
            _codes.BadFilterNotAllowed,
            _codes.BadDeadbandFilterInvalid,
        ]
        await raw.values()
        node.set("Main.level", 1.5)
        assert await raw.silent()
        node.set("Main.level", 2.5)
        assert [value for _, value, _ in await raw.values()] == [2.5]


async def test_subscription_when_modified_republished_or_anothers_then_answers_as_the_standard_says(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with subscribed(start, identities, node) as (raw, bench):
        await raw.items("count")
        message = (await asyncio.wait_for(raw.results.get(), 5)).NotificationMessage
        modify = ua.ModifySubscriptionParameters(raw.id, 1.0, 1, 10, 3)
        revised = await raw.client.uaclient.update_subscription(modify)
        assert (revised.RevisedPublishingInterval, revised.RevisedLifetimeCount) == (50.0, 30)
        unknown = ua.RepublishRequest(Parameters=ua.RepublishParameters(raw.id, message.SequenceNumber + 50))
        with pytest.raises(ua.uaerrors.BadMessageNotAvailable):
            await raw.client.uaclient._send_request(unknown)
        async with connected(bench, identities["other"], "otto") as stranger:
            other = Raw(stranger, raw.own)
            other.id = raw.id
            with pytest.raises(ua.uaerrors.BadSubscriptionIdInvalid):
                await other.items("count")
            params = ua.TransferSubscriptionsParameters([raw.id, raw.id + 5], True)
            data = await stranger.uaclient._send_request(ua.TransferSubscriptionsRequest(Parameters=params))
            answer = ua.ua_binary.struct_from_binary(
                ua.TransferSubscriptionsResponse, data
            ).Parameters.Results
            assert [one.StatusCode.value for one in answer] == [
                _codes.BadUserAccessDenied,
                _codes.BadSubscriptionIdInvalid,
            ]
            (code,) = await stranger.uaclient.delete_subscriptions([raw.id])
            assert code.value == _codes.BadSubscriptionIdInvalid
        assert await raw.client.uaclient.delete_subscriptions([raw.id]) == [ua.StatusCode()]


async def test_subscription_when_its_session_is_gone_then_the_same_user_takes_it_over(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with subscribed(start, identities, node) as (raw, bench):
        await raw.items("count")
        await raw.values()
        async with connected(bench, identities["known"]) as again:
            heir = Raw(again, raw.own)
            await heir.open()
            params = ua.TransferSubscriptionsParameters([raw.id], True)
            data = await again.uaclient._send_request(ua.TransferSubscriptionsRequest(Parameters=params))
            (answer,) = ua.ua_binary.struct_from_binary(
                ua.TransferSubscriptionsResponse, data
            ).Parameters.Results
            assert answer.StatusCode.is_good()
            again.uaclient._subscription_callbacks[raw.id] = heir._hear
            seen = await heir.values()
            assert [(handle, value) for handle, value, _ in seen] == [(0, 0)]
            told = []
            while not raw.results.empty():
                told += raw.results.get_nowait().NotificationMessage.NotificationData or []
            codes = [one.Status.value for one in told if isinstance(one, ua.StatusChangeNotification)]
            assert codes == [_codes.GoodSubscriptionTransferred]


async def test_publishing_when_limited_or_idle_then_comes_in_parts_and_says_that_it_lives(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    async with start(FakeNode(PLANT)) as bench, connected(bench, identities["known"]) as client:
        raw = Raw(client, await client.get_namespace_index("urn:tickwork:water"))
        made = await raw.open(
            MaxNotificationsPerPublish=2, RequestedMaxKeepAliveCount=2, RequestedPublishingInterval=1.0
        )
        assert (made.RevisedPublishingInterval, made.RevisedMaxKeepAliveCount) == (50.0, 2)
        alive = await asyncio.wait_for(raw.results.get(), 5)
        assert (
            alive.NotificationMessage.NotificationData or [],
            alive.NotificationMessage.SequenceNumber,
        ) == ([], 1)
        await raw.items("level", "count", "other", "text", "row")
        sizes: list[int] = []
        more: list[bool] = []
        numbers: list[int] = []
        while sum(sizes) < 5:
            result = await asyncio.wait_for(raw.results.get(), 5)
            for data in result.NotificationMessage.NotificationData or ():
                sizes.append(len(data.MonitoredItems))
                more.append(result.MoreNotifications)
                numbers.append(result.NotificationMessage.SequenceNumber)
        assert (sizes, more, numbers) == ([2, 2, 1], [True, True, False], [1, 2, 3])
        off = ua.SetPublishingModeParameters(False, [raw.id, 99])
        answer = await client.uaclient.set_publishing_mode(off)
        assert [one.value for one in answer] == [0, _codes.BadSubscriptionIdInvalid]


async def test_subscription_when_its_client_is_silent_for_its_lifetime_then_is_gone(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    counter = ua.ObjectIds.Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSubscriptionCount
    async with (
        start(FakeNode(PLANT)) as bench,
        connected(bench, identities["known"]) as watcher,
        connected(bench, identities["other"]) as lost,
    ):
        raw = Raw(lost, await lost.get_namespace_index("urn:tickwork:water"))
        made = await raw.open(RequestedLifetimeCount=3, RequestedMaxKeepAliveCount=1)
        await raw.items("count")
        assert made.RevisedLifetimeCount == 3
        lost.uaclient.protocol.transport.abort()
        async with asyncio.timeout(10):
            count = watcher.get_node(ua.NodeId(counter))
            while await count.read_value() != 0:  # noqa: ASYNC110 - the server has its own clock
                await asyncio.sleep(0.1)
