"""A whole node: start, retained values, deployments, faults, and the death of any of its processes."""

import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.build_job import artifact_of
from tests.runtime.node_process import PLANT, PROGRAM, ROOT, NodeProcess, gone, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

Make = Callable[..., NodeProcess]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.getbasetemp() / "node-cache"


@pytest.fixture
def make(tmp_path: pathlib.Path, cache: pathlib.Path) -> Iterator[Make]:
    nodes: list[NodeProcess] = []

    def start(**parts: str) -> NodeProcess:
        folder = write_plant(tmp_path / "plant", **parts)
        nodes.append(NodeProcess(folder, tmp_path / "state", cache))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def deploy(node: NodeProcess, folder: pathlib.Path, **options: Any) -> dict[str, Any]:
    path = folder.parent / "deployed.twa"
    path.write_bytes(artifact_of(folder))
    return dict(node.ask("deploy", path=str(path), **options)["deploy"])


def test_node_when_stopped_and_started_then_retained_values_go_on(make: Make) -> None:
    node = make().until_running()
    wait_for(lambda: node.value("Main.total") > 150, "some scans")
    segments = node.view().directory
    before = node.value("Main.total")
    assert node.stop() == 0
    assert not segments.exists()
    assert not node.directory.node_file.exists()
    node.start()
    node.until_running()
    assert node.value("Main.total") >= before
    assert node.value("Main.count") < node.value("Main.total")


def test_node_when_a_second_one_starts_then_it_is_refused_with_a_sentence(make: Make) -> None:
    node = make().until_running()
    second = subprocess.run(
        [sys.executable, "-m", "runtime.cli", "run", str(node.folder), "--state", str(node.directory.root)],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert "PL2001" in second.stderr
    assert str(node.process.pid) in second.stderr
    assert node.ask("status")["status"]["state"] == "running"


def test_command_when_written_then_it_is_read_back_and_audited(make: Make) -> None:
    node = make().until_running()
    outcome = node.ask("write", values={"main.SETPOINT": "7.25"}, reason="because")["outcome"]
    assert outcome["state"] == "effective"
    assert float(outcome["value"]) == 7.25
    assert outcome["scan"] > 0
    (event,) = node.events("write")
    assert event["fields"]["old"] == "1.5"
    assert event["fields"]["reason"] == "because"
    assert event["source"]
    refused = node.ask("write", values={"Main.count": "1"})["outcome"]
    assert refused["state"] == "rejected"
    assert refused["problem"]["code"].startswith("SC")
    stale = node.ask("write", values={"Main.setpoint": "1"}, expected={"Main.setpoint": "2"})["outcome"]
    assert stale["problem"]["code"] == "LK4003"


def test_force_when_set_and_released_then_the_value_is_held_between(make: Make) -> None:
    node = make().until_running()
    outcome = node.ask("force", values={"Main.setpoint": "9"}, lease_s=60, reason="a test")["outcome"]
    assert outcome["state"] == "effective", outcome
    (force,) = node.ask("forces")["forces"]
    assert (force["path"], force["value"]) == ("Main.setpoint", 9.0)
    assert node.ask("status")["status"]["forces"] == 1
    assert node.ask("unforce", values={"Main.setpoint": ""})["outcome"]["state"] == "effective"
    assert node.ask("forces")["forces"] == []


def test_deploy_when_the_program_is_good_then_it_runs_with_the_state_carried_over(
    make: Make, tmp_path: pathlib.Path
) -> None:
    node = make().until_running()
    total = node.value("Main.total")
    final = deploy(node, write_plant(tmp_path / "new", step="1000"))
    assert final["state"] == "running", final
    assert final["digest"] == node.ask("status")["status"]["digest"]
    assert node.value("Main.total") > total
    wait_for(lambda: node.value("Main.count") > 10_000, "the new step")
    node.stop()
    node.start()
    node.until_running()
    assert node.ask("status")["status"]["digest"] == final["digest"], "the deployed program starts again"
    write_plant(node.folder, step="5")
    node.stop()
    node.start()
    node.until_running()
    assert node.ask("status")["status"]["digest"] != final["digest"], "the folder was edited since"


def test_deploy_when_the_program_faults_on_trial_then_the_old_one_runs_on(
    make: Make, tmp_path: pathlib.Path
) -> None:
    node = make().until_running()
    before = node.ask("status")["status"]["digest"]
    bad = PROGRAM.replace("quotient := count / divisor", "quotient := count / (divisor - 1)")
    final = deploy(node, write_plant(tmp_path / "new", program=bad))
    assert final["state"] == "rolled_back"
    assert final["problems"][0]["code"] == "PL3005"
    assert "RF1001" in final["problems"][0]["found"]
    status = node.ask("status")["status"]
    assert (status["state"], status["digest"]) == ("running", before)
    at = node.value("Main.total")
    wait_for(lambda: node.value("Main.total") > at, "the old program")


def test_deploy_when_it_is_no_artifact_then_it_is_refused(make: Make, tmp_path: pathlib.Path) -> None:
    node = make().until_running()
    (tmp_path / "bad.twa").write_bytes(b"nothing")
    final = node.ask("deploy", path=str(tmp_path / "bad.twa"))["deploy"]
    assert final["state"] == "refused"
    assert final["problems"][0]["code"].startswith("AR")
    assert node.ask("status")["status"]["state"] == "running"


def test_deploy_when_cold_then_values_are_initial(make: Make, tmp_path: pathlib.Path) -> None:
    node = make().until_running()
    wait_for(lambda: node.value("Main.total") > 300, "some scans")
    final = deploy(node, write_plant(tmp_path / "new", step="2"), cold=True)
    assert final["state"] == "running"
    assert node.value("Main.total") < 300


def test_node_when_empty_then_it_waits_for_its_first_deployment(make: Make, tmp_path: pathlib.Path) -> None:
    node = make(plant=PLANT + "[program]\nsources = []\n")
    wait_for(lambda: node.ask("status")["status"]["state"] == "empty", "the empty node")
    assert deploy(node, write_plant(tmp_path / "new"))["state"] == "running"
    wait_for(lambda: node.value("Main.count") > 5, "scans")


def test_fault_when_the_program_divides_by_zero_then_the_node_says_where(make: Make) -> None:
    node = make().until_running()
    node.ask("write", values={"Main.fail": "TRUE"})
    wait_for(lambda: node.ask("status")["status"]["state"] == "fault", "the fault")
    fault = node.ask("status")["status"]["fault"]
    assert fault["code"] == "RF1001"
    assert fault["place"]["file"] == "main.st"
    line = (node.folder / "main.st").read_text().splitlines()[fault["place"]["line"] - 1]
    assert "quotient :=" in line
    assert node.events("fault")


def test_fault_when_the_plant_says_restart_then_the_program_runs_again(make: Make) -> None:
    node = make(plant=PLANT + 'on_fault = "restart"\n').until_running()
    node.ask("write", values={"Main.fail": "TRUE"})
    wait_for(lambda: node.events("fault"), "the fault")
    wait_for(lambda: node.value("Main.fail") is False, "the restart")
    node.until_running()


def test_program_when_stopped_and_started_by_hand_then_the_state_follows(make: Make) -> None:
    node = make().until_running()
    node.ask("stop")
    wait_for(lambda: node.ask("status")["status"]["state"] == "stopped", "the stop")
    at = node.value("Main.count")
    assert node.value("Main.count") == at
    node.ask("start")
    node.until_running()


@pytest.mark.alone
@pytest.mark.parametrize("name", ["gate"])
def test_kill_when_it_hits_a_satellite_then_the_scan_goes_on_without_a_gap(make: Make, name: str) -> None:
    node = make().until_running()
    overruns = sum(task["overruns"] for task in node.ask("status")["status"]["tasks"])
    view, before = node.view(), node.pids()
    at = view.snapshot().scan
    killed = node.kill(name)
    wait_for(lambda: view.snapshot().scan > at + 20, "scans while it is away")
    wait_for(lambda: node.pids().get(name, killed) != killed, "the restart")
    assert node.pids()["scan"] == before["scan"]
    assert sum(task["overruns"] for task in node.ask("status")["status"]["tasks"]) <= overruns + 2
    assert any(event["source"] == name for event in node.events("process"))


def test_kill_when_it_hits_the_scan_process_then_it_comes_back_with_retained_values(make: Make) -> None:
    node = make().until_running()
    wait_for(lambda: node.value("Main.total") > 100, "some scans")
    before = node.value("Main.total")
    killed = node.kill("scan")
    wait_for(lambda: node.pids().get("scan", killed) != killed, "the restart")
    node.until_running()
    wait_for(lambda: node.value("Main.total") >= before, "the kept total")
    assert node.value("Main.count") < node.value("Main.total")

    def count() -> int:
        return int(node.ask("read", paths=["Main.count"])["values"]["Main.count"]["value"])

    at = count()
    wait_for(lambda: count() > at, "the gate to see the new process")


def test_kill_when_it_hits_the_parent_then_all_end_and_the_next_start_is_clean(make: Make) -> None:
    node = make().until_running()
    pids = node.pids()
    wait_for(lambda: node.value("Main.total") > 400, "several intervals of the retained values")
    node.process.send_signal(signal.SIGKILL)
    node.process.wait(10)
    for pid in pids.values():
        wait_for(lambda pid=pid: gone(pid), "the end of every process", deadline_s=20)  # type: ignore[misc]
    node.start()
    node.until_running()
    assert node.value("Main.total") >= 100
    assert node.value("Main.count") < node.value("Main.total")


def test_folder_when_it_no_longer_builds_then_the_last_program_is_started(make: Make) -> None:
    node = make().until_running()
    digest = node.ask("status")["status"]["digest"]
    node.stop()
    (node.folder / "main.st").write_text("PROGRAM Main\nnonsense\n")
    node.start()
    node.until_running()
    assert node.ask("status")["status"]["digest"] == digest
    assert any("does not build" in event["text"] for event in node.events("deploy"))


def test_folder_when_it_never_built_then_the_start_fails_with_its_problems(make: Make) -> None:
    node = make(program="PROGRAM Main\nx := 1;\nEND_PROGRAM\n")
    assert node.process.wait(60) == 1
    assert "ST" in node.log.read_text()
    assert "main.st:2" in node.log.read_text()
    shutil.rmtree(node.directory.root)
