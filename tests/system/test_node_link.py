"""A node and its supervisor: enrolment, reports, store and forward, commands, signed deployments."""

import pathlib
from collections.abc import Iterator

import msgspec
import pytest

from runtime import link
from runtime.build_job import artifact_of
from runtime.state import StateDirectory
from runtime.uplink_identity import Enrolment, Identity
from scan.abi import IecType
from tests.runtime.fake_supervisor import NODE_ID, FakeSupervisor
from tests.runtime.node_process import PLANT, PROGRAM, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SECTION = """
[supervisor]
url = "URL"
report_interval_ms = 50
exclude = ["*.quotient"]
[[supervisor.deadband]]
tags = ["Main.setpoint"]
absolute = 0.5
"""
WITH_TEXT = PROGRAM.replace(
    "  fail : BOOL;",
    "  fail : BOOL;\n  {attribute 'access' := 'rw'}\n  label : STRING[20] := 'first';\n"
    "  list : ARRAY[1..3] OF INT := [7, 8, 9];",
)


class Linked:
    """A node enrolled at a fake supervisor."""

    def __init__(self, tmp_path: pathlib.Path, cache: pathlib.Path, supervisor: FakeSupervisor) -> None:
        self.supervisor = supervisor
        state = StateDirectory(tmp_path / "state")
        state.identity.mkdir(parents=True)
        identity = Identity(state.identity)
        supervisor.node_key = identity.public_key
        identity.remember(Enrolment(NODE_ID, supervisor.public_key, supervisor.url))
        plant = PLANT + SECTION.replace("URL", supervisor.url)
        self.node = NodeProcess(
            write_plant(tmp_path / "plant", plant=plant, program=WITH_TEXT), state.root, cache
        )
        self.node.until_running()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.getbasetemp() / "node-cache"


@pytest.fixture
def supervisor() -> Iterator[FakeSupervisor]:
    with FakeSupervisor() as one:
        yield one


@pytest.fixture
def linked(tmp_path: pathlib.Path, cache: pathlib.Path, supervisor: FakeSupervisor) -> Iterator[Linked]:
    one = Linked(tmp_path, cache, supervisor)
    yield one
    one.node.stop()


def test_link_when_up_then_program_status_and_changes_are_reported(linked: Linked) -> None:
    supervisor, node = linked.supervisor, linked.node
    described = supervisor.until(link.Describe, lambda one: bool(one.tags))
    tags = {tag.path: tag for tag in described.tags}
    assert "Main.quotient" not in tags
    assert tags["Main.setpoint"].writable
    assert tags["Main.label"].type == int(IecType.STRING)
    assert {"Main.list[1]", "Main.list[3]"} <= set(tags)
    assert described.digest == node.ask("status")["status"]["digest"]
    status = supervisor.until(link.Status, lambda one: one.state == "running" and one.scan > 0)
    assert status.tasks[0].name == "Fast"
    assert status.processes["scan"] == "running"
    wait_for(
        lambda: len({value for value, _, _ in supervisor.values("Main.count")}) > 5, "changes of the counter"
    )
    assert supervisor.values("Main.list[2]")[0][0] == 8.0
    texts = [text for batch in supervisor.of(link.Batch) for _, text in batch.texts]
    assert texts[0] == "first"


def test_deadband_when_a_change_is_small_then_it_is_not_reported(linked: Linked) -> None:
    supervisor, node = linked.supervisor, linked.node

    def live() -> list[float]:
        return [value for value, _, historical in supervisor.values("Main.setpoint") if not historical]

    wait_for(live, "the first value that is sent live")
    for value in ("1.8", "1.2", "3.0", "3.4"):
        node.ask("write", values={"Main.setpoint": value})
        count = len(supervisor.values("Main.count"))
        wait_for(lambda count=count: len(supervisor.values("Main.count")) > count + 2, "some reports")  # type: ignore[misc]
    assert live() == [1.5, 3.0]


def test_command_when_sent_then_it_takes_effect_once_and_is_answered_with_the_value(linked: Linked) -> None:
    supervisor, node = linked.supervisor, linked.node
    supervisor.until(link.Describe, lambda one: bool(one.tags))
    command = link.Command("c1", "write", {"Main.setpoint": "42.5"}, "ann", reason="higher")
    supervisor.send(command)
    result = supervisor.until(link.CommandResult)
    supervisor.send(command)
    assert (result.id, result.state, float(result.value)) == ("c1", "effective", 42.5)
    wait_for(lambda: len(supervisor.of(link.CommandResult)) == 2, "the repeated answer")
    assert len(node.events("write")) == 1
    journal = supervisor.until(link.Journal, lambda one: any(event.kind == "write" for event in one.events))
    event = next(event for event in journal.events if event.kind == "write")
    assert (event.source, event.fields["old"], event.fields["via"]) == ("ann", "1.5", "supervisor")
    supervisor.send(link.Command("c2", "write", {"Main.nothing": "1"}, "ann"))
    refused = supervisor.until(link.CommandResult, lambda one: one.id == "c2")
    assert refused.state == "rejected"
    assert refused.problem is not None
    supervisor.send(link.Command("c3", "stop", {}, "ann"))
    supervisor.until(link.CommandResult, lambda one: one.id == "c3" and one.state == "effective")
    supervisor.until(link.Status, lambda one: one.state == "stopped")


def test_fetch_when_exact_values_are_wanted_then_they_come_as_literals(linked: Linked) -> None:
    linked.supervisor.until(link.Describe, lambda one: bool(one.tags))
    linked.supervisor.send(link.Fetch("f1", "values", ("Main.label", "Main.setpoint")))
    answer = linked.supervisor.until(link.Fetched)
    assert msgspec.json.decode(answer.data)["Main.label"] == "'first'"
    linked.supervisor.send(link.Fetch("f2", "artifact"))
    assert linked.supervisor.until(link.Fetched, lambda one: one.id == "f2").data[:2] == b"PK"
    linked.supervisor.send(link.Fetch("f3", "recording"))
    assert linked.supervisor.until(link.Fetched, lambda one: one.id == "f3").problem is not None


def test_buffer_when_the_supervisor_is_away_then_all_comes_later_in_order(linked: Linked) -> None:
    supervisor = linked.supervisor
    wait_for(lambda: len(supervisor.values("Main.count")) > 3, "reports")
    supervisor.commits = False
    supervisor.hang_up()
    linked.node.ask("write", values={"Main.setpoint": "99"})
    wait_for(lambda: supervisor.connections == 2, "the second connection")
    supervisor.commits = True
    supervisor.hang_up()
    wait_for(lambda: supervisor.connections == 3, "the third connection")
    wait_for(lambda: supervisor.values("Main.setpoint")[-1][0] == 99.0, "the value written meanwhile")
    durable = [one for one in supervisor.messages if isinstance(one, link.Batch | link.Journal)]
    first_seen = list(dict.fromkeys(one.seq for one in durable))
    assert first_seen == list(range(1, len(first_seen) + 1))
    assert any(one.historical for one in supervisor.of(link.Batch))
    wait_for(lambda: not supervisor.of(link.Batch)[-1].historical, "live reports behind the backlog")
    wait_for(lambda: linked.node.ask("status")["link"]["buffered"] < 5, "an empty buffer")


def test_gate_when_killed_then_nothing_that_it_took_is_lost(linked: Linked) -> None:
    supervisor, node = linked.supervisor, linked.node
    wait_for(lambda: len(supervisor.values("Main.count")) > 3, "reports")
    supervisor.commits = False
    killed = node.kill("gate")
    wait_for(lambda: node.pids().get("gate", killed) != killed, "another gate")
    supervisor.commits = True
    wait_for(lambda: supervisor.connections == 2, "its link")
    count = len(supervisor.messages)
    wait_for(lambda: len(supervisor.messages) > count + 20, "more reports")
    boots = set(supervisor.committed)
    assert len(boots) == 1
    seqs = sorted({one.seq for one in supervisor.messages if isinstance(one, link.Batch | link.Journal)})
    assert seqs == list(range(1, len(seqs) + 1))


def test_deploy_when_signed_by_the_supervisor_then_it_runs_and_else_not(
    linked: Linked, tmp_path: pathlib.Path
) -> None:
    supervisor = linked.supervisor
    before = supervisor.until(link.Describe, lambda one: bool(one.tags)).digest
    artifact = artifact_of(write_plant(tmp_path / "new", step="1000", program=WITH_TEXT))
    for identifier, order in {
        "unsigned": supervisor.signed("unsigned", artifact, signature=b""),
        "foreign": FakeSupervisor().signed("foreign", artifact),
        "altered": msgspec.structs.replace(supervisor.signed("altered", artifact), artifact=artifact + b"x"),
    }.items():
        supervisor.send(order)
        refused = supervisor.until(link.DeployState, lambda one, wanted=identifier: one.id == wanted)  # type: ignore[misc]
        assert refused.state == "refused"
        assert refused.problems[0].code in ("LK4012", "LK4010")
    assert linked.node.ask("status")["status"]["digest"] == before
    supervisor.send(supervisor.signed("good", artifact))
    running = supervisor.until(link.DeployState, lambda one: one.id == "good" and one.state == "running")
    assert running.digest != before
    states = [one.state for one in supervisor.of(link.DeployState) if one.id == "good"]
    assert states == ["received", "compiling", "swapping", "trial", "running"]
    supervisor.until(link.Describe, lambda one: one.digest == running.digest)


def test_link_when_the_node_is_refused_then_it_says_why_and_tries_again(
    tmp_path: pathlib.Path, cache: pathlib.Path, supervisor: FakeSupervisor
) -> None:
    supervisor.refuses = True
    linked = Linked(tmp_path, cache, supervisor)
    try:
        wait_for(lambda: "revoked" in str(linked.node.ask("status")["link"]), "the refusal")
        supervisor.refuses = False
        wait_for(lambda: supervisor.connections == 1, "the next try")
    finally:
        linked.node.stop()
