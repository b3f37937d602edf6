"""HTTP to a supervisor: one client, and its problems in the form that people see."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import msgspec

from scan.problem import Place, Problem, TickworkError, fail

TIMEOUT_S = 30.0


def client(ca_file: str = "") -> httpx.AsyncClient:
    """A client that verifies certificates, against ``ca_file`` where given. Raises LK3005 for an unreadable file."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, verify=tls_context(ca_file), follow_redirects=False)


def tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise fail(
            "LK3005", "the certificate authority file cannot be used", place=Place(ca_file), found=str(error),
            expected="certificates in PEM form", remedy="correct `ca_file` in [supervisor]",
        ) from error  # fmt: skip


async def ask(http: httpx.AsyncClient, request: httpx.Request) -> bytes:
    """The body of a good answer. Raises LK3003 when nobody answers and the supervisor's own problems otherwise."""
    try:
        response = await http.send(request)
    except httpx.HTTPError as error:
        raise fail(
            "LK3003", "the supervisor cannot be reached", found=f"{error or type(error).__name__}",
            expected=f"an answer from {request.url.scheme}://{request.url.netloc.decode()}",
            remedy="is it running, is the address right, does a firewall stand between?",
        ) from error  # fmt: skip
    if response.is_success:
        return response.content
    raise TickworkError(*_problems(response))


def _problems(response: httpx.Response) -> list[Problem]:
    """The problems in an error answer (RFC 9457 with ours as members), or one made of its status."""
    try:
        body: Any = msgspec.json.decode(response.content)
        raw = body.get("problems") or [body.get("problem")]
        return msgspec.convert(raw, list[Problem])
    except (msgspec.DecodeError, msgspec.ValidationError, AttributeError):
        detail = f"{response.status_code} {response.reason_phrase}"
        return [Problem("LK3006", "the supervisor refused the request", found=detail,
                        remedy="see the supervisor's log for the reason")]  # fmt: skip
