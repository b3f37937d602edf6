"""Which driver serves a ``[[device]]`` table of a plant file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers._table import Placer, no_place
from drivers.modbus import PROTOCOLS as MODBUS_PROTOCOLS
from drivers.modbus import ModbusDevice
from drivers.modbus import parse_device as parse_modbus
from drivers.mqtt import PROTOCOLS as MQTT_PROTOCOLS
from drivers.mqtt import MqttDevice
from drivers.mqtt import parse_device as parse_mqtt
from drivers.opcua.client_config import PROTOCOLS as OPCUA_PROTOCOLS
from drivers.opcua.client_config import OpcUaDevice
from drivers.opcua.client_config import parse_device as parse_opcua
from scan.problem import fail

AnyDevice = ModbusDevice | MqttDevice | OpcUaDevice
_PARSERS: dict[str, Callable[[Mapping[str, object], Placer], AnyDevice]] = {
    **dict.fromkeys(MODBUS_PROTOCOLS, parse_modbus),
    **dict.fromkeys(OPCUA_PROTOCOLS, parse_opcua),
    **dict.fromkeys(MQTT_PROTOCOLS, parse_mqtt),
}


def parse_device(table: Mapping[str, object], place: Placer = no_place) -> AnyDevice:
    """The device that a ``[[device]]`` table describes.

    ``place("read", 0, "address")`` tells where a key of the table stands. Raises TickworkError with all problems.
    """
    protocol = table.get("protocol")
    parse = _PARSERS.get(protocol) if isinstance(protocol, str) else None
    if parse is not None:
        return parse(table, place)
    raise fail(
        "DV1006",
        "a device needs a protocol that Tickwork speaks",
        place=place("protocol") if "protocol" in table else place(),
        expected="one of " + ", ".join(_PARSERS),
        found=repr(protocol),
    )
