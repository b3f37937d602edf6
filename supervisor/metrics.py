"""Figures for Prometheus: requests as they happen, the rest read at the moment of the scrape."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supervisor.fleet import FleetService
from supervisor.ingest import Ingest

_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """A registry of its own, so that two supervisors in one process (as in tests) do not meet."""

    def __init__(self, fleet: FleetService, ingest: Ingest) -> None:
        self._fleet = fleet
        self._ingest = ingest
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self.requests = Histogram(
            "tickwork_request_seconds", "Time to the first byte of an answer", ("method", "area"),
            buckets=_BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        self.answers = Counter(
            "tickwork_answers", "Answers by class of status", ("area", "status"), registry=self._registry
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        figures, bus = self._ingest.figures, self._fleet.bus
        yield CounterMetricFamily("tickwork_samples", "Samples stored since start", value=figures.samples)
        yield CounterMetricFamily("tickwork_duplicates", "Messages delivered twice", value=figures.duplicates)
        yield GaugeMetricFamily(
            "tickwork_ingest_waiting", "Samples not yet stored", value=self._ingest.waiting
        )
        yield GaugeMetricFamily(
            "tickwork_storage_ok", "1: history can be written", value=int(figures.problem is None)
        )
        yield GaugeMetricFamily("tickwork_live_clients", "Open live streams", value=bus.clients)
        commit = GaugeMetricFamily(
            "tickwork_commit_seconds", "Recent commits of history", labels=("quantile",)
        )
        if figures.commit_ns:
            for quantile in (50, 99):
                commit.add_metric(
                    [f"0.{quantile}"], float(np.percentile(list(figures.commit_ns), quantile)) / 1e9
                )
        yield commit
        yield from self._of_runtimes()

    def _of_runtimes(self) -> Iterable[Metric]:
        link = GaugeMetricFamily("tickwork_link_up", "1: the runtime is connected", labels=("runtime",))
        offset = GaugeMetricFamily(
            "tickwork_clock_offset_seconds", "Runtime minus supervisor", labels=("runtime",)
        )
        scans = CounterMetricFamily("tickwork_scans", "Scans of a task", labels=("runtime", "task"))
        overruns = CounterMetricFamily(
            "tickwork_scan_overruns", "Scans that came too late", labels=("runtime", "task")
        )
        latency = GaugeMetricFamily(
            "tickwork_scan_latency_p99_seconds", "Wake-up latency", labels=("runtime", "task")
        )
        for node in self._fleet.bus.nodes.values():
            link.add_metric([node.name], int(node.link == "up"))
            offset.add_metric([node.name], node.clock_offset_ns / 1e9)
            for task in node.status.tasks if node.status else ():
                scans.add_metric([node.name, task.name], task.scans)
                overruns.add_metric([node.name, task.name], task.overruns)
                latency.add_metric([node.name, task.name], task.latency_p99_ns / 1e9)
        return link, offset, scans, overruns, latency


class Measured:
    """Counts requests and the time to their first byte. Areas, not paths: a path may hold anything."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        first = scope["path"].split("/", 2)[1]
        area = first if first in ("api", "link", "static", "live") else "page"

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(scope["method"], area).observe(time.perf_counter() - start)
                self._metrics.answers.labels(area, f"{message['status'] // 100}xx").inc()
            await send(message)

        await self._app(scope, receive, timed)
