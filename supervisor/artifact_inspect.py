"""What an artifact says of itself; runs in the worker process, because the artifact may be anything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import msgspec

import programs
from scan.problem import TickworkError
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
    found = programs.open_artifact(artifact)
    tags = tuple((s.path, s.type.name) for s in found.symbols() if s.access != "none" and not s.dims)
    return ArtifactInfo(
        found.digest, found.manifest.name, tags, found.manifest.program, _devices(found.plant_text)
    )


def _devices(plant: str) -> tuple[str, ...]:
    try:
        devices = tomllib.loads(plant).get("device", [])
        return tuple(str(device["name"]) for device in devices)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):
        return ()  # the runtime reads the file in full and says what is wrong with it
