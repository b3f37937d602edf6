"""Questions to a recording: the state after any scan, the first scan of a condition, the last change of a variable.

Theory. A state is found by running on from the checkpoint before it, so each answer costs at most the scans between
two checkpoints; only a search for a condition runs over everything that it has to look at.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scan import layout as w
from scan import recording as r
from scan.abi import Symbol
from scan.problem import TickworkError, fail
from scan.replay import Recording, chunks, equal
from scan.stretches import Engines, Stretch
from scan.values import Value, read_value
from scan.view import bit_mask
from scan.virtual import VirtualEngine

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Moment:
    """The state after one scan: ``record`` is that of the scan, ``records`` all that led to it from the one before."""

    record: r.Record
    records: tuple[r.Record, ...]
    engine: VirtualEngine  # in this state until the next moment is taken
    checkpoint: r.Checkpoint

    @property
    def scan(self) -> int:
        return self.record.scan

    @property
    def wall_ns(self) -> int:
        return _wall(self.record)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that ran, in their order."""
        names = {slot: name for name, slot in self.checkpoint.slots.items()}
        kinds = [one for one in self.records if one.kind == w.RECORD_SCAN]
        return tuple(names.get(one.task, f"task {one.task}") for one in kinds)

    def read(self, path: str) -> Value:
        """Raises TickworkError SC2001 for an unknown variable."""
        return read_value(self.engine.block, self.engine.symbol(path))


@dataclass(frozen=True, slots=True)
class Change:
    """A scan in which a variable took another value. ``block`` is the state before it."""

    moment: Moment
    before: Value | None  # None: the program before had no such variable
    after: Value
    block: Bytes
    commanded: bool  # an operator's write or force on it took effect in this scan
    released: bool = False  # a force on it ended
    exchanged: bool = False  # not the scan but the online change before it gave the value
    in_gap: bool = False  # it changed where the recording holds nothing, before this scan


class Trace:
    """A recording to be asked. Scan numbers that occur twice, as a scan process counts anew, mean the latest."""

    def __init__(self, recording: Recording) -> None:
        self._engines = Engines(recording.application)
        self._stretches = [stretch for stretch in recording.stretches() if stretch.scans]
        if not self._stretches:
            raise fail(
                "SC4005", "there are no scans to look at", remedy="a recording begins at its first checkpoint"
            )

    @property
    def span(self) -> tuple[int, int]:
        """First and last scan."""
        return self._stretches[0].start.scan + 1, _last_scan(self._stretches[-1])

    def at(self, scan: int) -> Moment:
        """The state after a scan, or after the last one before it. Raises TickworkError SC4006 outside of it."""
        for number in reversed(range(len(self._stretches))):
            stretch = self._stretches[number]
            if stretch.start.scan < scan <= _last_scan(stretch):
                return self._last(stretch, lambda record: record.scan <= scan)
        first, last = self.span
        raise fail(
            "SC4006", "the recording does not hold this scan",
            expected=f"a scan from {first} to {last}, outside of gaps", found=str(scan),
        )  # fmt: skip

    def step(self, scan: int) -> tuple[Moment, Bytes]:
        """As ``at``, with the state before that scan."""
        wanted = self.at(scan).scan
        stretch = next(one for one in reversed(self._stretches) if one.start.scan < wanted <= _last_scan(one))
        before = self._engines.at(stretch.start).block.copy()
        for moment in self._run(stretch):
            if moment.scan == wanted:
                return moment, before
            before = moment.engine.block.copy()
        raise AssertionError("the scan was there a moment ago")

    def at_time(self, wall_ns: int) -> Moment:
        """The state after the last scan that began at or before a time. Raises TickworkError SC4006."""
        for stretch in reversed(self._stretches):
            if _first_wall(stretch) <= wall_ns:
                return self._last(stretch, lambda record: _wall(record) <= wall_ns)
        begin = datetime.datetime.fromtimestamp(_first_wall(self._stretches[0]) / 1e9, datetime.UTC)
        raise fail("SC4006", "the recording begins later", expected=f"{begin:%Y-%m-%dT%H:%M:%S.%f}Z or later")

    def _last(self, stretch: Stretch, wanted: Callable[[r.Record], bool]) -> Moment:
        """The last moment of a stretch before the first that is not wanted; its first one at least."""
        count = 0
        for _, record in chunks(stretch):
            if not wanted(record):
                break
            count += 1
        moments = self._run(stretch)
        found = next(moments)
        for _ in range(count - 1):
            found = next(moments)
        return found

    def moments(self, begin: int = 0) -> Iterator[Moment]:
        """All states from a scan on, in order. Each is gone when the next one is taken."""
        for stretch in self._stretches:
            if _last_scan(stretch) >= begin:
                yield from (moment for moment in self._run(stretch) if moment.scan >= begin)

    def _run(self, stretch: Stretch) -> Iterator[Moment]:
        engine = self._engines.at(stretch.start)
        for chunk, record in chunks(stretch):
            engine.replay(np.concatenate([one.words for one in chunk]).tobytes())
            engine.flush()
            yield Moment(record, tuple(chunk), engine, stretch.start)

    def first(self, holds: Callable[[Moment], bool], begin: int = 0) -> Moment | None:
        """The first state from a scan on for which a condition holds."""
        return next((moment for moment in self.moments(begin) if holds(moment)), None)

    def last_change(self, path: str, until: int) -> Change | None:
        """The last scan up to ``until`` that left another value in a variable than it found, or None if none did."""
        stretches = [one for one in self._stretches if one.start.scan < until]
        for number in reversed(range(len(stretches))):
            stretch = stretches[number]
            found = self._change_in(stretch, path, until)
            if found is None and number > 0 and (stretch.changed or not stretch.continues):
                found = self._change_between(stretches[number - 1], stretch, path)
            if found is not None:
                return found
        return None

    def _change_between(self, one: Stretch, other: Stretch, path: str) -> Change | None:
        """Where a variable begins with another value than it ended with: at an online change, or in a gap."""
        symbol = find_symbol(self._engines.at(other.start), path)
        if symbol is None:
            return None
        block = self._engines.at(other.start).block.copy()
        after, before = read_value(block, symbol), None
        *_, last = self._run(one)
        former = find_symbol(last.engine, path)
        if former is not None:
            before = read_value(last.engine.block, former)
            if equal(before, after):
                return None
        moment = next(self._run(other))
        return Change(
            moment, before, after, block, False, exchanged=other.changed, in_gap=not other.continues
        )

    def _change_in(self, stretch: Stretch, path: str, until: int) -> Change | None:
        engine = self._engines.at(stretch.start)
        symbol = find_symbol(engine, path)
        if symbol is None:
            return None
        last, before = -1, _bytes_of(engine, symbol)
        for number, moment in enumerate(self._run(stretch)):
            if moment.scan > until:
                break
            now = _bytes_of(engine, symbol)
            if now != before:
                last, before = number, now
        return self._change_at(stretch, symbol, last) if last >= 0 else None

    def _change_at(self, stretch: Stretch, symbol: Symbol, wanted: int) -> Change | None:
        engine = self._engines.at(stretch.start)
        block, forced = engine.block.copy(), is_forced(engine, symbol)
        for number, moment in enumerate(self._run(stretch)):
            if number == wanted:
                commanded = any(_names(record, symbol) for record in moment.records)
                after = read_value(moment.engine.block, symbol)
                released = forced and not is_forced(moment.engine, symbol)
                return Change(moment, read_value(block, symbol), after, block, commanded, released)
            block, forced = moment.engine.block.copy(), is_forced(moment.engine, symbol)
        return None


def find_symbol(engine: VirtualEngine, path: str) -> Symbol | None:
    """None where the program has no such variable."""
    try:
        return engine.symbol(path)
    except TickworkError:
        return None


def is_forced(engine: VirtualEngine, symbol: Symbol) -> bool:
    forces = np.frombuffer(engine.force_table, w.FORCE_DTYPE)
    same = (forces["offset"] == symbol.offset) & (forces["mask"] == bit_mask(symbol))
    return bool(same.any())


def _last_scan(stretch: Stretch) -> int:
    return int(stretch.words[stretch.positions[-1] + 1])


def _wall(record: r.Record) -> int:
    return int(record.words[w.RECORD_HEAD_WORDS])


def _first_wall(stretch: Stretch) -> int:
    return next(_wall(one) for one in stretch.records() if one.kind == w.RECORD_SCAN)


def _bytes_of(engine: VirtualEngine, symbol: Symbol) -> bytes:
    data = engine.block[symbol.offset : symbol.offset + symbol.size]
    mask = bit_mask(symbol)
    return bytes([int(data[0]) & mask]) if mask else data.tobytes()


def _names(record: r.Record, symbol: Symbol) -> bool:
    """Whether a command is one on this variable."""
    if record.kind != w.RECORD_COMMAND:
        return False
    row = record.words[w.RECORD_HEAD_WORDS :].view(w.COMMAND_DTYPE)[0]
    return int(row["offset"]) == symbol.offset and int(row["mask"]) == bit_mask(symbol)
