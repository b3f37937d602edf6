"""Two stacks of other makers, node-opcua and open62541 (package o6), as clients of a node and as devices that it reads.

One node does it all: its server answers both clients over every policy and mode; its field driver follows a server of
each stack and its own server.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from drivers.opcua.certificates import (
    CertificateFiles,
    TrustList,
    application_uri,
    ensure_certificate,
    files_in,
)
from drivers.opcua.users import UserFile
from runtime.cli import app
from tests.runtime.node_process import PLANT, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PEERS = pathlib.Path(__file__).parent / "opcua_peer"
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss")
COMBINATIONS = [[policy, mode] for policy in POLICIES for mode in ("Sign", "SignAndEncrypt")]
PROGRAM = """
PROGRAM Main
VAR
  nodeLevel AT %ID0 : REAL;
  openLevel AT %ID1 : REAL;
  ownCount AT %ID2 : DINT;
  online AT %IB20 : BYTE;
  toNode AT %QD0 : REAL;
  toOpen AT %QD1 : REAL;
  toOwn AT %QD2 : REAL;
  count : DINT;
  {attribute 'access' := 'rw'}
  setpoint : REAL := 1.5;
  {attribute 'access' := 'rw'}
  mirrored : REAL;
END_VAR
count := count + 1;
toNode := nodeLevel;
toOpen := openLevel;
toOwn := 42.0;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#20ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""
DEVICE = """
[[device]]
name = "{name}"
protocol = "opcua"
url = "opc.tcp://127.0.0.1:{port}{path}"
security = "{policy}"
security_mode = "{mode}"
publishing_ms = 100
status = "%IX20.{index}"
{user}
[[device.point]]
name = "in"
node = "{source}"
to = "%ID{index}"
as = "{kind}"
[[device.point]]
name = "out"
node = "{target}"
from = "%QD{index}"
as = "REAL"
verify = "{verify}"
"""


def line_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next JSON line that a peer prints; banners of their makers are passed over."""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise AssertionError(f"the peer ended: {process.args}")


@contextlib.contextmanager
def peer(program: str, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    command = (
        ["node", str(PEERS / program)] if program.endswith(".mjs") else [sys.executable, str(PEERS / program)]
    )
    process = subprocess.Popen(
        [*command, json.dumps(job)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(PEERS.parents[2] / "build" / "peers" / "o6")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
        assert process.stdout
        process.stdout.close()


def ports(count: int) -> list[int]:
    import socket

    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def devices(node_port: int, open_port: int, own_port: int, password: pathlib.Path) -> str:
    login = f'user = "ann"\npassword_file = "{password}"'
    kinds = [
        ("node", node_port, "", "Aes128_Sha256_RsaOaep", "", "s=Level", "s=Setpoint", "REAL", "read-back"),
        ("open", open_port, "", "Aes256_Sha256_RsaPss", "", "s=Level", "s=Setpoint", "REAL", "read-back"),
        (
            "own",
            own_port,
            "/tickwork",
            "Basic256Sha256",
            login,
            "s=Main.count",
            "s=Main.mirrored",
            "DINT",
            "status",
        ),
    ]
    text = ""
    for index, (name, port, path, policy, user, source, target, kind, verify) in enumerate(kinds):
        space = "nsu=urn:tickwork:tiny;" if name == "own" else "ns=1;"
        text += DEVICE.format(
            name=name, port=port, path=path, policy=policy, mode="SignAndEncrypt", user=user, index=index,
            source=space + source, target=space + target, kind=kind, verify=verify,
        )  # fmt: skip
    return text


def test_stacks_of_other_makers_when_client_or_device_then_all_policies_work(tmp_path: pathlib.Path) -> None:
    node_port, open_port, own_port = ports(3)
    state = tmp_path / "state"
    own = ensure_certificate(state / "opcua", "tiny")
    others = {name: ensure_certificate(tmp_path / name, name) for name in ("nodeopcua", "open62541")}
    for files in others.values():
        TrustList(own).add(files.certificate.read_bytes())
        TrustList(own.of_servers).add(files.certificate.read_bytes())
    for lists in (own, own.of_servers):
        TrustList(lists).add(own.certificate.read_bytes())
    UserFile(state / "opcua" / "users.toml").add("ann", "operator", "a long secret")
    (tmp_path / "password").write_text("a long secret\n")
    plant = (
        PLANT
        + devices(node_port, open_port, own_port, tmp_path / "password")
        + f"[opcua]\nport = {own_port}\n"
    )
    folder = write_plant(tmp_path / "plant", plant=plant, program=PROGRAM)
    serving = [
        ("server.mjs", _job(others["nodeopcua"], own, serve=node_port, pki=str(tmp_path / "pki"))),
        ("o6_peer.py", _job(others["open62541"], own, serve=open_port)),
    ]
    with contextlib.ExitStack() as stack:
        for program, job in serving:
            assert line_of(stack.enter_context(peer(program, job))) == {"serves": job["serve"]}
        node = stack.enter_context(NodeProcess(folder, state, tmp_path / "cache"))
        node.until_running()
        wait_for(lambda: node.ask("status")["status"]["endpoints"], "the server's address")
        _check_client("peer.mjs", _job(others["nodeopcua"], own, pki=str(tmp_path / "client-pki")), own_port)
        _check_client("o6_peer.py", _job(others["open62541"], own), own_port)
        shown: dict[str, Any] = {}

        def online() -> bool:
            shown.update({one["name"]: one for one in node.ask("status")["status"]["devices"]})
            return {name: one["state"] for name, one in shown.items()} == dict.fromkeys(shown, "online")

        try:
            wait_for(online, "all devices online", deadline_s=60)
        except AssertionError:
            raise AssertionError({name: one["last_error"] for name, one in shown.items()}) from None
        wait_for(lambda: node.value("Main.online") == 0b111, "all devices online", deadline_s=20)
        for name in ("nodeLevel", "openLevel", "ownCount"):
            before = node.value(f"Main.{name}")
            wait_for(
                lambda name=name, before=before: node.value(f"Main.{name}") > before, name, deadline_s=20
            )
        wait_for(
            lambda: node.value("Main.mirrored") == 42.0, "the output that comes back as a tag", deadline_s=20
        )
        assert {name: (one["state"], one["errors"]) for name, one in shown.items()} == {
            "node": ("online", 0), "open": ("online", 0), "own": ("online", shown["own"]["errors"]),
        }  # fmt: skip
        assert files_in(state / "opcua").key.stat().st_mode & 0o077 == 0
        _check_terminal(node, f"opc.tcp://127.0.0.1:{own_port}/tickwork", tmp_path / "password")
        _check_gate_killed(node)


def _job(client: CertificateFiles, own: CertificateFiles, **more: Any) -> dict[str, Any]:
    return {
        "certificate": str(client.certificate), "key": str(client.key), "trust": str(own.certificate),
        "applicationUri": application_uri(client.certificate.parent.name), "user": "ann",
        "password": "a long secret",
    } | more  # fmt: skip


def _check_terminal(node: NodeProcess, url: str, password: pathlib.Path) -> None:
    """A person at a terminal, with the node's own certificate."""
    login = ("--user", "ann", "--password-file", str(password), "--json")

    def ask(*arguments: str) -> Any:
        return json.loads(_tickwork("opcua", *arguments, "--state", str(node.directory.root)))

    tag = "nsu=urn:tickwork:tiny;s=Main.setpoint"
    offered = {
        (one["security"], one["mode"]) for one in json.loads(_tickwork("opcua", "endpoints", url, "--json"))
    }
    assert offered == {tuple(pair) for pair in COMBINATIONS}
    below = ask("browse", url, "--from", "nsu=urn:tickwork:tiny;s=Main", "--depth", "1", *login)
    assert (tag, "Float") in {(one["node"], one.get("type")) for one in below}
    assert ask("write", url, tag, "2.25", *login)[0]["value"] == 2.25
    (seen,) = ask("read", url, tag, *login)
    assert (seen["value"], seen["type"], seen["status"]) == (2.25, "Float", "Good")
    changes = _tickwork(
        "opcua", "watch", url, "ns=2;s=Main.count", "--count", "3", "--interval-ms", "50", *login,
        "--state", str(node.directory.root),
    )  # fmt: skip
    values = [json.loads(line)["value"] for line in changes.splitlines()]
    assert len(values) == 3 and values == sorted(set(values))
    kinds = {(one["list"], one["of"]) for one in ask("certificates", "--json")}
    assert {("own", ""), ("trusted", "client"), ("trusted", "server")} <= kinds
    before = ask("certificates", "--json")[0]["fingerprint"]
    _tickwork("opcua", "renew", "--days", "40", "--state", str(node.directory.root))
    assert ask("certificates", "--json")[0]["fingerprint"] != before
    status = json.loads(_tickwork("status", "--json", "--state", str(node.directory.root)))
    assert "ends in 39 days" in status["opcua_certificate"]["warning"]


def _tickwork(*arguments: str) -> str:
    """The command line in this process: loading it a dozen times is not what is tested."""
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None:
        raise done.exception
    return str(done.stdout)


def _check_gate_killed(node: NodeProcess) -> None:
    """The scan does not notice, and clients find the new gate."""
    scanning, scans = node.pids()["scan"], node.ask("status")["status"]["scan"]
    gate = node.kill("gate")
    wait_for(lambda: node.pids().get("gate") not in (None, gate), "another gate", deadline_s=60)

    def served() -> bool:
        url = wait_for(lambda: node.ask("status")["status"]["endpoints"], "the server's address")[0]
        return bool(_tickwork("opcua", "endpoints", url, "--json"))

    wait_for(served, "the server of the new gate", deadline_s=60)
    assert node.pids()["scan"] == scanning
    assert node.ask("status")["status"]["scan"] > scans


def _check_client(program: str, job: dict[str, Any], port: int) -> None:
    """Reads, writes and watches over each policy and mode."""
    tags = ["ns=2;s=Main.count", "ns=2;s=Main.setpoint"]
    job |= {
        "url": f"opc.tcp://127.0.0.1:{port}/tickwork", "combinations": COMBINATIONS, "read": tags,
        "write": {"node": tags[1], "type": "Float", "value": 7.5}, "watch": tags[0],
    }  # fmt: skip
    with peer(program, job) as process:
        for policy, mode in COMBINATIONS:
            seen = line_of(process)
            assert (seen["policy"], seen["mode"]) == (policy, mode)
            assert "error" not in seen, seen
            assert seen["read"][0][1].startswith(("Good", "GOOD")), seen
            assert seen["write"].startswith(("Good", "GOOD")), seen
            assert len(set(seen["watch"])) >= 3, seen
