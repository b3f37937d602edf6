"""Files by content key: object code and IR texts that need not be made twice.

A key is a digest over everything that decides the content, so an entry is never wrong, only unused. Each file carries
a checksum of its own: a torn or altered file counts as missing. Writers replace whole files; several may write at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

_CHECKSUM_SIZE = 32


def default_cache_dir() -> Path:
    """``$TICKWORK_CACHE``, else ``$XDG_CACHE_HOME/tickwork``, else ``~/.cache/tickwork``."""
    given = os.environ.get("TICKWORK_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tickwork"


class Cache:
    """A folder of cached files; unusable folders make it forgetful, never broken."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.hits = 0
        self.misses = 0

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / key

    def get(self, key: str) -> bytes | None:
        data = None
        if self.folder is not None:
            with contextlib.suppress(OSError):
                data = self._path(key).read_bytes()
        if data is None or hashlib.sha256(data[_CHECKSUM_SIZE:]).digest() != data[:_CHECKSUM_SIZE]:
            self.misses += 1
            return None
        self.hits += 1
        return data[_CHECKSUM_SIZE:]

    def put(self, key: str, content: bytes) -> None:
        if self.folder is None:
            return
        path = self._path(key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(content).digest() + content)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)

    def get_text(self, key: str) -> str | None:
        data = self.get(key)
        return None if data is None else data.decode("utf-8")

    def put_text(self, key: str, text: str) -> None:
        self.put(key, text.encode("utf-8"))
