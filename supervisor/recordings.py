"""``services.Recordings``: questions to the recording of a runtime, over its link.

The runtime answers them itself (``runtime.gate_trace``): an hour of recording never crosses the network, only the
scans that somebody looks at.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Protocol

import msgspec

from runtime.link import Down, Fetch, Fetched, TraceQuestion
from scan.problem import TickworkError, fail
from supervisor.model import Actor, Role
from supervisor.problems import require

TIMEOUT_S = 70.0  # longer than the runtime gives itself
WAITING_MAX = 8  # questions to one runtime


class ScanState(msgspec.Struct, frozen=True):
    """The state after one scan; ``values`` are texts in IEC form by path."""

    scan: int
    time: str
    tasks: tuple[str, ...]
    values: dict[str, str]
    lines: dict[str, tuple[int, ...]] = {}  # that the scan executed, by file


class Look(msgspec.Struct, frozen=True):
    """``scan``: the one that was asked for; ``first``, ``last``: what the recording holds."""

    scan: int
    first: int = 0
    last: int = 0
    scans: tuple[ScanState, ...] = ()


class Why(msgspec.Struct, frozen=True):
    """The last change of a variable until a scan. ``scan`` None: it kept its value since the recording began."""

    variable: str
    scan: int | None
    time: str = ""
    before: str = ""
    after: str = ""
    writer: str = ""
    file: str = ""
    line: int = 0


class _Found(msgspec.Struct, frozen=True):
    scan: int | None


class Sender(Protocol):
    def send(self, node_id: str, message: Down) -> bool: ...


class RecordingService:
    def __init__(self, fleet: Sender) -> None:
        self._fleet = fleet
        self._waiting: dict[tuple[str, str], asyncio.Future[bytes]] = {}

    async def look(self, actor: Actor, node_id: str, question: TraceQuestion) -> Look:
        """Raises what the runtime found wrong with the question (SC4006: not in the recording), SV4009 without it."""
        data = await self._ask(actor, node_id, question)
        if msgspec.json.decode(data, type=_Found).scan is None:
            raise fail("SC4006", "there is no such scan in the recording", found=question.when,
                       remedy="ask for another condition or an earlier beginning")  # fmt: skip
        return msgspec.json.decode(data, type=Look)

    async def why(self, actor: Actor, node_id: str, path: str, scan: int) -> Why:
        return msgspec.json.decode(
            await self._ask(actor, node_id, TraceQuestion(why=path, scan=scan)), type=Why
        )

    async def _ask(self, actor: Actor, node_id: str, question: TraceQuestion) -> bytes:
        require(actor, Role.VIEWER, node_id)
        if sum(node == node_id for node, _ in self._waiting) >= WAITING_MAX:
            raise _no_answer("too many questions wait already")
        key = node_id, secrets.token_hex(8)
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            if not self._fleet.send(node_id, Fetch(key[1], "trace", question=question)):
                raise _no_answer("it is not linked")
            async with asyncio.timeout(TIMEOUT_S):
                return await answer
        except TimeoutError as error:
            raise _no_answer(f"nothing within {TIMEOUT_S:.0f} s") from error
        finally:
            del self._waiting[key]

    def fetched(self, node_id: str, message: Fetched) -> None:
        """An answer from the link. One that nobody waits for any more is dropped."""
        answer = self._waiting.get((node_id, message.id))
        if answer is None or answer.done():
            return
        if message.problem is not None:
            answer.set_exception(TickworkError(message.problem))
        else:
            answer.set_result(message.data)


def _no_answer(found: str) -> TickworkError:
    return fail(
        "SV4009",
        "the runtime gave no answer",
        found=found,
        remedy="try again when it is linked, or use tickwork trace on its machine",
    )
