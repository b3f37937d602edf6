"""The field process against the simulated water plant, both as real processes."""

import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from drivers.sim.water_device import FULL_SCALE
from scan import layout
from scan.quality import BAD_NOT_CONNECTED, GOOD
from scan.segments import inputs_path, open_segment

pytestmark = pytest.mark.system
DEADLINE_S = 20.0
CHANNELS = 6 + 4 + 1


def plant_table(port: int) -> dict[str, Any]:
    return {
        "name": "plant", "protocol": "modbus-tcp", "host": "127.0.0.1", "port": port, "unit": 1,
        "timeout_ms": 500, "status": "%IX17.0", "backoff_max_ms": 500,
        "read": [
            {"function": "input-registers", "address": 0, "count": 6, "to": "%IW0", "period_ms": 50},
            {"function": "discrete-inputs", "address": 0, "count": 4, "to": "%IX16.0", "period_ms": 50},
        ],
        "write": [
            {"function": "coils", "address": 0, "count": 3, "from": "%QX0.0", "safe": [1, 0, 1]},
            {"function": "holding-registers", "address": 0, "count": 1, "from": "%QW1", "safe": 27648},
        ],
    }  # fmt: skip


class Process:
    """A child with line-wise output; what it prints is collected by a thread."""

    def __init__(self, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        assert self.child.stdout
        for line in self.child.stdout:
            self._lines.put(line)

    def line(self) -> str:
        return self._lines.get(timeout=DEADLINE_S)

    def message(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            message = json.loads(self.line())
            if wanted(message):
                return message
        raise AssertionError("no such message in time")

    def send(self, message: dict[str, Any]) -> None:
        assert self.child.stdin
        self.child.stdin.write(json.dumps(message) + "\n")
        self.child.stdin.flush()

    def end(self) -> int:
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        self.child.terminate()
        code = self.child.wait(DEADLINE_S)
        self._thread.join(DEADLINE_S)
        self.child.stdout.close()
        return code


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    running: list[Process] = []
    yield running
    for process in running:
        process.end()


def start_plant(processes: list[Process], port: int = 0) -> tuple[Process, int]:
    plant = Process("drivers.sim", "water", "--port", str(port))
    processes.append(plant)
    return plant, int(plant.line().split(":")[1].split(",")[0])


def start_field(processes: list[Process], folder: pathlib.Path, *tables: dict[str, Any]) -> Process:
    field = Process("runtime.field")
    processes.append(field)
    field.message(lambda m: m.get("event") == "ready")
    field.send(
        {"id": 1, "op": "configure", "segments": str(folder), "devices": list(tables), "state": str(folder)}
    )
    answer = field.message(lambda m: m.get("id") == 1)
    assert answer["ok"] is True, answer
    return field


class Inputs:
    """The inputs segment as the scan would read it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._segment = open_segment(inputs_path(folder), layout.KIND_INPUTS, size_min=64)
        words = self._segment.words
        self.image = self._segment.bytes_at(
            int(words[layout.I_IMAGE_OFFSET]), int(words[layout.I_IMAGE_SIZE])
        )
        self.quality = self._segment.bytes_at(int(words[layout.I_QUALITY_OFFSET]), 2 * CHANNELS).view("<u2")

    @property
    def words(self) -> list[int]:
        return [int(word) for word in self.image[:12].view("<u2")]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_inputs_when_the_plant_runs_stops_and_returns_then_good_bad_good(
    tmp_path: pathlib.Path, processes: list[Process]
) -> None:
    plant, port = start_plant(processes)
    field = start_field(processes, tmp_path, plant_table(port))
    inputs = Inputs(tmp_path)
    until(lambda: np.all(inputs.quality == GOOD), "all inputs good")
    assert inputs.image[17] & 1
    assert 0.4 * FULL_SCALE < inputs.words[0] < 0.6 * FULL_SCALE

    plant.end()
    field.message(lambda m: m.get("event") == "device" and m["state"] == "offline")
    until(lambda: np.all(inputs.quality[:10] == BAD_NOT_CONNECTED), "all inputs bad")
    assert inputs.image[17] & 1 == 0

    start_plant(processes, port)
    field.message(lambda m: m.get("event") == "device" and m["state"] == "online")
    until(lambda: np.all(inputs.quality == GOOD), "all inputs good again")


def test_outputs_when_there_is_no_scan_then_the_plant_gets_its_safe_values(
    tmp_path: pathlib.Path, processes: list[Process]
) -> None:
    _, port = start_plant(processes)
    start_field(processes, tmp_path, plant_table(port))
    inputs = Inputs(tmp_path)
    until(lambda: inputs.words[5] == FULL_SCALE, "the pump has run up by the safe values")


def test_status_when_asked_then_devices_and_statistics(
    tmp_path: pathlib.Path, processes: list[Process]
) -> None:
    _, port = start_plant(processes)
    field = start_field(processes, tmp_path, plant_table(port))
    field.message(lambda m: m.get("event") == "device" and m["state"] == "online")
    field.send({"id": 2, "op": "status"})
    answer = field.message(lambda m: m.get("id") == 2)
    assert answer["devices"][0]["state"] == "online"
    assert answer["statistics"]["plant"]["replies"] >= 1


def test_configure_when_a_table_is_wrong_then_problems_and_the_old_devices_go_on(
    tmp_path: pathlib.Path, processes: list[Process]
) -> None:
    _, port = start_plant(processes)
    field = start_field(processes, tmp_path, plant_table(port))
    field.send(
        {
            "id": 2,
            "op": "configure",
            "segments": str(tmp_path),
            "devices": [{"protocol": "modbus-tcp"}],
            "state": str(tmp_path),
        }
    )
    answer = field.message(lambda m: m.get("id") == 2)
    assert answer["ok"] is False
    assert {problem["code"] for problem in answer["problems"]} == {"DV1002"}
    field.message(lambda m: m.get("event") == "device" and m["state"] == "online")


@pytest.mark.parametrize("how", ["end of input", "stop", "SIGTERM"])
def test_field_when_told_to_end_then_it_ends_with_0(
    tmp_path: pathlib.Path, processes: list[Process], how: str
) -> None:
    field = start_field(processes, tmp_path, plant_table(1))
    if how == "stop":
        field.send({"id": 9, "op": "stop"})
    elif how == "SIGTERM":
        field.child.terminate()
    else:
        field.child.stdin.close()
    assert field.child.wait(DEADLINE_S) == 0
