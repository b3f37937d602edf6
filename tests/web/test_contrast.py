"""The palette as it was measured: text, live values, marks and focus stand out enough in both themes."""

from __future__ import annotations

import re

import pytest

import web

CSS = (web.STATIC_DIR / "app.css").read_text(encoding="utf-8")
TEXT, GRAPHIC = 4.5, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11


def palette(theme: str) -> dict[str, str]:
    light = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", CSS.split(":root {")[1].split("}")[0]))
    if theme == "light":
        return light
    dark = CSS.split(':root[data-theme="dark"] {')[1].split("}")[0]
    return light | dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", dark))


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


PAIRS = [
    *(
        (name, ground, TEXT)
        for name in ("text", "muted", "live")
        for ground in ("panel", "page", "inset", "field")
    ),
    *((f"p{n}-text", f"p{n}", TEXT) for n in (1, 2, 3, 4)),
    ("held-text", "held", TEXT),
    ("button-text", "button", TEXT),
    *((f"code-{name}", "code-page", TEXT) for name in ("comment", "keyword", "type", "literal")),
    *((name, "panel", GRAPHIC) for name in ("focus", "line-strong", "p1", "p3", "p4", "outline", "held")),
    *((f"trend-{n}", "panel", GRAPHIC) for n in range(1, 9)),
]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("front", "ground", "least"), PAIRS)
def test_colours_when_laid_on_each_other_then_they_stand_out(
    front: str, ground: str, least: float, theme: str
) -> None:
    colours = palette(theme)
    assert contrast(colours[front], colours[ground]) >= least


def test_dark_theme_when_chosen_or_preferred_then_it_is_the_same() -> None:
    preferred = CSS.split(':root:not([data-theme="light"]) {')[1].split("}")[0]
    chosen = CSS.split(':root[data-theme="dark"] {')[1].split("}")[0]
    assert re.findall(r"--[\w-]+:[^;]+;", preferred) == re.findall(r"--[\w-]+:[^;]+;", chosen)
