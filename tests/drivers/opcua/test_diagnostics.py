"""The object Node: what clients see of the scans, and that nobody can change it."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from asyncua import Node, ua

from drivers.opcua import diagnostics
from drivers.opcua.certificates import CertificateFiles
from scan import Histogram, NodeState, TaskStatistics, bucket_bounds_ns
from tests.drivers.opcua.conftest import Bench, EmptyNode, connected

Start = Callable[..., AbstractAsyncContextManager[Bench]]


def histogram(*times_ns: int) -> Histogram:
    counts = np.zeros(len(bucket_bounds_ns()) - 1, np.int64)
    for time_ns in times_ns:
        counts[np.searchsorted(bucket_bounds_ns(), time_ns, "right") - 1] += 1
    return Histogram(counts, len(times_ns), sum(times_ns), max(times_ns), 7, 0)


class Application:
    name = "water"
    digest = "0123456789abcdef"
    symbols = ()
    aggregates = ()
    tasks = ()


class RunningNode(EmptyNode):
    """A node whose task Fast has run."""

    application = Application()  # type: ignore[assignment]
    state = NodeState.RUNNING
    scans = 3

    def stats(self) -> tuple[TaskStatistics, ...]:
        times = histogram(1000, 2000, 50_000)
        return (TaskStatistics("Fast", 1_000_000, 1, 80, self.scans, 2, 5, 0, 0, times, times, times, times),)


def test_values_when_a_task_has_run_then_counts_and_percentiles_are_told() -> None:
    values = diagnostics.values(RunningNode())  # type: ignore[arg-type]
    found = {path.removeprefix("/Node/Tasks/Fast/"): value.Value for path, value in values.items()}
    assert found["/Node/State"] == "running"
    assert found["/Node/Program"] == "water 0123456789ab"
    assert (found["Period"], found["Scans"], found["Overruns"], found["Skipped"]) == (1000.0, 3, 2, 5)
    assert found["LatencyMax"] == 50.0
    assert 2.0 <= found["ExecutionP50"] <= 2.13
    assert found["AgeP999"] == 50.0


def test_values_when_the_scan_process_is_away_then_the_state_says_so() -> None:
    node = EmptyNode()
    node.alive = False
    assert diagnostics.values(node)["/Node/State"].Value == "away"  # type: ignore[arg-type]


async def test_statistics_when_read_or_subscribed_then_they_follow_and_cannot_be_written(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    view = RunningNode()
    seen: asyncio.Queue[Any] = asyncio.Queue()

    class Handler:
        def datachange_notification(self, _node: Node, value: Any, _data: Any) -> None:
            seen.put_nowait(value)

    async with start(view) as bench, connected(bench, identities["known"]) as client:
        index = await client.get_namespace_index("urn:tickwork:water")
        tasks = client.get_node(ua.NodeId("/Node/Tasks", index))
        (task,) = await tasks.get_children()
        assert (await task.read_browse_name()).Name == "Fast"
        scans = await task.get_child(f"{index}:Scans")
        assert await scans.read_value() == 3
        assert await (await task.get_child(f"{index}:LatencyMax")).read_value() == 50.0
        with pytest.raises(ua.UaError):
            await scans.write_value(ua.Variant(9, ua.VariantType.UInt64))
        subscription = await client.create_subscription(100, Handler())
        await subscription.subscribe_data_change(scans)
        assert await asyncio.wait_for(seen.get(), 10) == 3
        view.scans = 4
        assert await asyncio.wait_for(seen.get(), 10) == 4
