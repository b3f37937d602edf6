"""Requests to a remote server, cut to the sizes that it allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import Client, ua

from scan.problem import Place, fail

from .client_config import Input

AT_ONCE = 100  # where a server does not say: what the smallest ones take (CODESYS by default)
AT_ONCE_MAX = 1000
_URI = re.compile(r"nsu=([^;]+);(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Operation limits of a server (OPC 10000-5 §6.3.11)."""

    nodes_per_read: int = AT_ONCE
    nodes_per_write: int = AT_ONCE
    items_per_call: int = AT_ONCE

    @classmethod
    async def read(cls, client: Client) -> Limits:
        base = "Server_ServerCapabilities_OperationLimits_Max"
        names = ("NodesPerRead", "NodesPerWrite", "MonitoredItemsPerCall")
        values = await read_values(client, [ua.NodeId(getattr(ua.ObjectIds, base + n)) for n in names], cls())
        return cls(*(_limit(value) for value in values))


def _limit(value: Any) -> int:
    """0 means no limit (OPC 10000-5 §6.3.11); what is not there is a server of few words."""
    given = value.Value.Value if value.Value is not None else None
    if not isinstance(given, int) or value.StatusCode.value:
        return AT_ONCE
    return min(given, AT_ONCE_MAX) if given > 0 else AT_ONCE_MAX


async def node_ids(client: Client, texts: Sequence[str]) -> list[Any]:
    """NodeIds with the namespace indices that the server has now. Raises TickworkError UA2005 for an unknown URI."""
    uris = await client.get_namespace_array() if any(text.startswith("nsu=") for text in texts) else []
    return [node_id(text, uris) for text in texts]


def node_id(text: str, uris: Sequence[str] = ()) -> Any:
    match = _URI.fullmatch(text)
    if match is not None:
        if match[1] not in uris:
            raise fail(
                "UA2005", f"the OPC UA server has no namespace {match[1]}", place=Place(text),
                expected=", ".join(uris[1:]) or "none", found=match[1], remedy="see `tickwork opcua browse URL`",
            )  # fmt: skip
        text = f"ns={uris.index(match[1])};{match[2]}"
    try:
        return ua.NodeId.from_string(text)
    except (ua.UaError, ValueError) as error:
        raise fail("UA2005", "this is no NodeId", place=Place(text), expected="ns=2;s=Boiler.Level",
                   found=str(error)) from error  # fmt: skip


async def read_values(client: Client, ids: Sequence[Any], limits: Limits) -> list[Any]:
    """The DataValue of each node, with its source time."""
    values: list[Any] = []
    for start in range(0, len(ids), limits.nodes_per_read):
        parameters = ua.ReadParameters()
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        for one in ids[start : start + limits.nodes_per_read]:
            item = ua.ReadValueId()
            item.NodeId, item.AttributeId = one, ua.AttributeIds.Value
            parameters.NodesToRead.append(item)
        values += await client.uaclient.read(parameters)
    return values


async def create_items(
    client: Client, subscription: int, inputs: Sequence[Input], ids: Sequence[Any], limits: Limits
) -> list[Any]:
    """Monitored items whose client handle is the index of the input; their results in order."""
    results: list[Any] = []
    for start in range(0, len(inputs), limits.items_per_call):
        parameters = ua.CreateMonitoredItemsParameters()
        parameters.SubscriptionId = subscription
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        for handle in range(start, min(start + limits.items_per_call, len(inputs))):
            parameters.ItemsToCreate.append(_item(handle, inputs[handle], ids[handle]))
        results += await client.uaclient.create_monitored_items(parameters)
    return results


def _item(handle: int, one: Input, target: Any) -> Any:
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor.NodeId = target
    item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
    item.MonitoringMode = ua.MonitoringMode.Reporting
    wanted = ua.MonitoringParameters()
    wanted.ClientHandle = handle
    wanted.SamplingInterval = one.sampling_ms
    wanted.QueueSize = 1  # the image has room for the newest value only
    wanted.DiscardOldest = True
    item.RequestedParameters = wanted
    return item
