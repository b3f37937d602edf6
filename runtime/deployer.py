"""Programs on their way into the scan process: at the start of the node, and online by a deployment."""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from runtime.builder import Built, Progress
from runtime.link import DeployState
from runtime.program import Program
from runtime.retain import Restored
from runtime.state import Current, write_atomically
from scan.problem import Problem, TickworkError, fail

if TYPE_CHECKING:
    from runtime.node import Node

log = structlog.get_logger("tickwork.node")

ACTIONS = ("start", "stop", "restart", "cold")
ARTIFACTS_KEPT = 10
FINISHED_KEPT = 100
FINAL = ("running", "refused", "rolled_back")


class Deployer:
    """One change of the program at a time. The old one runs on until the new one has passed its trial."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = asyncio.Lock()
        self._folder_artifact = ""
        self._finished: OrderedDict[str, DeployState] = OrderedDict()

    async def first_program(self, progress: Progress) -> Program | None:
        """What to start with: the plant folder, or what was deployed since the folder was last changed.

        A folder that does not build stops a first start with its problems; a node that ran before goes on with that.
        """
        node, current = self._node, self._node.state_directory.current()
        deployed = current is not None and node.state_directory.artifact(current.artifact).exists()
        try:
            built = await self._build_folder(progress)
        except TickworkError as error:
            if current is None or not deployed:
                raise
            node.note("deploy", "node", "the plant folder does not build; the last program is started",
                      severity="error", fields={"problem": str(error)[:2000]})  # fmt: skip
            return node.builder.open(await node.builder.artifact(current.artifact, progress))
        self._folder_artifact = built.artifact if built else ""
        unchanged = current is not None and deployed and current.folder_artifact == self._folder_artifact
        if current is not None and unchanged and (built is None or current.artifact != built.artifact):
            progress("starting the deployed program")
            built = await node.builder.artifact(current.artifact, progress)
        if built is None:
            return None
        program = node.builder.open(built)
        node.remember(Current(program.artifact, self._folder_artifact))
        return program

    async def _build_folder(self, progress: Progress) -> Built | None:
        if not self._node.own.sources:
            return None  # an empty node waits for its first deployment
        progress("checking the program")
        return await self._node.builder.folder(self._node.own.folder, progress)

    async def deploy(self, path: pathlib.Path, *, identifier: str, user: str, cold: bool) -> DeployState:
        """Brings the artifact in ``path`` to run. Never raises: the result says "running", "refused", "rolled_back"."""
        async with self._lock:
            if (
                identifier in self._finished
            ):  # sent again after a loss of the link: told again, not done again
                self._node.deploy_state(self._finished[identifier])
                return self._finished[identifier]
            try:
                return await self._deploy(path, identifier, user, cold=cold)
            except TickworkError as error:
                return self._say(identifier, "refused", problems=error.problems, user=user)
            except OSError as error:
                problem = Problem("PL3003", "the artifact cannot be kept", found=str(error),
                                  remedy="make room on the disk of the state directory")  # fmt: skip
                return self._say(identifier, "refused", problems=(problem,), user=user)

    async def _deploy(self, path: pathlib.Path, identifier: str, user: str, *, cold: bool) -> DeployState:
        node = self._node
        digest = await asyncio.to_thread(self._keep, path)
        self._say(identifier, "received")
        self._say(identifier, "compiling")
        program = node.builder.open(await node.builder.artifact(digest, lambda _text: None))
        async with node.program_lock:
            self._say(identifier, "swapping")
            if cold or node.program is None or node.state != "running":
                await self._replace(program, cold=cold)
            else:
                self._say(identifier, "trial")
                try:
                    await node.scan.swap(program)
                except TickworkError as error:
                    return self._say(identifier, "rolled_back", problems=error.problems, user=user)
                await node.adopt(program)
        node.remember(Current(program.artifact, self._folder_artifact))
        self._tidy()
        return self._say(identifier, "running", digest=self._running_digest(), user=user)

    async def _replace(self, program: Program, *, cold: bool) -> None:
        """Stop, load, start: for a stopped or empty node, and where initial values are wanted.

        A machine that a person or a fault has stopped is not set in motion by a deployment: the new program is loaded
        and waits for its start. When the scan process refuses the new program, the old one is loaded again, and
        runs if it ran before.
        """
        node, before, ran = self._node, self._node.program, self._node.state == "running"
        if before is not None:
            await asyncio.to_thread(node.scan.save_retained)
            await self._halt()
        try:
            await self._load(program, cold=cold)
        except TickworkError:
            if before is not None:
                await self._load(before, cold=False)
                if ran:
                    await node.run_program("warm")
            raise
        if ran or before is None:
            await node.run_program("cold" if cold else "warm")

    async def _load(self, program: Program, *, cold: bool) -> None:
        if cold:
            await self._node.scan.load(program, Restored())
            await self._node.adopt(program)
        else:
            await self._node.take_over(program)

    async def _halt(self) -> None:
        """A program that is stopped or in fault needs no stop before it is loaded or started."""
        if self._node.state == "running":
            await self._node.halt_program()

    async def control(self, action: str, user: str) -> None:
        """Starts or stops the program as a person asked."""
        node = self._node
        if action not in ACTIONS:
            raise fail("CL3003", f"a node cannot {action!r}", expected=", ".join(ACTIONS), found=action)
        node.stopped_by_hand = action == "stop"  # at once: a recovery under way must not start the machine
        async with node.program_lock:
            if node.program is None:
                raise fail("PL3004", "there is no program to start or stop", remedy="deploy one first")
            if action == "stop" and node.state != "stopped":
                await node.halt_program()
            elif action in ("restart", "cold"):
                await self._halt()
            if action == "cold":
                await self._load(node.program, cold=True)
                await node.run_program("cold")
            elif action in ("start", "restart"):
                await node.run_program("warm")
        node.note("stop" if action == "stop" else "start", user or "local", f"program: {action}")

    def _remember(self, final: DeployState) -> None:
        if final.id:
            self._finished[final.id] = final
        while len(self._finished) > FINISHED_KEPT:
            self._finished.popitem(last=False)

    def _keep(self, path: pathlib.Path) -> str:
        """Copies the artifact into the state directory under its digest."""
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        target = self._node.state_directory.artifact(digest)
        if not target.exists():
            write_atomically(target, data)
        return digest

    def _tidy(self) -> None:
        """Keeps the artifacts used last; the running one is among them."""
        folder = self._node.state_directory.artifacts
        oldest_first = sorted(folder.glob("*.twa"), key=lambda one: one.stat().st_mtime)
        running = self._node.program.artifact if self._node.program else ""
        for path in oldest_first[:-ARTIFACTS_KEPT]:
            if path.stem != running:
                path.unlink(missing_ok=True)

    def _running_digest(self) -> str:
        """As the scan process publishes it: what runs, not what was meant to run."""
        view = self._node.scan.view()
        return view.application.digest if view is not None and view.application is not None else ""

    def _say(
        self,
        identifier: str,
        state: str,
        *,
        digest: str = "",
        problems: tuple[Problem, ...] = (),
        user: str = "",
    ) -> DeployState:
        message = DeployState(identifier, state, digest, problems, time.time_ns())  # type: ignore[arg-type]
        self._node.deploy_state(message)
        if state in FINAL:
            self._remember(message)
            severity = "info" if state == "running" else "error"
            fields = {"digest": digest, "user": user} | (
                {"problem": str(problems[0].message)} if problems else {}
            )
            self._node.note("deploy", user or "node", f"deployment {state}", severity=severity, fields=fields)
        return message
