"""Artifacts as files named by their digest; unused ones are removed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from scan.problem import fail

ARTIFACT_SIZE_MAX = 15 * 1024 * 1024  # fits one frame of the link
_DIGEST = re.compile(r"[0-9a-f]{64}")


class ArtifactStore:
    """All methods block briefly; call them in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, artifact: bytes) -> str:
        """Its digest (SHA-256, hex). Durable when it returns."""
        if len(artifact) > ARTIFACT_SIZE_MAX:
            raise fail(
                "SV1007",
                "the artifact is too large",
                expected=f"at most {ARTIFACT_SIZE_MAX} bytes",
                found=f"{len(artifact)} bytes",
                remedy="remove what the program does not need",
            )
        digest = hashlib.sha256(artifact).hexdigest()
        path = self._path(digest)
        if not path.exists():
            fresh = path.with_suffix(f".{os.getpid()}.new")
            with fresh.open("wb") as file:
                file.write(artifact)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            self._sync_folder()
        return digest

    def get(self, digest: str) -> bytes:
        """Raises TickworkError SV4003 when it is missing or its bytes do not fit the digest."""
        path = self._path(digest)
        try:
            artifact = path.read_bytes()
        except OSError as error:
            raise _damaged(digest, str(error)) from error
        if hashlib.sha256(artifact).hexdigest() != digest:
            raise _damaged(digest, "other bytes")
        return artifact

    def collect(self, used: set[str]) -> int:
        """Remove what is not in use; how many files went."""
        gone = 0
        for path in self._folder.glob("*.twa"):
            if path.stem not in used:
                path.unlink()
                gone += 1
        for path in self._folder.glob("*.new"):
            path.unlink()
        return gone

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise _damaged(digest[:80], "no digest")
        return self._folder / f"{digest}.twa"

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _damaged(digest: str, found: str) -> Exception:
    return fail(
        "SV4003",
        "the stored artifact cannot be used",
        expected=f"digest {digest}",
        found=found,
        remedy="publish the project's version again, or upload the artifact again",
    )
