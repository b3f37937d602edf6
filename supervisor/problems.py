"""Refusals that many services share, and the HTTP status of each code."""

from __future__ import annotations

from scan.problem import TickworkError, fail
from supervisor.model import Actor, Role

_STATUS = {
    "SV1001": 400,
    "SV1002": 401,
    "SV1003": 403,
    "SV1004": 404,
    "SV1005": 409,
    "SV1006": 409,
    "SV1007": 413,
    "SV1008": 429,
    "SV1009": 500,
    "SV1010": 403,
    "SV1101": 401,
    "SV1102": 429,
    "SV1104": 403,
    "SV1105": 401,
    "SV1107": 409,
    "SV2002": 500,
    "SV2004": 503,
    "SV2005": 400,
    "SV3001": 403,
    "SV3002": 403,
    "SV3003": 403,
    "SV4002": 503,
    "SV4004": 409,
    "SV4009": 503,
}
_REFUSED = 422  # the request was understood; what it carries has problems (programs, archives, values)


def status_of(error: TickworkError) -> int:
    """HTTP status of an error that reached a page or the API."""
    return _STATUS.get(error.code, _REFUSED)


def require(actor: Actor, role: Role, node_id: str = "") -> None:
    """SV1003 unless the actor has the role, and the runtime when the actor is limited to some."""
    if not actor.role.includes(role):
        raise fail(
            "SV1003",
            f"{actor.name} may not do this",
            expected=f"role {role}",
            found=f"role {actor.role}",
            remedy="ask an administrator for the role, or somebody who has it to do it",
        )
    if node_id and actor.nodes and node_id not in actor.nodes:
        raise fail(
            "SV1003",
            f"{actor.name} may not use this runtime",
            expected="one of the runtimes that the key is limited to",
            found=node_id,
            remedy="use a key that covers this runtime",
        )


def not_found(what: str, found: object) -> TickworkError:
    return fail(
        "SV1004",
        f"there is no such {what}",
        found=str(found),
        remedy="it may have been removed; look at the list",
    )


def not_understood(expected: str, found: object) -> TickworkError:
    return fail(
        "SV1001",
        "the request is not understood",
        expected=expected,
        found=str(found)[:200],
        remedy="compare the request with the API description at /api/v1/openapi.json",
    )


def exists_already(what: str, name: str) -> TickworkError:
    return fail("SV1005", f"there is a {what} of this name already", found=name, remedy="choose another name")
