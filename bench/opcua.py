"""The OPC UA server of a whole node against asyncua's own, with one load client: ``./dev bench opcua``.

Ours is the gate process of a running node (10,000 LREAL tags that all change ten times a second); the reference is
asyncua's server of the pinned version with as many tags as it can serve. Both are asked in turns; CPU is that of the
serving process, per thousand notifications a second. The scan's own execution time is taken without and with clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import psutil
from _node import Node, free_port

from drivers.opcua.certificates import TrustList, ensure_certificate
from drivers.opcua.users import UserFile

TAGS = int(os.environ.get("TICKWORK_BENCH_TAGS", "10000"))
MANY_TAGS = int(os.environ.get("TICKWORK_BENCH_MANY_TAGS", "100000"))
STOCK_TAGS = 700
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "6"))
ROUNDS = 2
HERE = pathlib.Path(__file__).parent
PROGRAM = """
TYPE Point : STRUCT x : LREAL; END_STRUCT END_TYPE
PROGRAM Main
VAR
  tick : LREAL;
  i : DINT;
  p : ARRAY[0..LAST] OF Point;
END_VAR
tick := tick + 1.0;
FOR i := 0 TO LAST DO p[i].x := tick; END_FOR
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Slow(INTERVAL := T#100ms, PRIORITY := 1);
    PROGRAM Main WITH Slow : Main;
  END_RESOURCE
END_CONFIGURATION
"""
STOCK = """
import asyncio, logging, sys
from asyncua import Server, ua
logging.disable()
async def main(port, count):
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/stock")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace("urn:stock")
    nodes = []
    for number in range(count):
        if number % 100 == 0:
            folder = await server.nodes.objects.add_folder(index, f"f{number}")
        nodes.append(await folder.add_variable(ua.NodeId(f"p{number}", index), f"p{number}", 0.0))
    async with server:
        print("ready", flush=True)
        value, due = 0.0, asyncio.get_running_loop().time()
        while True:
            value += 1.0
            for node in nodes:
                await server.write_attribute_value(node.nodeid, ua.DataValue(ua.Variant(value)))
            due += 0.1
            await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


@contextlib.contextmanager
def node(tags: int) -> Iterator[tuple[Node, dict[str, str], pathlib.Path]]:
    """A running node, how to log in to it, and its state directory."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        one = Node(folder, PROGRAM.replace("LAST", str(tags - 1)), "")
        own = ensure_certificate(folder / "state" / "opcua", "bench")
        client = ensure_certificate(folder / "client", "client")
        TrustList(own).add(client.certificate.read_bytes())
        UserFile(folder / "state" / "opcua" / "users.toml").add("ann", "observer", "a long secret")
        login = {
            "certificate": str(client.certificate), "key": str(client.key), "server_certificate": str(own.certificate),
            "user": "ann", "password": "a long secret",
        }  # fmt: skip
        process = one.start()
        try:
            yield one, login, folder / "state"
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder / "state", ignore_errors=True)


@contextlib.contextmanager
def stock(tags: int) -> Iterator[tuple[int, int]]:
    """(port, pid) of asyncua's own server."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", STOCK, str(port), str(tags)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield port, process.pid
    finally:
        process.kill()
        process.wait(20)
        assert process.stdout
        process.stdout.close()


def load(pid: int, **job: Any) -> dict[str, float]:
    """What the load client saw, with the server's share of a core and its memory meanwhile."""
    command = [sys.executable, str(HERE / "_opcua_client.py"), json.dumps({"seconds": SECONDS, **job})]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert client.stdout and json.loads(client.stdout.readline())["ready"]
    server = psutil.Process(pid)
    before, started_s = server.cpu_times(), time.monotonic()
    result = dict(json.loads(client.stdout.readline()))
    after, passed_s = server.cpu_times(), time.monotonic() - started_s
    client.wait(30)
    client.stdout.close()
    result["core"] = (after.user + after.system - before.user - before.system) / passed_s
    result["rss_mb"] = server.memory_info().rss / 2**20
    return result


def pids(state: pathlib.Path) -> dict[str, int]:
    return dict(json.loads((state / "run" / "node.json").read_text())["pids"])


def status(state: pathlib.Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "runtime.cli", "status", "--json", "--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(done.stdout)["status"])


async def answers(port: int) -> None:
    from asyncua import Client

    await Client(f"opc.tcp://127.0.0.1:{port}/tickwork", timeout=2).connect_and_get_server_endpoints()


def restart(one: Node, state: pathlib.Path) -> tuple[float, float, int, int]:
    """Kills the gate: (seconds until its successor serves, its MB, scans that are missing, overruns meanwhile)."""
    task, asked_s = status(state)["tasks"][0], time.monotonic()
    gate = pids(state)["gate"]
    psutil.Process(gate).kill()
    while pids(state)["gate"] == gate:
        time.sleep(0.01)
    started_s = psutil.Process(pids(state)["gate"]).create_time()
    while True:
        try:
            asyncio.run(answers(one.opcua_port))
            break
        except (OSError, TimeoutError, RuntimeError):
            time.sleep(0.05)
    passed_s = time.time() - started_s
    memory_mb = psutil.Process(pids(state)["gate"]).memory_info().rss / 2**20
    after = status(state)["tasks"][0]
    due = (time.monotonic() - asked_s) / (task["period_ns"] / 1e9)
    missing = max(round(due - (after["scans"] - task["scans"])) - 10, 0)  # the two questions take a second
    return passed_s, memory_mb, missing, after["overruns"] - task["overruns"]


def show(what: str, result: dict[str, float], goal: str) -> None:
    figures = "  ".join(
        f"{key} {value:,.3g}" if value < 100 else f"{key} {value:,.0f}" for key, value in result.items()
    )
    print(f"{what:<44} {figures}   ({goal})")


def main() -> None:
    tags = f"ns=2;s=Main.p[{{}}].x {TAGS}"
    with node(TAGS) as (one, login, state), stock(STOCK_TAGS) as (stock_port, stock_pid):
        gate, url = pids(state)["gate"], f"opc.tcp://127.0.0.1:{one.opcua_port}/tickwork"
        stock_url, stock_tags = f"opc.tcp://127.0.0.1:{stock_port}/stock", f"ns=2;s=p{{}} {STOCK_TAGS}"
        time.sleep(3)
        quiet = status(state)["tasks"][0]
        ours: list[dict[str, float]] = []
        theirs: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            theirs.append(load(stock_pid, url=stock_url, nodes=stock_tags, mode="watch"))
            ours.append(load(gate, url=url, nodes=tags, mode="watch"))
        for result in theirs:
            show(f"asyncua, {STOCK_TAGS} tags x 10 Hz", result, "the reference")
        for result in ours:
            show(f"ours, {TAGS:,} tags x 10 Hz", result, "lost 0, core <= 0.15, gap <= 130")
        secured = load(gate, url=url, nodes=tags, mode="watch", **login)
        show("ours, Basic256Sha256 SignAndEncrypt", secured, "lost 0, core <= 0.20, gap <= 130")
        four = load(gate, url=url, nodes=tags, mode="watch", clients=4)
        show("ours, four clients", four, "lost 0, core <= 0.25")
        show(
            "asyncua, read by 100",
            load(stock_pid, url=stock_url, nodes=stock_tags, mode="read"),
            "the reference",
        )
        show("ours, read by 100", load(gate, url=url, nodes=tags, mode="read"), "rate >= 200,000")
        busy = status(state)["tasks"][0]
        print(f"{'scan, execution p99 before and with clients':<44} {quiet['execution_p99_ns'] / 1000:,.0f} us "
              f"{busy['execution_p99_ns'] / 1000:,.0f} us   (equal)")  # fmt: skip
        share = [sum(r["core"] / r["rate"] for r in results) / len(results) for results in (ours, theirs)]
        print(f"{'CPU for one notification, ours to asyncua':<44} {share[0] / share[1]:.4f}   (<= 0.05)")
        seconds, memory_mb, skipped, overruns = restart(one, state)
        print(f"{f'gate killed, {TAGS:,} tags: serves again after':<44} {seconds:.1f} s, {memory_mb:.0f} MB, "
              f"missing scans {skipped}, overruns {overruns}   (<= 6 s, <= 260 MB, 0, 0)")  # fmt: skip
    with node(MANY_TAGS) as (one, _, state):
        seconds, memory_mb, skipped, overruns = restart(one, state)
        print(f"{f'gate killed, {MANY_TAGS:,} tags: serves again after':<44} {seconds:.1f} s, {memory_mb:.0f} MB, "
              f"missing scans {skipped}, overruns {overruns}   (serves)")  # fmt: skip
        result = load(
            pids(state)["gate"], url=f"opc.tcp://127.0.0.1:{one.opcua_port}/tickwork",
            nodes=f"ns=2;s=Main.p[{{}}].x {MANY_TAGS}", mode="read",
        )  # fmt: skip
        show(f"ours, {MANY_TAGS:,} tags, read by 100", result, "serves")


if __name__ == "__main__":
    main()
