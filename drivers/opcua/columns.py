"""Sampled tags as columns: what changed between two snapshots, packed as OPC UA notifications.

Theory. The items of one subscription with one sampling interval form an ``ItemSet``. Its scalar items are grouped by
data type; a sample gathers each group's values from the block with one numpy expression, compares them with the last
sampled and the last reported values, and appends the changed rows to a queue of packed records. A publish
concatenates the queue. The packed layout is that of MonitoredItemNotification (OPC 10000-6 §5.2: UInt32 handle, then a
DataValue of mask, Variant, StatusCode, SourceTimestamp, ServerTimestamp).

Strings and arrays take the same path with bytes made one by one.

Queue rules (OPC 10000-4 §5.13.1.5): when an item has more values than its queue, the oldest go, or, with
discardOldest FALSE, the newest replaces its predecessor; the overflow bit is set where the gap is, but never with a
queue of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.ua.ua_binary import variant_to_binary

import scan
from scan.abi import NUMPY_TYPE, IecType, Symbol

from .types import VARIANT_TYPE, to_ua

OVERFLOW_BITS = 0x0480  # InfoType DataValue, Overflow (OPC 10000-4 §7.39)
BAD_BITS = 0x8000_0000
TICKS_1601_TO_1970 = 116_444_736_000_000_000  # of 100 ns
PENDING_SAMPLES_MAX = (
    64  # after this many unsent samples a queue is trimmed, so a silent client costs no memory
)

Bytes = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Item:
    """A monitored tag as its client asked for it, revised."""

    item_id: int
    symbol: Symbol
    client_handle: int
    queue_size: int = 1
    discard_oldest: bool = True
    reporting: bool = True
    sampling: bool = True  # False: disabled
    status_only: bool = False  # DataChangeTrigger Status
    deadband: float = 0.0  # absolute; a percent deadband has been multiplied with its range


def ticks(wall_ns: int) -> int:
    """An OPC UA DateTime (OPC 10000-6 §5.2.2.5)."""
    return wall_ns // 100 + TICKS_1601_TO_1970


def _value_dtype(kind: IecType) -> str:
    if kind in (IecType.TOD,):
        return "<u4"
    return NUMPY_TYPE[kind]


def _record_dtype(value: str | None, *, source: bool, server: bool) -> np.dtype[np.void]:
    fields: list[tuple[str, str]] = [("handle", "<u4"), ("mask", "u1")]
    if value is not None:
        fields += [("variant", "u1"), ("value", value)]
    fields.append(("status", "<u4"))
    fields += [("source", "<i8")] if source else []
    fields += [("server", "<i8")] if server else []
    return np.dtype(fields)


@dataclass(slots=True)
class Stamps:
    """TimestampsToReturn of the request."""

    source: bool = True
    server: bool = False

    @property
    def mask(self) -> int:
        return 2 | (4 if self.source else 0) | (8 if self.server else 0)


@dataclass(slots=True)
class _Pending:
    """Packed rows of one sample: ``ends`` are the ends of the rows in ``data``."""

    rows: npt.NDArray[np.intp]  # item index in the set
    data: Bytes
    ends: npt.NDArray[np.int64]
    status_at: npt.NDArray[np.int64]  # where each row's StatusCode stands


class _Scalars:
    """All scalar items of one data type."""

    def __init__(self, kind: IecType, items: list[Item], rows: list[int], stamps: Stamps) -> None:
        self._kind = kind
        self.rows = np.array(rows, np.intp)
        self._offsets = np.array([item.symbol.offset for item in items], np.int64)
        self._bits = np.array([max(item.symbol.bit, 0) for item in items], np.uint8)
        self._bitwise = np.array([item.symbol.bit >= 0 for item in items])
        self._handles = np.array([item.client_handle for item in items], np.uint32)
        self._deadbands = np.array([item.deadband for item in items])
        self._status_only = np.array([item.status_only for item in items])
        self._sampling = np.array([item.sampling for item in items])
        self._reporting = np.array([item.reporting for item in items])
        value = _value_dtype(kind)
        self._stamps = stamps
        self._good = _record_dtype(value, source=stamps.source, server=stamps.server)
        self._bad = _record_dtype(None, source=stamps.source, server=stamps.server)
        self._value_type = np.dtype(value)
        # The last *reported* value: deadbands compare with it, not with the last sample (OPC 10000-4 §7.22.2).
        self._last: npt.NDArray[np.generic] | None = None
        self._last_status = np.zeros(len(items), np.uint32)

    def gather(self, block: Bytes) -> npt.NDArray[np.generic]:
        """The values as OPC UA has them."""
        kind = self._kind
        if kind == IecType.BOOL:
            raw = block[self._offsets]
            return np.where(self._bitwise, raw >> self._bits & 1, raw != 0).astype(np.uint8)
        dtype = np.dtype(NUMPY_TYPE[kind])
        whole = block[: len(block) // dtype.itemsize * dtype.itemsize].view(dtype)
        values = whole[self._offsets // dtype.itemsize]
        if kind in (IecType.TIME, IecType.TOD):
            values = _to_ms(values)
            return values.astype(self._value_type)
        if kind in (IecType.DATE, IecType.LDATE, IecType.DT, IecType.LDT):
            return (values // 100 + TICKS_1601_TO_1970).astype("<i8")
        return values

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], time_ticks: int) -> _Pending | None:
        """The rows to report now, or None."""
        values = self.gather(block)
        changed = self._changed(values, status[self.rows])
        (local,) = np.nonzero(changed)
        if len(local) == 0:
            return None
        if self._last is None:
            self._last = values.copy()
        self._last[local] = values[local]
        self._last_status[local] = status[self.rows[local]]
        local = local[self._reporting[local]]
        return self._pack(local, values, status, time_ticks) if len(local) else None

    def _changed(
        self, values: npt.NDArray[np.generic], status: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.bool_]:
        if self._last is None:
            return self._sampling.copy()
        if values.dtype.kind == "f":
            # NaN equals NaN here: a value that stays NaN has not changed.
            different = (values != self._last) & ~(np.isnan(values) & np.isnan(self._last))
        else:
            different = values != self._last
        banded = self._deadbands > 0
        if banded.any():
            distance = np.abs(values.astype(np.float64) - self._last.astype(np.float64))
            different &= ~banded | (distance > self._deadbands) | np.isnan(distance)
        different &= ~self._status_only
        result: npt.NDArray[np.bool_] = self._sampling & (different | (status != self._last_status))
        return result

    def _pack(
        self,
        local: npt.NDArray[np.intp],
        values: npt.NDArray[np.generic],
        status: npt.NDArray[np.uint32],
        now: int,
    ) -> _Pending:
        codes = status[self.rows[local]]
        bad = codes >= BAD_BITS
        parts = []
        for chosen, dtype, has_value in ((local[~bad], self._good, True), (local[bad], self._bad, False)):
            records = np.zeros(len(chosen), dtype)
            records["handle"] = self._handles[chosen]
            records["mask"] = self._stamps.mask | (1 if has_value else 0)
            records["status"] = status[self.rows[chosen]]
            if has_value:
                records["variant"] = VARIANT_TYPE[self._kind].value
                records["value"] = values[chosen]
            for name in ("source", "server"):
                if name in dtype.fields:  # type: ignore[operator]
                    records[name] = now
            parts.append((chosen, records))
        return _join(self.rows, parts)


def _to_ms(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    whole = values.astype(np.int64)
    # Toward zero; numpy's // alone would floor.
    return whole // 1_000_000 + ((whole < 0) & (whole % 1_000_000 != 0))


def _join(
    rows: npt.NDArray[np.intp], parts: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.void]]]
) -> _Pending:
    data, ends, places, chosen, offset = [], [], [], [], 0
    for local, records in parts:
        size = records.dtype.itemsize
        starts = offset + size * np.arange(len(records), dtype=np.int64)
        data.append(records.view(np.uint8).reshape(-1) if len(records) else np.empty(0, np.uint8))
        ends.append(starts + size)
        places.append(starts + records.dtype.fields["status"][1])  # type: ignore[index]
        chosen.append(rows[local])
        offset += size * len(records)
    return _Pending(*(np.concatenate(part) for part in (chosen, data, ends, places)))


class _Others:
    """Strings and arrays: compared as bytes, packed one by one."""

    def __init__(self, items: list[Item], rows: list[int], stamps: Stamps) -> None:
        self._items = items
        self.rows = np.array(rows, np.intp)
        self._stamps = stamps
        self._last: list[tuple[bytes, int] | None] = [None] * len(items)

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], time_ticks: int) -> _Pending | None:
        rows, parts, ends, places, size = [], [], [], [], 0
        for local, item in enumerate(self._items):
            code = int(status[self.rows[local]])
            data = block[item.symbol.offset : item.symbol.offset + item.symbol.size].tobytes()
            if not item.sampling or not self._differs(item, self._last[local], data, code):
                continue
            self._last[local] = (data, code)
            if not item.reporting:
                continue
            packed, status_at = self._pack(item, block, code, time_ticks)
            places.append(size + status_at)
            size += len(packed)
            parts.append(packed)
            ends.append(size)
            rows.append(int(self.rows[local]))
        if not rows:
            return None
        data_array = np.frombuffer(b"".join(parts), np.uint8).copy()
        return _Pending(
            np.array(rows, np.intp), data_array, np.array(ends, np.int64), np.array(places, np.int64)
        )

    def _differs(self, item: Item, last: tuple[bytes, int] | None, data: bytes, code: int) -> bool:
        if last is None or last[1] != code:
            return True
        if item.status_only or last[0] == data:
            return False
        if item.deadband <= 0 or item.symbol.type in (IecType.STRING, IecType.WSTRING):
            return True
        dtype = NUMPY_TYPE[item.symbol.type]
        before, now = (np.frombuffer(part, dtype).astype(np.float64) for part in (last[0], data))
        return bool((np.abs(now - before) > item.deadband).any())

    def _pack(self, item: Item, block: Bytes, code: int, now: int) -> tuple[bytes, int]:
        value = b""
        if code < BAD_BITS:
            value = variant_to_binary(to_ua(item.symbol, scan.read_value(block, item.symbol)))
        mask = self._stamps.mask | (1 if value else 0)
        head = item.client_handle.to_bytes(4, "little") + bytes([mask]) + value
        tail = code.to_bytes(4, "little")
        for wanted in (self._stamps.source, self._stamps.server):
            tail += now.to_bytes(8, "little", signed=True) if wanted else b""
        return head + tail, len(head)


@dataclass(slots=True)
class ItemSet:
    """Items of one subscription that are sampled together. ``status`` is filled by the caller for each sample."""

    items: list[Item]
    stamps: Stamps
    _groups: list[_Scalars | _Others] = field(init=False)
    _pending: list[_Pending] = field(init=False, default_factory=list)
    _queue_sizes: npt.NDArray[np.int64] = field(init=False)
    _discard_oldest: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._queue_sizes = np.array([item.queue_size for item in self.items], np.int64)
        self._discard_oldest = np.array([item.discard_oldest for item in self.items])
        by_kind: dict[IecType | None, list[int]] = {}
        for row, item in enumerate(self.items):
            simple = not item.symbol.dims and item.symbol.type not in (IecType.STRING, IecType.WSTRING)
            by_kind.setdefault(item.symbol.type if simple else None, []).append(row)
        self._groups = []
        for kind, rows in by_kind.items():
            chosen = [self.items[row] for row in rows]
            group = (
                _Others(chosen, rows, self.stamps)
                if kind is None
                else _Scalars(kind, chosen, rows, self.stamps)
            )
            self._groups.append(group)

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], wall_ns: int) -> None:
        """Queue what changed. ``status`` is the StatusCode of each item, in the order of ``items``."""
        now = ticks(wall_ns)
        found = [group.sample(block, status, now) for group in self._groups]
        self._pending += [pending for pending in found if pending is not None]
        if len(self._pending) > PENDING_SAMPLES_MAX * len(self._groups):
            self._pending = [self._trimmed()]

    def inherit(self, before: ItemSet) -> None:
        """Take over the queue of the set that this one replaces, for the items that stay.

        Their next sample reports them anew: one value too many is allowed, a lost one is not.
        """
        if not before._pending:
            return
        whole = before._trimmed()
        place = {item.item_id: row for row, item in enumerate(self.items)}
        new_rows = np.array([place.get(before.items[row].item_id, -1) for row in whole.rows], np.intp)
        (keep,) = np.nonzero(new_rows >= 0)
        if len(keep):
            self._pending = [_select(whole, keep, new_rows[keep])]

    def has_pending(self) -> bool:
        return bool(self._pending)

    def take(self, limit: int) -> tuple[int, bytes]:
        """At most ``limit`` notifications (0: all) in time order for each item; the rest stays queued."""
        if not self._pending:
            return 0, b""
        whole = self._trimmed()
        count = len(whole.rows) if limit <= 0 else min(limit, len(whole.rows))
        self._pending = []
        if count == len(whole.rows):
            return count, whole.data.tobytes()
        end = int(whole.ends[count - 1])
        rest = slice(count, None)
        self._pending = [
            _Pending(whole.rows[rest], whole.data[end:], whole.ends[rest] - end, whole.status_at[rest] - end)
        ]
        return count, whole.data[:end].tobytes()

    def _trimmed(self) -> _Pending:
        """All pending rows as one, with no item over its queue size."""
        shift = np.cumsum([0, *(len(pending.data) for pending in self._pending)])
        rows = np.concatenate([pending.rows for pending in self._pending])
        data = np.concatenate([pending.data for pending in self._pending])
        ends = np.concatenate([pending.ends + at for pending, at in zip(self._pending, shift, strict=False)])
        places = np.concatenate(
            [pending.status_at + at for pending, at in zip(self._pending, shift, strict=False)]
        )
        counts = np.bincount(rows, minlength=len(self.items))
        if (counts <= self._queue_sizes).all():
            return _Pending(rows, data, ends, places)
        keep, marked = self._choose(rows, counts)
        for place in places[marked]:
            data[place : place + 2] |= np.array([OVERFLOW_BITS], "<u2").view(np.uint8)
        return _select(_Pending(rows, data, ends, places), keep, rows[keep])

    def _choose(
        self, rows: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """(positions to keep, positions to mark with overflow)."""
        order = np.argsort(rows, kind="stable")
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        rank = np.empty(len(rows), np.int64)
        rank[order] = np.arange(len(rows)) - first[rows[order]]
        size, count = self._queue_sizes[rows], counts[rows]
        over = count > size
        oldest = self._discard_oldest[rows]
        keep = np.where(oldest, rank >= count - size, (rank < size - 1) | (rank == count - 1))
        gap = np.where(oldest, rank == count - size, rank == count - 1)
        (kept,) = np.nonzero(keep | ~over)
        (marked,) = np.nonzero(over & gap & (size > 1))
        return kept, marked


def _select(whole: _Pending, keep: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]) -> _Pending:
    """Some of the packed rows, under the item indices ``rows``."""
    starts = np.concatenate([[0], whole.ends[:-1]])
    lengths = (whole.ends - starts)[keep]
    spans = zip(starts[keep], whole.ends[keep], strict=True)
    index = np.concatenate([np.arange(start, end) for start, end in spans])
    ends = np.cumsum(lengths)
    return _Pending(rows, whole.data[index], ends, whole.status_at[keep] - starts[keep] + ends - lengths)


def notification(parts: list[tuple[int, bytes]]) -> ua.ExtensionObject | None:
    """A DataChangeNotification (OPC 10000-4 §7.25.2) of packed items, None when there are none."""
    count = sum(number for number, _ in parts)
    if count == 0:
        return None
    body = count.to_bytes(4, "little") + b"".join(data for _, data in parts) + (0).to_bytes(4, "little")
    type_id = ua.NodeId(ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
    return ua.ExtensionObject(TypeId=type_id, Body=body)


__all__ = ["Item", "ItemSet", "Stamps", "notification", "ticks"]
