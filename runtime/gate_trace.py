"""Answers questions to the recording for the gate: ``tickwork trace`` in a child of low priority.

The child opens files only; nothing that a question costs is paid by the gate or by a scan. One question at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import sys

import msgspec

from runtime import control
from runtime.link import TraceQuestion
from scan.problem import TickworkError, fail

TIMEOUT_S = 60.0
STEPS_MAX = 200
VARIABLES_MAX = 500
ANSWER_MAX = 8 * 1024 * 1024
_LOWEST = 19

_one_at_a_time = asyncio.Lock()


def arguments(question: TraceQuestion, recordings: pathlib.Path) -> list[str]:
    """The command line of a question. What a question holds is never taken for an option."""
    given = {"--scan": str(max(question.scan, 0)), "--time": question.time, "--when": question.when,
             "--back": str(min(max(question.back, 0), STEPS_MAX)),
             "--forward": str(min(max(question.forward, 0), STEPS_MAX)), "--why": question.why}  # fmt: skip
    options = [f"{name}={value}" for name, value in given.items() if value]
    flags = ["--lines"] if question.lines else []
    return [*options, *flags, "--json", "--", str(recordings), *question.variables[:VARIABLES_MAX]]


async def answer(question: TraceQuestion, recordings: pathlib.Path) -> bytes:
    """The answer as JSON. Raises the TickworkError that the command met, LK4011 when it takes too long."""
    async with _one_at_a_time:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "runtime.cli", "trace", *arguments(question, recordings),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _LOWEST)
        try:
            out, _ = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
        except TimeoutError as error:
            raise fail("LK4011", "the recording could not be searched in time", expected=f"within {TIMEOUT_S:.0f} s",
                       remedy="ask for a narrower stretch, or use tickwork trace on the node") from error  # fmt: skip
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
    if len(out) > ANSWER_MAX:
        raise fail("LK4011", "the answer is too large", expected=f"at most {ANSWER_MAX} bytes", found=str(len(out)),
                   remedy="ask for fewer variables or fewer scans")  # fmt: skip
    return _checked(out)


def _checked(out: bytes) -> bytes:
    try:
        told = msgspec.json.decode(out)
    except msgspec.DecodeError as error:
        raise fail(
            "LK4011", "the recording gave no answer", found=out[-200:].decode(errors="replace")
        ) from error
    if isinstance(told, dict) and told.get("problems"):
        raise TickworkError(*control.problems_of(told["problems"]))
    return out
