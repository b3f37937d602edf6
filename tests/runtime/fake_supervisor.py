"""A supervisor for tests: the other end of a real WebSocket, with its own event loop in a thread."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from runtime import link
from tests.runtime.node_process import wait_for

NODE_ID = "node-1"


class FakeSupervisor:
    """Welcomes one node, keeps all it says, commits unless told not to."""

    def __init__(self, node_key: str = "", port: int = 0) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.node_key = node_key
        self.port = port
        self.messages: list[link.Up] = []
        self.committed: dict[str, int] = {}
        self.commits = True
        self.refuses = False
        self.connections = 0
        self._socket: ServerConnection | None = None
        self._loop: asyncio.AbstractEventLoop
        self._started = threading.Event()
        self._ending: asyncio.Event
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeSupervisor:
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        async with serve(self._talk, "127.0.0.1", self.port, max_size=link.FRAME_SIZE_MAX) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()
            await self._ending.wait()

    async def _talk(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.path == "/link/ws"
        nonce = b"0123456789abcdef" * 2
        await socket.send(link.encode(link.Challenge(nonce, 1)))
        hello = link.decode_up(await socket.recv())  # type: ignore[arg-type]
        assert isinstance(hello, link.Hello)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.node_key))
        key.verify(hello.signature, b"tickwork-link-1" + nonce + hello.node_id.encode())
        if self.refuses:
            await socket.send(link.encode(link.Refused(link.Problem("SV2001", "this node was revoked"))))
            return
        self.connections += 1
        await socket.send(link.encode(link.Welcome(self.committed.get(hello.boot, 0), 1)))
        self._socket = socket
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                await self._take(hello.boot, link.decode_up(frame))  # type: ignore[arg-type]

    async def _take(self, boot: str, message: link.Up) -> None:
        self.messages.append(message)
        if isinstance(message, link.Batch | link.Journal | link.Alarms) and self.commits:
            self.committed[boot] = max(self.committed.get(boot, 0), message.seq)
            assert self._socket is not None
            await self._socket.send(link.encode(link.Committed(message.seq)))

    # ---------------------------------------------------------------- what a test does

    def send(self, message: link.Down) -> None:
        assert self._socket is not None
        asyncio.run_coroutine_threadsafe(self._socket.send(link.encode(message)), self._loop).result(10)

    def hang_up(self) -> None:
        assert self._socket is not None
        asyncio.run_coroutine_threadsafe(self._socket.close(), self._loop).result(10)

    def signed(self, identifier: str, artifact: bytes, *, signature: bytes | None = None) -> link.Deploy:
        digest = hashlib.sha256(artifact).hexdigest()
        signature = self.key.sign(link.ARTIFACT_SIGNED + digest.encode()) if signature is None else signature
        return link.Deploy(identifier, artifact, digest, "ann", signature=signature)

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def until(self, kind: type[Any], test: Callable[[Any], bool] = lambda _one: True) -> Any:
        """Waits for a message of a kind that passes the test."""
        return wait_for(lambda: next((one for one in self.of(kind) if test(one)), None), f"a {kind.__name__}")

    def values(self, path: str) -> list[tuple[float, int, bool]]:
        """(value, quality, historical) of a tag in the order of arrival."""
        found, ids = [], {}
        for message in self.messages:
            if isinstance(message, link.Describe):
                ids = {tag.id: tag.path for tag in message.tags}
            elif isinstance(message, link.Batch):
                for row, number in enumerate(np.frombuffer(message.ids, np.uint32)):
                    if ids.get(int(number)) == path:
                        value = float(np.frombuffer(message.values, np.float64)[row])
                        quality = int(np.frombuffer(message.quality, np.uint16)[row])
                        found.append((value, quality, message.historical))
        return found


class EnrolServer:
    """Answers ``POST /link/enrol`` once with the given body and status."""

    def __init__(self, status: int, body: bytes) -> None:
        self.requests: list[dict[str, Any]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                outer.requests.append(json.loads(self.rfile.read(size)) | {"path": self.path})
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> EnrolServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def enrolled(supervisor: FakeSupervisor) -> bytes:
    return msgspec.json.encode(link.EnrolReply(NODE_ID, supervisor.public_key))
