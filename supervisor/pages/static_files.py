"""Scripts, styles and fonts under ``/static``, kept by browsers for ever when asked for with their digest."""

from __future__ import annotations

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import web

FOR_EVER = "public, max-age=31536000, immutable"
CHECK_AGAIN = "public, max-age=3600"


class HashedFiles(StaticFiles):
    def __init__(self) -> None:
        super().__init__(directory=web.STATIC_DIR)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        hashed = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = FOR_EVER if hashed else CHECK_AGAIN
        return response
