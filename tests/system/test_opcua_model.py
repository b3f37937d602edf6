"""The model, methods, alarms and history of the OPC UA server, seen by a client of another stack."""

import asyncio
import json
import pathlib
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from drivers.opcua.certificates import CertificateFiles
from tests.drivers.opcua.conftest import Bench, identities, quick_standard_nodes, start, user_file
from tests.drivers.opcua.fake_node import FakeNode
from tests.drivers.opcua.test_methods import FakeAlarms
from tests.drivers.opcua.test_space import PLANT

__all__ = ["identities", "quick_standard_nodes", "start", "user_file"]  # fixtures

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
PEER = pathlib.Path(__file__).parent / "opcua_peer" / "model.mjs"

Start = Callable[..., AbstractAsyncContextManager[Bench]]


def _job(bench: Bench, client: CertificateFiles, folder: pathlib.Path) -> str:
    pem = folder / "peer.pem"
    certificate = x509.load_der_x509_certificate(client.certificate.read_bytes())
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return json.dumps(
        {
            "url": bench.url,
            "certificate": str(pem),
            "key": str(client.key),
            "pki": str(folder / "pki"),
            "applicationUri": f"urn:{socket.gethostname()}:tickwork:{client.certificate.parent.name}",
            "user": "eva",
            "password": "secret",
            "namespace": "urn:tickwork:water",
        }
    )


async def test_model_when_used_by_another_stack_then_is_understood(
    start: Start, identities: dict[str, CertificateFiles], tmp_path: pathlib.Path
) -> None:
    node, alarms = FakeNode(PLANT), FakeAlarms()
    for path, value in (
        ("line.a.x", 1.5),
        ("line.a.n", [1, 2, 3, 4]),
        ("line.mode", 2),
        ("line.name", "north"),
    ):
        node.set(f"Main.{path}", value)
    node.set("Main.line.ends[2].y", -2.0)
    node.set("Main.lines[2].y", 4.0)
    async with start(node, {"alarms": alarms}, history=("Main.pressure",), history_ms=100) as bench:
        process = await asyncio.create_subprocess_exec(
            "node", str(PEER), _job(bench, identities["known"], tmp_path),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        async with asyncio.timeout(60):
            while (line := (await process.stdout.readline()).decode().strip()) not in ("listening", ""):
                pass
        assert line == "listening", (await process.stderr.read()).decode()[-2000:]
        alarms.change(severity=700, time_ns=alarms.one.time_ns + 1)
        out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()[-2000:]
    seen = json.loads(next(line for line in out.decode().splitlines() if line.startswith("{")))
    assert seen["path"] == ["ns=2;s=Main"]
    assert seen["line"] == {"x": 1.5, "n": [1, 2, 3, 4], "ends": [0, -2], "mode": 2, "name": "north"}
    assert seen["lines"] == [0, 4]
    assert seen["mode"] == [1, "Int32"]
    assert seen["grid"] == {"values": [1, 2, 3, 4, 5, 6], "dimensions": [2, 3]}
    assert seen["written"] == "Good"
    assert seen["calls"] == ["Good", "BadArgumentsMissing"]
    assert seen["alarm"] == {"message": "the level is high", "severity": 700, "acked": False}
    assert seen["acknowledged"] == "Good"
    assert alarms.orders == [("acknowledge", "High", 7, "seen by a peer", "opcua:eva")]
    assert seen["history"] is True
    assert seen["average"] == pytest.approx(2.5)
    ((written, _user),) = bench.writes
    values = {symbol.path: value for symbol, value in written.items()}
    assert (values["Main.line.a.x"], values["Main.line.name"]) == (7.5, "other")
