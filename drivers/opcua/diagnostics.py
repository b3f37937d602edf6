"""The object ``Node``: how the scans of this node run, as read-only variables.

Values are brought up to date every ``INTERVAL_S`` and only then: what clients ask for never reaches the scan's
statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from asyncua import ua

import scan

from .fixed import NODE, FixedNodes

INTERVAL_S = 1.0
ROOT = NODE
PERCENTILES = (("P50", 50.0), ("P99", 99.0), ("P999", 99.9), ("P9999", 99.99))
HISTOGRAMS = ("Latency", "Execution", "Age", "PeriodError")
_NS_PER_US = 1000

Values = dict[str, ua.Variant]  # by the NodeId's string


class Device(Protocol):
    """A field device as the node knows it."""

    @property
    def name(self) -> str: ...
    @property
    def online(self) -> bool: ...


def build(fixed: FixedNodes, view: scan.NodeView, devices: Sequence[Device]) -> None:
    """Nodes for the tasks that run and the devices that are there now."""
    for folder in ("Tasks", "Devices"):
        fixed.add_object(f"{ROOT}/{folder}", folder, fixed.id(ROOT))
    for path, value in values(view, devices).items():
        above, _, name = path.rpartition("/")
        if above not in fixed.entries:
            parent, _, owner = above.rpartition("/")
            fixed.add_object(above, owner, fixed.id(parent))
        fixed.add_variable(path, above, name, value, _unit(name))


def values(view: scan.NodeView, devices: Sequence[Device] = ()) -> Values:
    """All values by NodeId; tasks in the order of the program."""
    found = {
        f"{ROOT}/State": ua.Variant(view.state.name.lower() if view.alive else "away", ua.VariantType.String),
        f"{ROOT}/Program": ua.Variant(_program(view), ua.VariantType.String),
    }
    if view.application is not None:
        for task in view.stats():
            found |= _task(f"{ROOT}/Tasks/{task.name}", task)
    for device in devices:
        path = f"{ROOT}/Devices/{device.name}"
        found[f"{path}/Online"] = ua.Variant(device.online, ua.VariantType.Boolean)
        found[f"{path}/State"] = ua.Variant(str(getattr(device, "state", "")), ua.VariantType.String)
    return found


def _program(view: scan.NodeView) -> str:
    return f"{view.application.name} {view.application.digest[:12]}" if view.application is not None else ""


def _task(path: str, task: scan.TaskStatistics) -> Values:
    found = {f"{path}/Period": _us(task.period_ns)}
    for name, count in (("Scans", task.scans), ("Overruns", task.overruns), ("Skipped", task.skipped)):
        found[f"{path}/{name}"] = ua.Variant(count, ua.VariantType.UInt64)
    for name, histogram in zip(
        HISTOGRAMS, (task.latency, task.execution, task.age, task.period_error), strict=True
    ):
        found |= dict(_histogram(f"{path}/{name}", histogram))
    return found


def _histogram(path: str, histogram: scan.Histogram) -> Iterator[tuple[str, ua.Variant]]:
    for suffix, percent in PERCENTILES:
        yield path + suffix, _us(histogram.percentile_ns(percent))
    yield f"{path}Max", _us(histogram.max_ns)


def _us(time_ns: int) -> ua.Variant:
    return ua.Variant(time_ns / _NS_PER_US, ua.VariantType.Double)


def _unit(name: str) -> str:
    return "µs" if name.startswith((*HISTOGRAMS, "Period")) else ""
