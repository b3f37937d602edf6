"""HistoryRead (OPC 10000-11 §6.4): raw values and aggregates (OPC 10000-13) from the buffer of this node."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from asyncua import ua
from asyncua.common.utils import ServiceError

from .browsing import Points
from .entries import ORGANIZES, Link, standard
from .history_buffer import HistoryBuffer, Past
from .tags import Tags
from .types import to_datetime

VALUES_MAX = 10_000  # in one answer for one variable; the rest waits behind a continuation point
INTERVALS_MAX = 10_000
CALCULATED = 0x0401  # InfoType DataValue, HistorianBits Calculated (OPC 10000-4 §7.39)
_codes = ua.StatusCodes
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_FIRST = datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
_END_NS = 2**63 - 1

_AVERAGE, _TIME_AVERAGE, _MINIMUM, _MAXIMUM, _COUNT = "average", "time average", "minimum", "maximum", "count"
AGGREGATES: dict[ua.NodeId, str] = {
    standard(ua.ObjectIds.AggregateFunction_Average): _AVERAGE,
    standard(ua.ObjectIds.AggregateFunction_TimeAverage): _TIME_AVERAGE,
    standard(ua.ObjectIds.AggregateFunction_Minimum): _MINIMUM,
    standard(ua.ObjectIds.AggregateFunction_Maximum): _MAXIMUM,
    standard(ua.ObjectIds.AggregateFunction_Count): _COUNT,
}


_FOLDERS = (
    ua.ObjectIds.Server_ServerCapabilities_AggregateFunctions,
    ua.ObjectIds.HistoryServerCapabilities_AggregateFunctions,
)


def links() -> list[tuple[ua.NodeId, Link]]:
    """Where the aggregates are listed (OPC 10000-13 §5.2)."""
    return [(standard(folder), Link(ORGANIZES, True, one)) for folder in _FOLDERS for one in AGGREGATES]


def _ns(moment: datetime.datetime | None) -> int | None:
    """UTC ns of a time that was given; None for one that was left out."""
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return None if aware <= _FIRST else (aware - _EPOCH) // datetime.timedelta(microseconds=1) * 1000


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a continuation point stands for: rows by their marks, none of their values."""

    path: str
    first: int
    last: int
    backward: bool
    limit: int


class History:
    """Answers HistoryRead for the variables of a buffer."""

    def __init__(self, tags: Tags, buffer: HistoryBuffer) -> None:
        self._tags = tags
        self._buffer = buffer

    def read(self, params: Any, points: Points) -> list[ua.HistoryReadResult]:
        """Raises ServiceError for details that this server has not."""
        if params.TimestampsToReturn not in (0, 1, 2):
            raise ServiceError(_codes.BadTimestampsToReturnInvalid)
        if params.ReleaseContinuationPoints:
            for node in params.NodesToRead:
                points.take(node.ContinuationPoint or b"")
            return [ua.HistoryReadResult() for _ in params.NodesToRead]
        details = params.HistoryReadDetails
        if isinstance(details, ua.ReadProcessedDetails):
            if len(details.AggregateType) != len(params.NodesToRead):
                raise ServiceError(_codes.BadAggregateListMismatch)
            pairs = zip(params.NodesToRead, details.AggregateType, strict=True)
            return [self._processed(node, kind, details) for node, kind in pairs]
        if isinstance(details, ua.ReadRawModifiedDetails) and not details.IsReadModified:
            return [self._raw(node, details, points) for node in params.NodesToRead]
        raise ServiceError(_codes.BadHistoryOperationUnsupported)

    def _past(self, node: Any) -> Past | int:
        symbol = self._tags.find(node.NodeId)
        if symbol is None:
            return int(_codes.BadNodeIdUnknown)
        found = self._buffer.past(symbol.path)
        if node.IndexRange or found is None:
            return int(_codes.BadHistoryOperationUnsupported)
        return found

    # ---------------------------------------------------------------- raw

    def _raw(self, node: Any, details: Any, points: Points) -> ua.HistoryReadResult:
        if node.ContinuationPoint:
            return self._go_on(node, points)
        past = self._past(node)
        if isinstance(past, int):
            return _failed(past)
        start_ns, end_ns = _ns(details.StartTime), _ns(details.EndTime)
        limit = int(details.NumValuesPerNode)
        if sum(given is not None for given in (start_ns, end_ns, limit or None)) < 2:
            return _failed(_codes.BadHistoryOperationInvalid)
        rows = _rows_between(past, start_ns, end_ns, bounds=bool(details.ReturnBounds))
        if start_ns is None or end_ns is None:
            rows = rows[:limit] if limit else rows
        return _page(past, rows, limit or VALUES_MAX, points)

    def _go_on(self, node: Any, points: Points) -> ua.HistoryReadResult:
        """The rest of an answer. What has left the buffer meanwhile is left out."""
        kept = points.take(node.ContinuationPoint)
        symbol = self._tags.find(node.NodeId)
        if kept is None or symbol is None or not isinstance(kept[0], _Rest) or kept[0].path != symbol.path:
            return _failed(_codes.BadContinuationPointInvalid)
        past, rest = self._past(node), kept[0]
        if isinstance(past, int):
            return _failed(past)
        (rows,) = np.nonzero((past.marks >= rest.first) & (past.marks <= rest.last))
        return _page(past, rows[::-1] if rest.backward else rows, rest.limit, points)

    # ---------------------------------------------------------------- processed

    def _processed(self, node: Any, kind: ua.NodeId, details: Any) -> ua.HistoryReadResult:
        past = self._past(node)
        if isinstance(past, int):
            return _failed(past)
        name = AGGREGATES.get(kind)
        if name is None:
            return _failed(_codes.BadAggregateNotSupported)
        start_ns, end_ns = _ns(details.StartTime), _ns(details.EndTime)
        if start_ns is None or end_ns is None or start_ns == end_ns:
            return _failed(_codes.BadInvalidArgument)
        interval_ms = details.ProcessingInterval
        if not 0 <= interval_ms < 1e12:
            return _failed(_codes.BadAggregateInvalidInputs)
        span_ns = abs(end_ns - start_ns)
        step_ns = int(interval_ms * 1e6) or span_ns
        if -(-span_ns // step_ns) > INTERVALS_MAX:
            return _failed(_codes.BadTooManyOperations)
        values = []
        for first_ns in range(min(start_ns, end_ns), max(start_ns, end_ns), step_ns):
            last_ns = min(first_ns + step_ns, max(start_ns, end_ns))
            values.append(aggregate(past, name, first_ns, last_ns))
        if end_ns < start_ns:
            values.reverse()
        return _result(values)


def _rows_between(
    past: Past, start_ns: int | None, end_ns: int | None, *, bounds: bool
) -> npt.NDArray[np.intp]:
    """Rows in the order asked for: backward when the end is before the start, or only the end is given."""
    backward = start_ns is None or (end_ns is not None and end_ns < start_ns)
    low, high = (end_ns, start_ns) if backward else (start_ns, end_ns)
    if start_ns is None:
        low, high = None, end_ns
    first = int(np.searchsorted(past.times, low, "left")) if low is not None else 0
    last = int(np.searchsorted(past.times, high, "left")) if high is not None else len(past.times)
    if backward and high is not None:
        first = int(np.searchsorted(past.times, low, "right")) if low is not None else 0
        last = int(np.searchsorted(past.times, high, "right"))
    if low is not None and low == high:
        last = int(np.searchsorted(past.times, high, "right"))
    if bounds:
        first, last = max(first - 1, 0), min(last + 1, len(past.times))
    rows = np.arange(first, last)
    return rows[::-1] if backward else rows


def _page(past: Past, rows: npt.NDArray[np.intp], limit: int, points: Points) -> ua.HistoryReadResult:
    shown = rows[: min(limit, VALUES_MAX)]
    result = _result([_data_value(past, int(row)) for row in shown])
    rest = rows[len(shown) :]
    if len(rest):
        marks = past.marks[rest]
        backward = bool(rows[0] > rows[-1])
        kept = _Rest(past.symbol.path, int(marks.min()), int(marks.max()), backward, limit)
        result.ContinuationPoint = points.keep(kept, [])
    return result


def _data_value(past: Past, row: int) -> ua.DataValue:
    moment, code = to_datetime(int(past.times[row])), int(past.status[row])
    variant = past.variant(row) if past.good[row] else ua.Variant(None, ua.VariantType.Null)
    status = ua.StatusCode(code)
    return ua.DataValue(variant, StatusCode=status, SourceTimestamp=moment, ServerTimestamp=moment)


def aggregate(past: Past, name: str, first_ns: int, last_ns: int) -> ua.DataValue:
    """One interval, its end excluded. Without a value in it: BadNoData (Count: 0)."""
    low, high = (int(np.searchsorted(past.times, moment, "left")) for moment in (first_ns, last_ns))
    inside = np.arange(low, high)
    good = inside[past.good[inside]]
    moment = to_datetime(first_ns)
    value: float | None
    if name == _COUNT:
        return _calculated(ua.Variant(len(good), ua.VariantType.Int32), moment)
    if name == _TIME_AVERAGE:
        value = _time_average(past, first_ns, last_ns, low, high)
    elif len(good) == 0:
        value = None
    elif name in (_MINIMUM, _MAXIMUM):
        choose = np.argmin if name == _MINIMUM else np.argmax
        row = int(good[int(choose(past.numbers[good]))])
        return _calculated(past.variant(row), moment)
    else:
        value = float(past.numbers[good].mean())
    if value is None:
        return ua.DataValue(
            StatusCode=ua.StatusCode(_codes.BadNoData), SourceTimestamp=moment, ServerTimestamp=moment
        )
    return _calculated(ua.Variant(value, ua.VariantType.Double), moment)


def _calculated(variant: ua.Variant, moment: datetime.datetime) -> ua.DataValue:
    status = ua.StatusCode(CALCULATED)
    return ua.DataValue(variant, StatusCode=status, SourceTimestamp=moment, ServerTimestamp=moment)


def _time_average(past: Past, first_ns: int, last_ns: int, low: int, high: int) -> float | None:
    """Weighted by how long each value stood: what was last before the interval counts from its start on."""
    rows = np.arange(max(low - 1, 0), high)
    if len(rows) == 0:
        return None
    starts = np.maximum(past.times[rows], first_ns)
    weights = np.diff(np.append(starts, last_ns)).astype(np.float64)
    weights[~past.good[rows]] = 0.0
    total = float(weights.sum())
    if total <= 0.0:
        return None
    numbers = np.where(past.good[rows], past.numbers[rows], 0.0)
    return float((numbers * weights).sum() / total)


def _result(values: list[ua.DataValue]) -> ua.HistoryReadResult:
    result = ua.HistoryReadResult()
    result.StatusCode = ua.StatusCode(_codes.Good if values else _codes.GoodNoData)
    result.HistoryData = ua.HistoryData(DataValues=values)
    return result


def _failed(code: int) -> ua.HistoryReadResult:
    result = ua.HistoryReadResult()
    result.StatusCode = ua.StatusCode(code)
    return result
