"""The symbols that screens are made of: ``web/symbols/*.svg``, each with its title and its parameters."""

from __future__ import annotations

import functools
import pathlib
from dataclasses import dataclass
from xml.etree import ElementTree

FOLDER = pathlib.Path(__file__).parent / "symbols"


@dataclass(frozen=True, slots=True)
class Symbol:
    """``parameters``: name, kind ("tag" or "text") and default; ``width`` and ``height`` in the drawing's units."""

    name: str
    title: str
    parameters: tuple[tuple[str, str, str], ...]
    width: float
    height: float
    svg: str


@functools.cache
def symbols() -> dict[str, Symbol]:
    """All symbols by name, sorted by title."""
    found = (_read(path) for path in FOLDER.glob("*.svg"))
    return {symbol.name: symbol for symbol in sorted(found, key=lambda symbol: symbol.title)}


def _read(path: pathlib.Path) -> Symbol:
    text = path.read_text("utf-8")
    root = ElementTree.fromstring(text)  # noqa: S314 (our own files)
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    parameters = tuple(_parameter(text) for text in root.attrib["data-parameters"].split())
    return Symbol(path.stem, root.attrib["data-title"], parameters, width, height, text)


def _parameter(text: str) -> tuple[str, str, str]:
    name, _, rest = text.partition(":")
    kind, _, default = rest.partition("=")
    return name, kind, default
