"""Figures for Prometheus: read back by its own parser, and served to nobody who asks wrongly."""

import asyncio
import socket

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.facts import DeviceStatus, Facts
from runtime.metrics import MetricsServer, NodeMetrics
from scan import Counters, Histogram, NodeState, TaskStatistics, bucket_bounds_ns
from scan.problem import TickworkError


def histogram(*times_ns: int) -> Histogram:
    counts = np.zeros(len(bucket_bounds_ns()) - 1, np.int64)
    for time_ns in times_ns:
        counts[np.searchsorted(bucket_bounds_ns(), time_ns, "right") - 1] += 1
    return Histogram(counts, len(times_ns), sum(times_ns), max(times_ns), 7, 0)


class View:
    """A node whose task has run three times, once late."""

    state = NodeState.RUNNING
    alive = True
    application = object()
    counters = Counters(*range(14))

    def stats(self) -> tuple[TaskStatistics, ...]:
        times = histogram(800, 900, 3_000_000)
        return (TaskStatistics("Fast", 1_000_000, 1, 80, 3, 1, 2, 0, 10**18, times, times, times, times),)


FACTS = Facts(
    "n",
    devices=(DeviceStatus("plc", "modbus-tcp", "10.0.0.1", "online", 0, 12, 3),),
    restarts={"scan": 4},
)


def metrics() -> NodeMetrics:
    return NodeMetrics(View(), lambda: FACTS)  # type: ignore[arg-type]


def samples() -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(metrics().text().decode())
    return {
        (one.name, ",".join(value for _, value in sorted(one.labels.items(), reverse=True))): one.value
        for family in families
        for one in family.samples
    }


def test_text_when_parsed_then_tasks_devices_and_states_are_told() -> None:
    found = samples()
    assert found["tickwork_task_scans_total", "Fast"] == 3
    assert found["tickwork_task_overruns_total", "Fast"] == 1
    assert found["tickwork_task_skipped_total", "Fast"] == 2
    assert found["tickwork_device_online", "plc"] == 1
    assert found["tickwork_device_errors_total", "plc"] == 3
    assert found["tickwork_restarts_total", "scan"] == 4
    assert found["tickwork_node_state", "running"] == 1
    assert found["tickwork_node_state", "fault"] == 0


def test_histogram_when_told_then_buckets_add_up_and_end_with_all() -> None:
    found = samples()
    bounds = {
        float(labels.split(",")[1]): count
        for (name, labels), count in found.items()
        if name == "tickwork_task_latency_seconds_bucket"
    }
    assert list(bounds.values()) == sorted(bounds.values())
    assert bounds[1e-6] == 2
    assert bounds[2e-3] == 2
    assert bounds[5e-3] == bounds[float("inf")] == found["tickwork_task_latency_seconds_count", "Fast"] == 3
    assert found["tickwork_task_latency_seconds_sum", "Fast"] == pytest.approx(0.0030017)


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("request_bytes", "start"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 "),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 "),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 "),
        (b"GET /metrics", b""),
        (b"x" * 100_000, b""),
        (b"\x00\xff\r\n\r\n", b"HTTP/1.1 405 "),
    ],
)
async def test_server_when_asked_then_each_request_has_its_answer(request_bytes: bytes, start: bytes) -> None:
    port = free_port()
    server = MetricsServer(port, metrics().text)
    await server.start()
    try:
        assert server.endpoints() == [f"http://127.0.0.1:{port}/metrics"]
        try:
            answer = await ask(port, request_bytes)
        except ConnectionResetError:
            answer = b""  # what was too long was not read to its end
        assert answer.startswith(start)
        assert bool(answer) == bool(start)
        if start.startswith(b"HTTP/1.1 200"):
            assert b"tickwork_task_scans_total" in answer
        assert (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    finally:
        await server.stop()


async def test_server_when_the_port_is_taken_then_a_code_tells() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = MetricsServer(taken.getsockname()[1], metrics().text)
        with pytest.raises(TickworkError, match="CL4001"):
            await server.start()
        assert server.endpoints() == []
