"""Drawings: what is kept of an SVG file, and what it shows of a value."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scan import quality
from scan.problem import TickworkError
from supervisor import drawing
from supervisor.model import TagValue
from supervisor.pages import screen_drawing
from supervisor.pages.screen_drawing import Bound
from web.symbols import symbols

INKSCAPE = """<?xml version="1.0" encoding="UTF-8"?>
<svg width="210mm" height="297mm" viewBox="0 0 210 297" xmlns="http://www.w3.org/2000/svg"
  xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"
  xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd" xmlns:xlink="http://www.w3.org/1999/xlink">
  <sodipodi:namedview id="view" inkscape:zoom="1"/>
  <defs><linearGradient id="shade"><stop offset="0" style="stop-color:#888;stop-opacity:1"/></linearGradient></defs>
  <g inkscape:label="Layer 1" inkscape:groupmode="layer" id="layer1" onclick="alert(1)">
    <rect id="tank" x="10" y="20" width="30" height="40" style="fill:url(#shade);stroke:#000;behavior:url(x.htc)"/>
    <use xlink:href="#tank" x="5"/>
    <use xlink:href="http://elsewhere.example/x.svg#y"/>
    <image xlink:href="file:///etc/passwd" width="5" height="5"/>
    <text x="1" y="2"><tspan x="1">Level <![CDATA[<b>]]></tspan> now</text>
    <script>alert(1)</script><foreignObject><p>hello</p></foreignObject>
  </g>
</svg>"""
HEAD = f'<svg xmlns="{drawing.SVG}" viewBox="0 0 10 10">'


def tag(text: str, *, value: object = None, mark: int = quality.GOOD, type_: str = "REAL") -> TagValue:
    return TagValue(
        node_id="n1", path="Main.Level", type=type_, text=text, value=value, quality=mark, quality_text="",
        time_ns=1, low=0.0, high=200.0, unit="cm", writable=True, stale=False,
    )  # fmt: skip


def shown(body: str, value: TagValue | None) -> ElementTree.Element:
    root = drawing.parse(drawing.clean(HEAD + body + "</svg>").svg)
    key = Bound("n1:Main.Level", "n1", "Main.Level", value)
    return ElementTree.fromstring(screen_drawing.render(root, lambda _: key, "Plant"))


def test_clean_when_a_drawing_program_made_it_then_shapes_stay_and_everything_else_goes() -> None:
    made = drawing.clean(INKSCAPE)
    for gone in (
        "onclick",
        "script",
        "foreignObject",
        "image",
        "elsewhere",
        "htc",
        "inkscape",
        "style=",
        "210mm",
    ):
        assert gone not in made.svg, gone
    assert 'fill="url(#shade)"' in made.svg
    assert 'stop-color="#888"' in made.svg
    assert 'href="#tank"' in made.svg
    assert "Level &lt;b&gt;" in made.svg
    assert 'viewBox="0 0 210 297"' in made.svg
    assert {"element script", "element image", "element foreignObject", "attribute href"} <= set(made.dropped)


def test_clean_when_cleaned_again_then_nothing_changes() -> None:
    once = drawing.clean(INKSCAPE).svg
    again = drawing.clean(once)
    assert again.svg == once
    assert again.dropped == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no element"),
        ("<svg", "unclosed"),
        ("<html/>", "html"),
        ("<svg/>", "svg"),
        ("<!DOCTYPE svg [<!ENTITY a 'b'>]>" + HEAD + "&a;</svg>", "ENTITY"),
        (HEAD + "<g>" * 70 + "</g>" * 70 + "</svg>", "more"),
        (HEAD + "<g/>" * 20_001 + "</svg>", "more"),
        (HEAD + " " * 1_000_001 + "</svg>", "1000"),
    ],
)
def test_clean_when_it_is_no_drawing_then_it_is_refused(text: str, found: str) -> None:
    with pytest.raises(TickworkError) as refused:
        drawing.clean(text)
    assert refused.value.code == "SV6001"
    assert found in refused.value.problems[0].found


@given(
    st.text(max_size=60),
    st.sampled_from(sorted(drawing.BINDING | {"data-p-x", "fill", "id", "transform", "d"})),
)
def test_clean_when_an_attribute_holds_anything_then_it_is_text_and_never_markup(
    value: str, name: str
) -> None:
    element = ElementTree.Element(f"{{{drawing.SVG}}}svg", {"viewBox": "0 0 1 1"})
    ElementTree.SubElement(element, f"{{{drawing.SVG}}}rect", {name: value})
    try:
        made = drawing.clean(ElementTree.tostring(element, encoding="unicode"))
    except TickworkError:
        return  # characters that XML does not have
    inner = drawing.parse(made.svg)
    assert [one.tag for one in inner.iter()] == ["svg", "rect"]
    assert not re.search(r"url\((?!\s*[\"']?#)", "".join(inner[0].attrib.values())) or name.startswith(
        "data-"
    )


@given(st.text())
def test_clean_when_any_text_comes_then_it_is_a_drawing_or_refused(text: str) -> None:
    with pytest.raises(TickworkError):
        drawing.clean(text)


def test_render_when_a_value_is_good_then_text_bar_and_state_show_it() -> None:
    value = tag("50.0", value=50.0)
    root = shown(
        '<text data-tag="Main.Level" data-bind="text" data-unit="yes"/>'
        '<rect x="0" y="10" width="8" height="100" data-tag="Main.Level" data-bind="level"/>'
        '<circle data-tag="Main.Level" data-bind="state" data-states="0:off 40:high 80:fault"/>',
        value,
    )
    text, bar, lamp = (anchor[-1] for anchor in root)
    assert root[0][0].text == "Main.Level "
    assert text.text == "50.0 cm"
    assert (bar.get("height"), bar.get("y")) == ("25.00", "85.00")  # 50 of 0 to 200
    assert lamp.get("data-state") == "high"
    assert {one.get("data-q") for one in (text, bar, lamp)} == {"g"}
    assert [anchor.get("href") for anchor in root] == ["/runtimes/n1/tag?path=Main.Level"] * 3


def test_render_when_a_value_is_bad_or_missing_then_nothing_looks_good() -> None:
    body = '<text data-tag="Main.Level" data-bind="text"/><rect height="9" data-tag="Main.Level" data-bind="level"/>'
    for value in (tag("1.0", value=1.0, mark=quality.BAD_NO_COMMUNICATION), None):
        root = shown(body, value)
        found = [one for one in root.iter() if one.get("data-mimic")]
        assert [one.get("data-q") for one in found] == ["b", "b"]
        assert found[0].text == "–"
        assert found[1].get("height") == "0.00"


def test_render_when_ids_are_those_of_the_page_then_they_are_renamed_with_what_refers_to_them() -> None:
    root = shown(
        '<defs><linearGradient id="drawer"/></defs><rect fill="url(#drawer)"/><use href="#drawer"/>', None
    )
    assert [one.get("id") for one in root.iter() if one.get("id")] == ["d-drawer"]
    assert root[1].get("fill") == "url(#d-drawer)"
    assert root[2].get("href") == "#d-drawer"


def test_render_when_an_element_sets_a_value_then_its_link_leads_to_the_form_with_it() -> None:
    root = shown(
        '<g data-tag="Main.Level" data-set="TRUE"><rect/><text>On</text></g>',
        tag("FALSE", value=False, type_="BOOL"),
    )
    assert root[0].get("href") == "/runtimes/n1/tag?path=Main.Level&value=TRUE"
    assert root[0].get("aria-label") == "On: set Main.Level to TRUE"


@pytest.mark.parametrize(
    ("states", "text", "word"),
    [
        ("", "TRUE", "on"), ("", "FALSE", "off"), ("", "0", "off"), ("", "abc", ""),
        ("0:off 1:on 5:fault", "3", "on"), ("0:off 1:on 5:fault", "-1", ""), ("0:off", "NaN", ""),
        ("Stopped:off Running:on", "Running", "on"), ("TRUE:unheard", "TRUE", "on"),
    ],
)  # fmt: skip
def test_state_when_a_value_is_given_then_the_word_of_its_row(states: str, text: str, word: str) -> None:
    assert screen_drawing.state(states, text) == word


@pytest.mark.parametrize("name", sorted(symbols()))
def test_symbol_when_placed_then_its_tags_are_bound_and_those_not_given_are_left_out(name: str) -> None:
    symbol = symbols()[name]
    own = {
        "attribute data-title",
        "attribute data-parameters",
        "attribute data-states",
    }  # the last: its parameter
    assert set(drawing.clean(symbol.svg).dropped) <= own
    given_all = "".join(f' data-p-{key}="Main.Level"' for key, _, _ in symbol.parameters)
    tags = [key for key, kind, _ in symbol.parameters if kind == "tag"]
    bound = drawing.tags_of(
        screen_drawing.expand(drawing.parse(f'{HEAD}<g data-symbol="{name}"{given_all}/></svg>'))
    )
    assert bool(bound) == bool(tags)
    empty = screen_drawing.expand(drawing.parse(f'{HEAD}<g data-symbol="{name}"/></svg>'))
    assert drawing.tags_of(empty) == ()


def test_lamp_when_its_states_are_given_then_it_follows_them() -> None:
    body = '<g data-symbol="lamp" data-p-on="Main.Level" data-p-states="0:off 40:warning"/>'
    lamp = next(one for one in shown(body, tag("41.5")).iter() if one.get("data-mimic"))
    assert lamp.get("data-state") == "warning"


def test_tags_when_a_screen_names_some_twice_then_each_comes_once() -> None:
    root = drawing.parse(HEAD + '<rect data-tag="a:B"/><rect data-tag="a:B"/><rect data-tag="C"/></svg>')
    assert drawing.tags_of(root) == ("a:B", "C")
