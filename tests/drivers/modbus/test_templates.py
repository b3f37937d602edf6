"""Known registers of real devices as their makers document them, and what each template makes of their values."""

from typing import Any

import numpy as np
import pytest

from drivers.modbus import parse_device
from drivers.modbus.pdu import Function
from drivers.modbus.points import PointDecoder
from drivers.modbus.templates import template_names
from scan.quality import GOOD, is_bad

COILS, HOLDING, INPUT = (
    Function.READ_COILS, Function.READ_HOLDING_REGISTERS, Function.READ_INPUT_REGISTERS,
)  # fmt: skip
KNOWN = [
    # template, point, function, address, registers on the wire, value
    ("abb-b23", "import_energy_kwh", HOLDING, 0x5000, "0000 0000 0001 E240", 1234.56),
    ("abb-b23", "voltage_l1", HOLDING, 0x5B00, "0000 08FC", 230.0),
    ("abb-b23", "current_l2", HOLDING, 0x5B0E, "0000 04D2", 12.34),
    ("abb-b23", "active_power", HOLDING, 0x5B14, "FFFF FF9C", -1.0),
    ("abb-b23", "active_power_l3", HOLDING, 0x5B1A, "0000 2710", 100.0),
    ("abb-b23", "frequency", HOLDING, 0x5B2C, "1388", 50.0),
    ("carlo-gavazzi-em340", "voltage_l3", INPUT, 0x04, "08FC 0000", 230.0),
    ("carlo-gavazzi-em340", "current_l1", INPUT, 0x0C, "86A0 0001", 100.0),
    ("carlo-gavazzi-em340", "active_power_l1", INPUT, 0x12, "FF9C FFFF", -10.0),
    ("carlo-gavazzi-em340", "active_power", INPUT, 0x28, "86A0 0001", 10000.0),
    ("carlo-gavazzi-em340", "frequency", INPUT, 0x33, "01F4", 50.0),
    ("carlo-gavazzi-em340", "import_energy_kwh", INPUT, 0x34, "0001 0001", 6553.7),
    ("carlo-gavazzi-em340", "export_energy_kwh", INPUT, 0x4E, "000A 0000", 1.0),
    ("eastron-sdm120", "voltage", INPUT, 0x0000, "4366 3334", 230.2),
    ("eastron-sdm120", "current", INPUT, 0x0006, "3F80 0000", 1.0),
    ("eastron-sdm120", "active_power", INPUT, 0x000C, "C2C8 0000", -100.0),
    ("eastron-sdm120", "frequency", INPUT, 0x0046, "4248 0000", 50.0),
    ("eastron-sdm120", "total_energy_kwh", INPUT, 0x0156, "447A 0000", 1000.0),
    ("eastron-sdm630", "voltage_l2", INPUT, 0x0002, "4366 0000", 230.0),
    ("eastron-sdm630", "active_power_l3", INPUT, 0x0010, "42C8 0000", 100.0),
    ("eastron-sdm630", "active_power", INPUT, 0x0034, "42C8 0000", 100.0),
    ("eastron-sdm630", "power_factor", INPUT, 0x003E, "3F80 0000", 1.0),
    ("eastron-sdm630", "import_energy_kwh", INPUT, 0x0048, "447A 0000", 1000.0),
    ("eastron-sdm630", "export_energy_kwh", INPUT, 0x004A, "447A 0000", 1000.0),
    ("janitza-umg", "voltage_l1", HOLDING, 19000, "4366 0000", 230.0),
    ("janitza-umg", "current_l3", HOLDING, 19016, "3F80 0000", 1.0),
    ("janitza-umg", "active_power", HOLDING, 19026, "42C8 0000", 100.0),
    ("janitza-umg", "frequency", HOLDING, 19050, "4248 0000", 50.0),
    ("janitza-umg", "energy_wh", HOLDING, 19060, "447A 0000", 1000.0),
    ("janitza-umg", "import_energy_wh", HOLDING, 19068, "447A 0000", 1000.0),
    ("janitza-umg", "export_energy_wh", HOLDING, 19076, "447A 0000", 1000.0),
    ("peacefair-pzem-004t", "voltage", INPUT, 0, "08D1", 225.7),
    ("peacefair-pzem-004t", "current", INPUT, 1, "006C 0000", 0.108),
    ("peacefair-pzem-004t", "active_power", INPUT, 3, "00F4 0000", 24.4),
    ("peacefair-pzem-004t", "energy_wh", INPUT, 5, "0026 0001", 65574.0),
    ("peacefair-pzem-004t", "frequency", INPUT, 7, "01F4", 50.0),
    ("peacefair-pzem-004t", "power_factor", INPUT, 8, "0064", 1.0),
    ("schneider-pm5000", "current_l1", HOLDING, 0x0BB7, "3F80 0000", 1.0),
    ("schneider-pm5000", "voltage_l1", HOLDING, 0x0BD3, "4366 0000", 230.0),
    ("schneider-pm5000", "active_power_l1", HOLDING, 0x0BED, "3F80 0000", 1.0),
    ("schneider-pm5000", "active_power_kw", HOLDING, 0x0BF3, "3F80 0000", 1.0),
    ("schneider-pm5000", "frequency", HOLDING, 0x0C25, "4248 0000", 50.0),
    ("schneider-pm5000", "import_energy_wh", HOLDING, 0x0C83, "0000 0000 0001 E240", 123456.0),
    ("siemens-pac3200", "voltage_l1", HOLDING, 1, "4366 0000", 230.0),
    ("siemens-pac3200", "voltage_l3_l1", HOLDING, 11, "43C8 0000", 400.0),
    ("siemens-pac3200", "current_l2", HOLDING, 15, "3F80 0000", 1.0),
    ("siemens-pac3200", "active_power_l3", HOLDING, 29, "42C8 0000", 100.0),
    ("siemens-pac3200", "frequency", HOLDING, 55, "4248 0000", 50.0),
    ("siemens-pac3200", "apparent_power", HOLDING, 63, "42C8 0000", 100.0),
    ("siemens-pac3200", "active_power", HOLDING, 65, "42C8 0000", 100.0),
    ("siemens-pac3200", "reactive_power", HOLDING, 67, "42C8 0000", 100.0),
    ("siemens-pac3200", "import_energy_wh", HOLDING, 801, "408F 4000 0000 0000", 1000.0),
    ("sma-inverter", "total_yield_wh", HOLDING, 30529, "0001 E240", 123456.0),
    ("sma-inverter", "active_power", HOLDING, 30775, "FFFF FFFF", -1.0),
    ("sma-inverter", "active_power_l1", HOLDING, 30777, "0000 0064", 100.0),
    ("sma-inverter", "voltage_l1", HOLDING, 30783, "0000 59D8", 230.0),
    ("sma-inverter", "frequency", HOLDING, 30803, "0000 1388", 50.0),
    ("sma-inverter", "temperature", HOLDING, 30953, "0000 01A5", 42.1),
    ("victron-gx", "ac_consumption_l1", HOLDING, 817, "0064", 100.0),
    ("victron-gx", "grid_power_l1", HOLDING, 820, "FF9C", -100.0),
    ("victron-gx", "battery_voltage", HOLDING, 840, "0205", 51.7),
    ("victron-gx", "battery_current", HOLDING, 841, "FFF6", -1.0),
    ("victron-gx", "battery_power", HOLDING, 842, "FF9C", -100.0),
    ("victron-gx", "battery_soc", HOLDING, 843, "0050", 80.0),
    ("victron-gx", "pv_power", HOLDING, 850, "0064", 100.0),
    ("waveshare-relay-8", "relay_1", COILS, 0, "01", 1.0),
    ("waveshare-relay-8", "relay_8", COILS, 7, "01", 1.0),
    ("xy-md02", "temperature", INPUT, 1, "0131", 30.5),
    ("xy-md02", "temperature", INPUT, 1, "FF33", -20.5),
    ("xy-md02", "humidity", INPUT, 2, "0222", 54.6),
]  # fmt: skip
MISSING = [
    ("abb-b23", "import_energy_kwh", "FFFF FFFF FFFF FFFF"), ("abb-b23", "voltage_l3", "FFFF FFFF"),
    ("abb-b23", "active_power_l2", "7FFF FFFF"), ("abb-b23", "frequency", "FFFF"),
    ("sma-inverter", "active_power", "8000 0000"), ("sma-inverter", "total_yield_wh", "FFFF FFFF"),
    ("schneider-pm5000", "voltage_l1", "FFC0 0000"),
]  # fmt: skip


def block_of(template: str, point: str) -> Any:
    place = {"to": "%IX0.0"} if template == "waveshare-relay-8" else {"to": "%IL0", "as": "LREAL"}
    table = {"name": "d", "protocol": "modbus-tcp", "host": "h", "template": template}
    (block,) = parse_device({**table, "point": [{"name": point, **place}]}).reads
    return block


def decode(block: Any, wire: str) -> tuple[float, int]:
    image = np.zeros(8, np.uint8)
    bits = block.function is COILS
    (quality,) = PointDecoder(block.points, bits=bits).store(image, bytes.fromhex(wire))
    return float(image[0] & 1 if bits else image.view("<f8")[0]), int(quality)


@pytest.mark.parametrize(("template", "point", "function", "address", "wire", "value"), KNOWN)
def test_template_when_a_known_register_is_read_then_its_known_value(
    template: str, point: str, function: Function, address: int, wire: str, value: float
) -> None:
    block = block_of(template, point)
    assert (block.function, block.address) == (function, address)
    assert block.count == (1 if function is COILS else len(wire.split()))
    found, quality = decode(block, wire)
    assert found == pytest.approx(value)
    assert quality == GOOD


@pytest.mark.parametrize(("template", "point", "wire"), MISSING)
def test_template_when_the_device_says_that_there_is_no_value_then_bad(
    template: str, point: str, wire: str
) -> None:
    assert is_bad(decode(block_of(template, point), wire)[1])


def test_templates_when_listed_then_each_has_known_registers() -> None:
    assert {template for template, *_ in KNOWN} == set(template_names())
