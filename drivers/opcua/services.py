"""Requests that asyncua does not answer, or not as clients need it; each handler gives the response to send.

``table`` maps the NodeId of a request to ``async handler(processor, header, body)``; a handler that gives bytes has
packed its response itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary

from . import batches, limits
from .batches import Batches

Handler = Callable[[Any, Any, Any], Awaitable[Any]]


def request_id(name: str) -> ua.NodeId:
    return ua.NodeId(getattr(ua.ObjectIds, f"{name}Request_Encoding_DefaultBinary"))


def table(reads: Batches) -> dict[ua.NodeId, Handler]:
    """The handlers of one server."""

    async def read(processor: Any, header: Any, body: Any) -> Any:
        request = bytes(body.copy().read(len(body)))
        known = reads.knows(request)
        params = None if known else batches.parameters(body)
        if params is not None:
            limits.check(len(params.NodesToRead), limits.READ_MAX)
        packed = reads.answer(request, params)
        if packed is not None:
            return batches.response(header.RequestHandle, packed)
        response = ua.ReadResponse()
        response.Results = await processor.session.read(params or batches.parameters(body))
        return response

    made = {"Read": read, "BrowseNext": _browse_next, "SetTriggering": _set_triggering, "Cancel": _cancel}
    made |= {"RegisterNodes": _register, "UnregisterNodes": _unregister}
    made |= {"HistoryRead": _history_read}
    return {request_id(name): handler for name, handler in made.items()}


async def _browse_next(processor: Any, _header: Any, body: Any) -> Any:
    response = ua.BrowseNextResponse()
    params = struct_from_binary(ua.BrowseNextParameters, body)
    response.Parameters.Results = await processor.session.browse_next(params)
    return response


async def _set_triggering(processor: Any, _header: Any, body: Any) -> Any:
    response = ua.SetTriggeringResponse()
    params = struct_from_binary(ua.SetTriggeringParameters, body)
    added, removed = processor.session.set_triggering(params)
    response.Parameters.AddResults, response.Parameters.RemoveResults = added, removed
    return response


async def _cancel(processor: Any, _header: Any, body: Any) -> Any:
    """Only Publish requests ever wait (OPC 10000-4 §5.6.5)."""
    params = struct_from_binary(ua.CancelParameters, body)
    response = ua.CancelResponse()
    response.Parameters.CancelCount = processor.cancel_publish(params.RequestHandle)
    return response


async def _register(processor: Any, _header: Any, body: Any) -> Any:
    """NodeIds here are found as quickly as any handle would be: they are their own."""
    params = struct_from_binary(ua.RegisterNodesParameters, body)
    limits.check(len(params.NodesToRegister), limits.REGISTER_MAX)
    response = ua.RegisterNodesResponse()
    response.Parameters.RegisteredNodeIds = params.NodesToRegister
    return response


async def _unregister(processor: Any, _header: Any, body: Any) -> Any:
    params = struct_from_binary(ua.UnregisterNodesParameters, body)
    limits.check(len(params.NodesToUnregister), limits.REGISTER_MAX)
    return ua.UnregisterNodesResponse()


async def _history_read(processor: Any, _header: Any, body: Any) -> Any:
    params = struct_from_binary(ua.HistoryReadParameters, body)
    limits.check(len(params.NodesToRead), limits.HISTORY_MAX)
    response = ua.HistoryReadResponse()
    response.Results = processor.session.read_history(params)
    return response
