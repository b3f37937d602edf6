"""Artifacts of this supervisor: taken in, looked into, kept by digest."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from scan.problem import fail
from supervisor.artifact_store import ArtifactStore
from supervisor.config_store import ConfigStore, one
from supervisor.problems import not_found


class ArtifactInfo(msgspec.Struct, frozen=True):
    """What is in an artifact, as far as a deployment needs it."""

    digest: str  # SHA-256 of the file
    application: str
    tags: tuple[tuple[str, str], ...] = ()  # (path, IEC type)
    program: str = ""  # digest that identifies the behaviour
    devices: tuple[str, ...] = ()


class Inspector(Protocol):
    """Looks into an artifact of unknown origin, apart from this process."""

    async def inspect(self, artifact: bytes) -> ArtifactInfo: ...


class Artifacts:
    def __init__(self, store: ConfigStore, files: ArtifactStore, inspector: Inspector) -> None:
        self.files = files
        self._store = store
        self._inspector = inspector
        self._known: dict[str, ArtifactInfo] = {}

    async def take_in(self, artifact: bytes) -> ArtifactInfo:
        """Look into an artifact and keep it. Raises TickworkError on anything else."""
        found = await self._inspector.inspect(artifact)
        digest = await asyncio.to_thread(self.files.put, artifact)
        self._known[digest] = msgspec.structs.replace(found, digest=digest)
        return self._known[digest]

    async def info(self, digest: str) -> ArtifactInfo:
        if digest not in self._known:
            artifact = await asyncio.to_thread(self.files.get, digest)
            found = await self._inspector.inspect(artifact)
            self._known[digest] = msgspec.structs.replace(found, digest=digest)
        return self._known[digest]

    async def of_version(self, project_id: int, version: int) -> tuple[ArtifactInfo, int]:
        """The artifact of a project's version (0: the newest) and its number."""
        wanted = "project_id=?1 AND (?2=0 OR number=?2)"
        sql = f"SELECT number, artifact FROM version WHERE {wanted} ORDER BY number DESC LIMIT 1"  # noqa: S608
        row = await self._store.run(lambda db: one(db, sql, project_id, version))
        if row is None and version:
            raise not_found("version", version)
        if row is None:
            raise fail(
                "SV4004",
                "the project has no version that could be deployed",
                remedy="publish the draft as a version first",
            )
        return await self.info(row["artifact"]), int(row["number"])

    async def collect(self) -> int:
        """Remove files that no version and no deployment names."""
        sql = "SELECT artifact FROM version UNION SELECT artifact FROM deployment"
        used = await self._store.run(lambda db: {str(row["artifact"]) for row in db.query(sql)})
        return await asyncio.to_thread(self.files.collect, used)
