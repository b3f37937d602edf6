"""A real node under test: ``tickwork run`` with all its processes, asked through its local socket and shared memory."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import scan
from runtime.local_socket import connected
from runtime.state import StateDirectory, process_lives
from scan.problem import TickworkError

ROOT = pathlib.Path(__file__).parents[2]
DEADLINE_S = 120.0  # starting includes building, on a machine that does other things too

PLANT = """
[node]
name = "tiny"
[scan]
trial_s = 1
realtime = false
"""

PROGRAM = """
PROGRAM Main
VAR
  count : DINT;
  divisor : DINT := 1;
  quotient : DINT;
  {attribute 'access' := 'rw'}
  setpoint : REAL := 1.5;
  {attribute 'access' := 'rw'}
  fail : BOOL;
END_VAR
VAR RETAIN
  total : LINT;
END_VAR
count := count + STEP;
total := total + 1;
IF fail THEN divisor := 0; END_IF
quotient := count / divisor;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


def wait_for(condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """Polls until the condition gives something true; what it raises of ours counts as not yet."""
    end = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (TickworkError, FileNotFoundError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"waited {deadline_s} s in vain for {what}; last: {last}")


def write_plant(
    folder: pathlib.Path, *, step: str = "1", plant: str = PLANT, program: str = PROGRAM
) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plant.toml").write_text(plant)
    (folder / "main.st").write_text(program.replace("STEP", step))
    return folder


class NodeProcess:
    """``tickwork run FOLDER --state STATE``; compiled code is shared between the nodes of a test session."""

    def __init__(self, folder: pathlib.Path, state: pathlib.Path, cache: pathlib.Path) -> None:
        self.folder = folder
        self.directory = StateDirectory(state)
        state.mkdir(parents=True, exist_ok=True)
        cache.mkdir(exist_ok=True)
        if not self.directory.cache.exists():
            self.directory.cache.symlink_to(cache)
        self.log = state.parent / f"{state.name}.log"
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "runtime.cli",
            "run",
            str(self.folder),
            "--state",
            str(self.directory.root),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "-q"], stderr=log, stdin=subprocess.DEVNULL, cwd=ROOT,
                env={**os.environ, "TICKWORK_LOG": "json"},
            )  # fmt: skip

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def until_running(self) -> NodeProcess:
        def running() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return bool(self.ask("status")["status"]["state"] == "running")

        wait_for(running, "the node to run")
        return self

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        async def go() -> dict[str, Any]:
            async with connected(self.directory.socket) as peer:
                return await peer.request(op, timeout_s=60.0, **arguments)

        return asyncio.run(go())

    def command(self, *arguments: str) -> str:
        """What ``tickwork ARGUMENTS`` prints about this node; it must go well."""
        command = [sys.executable, "-m", "runtime.cli", *arguments, "--state", str(self.directory.root)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pids(self) -> dict[str, int]:
        return dict(self.ask("status")["facts"]["pids"])

    def view(self) -> scan.NodeView:
        node = self.directory.read_node_file()
        assert node is not None
        return scan.NodeView.open(pathlib.Path(node.segments))

    def value(self, path: str) -> Any:
        view = self.view()
        return scan.read_value(view.snapshot().block, view.symbol(path))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.ask("journal", count=500)["events"] if event["kind"] == kind]

    def kill(self, name: str) -> int:
        """kill -9 of one of its processes; returns the pid that is gone."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    if not process_lives(pid):
        return True
    state = pathlib.Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"
