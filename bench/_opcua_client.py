"""The load client of bench/opcua.py, a process of its own: the same for every server that it asks.

One JSON argument: {url, certificate, key, server_certificate, user, password, nodes, mode: "watch" | "read", seconds}.
Notifications are taken apart as columns, so that the client is never the limit; each tag counts up by one a cycle, so
that every lost value shows as a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import sys
import time
from typing import Any

import numpy as np
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

logging.getLogger("asyncua").setLevel(logging.CRITICAL)

BATCH = 1000
READ_NODES = 100
OUTSTANDING = 4
_SCALAR = {11: "<f8", 10: "<f4", 6: "<i4", 8: "<i8"}  # VariantType -> numpy
_OPTIONAL = ((2, 4), (4, 8), (16, 2), (8, 8), (32, 2))  # status, source time and picoseconds, server's


async def connect(job: dict[str, Any]) -> Client:
    client = Client(job["url"], timeout=30, watchdog_intervall=20.0)
    if job.get("certificate"):
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            job["certificate"],
            job["key"],
            server_certificate=job["server_certificate"],
        )
        client.set_user(job["user"])
        client.set_password(job["password"])
    await client.connect()
    return client


def columns(body: bytes) -> tuple[np.ndarray, np.ndarray]:
    """(client handles, values) of a DataChangeNotification whose items all have one form."""
    (count,) = struct.unpack_from("<i", body)
    if count <= 0:
        return np.empty(0, np.uint32), np.empty(0)
    mask, kind = body[8], body[9]
    code = _SCALAR[kind]
    fields = [("handle", "<u4"), ("mask", "u1"), ("kind", "u1"), ("value", code)]
    fields += [(f"more{bit}", f"V{width}") for bit, width in _OPTIONAL if mask & bit]
    rows = np.frombuffer(body, np.dtype(fields), count, 4)
    assert (rows["mask"] == mask).all() and (rows["kind"] == kind).all()
    return rows["handle"], rows["value"].astype(np.float64)


class Watch:
    """One subscription on all tags."""

    def __init__(self, client: Client, count: int) -> None:
        self._client = client
        self.last = np.full(count, np.nan)
        self.received = self.lost = self.messages = 0
        self.gaps_s: list[float] = []
        self._at_s = 0.0
        self.counting = False

    async def start(self, nodes: list[str]) -> None:
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=100.0, RequestedLifetimeCount=10_000, RequestedMaxKeepAliveCount=50,
            PublishingEnabled=True,
        )  # fmt: skip
        request = ua.CreateSubscriptionRequest(Parameters=parameters)
        data = await self._client.uaclient._send_request(request)
        made = struct_from_binary(ua.CreateSubscriptionResponse, data).Parameters
        for start in range(0, len(nodes), BATCH):
            items = ua.CreateMonitoredItemsParameters()
            items.SubscriptionId = made.SubscriptionId
            items.TimestampsToReturn = ua.TimestampsToReturn.Source
            for handle in range(start, min(start + BATCH, len(nodes))):
                items.ItemsToCreate.append(_item(handle, nodes[handle]))
            results = await self._client.uaclient.create_monitored_items(items)
            assert all(one.StatusCode.is_good() for one in results), results[0]
        self._tasks = [asyncio.create_task(self._publish()) for _ in range(3)]

    async def _publish(self) -> None:
        acknowledge: list[Any] = []
        while True:
            request = ua.PublishRequest()
            request.Parameters.SubscriptionAcknowledgements = acknowledge
            data = await self._client.uaclient._send_request(request, timeout=0)
            acknowledge = self._take(data)

    def _take(self, data: Any) -> list[Any]:
        nodeid_from_binary(data)
        struct_from_binary(ua.ResponseHeader, data)
        subscription, available = struct.unpack("<Ii", data.read(8))
        data.read(4 * max(available, 0) + 1)
        sequence, _, notifications = struct.unpack("<Iqi", data.read(16))
        for _ in range(max(notifications, 0)):
            nodeid_from_binary(data)
            (length,) = struct.unpack("<xi", data.read(5))
            self._count(*columns(data.read(length)))
        return [ua.SubscriptionAcknowledgement(SubscriptionId=subscription, SequenceNumber=sequence)]

    def _count(self, handles: np.ndarray, values: np.ndarray) -> None:
        # A message may hold several values of a tag, in time order.
        order = np.argsort(handles, kind="stable")
        handles, values = handles[order], values[order]
        first = np.concatenate([[True], handles[1:] != handles[:-1]]) if len(handles) else np.empty(0, bool)
        before = (
            np.where(first, self.last[handles], np.concatenate([[np.nan], values[:-1]]))
            if len(handles)
            else values
        )
        steps = values - before
        if self.counting:
            now_s = time.monotonic()
            self.received += len(values)
            self.lost += int(np.nansum(np.maximum(steps - 1, 0)))
            self.messages += 1
            self.gaps_s.append(now_s - self._at_s)
        self._at_s = time.monotonic()
        if len(handles):
            last = np.concatenate([handles[1:] != handles[:-1], [True]])
            self.last[handles[last]] = values[last]


def _item(handle: int, node: str) -> Any:
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor.NodeId = ua.NodeId.from_string(node)
    item.ItemToMonitor.AttributeId = ua.AttributeIds.Value
    item.MonitoringMode = ua.MonitoringMode.Reporting
    wanted = ua.MonitoringParameters()
    # Twice as often as values change: which of two clocks is ahead does not matter then.
    wanted.ClientHandle, wanted.SamplingInterval, wanted.QueueSize, wanted.DiscardOldest = (
        handle,
        50.0,
        10,
        True,
    )
    item.RequestedParameters = wanted
    return item


async def watch(job: dict[str, Any]) -> dict[str, Any]:
    clients = [await connect(job) for _ in range(job.get("clients", 1))]
    watches = [Watch(client, len(job["nodes"])) for client in clients]
    for one in watches:
        await one.start(job["nodes"])
    await asyncio.sleep(2.0)
    print(json.dumps({"ready": True}), flush=True)
    for one in watches:
        one.counting = True
    started_s = time.monotonic()
    await asyncio.sleep(job["seconds"])
    passed_s = time.monotonic() - started_s
    for one in watches:
        one.counting = False
    for client in clients:  # or the server would go on sampling for those that are gone
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.uaclient.session.close_session(True), 10)
    gaps = [gap for one in watches for gap in one.gaps_s[1:]]
    return {
        "rate": sum(one.received for one in watches) / passed_s,
        "lost": sum(one.lost for one in watches),
        "gap_p99_ms": float(np.percentile(gaps, 99)) * 1000 if gaps else float("nan"),
    }


async def read(job: dict[str, Any]) -> dict[str, Any]:
    client = await connect(job)
    bodies = []
    for start in range(0, len(job["nodes"]) - READ_NODES + 1, READ_NODES):
        parameters = ua.ReadParameters()
        for node in job["nodes"][start : start + READ_NODES]:
            one = ua.ReadValueId()
            one.NodeId, one.AttributeId = ua.NodeId.from_string(node), ua.AttributeIds.Value
            parameters.NodesToRead.append(one)
        request = ua.ReadRequest(Parameters=parameters)
        request.RequestHeader.AuthenticationToken = client.uaclient.session.authentication_token
        bodies.append(struct_to_binary(request))
    protocol, latencies, count = client.uaclient.protocol, [], 0
    print(json.dumps({"ready": True}), flush=True)
    end_s = time.monotonic() + job["seconds"]

    async def ask(number: int) -> None:
        nonlocal count
        while time.monotonic() < end_s:
            number = (number + 1) % len(bodies)
            sent_s = time.perf_counter()
            protocol._request_id += 1
            future = asyncio.get_running_loop().create_future()
            protocol._callbackmap[protocol._request_id] = future
            protocol.transport.write(
                protocol._connection.message_to_binary(bodies[number], request_id=protocol._request_id)
            )
            answer = await future
            assert len(answer) > READ_NODES * 9
            latencies.append(time.perf_counter() - sent_s)
            count += READ_NODES

    await asyncio.gather(*(ask(10 * index) for index in range(OUTSTANDING)))
    return {"rate": count / job["seconds"], "p99_ms": float(np.percentile(latencies, 99)) * 1000}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if isinstance(given["nodes"], str):  # "prefix{}suffix count"
        form, number = given["nodes"].rsplit(" ", 1)
        given["nodes"] = [form.format(index) for index in range(int(number))]
    print(json.dumps(asyncio.run({"watch": watch, "read": read}[given["mode"]](given))), flush=True)
    import os

    os._exit(0)  # the library's tasks have nothing more to say
