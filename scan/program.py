"""Memory of one loaded program: its blocks, contexts and tables, laid out for the compiled engine.

Theory. With one task the program works in the master block itself. With several each task has a block of its own,
whose shared part is copied in at the start and out (``TaskSpec.writes``) at the end of its scan; the master block
then holds what every task showed last, and is what snapshots and digests are taken from.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan.abi import ABI_VERSION, CONTEXT_DTYPE, HEADER_SIZE, Application, IecType, Region, Symbol, TaskSpec
from scan.problem import TickworkError, fail
from scan.segments import Bytes, Segment, Words, create_outputs, create_snapshot, create_stats

KINDS = {"cyclic": w.TASK_CYCLIC, "event": w.TASK_EVENT, "free": w.TASK_FREE}
TICK_TASK = "_tick"  # looks after events when no task of the program is cyclic or free-running
TICK_PERIOD_NS = 10_000_000
WATCHDOG_PERIODS = 10
WATCHDOG_MIN_NS = 100_000_000
SNAPSHOT_INTERVAL_NS = 1_000_000
BLOCK_SIZE_MAX = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the plant says about a task. ``watchdog_ms`` 0: ten periods, at least 100 ms; ``cpu`` -1: any."""

    watchdog_ms: float = 0
    overrun_limit: int = 0  # consecutive overruns; 0 = count only
    overrun_action: str = "alarm"  # or "fault"
    cpu: int = -1


@dataclasses.dataclass(frozen=True, slots=True)
class SafeValue:
    """``data`` at a byte of %Q, or the lowest bit of its first byte at ``bit``."""

    offset: int
    data: bytes
    bit: int = -1


def make_area(size: int) -> Bytes:
    """Zeroed bytes that begin on a cache line."""
    raw = np.zeros(max(size, 8) + w.CACHE_LINE, np.uint8)
    start = -int(raw.ctypes.data) % w.CACHE_LINE
    return raw[start : start + max(size, 8)]


def make_words(count: int) -> Words:
    return make_area(8 * count).view(np.int64)


def address_of(array: npt.NDArray[np.generic]) -> int:
    return int(array.ctypes.data)


# ---------------------------------------------------------------- checks


def check_application(application: Application) -> None:
    """Raises TickworkError SC3003 unless every place of the application lies where it may."""
    if application.abi != ABI_VERSION:
        remedy = "build the program with this version of tickwork"
        raise fail(
            "SC3003",
            "the application has another ABI",
            expected=str(ABI_VERSION),
            found=str(application.abi),
            remedy=remedy,
        )
    size = application.block_size
    if not HEADER_SIZE <= size <= BLOCK_SIZE_MAX or len(application.image) != size:
        raise _unfit(f"a block of {size} bytes with an image of {len(application.image)}")
    named = ("inputs", "outputs", "markers", "shared")
    for name, region in zip(named, (getattr(application, one) for one in named), strict=True):
        _check_region(name, region, size)
    for symbol in application.symbols:
        _check_region(symbol.path, Region(symbol.offset, symbol.size), size)
    _check_tasks(application)


def _check_tasks(application: Application) -> None:
    names = [task.name for task in application.tasks]
    if len(set(names)) != len(names) or not 1 <= len(names) < w.TASKS_MAX or TICK_TASK in names:
        raise _unfit(f"tasks {', '.join(names) or 'none'}")
    for task in application.tasks:
        if task.kind not in KINDS or (task.kind == "cyclic" and task.period_ns < 1) or task.period_ns < 0:
            raise _unfit(f"task {task.name} of kind {task.kind} with a period of {task.period_ns} ns")
        if task.kind == "event":
            find_event(application, task)
        for region in task.writes:
            _check_region(f"writes of {task.name}", region, application.block_size)


def _check_region(name: str, region: Region, size: int) -> None:
    if region.size < 0 or region.offset < 0 or region.offset + region.size > size:
        raise _unfit(f"{name} at {region.offset} with {region.size} bytes in a block of {size}")


def _unfit(found: str) -> TickworkError:
    remedy = "build the program again; report it if that does not help"
    return fail("SC3003", "the application does not fit this runtime", found=found, remedy=remedy)


def find_event(application: Application, task: TaskSpec) -> Symbol:
    for symbol in application.symbols:
        if symbol.path.upper() == task.event.upper() and symbol.type == IecType.BOOL and not symbol.dims:
            return symbol
    raise _unfit(f"task {task.name} waits for {task.event!r}, which is no BOOL")


# ---------------------------------------------------------------- tables


def owned_regions(application: Application, owner: str) -> list[tuple[int, int]]:
    """Runs of bytes that belong to a task alone: from its first symbol to the next symbol of somebody else."""
    regions: list[list[int]] = []
    last = None
    for symbol in sorted(application.symbols, key=lambda one: (one.offset, -one.size)):
        end = symbol.offset + symbol.size
        if symbol.owner == owner and last == owner and regions:
            regions[-1][1] = max(regions[-1][1], end)
        elif symbol.owner == owner:
            regions.append([symbol.offset, end])
        last = symbol.owner
    return [(start, end - start) for start, end in regions]


def written_regions(application: Application, spec: TaskSpec) -> list[tuple[int, int, int]]:
    """What a task copies out: (offset, size, by bits). By bits go %Q and %M: tasks may share a byte of them."""
    images = [
        (one.offset, one.offset + one.size) for one in (application.outputs, application.markers) if one.size
    ]
    cuts = sorted({edge for image in images for edge in image})
    regions = []
    for region in spec.writes:
        end = region.offset + region.size
        edges = [region.offset, *(cut for cut in cuts if region.offset < cut < end), end]
        for start, stop in pairwise(edges):
            by_bits = any(low <= start < high for low, high in images)
            regions.append((start, stop - start, int(by_bits)))
    return regions


def pack_rows(rows: Sequence[tuple[int, ...]]) -> Words:
    flat = [word for row in rows for word in row]
    words = make_words(max(len(flat), 1))
    words[: len(flat)] = flat
    return words


def make_safe_image(size: int, safe: Sequence[SafeValue]) -> tuple[Bytes, Bytes]:
    """The safe values and the mask of the bits that they hold. Raises TickworkError SC3007."""
    image, mask = make_area(size), make_area(size)
    for value in safe:
        end = value.offset + (1 if value.bit >= 0 else len(value.data))
        if value.offset < 0 or end > size or value.bit > 7 or not value.data:
            found = f"{len(value.data)} bytes at {value.offset}, bit {value.bit}"
            raise fail(
                "SC3007",
                "a safe value lies outside the outputs",
                expected=f"within {size} bytes",
                found=found,
            )
        if value.bit >= 0:
            image[value.offset] |= (value.data[0] & 1) << value.bit
            mask[value.offset] |= 1 << value.bit
        else:
            image[value.offset : end] = np.frombuffer(value.data, np.uint8)
            mask[value.offset : end] = 0xFF
    return image, mask


@dataclasses.dataclass(slots=True)
class TaskMemory:
    spec: TaskSpec
    slot: int
    words: Words
    block: Bytes
    context: Bytes
    kept: tuple[npt.NDArray[np.generic], ...]


class Program:
    """One program, ready for the engine. ``words`` is its PROGRAM structure."""

    def __init__(
        self,
        application: Application,
        entries: Mapping[str, int],
        slots: Mapping[str, int],
        *,
        generation: int,
        directory: pathlib.Path | None = None,
        safe: Sequence[SafeValue] = (),
        options: Mapping[str, TaskOptions] | None = None,
    ) -> None:
        self.application = application
        self.generation = generation
        self.specs = all_tasks(application)
        self.block = make_area(application.block_size)
        self.words = make_words(w.PROGRAM_WORDS)
        self._safe = make_safe_image(application.outputs.size, safe)
        self._forces = make_area(w.FORCES_MAX * w.FORCE_SIZE)
        row = 8 * w.INPUT_ROW_WORDS
        self._inputs = [make_area(-(-application.inputs.size // row) * row) for _ in range(3)]
        self.outputs, self.snapshot, self.stats = self._make_segments(directory, slots)
        self.stats_words = self._stats_area(max(slots.values()) + 1)
        self.tasks = {
            spec.name: self._make_task(spec, entries, slots, (options or {}).get(spec.name, TaskOptions()))
            for spec in self.specs
        }
        self.has_run = False
        self._kept: list[object] = []
        self._fill()
        self.reset(())

    def _make_segments(
        self, directory: pathlib.Path | None, slots: Mapping[str, int]
    ) -> tuple[Segment | None, Segment | None, Segment | None]:
        if directory is None:
            return None, None, None
        names = [""] * (max(slots.values()) + 1)
        for spec in self.specs:
            names[slots[spec.name]] = spec.name
        return (
            create_outputs(directory, self.generation, self.application.outputs.size),
            create_snapshot(directory, self.generation, self.application.block_size),
            create_stats(directory, self.generation, names),
        )

    def _stats_area(self, count: int) -> Words:
        if self.stats is None:
            return make_words(w.TASK_STATS_WORDS * count)
        return self.stats.words[w.STATS_HEADER_SIZE // 8 :]

    def _make_task(
        self, spec: TaskSpec, entries: Mapping[str, int], slots: Mapping[str, int], options: TaskOptions
    ) -> TaskMemory:
        slot = slots[spec.name]
        words = make_words(w.TASK_WORDS)
        context = make_area(CONTEXT_DTYPE.itemsize)
        block = self.block if len(self.specs) == 1 else make_area(self.application.block_size)
        written, own = written_regions(self.application, spec), owned_regions(self.application, spec.name)
        writes, owned = pack_rows(written), pack_rows(own)
        before = make_area(self.application.shared.size)
        words[w.K_ENTRY] = entries[spec.entry] if spec.entry else 0
        words[w.K_BLOCK], words[w.K_CONTEXT] = address_of(block), address_of(context)
        words[w.K_BEFORE] = address_of(before)
        words[w.K_KIND] = KINDS[spec.kind]
        words[w.K_PERIOD_NS] = max(spec.period_ns, 1)
        words[w.K_WRITES], words[w.K_WRITE_COUNT] = address_of(writes), len(written)
        words[w.K_OWNED], words[w.K_OWNED_COUNT] = address_of(owned), len(own)
        default_ns = max(WATCHDOG_PERIODS * spec.period_ns if spec.kind == "cyclic" else 0, WATCHDOG_MIN_NS)
        words[w.K_WATCHDOG_NS] = int(options.watchdog_ms * 1e6) or default_ns
        words[w.K_OVERRUN_LIMIT] = options.overrun_limit
        words[w.K_OVERRUN_FAULT] = int(options.overrun_action == "fault")
        self._fill_event(spec, words, slots)
        self._fill_stats(spec, words, slot)
        return TaskMemory(spec, slot, words, block, context, (writes, owned, before))

    def _fill_event(self, spec: TaskSpec, words: Words, slots: Mapping[str, int]) -> None:
        words[w.K_EVENT_OFFSET], words[w.K_EVENT_OWNER] = -1, -1
        if spec.kind == "event":
            symbol = find_event(self.application, spec)
            words[w.K_EVENT_OFFSET] = symbol.offset
            words[w.K_EVENT_MASK] = 1 << symbol.bit if symbol.bit >= 0 else 0
            words[w.K_EVENT_OWNER] = slots.get(symbol.owner, -1)

    def _fill_stats(self, spec: TaskSpec, words: Words, slot: int) -> None:
        start = slot * w.TASK_STATS_WORDS
        stats = self.stats_words[start : start + w.TASK_STATS_WORDS]
        stats[w.T_PERIOD_NS], stats[w.T_PRIORITY] = spec.period_ns, spec.priority
        words[w.K_STATS] = address_of(stats)

    def _fill(self) -> None:
        application, words = self.application, self.words
        words[w.Q_GENERATION] = self.generation
        words[w.Q_BLOCK], words[w.Q_BLOCK_SIZE] = address_of(self.block), application.block_size
        words[w.Q_SHARED_OFFSET], words[w.Q_SHARED_SIZE] = application.shared.offset, application.shared.size
        words[w.Q_INPUTS_OFFSET], words[w.Q_INPUTS_SIZE] = application.inputs.offset, application.inputs.size
        words[w.Q_OUTPUTS_OFFSET], words[w.Q_OUTPUTS_SIZE] = (
            application.outputs.offset,
            application.outputs.size,
        )
        words[w.Q_OUTPUTS] = self.outputs.address if self.outputs else 0
        words[w.Q_SNAPSHOT] = self.snapshot.address if self.snapshot else 0
        words[w.Q_SNAPSHOT_INTERVAL_NS] = SNAPSHOT_INTERVAL_NS
        words[w.Q_FORCES] = address_of(self._forces)
        words[w.Q_SAFE], words[w.Q_SAFE_MASK] = (address_of(part) for part in self._safe)
        words[w.Q_INPUTS_GOOD], words[w.Q_INPUTS_COPY], words[w.Q_INPUTS_RECORDED] = (
            address_of(part) for part in self._inputs
        )
        words[w.Q_HEALTH_OFFSET] = -1
        words[w.Q_TASK_COUNT], words[w.Q_SINGLE] = len(self.tasks), int(len(self.tasks) == 1)
        periods = [task.spec.period_ns for task in self.tasks.values() if task.spec.kind == "cyclic"]
        words[w.Q_PAUSE_MAX_NS] = min(periods, default=TICK_PERIOD_NS) // 2
        for task in self.tasks.values():
            words[w.Q_TASKS + task.slot] = address_of(task.words)

    # ------------------------------------------------------------ state

    def reset(self, retained: Iterable[tuple[int, bytes]]) -> None:
        """Initial values everywhere, then the retained bytes; the next scan of each task is its first."""
        self.block[:] = np.frombuffer(self.application.image, np.uint8)
        for offset, data in retained:
            if offset < HEADER_SIZE or offset + len(data) > len(self.block):
                raise _unfit(f"{len(data)} retained bytes at {offset}")
            self.block[offset : offset + len(data)] = np.frombuffer(data, np.uint8)
        self.words[w.Q_FORCE_COUNT] = 0
        inputs = self.application.inputs
        for area in self._inputs[:2]:
            area[: inputs.size] = self.block[inputs.offset : inputs.offset + inputs.size]
        for task in self.tasks.values():
            if task.block is not self.block:
                task.block[:] = self.block
            task.words[w.K_FIRST_SCAN] = 1
            task.words[w.K_EVENT_LAST] = task.words[w.K_LAST_DUE_NS] = 0

    def restore(self, image: bytes, forces: bytes, *, first_scan: bool) -> None:
        """The state of a checkpoint of this program; sizes are the caller's care."""
        self.block[:] = np.frombuffer(image, np.uint8)
        self._forces[: len(forces)] = np.frombuffer(forces, np.uint8)
        self.words[w.Q_FORCE_COUNT] = len(forces) // w.FORCE_SIZE
        inputs = self.application.inputs
        for area in self._inputs[:2]:
            area[: inputs.size] = self.block[inputs.offset : inputs.offset + inputs.size]
        for task in self.tasks.values():
            if task.block is not self.block:
                task.block[:] = self.block
            task.words[w.K_FIRST_SCAN] = int(first_scan)

    def retained(self) -> list[tuple[int, bytes]]:
        """Places and bytes of the RETAIN variables as they are now."""
        kept = [symbol for symbol in self.application.symbols if symbol.retain]
        whole = [
            (symbol.offset, self.block[symbol.offset : symbol.offset + symbol.size].tobytes())
            for symbol in kept
            if symbol.bit < 0
        ]
        image = self.application.image
        bits: dict[int, int] = {}
        for symbol in kept:
            if symbol.bit >= 0:
                mask = 1 << symbol.bit
                byte = bits.get(symbol.offset, image[symbol.offset])
                bits[symbol.offset] = byte & ~mask | int(self.block[symbol.offset]) & mask
        return whole + [(offset, bytes([byte])) for offset, byte in bits.items()]

    def block_of(self, symbol: Symbol) -> Bytes:
        """The block in which the variable lives."""
        task = self.tasks.get(symbol.owner)
        return task.block if task else self.block

    def inputs_good(self) -> Bytes:
        """The %I image that the next scan uses if no newer one comes; the engine exchanges two areas."""
        good = next(area for area in self._inputs if address_of(area) == int(self.words[w.Q_INPUTS_GOOD]))
        return good[: self.application.inputs.size]

    def force_table(self) -> bytes:
        """FORCE_DTYPE rows of the forces that are held."""
        return self._forces[: int(self.words[w.Q_FORCE_COUNT]) * w.FORCE_SIZE].tobytes()

    def keep(self, *arrays: object) -> None:
        """Holds memory that a word of this program points to."""
        self._kept.extend(arrays)

    def set_health(self, symbol: Symbol, slots: Mapping[str, int]) -> None:
        """While on trial, the BOOL must be TRUE after each scan."""
        self.words[w.Q_HEALTH_OFFSET] = symbol.offset
        self.words[w.Q_HEALTH_MASK] = 1 << symbol.bit if symbol.bit >= 0 else 0
        self.words[w.Q_HEALTH_OWNER] = slots.get(symbol.owner, -1)


def all_tasks(application: Application) -> tuple[TaskSpec, ...]:
    """The tasks, and one that looks after events if nothing else ticks."""
    if any(task.kind != "event" for task in application.tasks):
        return application.tasks
    lowest = max(task.priority for task in application.tasks) + 1
    return (*application.tasks, TaskSpec(TICK_TASK, "", period_ns=TICK_PERIOD_NS, priority=lowest))
