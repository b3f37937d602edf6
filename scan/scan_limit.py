"""Ends scans in virtual time that do not end by themselves, as the watchdog does against the clock.

One thread looks at all engines of the process every now and then; native code runs without the interpreter lock, so the
thread gets its turn. What it does is what the watchdog does: it sets the abort word in the contexts of the tasks.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import Protocol

LIMIT_S = 3.0
LOOK_S = 0.1


class Limited(Protocol):
    """An engine in virtual time."""

    busy: bool  # native code is at work

    @property
    def scan_count(self) -> int: ...

    def abort(self) -> None:
        """Tells the scan that runs now to stop."""


class _Watch:
    def __init__(self) -> None:
        self._engines: weakref.WeakSet[Limited] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._pid = 0

    def add(self, engine: Limited) -> None:
        with self._lock:
            self._engines.add(engine)
            if self._pid != os.getpid():  # threads do not survive a fork
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="limit of scans", daemon=True).start()

    def _run(self) -> None:
        since: dict[int, tuple[int, float]] = {}
        while True:
            time.sleep(LOOK_S)
            now = time.monotonic()
            with self._lock:
                engines = [engine for engine in self._engines if engine.busy]
            since = {id(engine): self._look(engine, since.get(id(engine)), now) for engine in engines}

    def _look(self, engine: Limited, before: tuple[int, float] | None, now: float) -> tuple[int, float]:
        scan = engine.scan_count
        if before is None or before[0] != scan:
            return scan, now
        if now - before[1] > LIMIT_S:
            engine.abort()
        return before


_watch = _Watch()


def limit_scans(engine: Limited) -> None:
    """From now on no scan of the engine lasts longer than ``LIMIT_S``: it faults with RF1004."""
    _watch.add(engine)
