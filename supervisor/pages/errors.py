"""What a person or a program is told when a request can not be answered."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scan.problem import Problem
from supervisor.pages import shell as frame
from supervisor.pages.views import problem_view, sentence
from web import contexts as c


async def error_page(
    request: Request,
    status: int,
    title: str,
    text: str = "",
    problem: Problem | Sequence[Problem] | None = None,
) -> Response:
    """The error as a page in the shell, as JSON when that is what the client accepts (RFC 9457)."""
    text = "" if problem is not None else text
    problems = () if problem is None else (problem,) if isinstance(problem, Problem) else tuple(problem)
    if frame.wants(request) == "json":
        body = {"title": title, "status": status, "detail": text, "problems": problems}
        return Response(msgspec.json.encode(body), status, media_type="application/problem+json")
    shell = None
    if getattr(request.state, "actor", None) is not None and status < 500:
        shell = await frame.shell(request, request.app.state.services, title)
    page = c.ErrorPage(
        theme=frame.theme_of(request),
        status=status,
        title=sentence(title),
        text=sentence(text),
        problems=tuple(problem_view(one) for one in problems),
        shell=shell,
    )
    return frame.html(request, page, status)
