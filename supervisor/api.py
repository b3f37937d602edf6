"""The REST API under /api/v1: the table of operations as routes.

Answers are JSON with an ETag; ``If-None-Match`` gives 304. Errors are problem details with our codes (``errors``).
"""

from __future__ import annotations

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from supervisor.api_alarms import OPERATIONS as ALARMS
from supervisor.api_call import Call, Operation
from supervisor.api_fleet import OPERATIONS as FLEET
from supervisor.api_notify import OPERATIONS as NOTIFY
from supervisor.api_people import OPERATIONS as PEOPLE
from supervisor.api_programs import OPERATIONS as PROGRAMS
from supervisor.api_recordings import OPERATIONS as RECORDINGS
from supervisor.api_screens import OPERATIONS as SCREENS
from supervisor.guard import access
from supervisor.model import Role
from supervisor.openapi import document
from supervisor.problems import not_understood

PREFIX = "/api/v1"
OPERATIONS: tuple[Operation, ...] = (*FLEET, *ALARMS, *NOTIFY, *PROGRAMS, *SCREENS, *RECORDINGS, *PEOPLE)


def api_routes() -> list[BaseRoute]:
    description = msgspec.json.encode(document(PREFIX, OPERATIONS))

    @access(Role.VIEWER)
    async def openapi(request: Request) -> Response:
        return _answer(request, description, 200)

    @access(Role.VIEWER)
    async def unknown(request: Request) -> Response:
        raise not_understood("an operation of the API", f"{request.method} {request.url.path}")

    return [
        Route(f"{PREFIX}/openapi.json", openapi, methods=["GET"]),
        *(_route(operation) for operation in OPERATIONS),
    ]


def _route(operation: Operation) -> Route:
    @access(operation.role)
    async def endpoint(request: Request) -> Response:
        query = _query(request, operation)
        body = await _body(request, operation)
        call = Call(
            request.app.state.services,
            request.state.actor,
            {k: str(v) for k, v in request.path_params.items()},
            query,
            body,
        )
        result = await operation.handler(call)
        if operation.result is None:
            return Response(status_code=204)
        return _answer(request, msgspec.json.encode(result), operation.status)

    return Route(PREFIX + operation.path, endpoint, methods=[operation.method])


def _query(request: Request, operation: Operation) -> msgspec.Struct:
    given = request.query_params
    unknown = set(given) - set(operation.query.__struct_fields__)
    if unknown:
        raise not_understood(
            f"parameters {', '.join(operation.query.__struct_fields__)}", ", ".join(sorted(unknown))
        )
    try:
        return msgspec.convert(dict(given), operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise not_understood("query parameters as described", error) from error


async def _body(request: Request, operation: Operation) -> object:
    if operation.body is None:
        return None
    data = await request.body()
    if operation.body is bytes:
        return data
    try:
        return msgspec.json.decode(data, type=operation.body)
    except msgspec.DecodeError as error:
        raise not_understood("a JSON body as described", error) from error


def _answer(request: Request, body: bytes, status: int) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if status == 200 and request.method == "GET" and tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, media_type="application/json")
