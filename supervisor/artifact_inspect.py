"""What an artifact says of itself; runs in the worker process, because the artifact may be anything."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from scan.problem import Problem, TickworkError
from supervisor.artifacts import ArtifactInfo


def inspect(path: Path) -> int:
    """Print ``{"ok": …, "problems": […], "info": …}`` on standard output; exit code 0 when it is an artifact."""
    try:
        answer: dict[str, object] = {"ok": True, "info": read(path.read_bytes())}
    except TickworkError as error:
        answer = {"ok": False, "problems": error.problems}
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0 if answer["ok"] else 1


def read(artifact: bytes) -> ArtifactInfo:
    """Raises TickworkError on anything that is no artifact."""
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(artifact)) as pack:
            names = pack.namelist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise TickworkError(Problem("SV4003", "this is no artifact", found=str(error))) from error
    return ArtifactInfo("", names[0] if names else "")
