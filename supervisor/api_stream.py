"""The alarm journal as an event stream that a client resumes where it was: ``GET /api/v1/alarms/stream``.

Server-sent events (WHATWG HTML §9.2): ``id`` is the journal's own, ``event`` "line", ``data`` an ``AlarmLine`` as JSON.
``Last-Event-ID`` or ``?after=`` says where to go on; without either it begins with what comes next. Nothing is left out
however slowly the client reads: the journal is the queue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from scan.problem import TickworkError
from supervisor.guard import access
from supervisor.model import Actor, Role
from supervisor.problems import not_understood
from supervisor.services import Services

BEAT_S = 10.0
STREAMS_MAX = 200


class AlarmStreams:
    def __init__(self) -> None:
        self._open = 0

    def routes(self, prefix: str) -> list[BaseRoute]:
        return [Route(f"{prefix}/alarms/stream", access(Role.VIEWER)(self.stream), methods=["GET"])]

    async def stream(self, request: Request) -> Response:
        services: Services = request.app.state.services
        actor: Actor = request.state.actor
        given = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
        if given and not (given.isdecimal() and len(given) < 19):
            raise not_understood("the number of a journal line", given)
        if self._open >= STREAMS_MAX:
            raise not_understood(f"at most {STREAMS_MAX} open streams", self._open)
        after = int(given) if given else (await services.alarms.counts(actor)).last_id
        return StreamingResponse(
            self._lines(services, actor, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _lines(self, services: Services, actor: Actor, after: int) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            yield b": alarm journal\n\n"
            while not services.alarms.closed:
                found, after = await services.alarms.next_lines(actor, after, wait_s=BEAT_S)
                for line in found:
                    yield b"id: %d\nevent: line\ndata: %s\n\n" % (line.id, msgspec.json.encode(line))
                if not found:
                    yield b": beat\n\n"
        except TickworkError:
            return  # what may not be shown any more ends; the client asks anew and is told why
        finally:
            self._open -= 1
