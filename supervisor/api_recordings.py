"""Operations on the recordings of runtimes."""

from __future__ import annotations

import msgspec

from runtime.link import TraceQuestion
from supervisor.api_call import Call, Operation
from supervisor.model import Role
from supervisor.recordings import Look, Why


class LookQuery(msgspec.Struct, frozen=True):
    """``variables``: comma-separated paths, empty for all; ``scan`` 0 is the last one; ``time`` in ISO 8601; ``when``:
    a condition, such as ``Pump AND NOT Valve``; ``back`` and ``forward``: scans around it."""

    variables: str = ""
    scan: int = 0
    time: str = ""
    when: str = ""
    back: int = 0
    forward: int = 0
    lines: bool = False


class WhyQuery(msgspec.Struct, frozen=True):
    """``path``: a variable; ``scan`` 0 is the last one."""

    path: str
    scan: int = 0


async def look(call: Call) -> Look:
    query: LookQuery = call.query
    names = tuple(name.strip() for name in query.variables.split(",") if name.strip())
    question = TraceQuestion(
        names, query.scan, query.time, query.when, query.back, query.forward, "", query.lines
    )
    return await call.services.recordings.look(call.actor, call.path["node_id"], question)


async def why(call: Call) -> Why:
    query: WhyQuery = call.query
    return await call.services.recordings.why(call.actor, call.path["node_id"], query.path, query.scan)


_V = Role.VIEWER
_ONE = "/runtimes/{node_id}/recording"
OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", _ONE, _V, "Recorded states of a runtime", look, Look, LookQuery, tag="recordings"),
    Operation("GET", f"{_ONE}/why", _V, "When and why a variable changed", why, Why, WhyQuery, tag="recordings"),
)  # fmt: skip
