"""Methods: what can be called, by whom, with which arguments (OPC 10000-4 §5.11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError

from .entries import NULL, standard
from .rights import has_role
from .space import Space

log = structlog.get_logger("tickwork.opcua")

_codes = ua.StatusCodes

# (session, NodeId of the object, arguments) -> (StatusCode, output values)
Body = Callable[[Any, ua.NodeId, list[ua.Variant]], Awaitable[tuple[int, list[ua.Variant]]]]


def argument(name: str, kind: int, description: str = "") -> ua.Argument:
    """A scalar argument; ``kind`` is a data type's number, 24 (BaseDataType) takes any value."""
    return ua.Argument(
        Name=name,
        DataType=standard(kind),
        ValueRank=ua.ValueRank.Scalar,
        ArrayDimensions=[],
        Description=ua.LocalizedText(description or None),
    )


@dataclass(frozen=True, slots=True)
class Method:
    """``inputs`` are checked before ``body`` is called; ``role`` is the least that may call, "" everybody."""

    inputs: tuple[ua.Argument, ...]
    body: Body
    role: str = "operator"


_BUILT_IN: dict[int, ua.VariantType] = {
    ua.ObjectIds.UtcTime: ua.VariantType.DateTime,
    ua.ObjectIds.Duration: ua.VariantType.Double,
    ua.ObjectIds.IntegerId: ua.VariantType.UInt32,
}
_ANY = ua.ObjectIds.BaseDataType


class Methods:
    """Methods by their NodeId; one can be called on several objects, its body knows which."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._methods: dict[ua.NodeId, Method] = {}

    def add(self, node_id: ua.NodeId, method: Method) -> None:
        self._methods[node_id] = method

    def may_call(self, node_id: ua.NodeId, role: str) -> bool:
        """Whether there is such a method, and the role suffices."""
        method = self._methods.get(node_id)
        return method is not None and (not method.role or has_role(role, method.role))

    async def call(self, wanted: Any, session: Any) -> ua.CallMethodResult:
        result = ua.CallMethodResult()
        method = self._methods.get(wanted.MethodId)
        code = self._judge(wanted, method, session)
        if code != _codes.Good or method is None:
            result.StatusCode = ua.StatusCode(code)
            return result
        given = list(wanted.InputArguments or ())
        code, each = check_arguments(method.inputs, given)
        if code != _codes.Good:
            result.StatusCode = ua.StatusCode(code)
            result.InputArgumentResults = [ua.StatusCode(one) for one in each]
            return result
        try:
            code, outputs = await method.body(session, wanted.ObjectId, given)
        except (ServiceError, ua.UaStatusCodeError) as error:
            code, outputs = error.code, []
        except Exception:
            log.exception("method failed", method=str(wanted.MethodId.Identifier))
            code, outputs = int(_codes.BadUnexpectedError), []
        result.StatusCode, result.OutputArguments = ua.StatusCode(code), outputs
        return result

    def _judge(self, wanted: Any, method: Method | None, session: Any) -> int:
        if wanted.ObjectId == NULL:
            return int(_codes.BadNodeIdInvalid)
        if method is None:
            return int(_codes.BadNotExecutable if wanted.MethodId in self._space else _codes.BadMethodInvalid)
        if not self.may_call(wanted.MethodId, session.who.tickwork_role):
            return int(_codes.BadUserAccessDenied)
        return int(_codes.Good)


def check_arguments(inputs: Sequence[ua.Argument], given: Sequence[ua.Variant]) -> tuple[int, list[int]]:
    """(StatusCode of the call, of each argument)."""
    if len(given) < len(inputs):
        return int(_codes.BadArgumentsMissing), []
    if len(given) > len(inputs):
        return int(_codes.BadTooManyArguments), []
    each = [int(_codes.Good if _fits(one, value) else _codes.BadTypeMismatch)
            for one, value in zip(inputs, given, strict=True)]  # fmt: skip
    good = all(code == _codes.Good for code in each)
    return int(_codes.Good if good else _codes.BadInvalidArgument), each


def _fits(wanted: ua.Argument, value: ua.Variant) -> bool:
    number = int(wanted.DataType.Identifier)
    if number == _ANY:
        return value.Value is not None
    kind = _BUILT_IN.get(number) or ua.VariantType(number)
    return value.VariantType == kind and not value.is_array
