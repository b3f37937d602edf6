"""Debian's Chromium for the page tests: how it is started, what it must not say, where its pictures go."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

ROOT = pathlib.Path(__file__).parents[2]
PICTURES = ROOT / "build" / "screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a long enough password"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEVICES = {"desktop": (1440, 900), "phone": (360, 780)}
# WCAG 2.2 level A and AA.
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], bool], timeout_s: float, told: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, told
        time.sleep(0.1)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    play: Playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Said:
    """What the browser's console said: a page that works says nothing."""

    lines: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.lines.append(str(error)))

    def _console(self, kind: str, text: str) -> None:
        refused = (
            "status of 422" in text
        )  # the browser's own note that a form came back with what is wrong in it
        if kind in ("error", "warning") and not refused:
            self.lines.append(text)


def window(
    browser: Browser, device: str = "desktop", theme: str = "light", *, scripts: bool = True
) -> BrowserContext:
    width, height = DEVICES[device]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        device_scale_factor=2 if device == "phone" else 1,
        has_touch=device == "phone",
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    return context


def log_in(page: Page, base: str, name: str = "ada") -> None:
    page.goto(f"{base}/login")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    page.wait_for_url(f"{base}/")


def shoot(page: Page, name: str, device: str, theme: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}-{device}-{theme}.png")


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is now, one line each."""
    assert AXE.is_file(), "run: npm ci --ignore-scripts && npm run build"
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", AXE_TAGS)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]


def scrolls_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


class PageServer:
    """The pages over the made-up plant, as a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.supervisor.pages.fake_app", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        until(self._answers, 30, "the page server did not start")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the page server ended"
        try:
            return httpx.get(f"{self.url}/login", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def plant(self, what: str = "") -> dict[str, int]:
        """Look at the made-up plant, or change it: "cut" ends all sessions, "drop" all streams."""
        answer: dict[str, int] = httpx.get(f"{self.url}/plant/{what or 'look'}", timeout=5).json()
        return answer
