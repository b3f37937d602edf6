"""Commands for a node on this machine: run, status, watch, write, force, start, stop, journal."""

from __future__ import annotations

import asyncio
import pathlib
import time
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from runtime import console
from runtime.control import Message
from runtime.find_node import running_node, running_nodes
from runtime.local_socket import connected
from runtime.opcua_status import certificate_lines, certificate_status
from runtime.plant import load_plant
from runtime.state import StateDirectory, state_directory
from scan import quality
from scan.problem import Problem, TickworkError

app = typer.Typer()

Plant = Annotated[pathlib.Path, typer.Argument(help="Folder with plant.toml.")]
NodeOption = Annotated[
    str, typer.Option("--node", "-n", help="Plant folder or name; default: the only one running.")
]
StateOption = Annotated[pathlib.Path | None, typer.Option("--state", help="State directory of the node.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Path = Annotated[str, typer.Argument(help="Variable, for example Main.level.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the journal.")]
ColdOption = Annotated[bool, typer.Option("--cold", help="With initial values, retained ones too.")]


@app.command()
def run(
    plant: Plant,
    state: StateOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but problems.")] = False,
) -> None:
    """Start a plant and keep it running until Ctrl-C.

    Example: tickwork run examples/water
    """
    from runtime import log
    from runtime.node import Node

    log.configure("node")
    read = load_plant(plant)
    directory = StateDirectory(
        state.absolute() if state else state_directory(read.name, read.state_directory)
    )
    directory.create()
    with directory.locked(), console.progress(f"starting {read.name}") as progress:

        def ready(facts: Any) -> None:
            progress(f"{facts.name} is {facts.state}")
            if not quiet:
                console.say(_greeting(facts, directory))

        def serves(url: str) -> None:
            if not quiet:
                console.say(f"serves {url}")

        async def main() -> None:
            await Node(read, directory, progress=progress, ready=ready, serves=serves).run()

        asyncio.run(main())


def _greeting(facts: Any, directory: StateDirectory) -> str:
    program = f"program {facts.program} ({facts.digest[:12]})" if facts.program else "no program yet"
    return f"{facts.name} is {facts.state}: {program}; state in {directory.root}"


@app.command()
def status(
    node: NodeOption = "",
    state: StateOption = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="Write the figures for Prometheus.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what a running node does: program, tasks, devices, processes, link.

    Example: tickwork status --json | jq .status.state
    """
    console.use_json(json)
    if metrics:
        directory, _ = running_node(node, state)
        typer.echo(asyncio.run(_ask(directory, "metrics"))["text"], nl=False)
        return
    if not node and state is None and len(running := running_nodes()) != 1:
        _list_nodes([file for _, file in running], json=json)
        return
    directory, file = running_node(node, state)
    answer = asyncio.run(_ask(directory, "status"))
    certificate = certificate_status(directory.root)
    if json:
        console.give(answer | {"node": msgspec.to_builtins(file), "opcua_certificate": certificate})
    else:
        _show_status(answer)
        for line in certificate_lines(certificate):
            console.say(line)


def _list_nodes(nodes: list[Any], *, json: bool) -> None:
    if json:
        console.give({"nodes": [msgspec.to_builtins(node) for node in nodes]})
        return
    if not nodes:
        console.say("no node runs here; start one with `tickwork run PLANT`")
        return
    table = Table("node", "state", "program", "folder", "pid", box=None)
    for node in nodes:
        table.add_row(node.name, node.state, node.program, node.folder, str(node.pid))
    console.out.print(table)


def _show_status(answer: Message) -> None:
    current, facts, link = answer["status"], answer["facts"], answer["link"]
    console.say(f"{facts['name']}: {current['state']}  scan {current['scan']}  program {facts['program'] or '-'} "
                f"({current['digest'][:12]})  forces {current['forces']}")  # fmt: skip
    if current.get("fault"):
        console.out.print(console.styled(msgspec.convert(current["fault"], Problem)))
    tasks = Table(
        "task", "period", "scans", "overruns", "wake-up p99", "max", "execution p99", "max", box=None
    )
    for task in current["tasks"]:
        tasks.add_row(
            task["name"], _ms(task["period_ns"]), str(task["scans"]), str(task["overruns"]),
            _us(task["latency_p99_ns"]), _us(task["latency_max_ns"]),
            _us(task["execution_p99_ns"]), _us(task["execution_max_ns"]),
        )  # fmt: skip
    console.out.print(tasks)
    devices = Table("device", "state", "address", "requests", "errors", "p99", "last error", box=None)
    for device in current["devices"]:
        devices.add_row(
            device["name"], device["state"], device["address"], str(device["requests"]), str(device["errors"]),
            _us(device["latency_p99_ns"]), device["last_error"],
        )  # fmt: skip
    if current["devices"]:
        console.out.print(devices)
    console.say("processes: " + ", ".join(f"{name} {text}" for name, text in current["processes"].items()))
    console.say(f"supervisor: {link['state']}" + (f" ({link['error']})" if link.get("error") else "")
                + (f", {link['buffered']} messages wait" if link.get("buffered") else ""))  # fmt: skip
    for endpoint in current["endpoints"]:
        console.say(f"serves: {endpoint}")


def _ms(value_ns: int) -> str:
    return f"{value_ns / 1e6:g} ms"


def _us(value_ns: int) -> str:
    return f"{value_ns / 1e3:.0f} µs"


@app.command()
def write(
    path: Path,
    value: Annotated[str, typer.Argument(help="IEC literal: TRUE, 12.5, T#5s, 'text'.")],
    node: NodeOption = "",
    state: StateOption = None,
    reason: ReasonOption = "",
    expected: Annotated[str | None, typer.Option(help="Write only if this is the present value.")] = None,
    json: JsonOption = False,
) -> None:
    """Write a variable once; the program may overwrite it.

    Example: tickwork write Main.setpoint 42.5 --reason "higher for the test"
    """
    arguments: Message = {"values": {path: value}, "reason": reason}
    if expected is not None:
        arguments["expected"] = {path: expected}
    _command("write", arguments, node, state, json=json)


@app.command()
def force(
    path: Path,
    value: Annotated[str, typer.Argument(help="IEC literal that is held.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; shown with the force.")],
    node: NodeOption = "",
    state: StateOption = None,
    lease_s: Annotated[int, typer.Option(help="The force ends by itself after these seconds.")] = 600,
    json: JsonOption = False,
) -> None:
    """Hold a variable at a value until it is released or its lease ends.

    Example: tickwork force Main.valve TRUE --lease-s 60 --reason "checking the valve"
    """
    arguments: Message = {"values": {path: value}, "reason": reason, "lease_s": lease_s}
    _command("force", arguments, node, state, json=json)


@app.command()
def unforce(
    path: Path,
    node: NodeOption = "",
    state: StateOption = None,
    reason: ReasonOption = "",
    json: JsonOption = False,
) -> None:
    """Release a forced variable.

    Example: tickwork unforce Main.valve
    """
    _command("unforce", {"values": {path: ""}, "reason": reason}, node, state, json=json)


@app.command()
def forces(node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """List what is forced, by whom and until when."""
    console.use_json(json)
    directory, _ = running_node(node, state)
    found = asyncio.run(_ask(directory, "forces"))["forces"]
    if json:
        console.give({"forces": found})
    elif not found:
        console.say("nothing is forced")
    else:
        table = Table("variable", "value", "owner", "reason", "ends in", box=None)
        for one in found:
            left_s = one["remaining_ns"] / 1e9
            table.add_row(
                *(str(one.get(key, "")) for key in ("path", "value", "owner", "reason")), f"{left_s:.0f} s"
            )
        console.out.print(table)


@app.command("start")
def start_program(
    node: NodeOption = "", state: StateOption = None, cold: ColdOption = False, json: JsonOption = False
) -> None:
    """Start the program of a running node; warm (retained values stay) if not told otherwise."""
    _command("cold" if cold else "start", {}, node, state, json=json)


@app.command("stop")
def stop_program(node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Stop the program of a running node; its outputs take their safe values."""
    _command("stop", {}, node, state, json=json)


@app.command("restart")
def restart_program(
    node: NodeOption = "",
    state: StateOption = None,
    cold: ColdOption = False,
    json: JsonOption = False,
) -> None:
    """Stop and start the program of a running node."""
    _command("cold" if cold else "restart", {}, node, state, json=json)


@app.command("reset-statistics")
def reset_statistics(node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Begin the statistics of all tasks anew, at the next scan."""
    _command("reset_statistics", {}, node, state, json=json)


@app.command()
def journal(
    node: NodeOption = "",
    state: StateOption = None,
    count: Annotated[int, typer.Option("--count", "-c", help="How many of the last events.")] = 20,
    json: JsonOption = False,
) -> None:
    """Show the last events of a node: starts, faults, devices, writes, forces, deployments."""
    console.use_json(json)
    directory, _ = running_node(node, state)
    events = asyncio.run(_ask(directory, "journal", count=count))["events"]
    if json:
        console.give({"events": events})
        return
    for event in events:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time_ns"] / 1e9))
        console.say(
            f"{stamp}  {event['severity']:7}  {event['kind']:8}  {event['source']:10}  {event['text']}"
        )


def _command(op: str, arguments: Message, node: str, state: pathlib.Path | None, *, json: bool) -> None:
    """Sends a command and tells what became of it; exit code 4 when it took no effect."""
    console.use_json(json)
    directory, _ = running_node(node, state)
    answer = asyncio.run(_ask(directory, op, **arguments))
    outcome = answer.get("outcome", {"state": "effective"})
    if json:
        console.give(outcome)
    elif outcome["state"] == "effective":
        scan = f" in scan {outcome['scan']}" if outcome.get("scan") else ""
        value = f", now {outcome['value']}" if outcome.get("value") else ""
        console.say(f"{op}: effective{scan}{value}")
    else:
        problem = outcome.get("problem")
        console.show_problems([msgspec.convert(problem, Problem)] if problem else [])
    if outcome["state"] != "effective":
        console.leave(console.REFUSED)


async def _ask(directory: StateDirectory, op: str, **arguments: Any) -> Message:
    async with connected(directory.socket) as peer:
        return await peer.request(op, timeout_s=30.0, **arguments)


def quality_text(number: int) -> str:
    return "" if number == quality.GOOD else quality.name(number)


__all__ = ["TickworkError", "app", "quality_text"]
