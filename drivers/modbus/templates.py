"""Device templates: the register map of a real device, from which a plant file takes the points that it needs.

A template is a TOML file ``<name>.toml`` with ``description``, ``source`` (the public register table that it follows)
and ``[[point]]`` tables as in a plant file, but without places in the image. Own templates are found in the folder
that TICKWORK_TEMPLATES names.
"""

from __future__ import annotations

import os
import pathlib
import re
import tomllib
from typing import Any

from scan.problem import Place, fail

FOLDER = pathlib.Path(__file__).parent / "device_templates"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
FILE_SIZE_MAX = 1 << 20


def template_names() -> tuple[str, ...]:
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.toml")}))


def load_template(name: str, place: Place) -> dict[str, Any]:
    """The whole template as a table. Raises TickworkError DV1008 at ``place``."""
    for folder in _folders():
        path = folder / f"{name}.toml"
        if NAME.fullmatch(name) and path.is_file():
            return _read(path)
    raise fail(
        "DV1008",
        f"there is no device template {name}",
        place=place,
        expected="one of " + ", ".join(template_names()),
        found=name,
        remedy="use one of these names, or set TICKWORK_TEMPLATES to the folder of your own templates",
    )


def points_of(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The points of a template by name."""
    return {point["name"]: point for point in template.get("point", [])}


def _folders() -> tuple[pathlib.Path, ...]:
    own = os.environ.get("TICKWORK_TEMPLATES", "")
    return (pathlib.Path(own), FOLDER) if own else (FOLDER,)


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_SIZE_MAX:
            raise ValueError(f"larger than {FILE_SIZE_MAX} bytes")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        points = table.get("point", [])
        if not all(isinstance(point, dict) and isinstance(point.get("name"), str) for point in points):
            raise ValueError("each [[point]] needs a name")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise fail(
            "DV1008",
            "a device template cannot be used",
            place=Place(str(path)),
            expected="a TOML file with [[point]] tables",
            found=str(error),
        ) from error
    return table
