"""What holds for every request: security headers, a limit on bodies, a limit on rates."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scan.problem import TickworkError, fail
from supervisor.artifact_store import ARTIFACT_SIZE_MAX
from supervisor.errors import on_tickwork_error

BODY_MAX = 1024 * 1024
UPLOAD_MAX = ARTIFACT_SIZE_MAX + 64 * 1024  # a form around an archive
# Programs, versions and artifacts are the only large things; everything else fits BODY_MAX.
UPLOAD_PATHS = ("/api/v1/deployments", "/api/v1/projects", "/programs", "/deployments", "/projects")
ADDRESSES_KEPT = 10_000


class SecurityHeaders:
    """Pages of this host only, nothing inline, nothing framed; nothing of the API or the pages in shared caches."""

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str], tls: bool) -> None:
        self._app = app
        self._headers = dict(headers)
        if tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Bodies are counted as they come, so that a missing or false Content-Length changes nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = UPLOAD_MAX if scope["path"].startswith(UPLOAD_PATHS) else BODY_MAX
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            response = await on_tickwork_error(Request(scope), _too_large(limit))
            await response(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> TickworkError:
    return fail(
        "SV1007", "the request is too large", expected=f"at most {limit} bytes", remedy="send less at a time"
    )


class RateLimit:
    """A bucket of requests for each address, and a small one for what may be guessed at: logins and tokens."""

    GUESSABLE = ("/login", "/setup", "/link/enrol")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._all = Buckets(rate=200, burst=1000)
        self._guesses = Buckets(rate=2, burst=30)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        address = client[0] if client else ""
        allowed = scope["type"] not in ("http", "websocket") or self._all.take(address)
        if (
            allowed
            and scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] in self.GUESSABLE
        ):
            allowed = self._guesses.take(address)
        if allowed:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1013, "reason": "too many requests"})
        else:
            too_many = fail(
                "SV1008", "too many requests from this address", remedy="wait a second and repeat"
            )
            response = await on_tickwork_error(Request(scope), too_many)
            await response(scope, receive, send)


class Buckets:
    """Token buckets by address: ``burst`` at once, ``rate`` a second in the long run."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> bool:
        now = time.monotonic()
        level, since = self._levels.pop(address, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        self._levels[address] = (max(level - 1, 0.0), now)
        if len(self._levels) > ADDRESSES_KEPT:
            self._levels.popitem(last=False)
        return level >= 1
