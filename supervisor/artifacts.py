"""Artifacts of this supervisor: taken in, looked into, signed, kept by digest."""

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

    digest: str  # SHA-256 of the signed file
    application: str
    tags: tuple[tuple[str, str], ...] = ()  # (path, IEC type)
    tasks: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


class Inspector(Protocol):
    """Looks into an artifact of unknown origin, apart from this process, and signs it."""

    async def inspect(self, artifact: bytes) -> ArtifactInfo: ...

    async def sign(self, artifact: bytes) -> bytes: ...


class Artifacts:
    def __init__(self, store: ConfigStore, files: ArtifactStore, inspector: Inspector) -> None:
        self.files = files
        self._store = store
        self._inspector = inspector
        self._known: dict[str, ArtifactInfo] = {}

    async def take_in(self, artifact: bytes) -> ArtifactInfo:
        """Check, sign and keep an artifact that somebody sent. Raises TickworkError SV4003 on anything else."""
        await self._inspector.inspect(artifact)
        signed = await self._inspector.sign(artifact)
        return await self.info(await asyncio.to_thread(self.files.put, signed))

    async def info(self, digest: str) -> ArtifactInfo:
        if digest not in self._known:
            artifact = await asyncio.to_thread(self.files.get, digest)
            found = await self._inspector.inspect(artifact)
            self._known[digest] = msgspec.structs.replace(found, digest=digest)
        return self._known[digest]

    async def of_version(self, project_id: int, version: int) -> tuple[ArtifactInfo, int]:
        """The artifact of a project's version (0: the newest) and its number."""
        sql = "SELECT number, artifact FROM version WHERE project_id=? AND (?=0 OR number=?) ORDER BY number DESC LIMIT 1"
        row = await self._store.run(lambda db: one(db, sql, project_id, version, version))
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
