"""A whole node between a device that it polls and a client that it serves: one value in, one command out."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pymodbus.client import ModbusTcpClient

from tests.runtime.node_process import PLANT, NodeProcess, wait_for, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PROGRAM = """
PROGRAM Main
VAR
  humidity AT %IW1 : INT;
  alive AT %IX8.0 : BOOL;
  output AT %QW1 : INT;
  setpoint AT %MW3 : INT;
  guarded AT %MW16 : INT;
  replies AT %ID5 : UDINT;
  {attribute 'access' := 'rw'}
  gain : REAL := 2.0;
END_VAR
output := setpoint + humidity;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""
DEVICES = """
[[device]]
name = "sensor"
protocol = "modbus-tcp"
host = "127.0.0.1"
port = {device}
timeout_ms = 500
status = "%IX8.0"
[[device.read]]
function = "input-registers"
address = 1
count = 2
to = "%IW0"
period_ms = 50
[[device.statistic]]
value = "replies"
to = "%ID5"
[[device.write]]
function = "holding-registers"
address = 100
from = "%QW1"
safe = 777

[modbus-server]
port = {server}
[[modbus-server.write]]
table = "holding-registers"
first = 1024
last = 1030
[[modbus-server.write]]
table = "holding-registers"
first = 20000
last = 20001
[[modbus-server.write]]
table = "holding-registers"
first = 1040
watchdog_ms = 500
fallback = 42
[[modbus-server.map]]
table = "holding-registers"
address = 20000
variable = "Main.gain"
"""


@pytest.fixture
def device() -> Iterator[int]:
    """A simulated sensor: input registers 1 and 2 hold 10 and 20."""
    command = [sys.executable, "-m", "drivers.sim", "device", "--port", "0", "--template", "xy-md02"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield int(process.stdout.readline().split(":")[1].split(",")[0])
    process.terminate()
    process.wait(20)
    process.stdout.close()


def test_node_when_between_a_device_and_a_client_then_values_go_both_ways(
    tmp_path: pathlib.Path, device: int, unused_tcp_port: int
) -> None:
    plant = PLANT + DEVICES.format(device=device, server=unused_tcp_port)
    folder = write_plant(tmp_path / "plant", plant=plant, program=PROGRAM)
    with NodeProcess(folder, tmp_path / "state", tmp_path / "cache") as node:
        node.until_running()
        wait_for(lambda: node.ask("status")["status"]["endpoints"], "the server's address")
        peer = ModbusTcpClient("127.0.0.1", port=device)
        client = ModbusTcpClient("127.0.0.1", port=unused_tcp_port)
        try:
            assert client.connect()
            assert peer.connect()
            wait_for(lambda: client.read_input_registers(1, count=1).registers == [20], "the sensor's value")
            assert client.read_discrete_inputs(64, count=1).bits[0]
            assert not client.write_register(1024 + 3, 300).isError()
            assert client.read_holding_registers(1024 + 3, count=1).registers == [300]
            wait_for(lambda: peer.read_holding_registers(100, count=1).registers == [320], "the output")
            assert not client.write_registers(20000, [0x40E0, 0]).isError()  # 7.0
            assert node.value("Main.gain") == 7.0
            assert client.write_register(0, 1).exception_code == 2
            wait_for(lambda: node.value("Main.replies") > 10, "the count of replies as an input")
            assert not client.write_register(1040, 9).isError()
            wait_for(lambda: node.value("Main.guarded") == 42, "the fallback")
            written = node.events("write")
            assert {event["fields"]["via"] for event in written} == {"modbus"}
            sources = {event["source"].partition(":")[0] for event in written}
            assert sources == {"modbus 127.0.0.1", "modbus watchdog"}
            # Stopped, not killed: a killed scan is back before the field process gives it up.
            scan = node.pids()["scan"]
            os.kill(scan, signal.SIGSTOP)
            wait_for(lambda: peer.read_holding_registers(100, count=1).registers == [777], "the safe value")
            with contextlib.suppress(ProcessLookupError):
                os.kill(scan, signal.SIGCONT)
            node.until_running()
        finally:
            client.close()
            peer.close()
