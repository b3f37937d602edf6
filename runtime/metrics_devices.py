"""What Prometheus learns of the devices of a node and of their scan groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from runtime.link import LATENCY_BOUNDS_NS, DeviceStatus


def device_metrics(devices: Sequence[DeviceStatus]) -> Iterable[Metric]:
    """Beside those of ``runtime.metrics``: time-outs, retries, exceptions by code, rate, quality, latency."""
    timeouts = CounterMetricFamily("tickwork_device_timeouts", "Requests without a reply", labels=("device",))
    retries = CounterMetricFamily("tickwork_device_retries", "Requests repeated", labels=("device",))
    exceptions = CounterMetricFamily(
        "tickwork_device_exceptions", "Exceptions answered", labels=("device", "code")
    )
    rate = GaugeMetricFamily("tickwork_device_rate", "Replies a second", labels=("device",))
    latency = HistogramMetricFamily(
        "tickwork_device_latency_seconds", "From request to reply", labels=("device",)
    )
    for device in devices:
        timeouts.add_metric([device.name], device.timeouts)
        retries.add_metric([device.name], device.retries)
        rate.add_metric([device.name], device.rate_per_s)
        for code, count in device.exceptions.items():
            exceptions.add_metric([device.name, code], count)
        if device.latency_counts:
            bounds = [*(str(bound / 1e9) for bound in LATENCY_BOUNDS_NS), "+Inf"]
            buckets = list(zip(bounds, map(float, device.latency_counts), strict=True))
            latency.add_metric([device.name], buckets, sum_value=None)
    yield from (timeouts, retries, exceptions, rate, latency)
    yield from _of_groups(devices)


def _of_groups(devices: Sequence[DeviceStatus]) -> Iterable[Metric]:
    labels = ("device", "group")
    families: dict[str, CounterMetricFamily] = {
        name: CounterMetricFamily(f"tickwork_group_{name}", text, labels=labels)
        for name, text in (
            ("replies", "Replies to the requests of a scan group"),
            ("failures", "Requests given up"),
            ("timeouts", "Requests without a reply"),
            ("retries", "Requests repeated"),
            ("missed", "Due while the last one was still open"),
        )
    }
    exceptions = CounterMetricFamily(
        "tickwork_group_exceptions", "Exceptions answered", labels=(*labels, "code")
    )
    rate = GaugeMetricFamily("tickwork_group_rate", "Replies a second", labels=labels)
    quality = GaugeMetricFamily("tickwork_group_quality", "Worst quality, 0 is good", labels=labels)
    latency = GaugeMetricFamily("tickwork_group_latency_p99_seconds", "Request to reply", labels=labels)
    for device in devices:
        for group in device.groups:
            names = [device.name, group.name]
            for name, family in families.items():
                family.add_metric(names, getattr(group, name))
            for code, count in group.exceptions.items():
                exceptions.add_metric([*names, code], count)
            rate.add_metric(names, group.rate_per_s)
            quality.add_metric(names, group.quality)
            latency.add_metric(names, group.latency_p99_ns / 1e9)
    yield from (*families.values(), exceptions, rate, quality, latency)
