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
    """What each point of the simulated device shows, in engineering units: 1, 2, 3, …; coils 1, 0, 1, …"""
    points = template["point"]
    return {
        point["name"]: float((index + 1) % 2 if point["function"] == "coils" else index + 1)
        for index, point in enumerate(points)
    }


def load_template(name: str) -> dict[str, Any]:
    """Raises OSError or ValueError when there is no such template."""
    paths = [folder / f"{name}.toml" for folder in _folders()]
    path = next((path for path in paths if path.is_file()), paths[-1])
    return tomllib.loads(path.read_text(encoding="utf-8"))


def device_of(template: dict[str, Any]) -> RegisterDevice:
    """A device that shows ``template_values``."""
    device = RegisterDevice()
    values = template_values(template)
    for point in template["point"]:
        value = values[point["name"]]
        if point["function"] == "coils":
            device.coils[point["address"]] = bool(value)
            continue
        words = _words(
            point["type"], value / point.get("scale", 1.0), point.get("order", template.get("order", "ABCD"))
        )
        table = device.inputs if point["function"] == "input-registers" else device.holding
        table[point["address"] : point["address"] + len(words)] = words
    return device


def _words(kind: str, raw: float, order: str) -> list[int]:
    """The registers of a value: big-endian, then words and bytes exchanged as ``order`` says."""
    data = struct.pack(_FORMATS[kind], raw if kind.startswith("float") else round(raw))
    words = [data[at : at + 2] for at in range(0, len(data), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]
