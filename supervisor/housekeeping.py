"""Work of the quiet hours: history beyond its retention goes in small bites, artifacts nobody uses are removed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from scan.problem import TickworkError
from supervisor.artifacts import Artifacts
from supervisor.ingest import Ingest
from supervisor.settings import Settings

PERIOD_S = 3600
BITE_CHUNKS = 200  # one bite is one short transaction: commits of samples go on in between
BITE_PAUSE_S = 0.05
DAY_NS = 86_400 * 1_000_000_000

log = logging.getLogger("tickwork.supervisor.housekeeping")


class Housekeeping:
    def __init__(
        self, settings: Settings, ingest: Ingest, artifacts: Artifacts, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._ingest = ingest
        self._artifacts = artifacts
        self._now_ns = now_ns

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        while True:
            try:
                await self.once()
            except TickworkError as error:
                log.error("housekeeping: %s", error)
            await asyncio.sleep(PERIOD_S)

    async def once(self) -> int:
        """Chunks that were removed."""
        await self._artifacts.collect()
        limit = self._now_ns() - self._settings.retention_days * DAY_NS
        removed = 0
        while bite := await self._ingest.on_history_thread(
            partial(self._ingest.store.trim, limit, BITE_CHUNKS)
        ):
            removed += bite
            await asyncio.sleep(BITE_PAUSE_S)
        return removed
