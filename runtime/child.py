"""One child process of the node: started in a session of its own, spoken to by its control line, ended in order.

A child dies with its parent in two ways: its standard input ends, and the kernel sends SIGTERM (PR_SET_PDEATHSIG).
Both mean "go to the safe state and exit"; the second also reaches a child that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from runtime import control
from runtime.control import Handler, Listener, Message, Peer
from scan.problem import TickworkError, fail

_PR_SET_PDEATHSIG = 1  # prctl(2)
READY_S = 120.0  # the scan engine is compiled once; a small and busy machine takes its time
STOP_S = 5.0


class Child:
    """A running child. ``exited`` completes with its return code (negative: the signal that ended it)."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, peer: Peer) -> None:
        self.name = name
        self.peer = peer
        self._process = process
        self._ready: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(peer.run(), name=f"control line of {name}")
        self.exited: asyncio.Task[int] = asyncio.create_task(process.wait(), name=f"{name} exits")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def told_ready(self, fields: Message) -> None:
        if not self._ready.done():
            self._ready.set_result(fields)

    async def ready(self, timeout_s: float = READY_S) -> Message:
        """Waits for the child's "ready". Raises CL3006 when it dies or takes too long before that."""
        await asyncio.wait((self._ready, self.exited), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        found = (
            f"it ended with code {self.exited.result()}"
            if self.exited.done()
            else f"silent for {timeout_s:g} s"
        )
        raise fail(
            "CL3006", f"the {self.name} process did not start", expected="ready", found=found,
            remedy="its log above says why; `tickwork doctor` looks at the machine",
        )  # fmt: skip

    async def wait(self) -> int:
        """Its return code once it has ended. Whoever waits may be cancelled; the process is not."""
        await asyncio.wait((self.exited,))
        return self.exited.result()

    async def request(self, op: str, *, timeout_s: float = control.TIMEOUT_S, **arguments: object) -> Message:
        return await self.peer.request(op, timeout_s=timeout_s, **arguments)

    async def stop(self, order: Message, timeout_s: float = STOP_S) -> int:
        """Asks the child to end, then insists: SIGTERM, at last SIGKILL. Returns its return code."""
        self.peer.send(order)
        with contextlib.suppress(ConnectionError):
            await self.peer.drain()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self.kill(number)
            done, _ = await asyncio.wait((self.exited,), timeout=timeout_s)
            if done:
                break
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        return self.exited.result() if self.exited.done() else -signal.SIGKILL

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


async def spawn(
    name: str,
    arguments: Sequence[str],
    *,
    listener: Listener,
    handler: Handler = control.refuse,
    environment: Mapping[str, str] | None = None,
    nice: int = 0,
) -> Child:
    """Starts ``python arguments…`` as a child. Its log goes to our standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=control.LINE_SIZE_MAX,
        start_new_session=True,
        preexec_fn=_child_setup(os.getpid(), nice),
        env={**os.environ, **(environment or {})},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    child: Child | None = None

    def listen(event: str, fields: Message) -> None:
        if event == "ready" and child is not None:
            child.told_ready(fields)
        listener(event, fields)

    child = Child(
        name, process, Peer(process.stdout, process.stdin, handler=handler, listener=listen, name=name)
    )
    return child


def _child_setup(parent: int, nice: int) -> Callable[[], None]:
    """What the child does between fork and exec. Prepared beforehand: little is safe to do there."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def setup() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)
        if nice:
            os.nice(nice)

    return setup


async def run_job(name: str, arguments: Sequence[str], *, listener: Listener, nice: int = 10) -> int:
    """A child that does one job and ends by itself; returns its return code. Cancelling kills it."""
    child = await spawn(name, arguments, listener=listener, nice=nice)
    try:
        return await child.wait()
    finally:
        if child.alive:
            child.kill()
        await child.stop({"do": "stop"}, timeout_s=0.5)


__all__ = ["READY_S", "STOP_S", "Child", "TickworkError", "run_job", "spawn"]
