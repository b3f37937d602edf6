"""Drawings made by the server: histograms of a task's times and the curve of a tag's last minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.link import DeviceStatus, GroupStatus, TaskStatus
from scan.layout import HISTOGRAM_BITS
from scan.quality import BAD, UNCERTAIN
from supervisor.model import Runtime, RuntimeDetail, Trace
from supervisor.pages.views import FINE, count, duration, moment, problem_view, short
from web import contexts as c

BOX_WIDTH = 200.0
BASE_Y = 54.0
BARS_MAX = 48
_SUB_BUCKETS = 1 << HISTOGRAM_BITS


def bucket_edge_ns(bucket: int) -> int:
    """Lower edge of a bucket of ``scan``'s histograms: 16 an octave, below 32 ns one a nanosecond."""
    if bucket < 2 * _SUB_BUCKETS:
        return bucket
    shift = (bucket >> HISTOGRAM_BITS) - 1
    return (bucket - (shift << HISTOGRAM_BITS)) << shift


def histogram(
    counts: Sequence[int], *, caption: str, deadline_ns: float, p99_ns: float
) -> c.Histogram | None:
    """Heights are logarithmic, so that one late scan among millions is seen."""
    filled = [index for index, number in enumerate(counts) if number > 0]
    if not filled:
        return None
    bounds_ns = [bucket_edge_ns(bucket) for bucket in range(len(counts) + 1)]
    first, last = max(filled[0] - 1, 0), min(filled[-1] + 1, len(counts) - 1)
    step = max(1, math.ceil((last - first + 1) / BARS_MAX))
    groups = [(start, sum(counts[start : start + step])) for start in range(first, last + 1, step)]
    top = math.log10(max(number for _, number in groups) + 1)
    width = BOX_WIDTH / len(groups)
    bars = [
        _bar(slot * width, width, number, top, bounds_ns[start], deadline_ns)
        for slot, (start, number) in enumerate(groups)
        if number
    ]
    return c.Histogram(
        caption=caption,
        summary=f"{caption}: p99 {duration(p99_ns)}, from {duration(bounds_ns[filled[0]])} to "
        f"{duration(bounds_ns[filled[-1] + 1])}",
        bars=tuple(bars),
        ticks=_ticks([bounds_ns[start] for start, _ in groups], width),
        deadline_x=_deadline([bounds_ns[start] for start, _ in groups], width, deadline_ns),
    )


def _bar(x: float, width: float, number: int, top: float, lower_ns: float, deadline_ns: float) -> c.Bar:
    height = max(1.5, 50.0 * math.log10(number + 1) / top)
    return c.Bar(
        x=round(x + 0.5, 1),
        y=round(BASE_Y - height, 1),
        width=round(max(width - 1.0, 1.0), 1),
        height=round(height, 1),
        late=lower_ns >= deadline_ns > 0,
        title=f"from {duration(lower_ns)}: {count(number)} scans",
    )


def _ticks(edges: list[int], width: float) -> tuple[tuple[float, str], ...]:
    places = sorted({round(len(edges) * part) for part in (0.12, 0.5, 0.88)})
    return tuple((round(i * width + width / 2, 1), duration(edges[i])) for i in places if 0 <= i < len(edges))


def _deadline(edges: list[int], width: float, deadline_ns: float) -> float:
    inside = [index for index, edge in enumerate(edges) if edge >= deadline_ns]
    return round(inside[0] * width, 1) if deadline_ns > 0 and inside and inside[0] > 0 else -1.0


def sparkline(trace: Trace) -> str:
    """Path data in a box of 100 × 30 units; a bad or missing value lifts the pen."""
    known = [value for value in trace.values if value is not None]
    if len(known) < 2 or trace.times_ns[-1] <= trace.times_ns[0]:
        return ""
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    start, length = trace.times_ns[0], trace.times_ns[-1] - trace.times_ns[0]
    parts: list[str] = []
    pen = "M"
    for time_ns, value in zip(trace.times_ns, trace.values, strict=True):
        if value is None:
            pen = "M"
            continue
        x = 100.0 * (time_ns - start) / length
        y = 28.0 - 26.0 * (value - low) / span if high > low else 15.0
        parts.append(f"{pen}{x:.2f} {y:.2f}")
        pen = "L"
    return " ".join(parts)


# ---------------------------------------------------------------- tasks, devices, head


def task_list(detail: RuntimeDetail, *, stale: bool) -> c.TaskList:
    tasks = tuple(_task(task, "s" if stale else "g") for task in detail.tasks)
    return c.TaskList(tasks=tasks, known=detail.status_ns > 0)


def _task(task: TaskStatus, known: str) -> c.TaskView:
    def cell(name: str, text: str) -> c.Cell:
        return c.Cell(f"task:{task.name}:{name}", text, known)

    latency = (task.latency_p50_ns, task.latency_p99_ns, task.latency_max_ns)
    execution = (task.execution_p50_ns, task.execution_p99_ns, task.execution_max_ns)
    drawings = (
        histogram(
            task.latency_histogram,
            caption="Wake-up latency",
            deadline_ns=task.period_ns,
            p99_ns=task.latency_p99_ns,
        ),
        histogram(
            task.execution_histogram,
            caption="Execution",
            deadline_ns=task.period_ns,
            p99_ns=task.execution_p99_ns,
        ),
    )
    return c.TaskView(
        key=task.name,
        name=task.name,
        period=duration(task.period_ns),
        scans=cell("scans", count(task.scans)),
        overruns=cell("overruns", count(task.overruns)),
        rows=tuple(
            (what, *(cell(f"{what}:{i}", duration(ns)) for i, ns in enumerate(times)))  # type: ignore[misc]
            for what, times in (("Latency", latency), ("Execution", execution))
        ),
        histograms=tuple(drawing for drawing in drawings if drawing),
        since=moment(task.since_ns),
        mark=c.Mark(3, "medium") if task.overruns else FINE,
    )


def quality_word(quality: int) -> str:
    if quality < UNCERTAIN:
        return "good"
    return "bad" if quality >= BAD else "uncertain"


def counts(found: DeviceStatus | GroupStatus) -> str:
    """Rate and what went wrong, in words; what never happened is not named."""
    parts = [f"{found.rate_per_s:.1f} a second"] if found.rate_per_s else []
    parts += [f"{count(found.timeouts)} time-out{'s' * (found.timeouts != 1)}"] if found.timeouts else []
    parts += (
        [f"{count(found.retries)} {'retry' if found.retries == 1 else 'retries'}"] if found.retries else []
    )
    parts += [f"exception {code}: {count(times)}" for code, times in sorted(found.exceptions.items())]
    return " · ".join(parts)


def group_view(device: str, group: GroupStatus, known: str) -> c.GroupView:
    def cell(what: str, text: str) -> c.Cell:
        return c.Cell(f"device:{device}:{group.name}:{what}", text, known)

    missed = f"{count(group.missed)} missed" if group.missed else ""
    return c.GroupView(
        name=group.name,
        quality=quality_word(group.quality),
        counts=cell("counts", " · ".join(part for part in (counts(group), missed) if part)),
        replies=cell("replies", count(group.replies)),
        failures=cell("failures", count(group.failures)),
        latency=cell("latency", f"{duration(group.latency_p50_ns)} / {duration(group.latency_p99_ns)}"),
    )


def device_list(detail: RuntimeDetail, *, stale: bool) -> c.DeviceList:
    known = "s" if stale else "g"
    return c.DeviceList(
        devices=tuple(
            c.DeviceView(
                key=device.name,
                name=device.name,
                protocol=device.protocol,
                address=device.address,
                state=device.state,
                quality=quality_word(device.quality),
                requests=c.Cell(f"device:{device.name}:requests", count(device.requests), known),
                errors=c.Cell(f"device:{device.name}:errors", count(device.errors), known),
                latency=c.Cell(
                    f"device:{device.name}:latency",
                    f"{duration(device.latency_p50_ns)} / {duration(device.latency_p99_ns)}",
                    known,
                ),
                since=moment(device.since_ns),
                last_error="" if device.state == "online" else device.last_error,
                counts=c.Cell(f"device:{device.name}:counts", counts(device), known),
                groups=tuple(group_view(device.name, group, known) for group in device.groups),
                mark=FINE if device.state == "online" else c.Mark(3, "medium"),
            )
            for device in detail.devices
        )
    )


def clock_offset(offset_ns: int) -> str:
    if abs(offset_ns) < 50_000_000:
        return ""
    return f"{'ahead' if offset_ns > 0 else 'behind'} {duration(abs(offset_ns))}"


def runtime_head(
    detail: RuntimeDetail, *, mark: c.Mark, drift: tuple[str, str], deployed: bool, words: tuple[str, str]
) -> c.RuntimeHead:
    runtime: Runtime = detail.runtime
    known = "g" if runtime.link == "up" else "s"
    return c.RuntimeHead(
        name=runtime.name,
        mark=mark,
        attention=runtime.attention
        or ("another program runs than the one deployed last" if drift[0] else ""),
        state=runtime.state,
        state_word=words[0],
        link_word=words[1],
        seen=moment(runtime.seen_ns, "seen"),
        application=runtime.application,
        digest=short(runtime.digest),
        digest_full=runtime.digest,
        drift=drift[0],
        drift_href=drift[1],
        deployed=deployed,
        version=runtime.version,
        address=runtime.address,
        scan=c.Cell("scan", count(runtime.scan), known),
        buffered=c.Cell("buffered", count(runtime.buffered), known),
        lost=runtime.lost,
        offset=clock_offset(runtime.clock_offset_ns),
        fault=problem_view(detail.fault) if detail.fault else None,
    )
