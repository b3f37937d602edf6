"""JSON lines between the processes of a node, and between them and local tools.

One JSON object a line, UTF-8, over standard input and output of a child or over the local socket::

    request   {"id": 7, "op": "start", …}
    answer    {"id": 7, "ok": true, …} or {"id": 7, "ok": false, "problems": [{…}]}
    event     {"event": "state", …}

Both ends may ask; ids count separately for each direction. A line that is no such object is answered with a problem
where it has an id, counted and dropped where not: whoever speaks nonsense cannot end the other process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
import structlog

from scan.problem import Problem, TickworkError, fail

log = structlog.get_logger("tickwork.control")

LINE_SIZE_MAX = 8 * 1024 * 1024  # larger things (artifacts) go by file
TIMEOUT_S = 10.0

Message = dict[str, Any]
Handler = Callable[[str, Message], Awaitable[Message]]
Listener = Callable[[str, Message], None]

_DECODER = msgspec.json.Decoder(dict[str, Any])


def problems_of(raw: Any) -> tuple[Problem, ...]:
    """Problems from their JSON form; something unreadable becomes one problem about that."""
    try:
        return msgspec.convert(raw, tuple[Problem, ...])
    except msgspec.ValidationError as error:
        return (Problem("CL3005", "an answer on a control line is not in the agreed form", found=str(error)),)


def plain(problems: Iterable[Problem]) -> list[Message]:
    """Problems in their JSON form."""
    return [msgspec.to_builtins(problem) for problem in problems]


async def refuse(op: str, _arguments: Message) -> Message:
    """The handler of an end that answers nothing."""
    raise unknown(op, ())


def unknown(op: str, known: Iterable[str]) -> TickworkError:
    return fail(
        "CL3003", f"there is no operation {op!r}", expected=", ".join(sorted(known)) or "none", found=op,
        remedy="bring both programs to the same version of tickwork",
    )  # fmt: skip


class Peer:
    """One end of a control line. ``run`` reads until the other end closes; requests outstanding then fail."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        handler: Handler = refuse,
        listener: Listener | None = None,
        name: str = "the other process",
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._listener = listener or (lambda _event, _fields: None)
        self._name = name
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.nonsense_count = 0

    async def run(self) -> None:
        try:
            while line := await self._line():
                self._receive(line)
        finally:
            self._close()

    async def _line(self) -> bytes:
        try:
            return await self._reader.readline()
        except (ValueError, ConnectionError, OSError):  # ValueError: longer than the reader's limit
            return b""

    async def request(self, op: str, *, timeout_s: float = TIMEOUT_S, **arguments: Any) -> Message:
        """Asks the other end. Raises its problems, CL3001 when it is gone, CL3002 when it does not answer."""
        if self._closed:
            raise self._gone()
        number = next(self._ids)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self.send({**arguments, "id": number, "op": op})
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise fail(
                "CL3002", f"{self._name} does not answer", expected=f"an answer to {op!r} within {timeout_s:g} s",
                found="none", remedy="see its log; `tickwork status` shows which processes live",
            ) from None  # fmt: skip
        finally:
            self._waiting.pop(number, None)

    def event(self, name: str, **fields: Any) -> None:
        self.send({"event": name, **fields})

    def send(self, message: Message) -> None:
        """Queues one line; what cannot be sent any more is dropped (the peer is gone, ``run`` ends)."""
        if not self._closed and not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def drain(self) -> None:
        """Waits until what was sent has left this process."""
        if not self._closed:
            await self._writer.drain()

    def _receive(self, line: bytes) -> None:
        try:
            message = _DECODER.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError):
            self.nonsense_count += 1
            return
        if isinstance(event := message.pop("event", None), str):
            self._listener(event, message)
        elif isinstance(message.get("op"), str):
            task = asyncio.get_running_loop().create_task(self._answer(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._settle(message)

    async def _answer(self, message: Message) -> None:
        number, op = message.pop("id", None), message.pop("op")
        answer: Message
        try:
            answer = {"ok": True, **await self._handler(op, message)}
        except TickworkError as error:
            answer = {"ok": False, "problems": plain(error.problems)}
        except (KeyError, TypeError, ValueError) as error:
            problem = Problem(
                "CL3004", f"the request {op!r} is incomplete", found=f"{type(error).__name__}: {error}"
            )
            answer = {"ok": False, "problems": plain([problem])}
        except Exception as error:  # the asker must not wait for an answer that never comes
            log.exception("a request met a fault", op=op)
            problem = Problem(
                "CL9001", "this is a fault in tickwork", found=f"{type(error).__name__}: {error}"
            )
            answer = {"ok": False, "problems": plain([problem])}
        self.send({**answer, "id": number})

    def _settle(self, message: Message) -> None:
        future = self._waiting.get(message.get("id", 0))
        if future is None or future.done():
            self.nonsense_count += 1  # late or never asked
        elif message.get("ok") is True:
            future.set_result(message)
        else:
            found = message.get("problems") or [one for one in (message.get("problem"),) if one]
            future.set_exception(TickworkError(*problems_of(found)))

    def _close(self) -> None:
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._gone())
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    def _gone(self) -> TickworkError:
        return fail("CL3001", f"{self._name} is not there", remedy="see its log; it is restarted if it died")


async def standard_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """This process's standard input and output as streams: the child's end of the control line."""
    import sys

    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_SIZE_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), sys.stdout.buffer
    )
    return reader, asyncio.StreamWriter(transport, protocol, None, loop)
