"""What a stranger, a wrong password and a stolen token get: nothing."""

import asyncio
import contextlib
import struct

import pytest
from asyncua import Client, ua

from drivers.opcua.certificates import CertificateFiles

from .conftest import Bench, Start, connected

Identities = dict[str, CertificateFiles]
REFUSED = (ua.UaError, ConnectionError, TimeoutError, asyncio.TimeoutError)


async def test_client_when_trusted_with_password_then_is_served(start: Start, identities: Identities) -> None:
    async with start() as bench, connected(bench, identities["known"]) as client:
        state = await client.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
        assert state == ua.ServerState.Running
        assert len(bench.server.clients()) == 1


async def test_certificate_when_unknown_then_is_refused_and_kept_for_approval(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        with pytest.raises(REFUSED):
            async with connected(bench, identities["stranger"]):
                pass
        assert len(list((bench.config.directory / "rejected").iterdir())) == 1


async def test_certificate_when_moved_to_trusted_then_is_accepted_at_once(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        with pytest.raises(REFUSED):
            async with connected(bench, identities["stranger"]):
                pass
        (rejected,) = (bench.config.directory / "rejected").iterdir()
        rejected.rename(bench.config.directory / "trusted" / rejected.name)
        async with connected(bench, identities["stranger"]) as client:
            assert await client.get_namespace_array()


@pytest.mark.parametrize(
    ("user", "password"), [("ann", "wrong"), ("nobody", "secret"), ("admin", "any"), (None, "")]
)
async def test_session_when_user_is_not_known_then_is_refused(
    start: Start, identities: Identities, user: str | None, password: str
) -> None:
    async with start() as bench:
        with pytest.raises(REFUSED):
            async with connected(bench, identities["known"], user, password):
                pass


async def test_policy_none_when_not_asked_for_then_is_no_endpoint(start: Start) -> None:
    async with start() as bench:
        with pytest.raises(REFUSED):
            async with Client(bench.url, timeout=5):
                pass


async def test_policy_none_when_opted_in_then_anonymous_reads(start: Start) -> None:
    async with start(insecure=True, anonymous=True) as bench, Client(bench.url, timeout=5) as client:
        assert (
            await client.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
            == ua.ServerState.Running
        )


async def test_token_when_it_belongs_to_another_session_then_requests_are_refused(
    start: Start, identities: Identities
) -> None:
    async with start() as bench, connected(bench, identities["known"]) as victim:
        async with connected(bench, identities["other"], "otto") as thief:
            thief.uaclient.protocol.authentication_token = victim.uaclient.protocol.authentication_token
            with pytest.raises(ua.UaError):
                await thief.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
            thief.uaclient.protocol.authentication_token = ua.NodeId(1001)
            with pytest.raises(ua.UaError):
                await thief.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
        assert (
            await victim.get_node(ua.ObjectIds.Server_ServerStatus_State).read_value()
            == ua.ServerState.Running
        )


async def test_tokens_when_sessions_are_made_then_are_long_and_unlike(
    start: Start, identities: Identities
) -> None:
    async with (
        start() as bench,
        connected(bench, identities["known"]) as one,
        connected(bench, identities["other"]) as two,
    ):
        tokens = [client.uaclient.protocol.authentication_token.Identifier for client in (one, two)]
    assert all(isinstance(token, bytes) and len(token) == 32 for token in tokens)
    assert tokens[0] != tokens[1]


@pytest.mark.parametrize("size", [0, 7, 65_536, 2**32 - 1])
async def test_chunk_when_its_announced_size_is_impossible_then_the_connection_ends(
    start: Start, size: int
) -> None:
    async with start() as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.config.port)
        writer.write(struct.pack("<3scI", b"HEL", b"F", size) + bytes(1000))
        with contextlib.suppress(ConnectionResetError):
            assert (await asyncio.wait_for(reader.read(), 5))[:3] in (b"", b"ERR")
        writer.close()
        assert await _still_serves(bench)


async def _still_serves(bench: Bench) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.config.port)
    url = bench.url.encode()
    body = struct.pack("<IIIIII", 0, 65535, 65535, 0, 0, len(url)) + url
    writer.write(struct.pack("<3scI", b"HEL", b"F", 8 + len(body)) + body)
    answer = await asyncio.wait_for(reader.readexactly(8), 5)
    writer.close()
    return answer[:3] == b"ACK"
