"""Alarms in the browser: sound that stays until silenced, acknowledging, and a list that holds still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.system.chromium import PageServer, chromium, log_in, shoot, window

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


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
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = window(browser)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, server: PageServer) -> Page:
    page = context.new_page()
    log_in(page, server.url)
    page.goto(f"{server.url}/alarms")
    expect(page.locator("html")).to_have_attribute("data-live", "live", timeout=10_000)
    return page


def test_sound_when_an_alarm_waits_then_it_stays_until_silenced_in_a_hidden_tab_too(
    page: Page, context: BrowserContext
) -> None:
    html = page.locator("html")
    expect(page.locator("[data-sound-state]")).to_contain_text("blocked")
    page.click("h1")
    expect(html).to_have_attribute("data-alarm-sound", "on")
    expect(page.locator("[data-sound-state]")).to_have_text("sounding")
    other = context.new_page()
    other.bring_to_front()  # the page is hidden now, and sounds on
    expect(html).to_have_attribute("data-alarm-sound", "on")
    assert (
        page.evaluate(
            "() => new Promise((done) => setTimeout(() => done(document.documentElement.dataset.live), 2500))"
        )
        == "live"
    )
    page.bring_to_front()
    page.click("[data-silence]")
    expect(html).to_have_attribute("data-alarm-sound", "off")
    expect(page.locator("[data-sound-state]")).to_have_text("silenced")
    page.reload()
    expect(page.locator("[data-sound-state]")).to_have_text("silenced")
    expect(page.locator("#alarm-list tr.waiting")).not_to_have_count(0)  # silence changes no state


def test_alarm_when_acknowledged_then_it_stays_in_the_list_and_the_strip_counts_less(page: Page) -> None:
    shoot(page, "alarms", "desktop", "light")
    row = page.locator("#alarm-list tr", has_text="Level high")
    expect(row).to_contain_text("unacknowledged")
    row.locator("input[type=checkbox]").check()
    page.fill("[name=comment]", "seen")
    page.click("text=Acknowledge chosen")
    page.wait_for_load_state()
    row = page.locator("#alarm-list tr", has_text="Level high")
    expect(row).to_contain_text("acknowledged")
    expect(row).not_to_contain_text("unacknowledged")


def test_list_when_somebody_chooses_from_it_then_it_holds_still_and_follows_later(page: Page) -> None:
    row = page.locator("#alarm-list tr", has_text="Level high")
    row.locator("input[type=checkbox]").check()
    page.evaluate(
        """() => {
        const message = { data: '<hx-partial hx-target="#alarm-list" hx-swap="outerMorph">x</hx-partial>', event: '' };
        document.dispatchEvent(new CustomEvent('htmx:sse:before:message', { detail: { message } }));
        window.left = message.data;
    }"""
    )
    assert page.evaluate("() => window.left") == "<!-- held -->"
    expect(page.locator("#held-note")).to_contain_text("holds still")
    row.locator("input[type=checkbox]").uncheck()
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement.blur()")
    expect(page.locator("#held-note")).to_have_count(0, timeout=5_000)


def test_orders_when_without_scripts_then_forms_work(browser: Browser, server: PageServer) -> None:
    plain = window(browser, scripts=False)
    page = plain.new_page()
    log_in(page, server.url)
    page.goto(f"{server.url}/alarms")
    page.click("text=/Acknowledge all \\d+ shown/")
    expect(page.locator("#alarm-list")).to_contain_text("Flow low")
    expect(page.locator("body")).to_contain_text("Ordered.")
    plain.close()
