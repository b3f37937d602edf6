"""What a node does after a fault, a crash and a power-on, as its plant file says."""

import contextlib
import pathlib
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.build_job import artifact_of
from tests.runtime.node_process import PLANT, PROGRAM, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

Make = Callable[[str], NodeProcess]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.getbasetemp() / "node-cache"


@pytest.fixture
def make(tmp_path: pathlib.Path, cache: pathlib.Path) -> Iterator[Make]:
    nodes: list[NodeProcess] = []

    def start(settings: str) -> NodeProcess:
        """A node with further lines of [scan]; other sections may follow them."""
        folder = write_plant(tmp_path / "plant", plant=PLANT + settings)
        nodes.append(NodeProcess(folder, tmp_path / "state", cache))
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def state(node: NodeProcess) -> str:
    return str(node.ask("status")["status"]["state"])


def deploy(node: NodeProcess, folder: pathlib.Path, plant: str, program: str) -> dict[str, Any]:
    path = folder / "deployed.twa"
    path.write_bytes(artifact_of(write_plant(folder / "new", plant=plant, program=program, step="1")))
    return dict(node.ask("deploy", path=str(path))["deploy"])


def scans(node: NodeProcess) -> int:
    return int(node.ask("status")["status"]["tasks"][0]["scans"])


def count_again(node: NodeProcess) -> None:
    at = node.value("Main.count")
    wait_for(lambda: node.value("Main.count") > at, "scans")


def test_fault_when_the_plant_says_restart_cold_then_all_begins_anew_until_it_is_too_often(
    make: Make,
) -> None:
    node = make('on_fault = "restart-cold"\nrestarts_max = 1\n').until_running()
    wait_for(lambda: node.value("Main.total") > 300, "some scans")
    node.ask("write", values={"Main.fail": "TRUE"})
    wait_for(lambda: node.events("fault"), "the fault")
    wait_for(lambda: state(node) == "running" and node.value("Main.fail") is False, "the restart")
    assert node.value("Main.total") < 300
    count_again(node)
    node.ask("write", values={"Main.fail": "TRUE"})
    wait_for(lambda: any("too often" in event["text"] for event in node.events("fault")), "the limit")
    assert state(node) == "fault"
    assert node.ask("status")["facts"]["restarts"]["scan"] == 1


def test_crash_when_the_plant_says_stop_then_the_program_waits_for_a_start_by_hand(make: Make) -> None:
    node = make('on_crash = "stop"\n').until_running()
    wait_for(lambda: node.value("Main.total") > 100, "some scans")
    before = node.value("Main.total")
    killed = node.kill("scan")
    wait_for(lambda: node.pids().get("scan", killed) != killed, "the new process")
    wait_for(lambda: state(node) == "stopped", "the stop")
    node.ask("start")
    wait_for(lambda: state(node) == "running" and node.value("Main.total") >= before, "the kept total")


def test_start_when_the_plant_says_stop_then_the_program_waits_and_starts_warm_or_cold(make: Make) -> None:
    node = make('start = "stop"\n')
    wait_for(lambda: state(node) == "stopped" and node.ask("status")["facts"]["program"], "the program")
    assert node.value("Main.count") == 0
    node.ask("start")
    node.until_running()
    wait_for(lambda: node.value("Main.total") > 200, "some scans")
    node.ask("stop")
    wait_for(lambda: state(node) == "stopped", "the stop")
    node.ask("start")
    wait_for(lambda: state(node) == "running", "the warm start")
    assert node.value("Main.total") > 200
    node.command("stop")
    wait_for(lambda: state(node) == "stopped", "the stop")
    node.command("start", "--cold")
    wait_for(lambda: state(node) == "running", "the cold start")
    assert node.value("Main.total") < 200


def test_metrics_when_the_plant_serves_them_then_page_and_command_tell_and_a_reset_begins_anew(
    make: Make,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    node = make(f"[metrics]\nport = {port}\n").until_running()
    wait_for(lambda: scans(node) > 300, "some scans")

    def page() -> str:
        address = f"http://127.0.0.1:{port}/metrics"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())
        return ""

    text = wait_for(page, "the page")
    assert 'tickwork_task_scans_total{task="Fast"}' in text
    assert 'tickwork_node_state{state="running"} 1.0' in text
    assert node.command("reset-statistics").startswith("reset_statistics: effective")
    assert scans(node) < 300
    assert 'tickwork_task_overruns_total{task="Fast"}' in node.command("status", "--metrics")


def test_overruns_when_the_plant_says_fault_after_n_in_a_row_then_the_program_faults(make: Make) -> None:
    settings = '[[task]]\nname = "Fast"\nperiod_ms = 0.05\noverrun_limit = 2\noverrun_action = "fault"\n'
    node = make(settings)
    # No ordinary machine keeps 50 µs without real-time rights: two points in a row are missed soon.
    wait_for(lambda: state(node) == "fault", "the fault")
    assert node.ask("status")["status"]["fault"]["code"] == "RF1009"


def test_deploy_when_the_program_is_stopped_or_in_fault_then_the_new_one_waits_for_its_start(
    make: Make, tmp_path: pathlib.Path
) -> None:
    node = make("").until_running()
    node.ask("stop")
    wait_for(lambda: state(node) == "stopped", "the stop")
    before = node.ask("status")["facts"]["digest"]
    assert deploy(node, tmp_path, PLANT, PROGRAM + "(* 2 *)\n")["state"] == "running"
    assert state(node) == "stopped", "a deployment must not set a machine in motion that a person has stopped"
    assert node.ask("status")["facts"]["digest"] != before
    node.ask("start")
    count_again(node)
    node.ask("write", values={"Main.fail": "TRUE"})
    wait_for(lambda: state(node) == "fault", "the fault")
    assert deploy(node, tmp_path, PLANT, PROGRAM + "(* 3 *)\n")["state"] == "running"
    assert state(node) == "stopped"
    node.ask("start")
    count_again(node)


def test_deploy_when_a_variable_is_renamed_then_its_value_goes_on(make: Make, tmp_path: pathlib.Path) -> None:
    node = make("").until_running()
    wait_for(lambda: node.value("Main.count") > 100, "some scans")
    renames = '[online-change]\nrenames = { "Main.count" = "Main.number" }\n'
    final = deploy(node, tmp_path, PLANT + renames, PROGRAM.replace("count", "number"))
    assert final["state"] == "running", final
    assert node.value("Main.number") > 100


def test_deploy_when_the_health_variable_is_false_then_the_old_program_is_back(
    make: Make, tmp_path: pathlib.Path
) -> None:
    node = make("").until_running()
    final = deploy(node, tmp_path, PLANT + '[online-change]\nhealth = "Main.fail"\n', PROGRAM)
    assert final["state"] == "rolled_back"
    assert "RF1010" in final["problems"][0]["found"]
    count_again(node)


def test_retain_when_both_slots_are_corrupt_then_a_start_says_so_and_goes_on_only_if_told(make: Make) -> None:
    node = make("").until_running()
    wait_for(lambda: node.value("Main.total") > 200, "some scans")
    assert node.stop() == 0
    slots = [path for path in (node.directory.root / "retain").iterdir() if path.is_file()]
    for path in slots:
        path.write_bytes(path.read_bytes()[:-1] + b"\xff\xff")
    assert slots
    node.start()
    assert node.process.wait(120) == 1
    assert "PL5001" in node.log.read_text()
    plant = node.folder / "plant.toml"
    plant.write_text(plant.read_text() + '[retain]\non_corrupt = "initial"\n')
    node.start()
    node.until_running()
    assert any("no slot is whole" in event["text"] for event in node.events("retain"))
    assert node.value("Main.total") < 200


def test_crash_when_a_person_has_stopped_the_program_then_the_machine_stays_stopped(make: Make) -> None:
    node = make('on_crash = "restart"\n').until_running()
    node.ask("stop")
    wait_for(lambda: state(node) == "stopped", "the stop")
    killed = node.kill("scan")
    wait_for(lambda: node.pids().get("scan", killed) != killed, "the new process")
    wait_for(lambda: any("runs again" in event["text"] for event in node.events("start")), "the recovery")
    assert state(node) == "stopped"
    node.ask("start")
    node.until_running()
