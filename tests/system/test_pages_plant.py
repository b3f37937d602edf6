"""The main job in the browser, on the real thing: simulated plant, runtime and supervisor as their own processes."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.system.chromium import PASSWORD, ROOT, Said, chromium, free_port, log_in, shoot, violations, window

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]
START_S = 240  # everything is compiled on the first start
STOP_S = 30
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[dict[str, Any]]:
    """``tickwork demo`` as a person starts it, with an administrator made by the printed link."""
    folder = tmp_path_factory.mktemp("demo")
    ports = [f"--{name}={free_port()}" for name in ("port", "plant-port", "opcua-port")]
    log = (folder / "demo.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", "demo", "--json", f"--dir={folder / 'state'}", *ports],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    try:
        ready = _first_line(process, folder / "demo.log")
        _first_administrator(browser, ready)
        yield ready
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOP_S)
        log.close()


def _first_line(process: subprocess.Popen[bytes], log: pathlib.Path) -> dict[str, Any]:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline, text = time.monotonic() + START_S, b""
    while not text.endswith(b"\n"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, "the demo did not start"
        text += process.stdout.read() or b""
        time.sleep(0.2)
    found: dict[str, Any] = json.loads(text)
    if "url" not in found:
        logs = (log.parent / "state" / "logs").glob("*")
        told = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}" for path in logs)
        pytest.fail(f"the demo did not start: {found}\n{told}")
    return found


def _first_administrator(browser: Browser, ready: dict[str, Any]) -> None:
    context = window(browser)
    page = context.new_page()
    page.goto(ready["setup_url"])
    shoot(page, "plant-setup", "desktop", "light")
    assert violations(page) == []
    page.fill("#full_name", "Ada L.")
    page.fill("#name", "ada")
    page.fill("#password", PASSWORD)
    page.click("text=Create administrator")
    page.wait_for_url(f"{ready['url']}/")
    page.click("details.who summary")
    page.click("text=Log out")
    page.wait_for_url("**/login")
    page.goto(ready["setup_url"])  # it worked once, and never again
    page.wait_for_url("**/login")
    context.close()


@pytest.fixture
def page(browser: Browser, demo: dict[str, Any]) -> Iterator[Page]:
    context = window(browser)
    opened, said = context.new_page(), Said()
    log_in(opened, demo["url"])
    said.listen(opened)
    yield opened
    context.close()
    assert said.lines == []


def open_runtime(page: Page, demo: dict[str, Any]) -> str:
    """Go to the runtime as a person does; its address."""
    page.goto(demo["url"])
    page.locator("#fleet th a").first.click()
    expect(page.locator("html")).to_have_attribute("data-live", "live")
    return page.url


def test_fleet_when_the_plant_runs_then_the_runtime_is_linked_and_counts_its_scans(
    page: Page, demo: dict[str, Any]
) -> None:
    page.goto(demo["url"])
    row = page.locator("#fleet tbody tr").first
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("linked")
    scan = row.locator("[data-live-key^=scan]")
    expect(scan).not_to_have_text(scan.inner_text())
    shoot(page, "plant-fleet", "desktop", "light")


def test_runtime_when_watched_then_values_tasks_and_devices_are_live(
    page: Page, demo: dict[str, Any]
) -> None:
    open_runtime(page, demo)
    level = page.locator('[data-live-key="t:Control.Level1"]')
    expect(level).not_to_have_text(level.inner_text(), timeout=SLOW_MS)
    assert level.get_attribute("data-q") == "g"
    expect(page.locator("#devices")).to_contain_text("online")
    expect(page.locator("#tasks")).to_contain_text("every 20 ms")
    assert page.locator("#tasks svg rect").count() > 10
    assert violations(page) == []
    shoot(page, "plant-runtime", "desktop", "light")


@pytest.mark.parametrize(("device", "theme"), [("phone", "light"), ("phone", "dark"), ("desktop", "dark")])
def test_runtime_when_seen_elsewhere_then_it_is_pictured(
    browser: Browser, demo: dict[str, Any], device: str, theme: str
) -> None:
    context = window(browser, device, theme)
    page = context.new_page()
    log_in(page, demo["url"])
    shoot(page, "plant-fleet", device, theme)
    open_runtime(page, demo)
    shoot(page, "plant-runtime", device, theme)
    assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    context.close()


def test_write_when_confirmed_then_the_program_has_the_value(page: Page, demo: dict[str, Any]) -> None:
    address = open_runtime(page, demo)
    page.goto(f"{address}?q=FlowSetpoint")
    page.locator(".tag-link").first.click()
    page.fill("#write-value", "5.5")
    page.locator("#drawer").get_by_text("Check and confirm…").first.click()
    page.click("text=Write it")
    expect(page.locator("#drawer")).to_contain_text("in effect", timeout=SLOW_MS)
    page.keyboard.press("Escape")
    expect(page.locator('[data-live-key="t:Control.FlowSetpoint"]')).to_have_text("5.50")
    page.goto(f"{demo['url']}/audit")
    expect(page.locator("main")).to_contain_text("FlowSetpoint")


def test_trend_when_tags_are_chosen_then_their_history_is_drawn(page: Page, demo: dict[str, Any]) -> None:
    page.goto(f"{demo['url']}/trend")
    for name in ("Control.Level1", "PumpRun"):
        page.fill("#series-find", name)
        page.get_by_role("link", name=f"Add {name} of", exact=False).first.click()
    page.goto(page.url.replace("range=1h", "range=5m"))
    expect(page.locator("#trend canvas")).to_be_visible()
    expect(page.locator("#trend-info")).to_contain_text("samples in the range")
    expect(page.locator("[data-most]").first).not_to_have_text("–")
    page.wait_for_timeout(1500)
    shoot(page, "plant-trend", "desktop", "light")
    page.click("text=Show as table")
    assert page.locator("details tbody td").first.is_visible()


def test_program_when_frozen_then_a_recorded_scan_is_stepped_through_and_says_why(
    page: Page, demo: dict[str, Any]
) -> None:
    page.goto(demo["url"])
    page.get_by_role("link", name="water", exact=True).first.click()
    page.get_by_role("link", name="Program", exact=True).click()
    page.get_by_role("link", name="pump.st").click()
    page.get_by_role("link", name="Freeze at a scan").click(timeout=SLOW_MS)
    scan = page.locator("#frozen-scan")
    expect(scan).to_be_visible(timeout=SLOW_MS)
    last = int(scan.text_content() or "0")
    page.get_by_role("link", name="◀ Back").click()
    expect(scan).not_to_have_text(str(last))
    assert int(scan.text_content() or "0") < last
    assert page.locator(".cm-executed").count() > 0
    shoot(page, "plant-frozen", "desktop", "light")
    page.goto(page.url.replace("pump.st", "main.st"))
    row = page.locator('[data-frozen-row="Control.Level1"]')
    value = row.locator("[data-frozen-value]").text_content()
    row.get_by_role("link", name="Why?").click()
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("Control (main.st:", timeout=SLOW_MS)
    expect(drawer).to_contain_text(value or "no value")
    drawer.get_by_role("link", name="Go to that scan").click()
    expect(row.locator("[data-frozen-value]")).to_have_text(value or "no value", timeout=SLOW_MS)
    page.get_by_role("link", name="Live again").click()
    expect(page.get_by_role("link", name="Freeze at a scan")).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{page.url.partition('?')[0]}?file=main.st#L30")  # as an alarm names its source
    expect(page.locator(".cm-activeLineGutter").first).to_have_text("30", timeout=SLOW_MS)


def test_program_when_changed_in_the_page_then_the_plant_follows(page: Page, demo: dict[str, Any]) -> None:
    runtime = open_runtime(page, demo)
    expect(page.locator("#runtime-head")).to_contain_text(
        "as running", timeout=SLOW_MS
    )  # the demo's own deployment
    page.goto(f"{demo['url']}/programs")
    page.locator("table a.strong").first.click()
    edit(page, "Level1High : REAL := 70.0", "Level1High : REAL := 7x0.0")
    expect(page.locator("#problems .entry").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("st-editor .cm-lint-marker-error").first).to_be_visible()
    shoot(page, "plant-editor-problem", "desktop", "light")
    edit(page, "Level1High : REAL := 7x0.0", "Level1High : REAL := 71.5")
    expect(page.locator("#problems h2")).to_have_text("No problem", timeout=SLOW_MS)
    page.click("#save")
    expect(page.locator("#edit-state")).to_have_text("saved")
    page.fill("#message", "Fill tank 1 a little higher")
    page.click("[data-publish]")
    page.wait_for_url("**/versions", timeout=SLOW_MS)
    page.get_by_role("link", name="Deploy…").first.click()
    page.get_by_role("checkbox").first.check()
    page.click("text=Show what would change")
    expect(page.locator(".diff tr.new").first).to_contain_text("71.5")
    shoot(page, "plant-deploy", "desktop", "light")
    page.fill("#reason", "Fuller tank")
    page.click("text=Deploy to 1 runtime")
    expect(page.locator("#board-title")).to_have_text("done", timeout=SLOW_MS * 2)
    digest = page.locator("#board td.digest").inner_text()
    shoot(page, "plant-board", "desktop", "light")
    page.goto(runtime)
    expect(page.locator("#runtime-head .digest").first).to_have_text(digest)
    expect(page.locator("#runtime-head")).to_contain_text("as running")
    page.goto(f"{runtime}/program")
    expect(page.locator("st-editor .cm-live").first).to_be_visible(timeout=SLOW_MS)
    shoot(page, "plant-program", "desktop", "light")
    page.goto(f"{demo['url']}/audit?action=deployment")
    expect(page.locator("main")).to_contain_text("Fuller tank")


def edit(page: Page, old: str, new: str) -> None:
    """Replace a piece of the text in the editor, as search and replace does."""
    page.locator("st-editor .cm-content").wait_for()
    page.locator("st-editor").evaluate(
        """(element, [before, after]) => {
            const at = element.value.indexOf(before);
            if (at < 0) throw new Error('not in the text: ' + before);
            element.view.dispatch({changes: {from: at, to: at + before.length, insert: after}});
        }""",
        [old, new],
    )


def test_editor_when_one_types_and_tests_then_the_checker_helps_and_the_tests_of_the_plant_pass(
    page: Page, demo: dict[str, Any]
) -> None:
    page.goto(f"{demo['url']}/programs")
    page.get_by_role("link", name="water", exact=True).last.click()
    page.get_by_role("link", name="pump.st").click()
    page.get_by_role("button", name="Run tests").click()
    expect(page.locator("#test-results")).to_contain_text("tests passed", timeout=SLOW_MS)
    line = page.locator(".cm-line", has_text="ResetEdge(CLK := Reset);")
    line.click()
    page.keyboard.press("End")
    page.keyboard.type(" Standstill.")
    page.keyboard.press("Control+Space")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("ET", timeout=SLOW_MS)
    page.keyboard.press("Escape")
    for _ in range(len(" Standstill.")):
        page.keyboard.press("Backspace")
    expect(page.locator("#edit-state")).not_to_contain_text("not saved", timeout=SLOW_MS)


def test_program_when_it_does_not_compile_then_it_never_leaves_the_supervisor(
    page: Page, demo: dict[str, Any]
) -> None:
    runtime = open_runtime(page, demo)
    before = page.locator("#runtime-head .digest").first.inner_text()
    page.goto(f"{demo['url']}/programs")
    page.locator("table a.strong").first.click()
    edit(page, "Level1High : REAL := 71.5", "Level1High : REAL := nonsense")
    page.fill("#message", "Must not be built")
    page.click("[data-publish]")
    expect(page.locator("main")).to_contain_text("The draft can not be built", timeout=SLOW_MS)
    shoot(page, "plant-not-built", "desktop", "light")
    page.goto(runtime)
    expect(page.locator("#runtime-head .digest").first).to_have_text(before)
    expect(page.locator("#runtime-head")).to_contain_text("running")


def test_device_when_it_is_dead_then_its_values_are_bad_everywhere_and_recover(
    page: Page, demo: dict[str, Any]
) -> None:
    runtime = open_runtime(page, demo)
    page.goto(f"{runtime}?q=Level1Raw")
    cell = page.locator('[data-live-key="t:Level1Raw"]')
    os.kill(demo["pids"]["plant"], signal.SIGSTOP)
    try:
        expect(cell).to_have_attribute("data-q", "b", timeout=SLOW_MS)
        expect(cell).to_have_text("–")
        expect(page.locator("#devices")).to_contain_text("offline", timeout=SLOW_MS)
        shoot(page, "plant-device-dead", "desktop", "light")
        page.goto(demo["url"])
        expect(page.locator("#fleet")).to_contain_text("1 needs attention", timeout=SLOW_MS)
    finally:
        os.kill(demo["pids"]["plant"], signal.SIGCONT)
    page.goto(f"{runtime}?q=Level1Raw")
    expect(page.locator('[data-live-key="t:Level1Raw"]')).to_have_attribute("data-q", "g", timeout=SLOW_MS)


def test_alarm_when_the_pump_is_too_hot_then_first_out_acknowledged_and_marked_on_the_trend(
    page: Page, demo: dict[str, Any]
) -> None:
    runtime = open_runtime(page, demo)
    node = runtime.rpartition("/")[2]
    key = pathlib.Path(demo["api_key_file"]).read_text().strip()
    with httpx.Client(base_url=f"{demo['url']}/api/v1", headers={"Authorization": f"Bearer {key}"}) as api:
        force = {"kind": "force", "values": {"OverTemperature": "TRUE"}, "reason": "test", "lease_s": 60}
        page.goto(f"{demo['url']}/alarms")
        assert api.post(f"/runtimes/{node}/commands", json=force).status_code == 202
        row = page.locator("#alarm-list tr", has_text="The transfer pump is too hot")
        expect(row).to_contain_text("first out", timeout=SLOW_MS)
        expect(page.locator("#alarm-list")).to_contain_text("The transfer pump has tripped")
        expect(page.locator("#alarm-strip")).to_contain_text("The transfer pump")
        shoot(page, "plant-alarms", "desktop", "light")
        row.locator("input[type=checkbox]").check()
        page.fill("#alarm-list [name=comment]", "seen, stays off")
        page.click("text=Acknowledge chosen")
        row = page.locator("#alarm-list tr", has_text="The transfer pump is too hot")
        expect(row).to_contain_text("seen, stays off", timeout=SLOW_MS)
        expect(row).not_to_contain_text("unacknowledged")
        row.locator("summary").click()
        expect(row).to_contain_text("leave the pump off until it has cooled")
        with page.expect_response("**/trend/data*") as answered:
            row.locator("text=Trend").click()
        markers = [text for _, text in answered.value.json()["markers"]]
        assert "alarm: The transfer pump is too hot" in markers
        release = {"kind": "unforce", "values": {"OverTemperature": ""}}
        assert api.post(f"/runtimes/{node}/commands", json=release).status_code == 202
