"""Programs are built in a process of their own, at low priority, so that no compiler shares anything with a scan.

``Builder`` is the node's side: it starts ``python -m runtime.build_job``, collects its lines and returns where
the results lie. Results are kept by digest in the state directory; building the same again costs little.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from runtime import control
from runtime.child import run_job
from runtime.control import Message
from runtime.plant import FILE_NAME, Plant, parse_plant, with_own_parts
from runtime.program import Program, read_application
from runtime.state import StateDirectory
from scan.problem import Problem, TickworkError, fail

NICE = 10
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """Digest of the artifact, the encoded Application, the artifact's plant file, warnings of the compiler."""

    artifact: str
    application: pathlib.Path
    plant: pathlib.Path
    warnings: tuple[Problem, ...] = ()


class Builder:
    """Builds for one node. ``own`` is the plant file that the node was started with."""

    def __init__(self, state: StateDirectory, own: Plant) -> None:
        self._state = state
        self._own = own

    async def folder(self, folder: pathlib.Path, progress: Progress) -> Built:
        """Builds a plant folder. Raises TickworkError with the program's problems."""
        return await self._run(("--folder", str(folder)), progress)

    async def artifact(self, digest: str, progress: Progress) -> Built:
        """Makes native code of an artifact that the state directory holds."""
        return await self._run(("--artifact", str(self._state.artifact(digest))), progress)

    def open(self, built: Built) -> Program:
        """The built program with its plant file as it is on this node. Raises PL codes for a bad plant file."""
        text = built.plant.read_text("utf-8")
        plant = parse_plant(text, folder=self._own.folder, file=FILE_NAME)
        application = read_application(built.application)
        return Program(built.artifact, built.application, application, with_own_parts(plant, self._own))

    async def _run(self, source: Sequence[str], progress: Progress) -> Built:
        results: list[Built] = []
        problems: list[Problem] = []

        def listen(event: str, fields: Message) -> None:
            if event == "progress":
                progress(str(fields.get("text", "")))
            elif event == "problems":
                problems.extend(control.problems_of(fields.get("problems")))
            elif event == "built":
                results.append(msgspec.convert(fields, Built, strict=False, dec_hook=_decode))

        state = ("--artifacts", str(self._state.artifacts), "--cache", str(self._state.cache))
        code = await run_job(
            "build", ("-m", "runtime.build_job", *source, *state), listener=listen, nice=NICE
        )
        if results and not problems:
            return results[0]
        if problems:
            raise TickworkError(*problems)
        raise fail(
            "PL3002", "the compiler ended without a result", found=f"return code {code}",
            remedy="this is a fault in tickwork: please report it with the sources and the log above",
        )  # fmt: skip


def _decode(wanted: type, value: object) -> object:
    """Paths and dataclasses nested in messages."""
    if wanted is pathlib.Path:
        return pathlib.Path(str(value))
    raise NotImplementedError(wanted)
