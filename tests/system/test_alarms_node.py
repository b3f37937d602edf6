"""Alarms on a whole node: raised, acknowledged and shelved without a supervisor, through the death of the gate."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runtime import link
from runtime.state import StateDirectory
from runtime.uplink_identity import Enrolment, Identity
from tests.runtime.fake_supervisor import NODE_ID, FakeSupervisor
from tests.runtime.node_process import PLANT, PROGRAM, ROOT, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ALARMS = """
[supervisor]
url = "URL"
[[alarm]]
name = "Setpoint high"
tag = "Main.setpoint"
h = 50
deadband = 5
latching = true
unit = "tank"
"""
WITH_ATTRIBUTE = PROGRAM.replace(
    "  fail : BOOL;",
    "  fail : BOOL;\n  {attribute 'access' := 'rw'} {attribute 'alarm' := 'priority = 2, text = \"Door is open\"'}\n"
    "  door : BOOL;",
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.getbasetemp() / "node-cache"


@pytest.fixture
def supervisor() -> Iterator[FakeSupervisor]:
    with FakeSupervisor() as one:
        yield one


@pytest.fixture
def node(tmp_path: pathlib.Path, cache: pathlib.Path, supervisor: FakeSupervisor) -> Iterator[NodeProcess]:
    state = StateDirectory(tmp_path / "state")
    state.identity.mkdir(parents=True)
    identity = Identity(state.identity)
    supervisor.node_key = identity.public_key
    identity.remember(Enrolment(NODE_ID, supervisor.public_key, supervisor.url))
    plant = PLANT + ALARMS.replace("URL", supervisor.url)
    folder = write_plant(tmp_path / "plant", plant=plant, program=WITH_ATTRIBUTE)
    with NodeProcess(folder, state.root, cache) as made:
        yield made.until_running()


def cli(node: NodeProcess, *arguments: str) -> Any:
    command = [
        sys.executable,
        "-m",
        "runtime.cli",
        "alarms",
        *arguments,
        "--state",
        str(node.directory.root),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def events(node: NodeProcess, name: str) -> list[str]:
    found = node.ask("alarm_journal", count=1000)["entries"]
    return [entry["event"] for entry in found if entry["alarm"] == name]


def write(node: NodeProcess, **values: str) -> None:
    node.ask("write", values={f"Main.{name}": value for name, value in values.items()})


def test_alarms_when_the_gate_is_killed_and_nobody_listens_then_nothing_is_lost(
    node: NodeProcess, supervisor: FakeSupervisor
) -> None:
    wait_for(lambda: supervisor.of(link.AlarmTable), "the table of alarms")
    table = supervisor.of(link.AlarmTable)[-1]
    names = {definition.name for definition in table.definitions}
    assert {"Setpoint high", "Main.door", "$fault", "$disk", "$link"} <= names
    write(node, door="TRUE", setpoint="60")
    wait_for(lambda: events(node, "Main.door") == ["raised"], "the alarm of the attribute")
    wait_for(lambda: events(node, "Setpoint high") == ["raised"], "the alarm of the plant file")

    # Acknowledged on the node itself, without any supervisor.
    assert cli(node, "ack", "Main.door", "--comment", "seen") == {"done": ["Main.door"], "refused": []}
    cli(node, "shelve", "Setpoint high", "--minutes", "5", "--reason", "greased")
    node.kill("gate")
    wait_for(lambda: node.ask("status")["status"]["alarms"]["problem"] == "", "the gate after its death")
    assert events(node, "Main.door") == ["raised", "acknowledged"]
    assert events(node, "Setpoint high") == ["raised", "shelved"]
    standing = cli(node, "list")["table"]["standing"]
    assert standing["Main.door"]["state"] == "acknowledged" and standing["Main.door"]["comment"] == "seen"
    assert standing["Setpoint high"]["state"] == "shelved"

    # From the supervisor, as a durable command; it comes back as an entry.
    order = {"action": "unshelve", "targets": "Setpoint high"}
    supervisor.send(link.Command("c1", "alarm", order, "otto"))
    result = wait_for(
        lambda: [one for one in supervisor.of(link.CommandResult) if one.id == "c1"], "the answer"
    )
    assert result[0].state == "effective"
    write(node, setpoint="1", door="FALSE")
    wait_for(lambda: events(node, "Setpoint high")[-1] == "cleared", "the end of the excursion")
    wait_for(
        lambda: _seqs(supervisor) and _last(node) == _seqs(supervisor)[-1], "all entries at the supervisor"
    )
    seqs = sorted(set(_seqs(supervisor)))
    assert seqs == list(range(1, len(seqs) + 1))
    assert len({message.epoch for message in supervisor.of(link.Alarms)}) == 1
    assert cli(node, "reset", "Setpoint high")["done"] == ["Setpoint high"]  # it was latched
    assert cli(node, "list")["table"]["standing"]["Setpoint high"]["state"] == "normal"


def _seqs(supervisor: FakeSupervisor) -> list[int]:
    return [entry.seq for message in supervisor.of(link.Alarms) for entry in message.entries]


def _last(node: NodeProcess) -> int:
    return int(node.ask("alarm_journal", count=1)["entries"][-1]["seq"])
