"""Drawings of screens: SVG with elements bound to tags, cleaned of everything that is not a drawing.

A drawing is untrusted text (it is uploaded, or made with a drawing program). ``clean`` keeps elements and attributes
of an allow-list, turns ``style`` into presentation attributes (the pages allow no inline style) and drops the rest;
what it dropped is told. The result is a drawing again: what is kept, shown, edited and exported is one SVG file.

Elements are bound by attributes:

``data-tag``     path of a tag of the screen's runtime, or ``runtime:path``
``data-bind``    ``text`` (value), ``state`` (word for colours), ``level`` (bar), ``visible``
``data-states``  ``0:off 1:on 50:high``: BOOL and enumerations by their text, numbers by the last bound that is reached
``data-min``, ``data-max``, ``data-axis``  of a level; without them the tag's own range
``data-symbol``  a symbol of ``web/symbols``, its parameters in ``data-p-…``
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

from scan.problem import Place, fail

SVG = "http://www.w3.org/2000/svg"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
SIZE_MAX = 1_000_000
ELEMENTS_MAX = 20_000
DEPTH_MAX = 64
BINDS = ("text", "state", "level", "visible")

ELEMENTS = frozenset(
    "svg g path rect circle ellipse line polyline polygon text tspan title desc defs linearGradient radialGradient "  # noqa: SIM905
    "stop clipPath use marker symbol".split()
)
GEOMETRY = frozenset(
    "id x y x1 y1 x2 y2 cx cy r rx ry fx fy fr width height d points transform viewBox preserveAspectRatio offset "  # noqa: SIM905
    "gradientUnits gradientTransform spreadMethod clipPathUnits markerWidth markerHeight refX refY orient "
    "markerUnits dx dy rotate textLength lengthAdjust pathLength".split()
)
PRESENTATION = frozenset(
    "fill fill-opacity fill-rule stroke stroke-width stroke-linecap stroke-linejoin stroke-dasharray "  # noqa: SIM905
    "stroke-dashoffset stroke-opacity stroke-miterlimit opacity display visibility font-family font-size font-weight "
    "font-style text-anchor dominant-baseline letter-spacing stop-color stop-opacity vector-effect clip-path "
    "clip-rule marker-start marker-mid marker-end".split()
)
BINDING = frozenset(
    ("data-symbol", "data-tag", "data-bind", "data-states", "data-min", "data-max", "data-axis", "data-unit",
     "data-set")
)  # fmt: skip
PARAMETER = re.compile(r"data-p-[a-z][a-z0-9-]{0,30}")
CLASS = re.compile(r"tw-[a-z-]{1,30}")
LOCAL = re.compile(r"#[A-Za-z_][\w.:-]*")
LOCAL_URL = re.compile(r"""url\(\s*["']?#[\w.:-]+["']?\s*\)""")
STATES = re.compile(r"\s*(?:\S+:[a-z]+(?:\s+|$))+")
WORDS = frozenset(("off", "on", "open", "closed", "moving", "low", "high", "warning", "fault", "hidden"))


@dataclass(frozen=True, slots=True)
class Cleaned:
    """``svg``: the drawing that is kept; ``dropped``: what was left out, each kind once, in order."""

    svg: str
    dropped: tuple[str, ...]


def clean(text: str) -> Cleaned:
    """The drawing without all that is none. Raises SV6001 for a text that is no SVG drawing."""
    root = _parse(text)
    dropped: dict[str, None] = {}
    made = _clean(root, dropped, 0, [0])
    if not made.get("viewBox"):
        made.set("viewBox", f"0 0 {_number(made.get('width'), 1200)} {_number(made.get('height'), 800)}")
    for name in ("width", "height", "x", "y"):  # a screen fills the page; its own units are the view box
        made.attrib.pop(name, None)
    made.set("xmlns", SVG)
    ElementTree.indent(made)
    return Cleaned(ElementTree.tostring(made, encoding="unicode") + "\n", tuple(dropped))


def parse(svg: str) -> ElementTree.Element:
    """The tree of a drawing that ``clean`` made: tags without namespace."""
    return _clean(_parse(svg), {}, 0, [0])


def _parse(text: str) -> ElementTree.Element:
    if len(text) > SIZE_MAX:
        raise _no_drawing(f"at most {SIZE_MAX} characters", f"{len(text)}")
    if "<!ENTITY" in text:
        raise _no_drawing("no entity declarations", "<!ENTITY")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 (no entities, bounded size, expat never loads a DTD)
    except (ElementTree.ParseError, ValueError) as error:
        line = getattr(error, "position", (0, 0))[0]
        raise _no_drawing("well-formed XML", str(error), line) from error
    if root.tag != f"{{{SVG}}}svg":
        raise _no_drawing(f"an svg element of the namespace {SVG}", root.tag[:100])
    return root


def _no_drawing(expected: str, found: str, line: int = 0) -> Exception:
    return fail(
        "SV6001",
        "this is no drawing that can be shown",
        place=Place("drawing.svg", line),
        expected=expected,
        found=found,
        remedy='save the drawing as "plain SVG" and try again',
    )


def _clean(
    element: ElementTree.Element, dropped: dict[str, None], depth: int, count: list[int]
) -> ElementTree.Element:
    count[0] += 1
    if depth > DEPTH_MAX or count[0] > ELEMENTS_MAX:
        raise _no_drawing(f"at most {ELEMENTS_MAX} elements, {DEPTH_MAX} deep", "more")
    made = ElementTree.Element(_local(element.tag))
    for name, value in _attributes(element, dropped).items():
        made.set(name, value)
    made.text = element.text if made.tag in ("text", "tspan", "title", "desc") else None
    for child in element:
        if not isinstance(child.tag, str) or not child.tag.startswith(f"{{{SVG}}}"):
            continue  # comments, and what drawing programs keep for themselves
        if _local(child.tag) not in ELEMENTS:
            dropped[f"element {_local(child.tag)}"] = None
            continue
        kept = _clean(child, dropped, depth + 1, count)
        kept.tail = child.tail if made.tag in ("text", "tspan") else None
        made.append(kept)
    return made


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _attributes(element: ElementTree.Element, dropped: dict[str, None]) -> dict[str, str]:
    found: dict[str, str] = {}
    given = dict(element.attrib)
    for declaration in given.pop("style", "").split(";"):
        name, _, value = declaration.partition(":")
        if name.strip() in PRESENTATION:
            given[name.strip()] = value.strip()
    href = given.pop(XLINK_HREF, None)
    if href is not None:
        given.setdefault("href", href)
    for name, value in given.items():
        if _allowed(name, value):
            found[name] = value
        elif not name.startswith("{") and name != "class":
            dropped[f"attribute {name}"] = None
    return found


def _allowed(name: str, value: str) -> bool:
    if name == "class":
        return all(CLASS.fullmatch(token) for token in value.split())
    if name == "href":
        return LOCAL.fullmatch(value) is not None
    if name in GEOMETRY or name in PRESENTATION:
        return (
            "(" not in LOCAL_URL.sub("", value)
            or name in ("transform", "gradientTransform")
            or _colour(value)
        )
    if name == "data-bind":
        return value in BINDS
    if name == "data-states":
        return STATES.fullmatch(value) is not None
    return name in BINDING or PARAMETER.fullmatch(name) is not None


def _colour(value: str) -> bool:
    return re.fullmatch(r"\s*(?:rgb|rgba|hsl|hsla)\([\d\s.,%/]*\)\s*", value) is not None


def _number(text: str | None, otherwise: float) -> str:
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text or "")
    return match.group(1) if match else f"{otherwise:g}"


def tags_of(root: ElementTree.Element) -> tuple[str, ...]:
    """All tags that the drawing names, each once."""
    return tuple(dict.fromkeys(one.get("data-tag", "") for one in root.iter() if one.get("data-tag")))


def states_of(text: str) -> tuple[tuple[str, str], ...]:
    """``"0:off 50:high"`` as pairs; words that are not known count as ``on``."""
    pairs = (part.rpartition(":") for part in text.split())
    return tuple((bound, word if word in WORDS else "on") for bound, _, word in pairs)
