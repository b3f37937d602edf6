"""What the parent knows of its node and tells the gate, local tools and systemd."""

from __future__ import annotations

import importlib.metadata
import pathlib

import msgspec

from drivers.modbus.server_config import ModbusServerSection
from drivers.mqtt.edge_config import SparkplugSection
from drivers.opcua.config import OpcUaSection
from runtime.alarms.model import Definition
from runtime.link import DeviceStatus, Event
from runtime.plant import Plant, RecorderSection, SupervisorSection
from scan.iomap import IoMap

__all__ = ["DeviceStatus", "Event", "Facts", "GateJob", "version"]


class GateJob(msgspec.Struct, frozen=True):
    """The work of a gate process, given once at its start; a changed job means a new process."""

    name: str
    version: str
    segments: pathlib.Path
    state: pathlib.Path  # state directory
    supervisor: SupervisorSection | None = None
    opcua: OpcUaSection | None = None
    modbus_server: ModbusServerSection | None = None
    recorder: RecorderSection = RecorderSection()
    metrics_port: int = 0
    alarms: tuple[Definition, ...] = ()
    channels: tuple[str, ...] = ()  # device of each input channel, as numbered in the inputs segment
    sparkplug: SparkplugSection | None = None
    io_map: IoMap = IoMap()  # for Sparkplug: which variable belongs to which device


class Facts(msgspec.Struct, frozen=True):
    """The node as its parent sees it. ``state``: "empty", "stopped", "running", "fault"."""

    name: str
    folder: str = ""
    state: str = "empty"
    program: str = ""  # name of the application
    digest: str = ""  # of the running application, as the scan process reported it
    artifact: str = ""
    tasks: tuple[str, ...] = ()
    devices: tuple[DeviceStatus, ...] = ()
    processes: dict[str, str] = {}
    pids: dict[str, int] = {}
    restarts: dict[str, int] = {}
    started_ns: int = 0
    version: str = ""


def gate_job(plant: Plant, segments: pathlib.Path, state: pathlib.Path) -> GateJob:
    return GateJob(
        plant.name,
        version(),
        segments,
        state,
        plant.supervisor,
        plant.opcua,
        plant.modbus_server,
        plant.recorder,
        plant.metrics_port,
        plant.alarms,
        tuple(channel.device for channel in plant.io_map().inputs),
        plant.sparkplug,
        plant.io_map() if plant.sparkplug is not None else IoMap(),
    )


def version() -> str:
    """Of the installed distribution; "0" in a checkout that is not installed."""
    try:
        return importlib.metadata.version("tickwork")
    except importlib.metadata.PackageNotFoundError:
        return "0"
