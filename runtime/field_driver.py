"""What the field process asks of a field driver, and which driver serves which protocol.

A ``Family`` holds all devices of one kind of protocol: connections that devices share are its own affair. A
``Session`` is one device at work. Both live in the field process's event loop and must never block it: a slow
device may delay itself only. Inputs go into the image by rows: the session's device has ``len(device.inputs)`` rows
of the quality and time columns from ``first_row``, in the order of its channels, and bytes of %I where the channels
say. After a change the session calls ``image.changed()``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime.link import DeviceStatus
from scan.iomap import Channel


class FieldDevice(Protocol):
    """What a driver's parser makes of a ``[[device]]`` table: plain values, equal if nothing has changed."""

    @property
    def name(self) -> str: ...

    @property
    def protocol(self) -> str: ...

    @property
    def inputs(self) -> tuple[Channel, ...]: ...

    @property
    def outputs(self) -> tuple[Channel, ...]: ...

    @property
    def input_bytes(self) -> int: ...

    @property
    def output_bytes(self) -> int: ...


class InputImage(Protocol):
    """The working copy of %I, with quality (``scan.quality``) and time (UTC ns) of each channel."""

    image: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint16]
    times: npt.NDArray[np.int64]

    def changed(self) -> None:
        """Asks for publication in this turn of the loop; many calls cost one publication."""


# Told of (device name, "connecting" | "online" | "offline", why) at each change.
StateListener = Callable[[str, str, str], None]


class Session(Protocol):
    """One device at work."""

    @property
    def device(self) -> FieldDevice: ...

    @property
    def settled(self) -> bool:
        """Whether nothing is left to write: asked at the end, when safe values go out."""
        ...

    def follow(self, image: bytes, *, live: bool) -> None:
        """Every 10 ms: sends the outputs in ``image`` (all of %Q) that differ; safe values if not ``live``."""

    def status(self) -> DeviceStatus: ...

    def report(self) -> dict[str, Any]:
        """Detailed statistics, plain values."""
        ...


class Family(Protocol):
    """All devices of one kind of protocol. Made with the node's state directory: keys and certificates are there."""

    def add(self, device: Any, image: InputImage, *, first_row: int, on_state: StateListener) -> Session:
        """Makes the session of a device; its inputs are bad until the device has answered. Starts nothing yet."""
        ...

    def start(self) -> None:
        """Begins traffic for all devices that were added."""

    async def stop(self) -> None:
        """Ends all traffic; returns when nothing is open any more."""


# Protocol -> module and name of its family. Imported when a plant has such a device: asyncua alone takes a second.
FAMILIES = {
    "modbus": ("runtime.field_modbus", "ModbusFamily"),
    "opcua": ("runtime.field_opcua", "OpcUaFamily"),
    "mqtt": ("runtime.field_mqtt", "MqttFamily"),
}


def family_name(protocol: str) -> str:
    """The key in ``FAMILIES``: all Modbus transports are one family."""
    return protocol.split("-")[0]


def open_families(devices: Sequence[FieldDevice], state: Path) -> dict[str, Family]:
    """A family for each kind of protocol among the devices, by its key."""
    families: dict[str, Family] = {}
    for device in devices:
        name = family_name(device.protocol)
        if name not in families:
            module, symbol = FAMILIES[name]
            families[name] = getattr(importlib.import_module(module), symbol)(state)
    return families
