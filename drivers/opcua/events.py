"""Events: what happens on the node, filtered and queued for the clients that asked (OPC 10000-4 §7.22.3)."""

from __future__ import annotations

import datetime
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua

from .entries import NULL, standard
from .types import to_datetime

QUEUE_DEFAULT, QUEUE_MAX = 100, 1000
OPERANDS_MAX = 200  # elements of one where clause, and clauses of one selection
SERVER = standard(ua.ObjectIds.Server)
BASE_EVENT = standard(ua.ObjectIds.BaseEventType)
_OVERFLOW = standard(ua.ObjectIds.EventQueueOverflowEventType)
_codes = ua.StatusCodes

Fields = Mapping[str, ua.Variant]
IsA = Callable[[ua.NodeId, ua.NodeId], bool]  # (type, wanted type): the same or derived


@dataclass(frozen=True, slots=True)
class Event:
    """``fields`` by browse path, "ActiveState/Id"; "" is the NodeId of a condition."""

    kind: ua.NodeId
    fields: Fields


def text(value: str) -> ua.Variant:
    return ua.Variant(ua.LocalizedText(value), ua.VariantType.LocalizedText)


def make(
    kind: ua.NodeId,
    message: str,
    *,
    severity: int,
    time_ns: int,
    source: ua.NodeId = SERVER,
    source_name: str = "Server",
    event_id: bytes = b"",
    more: Fields | None = None,
) -> Event:
    """An event with what all events have (OPC 10000-5 §6.4.2). ``severity`` 1 to 1000."""
    moment = ua.Variant(to_datetime(time_ns), ua.VariantType.DateTime)
    fields = {
        "EventId": ua.Variant(event_id or secrets.token_bytes(16), ua.VariantType.ByteString),
        "EventType": ua.Variant(kind, ua.VariantType.NodeId),
        "SourceNode": ua.Variant(source, ua.VariantType.NodeId),
        "SourceName": ua.Variant(source_name, ua.VariantType.String),
        "Time": moment,
        "ReceiveTime": moment,
        "Message": text(message),
        "Severity": ua.Variant(min(max(severity, 1), 1000), ua.VariantType.UInt16),
    }
    return Event(kind, fields | dict(more or {}))


# ---------------------------------------------------------------- filters


class Filter:
    """A checked EventFilter. Raises ValueError with a StatusCode when it cannot be used at all."""

    def __init__(self, wanted: Any, is_a: IsA) -> None:
        if not isinstance(wanted, ua.EventFilter):
            raise ValueError(int(_codes.BadEventFilterInvalid))
        self._clauses = list(wanted.SelectClauses or ())
        self._elements = list(wanted.WhereClause.Elements or ()) if wanted.WhereClause else []
        if not self._clauses or max(len(self._clauses), len(self._elements)) > OPERANDS_MAX:
            raise ValueError(int(_codes.BadEventFilterInvalid))
        self._is_a = is_a
        self._check_elements()

    def _check_elements(self) -> None:
        """References to elements only lead forward: no cycle can be evaluated (OPC 10000-4 §7.7.4.2)."""
        for number, element in enumerate(self._elements):
            if element.FilterOperator not in _OPERATORS:
                raise ValueError(int(_codes.BadFilterOperatorUnsupported))
            for operand in element.FilterOperands:
                if isinstance(operand, ua.ElementOperand) and not number < operand.Index < len(
                    self._elements
                ):
                    raise ValueError(int(_codes.BadFilterOperandInvalid))

    def select(self, event: Event) -> list[ua.Variant]:
        """The fields in the order asked for; null for what this event has not."""
        return [self._field(clause, event) for clause in self._clauses]

    def _field(self, clause: Any, event: Event) -> ua.Variant:
        null = ua.Variant(None, ua.VariantType.Null)
        if clause.TypeDefinitionId not in (NULL, BASE_EVENT) and not self._is_a(
            event.kind, clause.TypeDefinitionId
        ):
            return null
        path = "/".join(part.Name or "" for part in clause.BrowsePath or ())
        wanted = ua.AttributeIds.Value if path else ua.AttributeIds.NodeId
        return event.fields.get(path, null) if clause.AttributeId == wanted else null

    def passes(self, event: Event) -> bool:
        """Whether the where clause lets an event through; what cannot be compared does not pass."""
        return not self._elements or self._evaluate(0, event) is True

    def _evaluate(self, index: int, event: Event) -> Any:
        element = self._elements[index]
        operator, operands = element.FilterOperator, list(element.FilterOperands)
        if operator == ua.FilterOperator.OfType:
            wanted = self._operand(operands[0], event) if operands else None
            return isinstance(wanted, ua.NodeId) and self._is_a(event.kind, wanted)
        values = [self._operand(one, event) for one in operands]
        try:
            return _OPERATORS[operator](*values)
        except (TypeError, ValueError, IndexError):
            return None

    def _operand(self, operand: Any, event: Event) -> Any:
        if isinstance(operand, ua.ElementOperand):
            return self._evaluate(operand.Index, event)
        if isinstance(operand, ua.LiteralOperand):
            return operand.Value.Value if operand.Value is not None else None
        if isinstance(operand, ua.SimpleAttributeOperand):
            return self._field(operand, event).Value
        return None


def _logical(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _and(one: Any, other: Any) -> bool | None:
    """Three-valued, as table 120 of OPC 10000-4 has it."""
    pair = (_logical(one), _logical(other))
    return False if False in pair else None if None in pair else True


def _or(one: Any, other: Any) -> bool | None:
    pair = (_logical(one), _logical(other))
    return True if True in pair else None if None in pair else False


def _like(value: Any, pattern: Any) -> bool:
    """% any text, _ any one character, \\ takes the next as it is (table 118 of OPC 10000-4, without lists)."""
    return _matches(str(value), str(pattern)[:500])


def _matches(value: str, pattern: str) -> bool:
    # A table over both texts: no pattern can make it slow.
    tokens: list[tuple[str, bool]] = []
    signs = iter(pattern)
    for sign in signs:
        tokens.append((next(signs, ""), False) if sign == "\\" else (sign, sign in "%_"))
    reached = {0}
    for sign, wild in tokens:
        if wild and sign == "%":
            reached = set(range(min(reached), len(value) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(value) and (wild or value[at] == sign)}
    return len(value) in reached


_OPERATORS: dict[Any, Callable[..., Any]] = {
    ua.FilterOperator.Equals: lambda one, other: one == other,
    ua.FilterOperator.IsNull: lambda one: one is None,
    ua.FilterOperator.GreaterThan: lambda one, other: one > other,
    ua.FilterOperator.LessThan: lambda one, other: one < other,
    ua.FilterOperator.GreaterThanOrEqual: lambda one, other: one >= other,
    ua.FilterOperator.LessThanOrEqual: lambda one, other: one <= other,
    ua.FilterOperator.Like: _like,
    ua.FilterOperator.Not: lambda one: None if _logical(one) is None else not one,
    ua.FilterOperator.Between: lambda one, low, high: low <= one <= high,
    ua.FilterOperator.InList: lambda one, *others: one in others,
    ua.FilterOperator.And: _and,
    ua.FilterOperator.Or: _or,
    ua.FilterOperator.BitwiseAnd: lambda one, other: one & other,
    ua.FilterOperator.BitwiseOr: lambda one, other: one | other,
    ua.FilterOperator.OfType: lambda _one: None,
}


# ---------------------------------------------------------------- monitored items


@dataclass(slots=True)
class EventItem:
    """A client's interest in events, with what waits for it."""

    item_id: int
    client_handle: int
    filter: Filter
    queue_size: int = QUEUE_DEFAULT
    discard_oldest: bool = True
    reporting: bool = True
    enabled: bool = True
    _queue: deque[list[ua.Variant]] = field(default_factory=deque)
    _overflowed: bool = False

    def offer(self, event: Event) -> bool:
        """Queues an event that passes; whether it did."""
        if not self.enabled or not self.filter.passes(event):
            return False
        self._queue.append(self.filter.select(event))
        if len(self._queue) > self.queue_size:
            self._overflowed = True
            if self.discard_oldest:
                self._queue.popleft()
            else:
                del self._queue[-2]
        return True

    @property
    def waiting(self) -> int:
        return (len(self._queue) + self._overflowed) if self.reporting else 0

    def take(self, limit: int) -> list[ua.EventFieldList]:
        """At most ``limit`` notifications (0: all); first of all that some were lost."""
        made: list[ua.EventFieldList] = []
        while (self._queue or self._overflowed) and (limit <= 0 or len(made) < limit):
            if self._overflowed:
                self._overflowed = False
                now_ns = int(datetime.datetime.now(datetime.UTC).timestamp() * 1e9)
                lost = make(_OVERFLOW, "Events were lost", severity=300, time_ns=now_ns)
                fields = self.filter.select(lost)
            else:
                fields = self._queue.popleft()
            made.append(ua.EventFieldList(ClientHandle=self.client_handle, EventFields=fields))
        return made


def revise_queue(requested: int) -> int:
    return min(requested, QUEUE_MAX) if requested > 1 else QUEUE_DEFAULT


def taken(items: Iterable[EventItem], limit: int) -> list[ua.EventFieldList]:
    """Notifications of several items together, at most ``limit`` (0: all)."""
    found: list[ua.EventFieldList] = []
    for item in items:
        left = limit - len(found) if limit > 0 else 0
        if limit > 0 and left == 0:
            break
        if item.reporting:
            found += item.take(left)
    return found
