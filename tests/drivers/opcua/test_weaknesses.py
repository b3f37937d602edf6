"""What the library alone lets happen and this server does not: every probe runs against both.

The probes say no more than a test needs; each returns whether the stranger got what it must not get.
"""

import asyncio
import contextlib
import pathlib
import shutil
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from asyncua import Client, Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions

from drivers.opcua.certificates import CertificateFiles, application_uri
from drivers.opcua.guard import BACKOFF_S_MAX, FAILURES_FREE, Guard

from .conftest import Start, free_port

Identities = dict[str, CertificateFiles]
STATE = ua.NodeId(ua.ObjectIds.Server_ServerStatus_State)
REFUSED = (ua.UaError, OSError, TimeoutError, asyncio.TimeoutError)


@dataclass
class Target:
    url: str
    certificate: str
    identities: Identities

    async def client(self, name: str, password: str = "secret", *, channel_only: bool = False) -> Client:
        """A client with the certificate of ``name``; connected, or only its secure channel."""
        one = Client(self.url, timeout=2)
        files = self.identities[name]
        await one.set_security(
            SecurityPolicyBasic256Sha256,
            str(files.certificate),
            str(files.key),
            server_certificate=self.certificate,
        )
        one.application_uri = application_uri(name)
        one.set_user("ann")
        one.set_password(password)
        if channel_only:
            await one.connect_sessionless()
        else:
            await one.connect()
        return one


async def end(*clients: Client) -> None:
    for client in clients:
        with contextlib.suppress(Exception):
            await client.disconnect()
        client.disconnect_socket()


async def take_over_a_session(target: Target) -> bool:
    """A refused activation on another channel, then a request with the victim's token."""
    victim = await target.client("known")
    thief = await target.client("other", "wrong", channel_only=True)
    thief.uaclient.session.restore_authentication_token(victim.uaclient.session.authentication_token)
    thief._server_nonce = bytes(32)
    with contextlib.suppress(*REFUSED):
        await thief.activate_session("ann", "wrong")
    try:
        (value,) = await thief.uaclient.session.read_attributes([STATE], ua.AttributeIds.Value)
        return bool(value.StatusCode.is_good())
    except REFUSED:
        return False
    finally:
        await end(thief, victim)


async def guess_a_token(target: Target) -> bool:
    """Whether the token of the next session follows from the last one."""
    one, two = await target.client("known"), await target.client("known")
    tokens = [client.uaclient.session.authentication_token.Identifier for client in (one, two)]
    await end(one, two)
    return bool(tokens[1] == (tokens[0] + 1 if isinstance(tokens[0], int) else tokens[0]))


async def _enter_with(target: Target, shown: bytes | None) -> bool:
    """A channel of an untrusted certificate, and ``shown`` as the certificate of the session."""
    stranger = Client(target.url, timeout=2)
    files = target.identities["stranger"]
    try:
        await stranger.set_security(
            SecurityPolicyBasic256Sha256,
            str(files.certificate),
            str(files.key),
            server_certificate=target.certificate,
        )
        stranger.set_user("ann")
        stranger.set_password("secret")
        send = stranger.uaclient.create_session

        async def create(parameters: ua.CreateSessionParameters) -> ua.CreateSessionResult:
            parameters.ClientCertificate = shown
            return await send(parameters)

        stranger.uaclient.create_session = create
        await stranger.connect()
        return True
    except REFUSED:
        return False
    finally:
        await end(stranger)


async def enter_without_a_certificate(target: Target) -> bool:
    return await _enter_with(target, None)


async def enter_with_a_certificate_of_others(target: Target) -> bool:
    return await _enter_with(target, target.identities["known"].certificate.read_bytes())


async def _takes(target: Target, *, hello: bool, parts: list[bytes]) -> bool:
    """Whether a stranger's bytes are all taken without an end of the connection."""
    client = Client(target.url, timeout=2)
    await client.connect_sessionless()
    protocol = client.uaclient.protocol
    try:
        if hello:
            reader, writer = await asyncio.open_connection(*protocol.transport.get_extra_info("peername")[:2])
        else:
            token = protocol._connection.security_token
            heads = [
                struct.pack(
                    "<3scIIIII", b"MSG", b"C", 24 + len(part), token.ChannelId, token.TokenId, 2 + index, 2
                )
                for index, part in enumerate(parts)
            ]
            parts = [head + part for head, part in zip(heads, parts, strict=True)]
            for part in parts:
                protocol.transport.write(part)
            await asyncio.sleep(0)
            with contextlib.suppress(*REFUSED):
                await asyncio.wait_for(client.get_endpoints(), 1)
            return not protocol.is_closed
        writer.write(b"".join(parts))
        with contextlib.suppress(asyncio.TimeoutError):
            answer = await asyncio.wait_for(reader.read(), 1)
            writer.close()
            return answer[:3] not in (b"", b"ERR")
        writer.close()
        return True
    except OSError:
        return False
    finally:
        client.disconnect_socket()


async def announce_four_gigabytes(target: Target) -> bool:
    return await _takes(
        target, hello=True, parts=[struct.pack("<3scI", b"HEL", b"F", 2**32 - 1), bytes(100_000)]
    )


async def send_chunks_without_end(target: Target) -> bool:
    return await _takes(target, hello=False, parts=[bytes(60_000)] * 20)


async def register_a_server(target: Target) -> bool:
    client = Client(target.url, timeout=2)
    await client.connect_sessionless()
    server = ua.RegisteredServer(ServerUri="urn:stranger", ServerNames=[ua.LocalizedText("stranger")])
    try:
        await client.uaclient.register_server(server)
        return True
    except REFUSED:
        return False
    finally:
        client.disconnect_socket()


async def open_a_session_without_security(target: Target) -> bool:
    """No endpoint offers this."""
    client = Client(target.url, timeout=2)
    await client.connect_sessionless()
    try:
        parameters = ua.CreateSessionParameters(EndpointUrl=target.url, RequestedSessionTimeout=10_000.0)
        await client.uaclient.create_session(parameters)
        return True
    except REFUSED:
        return False
    finally:
        client.disconnect_socket()


def _subscription(interval_ms: float) -> ua.CreateSubscriptionParameters:
    return ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=interval_ms, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10
    )


async def take_a_subscription_of_others(target: Target) -> bool:
    owner, other = await target.client("known"), await target.client("other")
    try:
        made = await owner.uaclient.create_subscription(_subscription(100.0), lambda result: None)
        wanted = ua.TransferSubscriptionsParameters(SubscriptionIds=[made.SubscriptionId])
        (result,) = await other.uaclient.transfer_subscriptions(wanted)
        return bool(result.StatusCode.is_good())
    except REFUSED:
        return False
    finally:
        await end(other, owner)


async def publish_a_thousand_times_a_second(target: Target) -> bool:
    client = await target.client("known")
    try:
        made = await client.uaclient.create_subscription(_subscription(1.0), lambda result: None)
        return bool(made.RevisedPublishingInterval < 50)
    finally:
        await end(client)


PROBES: list[Callable[[Target], Awaitable[bool]]] = [
    take_over_a_session,
    guess_a_token,
    enter_without_a_certificate,
    enter_with_a_certificate_of_others,
    announce_four_gigabytes,
    send_chunks_without_end,
    register_a_server,
    open_a_session_without_security,
    take_a_subscription_of_others,
    publish_a_thousand_times_a_second,
]


class _Users:
    def get_user(
        self, iserver: object, username: str = "", password: str = "", certificate: object = None
    ) -> User | None:
        return User(UserRole.User, username) if (username, password) == ("ann", "secret") else None


@contextlib.asynccontextmanager
async def stock(tmp_path: pathlib.Path, identities: Identities) -> AsyncIterator[Target]:
    """The library's server with everything it has for security turned on."""
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    for name in ("known", "other"):
        shutil.copy(identities[name].certificate, trusted / f"{name}.der")
    store = TrustStore([trusted], [])
    await store.load()
    server = Server(user_manager=_Users())
    await server.init()
    url = f"opc.tcp://127.0.0.1:{free_port()}/stock"
    server.set_endpoint(url)
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_identity_tokens([ua.UserNameIdentityToken])
    server.set_certificate_validator(CertificateValidator(CertificateValidatorOptions.TRUSTED, store))
    await server.load_certificate(identities["server"].certificate)
    await server.load_private_key(identities["server"].key)
    async with server:
        yield Target(url, str(identities["server"].certificate), identities)


async def test_weaknesses_when_probed_then_are_there_in_the_library_alone(
    tmp_path: pathlib.Path, identities: Identities
) -> None:
    async with stock(tmp_path, identities) as target:
        found = {probe.__name__: await probe(target) for probe in PROBES}
    assert found == {probe.__name__: True for probe in PROBES}


async def test_weaknesses_when_probed_then_are_not_here(start: Start, identities: Identities) -> None:
    async with start() as bench:
        target = Target(bench.url, str(bench.config.directory / "own.der"), identities)
        found = {}
        for probe in PROBES:
            found[probe.__name__] = await probe(target)
            bench.guard.succeeded(
                "127.0.0.1"
            )  # each rule by itself, not the waiting time after the one before
        client = await target.client("known")  # and who may come in still can
        await end(client)
    assert found == {probe.__name__: False for probe in PROBES}


def test_guard_when_an_address_fails_often_then_waits_longer_and_is_forgiven() -> None:
    guard = Guard()
    waits = [guard.failed("10.0.0.9") for _ in range(FAILURES_FREE + 10)]
    assert waits[:FAILURES_FREE] == [0.0] * FAILURES_FREE
    assert waits[FAILURES_FREE : FAILURES_FREE + 3] == [1.0, 2.0, 4.0]
    assert waits[-1] == BACKOFF_S_MAX
    assert not guard.admits("10.0.0.9")
    assert guard.admits("10.0.0.8")
    guard.succeeded("10.0.0.9")
    assert guard.admits("10.0.0.9")
