"""Simulated runtimes for the supervisor's benchmark: a process of its own, so that its work is not counted.

``python _fleet.py URL RUNTIMES TAGS SECONDS`` reads node id and key a line on standard input, connects all runtimes,
sends one batch of TAGS changes a second from each, and prints the acknowledgement times in milliseconds as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import numpy as np
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime import link


class Runtime:
    def __init__(self, url: str, number: int, identity: str, tags: int) -> None:
        self.url = url
        self.number = number
        self.tags = tags
        self.node_id, private = identity.split()
        self.key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private))
        self.sent: dict[int, float] = {}
        self.took: list[float] = []

    async def run(self, start: float, seconds: int) -> None:
        address = self.url.replace("http", "ws") + "/link/ws"
        async with websockets.connect(
            address, max_size=None, compression=None, proxy=None, open_timeout=60
        ) as socket:
            challenge = link.decode_down(await socket.recv())
            signature = self.key.sign(b"tickwork-link-1" + challenge.nonce + self.node_id.encode())
            await socket.send(
                link.encode(link.Hello(link.LINK_VERSION, self.node_id, signature, "b", time.time_ns()))
            )
            await socket.recv()
            tags = tuple(link.Tag(i, f"Main.T{i}", 14) for i in range(self.tags))
            await socket.send(link.encode(link.Describe("sim", "d", "", tags, (), ())))
            reader = asyncio.create_task(self._read(socket))
            await self._send(socket, start, seconds)
            async with asyncio.timeout(30):
                while self.sent:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            reader.cancel()

    async def _read(self, socket: websockets.ClientConnection) -> None:
        async for frame in socket:
            message = link.decode_down(frame)
            now = time.perf_counter()
            for seq in [s for s in self.sent if s <= message.seq]:
                self.took.append((now - self.sent.pop(seq)) * 1000)

    async def _send(self, socket: websockets.ClientConnection, start: float, seconds: int) -> None:
        rng = np.random.default_rng(self.number)
        ids = np.arange(self.tags, dtype="<u4").tobytes()
        quality = bytes(2 * self.tags)
        values = rng.normal(50, 5, self.tags)
        for second in range(seconds):
            due = start + second + self.number * 0.6180339887 % 1.0
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            values = np.round((values + rng.normal(0, 0.1, self.tags)) * 4096 / 100) * 100 / 4096
            stamps = np.full(self.tags, time.time_ns() // 1_000_000 * 1_000_000, "<i8")
            self.sent[second + 1] = time.perf_counter()
            await socket.send(
                link.encode(link.Batch(second + 1, "d", ids, stamps.tobytes(), values.tobytes(), quality))
            )


async def main() -> None:
    url, runtimes, tags, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    fleet = [Runtime(url, number, sys.stdin.readline(), tags) for number in range(runtimes)]
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter() + 3 + runtimes / 300
    await asyncio.gather(*(runtime.run(start, seconds) for runtime in fleet))
    took = sorted(t for runtime in fleet for t in runtime.took)
    print(
        json.dumps(
            {
                "sent": runtimes * seconds,
                "acknowledged": len(took),
                "took_ms": took[:: max(1, len(took) // 5000)],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
