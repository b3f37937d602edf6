"""A child process that the node keeps alive: field and gate may die at any time and are started again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from runtime import control
from runtime.child import Child, spawn
from runtime.control import Handler, Listener, Message
from runtime.restart import RestartPolicy
from scan.problem import TickworkError

log = structlog.get_logger("tickwork.node")

Setup = Callable[[Child], Awaitable[None]]
Report = Callable[[str, str, str], None]  # (process, state, text)


class Satellite:
    """Starts, watches and restarts one process. ``setup`` hands each new child its job."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        setup: Setup,
        stop_order: Message,
        listener: Listener,
        report: Report,
        policy: RestartPolicy,
        handler: Handler = control.refuse,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.state = "stopped"
        self.child: Child | None = None
        self._arguments = tuple(arguments)
        self._setup = setup
        self._stop_order = stop_order
        self._listener = listener
        self._handler = handler
        self._report = report
        self._policy = policy
        self._nice = nice
        self._keeping: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    @property
    def pid(self) -> int:
        return self.child.pid if self.child and self.child.alive else 0

    def start(self) -> None:
        """Begins to keep the process alive; returns at once."""
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")

    async def up(self) -> Child:
        """Waits until the process runs and has its job."""
        await self._up.wait()
        assert self.child is not None
        return self.child

    async def stop(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        if self.child is not None:
            await self.child.stop(self._stop_order)
            self.child = None
        self._up.clear()
        self.state = "stopped"

    async def restart(self) -> None:
        """Ends and starts the process on purpose (its job changed)."""
        await self.stop()
        self.start()

    def event(self, name: str, **fields: object) -> bool:
        """Sends an event if the process is there to take it."""
        if not self._up.is_set() or self.child is None or not self.child.alive:
            return False
        self.child.peer.event(name, **fields)
        return True

    async def _keep(self) -> None:
        while True:
            await self._once()
            delay_s = self._policy.next_delay_s(time.monotonic())
            if delay_s is None:
                self._say("failed", "ended too often; it is not started again")
                return
            await asyncio.sleep(delay_s)

    async def _once(self) -> None:
        """One life of the process, from its start to its end."""
        self._say("starting", "")
        try:
            self.child = child = await spawn(
                self.name, self._arguments, listener=self._listener, handler=self._handler, nice=self._nice
            )
            await self._setup(child)
            await child.ready()
        except TickworkError as error:
            self._say("failed", error.problems[0].message)
            log.error("process failed to start", name=self.name, problem=str(error))
        else:
            self._say("running", "")
            self._up.set()
            code = await child.wait()
            self._say("restarting", f"it ended with code {code}")
        finally:
            self._up.clear()
        with contextlib.suppress(ProcessLookupError):
            await child.stop(self._stop_order, timeout_s=1.0)

    def _say(self, state: str, text: str) -> None:
        self.state = state
        self._report(self.name, state, text)
