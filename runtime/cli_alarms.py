"""``tickwork alarms``: the alarms of a node on this machine, also without any supervisor."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from runtime import console
from runtime.alarms.model import PRIORITIES, Entry, Health, Outcome
from runtime.alarms.states import ACTIVE_LIST, HIDDEN, WAITING
from runtime.cli_node import JsonOption, NodeOption, StateOption
from runtime.control import Message
from runtime.find_node import running_node
from runtime.link import AlarmTable
from runtime.local_socket import connected
from runtime.state import StateDirectory
from scan.problem import fail

app = typer.Typer(help="Alarms of a node: list, acknowledge, shelve and the rest.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(help="Alarms, as `tickwork alarms list` names them.")]
CommentOption = Annotated[str, typer.Option("--comment", "-c", help="Kept in the journal.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the journal.")]


async def _ask(directory: StateDirectory, op: str, **arguments: Any) -> Message:
    async with connected(directory.socket) as peer:
        return await peer.request(op, **arguments)


@app.command(name="list")
def list_alarms(
    node: NodeOption = "",
    state: StateOption = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Shelved, suppressed, out of service.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also those that are normal.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what stands, unacknowledged first, then by priority and time.

    Example: tickwork alarms list --node water
    """
    console.use_json(json)
    directory, _ = running_node(node, state)
    answer = asyncio.run(_ask(directory, "alarms"))
    if json:
        console.give(answer)
        return
    table = msgspec.convert(answer["table"], AlarmTable)
    health = msgspec.convert(answer["health"], Health)
    _show(table, health, hidden=hidden, every=every)


def _show(found: AlarmTable, health: Health, *, hidden: bool, every: bool) -> None:
    texts = {definition.name: definition.text for definition in found.definitions}
    wanted = HIDDEN if hidden else ACTIVE_LIST
    rows = [(name, one) for name, one in found.standing.items() if name in texts and one.state in wanted]
    if every:
        rows = [(name, found.standing.get(name)) for name in texts]  # type: ignore[misc]
    rows.sort(
        key=lambda row: (
            (row[1].state not in WAITING, row[1].priority, row[1].raised_ns) if row[1] else (True, 9, 0)
        )
    )
    shown = Table("priority", "alarm", "state", "since", "value", "limit", "what", box=None)
    for name, one in rows:
        if one is None:
            shown.add_row("", name, "normal", "", "", "", texts[name])
            continue
        mark = " (input bad)" if one.unknown else " (first out)" if one.first_out and one.occurrence else ""
        shown.add_row(f"{one.priority} {PRIORITIES[one.priority]}", name, f"{one.state}{mark}", _clock(one.raised_ns),
                      one.value, one.limit, texts[name])  # fmt: skip
    if rows:
        console.out.print(shown)
    age_s = max(time.time_ns() - health.evaluated_ns, 0) / 1e9
    if health.problem:
        console.say(f"THE ALARM ENGINE DOES NOT WORK: {health.problem}")
    else:
        console.say(f"{len(rows)} of {health.definitions} alarms; checked {age_s:.1f} s ago")
    for name in health.unbound:
        console.say(f"{name} is not evaluated: its variable does not exist in the running program")


def _clock(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9)) if time_ns else ""


@app.command()
def journal(
    node: NodeOption = "",
    state: StateOption = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000)] = 50,
    json: JsonOption = False,
) -> None:
    """Show the last lines of the alarm journal, oldest first.

    Example: tickwork alarms journal --count 200 --json
    """
    console.use_json(json)
    directory, _ = running_node(node, state)
    answer = asyncio.run(_ask(directory, "alarm_journal", count=count))
    if json:
        console.give(answer["entries"])
        return
    shown = Table("time", "alarm", "occurrence", "event", "state", "value", "who", "comment", box=None)
    for entry in msgspec.convert(answer["entries"], list[Entry]):
        shown.add_row(_clock(entry.time_ns), entry.alarm, str(entry.occurrence or ""), entry.event,
                      str(entry.standing.state), entry.value, entry.user, entry.comment)  # fmt: skip
    console.out.print(shown)


def _order(node: str, state: Any, names: list[str], json: bool, **values: str) -> None:
    console.use_json(json)
    directory, _ = running_node(node, state)
    asked = {"targets": "\n".join(names)} | values
    answer = asyncio.run(_ask(directory, "alarm_order", values=asked))
    outcome = msgspec.convert(answer["outcome"], Outcome)
    if json:
        console.give(answer["outcome"])
    else:
        console.say(f"{values['action']}: {len(outcome.done)} done")
    if outcome.refused and not json:
        name, reason = outcome.refused[0]
        raise fail("AL3003", f"{name}: {reason}", found=f"{len(outcome.refused)} of {len(names)} refused")


@app.command()
def ack(names: Names, node: NodeOption = "", state: StateOption = None, comment: CommentOption = "",
        json: JsonOption = False) -> None:  # fmt: skip
    """Acknowledge occurrences. NAME means the present one, NAME#12 exactly that one.

    Example: tickwork alarms ack "Tank 1 high" --comment "seen, draining"
    """
    _order(node, state, names, json, action="acknowledge", comment=comment)


@app.command()
def comment(names: Names, text: Annotated[str, typer.Option("--text", "-t")], node: NodeOption = "",
            state: StateOption = None, json: JsonOption = False) -> None:  # fmt: skip
    """Add a comment to what stands.

    Example: tickwork alarms comment "Tank 1 high" --text "fitter called"
    """
    _order(node, state, names, json, action="comment", comment=text)


@app.command()
def shelve(
    names: Names, reason: ReasonOption, node: NodeOption = "", state: StateOption = None,
    minutes: Annotated[int, typer.Option("--minutes", "-m", min=0, help="0: until it clears.")] = 0,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Put alarms on the shelf for a time, or until they clear.

    Example: tickwork alarms shelve "Pump trip" --minutes 60 --reason "bearing is being greased"
    """
    _order(node, state, names, json, action="shelve", comment=reason, duration_s=str(minutes * 60))


@app.command()
def unshelve(
    names: Names, node: NodeOption = "", state: StateOption = None, json: JsonOption = False
) -> None:
    """Take alarms off the shelf.

    Example: tickwork alarms unshelve "Pump trip"
    """
    _order(node, state, names, json, action="unshelve")


@app.command()
def suppress(names: Names, reason: ReasonOption, node: NodeOption = "", state: StateOption = None,
             json: JsonOption = False) -> None:  # fmt: skip
    """Suppress alarms until somebody lifts it.

    Example: tickwork alarms suppress "Flow low" --reason "line is drained"
    """
    _order(node, state, names, json, action="suppress", comment=reason)


@app.command()
def unsuppress(
    names: Names, node: NodeOption = "", state: StateOption = None, json: JsonOption = False
) -> None:
    """Lift a suppression by hand.

    Example: tickwork alarms unsuppress "Flow low"
    """
    _order(node, state, names, json, action="unsuppress")


@app.command(name="out-of-service")
def out_of_service(
    names: Names, reason: ReasonOption, node: NodeOption = "", state: StateOption = None,
    work_order: Annotated[str, typer.Option("--work-order", "-w")] = "", json: JsonOption = False,
) -> None:  # fmt: skip
    """Take alarms out of service. With priority 1 another user has to say the same.

    Example: tickwork alarms out-of-service "Level sensor" --work-order W-4711 --reason "sensor is replaced"
    """
    _order(node, state, names, json, action="remove", comment=reason, work_order=work_order)


@app.command(name="in-service")
def in_service(
    names: Names, node: NodeOption = "", state: StateOption = None, json: JsonOption = False
) -> None:
    """Put alarms back into service.

    Example: tickwork alarms in-service "Level sensor"
    """
    _order(node, state, names, json, action="return")


@app.command()
def reset(names: Names, node: NodeOption = "", state: StateOption = None, json: JsonOption = False) -> None:
    """Reset latched alarms whose condition is gone.

    Example: tickwork alarms reset "Pump trip"
    """
    _order(node, state, names, json, action="reset")
