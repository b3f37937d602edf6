"""Pages against their budgets: weight of scripts, first paint, cost of live streams at the server and in the browser.

The reference of every line is the budget that the pages were given (docs of the project: at most 150 KB of scripts,
300 ms to the first paint with a cold cache, half a core for 100 open streams, 5 % of a core for a live table in
Chromium); a ratio below 1 keeps it. The plant behind the pages is made up, so that only the pages are measured.
"""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import socket
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import psutil

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.system.chromium import PASSWORD, PageServer, chromium, log_in, window  # noqa: E402

SCRIPTS = ("vendor/htmx.js", "tickwork.js", "vendor/uplot.js", "trend.js", "program.js", "program_view.js")
STREAMS = 20  # of one person at once; the cost is scaled to 100
MEASURE_S = 8.0
WATCHED = 17 * 3  # every tag of three runtimes


def line(name: str, value: float, unit: str, budget: float) -> None:
    print(f"{name:<44} {value:10.1f} {unit:<10} budget {budget:>8.1f}   ratio {value / budget:.2f}")


def scripts() -> None:
    static = ROOT / "web" / "static"
    size = sum(len(gzip.compress((static / name).read_bytes())) for name in SCRIPTS)
    line("scripts of all pages, gzip (editor apart)", size / 1000, "kB", 150)


def session(server: PageServer) -> str:
    with httpx.Client(base_url=server.url) as http:
        http.post("/login", data={"name": "ada", "password": PASSWORD})
        return "; ".join(f"{name}={text}" for name, text in http.cookies.items())


@contextlib.contextmanager
def streams(server: PageServer, cookie: str, count: int) -> Iterator[list[socket.socket]]:
    """Open that many event streams of a runtime's page as plain sockets, which cost the client next to nothing."""
    opened = []
    try:
        for _ in range(count):
            stream = socket.create_connection(("127.0.0.1", server.port))
            lines = (
                "GET /live?view=runtime&node=n1 HTTP/1.1",
                f"Host: 127.0.0.1:{server.port}",
                f"Cookie: {cookie}",
            )
            stream.sendall("\r\n".join((*lines, "", "")).encode())
            stream.setblocking(False)
            opened.append(stream)
        yield opened
    finally:
        for stream in opened:
            stream.close()


def drain(opened: list[socket.socket], seconds: float) -> int:
    """Read everything that comes for so long; the number of bytes."""
    deadline, total = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        for stream in opened:
            with contextlib.suppress(BlockingIOError):
                total += len(stream.recv(1 << 20))
        time.sleep(0.02)
    return total


def server_cost(server: PageServer) -> None:
    process = psutil.Process(server.pid)
    with streams(server, session(server), STREAMS) as opened:
        drain(opened, 2.0)
        before, started = process.cpu_times(), time.monotonic()
        size = drain(opened, MEASURE_S)
        after, elapsed = process.cpu_times(), time.monotonic() - started
    used = (after.user + after.system - before.user - before.system) / elapsed
    line("server, 100 streams of a runtime's page", 100 * used * 100 / STREAMS, "% core", 50)
    line("one stream of a runtime's page", size / elapsed / STREAMS / 1000, "kB/s", 50)


def browser_cost(server: PageServer) -> None:
    with chromium() as browser:
        context = window(browser)
        page = context.new_page()
        log_in(page, server.url)
        context.close()
        cold = []
        for _ in range(3):
            context = window(browser)
            page = context.new_page()
            log_in(page, server.url)
            page.goto(f"{server.url}/runtimes/n1")
            page.wait_for_timeout(500)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            cold.append(float(page.evaluate(paint)))
            context.close()
        line("first paint of a runtime's page", min(cold), "ms", 300)
        context = window(browser)
        page = context.new_page()
        log_in(page, server.url)
        tags = page.request.get(f"{server.url}/runtimes/n1/tags?format=json").json()
        names = [f"tag={node}:{quote(tag['path'])}" for node in ("n1", "n2", "n4") for tag in tags][:WATCHED]
        page.goto(f"{server.url}/watch?" + "&".join(names))
        page.wait_for_timeout(3000)
        meter = context.new_cdp_session(page)
        meter.send("Performance.enable")
        meter.send("HeapProfiler.collectGarbage")
        first = read(meter)
        page.wait_for_timeout(MEASURE_S * 1000)
        meter.send("HeapProfiler.collectGarbage")
        last = read(meter)
        spent = (last["TaskDuration"] - first["TaskDuration"]) / (last["Timestamp"] - first["Timestamp"])
        line(f"browser, watch table of {len(names)} tags, 4 Hz", 100 * spent, "% core", 5)
        grown = (last["JSHeapUsedSize"] - first["JSHeapUsedSize"]) / 1e6
        line("browser, growth of the heap meanwhile", max(grown, 0.0), "MB", 5)
        context.close()


def read(meter: object) -> dict[str, float]:
    answer = meter.send("Performance.getMetrics")  # type: ignore[attr-defined]
    return {one["name"]: one["value"] for one in answer["metrics"]}


def main() -> None:
    scripts()
    server = PageServer()
    server.start()
    try:
        server_cost(server)
        browser_cost(server)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
