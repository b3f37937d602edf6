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
from collections.abc import Callable, Iterable
from typing import IO

import msgspec

from programs.native_code import generate
from programs.native_target import Target

# Less text than this is compiled before further processes have started.
TEXT_MIN = 600_000
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


class Crew:
    """Compiles jobs in this and in further processes. ``done`` is called after each job.

    While the caller still prepares jobs, the other processes are at work on those that were added.
    """

    def __init__(self, target: Target, done: Callable[[], None]) -> None:
        self._target = target
        self._done = done
        self._jobs: list[Job] = []
        self._results: dict[int, bytes] = {}
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._threads: list[threading.Thread] = []

    def add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._jobs.append(job)
            self._waiting.put(len(self._jobs) - 1)
        text = sum(len(own) + sum(map(len, others)) for own, others in self._jobs)
        if not self._workers and text >= TEXT_MIN:
            self._start(min(os.cpu_count() or 1, WORKERS_MAX) - 1)

    def results(self) -> list[bytes]:
        """Object code of all jobs in the order in which they were added."""
        self._work(self._here, wait=False)
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()
        self._work(self._here, wait=False)  # what a worker that failed has put back
        return [self._results[number] for number in range(len(self._jobs))]

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _here(self, job: Job) -> bytes:
        return generate(self._target, *job)

    def _work(self, compile_one: Callable[[Job], bytes], *, wait: bool) -> None:
        """Until there is no job left; with ``wait`` until the end is announced."""
        while True:
            try:
                number = self._waiting.get(block=wait)
            except queue.Empty:
                return
            if number is None:
                if wait:
                    return
                continue
            try:
                result = compile_one(self._jobs[number])
            except OSError:
                self._waiting.put(number)
                return
            with self._lock:
                self._results[number] = result
                self._done()

    def _start(self, count: int) -> None:
        for _ in range(count):
            try:
                worker = _Worker(self._target)
            except OSError:
                return
            self._workers.append(worker)
            thread = threading.Thread(
                target=self._work, args=(worker.compile,), kwargs={"wait": True}, daemon=True
            )
            self._threads.append(thread)
            thread.start()


if __name__ == "__main__":
    serve()
