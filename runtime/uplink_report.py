"""What a node reports of its tags: which ones, described how, and only what changed by more than its deadband."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

import scan
from runtime.facts import Facts
from runtime.link import Batch, Describe, Status, Tag, TaskStatus
from runtime.plant import SupervisorSection
from scan.abi import Application, IecType, Symbol
from scan.problem import Place, Problem

ARRAY_ELEMENTS_MAX = 64  # longer arrays are working memory, not process values
ROWS_MAX = 10_000  # of one batch
TEXT_TYPES = frozenset({IecType.STRING, IecType.WSTRING})
_SKIPPED_TYPES = frozenset({IecType.REF})


def reported_symbols(application: Application, section: SupervisorSection) -> tuple[Symbol, ...]:
    """The leaves that the supervisor sees, in the order of their tag ids; small arrays element by element."""
    return tuple(
        leaf
        for symbol in application.symbols
        if symbol.access != "none" and not symbol.constant and symbol.type not in _SKIPPED_TYPES
        for leaf in _leaves(symbol)
        if section.selects(leaf.path)
    )


def _leaves(symbol: Symbol) -> Iterator[Symbol]:
    if not symbol.dims:
        yield symbol
        return
    counts = [high - low + 1 for low, high in symbol.dims]
    count = int(np.prod(counts))
    if not 0 < count <= ARRAY_ELEMENTS_MAX or symbol.bit >= 0:
        return
    size = symbol.size // count
    for index in range(count):
        at = ",".join(
            str(i + low) for i, (low, _) in zip(np.unravel_index(index, counts), symbol.dims, strict=True)
        )
        yield msgspec.structs.replace(
            symbol, path=f"{symbol.path}[{at}]", offset=symbol.offset + index * size, size=size, dims=(), access="r",
            type_name=symbol.type.name,
        )  # fmt: skip


def describe(facts: Facts, application: Application | None, symbols: tuple[Symbol, ...]) -> Describe:
    return Describe(
        name=facts.name,
        digest=application.digest if application else "",
        artifact=facts.artifact,
        tags=tuple(
            Tag(
                index, symbol.path, int(symbol.type), symbol.unit, symbol.low, symbol.high, symbol.access == "rw",
                symbol.comment, symbol.enum_values, symbol.location,
            )
            for index, symbol in enumerate(symbols)
        ),
        tasks=facts.tasks,
        devices=tuple(device.name for device in facts.devices),
        version=facts.version,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to report, as columns."""

    ids: npt.NDArray[np.uint32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    quality: npt.NDArray[np.uint16]
    texts: tuple[tuple[int, str], ...]

    def batches(self) -> Iterator[Changes]:
        """In parts of at most ``ROWS_MAX`` rows."""
        for start in range(0, len(self.ids), ROWS_MAX):
            part = slice(start, start + ROWS_MAX)
            texts = tuple((row - start, text) for row, text in self.texts if start <= row < start + ROWS_MAX)
            yield Changes(self.ids[part], self.times[part], self.values[part], self.quality[part], texts)

    def batch(self, seq: int, digest: str, *, historical: bool) -> Batch:
        return Batch(
            seq, digest, self.ids.tobytes(), self.times.tobytes(), self.values.tobytes(), self.quality.tobytes(),
            self.texts, historical,
        )  # fmt: skip


class Reporter:
    """Report by exception for one generation of the program."""

    def __init__(self, view: scan.NodeView, symbols: tuple[Symbol, ...], section: SupervisorSection) -> None:
        self._view = view
        self._gather = scan.Gather(view, symbols)
        self._limits = deadbands(symbols, section)
        self._sent = np.full(len(symbols), np.nan)
        self._sent_quality = np.zeros(len(symbols), np.uint16)
        self._is_text = np.array([symbol.type in TEXT_TYPES for symbol in symbols], bool)

    def changes(self, *, everything: bool = False) -> Changes:
        """What changed beyond its deadband since it was last reported; ``everything``: all tags once."""
        rows = self._gather.update(self._view.snapshot())
        if everything:
            rows = np.arange(len(self._sent))
        elif len(rows):
            rows = rows[self._beyond(rows)]
        values, quality = self._gather.values[rows], self._gather.quality[rows]
        self._sent[rows], self._sent_quality[rows] = values, quality
        texts = tuple(
            (int(at), str(self._gather.exact(int(rows[at])))) for at in np.flatnonzero(self._is_text[rows])
        )
        return Changes(
            rows.astype(np.uint32), self._gather.times[rows].astype(np.int64), values.astype(np.float64),
            quality.astype(np.uint16), texts,
        )  # fmt: skip

    def _beyond(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Quality changes always count; so does a change from or to NaN."""
        values, sent = self._gather.values[rows], self._sent[rows]
        moved = ~(np.abs(values - sent) <= self._limits[rows])
        same_nan = np.isnan(values) & np.isnan(sent) & ~self._is_text[rows]
        requalified = self._gather.quality[rows] != self._sent_quality[rows]
        return (moved & ~same_nan) | requalified


def deadbands(symbols: tuple[Symbol, ...], section: SupervisorSection) -> npt.NDArray[np.float64]:
    """The largest change of each tag that is not reported; the first rule that names a tag holds. -1: report any."""
    limits = np.full(len(symbols), -1.0)
    for index, symbol in enumerate(symbols):
        for rule in section.deadbands:
            if symbol.type in TEXT_TYPES or not SupervisorSection("", rule.tags).selects(symbol.path):
                continue
            span = (symbol.high - symbol.low) if symbol.low is not None and symbol.high is not None else 0.0
            limits[index] = max(rule.absolute, rule.percent / 100 * span)
            break
    return np.where(limits > 0, limits, 0.0)


def task_statuses(view: scan.NodeView) -> tuple[TaskStatus, ...]:
    return tuple(
        TaskStatus(
            one.name, one.period_ns, one.scans, one.overruns,
            one.latency.percentile_ns(50), one.latency.percentile_ns(99), one.latency.max_ns,
            one.execution.percentile_ns(50), one.execution.percentile_ns(99), one.execution.max_ns,
            latency_histogram=tuple(int(count) for count in one.latency.counts),
            execution_histogram=tuple(int(count) for count in one.execution.counts),
        )
        for one in view.stats()
    )  # fmt: skip


def fault_problem(view: scan.NodeView) -> Problem | None:
    """The program fault as a problem with its place in the source."""
    fault = view.fault
    if fault is None:
        return None
    return Problem(
        fault.code,
        f"the program faulted in {fault.pou}",
        Place(fault.file, fault.line),
        found=f"task {fault.task}, scan {fault.scan}",
        remedy=f"`tickwork explain {fault.code}` tells more; correct the program and deploy it, or start it again",
    )


def status(
    facts: Facts,
    view: scan.NodeView,
    *,
    time_ns: int,
    clients: tuple[str, ...],
    endpoints: tuple[str, ...],
    buffered: int,
    lost: int,
) -> Status:
    """The node's state now, for the supervisor and local tools alike."""
    view.refresh()
    application = view.application
    snapshot = view.snapshot() if application is not None else None
    return Status(
        time_ns=time_ns,
        state=facts.state,
        scan=snapshot.scan if snapshot else 0,
        digest=application.digest if application else "",
        tasks=task_statuses(view) if application else (),
        devices=facts.devices,
        forces=len(snapshot.forces) if snapshot else 0,
        clients=clients,
        buffered=buffered,
        lost=lost,
        fault=fault_problem(view) if facts.state == "fault" else None,
        processes=facts.processes,
        endpoints=endpoints,
    )
