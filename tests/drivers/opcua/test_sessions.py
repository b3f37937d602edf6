"""Sessions: users with certificates, limits, time-outs, renewal, and the address that a client is told."""

import asyncio
import contextlib
import datetime
import pathlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from asyncua import Client, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from drivers.opcua import listener, sessions
from drivers.opcua.certificates import CertificateFiles, certificate_facts, own_certificate, renew_certificate
from drivers.opcua.sessions import advertised, reachable_url
from drivers.opcua.users import UserFile

from .conftest import Bench, Start, connected

Identities = dict[str, CertificateFiles]
REFUSED = (ua.UaError, OSError, TimeoutError, asyncio.TimeoutError)


def fingerprint(files: CertificateFiles) -> str:
    return x509.load_der_x509_certificate(files.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def by_certificate(
    bench: Bench, channel: CertificateFiles, user: CertificateFiles
) -> AsyncIterator[Client]:
    client = Client(bench.url, timeout=5)
    await client.set_security(
        SecurityPolicyBasic256Sha256, str(channel.certificate), str(channel.key),
        server_certificate=str(bench.config.directory / "own.der"),
    )  # fmt: skip
    await client.load_client_certificate(str(user.certificate), "der")
    await client.load_private_key(user.key)
    async with client:
        yield client


async def test_user_when_identified_by_certificate_then_has_its_role(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        users = UserFile(bench.config.directory / "users.toml")
        users.add_certificate("petra", "engineer", fingerprint(identities["other"]))
        async with by_certificate(bench, identities["known"], identities["other"]):
            assert bench.server._server is not None
            (session,) = bench.server._server.iserver._external_sessions.values()
            assert (session.user.name, session.user.tickwork_role) == ("petra", "engineer")
        with pytest.raises(REFUSED):  # a certificate of nobody, though its channel is trusted
            async with by_certificate(bench, identities["known"], identities["stranger"]):
                pass
        users.remove("petra")
        with pytest.raises(REFUSED):
            async with by_certificate(bench, identities["known"], identities["other"]):
                pass


async def test_anonymous_when_its_channel_has_a_users_certificate_then_is_not_that_user(
    start: Start, identities: Identities
) -> None:
    async with start() as bench:
        UserFile(bench.config.directory / "users.toml").add_certificate(
            "petra", "admin", fingerprint(identities["known"])
        )
        with pytest.raises(REFUSED):
            async with connected(bench, identities["known"], None):
                pass


async def test_sessions_when_too_many_then_the_next_is_refused_and_the_others_go_on(
    start: Start, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 2)
    async with start() as bench, connected(bench, identities["known"]) as one:
        async with connected(bench, identities["known"]):
            with pytest.raises(REFUSED):
                async with connected(bench, identities["other"]):
                    pass
        assert await one.get_namespace_array()


async def test_connections_when_too_many_or_idle_then_are_ended(
    start: Start, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "ACTIVATION_S", 1.5)
    monkeypatch.setattr(listener, "LOOK_S", 0.1)
    monkeypatch.setattr(listener, "STRANGERS_MAX", 3)
    async with start() as bench, connected(bench, identities["known"]) as client:
        port = bench.config.port
        parked = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 1) == b"", "one address may not take all places"
        writer.close()
        for reader, writer in parked:
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b"", "no session in time"
            writer.close()
        assert await client.get_namespace_array(), "who has a session stays"


async def test_address_when_it_failed_often_then_waits_while_its_open_session_goes_on(
    start: Start, identities: Identities
) -> None:
    async with start() as bench, connected(bench, identities["known"]) as client:
        for _ in range(7):
            bench.guard.failed("127.0.0.1")
        with pytest.raises(REFUSED):
            async with connected(bench, identities["other"]):
                pass
        assert await client.get_namespace_array()
        bench.guard.succeeded("127.0.0.1")
        async with connected(bench, identities["other"]):
            pass


async def test_answers_when_nobody_reads_them_then_the_connection_is_cut_off(
    start: Start, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "BLOCKED_S_MAX", 0.5)
    monkeypatch.setattr(listener, "LOOK_S", 0.1)
    monkeypatch.setattr(listener, "WRITE_BUFFER_MAX", 100_000)
    request = ua.BrowseParameters()
    request.NodesToBrowse = [
        ua.BrowseDescription(NodeId=ua.NodeId(ua.ObjectIds.BaseDataType), IncludeSubtypes=True, ResultMask=63)
    ] * 50
    async with (
        start() as bench,
        connected(bench, identities["known"]) as healthy,
        connected(bench, identities["other"]) as client,
    ):
        protocol = client.uaclient.protocol
        protocol.transport.pause_reading()
        with contextlib.suppress(*REFUSED):
            for _ in range(400):
                protocol._send_request(ua.BrowseRequest(Parameters=request))
                await asyncio.sleep(0)
        await until(lambda: len(bench.server.clients()) == 1, 20)
        assert await healthy.get_namespace_array()


async def test_certificate_when_renewed_then_new_connections_see_it_and_old_ones_go_on(
    start: Start, identities: Identities
) -> None:
    async with start() as bench, connected(bench, identities["known"]) as client:
        before = certificate_facts(own_certificate(_own(bench)))
        renew_certificate(bench.config.directory, "water", days=30)
        server = bench.server._server
        assert server is not None
        await server.follow_identity()
        after = certificate_facts(own_certificate(_own(bench)))
        assert after.fingerprint != before.fingerprint
        assert (after.application_uri, after.hosts) == (before.application_uri, before.hosts)
        assert after.warning == "the OPC UA certificate ends in 29 days: run `tickwork opcua renew`"
        assert before.warning == ""
        assert await client.get_namespace_array()
        async with connected(bench, identities["other"]) as other:
            assert await other.get_namespace_array()
        assert (bench.config.directory / "own.pem").stat().st_mode & 0o077 == 0


def _own(bench: Bench) -> CertificateFiles:
    directory = bench.config.directory
    return CertificateFiles(
        directory / "own.der", directory / "own.pem", directory / "trusted", directory / "rejected"
    )


async def test_endpoints_when_asked_for_by_a_name_then_have_that_name(start: Start) -> None:
    async with start() as bench:
        port = bench.config.port
        client = Client(f"opc.tcp://localhost:{port}/tickwork", timeout=5)
        found = await client.connect_and_get_server_endpoints()
        assert {one.EndpointUrl for one in found} == {f"opc.tcp://localhost:{port}/tickwork"}
        assert len(found) == 6
        (server,) = await client.connect_and_find_servers()
        assert server.DiscoveryUrls == [f"opc.tcp://localhost:{port}/tickwork"]
        assert bench.server.endpoints() == [f"opc.tcp://127.0.0.1:{port}/tickwork"]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("opc.tcp://plant.example:14840/x", "opc.tcp://plant.example:14840/tickwork"),  # behind NAT
        ("opc.tcp://[2001:db8::7]:4840", "opc.tcp://[2001:db8::7]:4840/tickwork"),
        ("", "opc.tcp://[fe80::1]:4840/tickwork"),
        (None, "opc.tcp://[fe80::1]:4840/tickwork"),
        ("http://elsewhere/", "opc.tcp://[fe80::1]:4840/tickwork"),
        ("opc.tcp://user:secret@elsewhere:1/", "opc.tcp://[fe80::1]:4840/tickwork"),
        ("opc.tcp://[broken", "opc.tcp://[fe80::1]:4840/tickwork"),
    ],
)
def test_address_when_a_client_names_one_then_is_answered_if_it_is_one(
    asked: str | None, answer: str
) -> None:
    assert reachable_url("opc.tcp://0.0.0.0:4840/tickwork", asked, ("fe80::1", 4840, 0, 0)) == answer


def test_addresses_when_all_interfaces_are_served_then_the_host_name_comes_first() -> None:
    assert advertised("0.0.0.0", 4840)[0] == f"opc.tcp://{socket.gethostname()}:4840/tickwork"
    assert advertised("10.1.2.3", 4841) == ["opc.tcp://10.1.2.3:4841/tickwork"]


def test_certificate_when_ended_then_the_warning_says_so(tmp_path: pathlib.Path) -> None:
    files = renew_certificate(tmp_path, "water", ("plc7.example", "10.9.8.7"), days=5)
    facts = certificate_facts(own_certificate(files))
    assert facts.application_uri.endswith(":tickwork:water")
    assert {"plc7.example", "10.9.8.7", "localhost"} <= set(facts.hosts)
    assert facts.warning.startswith("the OPC UA certificate ends in 4 days")
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3)
    gone = type(facts)(facts.application_uri, facts.hosts, facts.fingerprint, ended)
    assert gone.warning == f"the OPC UA certificate ended on {ended:%Y-%m-%d}: run `tickwork opcua renew`"
