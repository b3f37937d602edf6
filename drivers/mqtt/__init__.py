"""MQTT as a field protocol, and Sparkplug B: codec, edge node and host as state machines.

The names here are light: they load no protocol library. ``drivers.mqtt.client`` and ``drivers.mqtt.device`` do.
"""

from drivers.mqtt._parse import PROTOCOLS, parse_device
from drivers.mqtt.config import Broker, Connection, MqttDevice, Will

__all__ = [
    "PROTOCOLS",
    "Broker",
    "Connection",
    "MqttDevice",
    "Will",
    "parse_device",
]
