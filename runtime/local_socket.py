"""The node's local socket: a Unix socket with mode 0600, so that only the node's own user (and root) can command it.

Both ends are here. Paths of Unix sockets are limited to 107 bytes; state directories are not. The directory is
therefore opened and the socket named through its descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from runtime.control import LINE_SIZE_MAX, Listener, Message, Peer
from scan.problem import Place, fail

CLIENTS_MAX = 32

UserHandler = Callable[[str, Message, str], Awaitable[Message]]  # (operation, arguments, user)


@contextlib.contextmanager
def _short_path(path: pathlib.Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class LocalServer:
    """Answers local tools. ``handler`` also gets the name of the system user that asks."""

    def __init__(self, path: pathlib.Path, handler: UserHandler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._peers: dict[Peer, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            with _short_path(self._path) as short:
                channel.bind(short)
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._serve, sock=channel, limit=LINE_SIZE_MAX)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._peers.values():
            task.cancel()
        await asyncio.gather(*self._peers.values(), return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def broadcast(self, event: str, **fields: object) -> None:
        """An event to every tool that is connected."""
        for peer in self._peers:
            peer.event(event, **fields)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user = _user_of(writer)

        async def answer(op: str, arguments: Message) -> Message:
            return await self._handler(op, arguments, user)

        if len(self._peers) >= CLIENTS_MAX:
            writer.close()
            return
        peer = Peer(reader, writer, handler=answer, name="a local tool")
        task = asyncio.current_task()
        assert task is not None
        self._peers[peer] = task
        try:
            await peer.run()
        finally:
            self._peers.pop(peer, None)


def _user_of(writer: asyncio.StreamWriter) -> str:
    """Who is at the other end, as the kernel knows it (SO_PEERCRED, unix(7))."""
    channel = writer.get_extra_info("socket")
    raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", raw)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


@contextlib.asynccontextmanager
async def connected(path: pathlib.Path, listener: Listener | None = None) -> AsyncIterator[Peer]:
    """A tool's connection to the gate of a node. Raises CL3007 when no node answers there."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _short_path(path) as short:
            channel.connect(short)
    except OSError as error:
        channel.close()
        raise fail(
            "CL3007", "no node answers here", place=Place(str(path)), found=error.strerror or str(error),
            remedy="is it running? start it with `tickwork run PLANT`, or give its --state DIR",
        ) from error  # fmt: skip
    reader, writer = await asyncio.open_unix_connection(sock=channel, limit=LINE_SIZE_MAX)
    peer = Peer(reader, writer, listener=listener, name="the node")
    reading = asyncio.create_task(peer.run())
    try:
        yield peer
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
