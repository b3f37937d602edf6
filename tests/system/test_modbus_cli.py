"""``tickwork modbus`` as a person uses it, against simulated devices in processes of their own."""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

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
        assert "DV2001" in modbus("read", address, "--address", "65535", "--count", "1", "--unit", "9", "--table",
                                  "coils", "--timeout-ms", "100", code=1)  # fmt: skip


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


@contextlib.contextmanager
def terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """The command at a terminal of its own, and a way to wait until that shows a text."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "runtime.cli", "modbus", *arguments]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, start_new_session=True)
    os.close(slave)
    shown = ""

    def until(text: str) -> str:
        nonlocal shown
        deadline = time.monotonic() + DEADLINE_S
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.2)[0]:
                shown += os.read(master, 65536).decode()
        before, _, shown = shown.partition(text)
        return before

    try:
        yield process, until
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        os.close(master)


def test_read_when_watched_then_values_are_live_and_a_device_that_goes_is_said_to_be_gone() -> None:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(contextlib.ExitStack())
        address = running.enter_context(device("--port", "0"))
        options = ("--address", "7", "--watch", "--timeout-ms", "300")
        process, until = stack.enter_context(terminal("read", address, *options))
        until("holding-registers")
        modbus("write", address, "7", "4711", "--yes")
        until("4711")
        running.close()
        until("is not connected")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) in (0, 1, 130)


def test_read_when_checked_on_a_line_then_pymodbus_reads_the_same() -> None:
    with device("--serial", "--template", "xy-md02", "--baud", "9600") as port:
        options = ("--baud", "9600", "--table", "input-registers", "--address", "1", "--count", "2")
        assert "[10, 20]" in modbus("read", port, *options, "--check")
        text = modbus("read", port, "--baud", "19200", "--timeout-ms", "100", code=1)
        assert "DV2001" in text
        assert "baud rate" in text
        assert "DV1003" in modbus("read", port, "--parity", "evne", code=1)


def test_decode_when_given_captured_bytes_then_each_frame_in_words(tmp_path: pathlib.Path) -> None:
    capture = tmp_path / "capture.hex"
    capture.write_text("01 03 00 00 00 0A C5 CD\n00 01 02")
    text = modbus("decode", str(capture))
    assert "unit 1: read_holding_registers 0 x 10" in text
    assert "? 00 01 02" in text
    assert "DV1003" in modbus("decode", str(tmp_path / "none"), code=1)


def test_identify_when_asked_then_what_the_device_says_of_itself() -> None:
    with device("--port", "0") as address:
        found = json.loads(modbus("identify", address, "--json"))
        assert found["identification"] == "Tickwork simulated device"
        assert found["echo"] == str(0x5A5A)
