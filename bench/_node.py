"""A whole node for the benchmarks, and a Modbus client that asks it flat out."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from scan import NodeView, TickworkError

TICKWORK = str(pathlib.Path(sys.executable).parent / "tickwork")
START_LIMIT_S = 180.0
PROGRAM = """
PROGRAM Main
VAR
    Step : INT;
    Wave : ARRAY[0..49] OF REAL;
    Timer : TON;
END_VAR
    Step := (Step + 1) MOD 50;
    Wave[Step] := Wave[Step] + 0.5;
    Timer(IN := NOT Timer.Q, PT := T#100ms);
    IF Timer.Q THEN Counter := Counter + 1; END_IF;
END_PROGRAM
CONFIGURATION Bench
    VAR_GLOBAL Counter AT %QW0 : UINT; END_VAR
    RESOURCE R ON PLC
        TASK Fast(INTERVAL := T#1ms, PRIORITY := 0);
        PROGRAM Main WITH Fast : Main;
    END_RESOURCE
END_CONFIGURATION
""".replace("PROGRAM Main\nVAR\n", "PROGRAM Main\nVAR_EXTERNAL Counter : UINT; END_VAR\nVAR\n", 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Node:
    """A running node with a task of 1 ms, a Modbus and an OPC UA server."""

    def __init__(self, folder: pathlib.Path, program: str, supervisor: str) -> None:
        self.modbus_port, self.opcua_port = free_port(), free_port()
        self._folder, self._state = folder, folder / "state"
        self.node_id = ""
        (folder / "main.st").write_text(program)
        (folder / "plant.toml").write_text(
            '[node]\nname = "bench"\n\n[program]\nsources = ["*.st"]\n\n'
            f"[opcua]\nport = {self.opcua_port}\ninsecure = true\nanonymous = true\n\n"
            f"[modbus-server]\nport = {self.modbus_port}\n"
            + (f'[supervisor]\nurl = "{supervisor}"\n' if supervisor else "")
        )

    def enrol(self, url: str, token: pathlib.Path) -> None:
        command = [
            TICKWORK, "enrol", str(self._folder), "--to", url, "--token-file", str(token), "--state", str(self._state),
            "--json",
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        self.node_id = json.loads(done.stdout)["node_id"]

    def start(self) -> subprocess.Popen[bytes]:
        command = [TICKWORK, "run", str(self._folder), "--state", str(self._state)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        limit = time.monotonic() + START_LIMIT_S
        while not self._serves():
            assert process.poll() is None and time.monotonic() < limit, "the node did not start"
            time.sleep(0.05)
        return process

    def _serves(self) -> bool:
        try:
            scanning = self.view().counters.scans > 0
            for port in (self.modbus_port, self.opcua_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
            return scanning
        except (OSError, ValueError, KeyError, TickworkError):
            return False

    def view(self) -> NodeView:
        facts = json.loads((self._state / "run" / "node.json").read_text())
        return NodeView.open(pathlib.Path(facts["segments"]))

    def command(self, action: str) -> None:
        command = [TICKWORK, action, "--state", str(self._state)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def running_node(
    program: str = PROGRAM, *, supervisor: str = "", token: pathlib.Path | None = None
) -> Iterator[Node]:
    with tempfile.TemporaryDirectory() as name:
        node = Node(pathlib.Path(name), program, supervisor)
        if token is not None:
            node.enrol(supervisor, token)
        process = node.start()
        try:
            yield node
        finally:
            process.terminate()
            process.wait(30)


# ---------------------------------------------------------------- clients


def read_modbus_flat_out(port: int, count: object) -> None:
    request = bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 100])
    with socket.create_connection(("127.0.0.1", port)) as client:
        while True:
            client.sendall(request)
            answer = b""
            while len(answer) < 209:
                answer += client.recv(512)
            count.value += 1  # type: ignore[attr-defined]
