"""The object ``Node``: how the scans of this node run, as read-only variables.

Its NodeIds begin with ``/``, which no path of a variable does. Values are brought up to date every ``INTERVAL_S`` and
only then: what clients ask for never reaches the scan's statistics.
"""

from __future__ import annotations

from collections.abc import Iterator

from asyncua import ua

import scan

from .nodes import folder, variable

INTERVAL_S = 1.0
ROOT = "/Node"
PERCENTILES = (("P50", 50.0), ("P99", 99.0), ("P999", 99.9), ("P9999", 99.99))
HISTOGRAMS = ("Latency", "Execution", "Age", "PeriodError")
_NS_PER_US = 1000

Values = dict[str, ua.Variant]  # by the NodeId's string


def items(view: scan.NodeView, parent: ua.NodeId, index: int) -> list[ua.AddNodesItem]:
    """Nodes for the tasks that run now, parents first."""
    made = [
        folder(ROOT, parent, "Node", index),
        folder(f"{ROOT}/Tasks", ua.NodeId(ROOT, index), "Tasks", index),
    ]
    for path, value in values(view).items():
        above, _, name = path.rpartition("/")
        if name == "Period":  # the first of each task
            task = above.rpartition("/")[2]
            made.append(folder(above, ua.NodeId(f"{ROOT}/Tasks", index), task, index))
        made.append(variable(path, ua.NodeId(above, index), name, value.VariantType, _unit(name), index))
    return made


def values(view: scan.NodeView) -> Values:
    """All values by NodeId; tasks in the order of the program."""
    found = {
        f"{ROOT}/State": ua.Variant(view.state.name.lower() if view.alive else "away", ua.VariantType.String),
        f"{ROOT}/Program": ua.Variant(_program(view), ua.VariantType.String),
    }
    if view.application is not None:
        for task in view.stats():
            found |= _task(f"{ROOT}/Tasks/{task.name}", task)
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
