"""A drawing with the values of now: symbols expanded, bound elements marked, linked and set to their first look.

What an element shows of a value is decided here for the first paint and in ``web/static/screen.js`` for each tick
after it; both follow the attributes that ``supervisor.drawing`` describes.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.etree import ElementTree

from supervisor import drawing
from supervisor.model import TagValue
from supervisor.pages import views
from web.symbols import Symbol, symbols

PREFIX = "d-"  # of ids: those of the page stay its own


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a tag of the drawing is; ``value`` None: the runtime has none of that name, or is not there."""

    key: str  # node:path
    node_id: str
    path: str
    value: TagValue | None


Lookup = Callable[[str], Bound]


def expand(root: ElementTree.Element) -> ElementTree.Element:
    """The drawing with the shapes of its symbols inside their groups."""
    made = copy.deepcopy(root)
    for group in list(made.iter("g")):
        symbol = symbols().get(group.get("data-symbol", ""))
        if symbol is None:
            continue
        given = _parameters(group, symbol)
        for child in _shapes(symbol.name):
            shape = _filled(child, given)
            if shape is not None:
                group.append(shape)
    return made


def _parameters(group: ElementTree.Element, symbol: Symbol) -> dict[str, str]:
    return {name: group.get(f"data-p-{name}") or default for name, _, default in symbol.parameters}


@functools.cache
def _shapes(name: str) -> tuple[ElementTree.Element, ...]:
    root = ElementTree.fromstring(symbols()[name].svg)  # noqa: S314 (our own file)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tuple(root)


def _filled(shape: ElementTree.Element, given: dict[str, str]) -> ElementTree.Element | None:
    """A copy with the parameters in place; None where the tag that it shows was not given."""
    made = ElementTree.Element(shape.tag)
    for name, value in shape.attrib.items():
        text = _with(value, given)
        if name == "data-tag" and not text:
            return None
        if text:
            made.set(name, text)
    made.text = _with(shape.text or "", given) or None
    for child in shape:
        inner = _filled(child, given)
        if inner is not None:
            made.append(inner)
    return made


def _with(text: str, given: dict[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def render(root: ElementTree.Element, lookup: Lookup, title: str) -> str:
    """The expanded drawing as markup; every text in it is escaped by the serialiser."""
    made = _own_ids(expand(root))
    made.set("class", "mimic")
    made.set("role", "group")
    made.set("aria-label", title)
    parents = {child: parent for parent in made.iter() for child in parent}
    for element in list(made.iter()):
        tag = element.get("data-tag")
        if tag:
            bound = lookup(tag)
            _show(element, bound)
            if bound.value is not None:
                _link(element, parents, bound)
    return ElementTree.tostring(made, encoding="unicode", short_empty_elements=True)


def _own_ids(root: ElementTree.Element) -> ElementTree.Element:
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, PREFIX + value)
            elif name == "href":
                element.set(name, "#" + PREFIX + value[1:])
            elif "url(" in value:
                element.set(
                    name, drawing.LOCAL_URL.sub(lambda m: m.group(0).replace("#", "#" + PREFIX), value)
                )
    return root


def _show(element: ElementTree.Element, bound: Bound) -> None:
    value = bound.value
    cell = views.tag_cell(value) if value else None
    element.set("data-mimic", bound.key)
    element.set("data-q", cell.quality if cell else "b")
    text = cell.text if cell else "–"
    kind = element.get("data-bind", "")
    if kind == "text":
        unit = value.unit if value and element.get("data-unit") else ""
        element.set("data-suffix", f" {unit}" if unit else "")
        element.text = text + (f" {unit}" if unit else "")
    elif kind == "level":
        _level(element, value, text)
    elif kind in ("state", "visible"):
        element.set("data-state", state(element.get("data-states", ""), text))


def state(states: str, text: str) -> str:
    """The word for a value: by its text, or for numbers by the last bound that it reaches; "" if there is none."""
    pairs = drawing.states_of(states) or (("FALSE", "off"), ("0", "off"), ("TRUE", "on"))
    exact = dict(pairs)
    if text in exact:
        return exact[text]
    number, found = _number(text), ""
    if number is None:
        return ""
    for bound, word in pairs:
        least = _number(bound)
        if least is not None and number >= least:
            found = word
    return found


def _level(element: ElementTree.Element, value: TagValue | None, text: str) -> None:
    low = _first(element.get("data-min"), value.low if value else None, 0.0)
    high = _first(element.get("data-max"), value.high if value else None, 100.0)
    start, size = ("x", "width") if element.get("data-axis") == "x" else ("y", "height")
    at, whole = _number(element.get(start, "0")) or 0.0, _number(element.get(size, "0")) or 0.0
    element.set("data-low", f"{low:g}")
    element.set("data-high", f"{high:g}")
    element.set("data-box", f"{at:g} {whole:g}")
    share = fraction(text, low, high)
    element.set(size, f"{whole * share:.2f}")
    if size == "height":
        element.set(start, f"{at + whole * (1 - share):.2f}")


def fraction(text: str, low: float, high: float) -> float:
    """How much of a bar is full, 0 to 1; a value that is no number shows an empty one."""
    number = _number(text)
    if number is None or high <= low:
        return 0.0
    return min(max((number - low) / (high - low), 0.0), 1.0)


def _first(given: str | None, own: float | None, otherwise: float) -> float:
    number = _number(given or "")
    return number if number is not None else own if own is not None else otherwise


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None  # neither NaN nor infinite


def _link(
    element: ElementTree.Element, parents: dict[ElementTree.Element, ElementTree.Element], bound: Bound
) -> None:
    """The element leads to its tag's sheet; one that sets a value leads to the form with that value typed in."""
    parent = parents.get(element)
    if parent is None:
        return
    query = {"path": bound.path}
    typed = element.get("data-set", "")
    if typed:
        query["value"] = typed
    href = views.runtime_href(bound.node_id, "tag") + "?" + urlencode(query)
    anchor = ElementTree.Element(
        "a", {"href": href, "hx-get": href, "hx-target": "#drawer", "hx-swap": "innerHTML"}
    )
    words = " ".join(text.strip() for text in element.itertext() if text.strip())
    if typed:
        anchor.set(
            "aria-label", f"{words}: set {bound.path} to {typed}" if words else f"Set {bound.path} to {typed}"
        )
    elif words:  # the text is the name; whoever hears it instead of seeing it hears first which tag it is
        name = ElementTree.SubElement(anchor, "text", {"class": "tw-name"})
        name.text = f"{bound.path} "
    else:
        anchor.set("aria-label", bound.path)
    position = list(parent).index(element)
    parent.remove(element)
    anchor.append(element)
    parent.insert(position, anchor)
    parents[element], parents[anchor] = anchor, parent


def to_edit(root: ElementTree.Element) -> str:
    """The drawing to work on: each symbol's shapes in a group of their own, which the editor leaves out again."""
    made = copy.deepcopy(root)
    made.set("id", "canvas")
    made.set("class", "mimic")
    for group in list(made.iter("g")):
        symbol = symbols().get(group.get("data-symbol", ""))
        if symbol is not None:
            group.append(_preview(symbol, _parameters(group, symbol)))
    return ElementTree.tostring(made, encoding="unicode", short_empty_elements=True)


def sample(symbol: Symbol) -> str:
    """The shapes of a symbol as the palette shows them and the editor copies them."""
    return ElementTree.tostring(
        _preview(symbol, {"label": symbol.title}), encoding="unicode", short_empty_elements=True
    )


def _preview(symbol: Symbol, given: dict[str, str]) -> ElementTree.Element:
    group = ElementTree.Element("g", {"class": "preview"})
    shown = {
        name: given.get(name) or (name if kind == "tag" else default)
        for name, kind, default in symbol.parameters
    }
    for child in _shapes(symbol.name):
        shape = _filled(child, shown)
        if shape is not None and shape.get("data-bind") != "visible":
            _sampled(shape, symbol)
            group.append(shape)
    return group


def _sampled(shape: ElementTree.Element, symbol: Symbol) -> None:
    """A bound shape without a value: texts and bars show where theirs will be."""
    if shape.get("data-bind") == "text":
        shape.text = "0.0"
    for name in [name for name in shape.attrib if name.startswith("data-")]:
        del shape.attrib[name]
