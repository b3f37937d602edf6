"""A remote server seen by a person: its tree, the values of nodes, writing one, watching some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from asyncua import Client, ua
from cryptography import x509

from scan.problem import Place, fail

from .certificates import TrustList, certificate_facts, ensure_certificate, leaf_of
from .client_config import Input
from .client_link import endpoints
from .client_points import Point
from .client_services import Limits, create_items, node_ids, read_values

REFERENCES_AT_ONCE = 500
NODES_MAX = 100_000  # a tree that is deeper is cut, not followed for ever
Row = dict[str, object]


async def offered(url: str, timeout_s: float) -> list[Row]:
    """Security and user tokens of each endpoint, the strongest first. Raises TickworkError UA2001."""
    rows = []
    for one in sorted(await endpoints(url, timeout_s), key=lambda end: -end.SecurityLevel):
        rows.append(
            {
                "url": one.EndpointUrl,
                "security": one.SecurityPolicyUri.rpartition("#")[2],
                "mode": one.SecurityMode.name.rstrip("_"),
                "users": [token.TokenType.name for token in one.UserIdentityTokens],
                "application": one.Server.ApplicationUri,
                "certificate": _fingerprint(one.ServerCertificate),
            }
        )
    return rows


async def accept_server(url: str, directory: Any, timeout_s: float) -> str:
    """Trusts the certificate that the server shows now; its fingerprint."""
    for one in await endpoints(url, timeout_s):
        if one.ServerCertificate:
            files = await asyncio.to_thread(ensure_certificate, directory, "client")
            return TrustList(files.of_servers).add(leaf_of(one.ServerCertificate))
    raise fail("UA2003", "the OPC UA server shows no certificate", place=Place(url), found="none",
               remedy="the server needs a certificate for secured connections")  # fmt: skip


def _fingerprint(chain: bytes | None) -> str:
    try:
        return certificate_facts(x509.load_der_x509_certificate(leaf_of(chain or b""))).fingerprint
    except ValueError:
        return ""


async def browse(client: Client, start: str, depth: int) -> AsyncIterator[Row]:
    """The nodes below ``start``, each with its level, NodeId (namespace by URI), class, type and value."""
    uris = await client.get_namespace_array()
    (root,) = await node_ids(client, [start])
    seen = {root}
    open_ends: list[tuple[int, Any]] = [(0, root)]
    while open_ends and len(seen) < NODES_MAX:
        level, node = open_ends.pop()
        children = [one for one in await _references(client, node) if one.NodeId not in seen]
        seen.update(one.NodeId for one in children)
        values = await _values(client, children)
        for child in children:
            yield {
                "level": level,
                "name": child.BrowseName.Name,
                "node": portable(child.NodeId, uris),
                "class": child.NodeClass.name,
                **values.get(child.NodeId, {}),
            }
            if level + 1 < depth:
                open_ends.append((level + 1, child.NodeId))


async def _references(client: Client, node: Any) -> list[Any]:
    wanted = ua.BrowseDescription(
        NodeId=node, BrowseDirection=ua.BrowseDirection.Forward, IncludeSubtypes=True,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HierarchicalReferences), ResultMask=63,
    )  # fmt: skip
    parameters = ua.BrowseParameters(NodesToBrowse=[wanted], RequestedMaxReferencesPerNode=REFERENCES_AT_ONCE)
    (result,) = await client.uaclient.browse(parameters)
    result.StatusCode.check()
    found = list(result.References)
    while result.ContinuationPoint:
        following = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
        (result,) = await client.uaclient.browse_next(following)
        found += result.References
    here = [one for one in found if not getattr(one.NodeId, "ServerIndex", 0)]
    for one in here:  # with or without a namespace URI of its own, one node is one node
        one.NodeId = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex, one.NodeId.NodeIdType)
    return here


async def _values(client: Client, children: Sequence[Any]) -> dict[Any, Row]:
    ids = [one.NodeId for one in children if one.NodeClass == ua.NodeClass.Variable]
    values = await read_values(client, ids, Limits()) if ids else []
    return {node: row(value) for node, value in zip(ids, values, strict=True)}


def row(value: Any) -> Row:
    """Type, value, status and time of a DataValue for people."""
    variant = value.Value
    moment = value.SourceTimestamp or value.ServerTimestamp
    return {
        "type": variant.VariantType.name if variant is not None and variant.Value is not None else "",
        "value": None if variant is None else variant.Value,
        "status": value.StatusCode.name if value.StatusCode is not None else "Good",
        "time": moment.isoformat() if moment is not None else "",
    }


def portable(node: Any, uris: Sequence[str]) -> str:
    """A NodeId as a plant file takes it: the namespace by its URI, which outlives a restart of the server."""
    text = str(node.to_string())
    index = node.NamespaceIndex
    if not 0 < index < len(uris):
        return text
    return f"nsu={uris[index]};{text.partition(';')[2]}"


async def read(client: Client, nodes: Sequence[str]) -> list[Row]:
    values = await read_values(client, await node_ids(client, nodes), Limits())
    return [{"node": node} | row(value) for node, value in zip(nodes, values, strict=True)]


async def write(client: Client, node: str, text: str) -> Row:
    """Writes ``text`` as the node's data type has it, and reads it back. Raises TickworkError UA2005 if refused."""
    (target,) = await node_ids(client, [node])
    try:
        kind = await client.get_node(target).read_data_type_as_variant_type()
        variant = ua.Variant(_parse(text, kind), kind)
        parameters = ua.WriteParameters()
        parameters.NodesToWrite = [
            ua.WriteValue(NodeId=target, AttributeId=ua.AttributeIds.Value, Value=ua.DataValue(variant))
        ]
        (code,) = await client.uaclient.write(parameters)
        code.check()
    except (ua.UaError, ValueError) as error:
        found = ua.StatusCode(error.code).name if isinstance(error, ua.UaStatusCodeError) else str(error)
        raise fail("UA2005", f"{node} cannot be written", place=Place(node), expected="a value that the node takes",
                   found=found, remedy="see its type and access with `tickwork opcua read`") from error  # fmt: skip
    return (await read(client, [node]))[0]


def _parse(text: str, kind: Any) -> object:
    kinds = ua.VariantType
    if kind == kinds.Boolean:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() in ("true", "1")
    if kind in (kinds.Float, kinds.Double):
        return float(text)
    if kind == kinds.String:
        return text
    if kinds.SByte.value <= kind.value <= kinds.UInt64.value:
        return int(text, 0)
    raise ValueError(f"values of type {kind.name} are not written from the command line")


async def watch(client: Client, nodes: Sequence[str], interval_ms: float) -> AsyncIterator[Row]:
    """Values as the server reports them, until the caller has seen enough."""
    queue: asyncio.Queue[Row] = asyncio.Queue()

    def published(result: Any) -> None:
        for data in result.NotificationMessage.NotificationData or ():
            for item in data.MonitoredItems if isinstance(data, ua.DataChangeNotification) else ():
                queue.put_nowait({"node": nodes[item.ClientHandle]} | row(item.Value))

    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval_ms, RequestedLifetimeCount=300, RequestedMaxKeepAliveCount=10,
        PublishingEnabled=True,
    )  # fmt: skip
    made = await client.uaclient.create_subscription(parameters, published)
    inputs = [Input(node, Point("", 0, 0), interval_ms, 0) for node in nodes]
    results = await create_items(client, made.SubscriptionId, inputs, await node_ids(client, nodes), Limits())
    for node, result in zip(nodes, results, strict=True):
        if not result.StatusCode.is_good():
            raise fail("UA2005", f"{node} cannot be watched", place=Place(node), found=result.StatusCode.name,
                       expected="a variable", remedy="see `tickwork opcua browse URL`")  # fmt: skip
    while True:
        yield await queue.get()
