"""Errors as answers: problem details (RFC 9457) for programs, a page for people; never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from scan.problem import Problem, TickworkError
from supervisor import pages
from supervisor.problems import status_of

log = logging.getLogger("tickwork.supervisor.error")
_PROGRAM_PATHS = ("/api/", "/link/", "/livez", "/readyz", "/metrics")
_RETRY_CODES = {"SV1008": "1", "SV1102": "5", "SV2004": "5"}


class ProblemDetails(msgspec.Struct, frozen=True):
    """The body of every error of the API. ``type`` names the page of the code; ``problems`` has them all."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: tuple[Problem, ...] = ()


def problem_response(
    problems: tuple[Problem, ...], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    first = problems[0]
    body = ProblemDetails(
        f"urn:tickwork:problem:{first.code}", first.message, status, first.render(), first.code, problems
    )
    return Response(msgspec.json.encode(body), status, headers, media_type="application/problem+json")


def is_program(request: Request) -> bool:
    return request.url.path.startswith(_PROGRAM_PATHS)


async def on_tickwork_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TickworkError)
    status = status_of(error)
    await _audit(request, error)
    headers = {"Retry-After": _RETRY_CODES[error.code]} if error.code in _RETRY_CODES else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if is_program(request):
        return problem_response(error.problems, status, headers)
    title = HTTPStatus(status).phrase
    response = await pages.error_page(request, status, title, error.problems[0].message, error.problems)
    response.headers.update(headers)
    return response


async def _audit(request: Request, error: TickworkError) -> None:
    actor: Any = getattr(request.state, "actor", None)
    if error.code in ("SV1003", "SV1010") and actor is not None:
        parts = request.app.state.parts
        about = f"{request.method} {request.url.path}"[:200]
        await parts.audit.refused(actor, "access.refused", about, error.problems[0].message)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = {404: "SV1004", 413: "SV1007"}.get(status, "SV1001")
    problem = Problem(code, error.detail, found=f"{request.method} {request.url.path}"[:200])
    if is_program(request):
        return problem_response((problem,), status, error.headers)
    response = await pages.error_page(request, status, HTTPStatus(status).phrase, error.detail, problem)
    response.headers.update(error.headers or {})
    return response


async def on_bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    problem = Problem(
        "SV1009",
        "the supervisor failed at this request",
        found=type(error).__name__,
        remedy="this is a defect of tickwork: please report it with the supervisor's log of this moment",
    )
    if is_program(request):
        return problem_response((problem,), 500)
    return await pages.error_page(request, 500, HTTPStatus(500).phrase, problem.message, problem)


HANDLERS: dict[Any, Any] = {
    TickworkError: on_tickwork_error,
    HTTPException: on_http_error,
    Exception: on_bug,
}
