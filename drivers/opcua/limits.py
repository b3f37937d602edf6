"""What one request may ask for; enforced by ``session`` and published under ServerCapabilities/OperationLimits."""

from __future__ import annotations

from asyncua import ua
from asyncua.common.utils import ServiceError

READ_MAX = 10_000
WRITE_MAX = 256  # one atomic group of the scan
BROWSE_MAX = 1000
TRANSLATE_MAX = 1000
REGISTER_MAX = 1000
CALL_MAX = 100
ITEMS_MAX = 10_000  # monitored items created, changed or deleted by one call
HISTORY_MAX = 100
SUBSCRIPTIONS_MAX = 20  # of one session
SUBSCRIPTIONS_TOTAL_MAX = 250
ITEMS_TOTAL_MAX = 400_000  # of all subscriptions

_PREFIX = "Server_ServerCapabilities_OperationLimits_"
OPERATION_LIMITS = {
    "MaxNodesPerRead": READ_MAX,
    "MaxNodesPerWrite": WRITE_MAX,
    "MaxNodesPerBrowse": BROWSE_MAX,
    "MaxNodesPerTranslateBrowsePathsToNodeIds": TRANSLATE_MAX,
    "MaxNodesPerRegisterNodes": REGISTER_MAX,
    "MaxNodesPerMethodCall": CALL_MAX,
    "MaxMonitoredItemsPerCall": ITEMS_MAX,
    "MaxNodesPerHistoryReadData": HISTORY_MAX,
    "MaxNodesPerHistoryReadEvents": HISTORY_MAX,
    "MaxNodesPerHistoryUpdateData": 0,
    "MaxNodesPerHistoryUpdateEvents": 0,
    "MaxNodesPerNodeManagement": 0,
}


def published() -> list[tuple[ua.NodeId, int]]:
    """The nodes of the operation limits and their values."""
    return [
        (ua.NodeId(getattr(ua.ObjectIds, _PREFIX + name)), value) for name, value in OPERATION_LIMITS.items()
    ]


def check(count: int, most: int) -> None:
    """Raises ServiceError for an empty request, and for one over the limit (OPC 10000-4 §7.38.2)."""
    if count == 0:
        raise ServiceError(ua.StatusCodes.BadNothingToDo)
    if count > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
