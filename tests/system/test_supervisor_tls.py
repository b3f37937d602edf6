"""A supervisor beyond this machine: TLS or nothing, and what a bad certificate says."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scan.problem import TickworkError
from supervisor import Settings, serve
from supervisor.guard import COOKIE_TLS
from tests.supervisor.conftest import ADMIN, running

pytestmark = pytest.mark.system
PASSWORD = "four green valves open"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "supervisor")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return tmp_path / "cert.pem", tmp_path / "key.pem"


async def test_tls_when_served_then_secure_cookie_and_strict_transport(tmp_path, certificate):
    cert, key = certificate
    async with running(tmp_path / "data", certificate=cert, private_key=key) as supervisor:
        context = ssl.create_default_context(cafile=str(cert))
        async with httpx.AsyncClient(
            base_url=supervisor.url.replace("http", "https"), verify=context
        ) as client:
            assert (await client.get("/livez")).headers["strict-transport-security"]
            token = await supervisor.parts.people.make_setup_token()
            login = await supervisor.services.people.claim(token, "mara", PASSWORD, address="")
            client.cookies.set(COOKIE_TLS, login.token)
            assert (await client.get("/api/v1/about")).json()["tls"] is True
            entries = await supervisor.services.audit.entries(ADMIN, action="user.login")
            assert entries[0].actor == "mara"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"host": "0.0.0.0"}, "SV5005"),
        ({"certificate": Path("/nothing.pem"), "private_key": Path("/nothing.key")}, "SV5004"),
        ({"data_dir": Path("/proc/nothing")}, "SV5003"),
        ({"host": "203.0.113.9", "allow_plain": True}, "SV5001"),
    ],
)
def test_serve_when_it_cannot_start_then_code_and_remedy(tmp_path, options, code):
    settings = Settings(**{"data_dir": tmp_path / "data", "port": 0} | options)
    with pytest.raises(TickworkError) as error:
        serve(settings)
    assert error.value.code == code
    assert error.value.problems[0].remedy


async def test_log_when_requests_are_made_then_lines_without_secrets(tmp_path):
    from supervisor.log import start_logging, stop_logging

    handler = start_logging(tmp_path)
    try:
        async with running(tmp_path / "data") as supervisor:
            http = await supervisor.http()
            secret = http.headers["authorization"].split()[1]
            await http.get("/api/v1/events", params={"kind": "private"})
            await supervisor.anonymous().get("/api/v1/about")
    finally:
        stop_logging(handler)
    text = (tmp_path / "log" / "supervisor.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    access = [line for line in lines if line["logger"].endswith("access")]
    assert [(line["path"], line["status"], line["who"]) for line in access] == [
        ("/api/v1/events", 200, "key admin key"), ("/api/v1/about", 401, ""),
    ]  # fmt: skip
    assert secret not in text
    assert "private" not in text
