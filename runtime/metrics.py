"""A node's figures for Prometheus: as text, and served over HTTP on this machine alone.

The page needs no user and shows no value of the process, so it listens on the loopback only; a scraper elsewhere comes
through a proxy that knows who may ask.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import scan
from runtime.facts import Facts
from runtime.metrics_devices import device_metrics
from scan.problem import fail

HOST = "127.0.0.1"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_BYTES_MAX = 16 * 1024
REQUEST_S = 5.0
CLIENTS_MAX = 16
BOUNDS_US = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000)
HISTOGRAMS = (
    ("latency", "From due to start of a scan"),
    ("execution", "A whole scan"),
    ("age", "From the publishing of the inputs to that of the outputs"),
    ("period_error", "How far the distance of two starts is from the period"),
)


class NodeMetrics:
    """Reads everything at the moment of the scrape. ``facts`` gives what the parent process last told."""

    def __init__(self, view: scan.NodeView, facts: Callable[[], Facts]) -> None:
        self._view = view
        self._facts = facts
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        facts = self._facts()
        state = GaugeMetricFamily("tickwork_node_state", "1 for the state that holds", labels=("state",))
        now = self._view.state.name.lower() if self._view.alive else "away"
        for name in (*(one.name.lower() for one in scan.NodeState), "away"):
            state.add_metric([name], int(name == now))
        yield state
        restarts = CounterMetricFamily("tickwork_restarts", "Restarts of a process", labels=("process",))
        for process, count in facts.restarts.items():
            restarts.add_metric([process], count)
        yield restarts
        yield from self._of_devices(facts)
        yield from self._of_counters()
        yield from self._of_tasks()

    def _of_devices(self, facts: Facts) -> Iterable[Metric]:
        online = GaugeMetricFamily("tickwork_device_online", "1: the device answers", labels=("device",))
        requests = CounterMetricFamily("tickwork_device_requests", "Requests to it", labels=("device",))
        errors = CounterMetricFamily("tickwork_device_errors", "Requests that failed", labels=("device",))
        for device in facts.devices:
            online.add_metric([device.name], int(device.state == "online"))
            requests.add_metric([device.name], device.requests)
            errors.add_metric([device.name], device.errors)
        yield from (online, requests, errors)
        yield from device_metrics(facts.devices)

    def _of_counters(self) -> Iterable[Metric]:
        counters = self._view.counters
        yield GaugeMetricFamily("tickwork_forces", "Variables that are forced", value=counters.forces)
        yield CounterMetricFamily("tickwork_faults", "Faults of the program", value=counters.faults)
        yield CounterMetricFamily("tickwork_commands", "Writes and forces taken", value=counters.commands)
        yield CounterMetricFamily(
            "tickwork_records_lost", "Records that found no room", value=counters.records_lost
        )
        yield CounterMetricFamily("tickwork_swaps", "Online changes", value=counters.swaps)
        yield CounterMetricFamily("tickwork_rollbacks", "Online changes taken back", value=counters.rollbacks)

    def _of_tasks(self) -> Iterable[Metric]:
        tasks = self._view.stats() if self._view.application is not None else ()
        for name, text in (
            ("scans", "Scans"), ("overruns", "Scans that missed a grid point"), ("skipped", "Grid points missed")
        ):  # fmt: skip
            counts = CounterMetricFamily(f"tickwork_task_{name}", text, labels=("task",))
            for task in tasks:
                counts.add_metric([task.name], getattr(task, name), created=task.since_wall_ns / 1e9)
            yield counts
        for name, text in HISTOGRAMS:
            yield _histogram(name, text, tasks)


def _histogram(name: str, text: str, tasks: Iterable[scan.TaskStatistics]) -> Metric:
    family = HistogramMetricFamily(f"tickwork_task_{name}_seconds", text, labels=("task",))
    for task in tasks:
        histogram: scan.Histogram = getattr(task, name)
        uppers = scan.bucket_bounds_ns()[1:]
        buckets = [
            (str(bound / 1e6), float(histogram.counts[uppers <= bound * 1000].sum())) for bound in BOUNDS_US
        ]
        total = float(histogram.counts.sum())
        family.add_metric([task.name], [*buckets, ("+Inf", total)], sum_value=histogram.sum_ns / 1e9)
    return family


class MetricsServer:
    """``GET /metrics`` on the loopback. One request a connection; anything else gets its status and no more."""

    def __init__(self, port: int, text: Callable[[], bytes]) -> None:
        self._port = port
        self._text = text
        self._server: asyncio.Server | None = None
        self._clients = 0

    async def start(self) -> None:
        """Raises CL4001 when the port is taken."""
        try:
            self._server = await asyncio.start_server(
                self._serve, HOST, self._port, limit=REQUEST_BYTES_MAX, reuse_address=True
            )
        except OSError as error:
            raise fail(
                "CL4001", f"the port {self._port} for metrics cannot be had", found=error.strerror or str(error),
                remedy="free it, or set another one: [metrics] port = … in plant.toml",
            ) from error  # fmt: skip

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def rebind(self) -> None:
        """Nothing to do: each scrape reads the program that runs."""

    def clients(self) -> list[str]:
        return []  # a scrape is over before anybody could ask

    def endpoints(self) -> list[str]:
        return [f"http://{HOST}:{self._port}/metrics"] if self._server is not None else []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_S):
                    if self._clients <= CLIENTS_MAX:
                        head = await reader.readuntil(b"\r\n\r\n")
                        writer.write(self._answer(head))
                        await writer.drain()
        finally:
            self._clients -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method != b"GET":
            return _response("405 Method Not Allowed", b"")
        if path != b"/metrics":
            return _response("404 Not Found", b"")
        return _response("200 OK", self._text())


def _response(status: str, body: bytes) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
