"""Notifications in Chromium: settings are made without scripts, the pages fit a phone and say nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.system.chromium import (
    PageServer,
    Said,
    chromium,
    log_in,
    scrolls_sideways,
    shoot,
    violations,
    window,
)

pytestmark = pytest.mark.system
AT = "/notifications/settings"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    made = PageServer()
    made.start()
    yield made
    made.stop()


def test_settings_when_made_without_scripts_then_they_are_checked_kept_and_shown(
    browser: Browser, server: PageServer
) -> None:
    context = window(browser, "desktop", "light", scripts=False)
    page = context.new_page()
    log_in(page, server.url)
    page.goto(f"{server.url}{AT}/person")
    page.get_by_label("Name", exact=True).fill("dora")
    page.get_by_label("Addresses").fill("nowhere dora")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("a channel that there is")
    expect(page.get_by_label("Addresses")).to_have_value("nowhere dora")
    page.get_by_label("Name", exact=True).fill("dora")
    page.get_by_label("Addresses").fill("mail dora@water.test")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="dora")).to_be_visible()
    page.goto(f"{server.url}{AT}/channel/mail")
    expect(page.get_by_label("Password of the mail account")).to_have_value("")
    page.get_by_label("Address", exact=True).fill("dora@water.test")
    page.get_by_role("button", name="Send a test message").click()
    expect(page.get_by_role("alert")).to_contain_text("SV7003")
    context.close()


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_pages_when_shown_then_they_fit_and_axe_finds_nothing(
    browser: Browser, server: PageServer, device: str
) -> None:
    context = window(browser, device, "light")
    page, said = context.new_page(), Said()
    said.listen(page)
    log_in(page, server.url)
    for name, path in (
        ("notifications", "/notifications"),
        ("notify-settings", AT),
        ("notify-rule", f"{AT}/rule/urgent"),
    ):
        page.goto(server.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert not scrolls_sideways(page)
        assert violations(page) == []
        shoot(page, name, device, "light")
    assert said.lines == []
    context.close()


def test_page_when_a_mute_is_made_elsewhere_then_it_appears_without_loading_again(
    browser: Browser, server: PageServer
) -> None:
    context = window(browser, "desktop", "light")
    page, other = context.new_page(), context.new_page()
    log_in(page, server.url)
    page.goto(f"{server.url}/notifications")
    other.goto(f"{server.url}/notifications")
    other.get_by_label("Reason").last.fill("works on the line")
    other.get_by_role("button", name="Mute", exact=True).click()
    expect(page.locator("#notify-board")).to_contain_text("All rules muted")
    context.close()
