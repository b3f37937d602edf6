"""Who may call a route. Every route says so with ``access``; an app with a route that does not is refused at start.

A request shows who it is by the session cookie (pages) or by ``Authorization: Bearer <API key>`` (programs). With the
cookie, a request that changes something must carry the session's token (form field ``csrf`` or header
``X-CSRF-Token``) and must not come from another site (``Sec-Fetch-Site``, ``Origin``).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from scan.problem import TickworkError, fail
from supervisor.model import Login, Role
from supervisor.problems import require
from supervisor.services import Services

COOKIE = "tickwork"
COOKIE_TLS = "__Host-tickwork"  # the prefix binds it to this host, the root path and TLS
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ATTRIBUTE = "__tickwork_access__"
_ANYBODY = "anybody"
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

App = TypeVar("App", bound=Callable[..., Any])
Endpoint = Callable[[Request], Awaitable[Response]]


def access(role: Role | None) -> Callable[[App], App]:
    """Marks an endpoint (or a mounted ASGI app) with the least role that may call it; None: anybody."""

    def mark(endpoint: App) -> App:
        if not isinstance(endpoint, type) and not _is_endpoint(endpoint):
            if role is not None:
                raise TypeError("a mounted app can only be open to anybody")
            setattr(endpoint, _ATTRIBUTE, _ANYBODY)
            return endpoint
        return _guarded(endpoint, role)  # type: ignore[return-value]  # wraps keeps the call's form

    return mark


def open_websocket(endpoint: App) -> App:
    """Marks a WebSocket endpoint that identifies its peers itself (the link, by signature)."""

    async def opened(websocket: WebSocket) -> None:
        await endpoint(websocket)

    setattr(opened, _ATTRIBUTE, _ANYBODY)
    return opened  # type: ignore[return-value]  # the same form


def _is_endpoint(candidate: object) -> bool:
    return hasattr(candidate, "__code__") or hasattr(candidate, "__func__")  # a function or a bound method


def _guarded(endpoint: Endpoint, role: Role | None) -> Endpoint:
    @wraps(endpoint)
    async def guarded(request: Request) -> Response:
        refusal = await _admit(request, role)
        return refusal if refusal is not None else await endpoint(request)

    setattr(guarded, _ATTRIBUTE, _ANYBODY if role is None else str(role))
    return guarded


async def _admit(request: Request, role: Role | None) -> Response | None:
    """None when the request may go on; ``request.state`` then says who it is."""
    services: Services = request.app.state.services
    request.state.actor, request.state.csrf = None, ""
    login = await _identify(request, services)
    if request.method not in SAFE_METHODS:
        _same_site(request)
        if login is not None:
            await _form_token(request, login)
    if role is None:
        return None
    if request.state.actor is None:
        return not_logged_in(request)
    require(request.state.actor, role)
    return None


async def _identify(request: Request, services: Services) -> Login | None:
    address = request.client.host if request.client else ""
    header = request.headers.get("authorization", "")
    if header:
        kind, _, secret = header.partition(" ")
        actor = (
            await services.people.key_holder(secret.strip(), address=address)
            if kind.lower() == "bearer"
            else None
        )
        if actor is None:
            raise fail(
                "SV1105",
                "the API key is not valid",
                expected="Authorization: Bearer <key>, not revoked and not over",
                remedy="make a new key on the supervisor's users page",
            )
        request.state.actor = actor
        return None
    token = session_token(request)
    login = await services.people.session(token, address=address) if token else None
    if login is not None:
        request.state.actor, request.state.csrf = login.actor, login.csrf
    return login


def _same_site(request: Request) -> None:
    site = request.headers.get("sec-fetch-site", "")
    origin = request.headers.get("origin", "")
    foreign_origin = origin not in ("", "null") and urlsplit(origin).netloc != request.headers.get("host", "")
    if site in ("cross-site", "same-site") or (not site and (foreign_origin or origin == "null")):
        raise fail(
            "SV1010",
            "the request comes from another site",
            expected="a request from the supervisor's own pages",
            found=origin or site,
            remedy="open the supervisor's page itself; behind a proxy, pass the Host header on unchanged",
        )


async def _form_token(request: Request, login: Login) -> None:
    given = request.headers.get("x-csrf-token", "")
    if not given and request.headers.get("content-type", "").startswith(_FORM_TYPES):
        given = str((await request.form()).get("csrf", ""))
    if not secrets.compare_digest(given.encode(), login.csrf.encode()):
        raise fail(
            "SV1010",
            "the form's token is missing or belongs to another session",
            expected="the field csrf of the page, or the header X-CSRF-Token",
            remedy="load the page again and repeat",
        )


def not_logged_in(request: Request) -> Response:
    """401 as problem for programs, a redirect to the login page for people."""
    if request.url.path.startswith("/api/"):
        raise not_identified()
    target = "/login"
    if request.method in SAFE_METHODS:
        target += "?next=" + quote(
            request.url.path + ("?" + request.url.query if request.url.query else ""), safe="/"
        )
    if request.headers.get("hx-request") or "text/event-stream" in request.headers.get("accept", ""):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    return RedirectResponse(target, status_code=303)


def not_identified() -> TickworkError:
    return fail(
        "SV1002",
        "nobody is logged in",
        expected="a session or an API key",
        remedy="log in, or send Authorization: Bearer <key>",
    )


# ---------------------------------------------------------------- cookies


def session_token(request: HTTPConnection) -> str:
    return request.cookies.get(COOKIE_TLS if _is_tls(request) else COOKIE, "")


def start_session(request: HTTPConnection, response: Response, login: Login) -> None:
    """Set the cookie of a new session."""
    tls = _is_tls(request)
    response.set_cookie(
        COOKIE_TLS if tls else COOKIE, login.token, secure=tls, httponly=True, samesite="lax", path="/"
    )


def end_session(request: HTTPConnection, response: Response) -> None:
    tls = _is_tls(request)
    response.delete_cookie(COOKIE_TLS if tls else COOKIE, secure=tls, httponly=True, samesite="lax", path="/")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'


def _is_tls(request: HTTPConnection) -> bool:
    return request.url.scheme in ("https", "wss")


# ---------------------------------------------------------------- the check at start


def declared_access(route: BaseRoute) -> str | None:
    """The role that a route asks for, "anybody", or None when it says nothing."""
    if isinstance(route, Route | WebSocketRoute):
        return getattr(route.endpoint, _ATTRIBUTE, None)
    if isinstance(route, Mount):
        return getattr(route.app, _ATTRIBUTE, None)
    return None


def undeclared(routes: Iterable[BaseRoute]) -> list[str]:
    """Routes that do not say who may call them."""
    missing = []
    for route in routes:
        if isinstance(route, Mount) and declared_access(route) is None and route.routes:
            missing += undeclared(route.routes)
        elif declared_access(route) is None:
            missing.append(getattr(route, "path", repr(route)))
    return missing
