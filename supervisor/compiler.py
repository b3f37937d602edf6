"""Checks and builds programs in worker processes: whatever a source does to the compiler, the supervisor goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from scan.problem import Place, Problem, TickworkError, fail
from supervisor.artifacts import ArtifactInfo
from supervisor.model import CheckReport, SourceFile

WORKERS = 2
TIMEOUT_S = 60
OUTPUT_MAX = 4 * 1024 * 1024


class CaseResult(msgspec.Struct, frozen=True):
    """A case of a step table or of a TEST in Structured Text. ``duration_ns``: virtual time that it took."""

    table: str
    name: str
    passed: bool
    scans: int = 0
    duration_ns: int = 0
    problems: tuple[Problem, ...] = ()


class ProgramTests(msgspec.Struct, frozen=True):
    ok: bool
    cases: tuple[CaseResult, ...]
    problems: tuple[Problem, ...]
    elapsed_ms: int


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    problems: tuple[Problem, ...] = ()
    info: ArtifactInfo | None = None
    cases: tuple[CaseResult, ...] = ()


class Compiler:
    """``artifacts.Inspector`` and what the program service needs."""

    def __init__(self) -> None:
        self._workers = asyncio.Semaphore(WORKERS)

    async def check(self, files: tuple[SourceFile, ...], digest: str) -> CheckReport:
        start = time.monotonic()
        with _folder(files) as folder:
            answer = await self._run("check", str(folder))
            problems = tuple(_relative(problem, folder) for problem in answer.problems)
        return CheckReport(answer.ok, problems, digest, int((time.monotonic() - start) * 1000))

    async def build(self, files: tuple[SourceFile, ...]) -> bytes:
        """The artifact. Raises TickworkError with the program's problems."""
        with _folder(files) as folder, tempfile.TemporaryDirectory(prefix="tickwork-out-") as out:
            artifact = Path(out) / "program.twa"
            answer = await self._run("build", str(folder), "--output", str(artifact))
            if not answer.ok:
                raise TickworkError(*(_relative(problem, folder) for problem in answer.problems))
            return await asyncio.to_thread(artifact.read_bytes)

    async def test(self, files: tuple[SourceFile, ...]) -> ProgramTests:
        """The program's own tests, in virtual time. ``problems`` are those that kept them from running."""
        start = time.monotonic()
        with _folder(files) as folder:
            answer = await self._run("test", str(folder))
            cases = tuple(
                CaseResult(
                    one.table.replace(f"{folder}{os.sep}", ""), one.name, one.passed, one.scans, one.duration_ns,
                    tuple(_relative(problem, folder) for problem in one.problems),
                )
                for one in answer.cases
            )  # fmt: skip
            problems = tuple(_relative(problem, folder) for problem in answer.problems)
        return ProgramTests(answer.ok, cases, problems, int((time.monotonic() - start) * 1000))

    async def inspect(self, artifact: bytes) -> ArtifactInfo:
        """What the artifact says of itself. Raises TickworkError when it is none."""
        with tempfile.NamedTemporaryFile(prefix="tickwork-", suffix=".twa") as file:
            file.write(artifact)
            file.flush()
            answer = await self._run("inspect", file.name)
        if answer.info is None:
            raise TickworkError(*answer.problems)
        return answer.info

    async def _run(self, *arguments: str) -> _Answer:
        async with self._workers:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "supervisor.program_worker", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env=environment(), limit=OUTPUT_MAX, start_new_session=True,
            )  # fmt: skip
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    assert process.stdout is not None
                    output = await process.stdout.read(OUTPUT_MAX)
                    await process.wait()
            except TimeoutError as error:
                raise _unfinished(f"nothing after {TIMEOUT_S} s") from error
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
        return _answer(output, process.returncode or 0)


def _answer(output: bytes, code: int) -> _Answer:
    try:
        return msgspec.json.decode(output, type=_Answer)
    except msgspec.DecodeError as error:
        raise _unfinished(f"it ended with {code}") from error


def _unfinished(found: str) -> TickworkError:
    return fail(
        "SV4002",
        "the program's check did not come to an end",
        expected=f"an end within {TIMEOUT_S} s and the memory allowed",
        found=found,
        remedy="make the program smaller, or check it with `tickwork check` to see more",
    )


def environment() -> dict[str, str]:
    """Only what Python needs to start: nothing of the supervisor's own settings."""
    kept = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "TMPDIR", "XDG_CACHE_HOME")
    path = os.pathsep.join(
        p for p in (str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")) if p
    )
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "PYTHONPATH": path,
        "NO_COLOR": "1",
    }


@contextlib.contextmanager
def _folder(files: tuple[SourceFile, ...]) -> Iterator[Path]:
    """The files as a plant folder. Their paths have been checked when they came in (``archive``)."""
    with tempfile.TemporaryDirectory(prefix="tickwork-plant-") as name:
        for file in files:
            path = Path(name) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text, encoding="utf-8")
        yield Path(name)


def _relative(problem: Problem, folder: Path) -> Problem:
    """Places in terms of the project's files, not of our temporary folder."""
    place, prefix = problem.place, f"{folder}{os.sep}"
    changes: dict[str, Any] = {
        name: value.replace(prefix, "").replace(str(folder), ".")
        for name in ("message", "expected", "found", "remedy")
        if str(folder) in (value := getattr(problem, name))
    }
    if place.file.startswith(prefix):
        changes["place"] = Place(place.file.removeprefix(prefix), place.line, place.column, place.length)
    return msgspec.structs.replace(problem, **changes) if changes else problem
