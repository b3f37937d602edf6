"""For whoever watches the supervisor: is the process alive, can it serve, what are its figures."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from supervisor.errors import problem_response
from supervisor.guard import access
from supervisor.metrics import Metrics
from supervisor.model import Role
from supervisor.system import SystemService


def health_routes(system: SystemService, metrics: Metrics) -> list[BaseRoute]:
    @access(None)
    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    @access(None)
    async def readyz(_: Request) -> Response:
        """503 with the problems while history cannot be written. A runtime that is away is no reason."""
        problems = system.problems()
        return problem_response(problems, 503) if problems else JSONResponse({"ready": True})

    @access(Role.VIEWER)
    async def figures(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", figures, methods=["GET"]),
    ]
