"""Values of monitored items as packed columns: gathered from the block, compared, laid out as notifications.

The packed layout is that of MonitoredItemNotification (OPC 10000-6 §5.2: UInt32 handle, then a DataValue of mask,
Variant, StatusCode, SourceTimestamp, ServerTimestamp). Plain tags go by type, many at once; strings, arrays and all
that is not a tag one by one.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.ua.ua_binary import pack_uatype, variant_to_binary

import scan
from scan.abi import NUMPY_TYPE, IecType, Symbol

from .types import is_enumeration, to_ua, variant_type

BAD_BITS = 0x8000_0000
TICKS_1601_TO_1970 = 116_444_736_000_000_000  # of 100 ns

Bytes = npt.NDArray[np.uint8]
Pairs = list[tuple[int, int]]


@dataclass(slots=True)
class Item:
    """A monitored tag as its client asked for it, revised."""

    item_id: int
    symbol: Symbol | None  # None: read through ``read``
    client_handle: int
    queue_size: int = 1
    discard_oldest: bool = True
    reporting: bool = True
    sampling: bool = True  # False: disabled
    status_only: bool = False  # DataChangeTrigger Status
    every_scan: bool = False  # DataChangeTrigger StatusValueTimestamp
    deadband: float = 0.0  # absolute; a percent deadband has been multiplied with its range
    triggered: bool = False  # sampled values wait until an item that triggers this one reports
    read: Callable[[], ua.DataValue] | None = None

    @property
    def queueing(self) -> bool:
        """Whether sampled values are kept."""
        return self.reporting or self.triggered

    @property
    def tag(self) -> Symbol:
        assert self.symbol is not None
        return self.symbol


def ticks(wall_ns: int) -> int:
    """An OPC UA DateTime (OPC 10000-6 §5.2.2.5)."""
    return wall_ns // 100 + TICKS_1601_TO_1970


def value_dtype(symbol: Symbol) -> str:
    if is_enumeration(symbol):
        return "<i4"
    return "<u4" if symbol.type == IecType.TOD else NUMPY_TYPE[symbol.type]


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
class Pending:
    """Packed rows of one sample: ``ends`` are the ends of the rows in ``data``."""

    rows: npt.NDArray[np.intp]  # item index in the set
    data: Bytes
    ends: npt.NDArray[np.int64]
    status_at: npt.NDArray[np.int64]  # where each row's StatusCode stands


class ValueReader:
    """Gathers variables of one type out of a block, as OPC UA has their values."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._kind = symbols[0].type
        self._value_type = np.dtype(value_dtype(symbols[0]))
        self._offsets = np.array([symbol.offset for symbol in symbols], np.int64)
        self._bits = np.array([max(symbol.bit, 0) for symbol in symbols], np.uint8)
        self._bitwise = np.array([symbol.bit >= 0 for symbol in symbols])
        size = np.dtype(NUMPY_TYPE[self._kind]).itemsize
        self._aligned = bool((self._offsets % size == 0).all())

    def __call__(self, block: Bytes) -> npt.NDArray[np.generic]:
        kind = self._kind
        if kind == IecType.BOOL:
            raw = block[self._offsets]
            return np.where(self._bitwise, raw >> self._bits & 1, raw != 0).astype(np.uint8)
        values = self._raw(block, np.dtype(NUMPY_TYPE[kind]))
        if kind in (IecType.TIME, IecType.TOD):
            return _to_ms(values).astype(self._value_type)
        if kind in (IecType.DATE, IecType.DT):
            return (values // 100 + TICKS_1601_TO_1970).astype("<i8")
        return values.astype(self._value_type, copy=False)

    def _raw(self, block: Bytes, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        size = dtype.itemsize
        if self._aligned:
            return block[: len(block) // size * size].view(dtype)[self._offsets // size]
        places = (self._offsets[:, None] + np.arange(size)).ravel()
        return block[places].view(dtype)


class Scalars:
    """All scalar items of one data type."""

    def __init__(self, items: list[Item], rows: list[int], stamps: Stamps) -> None:
        self._kind = items[0].tag.type
        self._variant = variant_type(items[0].tag).value
        self.rows = np.array(rows, np.intp)
        self._reader = ValueReader([item.tag for item in items])
        self._handles = np.array([item.client_handle for item in items], np.uint32)
        self._deadbands = np.array([item.deadband for item in items])
        self._status_only = np.array([item.status_only for item in items])
        self._every_scan = np.array([item.every_scan for item in items])
        self._sampling = np.array([item.sampling for item in items])
        self._reporting = np.array([item.queueing for item in items])
        value = value_dtype(items[0].tag)
        self._stamps = stamps
        self._good = _record_dtype(value, source=stamps.source, server=stamps.server)
        self._bad = _record_dtype(None, source=stamps.source, server=stamps.server)
        # The last *reported* value: deadbands compare with it, not with the last sample (OPC 10000-4 §7.22.2).
        self._last: npt.NDArray[np.generic] = np.zeros(len(items), self._good["value"])
        self._seen = np.zeros(len(items), np.bool_)  # has been sampled before
        self._last_status = np.zeros(len(items), np.uint32)
        self._last_ticks = 0

    def gather(self, block: Bytes) -> npt.NDArray[np.generic]:
        """The values as OPC UA has them."""
        return self._reader(block)

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], time_ticks: int) -> Pending | None:
        """The rows to report now, or None."""
        values = self.gather(block)
        changed = self._changed(values, status[self.rows])
        if time_ticks != self._last_ticks:
            changed |= self._sampling & self._every_scan
            self._last_ticks = time_ticks
        (local,) = np.nonzero(changed)
        if len(local) == 0:
            return None
        self._seen[local] = True
        self._last[local] = values[local]
        self._last_status[local] = status[self.rows[local]]
        local = local[self._reporting[local]]
        return self._pack(local, values, status, time_ticks) if len(local) else None

    def _changed(
        self, values: npt.NDArray[np.generic], status: npt.NDArray[np.uint32]
    ) -> npt.NDArray[np.bool_]:
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
        result: npt.NDArray[np.bool_] = self._sampling & (
            ~self._seen | different | (status != self._last_status)
        )
        return result

    def adopt(self, before: Scalars, pairs: Pairs) -> None:
        """Take over what was sampled last: ``pairs`` are (position here, position there)."""
        if pairs:
            here, there = np.array(pairs, np.intp).T
            for name in ("_last", "_seen", "_last_status"):
                getattr(self, name)[here] = getattr(before, name)[there]

    def _pack(
        self,
        local: npt.NDArray[np.intp],
        values: npt.NDArray[np.generic],
        status: npt.NDArray[np.uint32],
        now: int,
    ) -> Pending:
        codes = status[self.rows[local]]
        bad = codes >= BAD_BITS
        parts = []
        for chosen, dtype, has_value in ((local[~bad], self._good, True), (local[bad], self._bad, False)):
            records = np.zeros(len(chosen), dtype)
            records["handle"] = self._handles[chosen]
            records["mask"] = self._stamps.mask | (1 if has_value else 0)
            records["status"] = status[self.rows[chosen]]
            if has_value:
                records["variant"] = self._variant
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
) -> Pending:
    data, ends, places, chosen, offset = [], [], [], [], 0
    for local, records in parts:
        size = records.dtype.itemsize
        starts = offset + size * np.arange(len(records), dtype=np.int64)
        data.append(records.view(np.uint8).reshape(-1) if len(records) else np.empty(0, np.uint8))
        ends.append(starts + size)
        places.append(starts + records.dtype.fields["status"][1])  # type: ignore[index]
        chosen.append(rows[local])
        offset += size * len(records)
    return Pending(*(np.concatenate(part) for part in (chosen, data, ends, places)))


class Others:
    """Strings and arrays: compared as bytes, packed one by one."""

    def __init__(self, items: list[Item], rows: list[int], stamps: Stamps) -> None:
        self._items = items
        self.rows = np.array(rows, np.intp)
        self._stamps = stamps
        self._last: list[tuple[bytes, int] | None] = [None] * len(items)

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], time_ticks: int) -> Pending | None:
        rows, parts, ends, places, size = [], [], [], [], 0
        for local, item in enumerate(self._items):
            code = int(status[self.rows[local]])
            data = block[item.tag.offset : item.tag.offset + item.tag.size].tobytes()
            if not item.sampling or not self._differs(item, self._last[local], data, code):
                continue
            self._last[local] = (data, code)
            if not item.queueing:
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
        return Pending(
            np.array(rows, np.intp), data_array, np.array(ends, np.int64), np.array(places, np.int64)
        )

    def adopt(self, before: Others, pairs: Pairs) -> None:
        """As ``Scalars.adopt``."""
        for here, there in pairs:
            self._last[here] = before._last[there]

    def _differs(self, item: Item, last: tuple[bytes, int] | None, data: bytes, code: int) -> bool:
        if last is None or last[1] != code or item.every_scan:
            return True
        if item.status_only or last[0] == data:
            return False
        if item.deadband <= 0 or item.tag.type in (IecType.STRING, IecType.WSTRING):
            return True
        dtype = NUMPY_TYPE[item.tag.type]
        before, now = (np.frombuffer(part, dtype).astype(np.float64) for part in (last[0], data))
        return bool((np.abs(now - before) > item.deadband).any())

    def _pack(self, item: Item, block: Bytes, code: int, now: int) -> tuple[bytes, int]:
        value = b""
        if code < BAD_BITS:
            value = variant_to_binary(to_ua(item.tag, scan.read_value(block, item.tag)))
        mask = self._stamps.mask | (1 if value else 0)
        head = item.client_handle.to_bytes(4, "little") + bytes([mask]) + value
        tail = code.to_bytes(4, "little")
        for wanted in (self._stamps.source, self._stamps.server):
            tail += now.to_bytes(8, "little", signed=True) if wanted else b""
        return head + tail, len(head)


class Polled:
    """Items that are no plain tags: read one by one, compared as bytes, packed as they are."""

    def __init__(self, items: list[Item], rows: list[int], stamps: Stamps) -> None:
        self._items = items
        self.rows = np.array(rows, np.intp)
        self._stamps = stamps
        self._last: list[tuple[ua.DataValue, bytes] | None] = [None] * len(items)

    def sample(self, block: Bytes, status: npt.NDArray[np.uint32], time_ticks: int) -> Pending | None:
        rows, parts, ends, places, size = [], [], [], [], 0
        for local, item in enumerate(self._items):
            if not item.sampling:
                continue
            assert item.read is not None
            value = item.read()
            data = variant_to_binary(value.Value) if value.Value is not None else b""
            if not _polled_differs(item, self._last[local], value, data):
                continue
            self._last[local] = (value, data)
            if not item.queueing:
                continue
            packed, status_at = self._pack(item, value, data)
            places.append(size + status_at)
            size += len(packed)
            parts.append(packed)
            ends.append(size)
            rows.append(int(self.rows[local]))
        if not rows:
            return None
        joined = np.frombuffer(b"".join(parts), np.uint8).copy()
        return Pending(np.array(rows, np.intp), joined, np.array(ends, np.int64), np.array(places, np.int64))

    def adopt(self, before: Polled, pairs: Pairs) -> None:
        """As ``Scalars.adopt``."""
        for here, there in pairs:
            self._last[here] = before._last[there]

    def _pack(self, item: Item, value: ua.DataValue, data: bytes) -> tuple[bytes, int]:
        moments = []
        if self._stamps.source and value.SourceTimestamp is not None:
            moments.append((4, value.SourceTimestamp))
        if self._stamps.server:
            moments.append((8, value.ServerTimestamp or datetime.datetime.now(datetime.UTC)))
        mask = 2 | (1 if data else 0) | sum(bit for bit, _ in moments)
        head = item.client_handle.to_bytes(4, "little") + bytes([mask]) + data
        code = value.StatusCode.value if value.StatusCode is not None else 0
        tail = b"".join(bytes(pack_uatype(ua.VariantType.DateTime, moment)) for _, moment in moments)
        return head + code.to_bytes(4, "little") + tail, len(head)


def _polled_differs(
    item: Item, last: tuple[ua.DataValue, bytes] | None, value: ua.DataValue, data: bytes
) -> bool:
    if last is None or last[0].StatusCode != value.StatusCode:
        return True
    if item.every_scan and last[0].SourceTimestamp != value.SourceTimestamp:
        return True
    if item.status_only or last[1] == data:
        return False
    if item.deadband <= 0:
        return True
    before, now = (_numbers(one.Value) for one in (last[0], value))
    return before.shape != now.shape or bool((np.abs(now - before) > item.deadband).any())


def _numbers(variant: ua.Variant | None) -> npt.NDArray[np.float64]:
    """The numbers of a value; not a number where it is none, which differs by no distance."""
    values = variant.Value if variant is not None else None
    listed = values if isinstance(values, list) else [values]
    return np.array([one if isinstance(one, int | float) else np.nan for one in listed], np.float64)
