"""The pages over fake services: ``python -m tests.supervisor.pages.fake_app [port]`` to look at them."""

from __future__ import annotations

import sys
from http import HTTPStatus

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scan.problem import TickworkError
from supervisor import pages
from supervisor.guard import access
from supervisor.problems import status_of
from supervisor.services import Services
from tests.supervisor.pages.fakes import fake_services


class Headers:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in pages.SECURITY_HEADERS.items()
                    ),
                ]
            await send(message)

        await self.app(scope, receive, with_headers)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, TickworkError)
    status = status_of(error)
    return await pages.error_page(request, status, HTTPStatus(status).phrase, "", error.problems)


def plant_routes(services: Services) -> list[Route]:
    """A door for tests in another process: look at the plant, end all sessions, drop all streams."""

    async def plant(request: Request) -> Response:
        if request.path_params["what"] == "cut":
            services.people.sessions.clear()  # type: ignore[attr-defined]
        fleet = services.fleet
        if request.path_params["what"] == "drop":
            fleet.plant.drops += 1  # type: ignore[attr-defined]
        return JSONResponse({"subscriptions": fleet.plant.subscriptions})  # type: ignore[attr-defined]

    return [Route("/plant/{what}", access(None)(plant))]


def fake_app(services: Services | None = None) -> Starlette:
    services = services or fake_services()
    app = Starlette(
        routes=[*pages.routes(services), *plant_routes(services)],
        middleware=[Middleware(Headers)],
        exception_handlers={TickworkError: refused},
    )
    app.state.services = services
    return app


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8099
    uvicorn.run(fake_app(), host="127.0.0.1", port=port, log_level="warning")
