"""``python -m scan.process --dir SEGMENTS``: the process that runs scans.

It speaks one JSON object a line with its parent over standard input and output: requests with an ``id`` and ``op``,
answers with the same ``id``, events without one. It has no socket. The end of standard input means that the parent is
gone: outputs go to their safe values and the process ends. So does SIGTERM. Logs go to standard error.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pathlib
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from scan import realtime
from scan.abi import Application, decode_application
from scan.engine import Engine
from scan.loader import LoadedCode, load
from scan.native import load_engine
from scan.problem import TickworkError, fail
from scan.program import SafeValue, TaskOptions

POLL_S = 0.02
EXIT_HUNG = 42
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class _Safe(msgspec.Struct, frozen=True):
    offset: int
    value: str  # hex
    bit: int = -1


class _Task(msgspec.Struct, frozen=True):
    watchdog_ms: float = 0
    overrun_limit: int = 0
    overrun_action: str = "alarm"
    cpu: int = -1


class _Request(msgspec.Struct, frozen=True):
    """All that a request may carry; each operation takes its own."""

    op: str
    id: int = 0
    application: str = ""
    safe: tuple[_Safe, ...] = ()
    tasks: dict[str, _Task] = {}
    retained: str = ""
    mode: str = "cold"
    trial_scans: int = 0
    renames: dict[str, str] = {}
    health: str = ""


class Service:
    """Requests in, answers and events out; all in the main thread."""

    def __init__(self, engine: Engine, send: Callable[[Message], None]) -> None:
        self._engine = engine
        self._send = send
        self._state = engine.state
        self._retained: list[tuple[int, bytes]] = []
        # Code is never unloaded: a thread may be in it, and a node sees few programs in its life.
        self._code: list[LoadedCode] = []
        self.done = False

    # ------------------------------------------------------------ requests

    def serve(self, line: str) -> None:
        """Answers one request; a request that fails changes nothing and says why."""
        identity = 0
        try:
            identity = int(msgspec.json.decode(line, type=dict[str, Any]).get("id", 0))
            request = msgspec.json.decode(line, type=_Request)
            operation = self._operations().get(request.op)
            if operation is None:
                known = ", ".join(self._operations())
                raise fail("SC3006", f"unknown operation {request.op!r}", expected=known)
            answer = operation(request)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            self._refuse(identity, fail("SC3006", "a request is not understood", found=str(error)))
        except TickworkError as error:
            self._refuse(identity, error)
        else:
            self._send({"id": identity, "ok": True, **answer})
        self.poll()

    def _operations(self) -> dict[str, Callable[[_Request], Message]]:
        return {
            "load": self._load,
            "start": self._start,
            "stop": self._stop,
            "swap": self._swap,
            "status": self._status,
            "quit": self._quit,
        }

    def _refuse(self, identity: int, error: TickworkError) -> None:
        problems = msgspec.to_builtins(error.problems)
        self._send({"id": identity, "ok": False, "problem": problems[0], "problems": problems})

    def _load(self, request: _Request) -> Message:
        application, entries = self._read_application(request)
        retained = read_retained(request.retained)
        generation = self._engine.load(
            application, entries, safe=_safe_values(request), options=_task_options(request)
        )
        self._retained = retained
        return {"generation": generation, "digest": application.digest}

    def _start(self, request: _Request) -> Message:
        if request.mode not in ("cold", "warm"):
            raise fail("SC3006", "an unknown mode of start", expected="cold or warm", found=request.mode)
        self._engine.start(self._warm_values() if request.mode == "warm" else ())
        return {"state": self._engine.state.name.lower()}

    def _warm_values(self) -> list[tuple[int, bytes]]:
        """Retained values: those of the block once it has run, else those given with the program."""
        program = self._engine.program
        if program is not None and program.has_run:
            return program.retained()
        return self._retained

    def _stop(self, _: _Request) -> Message:
        self._engine.stop()
        return {"state": self._engine.state.name.lower()}

    def _swap(self, request: _Request) -> Message:
        application, entries = self._read_application(request)
        plan, pause_ns = self._engine.swap(
            application,
            entries,
            safe=_safe_values(request),
            options=_task_options(request),
            renames=request.renames,
            trial_scans=request.trial_scans,
            health=request.health,
        )
        return {
            "generation": int(self._engine.generation),
            "digest": application.digest,
            "pause_ns": pause_ns,
            "carried": plan.carried,
            "initial": plan.initial,
            "dropped": plan.dropped,
        }

    def _status(self, _: _Request) -> Message:
        program = self._engine.program
        return {
            "state": self._engine.state.name.lower(),
            "generation": self._engine.generation,
            "digest": program.application.digest if program else "",
            "tasks": list(program.tasks) if program else [],
            "grants": [msgspec.to_builtins(grant) for grant in self._engine.grants],
            "pid": os.getpid(),
        }

    def _quit(self, _: _Request) -> Message:
        self.done = True
        return {}

    def _read_application(self, request: _Request) -> tuple[Application, dict[str, int]]:
        path = pathlib.Path(request.application)
        try:
            application = decode_application(path.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            remedy = "build the program again"
            raise fail(
                "SC3003", "the application cannot be read", found=f"{path}: {error}", remedy=remedy
            ) from error
        code = load(application)
        missing = [task.entry for task in application.tasks if not code.entry(task.entry)]
        if missing:
            raise fail("SC3002", "the native code lacks the entry of a task", found=", ".join(missing))
        self._code.append(code)
        return application, {task.entry: code.entry(task.entry) for task in application.tasks}

    # ------------------------------------------------------------ events

    def poll(self) -> None:
        """Tells the parent what has happened since the last call."""
        for event in self._engine.poll():
            self._send(event)
            if event["event"] == "hung":
                # A thread that cannot be stopped runs in this process: only its end stops the thread.
                os._exit(EXIT_HUNG)
        if self._engine.state != self._state:
            self._state = self._engine.state
            self._send({"event": "state", "state": self._state.name.lower()})


def read_retained(path: str) -> list[tuple[int, bytes]]:
    """Places and bytes from a file: a msgpack list of [offset, bytes]. Raises TickworkError SC3003."""
    if not path:
        return []
    try:
        return msgspec.msgpack.decode(pathlib.Path(path).read_bytes(), type=list[tuple[int, bytes]])
    except (OSError, msgspec.MsgspecError) as error:
        raise fail("SC3003", "the retained values cannot be read", found=f"{path}: {error}") from error


def _safe_values(request: _Request) -> list[SafeValue]:
    return [SafeValue(one.offset, bytes.fromhex(one.value), one.bit) for one in request.safe]


def _task_options(request: _Request) -> dict[str, TaskOptions]:
    for name, task in request.tasks.items():
        if task.overrun_action not in ("alarm", "fault") or task.overrun_limit < 0 or task.watchdog_ms < 0:
            raise fail("SC3006", f"options of task {name} make no sense", found=str(task))
    return {name: TaskOptions(**msgspec.structs.asdict(task)) for name, task in request.tasks.items()}


# ---------------------------------------------------------------- the process


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scan.process", description="Runs the scans of a node.")
    parser.add_argument("--dir", type=pathlib.Path, required=True, help="segment directory")
    parser.add_argument("--cache", type=pathlib.Path, help="where compiled code is kept")
    parser.add_argument("--cpu", type=int, default=-1, help="CPU for all threads of this process")
    parser.add_argument("--lead-us", type=int, default=50, help="how early a cyclic task wakes up")
    parser.add_argument("--no-realtime", action="store_true", help="ordinary scheduling, memory not locked")
    options = parser.parse_args(arguments)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    lines = _read_lines()
    try:
        native, realtime_wanted = load_engine(options.cache), not options.no_realtime
        engine = Engine(native, options.dir, use_realtime=realtime_wanted, lead_ns=options.lead_us * 1000)
    except TickworkError as error:
        _send({"event": "failed", "problems": msgspec.to_builtins(error.problems)})
        return 1
    descriptor = _take_machine(engine, options)
    service = Service(engine, _send)
    _send(
        {"event": "ready", "pid": os.getpid(), "grants": [msgspec.to_builtins(one) for one in engine.grants]}
    )
    _serve(service, lines)
    engine.close()
    if descriptor is not None:
        os.close(descriptor)
    return 0


def _take_machine(engine: Engine, options: argparse.Namespace) -> int | None:
    """Takes what the machine grants; the file descriptor to hold, if any."""
    if options.cpu >= 0:
        engine.grants.append(realtime.set_affinity(options.cpu))
    if options.no_realtime:
        return None
    descriptor, grant = realtime.hold_dma_latency()
    engine.grants += [realtime.lock_memory(), grant]
    return descriptor


def _serve(service: Service, lines: queue.SimpleQueue[str | None]) -> None:
    while not service.done:
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            service.poll()
            continue
        if line is None:
            return
        service.serve(line)


def _read_lines() -> queue.SimpleQueue[str | None]:
    """Lines of standard input, then None; SIGTERM counts as the end too."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            if line.strip():
                lines.put(line)
        lines.put(None)

    signal.signal(signal.SIGTERM, lambda *_: lines.put(None))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=read, name="requests", daemon=True).start()
    return lines


def _send(message: Message) -> None:
    try:
        sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The parent is gone: the end of standard input says so too, and ends the process in order.
        pass


if __name__ == "__main__":
    sys.exit(main())
