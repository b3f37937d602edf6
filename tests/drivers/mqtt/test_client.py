"""The connection: transports, TLS, users, several brokers; brokers that are slow, gone, hostile or not there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drivers.mqtt import Broker, Connection, Will
from drivers.mqtt.client import MqttClient
from tests.drivers.mqtt.broker import Mosquitto, free_port, running, until
from tests.drivers.mqtt.conftest import Peer, connection_to, peer_of


class Authority:
    """Makes certificates for this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._write("ca", self._name, self._key, authority=True)

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._write(name, subject, key, authority=False)
        file = self._folder / f"{name}.key"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, file

    def _write(self, name: str, subject: x509.Name, key: Any, *, authority: bool) -> Path:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        file = self._folder / f"{name}.pem"
        signed = builder.sign(self._key, hashes.SHA256())
        file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return file


async def echoes(connection: Connection) -> None:
    """A message goes to the broker and comes back."""
    async with peer_of(connection, "echo/#") as peer:
        peer.client.publish("echo/x", b"hello", qos=1)
        await until(lambda: peer.payloads("echo/x") == [b"hello"], "the echo")


async def test_client_when_tls_wants_a_certificate_then_only_with_ours(folder: Path) -> None:
    authority = Authority(folder)
    server, server_key = authority.issue("server")
    mine, my_key = authority.issue("client")
    lines = (
        f"cafile {authority.certificate}\ncertfile {server}\nkeyfile {server_key}\nrequire_certificate true\n"
        "use_identity_as_username true"
    )
    with running(folder, lines) as broker:
        good = {
            "tls": True,
            "tls_ca": str(authority.certificate),
            "tls_certificate": str(mine),
            "tls_key": str(my_key),
        }
        await echoes(connection_to(broker, "a", **good))
        await echoes(connection_to(broker, "a5", version="5", **good))
        for bad in (
            {"tls_certificate": "", "tls_key": ""},
            {"tls_ca": ""},
            {"tls_ca": str(folder / "none.pem")},
        ):
            peer = Peer(connection_to(broker, "b", **(good | bad)))
            peer.client.start()
            await until(lambda p=peer: p.problems, "refused")
            assert peer.problems[0].code in ("MQ2001", "MQ2004")
            await peer.client.stop()


async def test_client_when_a_user_is_wanted_then_the_password_of_the_file(folder: Path) -> None:
    passwords = folder / "passwords"
    command = ["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "s3cret"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    passwords.chmod(0o644)
    (folder / "right").write_text("s3cret\n")
    (folder / "wrong").write_text("guess\n")
    with running(folder, f"allow_anonymous false\npassword_file {passwords}") as broker:
        await echoes(connection_to(broker, "a", user="ann", password_file=str(folder / "right")))
        for version in ("3.1.1", "5"):
            wrong = connection_to(
                broker, "b", version=version, user="ann", password_file=str(folder / "wrong")
            )
            peer = Peer(wrong)
            peer.client.start()
            await until(lambda p=peer: p.problems, "refused")
            assert peer.problems[0].code == "MQ2002"
            assert "guess" not in peer.problems[0].render()
            await peer.client.stop()


async def test_client_when_a_broker_goes_then_the_next_one_serves(folder: Path) -> None:
    with running(folder) as first, running(folder) as second:
        brokers = tuple(Broker("127.0.0.1", port) for port in (free_port(), first.port, second.port))
        peer = Peer(Connection(brokers, "moves", backoff_min_ms=20, backoff_max_ms=50))
        peer.client.start()
        await until(lambda: peer.client.connected, "connected")
        assert peer.client.broker == first.address
        first.stop()
        await until(lambda: peer.client.connected and peer.client.broker == second.address, "the next one")
        assert [one.code for one in peer.problems] == ["MQ2001", "MQ2004"]
        await peer.client.stop()


async def test_client_when_the_broker_stands_still_then_bounded_and_noticed(folder: Path) -> None:
    with running(folder) as broker:
        peer = Peer(connection_to(broker, "slow", keepalive_s=1, waiting_max=50))
        peer.client.start()
        await until(lambda: peer.client.connected, "connected")
        broker.pause()
        loop = asyncio.get_running_loop()
        began = loop.time()
        taken = [peer.client.publish("x", b"y" * 100_000, qos=1) for _ in range(200)]
        assert sum(taken) == 50
        assert loop.time() - began < 5
        await until(lambda: peer.problems, "the silence is noticed", within_s=15)
        broker.resume()
        await until(lambda: len(peer.ups) == 2, "back", within_s=15)
        await peer.client.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x02\x00\x05",
        b"\x20\x02\x00\x00\x30\x05\x00\x03\xff\xfe\xfd",  # a topic that is no UTF-8
        b"\x20\x02\x00\x00\x30\x01\x00",  # a message shorter than its topic
        b"\x20\x02\x00\x00\x00\x00",
        b"\x20\x02\x00\x00\x90\x00",
        b"\x20\x02\x00\x00\x30\xff\xff\xff\xff\xff\x7f",  # a length of five bytes
        b"\x20\x02\x00\x00\x62\x00",
        b"\xff" * 64,
        b"",
    ],
)
async def test_client_when_the_broker_sends_rubbish_then_the_connection_is_lost_and_no_more(
    answer: bytes,
) -> None:
    calls = open_now = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls, open_now
        calls, open_now = calls + 1, open_now + 1
        with contextlib.suppress(ConnectionError):
            await reader.read(100)
            writer.write(answer)
            await writer.drain()
            writer.write_eof()
            await reader.read()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        open_now -= 1

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peer = Peer(
        Connection(
            (Broker("127.0.0.1", port),), "x", backoff_min_ms=10, backoff_max_ms=20, connect_timeout_ms=500
        )
    )
    peer.client.start()
    await until(lambda: len(peer.problems) >= 2 and calls >= 2, "lost and tried again")
    await peer.client.stop()
    await until(lambda: open_now == 0, "all closed")
    server.close()
    assert not any(payload for _, payload, _ in peer.messages)


async def test_client_when_stopped_while_it_connects_then_at_once() -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peer = Peer(Connection((Broker("127.0.0.1", port),), "x"))
    peer.client.start()
    await asyncio.sleep(0.05)
    began = asyncio.get_running_loop().time()
    await peer.client.stop()
    assert asyncio.get_running_loop().time() - began < 2
    for writer in writers:
        writer.close()
    server.close()


async def test_client_when_it_dies_without_a_word_then_the_broker_tells_its_will(broker: Mosquitto) -> None:
    async with peer_of(connection_to(broker, "watch"), "wills/#") as watch:
        client = MqttClient(
            connection_to(broker, "dies"), on_message=lambda *_: None, on_up=lambda _: None, on_down=lambda _: None,
            prepare=lambda _: Will("wills/x", b"gone", 1, False),
        )  # fmt: skip
        client.start()
        await until(lambda: client.connected, "connected")
        client._drop()
        await until(lambda: watch.payloads("wills/x") == [b"gone"], "the will")
        await client.stop()
