"""``services.History``: queries of people, on the store's own threads, with gaps and what the tag is called."""

from __future__ import annotations

import asyncio
import math
from functools import partial

import msgspec

from scan.quality import BAD
from supervisor.history_codec import Columns
from supervisor.history_read import aggregates
from supervisor.history_store import TIME_MAX_NS, TIME_MIN_NS, Buckets
from supervisor.ingest import Ingest
from supervisor.live import Bus
from supervisor.model import Actor, Aggregate, Gap, Role, Series, SeriesKey, Trace
from supervisor.problems import not_found, not_understood, require

KEYS_MAX = 20
POINTS_MAX = 10_000
RAW_MAX = 200_000
INTERVALS_MAX = 10_000
TEXTS_MAX = 10_000
_TEXT_TYPES = ("STRING", "WSTRING", "CHAR", "WCHAR")


class HistoryService:
    def __init__(self, ingest: Ingest, bus: Bus) -> None:
        self._ingest = ingest
        self._store = ingest.store
        self._bus = bus

    async def series(
        self, actor: Actor, *, node_id: str = "", search: str = "", limit: int = 1000
    ) -> tuple[Series, ...]:
        require(actor, Role.VIEWER, node_id)
        limit = max(1, min(limit, 10_000))
        found = await self._ingest.on_query_thread(partial(self._store.series, node_id, search[:200], limit))
        return tuple(self._named(s) for _, s in found if not actor.nodes or s.node_id in actor.nodes)

    def _named(self, series: Series) -> Series:
        node = self._bus.nodes.get(series.node_id)
        return msgspec.structs.replace(series, node=node.name if node else "")

    async def trend(
        self, actor: Actor, keys: tuple[SeriesKey, ...], *, from_ns: int, to_ns: int, points: int
    ) -> tuple[Trace, ...]:
        from_ns, to_ns = _range(from_ns, to_ns)
        if not 1 <= points <= POINTS_MAX or not 1 <= len(keys) <= KEYS_MAX:
            raise not_understood(
                f"1 to {POINTS_MAX} points of 1 to {KEYS_MAX} tags", f"{points} of {len(keys)}"
            )
        for key in keys:
            require(actor, Role.VIEWER, key.node_id)
        work = (
            self._ingest.on_query_thread(partial(self._trace, key, from_ns, to_ns, points)) for key in keys
        )
        return tuple(await asyncio.gather(*work))

    async def raw(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, limit: int = 10_000
    ) -> Trace:
        from_ns, to_ns = _range(from_ns, to_ns)
        require(actor, Role.VIEWER, key.node_id)
        limit = max(1, min(limit, RAW_MAX))
        return await self._ingest.on_query_thread(partial(self._raw, key, from_ns, to_ns, limit))

    async def aggregate(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, interval_ns: int
    ) -> tuple[Aggregate, ...]:
        from_ns, to_ns = _range(from_ns, to_ns)
        require(actor, Role.VIEWER, key.node_id)
        if interval_ns < 1 or (to_ns - from_ns) // interval_ns > INTERVALS_MAX:
            raise not_understood(f"at most {INTERVALS_MAX} intervals", f"intervals of {interval_ns} ns")

        def work() -> tuple[Aggregate, ...]:
            number, _ = self._find(key)
            # Time that has not come yet has no values: the last one is not drawn out into the future.
            end = min(to_ns, max(self._ingest.now_ns(), from_ns + 1))
            return aggregates(self._store.read(number, from_ns, end, before=True), from_ns, end, interval_ns)

        return await self._ingest.on_query_thread(work)

    # ------------------------------------------------------------ on a query thread

    def _find(self, key: SeriesKey) -> tuple[int, Series]:
        found = self._store.find(key.node_id, key.path)
        if found is None:
            raise not_found("tag with history", f"{key.node_id} {key.path}")
        return found

    def _trace(self, key: SeriesKey, from_ns: int, to_ns: int, points: int) -> Trace:
        found = self._store.find(key.node_id, key.path)
        if found is None:
            return Trace(key, (), (), ())
        number, series = found
        if series.type in _TEXT_TYPES:
            return self._text_trace(key, number, from_ns, to_ns)
        return self._shown(key, series, self._store.buckets(number, from_ns, to_ns, points), from_ns, to_ns)

    def _raw(self, key: SeriesKey, from_ns: int, to_ns: int, limit: int) -> Trace:
        number, series = self._find(key)
        if series.type in _TEXT_TYPES:
            return self._text_trace(key, number, from_ns, to_ns)
        columns = self._store.read(number, from_ns, to_ns)
        return self._shown(key, series, Buckets(columns.part(0, limit), len(columns), False), from_ns, to_ns)

    def _shown(self, key: SeriesKey, series: Series, found: Buckets, from_ns: int, to_ns: int) -> Trace:
        columns = found.columns
        return Trace(
            key,
            tuple(columns.times.tolist()),
            tuple(
                None if quality >= BAD or not math.isfinite(value) else value
                for value, quality in zip(columns.values.tolist(), columns.quality.tolist(), strict=True)
            ),
            tuple(columns.quality.tolist()),
            self._gaps(key.node_id, columns, from_ns, to_ns),
            (),
            found.decimated,
            found.samples,
            series.unit,
        )

    def _text_trace(self, key: SeriesKey, number: int, from_ns: int, to_ns: int) -> Trace:
        rows = self._store.texts(number, from_ns, to_ns, TEXTS_MAX)
        return Trace(
            key,
            tuple(row[0] for row in rows),
            (None,) * len(rows),
            tuple(row[1] for row in rows),
            texts=tuple(row[2] for row in rows),
            samples=len(rows),
        )

    def _gaps(self, node_id: str, columns: Columns, from_ns: int, to_ns: int) -> tuple[Gap, ...]:
        """From the last sample before each start of the runtime to that start; and since the link was lost."""
        if not len(columns):
            return ()
        gaps = []
        times = columns.times
        for start in self._store.starts(node_id, int(times[0]), to_ns):
            before = times[times < start]
            if len(before):
                gaps.append(Gap(int(before[-1]), start, "the runtime was not running"))
        node = self._bus.nodes.get(node_id)
        if node is not None and node.stale and to_ns > node.seen_ns > 0:
            gaps.append(Gap(max(int(times[-1]), from_ns), to_ns, "no connection"))
        return tuple(gaps)


def _range(from_ns: int, to_ns: int) -> tuple[int, int]:
    if not from_ns < to_ns:
        raise not_understood("a time range that ends after it begins", f"{from_ns} to {to_ns}")
    return max(from_ns, TIME_MIN_NS), min(max(to_ns, TIME_MIN_NS + 1), TIME_MAX_NS)
