"""Protocol servers that the gate hosts. One that fails is an event and is tried again; the others never notice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from runtime.link import Event
from runtime.restart import Backoff
from scan.problem import Problem, TickworkError

log = structlog.get_logger("tickwork.gate")

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 60.0
STOP_S = 3.0


class Server(Protocol):
    """What a driver's server offers. ``start`` raises when it cannot listen; ``stop`` may be called at any time."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def rebind(self) -> None: ...
    def clients(self) -> list[str]: ...
    def endpoints(self) -> list[str]: ...


class Hosted:
    """One server, kept alive. ``changed`` is called when its endpoints have changed."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Server],
        note: Callable[[Event], None],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self._make = make
        self._note = note
        self._changed = changed
        self._server: Server | None = None
        self._failed = asyncio.Event()
        self._told = ""

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S)
        try:
            while True:
                if await self._start():
                    backoff.reset()
                    await self._failed.wait()
                    await self._stop()
                await asyncio.sleep(backoff.next_s(random.random()))  # noqa: S311 - spreads load, protects nothing
        finally:
            await self._stop()

    async def _start(self) -> bool:
        self._failed.clear()
        try:
            self._server = server = self._make()
            await server.start()
        except Exception as error:  # whatever a library does must not cost the link or the local socket
            self._tell(error)
            await self._stop()
            return False
        if self._told:
            self._note(Event(time.time_ns(), "server", self.name, f"the {self.name} server serves again"))
            self._told = ""
        self._changed()
        return True

    async def rebind(self) -> None:
        """The program changed. A server that cannot follow is started anew."""
        if self._server is None:
            return
        try:
            await self._server.rebind()
        except Exception as error:
            self._tell(error)
            self._failed.set()

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(server.stop(), STOP_S)
            self._changed()

    def _tell(self, error: Exception) -> None:
        """Once per reason, not once per attempt."""
        known = isinstance(error, TickworkError)
        problem = error.problems[0] if isinstance(error, TickworkError) else _unknown(self.name, error)
        if problem.render() == self._told:
            return
        self._told = problem.render()
        log.error("a server failed", server=self.name, problem=self._told, exc_info=None if known else error)
        fields = {"code": problem.code, "found": problem.found, "remedy": problem.remedy}
        self._note(Event(time.time_ns(), "server", self.name, problem.message, fields, "error"))

    def clients(self) -> list[str]:
        return self._server.clients() if self._server is not None else []

    def endpoints(self) -> list[str]:
        return self._server.endpoints() if self._server is not None else []


def _unknown(name: str, error: Exception) -> Problem:
    return Problem(
        "CL9001",
        f"the {name} server met a fault in tickwork",
        found=f"{type(error).__name__}: {error}",
        remedy="please report it with the log of the gate; the server is tried again",
    )
