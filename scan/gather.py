"""Many symbols out of a snapshot at once, as columns: what servers and the link read 10,000 tags with.

Theory. The symbols are sorted by width into index tables once; an update is then a handful of numpy gathers. Changes
are found on the raw bits, so that a NaN equals itself and 64-bit integers compare exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scan import quality as q
from scan.abi import NUMPY_TYPE, IecType, Symbol
from scan.field_io import HEARTBEAT_TIMEOUT_NS
from scan.segments import Bytes
from scan.values import Value, read_value
from scan.view import NodeView, Snapshot, bit_mask

Rows = npt.NDArray[np.intp]
_TEXTS = (IecType.STRING, IecType.WSTRING)


class _Group:
    """Symbols of one numpy type: their rows, and where their bytes are."""

    def __init__(self, kind: str, rows: list[int], offsets: list[int]) -> None:
        self.rows = np.array(rows, np.intp)
        self.dtype = np.dtype(kind)
        size = self.dtype.itemsize
        starts = np.array(offsets, np.intp)
        self._aligned = bool(np.all(starts % size == 0))
        self._index = starts // size if self._aligned else (starts[:, None] + np.arange(size)).ravel()

    def read(self, block: Bytes) -> npt.NDArray[np.generic]:
        if self._aligned:
            whole = len(block) // self.dtype.itemsize * self.dtype.itemsize
            return block[:whole].view(self.dtype)[self._index]
        return block[self._index].view(self.dtype)


class Gather:
    """Columns over a fixed list of symbols of one program. Rows are positions in ``symbols``.

    ``values`` float64 (NaN for texts and arrays), ``raw`` uint64 bit patterns (sign-extended integers, IEEE bits of
    reals; 0 for texts and arrays), ``quality`` uint16, ``times`` int64 UTC ns of the last change or of the channel.
    """

    def __init__(self, view: NodeView, symbols: Sequence[Symbol]) -> None:
        self.generation = view.generation
        self.symbols = tuple(symbols)
        count = len(self.symbols)
        self.values = np.full(count, np.nan)
        self.raw = np.zeros(count, np.uint64)
        self.quality = np.zeros(count, np.uint16)
        self.times = np.zeros(count, np.int64)
        self._view = view
        self._first = True
        self._block: Bytes = np.zeros(0, np.uint8)
        self._groups = self._make_groups()
        self._bit_rows, self._bit_offsets, self._bit_masks = self._make_bits()
        self._others = [
            row for row, symbol in enumerate(self.symbols) if symbol.dims or symbol.type in _TEXTS
        ]
        self._other_bytes: dict[int, bytes] = {}
        self._rows_of = {(symbol.offset, bit_mask(symbol)): row for row, symbol in enumerate(self.symbols)}
        self._channel_rows, self._channels = np.zeros(0, np.intp), np.zeros(0, np.intp)
        self._channels_file = 0

    def _make_groups(self) -> list[_Group]:
        found: dict[str, tuple[list[int], list[int]]] = {}
        for row, symbol in enumerate(self.symbols):
            if not symbol.dims and symbol.bit < 0 and symbol.type not in _TEXTS:
                rows, offsets = found.setdefault(NUMPY_TYPE[symbol.type], ([], []))
                rows.append(row)
                offsets.append(symbol.offset)
        return [_Group(kind, rows, offsets) for kind, (rows, offsets) in found.items()]

    def _make_bits(self) -> tuple[Rows, Rows, Bytes]:
        bits = [
            (row, s.offset, 1 << s.bit) for row, s in enumerate(self.symbols) if s.bit >= 0 and not s.dims
        ]
        columns = np.array(bits, np.intp).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2].astype(np.uint8)

    def update(self, snapshot: Snapshot) -> Rows:
        """Brings the columns up to date; rows whose value or quality changed, ascending (the first time: all).

        Raises ValueError when the snapshot is of another generation: make a new Gather then.
        """
        if snapshot.generation != self.generation:
            raise ValueError(
                f"a gather of generation {self.generation} cannot read generation {snapshot.generation}"
            )
        raw = self.raw.copy()
        self._read_numbers(snapshot.block, raw)
        changed = raw != self.raw
        self.raw = raw
        self._read_others(snapshot.block, changed)
        self.times[changed] = snapshot.wall_ns
        self._block = snapshot.block
        quality = self._qualities(snapshot)
        changed |= quality != self.quality
        self.quality = quality
        if self._first:
            self._first = False
            changed[:] = True
            self.times[self.times == 0] = snapshot.wall_ns
        return np.flatnonzero(changed)

    def _read_numbers(self, block: Bytes, raw: npt.NDArray[np.uint64]) -> None:
        for group in self._groups:
            column = group.read(block)
            self.values[group.rows] = column
            if group.dtype.kind == "f":
                raw[group.rows] = column.view(f"<u{group.dtype.itemsize}")
            else:
                raw[group.rows] = (
                    column.astype(np.int64).view(np.uint64) if group.dtype.kind == "i" else column
                )
        if len(self._bit_rows):
            bits = (block[self._bit_offsets] & self._bit_masks) != 0
            raw[self._bit_rows] = bits
            self.values[self._bit_rows] = bits

    def _read_others(self, block: Bytes, changed: npt.NDArray[np.bool_]) -> None:
        for row in self._others:
            symbol = self.symbols[row]
            data = block[symbol.offset : symbol.offset + symbol.size].tobytes()
            if self._other_bytes.get(row) != data:
                self._other_bytes[row] = data
                changed[row] = True

    def _qualities(self, snapshot: Snapshot) -> npt.NDArray[np.uint16]:
        """Effective qualities; also the times of the channels, which are truer than those of the scan."""
        result = np.zeros(len(self.symbols), np.uint16)
        inputs = self._view.inputs()
        if inputs is not None:
            if self._channels_file != inputs.file:
                self._bind_channels()
                self._channels_file = inputs.file
            if len(self._channels) and int(self._channels.max()) < len(inputs.quality):
                column = inputs.quality[self._channels]
                if inputs.age_ns > HEARTBEAT_TIMEOUT_NS:
                    column = np.where(column >= q.BAD, column, np.uint16(q.BAD_NO_COMMUNICATION))
                result[self._channel_rows] = column
                times = inputs.times[self._channels]
                self.times[self._channel_rows] = np.where(times > 0, times, self.times[self._channel_rows])
        for place in snapshot.forced:
            row = self._rows_of.get(place)
            if row is not None:
                result[row] = q.GOOD_LOCAL_OVERRIDE
        return result

    def _bind_channels(self) -> None:
        found = [(row, self._view.channel_of(symbol)) for row, symbol in enumerate(self.symbols)]
        fed = np.array([pair for pair in found if pair[1] >= 0], np.intp).reshape(-1, 2)
        self._channel_rows, self._channels = fed[:, 0], fed[:, 1]

    def exact(self, row: int) -> Value:
        """The exact value of a row in the last snapshot given to ``update``."""
        return read_value(self._block, self.symbols[row])
