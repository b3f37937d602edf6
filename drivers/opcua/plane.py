"""The tag data plane: values go from the snapshot to clients and from clients to the scan, past asyncua's store.

Rules.
* A value of a tag never lives in asyncua's address space: reads and the first value of a monitored item come from the
  snapshot, so all tags of one Read are of one scan and carry its time.
* A Write is checked whole, then goes to the scan as one atomic group; it answers when the scan has taken it.
* Subscriptions sample the snapshot themselves (``subscriptions``); asyncua's own notifications never see a tag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from asyncua import ua
from asyncua.server.address_space import AddressSpace, AttributeService

import scan
from scan.abi import Symbol
from scan.quality import is_bad

from .types import from_ua, to_datetime, to_ua
from .users import OpcUaUser

log = structlog.get_logger("tickwork.opcua")

WRITE_TIMEOUT_S = 2.0

# What the scan made of an atomic group of writes: "" when it took effect, else the reason.
Submit = Callable[[Mapping[Symbol, object], str], Awaitable[str]]


class Tags:
    """The symbols of the running program by NodeId identifier, with the snapshot that answers come from."""

    def __init__(self, view: scan.NodeView, index: int) -> None:
        self.view = view
        self.index = index
        self.symbols: dict[str, Symbol] = {}
        self.generation = -1
        self._snapshot: scan.Snapshot | None = None

    def bind(self, symbols: list[Symbol], generation: int) -> None:
        """``symbols`` are those of the program of this generation; only its snapshots are read with them."""
        self.symbols = {symbol.path: symbol for symbol in symbols}
        self.generation = generation
        self._snapshot = None

    def find(self, node_id: ua.NodeId) -> Symbol | None:
        if node_id.NamespaceIndex != self.index or not isinstance(node_id.Identifier, str):
            return None
        return self.symbols.get(node_id.Identifier)

    def take_snapshot(self) -> scan.Snapshot | None:
        """Read the snapshot anew; what follows answers from it.

        None while no program is loaded, and while the address space is still that of another program.
        """
        self.view.refresh()
        loaded = self.view.application is not None and self.view.generation == self.generation
        self._snapshot = self.view.snapshot() if loaded else None
        if self._snapshot is not None and self._snapshot.generation != self.generation:
            self._snapshot = None
        return self._snapshot

    def value(self, symbol: Symbol) -> ua.DataValue:
        snapshot = self._snapshot
        if snapshot is None:
            return ua.DataValue(StatusCode_=ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData))
        quality = self.view.quality(symbol)
        variant = to_ua(symbol, scan.read_value(snapshot.block, symbol))
        # The upper half of a StatusCode is our quality; bits for a limited or overflowed value are not ours to set.
        return ua.DataValue(
            variant if not is_bad(quality) else ua.Variant(None, ua.VariantType.Null),
            StatusCode=ua.StatusCode(quality << 16),
            SourceTimestamp=to_datetime(snapshot.wall_ns),
            ServerTimestamp=to_datetime(snapshot.wall_ns),
        )


class TagSpace(AddressSpace):
    """asyncua's address space, in which the Value of a tag is read from the snapshot."""

    tags: Tags

    def read_attribute_value(self, nodeid: ua.NodeId, attr: ua.AttributeIds) -> ua.DataValue:
        if attr == ua.AttributeIds.Value and (symbol := self.tags.find(nodeid)) is not None:
            return self.tags.value(symbol)
        return super().read_attribute_value(nodeid, attr)


class TagAttributes(AttributeService):
    """Read and Write services: reads share one snapshot, writes are one group."""

    def __init__(self, space: TagSpace, submit: Submit) -> None:
        super().__init__(space)
        self._tags = space.tags
        self._submit = submit

    def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        if any(self._tags.find(item.NodeId) is not None for item in params.NodesToRead):
            self._tags.take_snapshot()
        return super().read(params)

    async def write(self, params: ua.WriteParameters, user: Any = None) -> list[ua.StatusCode]:
        if not isinstance(user, OpcUaUser):
            # asyncua itself, at start-up and for its clock: never a client.
            return await super().write(params) if user is None else await super().write(params, user)
        results: list[int] = []
        group: dict[Symbol, object] = {}
        for item in params.NodesToWrite:
            symbol = self._tags.find(item.NodeId)
            status, value = self._check(item, symbol, user)
            if symbol is not None and status == ua.StatusCodes.Good:
                group[symbol] = value
            results.append(status)
        refused = await self._apply(group, user) if group else ua.StatusCodes.Good
        return [ua.StatusCode(refused if status == ua.StatusCodes.Good else status) for status in results]

    def _check(self, item: ua.WriteValue, symbol: Symbol | None, user: OpcUaUser) -> tuple[int, object]:
        codes = ua.StatusCodes
        if symbol is None:
            known = item.NodeId in self._aspace
            return (codes.BadNotWritable if known else codes.BadNodeIdUnknown), None
        if item.AttributeId != ua.AttributeIds.Value or symbol.access != "rw":
            return codes.BadNotWritable, None
        if not user.may_write:
            return codes.BadUserAccessDenied, None
        if item.IndexRange:
            return codes.BadWriteNotSupported, None
        if item.Value is None or item.Value.Value is None:
            return codes.BadTypeMismatch, None
        value, status = from_ua(symbol, item.Value.Value)
        return status, value

    async def _apply(self, group: dict[Symbol, object], user: OpcUaUser) -> int:
        try:
            reason = await asyncio.wait_for(self._submit(group, f"opcua:{user.name}"), WRITE_TIMEOUT_S)
        except TimeoutError:
            return int(ua.StatusCodes.BadTimeout)
        if reason:
            log.warning(
                "write refused", user=user.name, reason=reason, tags=[symbol.path for symbol in group]
            )
            return int(ua.StatusCodes.BadOutOfService)
        return int(ua.StatusCodes.Good)
