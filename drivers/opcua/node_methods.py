"""Methods of the node: start and stop, forces, and those of the Server object."""

from __future__ import annotations

import math
from typing import Any

from asyncua import ua

from scan.abi import Symbol

from .companion import DEVICE_SET, TASK
from .entries import standard
from .fixed import NODE, RESOURCE_ID, ROOT, FixedNodes
from .methods import Method, Methods, argument
from .node import Orders
from .space import Space
from .types import from_ua

LEASE_S_MAX = 24 * 3600
REASON_MAX = 200
_codes = ua.StatusCodes
_ids = ua.ObjectIds

VARIABLE = argument("Variable", _ids.NodeId, "the variable")
FORCE = (
    VARIABLE,
    argument("Value", _ids.BaseDataType, "of the variable's own type"),
    argument("Reason", _ids.String, "why, for the journal"),
    argument("Lease", _ids.Duration, "milliseconds until the force ends by itself; 0: ten minutes"),
)

Answer = tuple[int, list[ua.Variant]]


def build(fixed: FixedNodes) -> None:
    """The nodes of the methods."""
    plc = fixed.companion.node_id(TASK).NamespaceIndex
    assert fixed.companion.node_id(DEVICE_SET).NamespaceIndex != plc
    for owner in (ROOT, RESOURCE_ID):
        for name, told in (("Start", "starts the program"), ("Stop", "stops it: outputs become safe")):
            fixed.add_method(f"{owner}/MethodSet/{name}", f"{owner}/MethodSet", name, (), told, plc)
    fixed.add_method(f"{NODE}/Force", NODE, "Force", FORCE, "holds a variable at a value")
    fixed.add_method(f"{NODE}/Unforce", NODE, "Unforce", (VARIABLE,), "ends a force")


class NodeMethods:
    """What the methods do; people's orders go to ``orders``."""

    def __init__(self, space: Space, orders: Orders) -> None:
        self._space = space
        self._orders = orders

    def add_to(self, methods: Methods) -> None:
        fixed = self._space.fixed
        for owner in (ROOT, RESOURCE_ID):
            for name in ("Start", "Stop"):
                method = Method((), self._order(name.lower()), role="engineer")
                methods.add(fixed.id(f"{owner}/MethodSet/{name}"), method)
        methods.add(fixed.id(f"{NODE}/Force"), Method(FORCE, self._force, role="engineer"))
        methods.add(fixed.id(f"{NODE}/Unforce"), Method((VARIABLE,), self._unforce, role="engineer"))
        subscription = argument("SubscriptionId", _ids.UInt32)
        for number, body in ((_ids.Server_GetMonitoredItems, _get_items), (_ids.Server_ResendData, _resend)):
            methods.add(standard(number), Method((subscription,), body, role=""))

    def _order(self, action: str) -> Any:
        async def body(session: Any, _object: ua.NodeId, _given: list[ua.Variant]) -> Answer:
            reason = await self._orders.order(action, f"opcua:{session.who.name}")
            return int(_codes.BadInvalidState if reason else _codes.Good), []

        return body

    def _symbol(self, given: ua.Variant) -> Symbol | None:
        return self._space.tags.find(given.Value) if isinstance(given.Value, ua.NodeId) else None

    async def _force(self, session: Any, _object: ua.NodeId, given: list[ua.Variant]) -> Answer:
        symbol = self._symbol(given[0])
        if symbol is None:
            return int(_codes.BadNodeIdUnknown), []
        value, status = from_ua(symbol, given[1])
        if status != _codes.Good:
            return int(status), []
        lease_ms = float(given[3].Value)
        if not math.isfinite(lease_ms) or not 0 <= lease_ms <= LEASE_S_MAX * 1000:
            return int(_codes.BadOutOfRange), []
        user = f"opcua:{session.who.name}"
        reason = await self._orders.force(
            symbol, value, user=user, reason=str(given[2].Value or "")[:REASON_MAX],
            lease_s=math.ceil(lease_ms / 1000),
        )  # fmt: skip
        return int(_codes.BadInvalidState if reason else _codes.Good), []

    async def _unforce(self, session: Any, _object: ua.NodeId, given: list[ua.Variant]) -> Answer:
        symbol = self._symbol(given[0])
        if symbol is None:
            return int(_codes.BadNodeIdUnknown), []
        reason = await self._orders.unforce(symbol, f"opcua:{session.who.name}")
        return int(_codes.BadInvalidState if reason else _codes.Good), []


async def _get_items(session: Any, _object: ua.NodeId, given: list[ua.Variant]) -> Answer:
    """Handles of the server and of the client (OPC 10000-5 §9.1)."""
    items = session.own(given[0].Value).monitored_item_srv
    known = [*items.items.values(), *items.event_items.values()]
    kind = ua.VariantType.UInt32
    return int(_codes.Good), [
        ua.Variant([one.item_id for one in known], kind, is_array=True),
        ua.Variant([one.client_handle for one in known], kind, is_array=True),
    ]


async def _resend(session: Any, _object: ua.NodeId, given: list[ua.Variant]) -> Answer:
    session.own(given[0].Value).monitored_item_srv.resend()
    return int(_codes.Good), []
