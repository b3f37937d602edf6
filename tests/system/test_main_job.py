"""The main job as its user does it: the demo starts everything, a page shows it, a change is deployed.

One demo for all tests of this file: a simulated plant, a runtime and a supervisor, each its own process tree.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import Browser, Page, expect

import scan
from drivers.opcua.certificates import ensure_certificate
from drivers.opcua.users import UserFile
from scan import quality
from tests.system.chromium import PASSWORD, chromium, free_port, log_in, shoot, until, window

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

TICKWORK = str(pathlib.Path(sys.executable).parent / "tickwork")
PEER = pathlib.Path(__file__).parent / "opcua_peer" / "peer.mjs"


@dataclass
class Demo:
    process: subprocess.Popen[str]
    facts: dict[str, object]

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def plant(self) -> pathlib.Path:
        return pathlib.Path(str(self.facts["plant"]))

    @property
    def state(self) -> pathlib.Path:
        return pathlib.Path(str(self.facts["state"]))

    @property
    def pids(self) -> dict[str, int]:
        return dict(self.facts["pids"])  # type: ignore[call-overload]

    def node(self) -> dict[str, object]:
        return dict(json.loads((self.state / "run" / "node.json").read_text(encoding="utf-8")))

    def view(self) -> scan.NodeView:
        return scan.NodeView.open(pathlib.Path(str(self.node()["segments"])))

    def value(self, path: str) -> scan.Value:
        view = self.view()
        return scan.read_value(view.snapshot().block, view.symbol(path))

    def api(self, path: str) -> dict[str, object]:
        key = pathlib.Path(str(self.facts["api_key_file"])).read_text(encoding="utf-8").strip()
        answer = httpx.get(f"{self.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"}, timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def runtime(self) -> dict[str, object]:
        (one,) = self.api("/runtimes")["items"]  # type: ignore[misc]
        return dict(one)  # type: ignore[call-overload]

    def deploy(self, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
        command = [TICKWORK, "deploy", str(folder), "--to", self.url]
        command += ["--api-key-file", str(self.facts["api_key_file"])]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    ports = ["--port", free_port(), "--plant-port", free_port(), "--opcua-port", free_port()]
    command = [TICKWORK, "demo", "--dir", str(folder / "d"), "--json", *(str(part) for part in ports)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "log").read_text()
            made = Demo(process, json.loads(line))
            until(lambda: made.runtime()["link"] == "up", 90, "the runtime did not reach the supervisor")
            yield made
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def administrator(demo: Demo, browser: Browser) -> str:
    """Uses the one-time link as the first person would; the name of the administrator."""
    context = window(browser)
    page = context.new_page()
    page.goto(str(demo.facts["setup_url"]))
    page.fill("#full_name", "Ada Lovelace")
    page.fill("#name", "ada")
    page.fill("#password", PASSWORD)
    shoot(page, "main-setup", "desktop", "light")
    page.click("button.primary")
    page.wait_for_url(f"{demo.url}/")
    context.close()
    return "ada"


@pytest.fixture
def page(demo: Demo, browser: Browser, administrator: str) -> Iterator[Page]:
    context = window(browser)
    opened = context.new_page()
    log_in(opened, demo.url, administrator)
    yield opened
    context.close()


def test_demo_when_started_then_three_process_trees_run_the_plant(demo: Demo) -> None:
    assert set(demo.pids) == {"plant", "runtime", "supervisor"}

    def satellites() -> set[int]:
        return {pid for name, pid in dict(demo.node()["pids"]).items() if name in ("scan", "field", "gate")}  # type: ignore[call-overload]

    until(lambda: len(satellites()) == 3, 30, "scan, field and gate do not all run")
    children = {child.pid for child in psutil.Process(demo.pids["runtime"]).children(recursive=True)}
    assert satellites() <= children
    until(lambda: bool(demo.value("PlantOnline")), 20, "the plant does not answer")
    until(lambda: 0.0 < float(str(demo.value("Control.Level1"))) < 100.0, 20, "no level arrives")


def test_setup_link_when_used_then_it_works_no_second_time(demo: Demo, administrator: str) -> None:
    again = httpx.get(str(demo.facts["setup_url"]), follow_redirects=False)
    assert again.status_code in (303, 403, 404, 410)
    assert "password" not in again.text.lower() or "log in" in again.text.lower()


def test_scan_when_field_and_gate_are_killed_then_it_goes_on_and_they_come_back(demo: Demo) -> None:
    before = dict(demo.node()["pids"])  # type: ignore[call-overload]
    view = demo.view()
    scans = view.counters.scans
    skipped = sum(task.skipped for task in view.stats())
    started_ns = time.monotonic_ns()
    for name in ("field", "gate"):
        os.kill(before[name], signal.SIGKILL)

    def back() -> bool:
        now = dict(demo.node()["pids"])  # type: ignore[call-overload]
        return all(now.get(name) not in (None, before[name]) for name in ("field", "gate"))

    until(back, 60, "field and gate did not come back")
    elapsed_ns = time.monotonic_ns() - started_ns
    view = demo.view()
    done = view.counters.scans - scans
    lost = sum(task.skipped for task in view.stats()) - skipped
    expected = sum(elapsed_ns // task.period_ns for task in view.stats())
    assert dict(demo.node()["pids"])["scan"] == before["scan"]  # type: ignore[call-overload]
    assert done + lost >= expected - 4, "scans stopped while the others were gone"
    until(lambda: bool(demo.value("PlantOnline")), 30, "the plant does not answer again")
    until(lambda: demo.runtime()["link"] == "up", 60, "the link did not come back")


def test_device_when_it_hangs_then_its_inputs_are_bad_everywhere_and_good_again_later(
    demo: Demo, page: Page
) -> None:
    os.kill(demo.pids["plant"], signal.SIGSTOP)
    try:
        view = demo.view()
        level = view.symbol("Level1Raw")
        until(lambda: quality.is_bad(view.quality(level)), 20, "the quality stays good")
        until(lambda: demo.value("PlantOnline") is False, 10, "the program does not see it")
        assert demo.value("PumpRun") is False, "the program's interlock holds the pump"
        until(lambda: demo.runtime()["devices_online"] == 0, 20, "the supervisor does not see it")
        page.goto(f"{demo.url}/runtimes/{demo.runtime()['node_id']}")
        expect(page.locator("main")).to_contain_text("bad:", timeout=15_000)
        shoot(page, "main-device-gone", "desktop", "light")
    finally:
        os.kill(demo.pids["plant"], signal.SIGCONT)
    until(lambda: quality.is_good(view.quality(level)), 30, "the quality stays bad")
    until(lambda: demo.runtime()["devices_online"] == 1, 30, "the supervisor does not see it back")


def test_opcua_client_of_another_stack_when_it_writes_then_the_program_has_the_value(
    demo: Demo, tmp_path: pathlib.Path
) -> None:
    client = ensure_certificate(tmp_path / "peer", "peer")
    shutil.copy(client.certificate, demo.state / "opcua" / "trusted" / "peer.der")
    UserFile(demo.state / "opcua" / "users.toml").add("peer", "operator", "a peer's password")
    pem = tmp_path / "peer.pem"
    certificate = x509.load_der_x509_certificate(client.certificate.read_bytes())
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    job = {
        "url": demo.facts["opcua"],
        "certificate": str(pem),
        "key": str(client.key),
        "pki": str(tmp_path / "pki"),
        "applicationUri": f"urn:{socket.gethostname()}:tickwork:peer",
        "user": "peer",
        "password": "a peer's password",
        "browse": "ns=2;s=Control",
        "read": ["ns=2;s=Control.Level1", "ns=2;s=Control.Auto"],
        "write": [
            {"nodeId": "ns=2;s=Control.FlowSetpoint", "type": "Float", "value": 4.5},
            {"nodeId": "ns=2;s=Control.Level1", "type": "Float", "value": 1.0},
        ],
        "watch": {"nodeId": "ns=2;s=Control.Level1", "count": 3},
    }
    done = subprocess.run(
        ["node", str(PEER), json.dumps(job)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert {"Level1", "Pump", "FlowSetpoint"} <= {one["name"] for one in seen["browse"]}
    assert [one["status"] for one in seen["read"]] == ["Good", "Good"]
    assert seen["write"] == ["Good", "BadNotWritable"]
    assert len({one["value"] for one in seen["watch"]}) == 3
    assert demo.value("Control.FlowSetpoint") == 4.5


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_runtime_page_when_watched_then_values_move_with_the_plant(
    demo: Demo, browser: Browser, administrator: str, device: str
) -> None:
    context = window(browser, device)
    page = context.new_page()
    log_in(page, demo.url, administrator)
    shoot(page, "main-fleet", device, "light")
    page.goto(f"{demo.url}/runtimes/{demo.runtime()['node_id']}")
    expect(page.locator("html")).to_have_attribute("data-live", "live", timeout=15_000)
    cell = page.locator('[data-path="Level1Raw"], [data-tag="Level1Raw"], tr:has-text("Level1Raw")').first
    seen = {cell.inner_text()}

    def moved() -> bool:
        seen.add(cell.inner_text())
        return len(seen) >= 3

    until(moved, 20, "the level on the page does not move")
    shoot(page, "main-runtime", device, "light")
    context.close()


def test_trend_when_opened_then_it_draws_what_history_has(demo: Demo, page: Page) -> None:
    node = demo.runtime()["node_id"]
    page.goto(f"{demo.url}/trend?tag={node}:Control.Level1&tag={node}:Control.Level2")
    expect(page.locator("canvas").first).to_be_visible(timeout=15_000)
    shoot(page, "main-trend", "desktop", "light")
    now_ns = time.time_ns()
    query = f"node_id={node}&path=Control.Level1&from_ns={now_ns - 60 * 10**9}&to_ns={now_ns}"
    history = demo.api(f"/history/samples?{query}")
    assert json.dumps(history).count(",") > 20, "hardly any sample is stored"


def test_program_when_edited_in_the_page_then_errors_stand_at_their_lines_and_a_good_one_runs(
    demo: Demo, page: Page
) -> None:
    page.goto(f"{demo.url}/programs")
    page.click('main a[href^="/programs/"]:has-text("water")')
    page.click('a[href*="file=types.st"]')
    editor = page.locator(".cm-content")
    expect(editor).to_be_visible(timeout=15_000)
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.type("FUNCTION Wrong : INT Wrong := nothing; END_FUNCTION")
    expect(page.locator("main")).to_contain_text("ST3001", timeout=30_000)
    shoot(page, "main-editor-error", "desktop", "light")
    page.keyboard.press("Shift+Home")
    page.keyboard.type("FUNCTION Fine : INT Fine := 1; END_FUNCTION")
    expect(page.locator("main")).to_contain_text("No problem", timeout=30_000)
    before = demo.view().application
    assert before is not None
    page.click("button:has-text('Save draft')")
    expect(page.locator("body")).to_contain_text("Saved.", timeout=15_000)
    page.fill("#message", "one function more")
    page.click("button[data-publish]")
    page.wait_for_url(re.compile(r"/programs/\d+/versions"), timeout=60_000)
    expect(page.locator("main")).to_contain_text("one function more")
    shoot(page, "main-versions", "desktop", "light")
    _deploy_from_the_page(demo, page)
    after = demo.view().application
    assert after is not None
    assert after.digest != before.digest
    assert demo.runtime()["digest"] == after.digest, "the runtime's own report"


def _deploy_from_the_page(demo: Demo, page: Page) -> None:
    page.goto(re.sub(r"/versions.*", "/deploy", page.url))
    for box in page.locator("input[name=target]").all():
        box.check()
    page.click("button:has-text('Show what would change')")
    expect(page.locator("main")).to_contain_text("water")
    shoot(page, "main-deploy", "desktop", "light")
    page.fill("#reason", "try the new function")
    page.click("form[action='/deployments'] button.primary")
    page.wait_for_url(re.compile(r"/deployments/\d+"), timeout=30_000)
    expect(page.locator("main")).to_contain_text("1 of 1 running it", timeout=90_000)
    shoot(page, "main-board", "desktop", "light")


def test_deploy_when_the_program_changes_then_the_plant_follows_and_the_state_is_kept(
    demo: Demo, tmp_path: pathlib.Path, page: Page
) -> None:
    until(lambda: float(str(demo.value("Totals.Received"))) > 0, 60, "the inlet never opened")
    received = float(str(demo.value("Totals.Received")))
    folder = tmp_path / "water"
    shutil.copytree(demo.plant, folder)
    source = folder / "main.st"
    text = source.read_text(encoding="utf-8")
    changed = text.replace("Horn := HornPulse.Q;", "Horn := NOT HornPulse.Q;")
    assert changed != text
    source.write_text(changed, encoding="utf-8")
    done = demo.deploy(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: demo.value("Horn") is True, 20, "the change does not show at the output")
    assert float(str(demo.value("Totals.Received"))) >= received
    application = demo.view().application
    assert application is not None
    until(lambda: demo.runtime()["digest"] == application.digest, 20, "the supervisor has another digest")
    page.goto(f"{demo.url}/deployments")
    page.click("main tbody tr:first-child a")
    expect(page.locator("main")).to_contain_text("running", timeout=15_000)
    expect(page.locator("main")).to_contain_text(application.digest[:10])
    shoot(page, "main-deployment", "desktop", "light")
    page.goto(f"{demo.url}/audit")
    expect(page.locator("main")).to_contain_text("deploy", timeout=15_000)
    shoot(page, "main-audit", "desktop", "light")


def test_deploy_when_the_program_does_not_compile_then_the_old_one_goes_on(
    demo: Demo, tmp_path: pathlib.Path
) -> None:
    running = demo.view()
    assert running.application is not None
    folder = tmp_path / "water"
    shutil.copytree(demo.plant, folder)
    with (folder / "main.st").open("a", encoding="utf-8") as source:
        source.write("FUNCTION Broken : INT Broken := nowhere; END_FUNCTION\n")
    done = demo.deploy(folder)
    assert done.returncode == 1
    assert "ST3001" in done.stderr
    assert "nowhere" in done.stderr
    now = demo.view()
    assert now.application is not None
    assert now.application.digest == running.application.digest
    scans = now.counters.scans
    until(lambda: now.counters.scans > scans + 10, 10, "the old program does not run")


def test_supervisor_when_it_hangs_for_a_while_then_nothing_of_the_history_is_missing(demo: Demo) -> None:
    os.kill(demo.pids["supervisor"], signal.SIGSTOP)
    try:
        scans = demo.view().counters.scans
        until(lambda: demo.view().counters.scans > scans + 250, 30, "the node stopped with its supervisor")
    finally:
        os.kill(demo.pids["supervisor"], signal.SIGCONT)
    until(lambda: demo.runtime()["link"] == "up", 60, "the link did not come back")
    until(lambda: int(str(demo.runtime()["buffered"])) <= 3, 60, "the node keeps what it should send")
    assert demo.runtime()["lost"] == 0


def test_demo_when_interrupted_then_everything_ends_in_order(demo: Demo) -> None:
    """The last test: it ends the demo."""
    tree = [psutil.Process(demo.process.pid), *psutil.Process(demo.process.pid).children(recursive=True)]
    assert len(tree) >= 7
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 0
    _, alive = psutil.wait_procs(tree[1:], timeout=20)
    assert alive == []
