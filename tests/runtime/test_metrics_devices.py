from prometheus_client import CollectorRegistry, generate_latest

from runtime.link import LATENCY_BOUNDS_NS, DeviceStatus, GroupStatus
from runtime.metrics_devices import device_metrics

GROUP = GroupStatus(
    name="fast", quality=0x8031, rate_per_s=9.5, replies=40, failures=2, timeouts=3, retries=1, missed=4,
    exceptions={"2": 5}, latency_p50_ns=1_000_000, latency_p99_ns=3_000_000,
)  # fmt: skip
COUNTS = (*range(1, len(LATENCY_BOUNDS_NS) + 1), 40)
DEVICE = DeviceStatus(
    name="plant", protocol="modbus-tcp", address="a", state="online", quality=0, requests=50, errors=8, rate_per_s=9.5,
    timeouts=3, retries=1, exceptions={"2": 5, "6": 1}, latency_counts=COUNTS, groups=(GROUP,),
)  # fmt: skip


class _Collected:
    def __init__(self, *devices: DeviceStatus) -> None:
        self.devices = devices

    def collect(self):
        return device_metrics(self.devices)


def _text(*devices: DeviceStatus) -> str:
    registry = CollectorRegistry()
    registry.register(_Collected(*devices))
    return generate_latest(registry).decode()


def test_metrics_when_a_device_has_figures_then_they_are_told_by_device_code_and_group() -> None:
    text = _text(DEVICE)
    for line in (
        'tickwork_device_timeouts_total{device="plant"} 3.0',
        'tickwork_device_retries_total{device="plant"} 1.0',
        'tickwork_device_exceptions_total{code="6",device="plant"} 1.0',
        'tickwork_device_rate{device="plant"} 9.5',
        'tickwork_device_latency_seconds_bucket{device="plant",le="0.001"} 1.0',
        'tickwork_device_latency_seconds_bucket{device="plant",le="+Inf"} 40.0',
        'tickwork_group_exceptions_total{code="2",device="plant",group="fast"} 5.0',
        'tickwork_group_missed_total{device="plant",group="fast"} 4.0',
        'tickwork_group_quality{device="plant",group="fast"} 32817.0',
        'tickwork_group_latency_p99_seconds{device="plant",group="fast"} 0.003',
    ):
        assert line in text


def test_metrics_when_a_device_has_no_latencies_then_none_are_told() -> None:
    bare = DeviceStatus("d", "modbus-tcp", "a", "offline", 0, 0, 0)
    assert "latency_seconds_bucket" not in _text(bare)
