"""Filters of monitored values, judged."""

from __future__ import annotations

from typing import Any

from asyncua import ua

# What the decoder makes; ua.DataChangeFilter is a class derived from it.
from asyncua.ua.uaprotocol_auto import DataChangeFilter

_codes = ua.StatusCodes


class Limits:
    """What a filter asks for, and whether it can be had."""

    def __init__(
        self, status: int, deadband: float, *, status_only: bool = False, stamped: bool = False
    ) -> None:
        self.status, self.deadband = int(status), deadband
        self.status_only, self.stamped = status_only, stamped


def judge(wanted: Any, *, numeric: bool, span: float | None, value: bool) -> Limits:
    """A DataChangeFilter (OPC 10000-4 §7.22.2) for a value that is a number or not, with an EURange or without."""
    if wanted is None or (isinstance(wanted, ua.ExtensionObject) and wanted.TypeId.is_null()):
        return Limits(_codes.Good, 0.0)
    if not isinstance(wanted, DataChangeFilter):
        return Limits(_codes.BadMonitoredItemFilterUnsupported, 0.0)
    if not value:
        return Limits(_codes.BadFilterNotAllowed, 0.0)
    status_only = wanted.Trigger == ua.DataChangeTrigger.Status
    stamped = wanted.Trigger == ua.DataChangeTrigger.StatusValueTimestamp
    if wanted.DeadbandType == ua.DeadbandType.None_:
        return Limits(_codes.Good, 0.0, status_only=status_only, stamped=stamped)
    if not numeric or not wanted.DeadbandValue >= 0:
        return Limits(_codes.BadFilterNotAllowed, 0.0)
    distance = float(wanted.DeadbandValue)
    if wanted.DeadbandType == ua.DeadbandType.Percent:
        if span is None or distance > 100:
            return Limits(_codes.BadDeadbandFilterInvalid, 0.0)
        distance = distance / 100 * span
    elif wanted.DeadbandType != ua.DeadbandType.Absolute:
        return Limits(_codes.BadDeadbandFilterInvalid, 0.0)
    return Limits(_codes.Good, distance, status_only=status_only, stamped=stamped)
