"""A simulated device from a device template: each point holds its own number, so that a mix-up is seen at once.

The templates are those of ``drivers.modbus``; their values are encoded here on their own, by the definition of each
type, as a check on the decoder there.
"""

from __future__ import annotations

import os
import pathlib
import struct
import tomllib
from typing import Any

from drivers.sim.registers import RegisterDevice

TEMPLATES = pathlib.Path(__file__).parent.parent / "modbus" / "device_templates"
OWN = "TICKWORK_TEMPLATES"  # names a folder whose templates come first
_FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float32": ">f", "float64": ">d",
}  # fmt: skip


def template_names() -> list[str]:
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.toml")})


def _folders() -> list[pathlib.Path]:
    own = os.environ.get(OWN, "")
    return [pathlib.Path(own), TEMPLATES] if own else [TEMPLATES]


def template_values(template: dict[str, Any]) -> dict[str, float]:
    """What each point of the simulated device shows, in engineering units: 1, 2, 3, …; bits 1, 0, 1, …; texts none."""
    points = [point for point in template["point"] if point.get("type") != "string"]
    return {
        point["name"]: float((index + 1) % 2 if _is_bit(point) else index + 1)
        for index, point in enumerate(points)
    }


def load_template(name: str) -> dict[str, Any]:
    """Raises OSError or ValueError when there is no such template."""
    paths = [folder / f"{name}.toml" for folder in _folders()]
    path = next((path for path in paths if path.is_file()), paths[-1])
    return tomllib.loads(path.read_text(encoding="utf-8"))


def device_of(template: dict[str, Any]) -> RegisterDevice:
    """A device that shows ``template_values``; a text is the name of its point."""
    device = RegisterDevice()
    values = template_values(template)
    for point in template["point"]:
        address, function = point["address"], point["function"]
        if function in ("coils", "discrete-inputs"):
            table = device.coils if function == "coils" else device.discrete
            table[address] = bool(values[point["name"]])
            continue
        registers = device.inputs if function == "input-registers" else device.holding
        if point["type"] == "bit":
            registers[address] |= int(values[point["name"]]) << point["bit"]
            continue
        words = _words(point, values.get(point["name"], 0.0), template.get("order", "ABCD"))
        registers[address : address + len(words)] = words
    return device


def _is_bit(point: dict[str, Any]) -> bool:
    return point["function"] in ("coils", "discrete-inputs") or point["type"] == "bit"


def _words(point: dict[str, Any], value: float, usual_order: str) -> list[int]:
    """The registers of a value: big-endian, then words and bytes exchanged as its order says."""
    data = _data(point, (value - point.get("offset", 0.0)) / point.get("scale", 1.0))
    order = point.get("order", usual_order)
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA") and point["type"] != "string":
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def _data(point: dict[str, Any], raw: float) -> bytes:
    kind = point["type"]
    if kind == "string":
        size = 2 * int(point["registers"])
        return str(point["name"]).encode("ascii", "replace")[:size].ljust(size, b"\0")
    if kind.startswith("bcd"):
        digits = int(kind.removeprefix("bcd")) // 4
        return bytes.fromhex(f"{round(raw):0{digits}d}")
    return struct.pack(_FORMATS[kind], raw if kind.startswith("float") else round(raw))
