"""Help while typing, from the project's own checker, in a process that lives apart (``supervisor.language_worker``)."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import msgspec

from supervisor.compiler import environment
from supervisor.language_worker import Help, Question

TIMEOUT_S = 5.0
LINE_MAX = 8 * 1024 * 1024
NOTHING = Help()


class Language:
    """Answers one question after another; one that breaks or outlasts the worker gets an empty answer."""

    def __init__(self) -> None:
        self._worker: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def ask(self, question: Question) -> Help:
        """``NOTHING`` while somebody else's question is still open behind this one: help that is late is none."""
        if self._waiting > 1:
            return NOTHING
        self._waiting += 1
        try:
            async with self._turn, asyncio.timeout(TIMEOUT_S):
                return await self._exchange(question)
        except (TimeoutError, OSError, ValueError, msgspec.DecodeError):
            await self.stop()
            return NOTHING
        finally:
            self._waiting -= 1

    async def _exchange(self, question: Question) -> Help:
        worker = await self._running()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(msgspec.json.encode(question) + b"\n")
        await worker.stdin.drain()
        return msgspec.json.decode(await worker.stdout.readline(), type=Help)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "supervisor.language_worker",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env=environment(), limit=LINE_MAX, start_new_session=True,
            )  # fmt: skip
        return self._worker

    async def stop(self) -> None:
        """Ends the worker; the next question starts another."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
