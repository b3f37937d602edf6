"""Reads of many plain variables at once, packed by column: the way of clients that poll.

A request that was seen before is found by its bytes; its variables are gathered from the snapshot and its answer is put
together without an object for any value. Requests with anything else in them take the general way (``plane``).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

import scan
from scan.abi import IecType, Symbol

from .column_groups import BAD_BITS, Stamps, ValueReader, ticks, value_dtype
from .tags import Tags
from .types import is_enumeration, variant_type

PLANNED_MAX = 200_000  # variables in all plans together
REQUEST_MAX = 256 * 1024  # bytes of a request that is worth a plan
PLAN_LEAST = 8  # variables; fewer are as fast the general way
_STAMPS = {0: Stamps(True, False), 1: Stamps(False, True), 2: Stamps(True, True), 3: Stamps(False, False)}
_TEXTS = (IecType.STRING, IecType.WSTRING)

Bytes = npt.NDArray[np.uint8]


def _dtype(value: str, stamps: Stamps) -> np.dtype[np.void]:
    """A good DataValue (OPC 10000-6 §5.2.2.17): mask, Variant, StatusCode, timestamps."""
    fields = [("mask", "u1"), ("variant", "u1"), ("value", value), ("status", "<u4")]
    fields += [(name, "<i8") for name in ("source", "server") if getattr(stamps, name)]
    return np.dtype(fields)


class _Column:
    """The variables of one type in a plan: rows in the request, and the places of their bytes in the answer."""

    def __init__(self, symbols: list[Symbol], rows: list[int], stamps: Stamps) -> None:
        self.read = ValueReader(symbols)
        self.rows = np.array(rows, np.intp)
        self.variant = variant_type(symbols[0]).value
        self.dtype = _dtype(value_dtype(symbols[0]), stamps)
        self.places: npt.NDArray[np.intp] = np.zeros((0, 0), np.intp)


class Plan:
    """One request, prepared for the program of a generation."""

    def __init__(self, tags: Tags, symbols: list[Symbol], stamps: Stamps) -> None:
        self.generation = tags.generation
        self._stamps = stamps
        self._gather = scan.Gather(tags.view, symbols)
        self._tags = tags
        self.count = len(symbols)
        kinds: dict[tuple[IecType, bool], list[int]] = {}
        for row, symbol in enumerate(symbols):
            kinds.setdefault((symbol.type, is_enumeration(symbol)), []).append(row)
        self._columns = [_Column([symbols[row] for row in rows], rows, stamps) for rows in kinds.values()]
        sizes = np.zeros(len(symbols), np.intp)
        for column in self._columns:
            sizes[column.rows] = column.dtype.itemsize
        self._ends = np.cumsum(sizes)
        for column in self._columns:
            starts = self._ends[column.rows] - column.dtype.itemsize
            column.places = starts[:, None] + np.arange(column.dtype.itemsize)

    def pack(self, snapshot: scan.Snapshot) -> bytes | None:
        """The values of the answer; None when one of them is bad, which the general way spells out."""
        self._gather.update(snapshot)
        codes = self._tags.overlay(self._gather.quality, snapshot.state)
        if (codes >= BAD_BITS).any():
            return None
        now = ticks(snapshot.wall_ns)
        data = np.empty(int(self._ends[-1]), np.uint8)
        mask = self._stamps.mask | 1
        for column in self._columns:
            records = np.zeros(len(column.rows), column.dtype)
            records["mask"], records["variant"] = mask, column.variant
            records["value"] = column.read(snapshot.block)
            records["status"] = codes[column.rows]
            for name in ("source", "server"):
                if getattr(self._stamps, name):
                    records[name] = now
            data[column.places] = records.view(np.uint8).reshape(len(records), -1)
        return self.count.to_bytes(4, "little") + data.tobytes()


class Batches:
    """Plans by the bytes of their request; the ones not used for longest go first."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()
        self._planned = 0

    def knows(self, request: bytes) -> bool:
        plan = self._plans.get(request)
        return plan is not None and plan.generation == self._tags.generation

    def answer(self, request: bytes, params: Any | None) -> bytes | None:
        """The body of the answer to a request that has a plan; ``params`` makes one. None: the general way."""
        plan = self._plans.get(request) if self.knows(request) else None
        if plan is None and params is not None and len(request) <= REQUEST_MAX:
            plan = self._make(params)
            if plan is not None:
                self._keep(request, plan)
        snapshot = self._tags.take_snapshot() if plan is not None else None
        if plan is None or snapshot is None or snapshot.generation != plan.generation:
            return None
        self._plans.move_to_end(request)
        return plan.pack(snapshot)

    def _keep(self, request: bytes, plan: Plan) -> None:
        before = self._plans.pop(request, None)
        self._plans[request] = plan
        self._planned += plan.count - (before.count if before is not None else 0)
        while self._planned > PLANNED_MAX and len(self._plans) > 1:
            self._planned -= self._plans.popitem(last=False)[1].count

    def _make(self, params: Any) -> Plan | None:
        stamps = _STAMPS.get(int(params.TimestampsToReturn))
        if stamps is None or len(params.NodesToRead) < PLAN_LEAST or not params.MaxAge >= 0:
            return None
        symbols = []
        for item in params.NodesToRead:
            symbol = self._tags.find(item.NodeId)
            plain = (
                item.AttributeId == ua.AttributeIds.Value
                and not item.IndexRange
                and not item.DataEncoding.Name
            )
            if symbol is None or symbol.dims or symbol.type in _TEXTS or not plain:
                return None
            symbols.append(symbol)
        return Plan(self._tags, symbols, stamps)


def response(request_handle: int, body: bytes) -> bytes:
    """A ReadResponse around packed values."""
    made = ua.ReadResponse()
    made.ResponseHeader.RequestHandle = request_handle
    whole = bytes(struct_to_binary(made))
    # The last two fields are empty lists of results and of diagnostic infos, four bytes each.
    return whole[:-8] + body + whole[-4:]


def parameters(body: Any) -> Any:
    return struct_from_binary(ua.ReadParameters, body)
