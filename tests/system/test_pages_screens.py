"""Screens in Chromium: values move the drawing, and a drawing is made with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.system.chromium import PageServer, Said, chromium, log_in, window

pytestmark = pytest.mark.system
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 300">'
    '<rect id="glass" x="10" y="10" width="80" height="200" data-tag="Control.Level1" data-bind="level"/>'
    '<text x="200" y="40" data-tag="Control.Level1" data-bind="text" data-unit="yes"/>'
    '<g data-symbol="button" data-p-tag="Control.Auto" data-p-set="FALSE" data-p-label="Off" '
    'transform="translate(200 100)"/></svg>'
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def server() -> Iterator[PageServer]:
    made = PageServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Page]:
    context = window(browser, "desktop", "light", scripts=True)
    page = context.new_page()
    log_in(page, server.url)
    yield page
    context.close()


def make(page: Page, server: PageServer, name: str, drawing: str = "") -> None:
    page.goto(f"{server.url}/screens")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Runtime whose tags").select_option("water-north")
    if drawing:
        file = {"name": "plant.svg", "mimeType": "image/svg+xml", "buffer": drawing.encode()}
        page.get_by_label("Drawing", exact=False).set_input_files(files=[file])  # type: ignore[list-item]
    page.get_by_role("button", name="Make the screen").click()
    expect(page.get_by_role("heading", name="Properties")).to_be_visible()


def test_screen_when_values_change_then_the_drawing_follows_and_a_button_asks_first(
    page: Page, server: PageServer
) -> None:
    said = Said()
    said.listen(page)
    make(page, server, "Plant", DRAWING)
    page.get_by_role("link", name="Close").click()
    level, words = page.locator('rect[data-bind="level"]'), page.locator('text[data-bind="text"]')
    height, text = level.get_attribute("height"), words.text_content()
    expect(level).not_to_have_attribute("height", height or "", timeout=10_000)
    expect(words).not_to_have_text(text or "", timeout=10_000)
    expect(words).to_contain_text(" %")
    page.get_by_role("link", name="set Control.Auto to FALSE").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", name="Control.Auto")).to_be_visible()
    expect(drawer.locator('[name="value"]').first).to_have_value("FALSE")
    assert said.lines == []


def test_sheet_when_drawn_on_with_mouse_and_keyboard_then_what_is_saved_is_what_was_seen(
    page: Page, server: PageServer
) -> None:
    make(page, server, "Sheet")
    page.locator('[data-add="tank"]').click()
    page.get_by_label("level (tag)").fill("Control.Level1")
    page.get_by_label("label", exact=True).fill("Raw water")
    page.get_by_label("label", exact=True).press("Tab")
    symbol = page.locator("#sheet [data-symbol]")
    before = symbol.get_attribute("transform")
    box = symbol.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 120, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    dragged = symbol.get_attribute("transform")
    assert dragged != before
    page.keyboard.press("ArrowRight")
    assert symbol.get_attribute("transform") != dragged
    page.get_by_role("button", name="Undo").click()
    expect(symbol).to_have_attribute("transform", dragged or "")
    page.locator('[data-add="lamp"]').click()
    page.locator("#sheet").focus()
    page.keyboard.press("Delete")
    expect(symbol).to_have_count(1)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("svg.mimic text", has_text="Raw water")).to_be_visible()
    assert page.locator('svg.mimic [data-symbol="tank"]').get_attribute("transform") == dragged
    expect(page.locator('rect[data-bind="level"]')).to_have_attribute("data-q", "g")
