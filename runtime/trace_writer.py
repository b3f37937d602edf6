"""Who wrote a variable in a recorded scan: the scan is evaluated again from the sources, statement by statement."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import programs
from programs import hir
from programs.building import checked, program_digest, read_folder, read_settings
from programs.evaluate import Evaluator
from programs.evaluate_memory import Pointer, Value
from scan import layout as w
from scan import recording as r
from scan.abi import Region, Symbol
from scan.problem import TickworkError, fail
from scan.trace import Change, Moment
from scan.view import bit_mask

Run = tuple[str, int, int, int]  # task, scan, IEC time and wall time (ns) of an executed scan


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


class _Path(Evaluator):
    """An evaluator that keeps which statements it executed."""

    def __init__(self, program: hir.Program) -> None:
        super().__init__(program)
        self.lines: dict[str, set[int]] = {}

    def statement(self, statement: hir.Statement) -> None:
        line = getattr(statement, "line", 0)
        if line:
            self.lines.setdefault(self.frames[-1].pou.file, set()).add(line)
        super().statement(statement)


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
        after = moment.engine.block.tobytes()
        inputs = moment.engine.application.inputs
        return self.writer_of(path, _commanded(change.block, moment), after, _runs(moment), inputs)

    def executed(self, moment: Moment, before: bytes) -> dict[str, list[int]]:
        """The lines of each file whose statements ran in the scan that led from ``before`` to the moment."""
        self.require(moment.checkpoint.application)
        path = _Path(self._program)
        begin = _commanded(np.frombuffer(before, np.uint8), moment)
        after, inputs = moment.engine.block.tobytes(), moment.engine.application.inputs
        self._play(path, begin, after, _runs(moment), inputs)
        return {file: sorted(lines) for file, lines in sorted(path.lines.items())}

    def writer_of(
        self,
        path: str,
        before: bytes,
        after: bytes,
        runs: tuple[Run, ...],
        inputs: Region,
    ) -> Writer | None:
        """The last statement that changed a variable from a state on, with %I as in the state after."""
        watcher = _Watcher(self._program)
        self._play(watcher, before, after, runs, inputs, lambda: watcher.watch(watcher.symbols[path.lower()]))
        if watcher.writer is None:
            return None
        pou, line = watcher.writer
        return Writer(pou, self._program.pous[pou].file if pou in self._program.pous else "", line)

    @staticmethod
    def _play(
        evaluator: Evaluator,
        before: bytes,
        after: bytes,
        runs: tuple[Run, ...],
        inputs: Region,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Executes the scans from a state on; ``begin`` is called when the state and the inputs are in place."""
        evaluator.block[:] = np.frombuffer(before, np.uint8)
        end = inputs.offset + inputs.size
        evaluator.block[inputs.offset : end] = np.frombuffer(after, np.uint8)[inputs.offset : end]
        begin()
        for task, scan, now_ns, wall_ns in runs:
            evaluator.context.wall_ns, evaluator.context.scan = wall_ns, scan
            evaluator.scan(now_ns, task)


def _commanded(before: npt.NDArray[np.uint8], moment: Moment) -> bytes:
    """The state with the writes and forces that took effect before the program ran."""
    block = before.copy()
    for record in moment.records:
        if record.kind == w.RECORD_COMMAND:
            r.apply_command(block, record.words)
    return block.tobytes()


def _runs(moment: Moment) -> tuple[Run, ...]:
    scans = [one for one in moment.records if one.kind == w.RECORD_SCAN]
    return tuple(
        (task, one.scan, one.now_ns, int(one.words[w.RECORD_HEAD_WORDS]))
        for one, task in zip(scans, moment.tasks, strict=True)
    )


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
