"""A real scan process under test: requests, answers, events, and waiting with a deadline."""

from __future__ import annotations

import contextlib
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from scan import Application, encode_application

ROOT = pathlib.Path(__file__).parents[2]
DEADLINE_S = 60.0
Message = dict[str, Any]


def wait_for(condition: Callable[[], object], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """Polls until the condition is true and returns what it gave."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError(f"waited {deadline_s} s in vain for {what}")


class ScanProcess:
    def __init__(self, directory: pathlib.Path, *arguments: str) -> None:
        self.directory = directory
        self.events: list[Message] = []
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._number = 0
        command = [sys.executable, "-m", "scan.process", "--dir", str(directory), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(lambda: self.event("ready"), "the scan process", deadline_s=300)

    def __enter__(self) -> ScanProcess:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has died, as some tests want it to
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
        finally:
            self._reader.join(10)
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers.put(message)
            else:
                self.events.append(message)

    def event(self, name: str) -> Message | None:
        return next((event for event in self.events if event["event"] == name), None)

    def send_line(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, op: str, **arguments: object) -> Message:
        """The answer to a request, whether it went well or not."""
        self._number += 1
        self.send_line(json.dumps({"id": self._number, "op": op, **arguments}))
        answer = self._answers.get(timeout=DEADLINE_S)
        assert answer["id"] == self._number
        return answer

    def do(self, op: str, **arguments: object) -> Message:
        """The answer to a request that must go well."""
        answer = self.ask(op, **arguments)
        assert answer["ok"], answer
        return answer

    def answer(self) -> Message:
        return self._answers.get(timeout=DEADLINE_S)

    def load(self, application: Application, op: str = "load", **arguments: object) -> Message:
        path = self.directory / f"{application.name}.app"
        path.write_bytes(encode_application(application))
        return self.do(op, application=str(path), **arguments)
