"""Read and Write (OPC 10000-4 §5.10): values go from the snapshot to clients and from clients to the scan.

Rules.
* All tags of one Read are of one scan and carry its time.
* A Write is checked whole, then goes to the scan as one atomic group; it answers when the scan has taken it.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import AttributeService

from scan.abi import Symbol

from .entries import WRITE
from .index_range import part_of, select
from .rights import may_write
from .space import Space
from .structures import from_variant
from .types import from_ua
from .users import OpcUaUser

log = structlog.get_logger("tickwork.opcua")

WRITE_TIMEOUT_S = 2.0
RECORDS_MAX = 256  # of one group: the scan takes no more at one boundary (scan.layout.GROUP_MAX)
RECORD_SIZE = 80

# What the scan made of an atomic group of writes: "" when it took effect, else the reason.
Submit = Callable[[Mapping[Symbol, object], str], Awaitable[str]]

_A = ua.AttributeIds
_VALUE_ENCODINGS = ("", "Default Binary")
_BOTH = (ua.TimestampsToReturn.Source, ua.TimestampsToReturn.Both)
_SERVER = (ua.TimestampsToReturn.Server, ua.TimestampsToReturn.Both)


def stamped(value: ua.DataValue, wanted: ua.TimestampsToReturn) -> ua.DataValue:
    """A value with exactly the timestamps that were asked for; the server's is now when the value has none."""
    server = None
    if wanted in _SERVER:
        server = value.ServerTimestamp or datetime.datetime.now(datetime.UTC)
    return replace(
        value,
        SourceTimestamp=value.SourceTimestamp if wanted in _BOTH else None,
        SourcePicoseconds=None,
        ServerTimestamp=server,
        ServerPicoseconds=None,
    )


def _failed(code: int) -> ua.DataValue:
    return ua.DataValue(StatusCode=ua.StatusCode(code))


class TagAttributes(AttributeService):
    """Reads share one snapshot, writes are one group."""

    def __init__(self, space: Space, submit: Submit) -> None:
        super().__init__(space)
        self._space = space
        self._submit = submit
        # Whether a role may call a method.
        self.may_call: Callable[[ua.NodeId, str], bool] = lambda _method, _role: False

    # ---------------------------------------------------------------- reading

    def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        """As asyncua itself reads: no user, no timestamps asked for."""
        self._space.tags.take_snapshot()
        return list(super().read(params))

    def read_for(self, params: ua.ReadParameters, user: OpcUaUser) -> list[ua.DataValue]:
        """Raises ServiceError for what makes the whole request invalid."""
        if params.MaxAge < 0 or params.MaxAge != params.MaxAge:
            raise ServiceError(ua.StatusCodes.BadMaxAgeInvalid)
        wanted = params.TimestampsToReturn
        if wanted not in (0, 1, 2, 3):
            raise ServiceError(ua.StatusCodes.BadTimestampsToReturnInvalid)
        self._space.tags.take_snapshot()
        return [self._read_one(item, wanted, user) for item in params.NodesToRead]

    def _read_one(self, item: ua.ReadValueId, wanted: ua.TimestampsToReturn, user: OpcUaUser) -> ua.DataValue:
        if item.AttributeId != _A.Value:
            if item.IndexRange:
                return _failed(ua.StatusCodes.BadIndexRangeNoData)
            return replace(self.attribute_for(item.NodeId, item.AttributeId, user), SourceTimestamp=None)
        if item.DataEncoding.Name not in (None, *_VALUE_ENCODINGS):
            return _failed(ua.StatusCodes.BadDataEncodingInvalid)
        value = self._space.read_attribute_value(item.NodeId, item.AttributeId)
        return stamped(select(value, item.IndexRange) if item.IndexRange else value, wanted)

    def attribute_for(self, node_id: ua.NodeId, number: ua.AttributeIds, user: OpcUaUser) -> ua.DataValue:
        """An attribute as this user sees it (OPC 10000-3 §5.6.2 UserAccessLevel, §5.7 UserExecutable)."""
        value = self._space.read_attribute_value(node_id, number)
        if number == _A.UserExecutable and value.Value is not None:
            allowed = self.may_call(node_id, user.tickwork_role)
            return ua.DataValue(ua.Variant(allowed, ua.VariantType.Boolean))
        if number != _A.UserAccessLevel or value.Value is None or self._may_write(node_id, user):
            return value
        return ua.DataValue(ua.Variant(value.Value.Value & ~WRITE, ua.VariantType.Byte))

    def _may_write(self, node_id: ua.NodeId, user: OpcUaUser) -> bool:
        tags = self._space.tags
        if (symbol := tags.find(node_id)) is not None:
            return may_write(user.tickwork_role, symbol)
        if (branch := tags.find_structure(node_id)) is not None:
            return all(may_write(user.tickwork_role, leaf) for leaf in branch.leaves())
        return False

    # ---------------------------------------------------------------- writing

    async def write(self, params: ua.WriteParameters, user: Any = None) -> list[ua.StatusCode]:
        if not isinstance(user, OpcUaUser):
            # asyncua itself, at start-up and for its clock: never a client.
            return list(await super().write(params) if user is None else await super().write(params, user))
        self._space.tags.take_snapshot()
        results: list[int] = []
        group: dict[Symbol, object] = {}
        for item in params.NodesToWrite:
            values, status = self._check(item, user)
            if status == ua.StatusCodes.Good:
                group |= values
            results.append(status)
        if sum(-(-symbol.size // RECORD_SIZE) for symbol in group) > RECORDS_MAX:
            raise ServiceError(ua.StatusCodes.BadTooManyOperations)
        refused = await self._apply(group, user) if group else ua.StatusCodes.Good
        return [ua.StatusCode(refused if status == ua.StatusCodes.Good else status) for status in results]

    def _check(self, item: ua.WriteValue, user: OpcUaUser) -> tuple[dict[Symbol, object], int]:
        """(what to write, StatusCode) of one value of a request."""
        codes, tags = ua.StatusCodes, self._space.tags
        if item.NodeId not in self._space:
            return {}, int(codes.BadNodeIdUnknown)
        symbol, branch = tags.find(item.NodeId), tags.find_structure(item.NodeId)
        leaves = [symbol] if symbol is not None else list(branch.leaves()) if branch is not None else []
        if item.AttributeId != _A.Value or not leaves or any(leaf.access != "rw" for leaf in leaves):
            return {}, int(codes.BadNotWritable)
        if not all(may_write(user.tickwork_role, leaf) for leaf in leaves):
            return {}, int(codes.BadUserAccessDenied)
        if tags.block is None:
            return {}, int(codes.BadOutOfService)
        if item.Value is None or item.Value.Value is None:
            return {}, int(codes.BadTypeMismatch)
        if item.Value.StatusCode is not None and not item.Value.StatusCode.is_good():
            return {}, int(codes.BadWriteNotSupported)
        if branch is not None:
            if item.IndexRange:
                return {}, int(codes.BadWriteNotSupported)
            return from_variant(branch, item.Value.Value, tags.encoding(branch))
        assert symbol is not None
        return _checked(symbol, item.Value.Value, item.IndexRange)

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


def _checked(symbol: Symbol, variant: ua.Variant, part: str | None) -> tuple[dict[Symbol, object], int]:
    """Type, rank and range must be the variable's, or those of the part that is written."""
    if not part:
        value, status = from_ua(symbol, variant)
        return ({symbol: value} if status == ua.StatusCodes.Good else {}), int(status)
    shape, pieces, status = part_of(symbol, part)
    if status != ua.StatusCodes.Good:
        return {}, status
    value, status = from_ua(shape, variant)
    if status != ua.StatusCodes.Good:
        return {}, int(status)
    assert isinstance(value, list)
    return {piece: value[where] for piece, where in pieces}, int(status)
