"""The OpenAPI 3.1 document of the API, made from the table of operations and the types themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from supervisor.api_call import Operation
from supervisor.errors import ProblemDetails
from supervisor.settings import VERSION

_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = "#/components/schemas/{name}"
Json = dict[str, Any]


def document(prefix: str, operations: tuple[Operation, ...]) -> Json:
    types = [t for operation in operations for t in _types(operation)]
    schemas, components = msgspec.json.schema_components([*types, ProblemDetails], ref_template=_REFERENCE)
    schema_of = {repr(kind): schema for kind, schema in zip([*types, ProblemDetails], schemas, strict=True)}
    paths: Json = {}
    for operation in operations:
        paths.setdefault(prefix + operation.path, {})[operation.method.lower()] = _operation(
            operation, schema_of
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tickwork supervisor", "version": VERSION},
        "security": [{"key": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "tickwork"},
            },
        },
    }


def _types(operation: Operation) -> list[Any]:
    return [
        t for t in (operation.query, operation.body, operation.result) if t is not None and t is not bytes
    ]


def _operation(operation: Operation, schema_of: Json) -> Json:
    problem = {
        "description": "A problem",
        "content": {"application/problem+json": {"schema": schema_of[repr(ProblemDetails)]}},
    }
    described: Json = {
        "summary": operation.summary,
        "operationId": operation.handler.__name__,
        "tags": [operation.tag],
        "x-role": str(operation.role),
        "parameters": _parameters(operation),
        "responses": {
            str(operation.status if operation.result is not None else 204): _result(operation, schema_of)
        }
        | dict.fromkeys(("400", "401", "403", "404", "409", "413", "422", "429", "500", "503"), problem),
    }
    if operation.body is bytes:
        raw = {"schema": {"type": "string", "format": "binary"}}
        described["requestBody"] = {"content": {"application/octet-stream": raw}}
    elif operation.body is not None:
        content = {"application/json": {"schema": schema_of[repr(operation.body)]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _result(operation: Operation, schema_of: Json) -> Json:
    if operation.result is None:
        return {"description": "Done"}
    return {
        "description": "Done",
        "headers": {"ETag": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": schema_of[repr(operation.result)]}},
    }


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    for field in msgspec.structs.fields(operation.query):
        schema: Json = msgspec.json.schema(field.type)
        if field.default is not msgspec.NODEFAULT:
            schema["default"] = field.default
        found.append({"name": field.name, "in": "query", "required": field.required, "schema": schema})
    return found
