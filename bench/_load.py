"""All that may happen around a scan at once: clients flat out, 10,000 monitored items, an open page, compiling.

Everything runs in processes of their own that can be held and let go, so that rounds with and without it alternate
on the same node within seconds. The recorder is on all the time, as in every node; its cost is the benchmark
``record``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import httpx
from _node import START_LIMIT_S, TICKWORK, Node, free_port, read_modbus_flat_out, running_node

ITEMS = 10_000
PASSWORD = "the bench has a long password"
PROGRAM = f"""
FUNCTION_BLOCK Cell
VAR a, b, c, d, e, f, g, h, i, j : DINT; END_VAR
a := a + 1; b := a * 2; c := a * 3; d := a * 4; e := a * 5; f := a * 6; g := a * 7; h := a * 8; i := a * 9; j := a * 10;
END_FUNCTION_BLOCK
PROGRAM Main
VAR cells : ARRAY[0..{ITEMS // 10 - 1}] OF Cell; at, n : INT; END_VAR
VAR number : INT; delays : ARRAY[1..500] OF TON; mean : ARRAY[1..500] OF LREAL; END_VAR
VAR_EXTERNAL Counter : UINT; END_VAR
FOR n := 0 TO 9 DO cells[at + n](); END_FOR
at := (at + 10) MOD {ITEMS // 10};
FOR number := 1 TO 500 DO
  mean[number] := mean[number] * 0.99 + number;
  delays[number](IN := mean[number] > 100.0, PT := T#50ms);
END_FOR
Counter := Counter + 1;
END_PROGRAM
CONFIGURATION Bench
  VAR_GLOBAL Counter AT %QW0 : UINT; END_VAR
  RESOURCE R ON PLC
    TASK Fast(INTERVAL := T#1ms, PRIORITY := 0);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


def monitor_items(port: int, count: object) -> None:
    """Subscribes all variables of the cells at 10 Hz."""
    import asyncio

    asyncio.run(_monitor(port, count))


async def _monitor(port: int, count: object) -> None:
    import asyncio

    from asyncua import Client

    class Seen:
        complete = False

        def datachange_notification(self, *_: object) -> None:
            count.value += self.complete  # type: ignore[attr-defined]

    # The client is held for seconds, which must not look like a broken connection to it.
    async with Client(f"opc.tcp://127.0.0.1:{port}/tickwork", timeout=120, watchdog_intervall=120) as client:
        seen = Seen()
        index = await client.get_namespace_index("urn:tickwork:bench")
        names = [f"Main.cells[{cell}].{name}" for cell in range(ITEMS // 10) for name in "abcdefghij"]
        subscription = await client.create_subscription(100, seen)
        for start in range(0, len(names), 1000):
            nodes = [client.get_node(f"ns={index};s={name}") for name in names[start : start + 1000]]
            await subscription.subscribe_data_change(nodes)
        seen.complete = True
        await asyncio.Event().wait()


def compile_always(count: object) -> None:
    """As a node builds a deployment: in a process of low priority, never from its cache."""
    import programs
    from programs.building import read_settings

    os.nice(10)
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    for number in itertools.count():
        with tempfile.TemporaryDirectory() as cache:
            text = PROGRAM.replace("100.0", f"{number}.0").encode()
            programs.compile_sources(settings, {"main.st": text}, cache_dir=pathlib.Path(cache))
        count.value += 1  # type: ignore[attr-defined]


def read_page(url: str, cookie: str, node: str, count: object) -> None:
    """A runtime's page as a browser holds it open: its stream."""
    headers = {"Cookie": cookie, "Accept": "text/event-stream"}
    with httpx.stream("GET", f"{url}/live?view=runtime&node={node}", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200, answer.status_code
        for part in answer.iter_bytes():
            count.value += len(part)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the supervisor


@contextlib.contextmanager
def supervisor(folder: pathlib.Path) -> Iterator[tuple[str, str, pathlib.Path, int]]:
    """Address, cookie of a person who has logged in, file of the enrolment token, process id."""
    token = folder / "token"
    command = [
        TICKWORK, "supervise", "--json", "--data-dir", str(folder / "data"), "--port", str(free_port()),
        "--enrolment-token-file", str(token), "--api-key-file", str(folder / "key"),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        facts = json.loads(next(line for line in process.stdout if line.startswith("{")))
        with httpx.Client(base_url=facts["url"], follow_redirects=True) as http:
            form = http.get(facts["setup_url"]).text
            hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
            person = {"full_name": "Ada", "name": "ada", "password": PASSWORD}
            http.post("/setup", data=hidden | person).raise_for_status()
            cookie = "; ".join(f"{name}={text}" for name, text in http.cookies.items())
        try:
            yield facts["url"].rstrip("/"), cookie, token, process.pid
        finally:
            process.terminate()


# ---------------------------------------------------------------- all of it


class Load:
    """The processes; ``hold`` and ``release`` them. Counters tell that each of them works."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self.counts: dict[str, object] = {}
        self._others: list[int] = []

    def add(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        self.counts[name] = count = self._context.Value("q", 0)
        process = self._context.Process(target=work, args=(*arguments, count), daemon=True)
        process.start()
        self._processes.append(process)

    def add_process(self, pid: int) -> None:
        self._others.append(pid)

    def wait(self) -> None:
        limit = time.monotonic() + START_LIMIT_S
        while idle := [name for name, count in self.counts.items() if count.value == 0]:  # type: ignore[attr-defined]
            assert time.monotonic() < limit, f"no work of {', '.join(idle)}"
            time.sleep(0.1)

    def _signal(self, number: int) -> None:
        for pid in (*self._others, *(process.pid for process in self._processes)):
            assert pid is not None
            os.kill(pid, number)

    def hold(self) -> None:
        self._signal(signal.SIGSTOP)

    def release(self) -> None:
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        self.release()
        for process in self._processes:
            process.kill()
            process.join()

    def told(self) -> str:
        return ", ".join(f"{count.value:,} {name}" for name, count in self.counts.items())  # type: ignore[attr-defined]


@contextlib.contextmanager
def loaded_node() -> Iterator[tuple[Node, Load]]:
    """A node with all its clients, held."""
    with (
        tempfile.TemporaryDirectory() as name,
        supervisor(pathlib.Path(name)) as (url, cookie, token, pid),
        running_node(PROGRAM, supervisor=url, token=token) as node,
    ):
        load = Load()
        load.add("Modbus reads", read_modbus_flat_out, node.modbus_port)
        load.add("OPC UA changes", monitor_items, node.opcua_port)
        load.add("bytes of the page", read_page, url, cookie, node.node_id)
        load.add("programs compiled", compile_always)
        load.add_process(pid)
        try:
            load.wait()
            load.hold()
            yield node, load
        finally:
            load.end()
