"""Who wrote a variable in a recorded scan: the scan is evaluated again from the sources, statement by statement."""

from __future__ import annotations

import pathlib
from dataclasses import dataclass

import numpy as np

import programs
from programs import hir
from programs.building import checked, program_digest, read_folder, read_settings
from programs.evaluate import Evaluator
from programs.evaluate_memory import Pointer, Value
from scan import layout as w
from scan.abi import Region, Symbol
from scan.problem import TickworkError, fail
from scan.trace import Change
from scan.view import bit_mask


@dataclass(frozen=True, slots=True)
class Writer:
    """A statement that wrote. ``file`` is relative to the plant."""

    pou: str
    file: str
    line: int


class _Watcher(Evaluator):
    """An evaluator that keeps who last changed some bytes of its block."""

    def watch(self, symbol: Symbol) -> None:
        self._symbol = symbol
        self._seen = self._now()
        self.writer: tuple[str, int] | None = None

    def _now(self) -> bytes:
        data = self.block[self._symbol.offset : self._symbol.offset + self._symbol.size]
        mask = bit_mask(self._symbol)
        return bytes([int(data[0]) & mask]) if mask else data.tobytes()

    def _look(self, line: int) -> None:
        now = self._now()
        if now != self._seen:
            self._seen = now
            self.writer = (self.frames[-1].pou.key, line)

    def assign(self, pointer: Pointer, kind: hir.Type, value: Value, line: int) -> None:
        super().assign(pointer, kind, value, line)
        self._look(line)

    def statement(self, statement: hir.Statement) -> None:
        super().statement(statement)
        self._look(getattr(statement, "line", 0))


class Sources:
    """The checked program of a plant folder or an artifact."""

    def __init__(self, source: pathlib.Path) -> None:
        if not source.is_file():
            settings, _, files = read_folder(source)
        else:
            artifact = programs.open_artifact(source.read_bytes())
            settings = read_settings(artifact.plant_text, artifact.manifest.name)
            files = artifact.sources()
        self.digest = program_digest(settings, files)
        self._program = checked(settings, files)[0]

    def require(self, application: str) -> None:
        """Raises TickworkError SC4004 unless this is the program that was recorded."""
        if self.digest != application:
            raise fail(
                "SC4004", "these sources are not those of the recorded program",
                expected=application[:16], found=self.digest[:16],
                remedy="name the plant folder or artifact that ran at that time",
            )  # fmt: skip

    def writer(self, change: Change, path: str) -> Writer | None:
        """The statement that gave the variable its new value; None when no statement did."""
        moment = change.moment
        self.require(moment.checkpoint.application)
        scans = [one for one in moment.records if one.kind == w.RECORD_SCAN]
        runs = tuple(
            (task, one.scan, one.now_ns, int(one.words[w.RECORD_HEAD_WORDS]))
            for one, task in zip(scans, moment.tasks, strict=True)
        )
        after = moment.engine.block.tobytes()
        return self.writer_of(path, change.block.tobytes(), after, runs, moment.engine.application.inputs)

    def writer_of(
        self,
        path: str,
        before: bytes,
        after: bytes,
        runs: tuple[tuple[str, int, int, int], ...],
        inputs: Region,
    ) -> Writer | None:
        """The last statement that changed a variable from a state on, with %I as in the state after.

        ``runs`` are task, scan, IEC time and wall time of each scan.
        """
        watcher = _Watcher(self._program)
        watcher.block[:] = np.frombuffer(before, np.uint8)
        end = inputs.offset + inputs.size
        watcher.block[inputs.offset : end] = np.frombuffer(after, np.uint8)[inputs.offset : end]
        watcher.watch(watcher.symbols[path.lower()])
        for task, scan, now_ns, wall_ns in runs:
            watcher.context.wall_ns, watcher.context.scan = wall_ns, scan
            watcher.scan(now_ns, task)
        if watcher.writer is None:
            return None
        pou, line = watcher.writer
        return Writer(pou, self._program.pous[pou].file if pou in self._program.pous else "", line)


def find_sources(recording: pathlib.Path, application: str) -> Sources | None:
    """The artifact of a recorded application, if the node's state directory around the recording still has it."""
    for parent in recording.absolute().parents[:3]:
        for path in sorted((parent / "artifacts").glob("*.twa")):
            try:
                sources = Sources(path)
            except (TickworkError, OSError):
                continue
            if sources.digest == application:
                return sources
    return None
