"""The node's own journal: every event and every change, as JSON lines in the state directory, bounded in size."""

from __future__ import annotations

import os
import pathlib
from collections import deque
from collections.abc import Callable

import msgspec

from runtime.link import Event

FILE_NAME = "journal.jsonl"
SIZE_MAX = 8 * 1024 * 1024  # of each of two files
RECENT = 500


class Journal:
    """``forward`` gets each event too (the link, if there is one). A full disk loses the file, never the event."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._path = folder / FILE_NAME
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self.forward: Callable[[Event], None] = lambda _event: None
        self.write_errors = 0

    def note(self, event: Event) -> None:
        self._recent.append(event)
        try:
            if os.fstat(self._handle).st_size > SIZE_MAX:
                self._roll()
            os.write(self._handle, msgspec.json.encode(event) + b"\n")
        except OSError:
            self.write_errors += 1
        self.forward(event)

    def recent(self, count: int) -> list[Event]:
        """The last events, oldest first."""
        return list(self._recent)[-max(count, 0) :] if count > 0 else []

    def close(self) -> None:
        os.close(self._handle)

    def _roll(self) -> None:
        os.close(self._handle)
        self._path.replace(self._path.with_suffix(".1.jsonl"))
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
