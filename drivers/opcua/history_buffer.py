"""A bounded memory of what variables were: their changes, in columns of a ring.

A sample appends one row for each variable that changed, so a variable that stands still costs nothing. The oldest rows
go when the ring is full. A variable is known by path and type: its past survives rebuilds and online changes. Texts and
arrays have no history.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from asyncua import ua

import scan
from scan.abi import IecType, Symbol

from .column_groups import BAD_BITS
from .tags import Tags
from .types import to_ua

ROW_SIZE = 8 + 8 + 4 + 4
_TEXTS = (IecType.STRING, IecType.WSTRING)
_FLOATS = (IecType.REAL, IecType.LREAL)


@dataclass(frozen=True, slots=True)
class Past:
    """Rows of one variable in time order: UTC ns, bit patterns, StatusCodes; ``marks`` number all rows ever kept."""

    symbol: Symbol
    times: npt.NDArray[np.int64]
    raw: npt.NDArray[np.uint64]
    status: npt.NDArray[np.uint32]
    marks: npt.NDArray[np.int64]

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        if self.symbol.type == IecType.REAL:
            return self.raw.astype(np.uint32).view(np.float32).astype(np.float64)
        if self.symbol.type == IecType.LREAL:
            return self.raw.view(np.float64)
        signed = self.symbol.type != IecType.ULINT and self.symbol.type != IecType.LWORD
        return self.raw.view(np.int64).astype(np.float64) if signed else self.raw.astype(np.float64)

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        return self.status < BAD_BITS

    def variant(self, row: int) -> ua.Variant:
        """The value as clients have it."""
        return to_ua(self.symbol, _value(self.symbol, int(self.raw[row])))


def _value(symbol: Symbol, raw: int) -> object:
    kind = symbol.type
    if kind == IecType.BOOL:
        return raw != 0
    if kind in _FLOATS:
        size = 4 if kind == IecType.REAL else 8
        return float(np.frombuffer(raw.to_bytes(8, "little")[:size], "<f4" if size == 4 else "<f8")[0])
    if kind in (IecType.ULINT, IecType.LWORD) or raw < 1 << 63:
        return raw
    return raw - (1 << 64)


class HistoryBuffer:
    """``patterns`` choose variables by their paths; ``size`` bytes are kept."""

    def __init__(self, patterns: Sequence[str], size: int) -> None:
        self._patterns = tuple(patterns)
        capacity = max(size // ROW_SIZE, 1000)
        self._times = np.zeros(capacity, np.int64)
        self._raw = np.zeros(capacity, np.uint64)
        self._ids = np.full(capacity, -1, np.int32)
        self._status = np.zeros(capacity, np.uint32)
        self._next = 0  # rows ever written
        self._known: dict[tuple[str, IecType], int] = {}
        self._symbols: dict[str, Symbol] = {}
        self._gather: scan.Gather | None = None
        self._rows_to_ids = np.zeros(0, np.int32)
        self._last_status = np.zeros(0, np.uint32)

    def keeps(self, path: str) -> bool:
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self._patterns)

    def bind(self, tags: Tags) -> None:
        """The variables of another program."""
        self._gather = None
        chosen = [
            symbol
            for symbol in tags.tree.symbols.values()
            if not symbol.dims and symbol.type not in _TEXTS and self.keeps(symbol.path)
        ]
        self._symbols = {symbol.path: symbol for symbol in chosen}
        if not chosen:
            return
        ids = [self._known.setdefault((one.path, one.type), len(self._known)) for one in chosen]
        self._rows_to_ids = np.array(ids, np.int32)
        self._last_status = np.full(len(ids), 0xFFFF_FFFF, np.uint32)
        self._gather = scan.Gather(tags.view, chosen)

    def sample(self, tags: Tags) -> None:
        """Keep what changed since the last sample."""
        gather = self._gather
        snapshot = tags.take_snapshot() if gather is not None else None
        if gather is None or snapshot is None or gather.generation != snapshot.generation:
            return
        changed = np.zeros(len(self._rows_to_ids), np.bool_)
        changed[gather.update(snapshot)] = True
        status = tags.overlay(gather.quality, snapshot.state)
        changed |= status != self._last_status
        self._last_status = status
        (rows,) = np.nonzero(changed)
        rows = rows[-len(self._times) :]
        places = (self._next + np.arange(len(rows))) % len(self._times)
        self._times[places] = snapshot.wall_ns
        self._raw[places] = gather.raw[rows]
        self._ids[places] = self._rows_to_ids[rows]
        self._status[places] = status[rows]
        self._next += len(rows)

    def past(self, path: str) -> Past | None:
        """All that is kept of a variable; None when it has no history."""
        symbol = self._symbols.get(path)
        if symbol is None:
            return None
        (places,) = np.nonzero(self._ids == self._known[path, symbol.type])
        start = self._next % len(self._times) if self._next > len(self._times) else 0
        ages = (places - start) % len(self._times)
        order = np.argsort(ages, kind="stable")
        places = places[order]
        marks = (ages[order] + max(self._next - len(self._times), 0)).astype(np.int64)
        # A clock that was set back must not break searches: rows stay in the order in which they were.
        times = np.maximum.accumulate(self._times[places]) if len(places) else self._times[places]
        return Past(symbol, times, self._raw[places], self._status[places], marks)
