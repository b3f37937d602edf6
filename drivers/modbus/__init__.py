"""Modbus: TCP, TLS, RTU and ASCII, master and server.

The hot path is ours (docs/adr/0002): framing and data units without I/O, an event-driven link, pollers that write
straight into the process image.
"""

from drivers.modbus._parse import parse_device
from drivers.modbus.config import PROTOCOLS, Connection, ModbusDevice, ReadBlock, WriteBlock
from drivers.modbus.device import DevicePoller, InputImage
from drivers.modbus.link import Job, Link
from drivers.modbus.open import open_link
from drivers.modbus.pdu import Failure, FailureKind
from drivers.modbus.tcp import TcpLink

__all__ = [
    "PROTOCOLS",
    "Connection",
    "DevicePoller",
    "Failure",
    "FailureKind",
    "InputImage",
    "Job",
    "Link",
    "ModbusDevice",
    "ReadBlock",
    "TcpLink",
    "WriteBlock",
    "open_link",
    "parse_device",
]
