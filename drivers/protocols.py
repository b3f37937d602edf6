"""Which driver serves a ``[[device]]`` table of a plant file."""

from __future__ import annotations

from collections.abc import Mapping

from drivers._table import Placer, no_place
from drivers.modbus import PROTOCOLS as MODBUS_PROTOCOLS
from drivers.modbus import ModbusDevice
from drivers.modbus import parse_device as parse_modbus
from drivers.mqtt import PROTOCOLS as MQTT_PROTOCOLS
from drivers.mqtt import MqttDevice
from drivers.mqtt import parse_device as parse_mqtt
from scan.problem import fail


def parse_device(table: Mapping[str, object], place: Placer = no_place) -> ModbusDevice | MqttDevice:
    """The device that a ``[[device]]`` table describes.

    ``place("read", 0, "address")`` tells where a key of the table stands. Raises TickworkError with all problems.
    """
    protocol = table.get("protocol")
    if protocol in MODBUS_PROTOCOLS:
        return parse_modbus(table, place)
    if protocol in MQTT_PROTOCOLS:
        return parse_mqtt(table, place)
    raise fail(
        "DV1006",
        "a device needs a protocol that Tickwork speaks",
        place=place("protocol") if "protocol" in table else place(),
        expected="one of " + ", ".join((*MODBUS_PROTOCOLS, *MQTT_PROTOCOLS)),
        found=repr(protocol),
    )
