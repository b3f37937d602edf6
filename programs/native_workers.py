"""Further processes that compile modules, so that a large program uses all cores.

llvmlite holds one lock for a whole process, therefore threads would not help. A worker reads jobs from its standard
input and writes object code to its standard output, each as a length and msgpack. A worker that fails costs time,
never the result: its jobs are done by the caller.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO

import msgspec

from programs.native_target import Target

# Fewer modules than this are done before further processes have started.
MODULES_MIN = 60
WORKERS_MAX = 8

Job = tuple[str, tuple[str, ...]]


class Order(msgspec.Struct, frozen=True):
    own: str
    others: tuple[str, ...]


def _write(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(4, "little") + data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    """The next message; b"" at the end."""
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "little")) if len(head) == 4 else b""


def serve() -> None:
    """A worker's whole life: the target first, then orders until the end of input."""
    from programs.native import generate

    source, sink = sys.stdin.buffer, sys.stdout.buffer
    target = Target(*msgspec.msgpack.decode(_read(source), type=tuple[str, str, str]))
    while data := _read(source):
        order = msgspec.msgpack.decode(data, type=Order)
        _write(sink, generate(target, order.own, list(order.others)))


class _Worker:
    def __init__(self, target: Target) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "programs.native_workers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._sink, self._source = self.process.stdin, self.process.stdout
        try:
            _write(self._sink, msgspec.msgpack.encode((target.triple, target.cpu, target.features)))
        except OSError:
            self.close()
            raise

    def compile(self, job: Job) -> bytes:
        _write(self._sink, msgspec.msgpack.encode(Order(*job)))
        data = _read(self._source)
        if not data:
            raise OSError("a compiling process ended")
        return data

    def close(self) -> None:
        for stream in (self._sink, self._source):
            try:
                stream.close()
            except OSError:
                continue
        self.process.kill()
        self.process.wait()


def compile_all(
    target: Target, jobs: Sequence[Job], here: Callable[[Job], bytes], done: Callable[[], None]
) -> list[bytes]:
    """Object code of each job, in their order. ``here`` compiles in this process; ``done`` is called after each."""
    results: list[bytes | None] = [None] * len(jobs)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)
    lock = threading.Lock()

    def work(compile_one: Callable[[Job], bytes]) -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                result = compile_one(jobs[number])
            except OSError:
                waiting.put(number)
                return
            with lock:
                results[number] = result
                done()

    count = min(os.cpu_count() or 1, WORKERS_MAX) - 1 if len(jobs) >= MODULES_MIN else 0
    workers = _start(target, count)
    threads = [threading.Thread(target=work, args=(worker.compile,)) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        work(here)
        for thread in threads:
            thread.join()
        work(here)  # what a worker that failed has put back
    finally:
        for worker in workers:
            worker.close()
    return [result for result in results if result is not None]


def _start(target: Target, count: int) -> list[_Worker]:
    started = []
    for _ in range(count):
        try:
            started.append(_Worker(target))
        except OSError:
            break
    return started


if __name__ == "__main__":
    serve()
