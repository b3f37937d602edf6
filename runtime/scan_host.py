"""The scan process as the parent sees it: started, loaded, ordered, restarted, and read for retained values."""

from __future__ import annotations

import asyncio
import os
import pathlib
import time
from collections.abc import Callable

import structlog

import scan
from runtime import control
from runtime.child import Child, spawn
from runtime.control import Message
from runtime.plant import ScanSection
from runtime.program import Program
from runtime.restart import RestartPolicy
from runtime.retain import Restored, RetainStore
from scan.problem import Place, Problem, TickworkError, fail

log = structlog.get_logger("tickwork.node")

LOAD_S = 30.0  # object code of a large program is relocated and its block published
SWAP_MARGIN_S = 30.0
STOP_S = 3.0

Report = Callable[[str, Message], None]  # what the scan process says by itself


def engine_cache(fallback: pathlib.Path) -> pathlib.Path:
    """Where the compiled engine is kept: once for all nodes of a user, in the node's own cache if there is no home."""
    given = os.environ.get("TICKWORK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        home = pathlib.Path(base) if base else pathlib.Path.home() / ".cache"
        folder = pathlib.Path(given) if given else home / "tickwork"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return fallback
    return folder if os.access(folder, os.W_OK) else fallback


class ScanHost:
    """One scan process after the other on the same segments. ``report`` receives its events and "exit"."""

    def __init__(
        self,
        segments: pathlib.Path,
        cache: pathlib.Path,
        section: ScanSection,
        retain: RetainStore,
        report: Report,
    ) -> None:
        self.child: Child | None = None
        self.program: Program | None = None
        self._segments = segments
        self._cache = cache
        self._section = section
        self._retain = retain
        self._report = report
        self._policy = RestartPolicy(section.restarts_max, section.restart_window_s)
        self._view: scan.NodeView | None = None
        self._ending = False
        self._trial: asyncio.Future[str] | None = None
        self._failures: tuple[Problem, ...] = ()  # what the process said before it ended

    @property
    def pid(self) -> int:
        return self.child.pid if self.child and self.child.alive else 0

    @property
    def restarts(self) -> int:
        return self._policy.restarts

    async def start(self) -> None:
        """Starts the process; it holds no program yet. Raises CL3006 when it does not come up."""
        arguments = [
            "-m",
            "scan.process",
            "--dir",
            str(self._segments),
            "--cache",
            str(engine_cache(self._cache)),
            "--lead-us",
            str(self._section.lead_us),
        ]
        if not self._section.realtime:
            arguments.append("--no-realtime")
        self.child = child = await spawn("scan", arguments, listener=self._listen)
        try:
            await child.ready()
        except TickworkError as error:
            raise TickworkError(*self._failures, *error.problems) from error
        asyncio.create_task(self._watch(child), name="watches the scan process")  # noqa: RUF006 - ends with it

    async def _watch(self, child: Child) -> None:
        code = await child.wait()
        if not self._ending:
            self._report("exit", {"code": code})

    def next_restart_delay_s(self) -> float | None:
        return self._policy.next_delay_s(time.monotonic())

    async def load(self, program: Program, restored: Restored) -> None:
        """Gives a stopped scan process a program, with kept values in its initial block."""
        path = self._prepared(program)
        await asyncio.to_thread(program.prepare, path, restored)
        await self._request(
            "load",
            application=str(path),
            safe=program.safe_values(),
            tasks=program.task_options(),
            timeout_s=LOAD_S,
        )
        self.program = program

    async def swap(self, program: Program) -> Message:
        """Online change: state carries over by path and type; returns after the trial.

        Raises what the scan process refused, or PL3005 when the trial failed and the old program runs again.
        """
        path, view = self._prepared(program), self.view()
        await asyncio.to_thread(program.prepare, path, Restored())
        self._trial = trial = asyncio.get_running_loop().create_future()
        try:
            answer = await self._request(
                "swap", application=str(path), safe=program.safe_values(), tasks=program.task_options(),
                trial_scans=program.trial_scans(), renames=program.renames_from(view.application if view else None),
                health=program.plant.change.health, timeout_s=SWAP_MARGIN_S,
            )  # fmt: skip
            result = await asyncio.wait_for(trial, program.plant.scan.trial_s * 10 + SWAP_MARGIN_S)
        except TimeoutError:
            result = "undecided"
        finally:
            self._trial = None
        if result != "running":
            raise self._failed_trial(result)
        self.program = program
        return answer

    def _failed_trial(self, result: str) -> TickworkError:
        view = self.view()
        fault = view.fault if view is not None else None
        found = f"{fault.code} in {fault.pou} ({fault.file}:{fault.line})" if fault else result
        place = Place(fault.file, fault.line) if fault else Place()
        return fail(
            "PL3005", "the new program failed its trial; the old one runs again", place=place,
            expected="no fault during the trial", found=found,
            remedy=f"`tickwork explain {fault.code}` tells more" if fault else "see the journal of the node",
        )  # fmt: skip

    def _listen(self, event: str, fields: Message) -> None:
        if event == "failed":
            self._failures = control.problems_of(fields.get("problems", ()))
        if event == "swap" and self._trial is not None and not self._trial.done():
            self._trial.set_result(str(fields.get("state", "")))
        self._report(event, fields)

    async def run(self, mode: str) -> str:
        """``mode``: "cold" or "warm" (keeps retained values of the block). Returns the state."""
        return str((await self._request("start", mode=mode))["state"])

    async def halt(self) -> str:
        """Stops the tasks; outputs go to their safe values. Returns the state."""
        return str((await self._request("stop"))["state"])

    async def stop(self) -> None:
        """Ends the process. Outputs are at their safe values afterwards."""
        self._ending = True
        if self.child is not None:
            await self.child.stop({"id": 0, "op": "quit"}, STOP_S)

    def view(self) -> scan.NodeView | None:
        """The published state, opened when the scan process has made it."""
        if self._view is None:
            try:
                self._view = scan.NodeView.open(self._segments)
            except TickworkError:
                return None
        self._view.refresh()
        return self._view

    def restored(self, program: Program) -> Restored:
        """Kept values for ``program``. Problems are in the result: the caller decides."""
        return self._retain.load(program.application, program.plant.change.renames)

    def save_retained(self) -> bool:
        """Saves the retained values of the last snapshot; also right after the process died: the snapshot stays."""
        view = self.view()
        if view is None or view.application is None:
            return False
        snapshot = view.snapshot()
        if snapshot.generation != view.generation or snapshot.scan == 0:
            return False
        return self._retain.save(view.application, snapshot.block, snapshot.scan, snapshot.wall_ns)

    def _prepared(self, program: Program) -> pathlib.Path:
        return self._segments / f"program-{program.digest[:16]}.app"

    async def _request(self, op: str, *, timeout_s: float = 10.0, **arguments: object) -> Message:
        assert self.child is not None, "start() comes first"
        return await self.child.request(op, timeout_s=timeout_s, **arguments)
