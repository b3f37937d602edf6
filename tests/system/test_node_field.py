"""A node with a real device: the field process and the device may die, the scan never notices but by quality."""

import pathlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from scan import quality
from tests.runtime.node_process import ROOT, NodeProcess, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


class Plant:
    """The simulated water plant as a process of its own."""

    def __init__(self, port: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "drivers.sim", "water", "--port", str(port)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r":(\d+)", self.process.stdout.readline())
        assert found is not None
        self.port = int(found.group(1))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)


@pytest.fixture
def plant() -> Iterator[Plant]:
    one = Plant()
    yield one
    if one.process.returncode is None:
        one.stop()


@pytest.fixture
def node(
    plant: Plant, tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    folder = tmp_path / "water"
    shutil.copytree(ROOT / "examples" / "water", folder)
    text = (folder / "plant.toml").read_text()
    text = re.sub(r"(?m)^port = 5020$", f"port = {plant.port}\nbackoff_max_ms = 500", text)
    text = re.sub(r"(?ms)^\[opcua\].*?(?=^\[|\Z)", "", text)
    (folder / "plant.toml").write_text(text + "\n[scan]\nrealtime = false\n")
    one = NodeProcess(folder, tmp_path / "state", tmp_path_factory.getbasetemp() / "node-cache")
    one.until_running()
    yield one
    one.stop()


def level_quality(node: NodeProcess) -> int:
    view = node.view()
    symbol = next(one for one in view.application.symbols if one.location.upper() == "%IW0")  # type: ignore[union-attr]
    return view.quality(symbol)


def device(node: NodeProcess) -> dict[str, object]:
    return next(iter(node.ask("status")["status"]["devices"]), {})


def test_field_when_it_is_killed_then_inputs_turn_bad_and_the_scan_goes_on(node: NodeProcess) -> None:
    wait_for(lambda: level_quality(node) == quality.GOOD, "a good level")
    scan_pid, view = node.pids()["scan"], node.view()
    at = view.snapshot().scan
    killed = node.kill("field")
    wait_for(lambda: quality.is_bad(level_quality(node)), "bad inputs")
    wait_for(lambda: node.pids().get("field", killed) != killed, "another field process")
    wait_for(lambda: level_quality(node) == quality.GOOD, "a good level again")
    assert node.pids()["scan"] == scan_pid
    assert view.snapshot().scan > at
    assert node.ask("status")["status"]["state"] == "running"
    assert any(event["source"] == "field" for event in node.events("process"))


def test_device_when_it_dies_then_it_is_visible_and_comes_back(node: NodeProcess, plant: Plant) -> None:
    wait_for(lambda: device(node).get("state") == "online", "the device")
    plant.stop()
    wait_for(lambda: device(node).get("state") == "offline", "its loss")
    assert quality.is_bad(level_quality(node))
    assert any(event["severity"] == "warning" for event in node.events("device"))
    again = Plant(plant.port)
    try:
        wait_for(lambda: device(node).get("state") == "online", "its return")
        wait_for(lambda: level_quality(node) == quality.GOOD, "a good level again")
    finally:
        again.stop()
