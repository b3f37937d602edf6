"""The pages in a real browser, over a made-up plant: look, keyboard, live values, and every way a stream can break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.supervisor.pages.fakes import HOSTILE
from tests.system.chromium import (
    PageServer,
    Said,
    chromium,
    log_in,
    scrolls_sideways,
    shoot,
    until,
    violations,
    window,
)

pytestmark = pytest.mark.system
Opener = Callable[..., BrowserContext]

PAGES = {
    "fleet": "/",
    "runtime": "/runtimes/n1",
    "runtime-degraded": "/runtimes/n2",
    "runtime-no-link": "/runtimes/n3",
    "runtime-fault": "/runtimes/n4",
    "runtime-never-seen": "/runtimes/n5",
    "tag": "/runtimes/n1/tag?path=Control.Level1Low",
    "tag-hostile": f"/runtimes/n1/tag?path={quote(HOSTILE)}",
    "trend": "/trend?tag=n1:Control.Level1&tag=n1:Control.Level2&tag=n1:PumpRun",
    "trend-empty": "/trend",
    "watch": "/watch?tag=n1:Control.Level1&tag=n1:Control.Level1Low&tag=n1:Control.Auto&tag=n3:PumpRun",
    "watch-empty": "/watch",
    "screens": "/screens",
    "screen": "/screens/1",
    "screen-edit": "/screens/1/edit",
    "programs": "/programs",
    "editor": "/programs/1",
    "versions": "/programs/1/versions",
    "diff": "/programs/1/diff?old=1&new=2",
    "deploy-choose": "/programs/1/deploy",
    "deploy-confirm": "/programs/1/deploy?step=2&version=2&target=n1&target=n2",
    "deployments": "/deployments",
    "forces": "/forces",
    "alarms": "/alarms",
    "alarms-hidden": "/alarms/hidden",
    "alarms-journal": "/alarms/journal",
    "alarms-figures": "/alarms/figures",
    "alarms-table": "/alarms/table",
    "alarms-define": "/alarms/define?node=n1",
    "events": "/events",
    "audit": "/audit",
    "users": "/users",
    "enrolment": "/enrolment",
    "settings": "/settings",
    "account": "/account",
    "no-such-page": "/runtimes/nowhere",
}


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


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Opens windows, and closes them however the test ends: an open page would hold its stream."""
    windows: list[BrowserContext] = []

    def open_window(device: str = "desktop", theme: str = "light", *, scripts: bool = True) -> BrowserContext:
        windows.append(window(browser, device, theme, scripts=scripts))
        return windows[-1]

    yield open_window
    for one in windows:
        one.close()


@pytest.fixture
def page(opened: Opener, server: PageServer) -> Page:
    page = opened().new_page()
    log_in(page, server.url)
    return page


def live(page: Page) -> None:
    expect(page.locator("html")).to_have_attribute("data-live", "live", timeout=10_000)


# ---------------------------------------------------------------- look


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_pages_when_walked_then_they_are_accessible_fit_and_the_console_is_silent(
    opened: Opener, server: PageServer, device: str, theme: str
) -> None:
    context = opened(device, theme)
    page, said = context.new_page(), Said()
    page.goto(f"{server.url}/login")
    shoot(page, "login", device, theme)
    examined = (device, theme) in (
        ("desktop", "light"),
        ("phone", "dark"),
    )  # the others differ in nothing that axe sees
    found = {"login": violations(page)}
    log_in(page, server.url)
    said.listen(page)
    for name, address in PAGES.items():
        page.goto(server.url + address)
        if page.locator("#stream").count():
            live(page)
        if name == "no-such-page":
            said.lines.clear()  # the browser reports the 404 that was asked for
        shoot(page, name, device, theme)
        found[name] = violations(page) if examined else []
        assert not scrolls_sideways(page), f"{name} is wider than the screen"
        assert said.lines == [], name
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_theme_when_changed_then_the_page_follows_at_once_and_remembers(
    page: Page, server: PageServer
) -> None:
    page.click("details.who summary")
    with page.expect_response("**/theme"):
        page.click("button[value=dark]")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(f"{server.url}/programs")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_menu_when_on_a_phone_then_it_opens_leads_on_and_closes(opened: Opener, server: PageServer) -> None:
    context = opened("phone")
    page = context.new_page()
    log_in(page, server.url)
    assert not page.locator("#nav").is_visible()
    page.click("[data-menu]")
    shoot(page, "menu", "phone", "light")
    page.keyboard.press("Escape")
    assert not page.locator("#nav").is_visible()
    page.click("[data-menu]")
    page.click("#nav >> text=Trends")
    page.wait_for_url("**/trend")


# ---------------------------------------------------------------- live values and broken streams


def test_values_when_live_then_they_change_in_place_and_nothing_moves(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    cell = page.locator('[data-live-key="t:Control.Flow"]')
    row = page.locator("tr", has=cell)
    first, box = cell.inner_text(), row.bounding_box()
    expect(cell).not_to_have_text(first)
    assert row.bounding_box() == box


def test_page_when_the_server_dies_then_it_can_not_be_mistaken_for_live(
    opened: Opener,
) -> None:
    own = PageServer()
    own.start()
    context = opened()
    page = context.new_page()
    try:
        log_in(page, own.url)
        page.goto(f"{own.url}/runtimes/n1")
        live(page)
        own.stop()
        expect(page.locator("html")).to_have_attribute("data-live", "lost", timeout=12_000)
        expect(page.locator("#frozen")).to_contain_text("Not live since")
        expect(page.locator("#pulse")).to_contain_text("not live")
        shoot(page, "frozen", "desktop", "light")
        hatch = page.evaluate("getComputedStyle(document.querySelector('#tags'), '::after').backgroundImage")
        assert "repeating-linear-gradient" in hatch
        own.start()  # its sessions are gone: the page says so instead of showing a log-in in a table
        expect(page.locator("#frozen")).to_contain_text("Log in again", timeout=15_000)
    finally:
        own.stop()


def test_stream_when_cut_then_it_comes_back_by_itself(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    page.route("**/live?*", lambda route: route.abort())
    server.plant("drop")
    expect(page.locator("html")).to_have_attribute("data-live", "lost", timeout=15_000)
    page.unroute("**/live?*")
    expect(page.locator("html")).to_have_attribute("data-live", "live", timeout=15_000)
    assert page.locator("#frozen").inner_text() == ""


def test_stream_when_the_first_try_fails_then_it_is_tried_again(page: Page, server: PageServer) -> None:
    tries: list[str] = []

    def first_fails(route: object) -> None:
        tries.append("")
        route.abort() if len(tries) == 1 else route.continue_()  # type: ignore[attr-defined]

    page.route("**/live?*", first_fails)
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    assert len(tries) == 2


def test_stream_when_the_first_answer_is_slow_then_there_is_still_only_one(
    opened: Opener,
) -> None:
    own = PageServer()
    own.start()
    context = opened()
    page = context.new_page()
    try:
        log_in(page, own.url)
        until(lambda: own.plant()["subscriptions"] <= 1, 10, "one stream a page")
        page.add_init_script(
            "const real = fetch; window.fetch = (url, ...rest) => String(url).startsWith('/live')"
            " ? new Promise(done => setTimeout(done, 7000)).then(() => real(url, ...rest)) : real(url, ...rest);"
        )
        page.goto(f"{own.url}/runtimes/n1")
        live_at_last = page.locator('html[data-live="live"]')
        live_at_last.wait_for(state="attached", timeout=20_000)
        page.wait_for_timeout(6000)  # past the next retry of the trigger
        assert own.plant()["subscriptions"] == 1
    finally:
        own.stop()


def test_stream_when_pages_are_left_then_the_server_holds_none_of_them(
    page: Page, server: PageServer
) -> None:
    for address in ("/", "/runtimes/n1", "/trend?tag=n1:Control.Level1", "/runtimes/n2"):
        page.goto(server.url + address)
        live(page)
    page.goto("about:blank")
    until(lambda: server.plant()["subscriptions"] == 0, 15, "a stream outlived its page")


def test_stream_when_the_tab_is_hidden_then_it_goes_on_for_the_alarms(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    hide = "h => { Object.defineProperty(document, 'hidden', {get: () => h, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    cell = page.locator('[data-live-key="t:Control.Flow"]')
    expect(cell).not_to_have_text(cell.inner_text())
    assert server.plant()["subscriptions"] == 1
    page.evaluate(hide, False)
    expect(cell).not_to_have_text(cell.inner_text())
    assert server.plant()["subscriptions"] == 1, "the page came back with a second stream"
    live(page)


def test_stream_when_tags_are_searched_then_it_follows_the_rows_that_are_shown(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    with page.expect_request("**/live?view=runtime*q=Flow*"):
        page.fill("#tag-search", "Flow")
    expect(page.locator("#tags tbody tr")).to_have_count(2)
    cell = page.locator('[data-live-key="t:Control.Flow"]')
    expect(cell).not_to_have_text(cell.inner_text())
    until(lambda: server.plant()["subscriptions"] == 1, 10, "the stream before the search stayed open")
    assert page.evaluate("document.activeElement.id") == "tag-search"


def test_table_when_the_server_answers_503_then_it_stays_and_the_person_is_told(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    page.route(
        "**/runtimes/n1/tags?*", lambda route: route.fulfill(status=503, body="<h1>Service Unavailable</h1>")
    )
    page.fill("#tag-search", "Level")
    expect(page.locator("#toast")).to_contain_text("503")
    assert page.locator("#tags tbody tr").count() > 10
    assert page.locator("text=Service Unavailable").count() == 0


def test_form_when_the_session_ended_then_nothing_is_lost_and_the_page_says_why(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/programs/1")
    live(page)
    editor = page.locator("st-editor .cm-content")
    editor.click()
    page.keyboard.type("(* mine *)")
    server.plant("cut")
    page.click("#save")
    expect(page.locator("#toast")).to_contain_text("Not saved")
    assert "(* mine *)" in page.locator("st-editor").evaluate("element => element.value")


# ---------------------------------------------------------------- acting


def test_write_when_made_in_the_drawer_then_it_is_asked_sent_and_read_back(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    page.click("text=Level1Low")
    drawer = page.locator("#drawer")
    expect(drawer).to_be_visible()
    page.fill("#write-value", "abc")
    page.click("text=Check and confirm… >> nth=0")
    expect(drawer).to_contain_text("is not a number")
    page.fill("#write-value", "42,5")
    page.click("text=Check and confirm… >> nth=0")
    expect(drawer).to_contain_text("42.5")
    shoot(page, "write-confirm", "desktop", "light")
    page.click("text=Write it")
    expect(drawer).to_contain_text("in effect")
    expect(drawer).to_contain_text("Read back")
    shoot(page, "write-done", "desktop", "light")


def test_watch_when_values_are_prepared_then_they_are_written_together(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/watch?tag=n1:Control.Level1Low&tag=n1:Control.Level1High")
    live(page)
    page.fill("#prepared-0", "38")
    page.fill("#prepared-1", "72")
    page.click("text=Check prepared values…")
    expect(page.locator("main")).to_contain_text("Write 2 values?")
    shoot(page, "watch-confirm", "desktop", "light")
    page.click("text=Write them")
    expect(page.locator("main")).to_contain_text("in effect")
    page.click("text=Back to the list")
    expect(page.locator('[data-live-key="n1:Control.Level1High"]')).to_have_text("72.0")


def test_force_when_set_then_the_page_carries_a_banner_until_it_is_released(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/runtimes/n2")
    live(page)
    page.click("text=PumpSpeed")
    page.click("text=Force: hold a value")
    page.fill("#force-value", "50")
    page.fill("#force-reason", "commissioning")
    page.locator("#drawer").get_by_text("Check and confirm…").click()
    page.click("text=Force it")
    expect(page.locator("#drawer")).to_contain_text("in effect")
    page.keyboard.press("Escape")
    expect(page.locator("#held")).to_contain_text("1 value is forced")
    shoot(page, "forced", "desktop", "light")
    page.click("text=Show forces")
    expect(page.locator("main")).to_contain_text("commissioning")
    page.get_by_role("button", name="Release").click()
    expect(page.locator("#drawer")).to_contain_text("Release force")


def test_keyboard_when_nothing_else_is_used_then_a_tag_can_be_found_opened_and_left(
    opened: Opener, server: PageServer
) -> None:
    context = opened()
    page = context.new_page()
    page.goto(f"{server.url}/login")
    page.wait_for_function("document.activeElement.id === 'name'")
    page.keyboard.type("otto")
    page.keyboard.press("Tab")
    page.keyboard.type("a long enough password")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.goto(f"{server.url}/runtimes/n1")
    live(page)
    page.keyboard.press("Control+k")
    page.keyboard.type("Level1High")
    expect(page.locator("#tags tbody tr")).to_have_count(1)
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('tag-link')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "write-value"
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    assert page.evaluate("document.activeElement.classList.contains('tag-link')")


def test_pages_when_there_are_no_scripts_then_one_can_read_and_write(
    opened: Opener, server: PageServer
) -> None:
    context = opened(scripts=False)
    page = context.new_page()
    log_in(page, server.url, "otto")
    assert "water-north" in page.inner_text("main")
    page.goto(f"{server.url}/runtimes/n1?q=Level1Low")
    page.click("text=Level1Low")
    page.fill("#write-value", "44")
    page.click("text=Check and confirm… >> nth=0")
    page.click("text=Write it")
    assert "/commands/" in page.url
    page.goto(f"{server.url}/trend?tag=n1:Control.Level1")
    page.click("text=Show as table")
    assert page.locator("tbody tr").count() > 40


def test_editor_when_one_types_nonsense_then_the_line_says_so_and_the_keyboard_gets_out(
    page: Page, server: PageServer
) -> None:
    page.goto(f"{server.url}/programs/1?file=main.st")
    live(page)
    editor = page.locator("st-editor .cm-content")
    editor.click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("Levl1 := 1;\n")
    expect(page.locator("#problems")).to_contain_text("Did you mean")
    expect(page.locator("st-editor .cm-lint-marker-error")).to_have_count(1)
    shoot(page, "editor-problem", "desktop", "light")
    page.locator("#problems .entry").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") != "ST-EDITOR"
    page.locator("st-editor .cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type("(* all new *)")
    page.keyboard.press("Control+s")
    expect(page.locator("#edit-state")).to_have_text("saved")


def test_deployment_when_watched_then_the_board_follows_to_the_end(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/programs/1/deploy?step=2&version=2&target=n1&target=n2")
    page.fill("#reason", "yes")
    page.click("text=Deploy to 2 runtimes")
    page.wait_for_url("**/deployments/*")
    expect(page.locator("#board-title")).to_have_text("done", timeout=15_000)
    expect(page.locator("#board")).to_contain_text("2 of 2 running it")
    shoot(page, "board-done", "desktop", "light")
    page.goto(f"{server.url}/runtimes/n1/program")
    live(page)
    expect(page.locator("st-editor .cm-live").first).to_contain_text("Level1")
    shoot(page, "program-view", "desktop", "light")


def test_deployment_when_refused_then_the_reason_stands_on_the_board(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/programs/1/deploy?step=2&version=2&target=n3")
    page.fill("#reason", "no")
    page.click("text=Deploy to 1 runtime")
    expect(page.locator("#board-title")).to_have_text("failed", timeout=15_000)
    expect(page.locator("#board")).to_contain_text("'Levl1' is not declared")
    shoot(page, "board-refused", "desktop", "light")


def test_trend_when_zoomed_then_the_address_holds_it(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/trend?tag=n1:Control.Level1&range=1h")
    page.locator("#trend canvas").wait_for()
    page.hover("#trend .u-over")
    expect(page.locator("[data-at]").first).not_to_be_empty()
    with page.expect_response("**/trend/data?*from=*"):
        page.click("[data-move=in]")
    assert "from=" in page.url
    page.locator("#trend:not([aria-busy]) .u-over").wait_for()
    box = page.locator("#trend .u-over").bounding_box()
    assert box is not None
    with page.expect_response("**/trend/data?*from=*"):
        page.mouse.move(box["x"] + 100, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 300, box["y"] + 60)
        page.mouse.up()
    page.goto(page.url)
    expect(page.locator("[data-live-toggle]")).to_have_text("Follow live")


def test_hostile_tag_when_shown_live_then_it_is_text_and_nothing_runs(page: Page, server: PageServer) -> None:
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    page.goto(f"{server.url}/runtimes/n1?q=Evil")
    live(page)
    page.wait_for_timeout(800)
    page.locator(".tag-link").first.click()
    expect(page.locator("#drawer h2")).to_have_text(HOSTILE)
    assert alerts == []
    assert page.locator("main script, main img, #drawer script, #drawer img").count() == 0
