"""``services.System``: what the supervisor says of itself, and whether it can serve."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

import numpy as np

from scan.problem import Problem
from supervisor.ingest import Ingest
from supervisor.model import About, Actor, MqttLine, Role
from supervisor.problems import require
from supervisor.secrets_store import fingerprint
from supervisor.settings import VERSION, Settings


class SystemService:
    def __init__(
        self,
        settings: Settings,
        ingest: Ingest,
        public_key: str,
        now_ns: Callable[[], int],
        damage: Problem | None,
    ) -> None:
        self._settings = settings
        self._ingest = ingest
        self._public_key = public_key
        self._started_ns = now_ns()
        self.damage = damage  # why the history file was begun anew at start
        self.public_url = settings.public_url
        self.mqtt: Callable[[], tuple[tuple[MqttLine, ...], str]] = lambda: ((), "")

    async def about(self, actor: Actor) -> About:
        require(actor, Role.VIEWER)
        return await asyncio.to_thread(self._about)

    def _about(self) -> About:
        folder = self._settings.data_dir
        history_bytes, samples, series = self._ingest.store.size()
        commits = list(self._ingest.figures.commit_ns)
        return About(
            VERSION,
            fingerprint(self._public_key),
            self._started_ns,
            history_bytes,
            (folder / "config.db").stat().st_size,
            samples,
            series,
            round(self._ingest.figures.rate, 1),
            float(np.percentile(commits, 99)) / 1e6 if commits else 0.0,
            shutil.disk_usage(folder).free,
            self._settings.tls,
            self.public_url,
            *self.mqtt(),
        )

    def problems(self) -> tuple[Problem, ...]:
        """Why it cannot serve as it should; empty when all is well."""
        return tuple(p for p in (self._ingest.figures.problem,) if p is not None)
