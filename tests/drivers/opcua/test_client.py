"""The client driver against a real server of another author: values, qualities, writes, losses and returns."""

import asyncio
import contextlib
import datetime
import pathlib
import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole

from drivers.opcua import client_session
from drivers.opcua.certificates import CertificateFiles, TrustList
from drivers.opcua.client_config import parse_device
from drivers.opcua.client_session import RemoteSession
from scan.quality import (
    BAD_NO_COMMUNICATION,
    BAD_SENSOR_FAILURE,
    GOOD,
    GOOD_LOCAL_OVERRIDE,
    UNCERTAIN_LAST_USABLE,
)

from .conftest import free_port

Identities = dict[str, CertificateFiles]
URI = "urn:maker:boiler"
TIME = datetime.datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=datetime.UTC)


class Image:
    """The image that the field process would publish."""

    def __init__(self, size: int, rows: int) -> None:
        self.image = np.zeros(size, np.uint8)
        self.quality = np.zeros(rows, np.uint16)
        self.times = np.zeros(rows, np.int64)

    def changed(self) -> None:
        pass

    def real(self, offset: int) -> float:
        return float(self.image[offset : offset + 4].view("<f4")[0])


class _Users:
    def get_user(
        self, iserver: object, username: str | None = None, password: str = "", certificate: object = None
    ) -> User | None:
        return User(UserRole.User, username) if (username, password) == ("plc", "a long secret") else None


@contextlib.asynccontextmanager
async def boiler(port: int, own: CertificateFiles | None = None) -> AsyncIterator[Server]:
    """A server with a few nodes; secured, with a user, when it has a certificate."""
    server = Server(user_manager=_Users() if own else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/boiler")
    if own is None:
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    else:
        server.set_security_policy([ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt])
        server.set_identity_tokens([ua.UserNameIdentityToken])
        await server.load_certificate(own.certificate)
        await server.load_private_key(own.key)
    index = await server.register_namespace(URI)
    for name, value, kind in (
        ("Level", 1.5, ua.VariantType.Double), ("Run", True, ua.VariantType.Boolean),
        ("Name", "K1", ua.VariantType.String), ("Speeds", [1, 2, 3], ua.VariantType.Int16),
        ("Setpoint", 0, ua.VariantType.Int16), ("Gain", 0.0, ua.VariantType.Float),
    ):  # fmt: skip
        node = await server.nodes.objects.add_variable(ua.NodeId(name, index), name, value, kind)
        await node.set_writable()
    async with server:
        yield server


def node(server: Server, name: str) -> Any:
    return server.get_node(ua.NodeId(name, 2))


def device(port: int, points: list[dict[str, object]], **options: object) -> Any:
    table = {
        "name": "boiler", "protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/boiler", "security": "None",
        "publishing_ms": 20, "point": points,
    }  # fmt: skip
    return parse_device(table | options)


@contextlib.asynccontextmanager
async def at_work(wanted: Any, folder: pathlib.Path) -> AsyncIterator[tuple[RemoteSession, Image, list[str]]]:
    image = Image(64, len(wanted.inputs))
    states: list[str] = []
    session = RemoteSession(
        wanted, image, folder / "opcua", on_state=lambda name, state, why: states.append(f"{state}: {why}")
    )
    session.start()
    try:
        yield session, image, states
    finally:
        await session.stop()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


LEVEL = {"name": "level", "node": f"nsu={URI};s=Level", "to": "%ID0", "as": "REAL"}
SETPOINT = {"name": "setpoint", "node": "ns=2;s=Setpoint", "from": "%QW0", "as": "INT"}


async def test_inputs_when_subscribed_then_have_value_quality_and_source_time(tmp_path: pathlib.Path) -> None:
    port = free_port()
    wanted = device(
        port,
        [
            LEVEL | {"scale": 10.0, "offset": 1.0},
            {"name": "run", "node": "ns=2;s=Run", "to": "%IX4.3"},
            {"name": "name", "node": "ns=2;s=Name", "to": "%IB8", "as": "STRING", "length": 6},
            {"name": "speeds", "node": "ns=2;s=Speeds", "to": "%IW8", "as": "INT", "count": 3},
            {"name": "second", "node": "ns=2;s=Speeds", "to": "%IW11", "as": "UINT", "index": 1},
            {"name": "mismatch", "node": "ns=2;s=Name", "to": "%IW12", "as": "INT"},
            {"name": "gone", "node": "ns=2;s=Gone", "to": "%IW13", "as": "INT", "substitute": 77},
        ],
        status="%IX5.0",
    )
    async with boiler(port) as server, at_work(wanted, tmp_path) as (session, image, _):
        await until(lambda: session.state == "online" and image.quality[0] == GOOD)
        assert image.real(0) == 16.0
        assert image.image[4] == 0b1000
        assert image.image[5] == 1
        assert bytes(image.image[8:15]) == b"K1\0\0\0\0\0"
        assert image.image[16:24].view("<i2").tolist() == [1, 2, 3, 2]
        assert image.quality.tolist() == [0, 0, 0, 0, 0, 0, 0, 0x8074, 0x8034, 0]
        assert image.image[26:28].view("<i2") == 77
        forced = ua.StatusCode(ua.StatusCodes.GoodLocalOverride)
        await node(server, "Level").write_value(ua.DataValue(ua.Variant(2.5), forced, SourceTimestamp=TIME))
        await until(lambda: image.real(0) == 26.0)
        assert image.quality[0] == GOOD_LOCAL_OVERRIDE
        assert image.times[0] == int(TIME.timestamp() * 1000) * 1_000_000
        broken = ua.DataValue(ua.Variant(None), ua.StatusCode(ua.StatusCodes.BadSensorFailure))
        await server.write_attribute_value(node(server, "Level").nodeid, broken)
        await until(lambda: image.quality[0] == BAD_SENSOR_FAILURE)
        assert image.real(0) == 26.0, "the last value stays, marked"


async def test_outputs_when_they_differ_then_are_written_confirmed_and_safe_at_the_end(
    tmp_path: pathlib.Path,
) -> None:
    port = free_port()
    wanted = device(
        port,
        [
            SETPOINT | {"safe": -5, "verify": "read-back"},
            {"name": "gain", "node": "ns=2;s=Gain", "from": "%QL1", "as": "LREAL", "verify": "read-back"},
            {"name": "element", "node": "ns=2;s=Speeds", "from": "%QW8", "as": "INT", "index": 2},
            {"name": "wrong", "node": "ns=2;s=Gone", "from": "%QW9", "as": "INT"},
        ],
    )
    image = bytearray(20)
    image[0:2] = (1234).to_bytes(2, "little")
    image[8:16] = np.float64(0.1).tobytes()
    async with boiler(port) as server, at_work(wanted, tmp_path) as (session, _, states):
        await until(lambda: session.state == "online")
        session.follow(bytes(image), live=True)
        await until(lambda: session.figures.writes >= 2)
        assert await node(server, "Setpoint").read_value() == 1234
        assert await node(server, "Gain").read_value() == pytest.approx(0.1, abs=1e-7)
        assert not session.settled, "a node that is not there cannot be confirmed"
        assert sum(session.outputs.refusals.values()) >= 1
        assert session.state == "online", "one refused output does not take the others down"
        assert [state for state in states if "offline" in state] == []
        session.follow(bytes(20), live=False)
        async with asyncio.timeout(5):
            while await node(server, "Setpoint").read_value() != -5:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        await until(lambda: session.settled)
        assert await node(server, "Gain").read_value() == pytest.approx(0.1, abs=1e-7), "no safe value: held"


async def test_server_when_gone_and_back_then_inputs_are_bad_meanwhile_and_all_recovers(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "BACKOFF_MIN_S", 0.05)
    port = free_port()
    wanted = device(port, [LEVEL, SETPOINT], status="%IX5.0")
    async with at_work(wanted, tmp_path) as (session, image, states):
        async with boiler(port):
            await until(lambda: session.state == "online" and image.real(0) == 1.5)
            session.follow((7).to_bytes(2, "little"), live=True)
            await until(lambda: session.settled)
        await until(lambda: session.state == "offline")
        assert image.quality[0] == BAD_NO_COMMUNICATION
        assert image.image[5] == 0
        assert image.real(0) == 1.5
        async with boiler(port) as server:
            await node(server, "Level").write_value(9.25)
            await until(lambda: image.real(0) == 9.25 and session.state == "online")
            assert image.quality[0] == GOOD
            session.follow((7).to_bytes(2, "little"), live=True)
            await until(lambda: session.settled)
            assert await node(server, "Setpoint").read_value() == 7, (
                "what the new server holds is not known: written anew"
            )
        assert session.figures.as_dict()["reconnects"] == 1
        assert states.count("online: boiler answers") == 2


async def test_server_when_it_has_no_room_for_subscriptions_then_is_polled(tmp_path: pathlib.Path) -> None:
    port = free_port()
    wanted = device(port, [LEVEL], sampling_ms=20)
    async with boiler(port) as server:
        server.iserver.max_subscriptions = 0
        async with at_work(wanted, tmp_path) as (session, image, _):
            await until(lambda: image.real(0) == 1.5)
            await node(server, "Level").write_value(3.0)
            await until(lambda: image.real(0) == 3.0)
            assert image.quality[0] == GOOD
            assert "no subscription" in session.figures.last_error


async def test_server_when_silent_then_values_become_uncertain_and_it_is_asked_anew(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "KEEP_ALIVE_MS", 60)
    monkeypatch.setattr(client_session, "WATCH_S", 0.02)
    port, near = free_port(), free_port()
    wanted = device(near, [LEVEL], timeout_ms=20_000)
    qualities: set[int] = set()
    async with (
        boiler(port),
        _valve(near, port) as valve,
        at_work(wanted, tmp_path) as (session, image, states),
    ):
        await until(lambda: image.quality[0] == GOOD)
        valve.clear()  # the cable is cut: nothing comes, nothing ends
        await until(lambda: qualities.add(int(image.quality[0])) or "offline" in " ".join(states))
        assert UNCERTAIN_LAST_USABLE in qualities
        assert any("has sent nothing" in state for state in states)
        valve.set()
        await until(lambda: session.state == "online" and image.quality[0] == GOOD)


@contextlib.asynccontextmanager
async def _valve(near: int, far: int) -> AsyncIterator[asyncio.Event]:
    """A line between two ports that passes bytes while the event is set."""
    is_open = asyncio.Event()
    is_open.set()
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await is_open.wait()
                writer.write(data)
        writer.close()

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", far)
        writers.extend((writer, other_writer))
        for one in (passing(reader, other_writer), passing(other_reader, writer)):
            tasks.add(asyncio.create_task(one))

    server = await asyncio.start_server(joined, "127.0.0.1", near)
    try:
        yield is_open
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_secured_server_when_unknown_then_is_kept_for_approval_and_then_used(
    tmp_path: pathlib.Path, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_session, "BACKOFF_MIN_S", 0.05)
    port = free_port()
    shutil.copytree(identities["known"].certificate.parent, tmp_path / "opcua")
    (tmp_path / "password").write_text("a long secret\n")
    wanted = device(
        port, [LEVEL], security="Aes256_Sha256_RsaPss", user="plc", password_file=str(tmp_path / "password")
    )
    files = CertificateFiles(
        tmp_path / "opcua" / "own.der", tmp_path / "opcua" / "own.pem", tmp_path / "x", tmp_path / "y"
    )
    async with boiler(port, identities["server"]), at_work(wanted, tmp_path) as (session, image, states):
        await until(lambda: session.state == "offline")
        assert "is not trusted" in states[-1]
        ((kind, certificate),) = TrustList(files.of_servers).entries()
        assert kind == "rejected"
        assert TrustList(files.of_servers).approve(
            certificate.fingerprint(certificate.signature_hash_algorithm).hex()[:12]
        )
        await until(lambda: session.state == "online" and image.real(0) == 1.5)
        (tmp_path / "password").write_text("another\n")
    async with boiler(port, identities["server"]), at_work(wanted, tmp_path) as (session, image, states):
        await until(lambda: session.state == "offline")
        assert "refuses us: BadUserAccessDenied" in states[-1]
