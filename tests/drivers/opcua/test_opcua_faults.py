"""Damaged frames, clients that come and go or never ask, clocks that jump: others are served as if nothing were."""

import asyncio
import contextlib
import datetime
import gc
import random
import struct
import time
import types

import psutil
import pytest
from asyncua import Client, ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.ua.ua_binary import struct_to_binary, uatcp_to_binary

from drivers.opcua import certificates
from drivers.opcua.certificates import CertificateFiles

from .conftest import Bench, Start, connected

Identities = dict[str, CertificateFiles]
REFUSED = (ua.UaError, OSError, TimeoutError, asyncio.TimeoutError)
GROWTH_MB_MAX = 20
P99_S_MAX = 0.2


def frames(url: str) -> list[bytes]:
    """What a client without security sends: hello, channel, endpoints, session, read."""
    line = SecureConnection(SecurityPolicyNone(), TransportLimits())
    hello = ua.Hello(EndpointUrl=url)
    channel = ua.OpenSecureChannelRequest()
    channel.Parameters.RequestedLifetime = 60_000
    found = [
        uatcp_to_binary(ua.MessageType.Hello, hello),
        line.message_to_binary(struct_to_binary(channel), ua.MessageType.SecureOpen, 1),
    ]
    requests = (
        ua.GetEndpointsRequest(),
        ua.FindServersRequest(),
        ua.CreateSessionRequest(),
        ua.ActivateSessionRequest(),
        ua.ReadRequest(),
    )
    found += [
        line.message_to_binary(struct_to_binary(one), request_id=2 + n) for n, one in enumerate(requests)
    ]
    return found


def damaged(good: list[bytes], source: random.Random) -> bytes:
    """Frames in order with some of their bytes changed, cut, repeated or announced longer than they are."""
    chosen = [bytearray(frame) for frame in good[: source.randint(1, len(good))]]
    for frame in chosen[-2:]:
        for _ in range(source.randint(0, 6)):
            frame[source.randrange(len(frame))] = source.randrange(256)
        if source.random() < 0.2:
            struct.pack_into(
                "<I", frame, 4, source.choice((0, 7, len(frame) - 3, len(frame) + 50, 65_535, 2**31))
            )
        if source.random() < 0.2:
            del frame[source.randrange(len(frame)) :]
    data = b"".join(bytes(frame) for frame in chosen)
    return data * source.choice((1, 1, 1, 3)) + source.randbytes(source.choice((0, 0, 0, 500)))


async def fuzz(bench: Bench, seconds: float, seed: int) -> int:
    """Damaged conversations from many addresses until the time is over; how many."""
    source, good, count = random.Random(seed), frames(bench.url), 0
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        address = f"127.{source.randint(1, 250)}.{source.randint(0, 255)}.{source.randint(1, 254)}"
        with contextlib.suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", bench.config.port, local_addr=(address, 0)
            )
            writer.write(damaged(good, source))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(4096), source.choice((0.0, 0.002, 0.02)))
            writer.close()
            count += 1
    return count


async def measured(client: Client, task: asyncio.Task[int]) -> list[float]:
    """How long a healthy client's reads take until the task is done."""
    times: list[float] = []
    node = client.get_node(ua.ObjectIds.Server_ServerStatus_State)
    while not task.done():
        sent_s = time.monotonic()
        await node.read_value()
        times.append(time.monotonic() - sent_s)
        await asyncio.sleep(0.01)
    return sorted(times)


async def _fuzzed(bench: Bench, healthy: Client, seconds: float) -> None:
    memory = psutil.Process().memory_info
    await fuzz(bench, 0.5, 1)
    gc.collect()
    before = memory().rss
    task = asyncio.create_task(fuzz(bench, seconds, 2))
    times = await measured(healthy, task)
    assert await task > 10 * seconds
    gc.collect()
    assert (memory().rss - before) / 2**20 < GROWTH_MB_MAX
    assert times[int(len(times) * 0.99)] < P99_S_MAX


async def test_frames_when_damaged_then_a_healthy_client_does_not_notice(
    start: Start, identities: Identities
) -> None:
    async with start(insecure=True) as bench, connected(bench, identities["known"]) as healthy:
        await _fuzzed(bench, healthy, 2.0)


@pytest.mark.soak
async def test_frames_when_damaged_for_a_minute_then_memory_stays_and_a_client_is_served(
    start: Start, identities: Identities
) -> None:
    async with start(insecure=True) as bench, connected(bench, identities["known"]) as healthy:
        await _fuzzed(bench, healthy, 60.0)


async def come_and_go(bench: Bench, files: CertificateFiles, times: int) -> None:
    """Connects, subscribes and leaves: every second time in good order, else without a word."""
    for number in range(times):
        manager = connected(bench, files)
        client = await manager.__aenter__()
        parameters = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=50.0,
            RequestedLifetimeCount=3,
            RequestedMaxKeepAliveCount=1,
            PublishingEnabled=True,
        )
        await client.uaclient.create_subscription(parameters, lambda result: None)
        if number % 2:
            client.uaclient.protocol.transport.abort()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(manager.__aexit__(None, None, None), 0.5)


async def _nothing_is_left(bench: Bench) -> None:
    server = bench.server._server
    assert server is not None
    core = server.iserver
    async with asyncio.timeout(20):
        left = (core._external_sessions, core.subscription_service.subscriptions)
        while any(left) or bench.server.clients():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


async def test_clients_when_they_come_and_go_then_nothing_of_them_is_left(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        assert bench.server._server is not None
        bench.server._server.iserver.min_session_timeout_ms = 500
        bench.server._server.iserver.max_session_timeout_ms = 1000
        await come_and_go(bench, identities["known"], 6)
        await _nothing_is_left(bench)


@pytest.mark.soak
async def test_clients_when_two_hundred_reconnect_then_memory_stays(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        assert bench.server._server is not None
        bench.server._server.iserver.max_session_timeout_ms = 1000
        await come_and_go(bench, identities["known"], 20)
        gc.collect()
        before = psutil.Process().memory_info().rss
        await come_and_go(bench, identities["known"], 200)
        await _nothing_is_left(bench)
        gc.collect()
        assert (psutil.Process().memory_info().rss - before) / 2**20 < GROWTH_MB_MAX


async def test_clock_when_it_jumps_then_open_sessions_go_on_and_new_ones_follow_the_new_time(
    start: Start, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return super().now(tz) + datetime.timedelta(days=7 * 365)

    async with start() as bench, connected(bench, identities["known"]) as client:
        later = types.SimpleNamespace(datetime=Later, UTC=datetime.UTC, timedelta=datetime.timedelta)
        monkeypatch.setattr(certificates, "datetime", later)
        assert await client.get_namespace_array()
        with pytest.raises(REFUSED):  # its certificate has ended by then
            async with connected(bench, identities["other"]):
                pass
        monkeypatch.setattr(certificates, "datetime", datetime)
        async with connected(bench, identities["other"]) as other:
            assert await other.get_namespace_array()
        assert await client.get_namespace_array()
