"""From the fault of a program to the register of a device: the declared safe value is there in time."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from pymodbus.client import ModbusTcpClient

from scan.replay import open_recording, replay
from tests.runtime.node_process import PLANT, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

WATCHDOG_S = 1.0
TRANSPORT_S = 1.0  # a request to the device, on a machine that does other things too
SAFE = 777
PROGRAM = """
INTERFACE Deeper
  METHOD Down : INT VAR_INPUT n : INT; END_VAR END_METHOD
END_INTERFACE
FUNCTION_BLOCK Well IMPLEMENTS Deeper
VAR next : Deeper; END_VAR
METHOD Down : INT VAR_INPUT n : INT; END_VAR
  next := THIS^;
  Down := next.Down(n + 1);
END_METHOD
END_FUNCTION_BLOCK
PROGRAM Main
VAR
  output AT %QW1 : INT;
  {attribute 'access' := 'rw'}
  trouble : INT;
  list : ARRAY[0..3] OF INT;
  target : REF_TO INT;
  result : INT;
  well : Well;
  guard : guarded;
  number, spins : DINT;
END_VAR
output := 320;
CASE trouble OF
  1: result := 1 / (trouble - 1);
  2: result := list[trouble + 2];
  3: result := target^;
  4: WHILE trouble = 4 DO result := result + 1; END_WHILE
  5: result := well.Down(0);
  6: guard(X := trouble);
  7: FOR number := 1 TO 4000000 DO spins := spins + number MOD 7; END_FOR
END_CASE
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""
BLOCK = """from typing import Any

from programs import block


@block(inputs="X : INT")
def guarded(b: Any, context: Any) -> None:
    if b.X > 5:
        raise ValueError("out of range")
"""
DEVICE = """on_crash = "stop"
watchdog_ms = {watchdog_ms}
[program]
sources = ["*.st", "*.py"]
[[task]]
name = "Fast"
overrun_limit = 3
overrun_action = "fault"
[[device]]
name = "valve"
protocol = "modbus-tcp"
host = "127.0.0.1"
port = {port}
timeout_ms = 500
[[device.write]]
function = "holding-registers"
address = 100
from = "%QW1"
safe = {safe}
"""


@pytest.fixture(scope="module")
def device() -> Iterator[int]:
    command = [sys.executable, "-m", "drivers.sim", "device", "--port", "0", "--template", "xy-md02"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield int(process.stdout.readline().split(":")[1].split(",")[0])
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.fixture(scope="module")
def node(device: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One node for all faults: each begins with a start by hand."""
    plant = PLANT + DEVICE.format(port=device, safe=SAFE, watchdog_ms=int(WATCHDOG_S * 1000))
    base = tmp_path_factory.mktemp("safe")
    folder = write_plant(base / "plant", plant=plant, program=PROGRAM)
    (folder / "guarded.py").write_text(BLOCK)
    with NodeProcess(folder, base / "state", tmp_path_factory.getbasetemp() / "node-cache") as one:
        yield one.until_running()


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (1, "RF1001"), (2, "RF1002"), (3, "RF1003"), (4, "RF1004"), (5, "RF1005"), (6, "RF1006"), (7, "RF1009"),
        (0, "killed"),
    ],
)  # fmt: skip
def test_output_when_the_program_fails_then_the_device_has_the_safe_value_within_the_watchdog_time(
    node: NodeProcess, device: int, trouble: int, code: str
) -> None:
    if node.ask("status")["status"]["state"] != "running":
        node.ask("start", cold=True)
    node.until_running()
    faults = node.directory.recordings / "faults"
    kept = len(list(faults.iterdir())) if faults.is_dir() else 0
    peer = ModbusTcpClient("127.0.0.1", port=device)
    assert peer.connect()

    def register() -> int:
        return int(peer.read_holding_registers(100, count=1).registers[0])

    try:
        wait_for(lambda: register() == 320, "the output")
        if trouble:
            node.ask("write", values={"Main.trouble": str(trouble)})
        else:
            node.kill("scan")
        wait_for(lambda: register() == SAFE, "the safe value", deadline_s=WATCHDOG_S + TRANSPORT_S)
        if trouble:
            wait_for(lambda: node.ask("status")["status"]["state"] == "fault", "the fault")
            assert node.ask("status")["status"]["fault"]["code"] == code
            fault = node.view().fault
            assert fault is not None and fault.code == code
            assert (fault.line > 0) == (code != "RF1009"), "an overrun is of the whole task"
            wait_for(
                lambda: len(list(faults.iterdir())) > kept, "the last seconds of the recording", deadline_s=20
            )
            report = replay(open_recording(max(faults.iterdir())))
            scan, again = report.faults[-1]
            assert (scan, report.mismatches) == (fault.scan, [])
            assert code == "RF1009" or (again is not None and again.code == code), (
                "an overrun comes from time"
            )
    finally:
        peer.close()
