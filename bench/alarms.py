"""Alarms: the engine on one core, and a flood from a runtime to a browser's page: ``./dev bench alarms``.

The reference of each line is its budget; a ratio below 1 keeps it. 50,000 definitions look at as many tags, of which
20,000 change in a second (2,000 in each tenth, as a node evaluates), with everything stored that comes of it. The flood
is real: 10,000 occurrences within a second over the link of a supervisor process, with the list open in Chromium.
"""

from __future__ import annotations

import asyncio
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from runtime.alarms import store  # noqa: E402
from runtime.alarms.clock import Stored  # noqa: E402
from runtime.alarms.conditions import TagInfo  # noqa: E402
from runtime.alarms.engine import Engine, Moment  # noqa: E402
from runtime.alarms.life import Kept  # noqa: E402
from runtime.alarms.model import Definition, Entry, Standing  # noqa: E402
from runtime.alarms.states import State  # noqa: E402
from runtime.link import Alarms, AlarmTable  # noqa: E402
from tests.supervisor.fake_node import FakeNode  # noqa: E402
from tests.system.chromium import chromium, window  # noqa: E402

DEFINITIONS = 50_000
CHANGES_PER_S = 20_000
STEPS_PER_S = 10
SECONDS = 5
FLOOD = 10_000
MESSAGES = 20
UNITS = 40
S = 1_000_000_000
START = 1_700_000_000 * S
FRAMES = """() => {
  window.longest = 0;
  let last = performance.now();
  (function look() {
    const now = performance.now();
    window.longest = Math.max(window.longest, now - last);
    last = now;
    requestAnimationFrame(look);
  })();
}"""
PASSWORD = "four green valves open"


def line(name: str, value: float, unit: str, reference: str = "") -> None:
    print(f"{name:<62} {value:10.2f} {unit:<12} {reference}")


def definitions() -> list[Definition]:
    return [
        Definition(
            f"A{i}", kind="limit", tag=f"T{i}", h=90.0, hh=95.0, l=5.0, h_deadband=2.0, on_delay_ms=1000
        )
        if i % 3
        else Definition(f"A{i}", tag=f"T{i}")
        for i in range(DEFINITIONS)
    ]


def engine() -> None:
    random = np.random.default_rng(7)
    made = Engine(definitions(), [TagInfo(f"T{i}") for i in range(DEFINITIONS)], Kept("bench"))
    values = np.full(DEFINITIONS, 80.0)
    values[::3] = 0.0
    quality = np.zeros(DEFINITIONS, np.uint16)
    made.update(Moment(0, START), np.arange(DEFINITIONS), values, quality)
    rows = [
        random.choice(DEFINITIONS, CHANGES_PER_S // STEPS_PER_S, replace=False)
        for _ in range(SECONDS * STEPS_PER_S)
    ]
    spent_s, entries = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        file = store.open_file(pathlib.Path(folder) / "alarms.db")
        for step, changed in enumerate(rows):
            values[changed] = np.where(
                changed % 3, np.clip(values[changed] + random.normal(0, 6, len(changed)), 0, 100), 0
            )
            at = Moment(step * S // STEPS_PER_S, START + step * S // STEPS_PER_S)
            began = time.process_time()
            found = made.update(at, changed, values, quality)
            kept, _ = made.take_kept()
            if kept or found:
                with store.transaction(file):
                    store.save(file, made.kept, kept, found, Stored(at.engine_ns, at.wall_ns))
            spent_s += time.process_time() - began
            entries += len(found)
    share = spent_s / SECONDS
    line(f"{DEFINITIONS:,} definitions, {CHANGES_PER_S:,} changes/s: share of a core", share * 100, "%",
         f"budget 100 %   ratio {share:.2f}")  # fmt: skip
    line("  entries that came of it, stored", entries / SECONDS, "/s")


def burst() -> None:
    """All at once: what the engine and its file need for 10,000 occurrences."""
    made = Engine(
        [Definition(f"A{i}", tag=f"T{i}") for i in range(FLOOD)],
        [TagInfo(f"T{i}") for i in range(FLOOD)],
        Kept("b"),
    )
    quality = np.zeros(FLOOD, np.uint16)
    made.update(Moment(0, START), np.arange(FLOOD), np.zeros(FLOOD), quality)
    with tempfile.TemporaryDirectory() as folder:
        file = store.open_file(pathlib.Path(folder) / "alarms.db")
        began = time.perf_counter()
        found = made.update(Moment(S, START + S), np.arange(FLOOD), np.ones(FLOOD), quality)
        kept, _ = made.take_kept()
        with store.transaction(file):
            store.save(file, made.kept, kept, found, Stored(S, START + S))
        line(
            f"{len(found):,} occurrences at once: evaluated and stored",
            (time.perf_counter() - began) * 1000,
            "ms",
        )


# ---------------------------------------------------------------- from a runtime to a page


class Runtime(threading.Thread):
    """A simulated runtime in a thread of its own; ``go`` lets it send the flood."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(daemon=True)
        self.url, self.token = url, token
        self.ready, self.go = threading.Event(), threading.Event()
        self.sent_s = self.stored_s = 0.0

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        node = FakeNode(self.url, "flooded")
        await node.enrol(self.token)
        await node.dial()
        await node.describe()
        made = tuple(
            Definition(
                f"alarm {i}", text=f"Limit {i} passed", tag="Main.Level", unit=f"unit {i % UNITS}", priority=1 + i % 4
            )
            for i in range(FLOOD)
        )  # fmt: skip
        await node.send(AlarmTable("bench", 0, made, {}))
        self.ready.set()
        await asyncio.to_thread(self.go.wait)
        for part in range(MESSAGES):
            entries = tuple(
                self._entry(i) for i in range(part * FLOOD // MESSAGES, (part + 1) * FLOOD // MESSAGES)
            )
            await node.send(Alarms(part + 1, "bench", entries))
            await asyncio.sleep(0.9 / MESSAGES)
        self.sent_s = time.monotonic()
        await node.committed(MESSAGES)
        self.stored_s = time.monotonic()
        await asyncio.sleep(10)

    def _entry(self, i: int) -> Entry:
        now = time.time_ns()
        standing = Standing(State.UNACKNOWLEDGED, i + 1, 1 + i % 4, 1, "91", "H 90", now, announced=True)
        return Entry(i + 1, now, f"alarm {i}", "raised", i + 1, standing, value="91")


def flood() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        server = subprocess.Popen(
            [sys.executable, "-m", "supervisor.main", str(folder), "0"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            assert server.stdout is not None
            url, setup = server.stdout.readline().split()
            _flood(folder, url, setup)
        finally:
            server.terminate()
            server.wait(20)
        with sqlite3.connect(folder / "config.db") as database:
            (stored,) = database.execute("SELECT count(*) FROM alarm_entry WHERE epoch='bench'").fetchone()
        line("  of them stored", stored, f"of {FLOOD}", f"ratio {stored / FLOOD:.4f}")


def _flood(folder: pathlib.Path, url: str, setup: str) -> None:
    runtime = Runtime(url, (folder / "enrolment.token").read_text().strip())
    runtime.start()
    with chromium() as browser:
        page = window(browser).new_page()
        page.goto(setup)
        page.fill("[name=name]", "ada")
        page.fill("[name=password]", PASSWORD)
        page.click("main button, form button")
        page.mouse.move(0, 0)  # a list holds still under the pointer
        page.goto(f"{url}/alarms")
        page.wait_for_selector("html[data-live=live]")
        runtime.ready.wait(30)
        page.evaluate(FRAMES)
        runtime.go.set()
        shown = "() => Number(document.body.innerText.match(/Flood: (\\d+) alarms/)?.[1]) >= "
        page.wait_for_function(f"{shown}{FLOOD}", timeout=60_000)
        seen_s = time.monotonic()
        longest_ms = page.evaluate("() => window.longest")
        rows = page.locator("#alarm-list tbody tr").count()
    line(f"flood of {FLOOD:,} in a second: last one sent to last one shown", (seen_s - runtime.sent_s) * 1000, "ms",
         f"budget 1000 ms   ratio {(seen_s - runtime.sent_s):.2f}")  # fmt: skip
    line(
        "  last one sent to all acknowledged by the supervisor",
        (runtime.stored_s - runtime.sent_s) * 1000,
        "ms",
    )
    line("  longest time between two frames of the page", longest_ms, "ms")
    line("  rows on the page, in groups", rows, "rows")


def main() -> None:
    engine()
    burst()
    flood()


if __name__ == "__main__":
    main()
