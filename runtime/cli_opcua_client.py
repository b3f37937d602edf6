"""``tickwork opcua browse|read|write|watch|endpoints``: a remote OPC UA server at a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from rich.table import Table

from drivers._table import Table as DeviceTable
from runtime import console
from runtime.cli_node import JsonOption, NodeOption, StateOption
from runtime.find_node import state_of
from runtime.state import state_directory

Url = Annotated[str, typer.Argument(help="opc.tcp://host:port/path")]
Nodes = Annotated[list[str], typer.Argument(help="NodeIds: 'ns=2;s=Level', 'nsu=urn:maker;i=1001'.")]
Security = Annotated[
    str, typer.Option(help="Basic256Sha256, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss or None.")
]
Mode = Annotated[str, typer.Option("--mode", help="SignAndEncrypt or Sign.")]
User = Annotated[str, typer.Option("--user", help="Name to log in with; see --password-file.")]
PasswordFile = Annotated[str, typer.Option(help="File with the password.")]
Accept = Annotated[bool, typer.Option("--accept", help="Trust the certificate that the server shows now.")]
Timeout = Annotated[int, typer.Option(help="Milliseconds to wait for an answer.", min=100)]


def add_to(app: typer.Typer) -> None:
    for command in (endpoints, browse, read, write, watch):
        app.command()(command)


def _remote(url: str, security: str, mode: str, user: str, password_file: str, timeout_ms: int) -> Any:
    """Raises TickworkError as for a device of a plant file."""
    from drivers.opcua.client_config import parse_remote

    given: dict[str, object] = {
        "url": url,
        "security": security,
        "security_mode": mode,
        "timeout_ms": timeout_ms,
    }
    if user:
        given["user"] = user
    if password_file:
        given["password_file"] = str(pathlib.Path(password_file).absolute())
    table = DeviceTable(given)
    remote = parse_remote(table)
    table.raise_problems()
    return remote


def _directory(node: str, state: pathlib.Path | None) -> pathlib.Path:
    """Certificate and trust list of a node, or of this user's command line."""
    if node or state is not None:
        return state_of(node, state).root / "opcua"
    return state_directory("x").parent / ".client" / "opcua"


def _with_client(
    remote: Any, directory: pathlib.Path, accept: bool, work: Callable[[Any], Awaitable[None]]
) -> None:
    from drivers.opcua.client_browse import accept_server
    from drivers.opcua.client_link import connected

    async def run() -> None:
        if accept and remote.policy != "None":
            name = await accept_server(remote.url, directory, remote.timeout_ms / 1000)
            console.say(f"trusted: {name}")
        async with connected(remote, directory) as client:
            await work(client)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def endpoints(url: Url, timeout_ms: Timeout = 4000, json: JsonOption = False) -> None:
    """Ask a server what security and users it offers.

    Example: tickwork opcua endpoints opc.tcp://10.0.0.5:4840
    """
    from drivers.opcua.client_browse import offered

    console.use_json(json)
    rows = asyncio.run(offered(_remote(url, "None", "Sign", "", "", timeout_ms).url, timeout_ms / 1000))
    if json:
        console.give(rows)
        return
    table = Table("security", "mode", "users", "address", "application", "certificate", box=None)
    for row in rows:
        users = " ".join(row["users"])  # type: ignore[arg-type]
        keys = ("security", "mode", "url", "application")
        security, mode, address, application = (str(row[key]) for key in keys)
        table.add_row(security, mode, users, address, application, str(row["certificate"])[:16])
    console.out.print(table)


def browse(
    url: Url,
    start: Annotated[str, typer.Option("--from", help="NodeId to begin at.")] = "i=85",
    depth: Annotated[int, typer.Option(help="Levels to go down.", min=1, max=50)] = 3,
    security: Security = "Basic256Sha256",
    mode: Mode = "SignAndEncrypt",
    user: User = "",
    password_file: PasswordFile = "",
    accept: Accept = False,
    timeout_ms: Timeout = 4000,
    node: NodeOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show the nodes of a server with the NodeIds that a plant file takes.

    Example: tickwork opcua browse opc.tcp://10.0.0.5:4840 --depth 4 --user plc --password-file /etc/boiler
    """
    console.use_json(json)
    rows: list[dict[str, object]] = []

    async def work(client: Any) -> None:
        from drivers.opcua.client_browse import browse as rows_of

        async for row in rows_of(client, start, depth):
            rows.append(row)

    remote = _remote(url, security, mode, user, password_file, timeout_ms)
    _with_client(remote, _directory(node, state), accept, work)
    if json:
        console.give(rows)
        return
    table = Table("name", "node", "type", "value", box=None)
    for row in rows:
        indent = "  " * int(str(row["level"]))
        table.add_row(
            indent + str(row["name"]), str(row["node"]), str(row.get("type", row["class"])), _shown(row)
        )
    console.out.print(table)


def read(
    url: Url,
    nodes: Nodes,
    security: Security = "Basic256Sha256",
    mode: Mode = "SignAndEncrypt",
    user: User = "",
    password_file: PasswordFile = "",
    accept: Accept = False,
    timeout_ms: Timeout = 4000,
    node: NodeOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Read the values of nodes.

    Example: tickwork opcua read opc.tcp://10.0.0.5:4840 "ns=2;s=Boiler.Level"
    """
    console.use_json(json)

    async def work(client: Any) -> None:
        from drivers.opcua.client_browse import read as values_of

        _show(await values_of(client, nodes))

    remote = _remote(url, security, mode, user, password_file, timeout_ms)
    _with_client(remote, _directory(node, state), accept, work)


def write(
    url: Url,
    target: Annotated[str, typer.Argument(help="NodeId.")],
    value: Annotated[str, typer.Argument(help="Number, text, true or false.")],
    security: Security = "Basic256Sha256",
    mode: Mode = "SignAndEncrypt",
    user: User = "",
    password_file: PasswordFile = "",
    accept: Accept = False,
    timeout_ms: Timeout = 4000,
    node: NodeOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Write a value to a node and read it back.

    Example: tickwork opcua write opc.tcp://10.0.0.5:4840 "ns=2;s=Boiler.Setpoint" 80.5
    """
    console.use_json(json)

    async def work(client: Any) -> None:
        from drivers.opcua.client_browse import write as set_value

        _show([await set_value(client, target, value)])

    remote = _remote(url, security, mode, user, password_file, timeout_ms)
    _with_client(remote, _directory(node, state), accept, work)


def watch(
    url: Url,
    nodes: Nodes,
    count: Annotated[int, typer.Option(help="End after so many values; 0: Ctrl-C ends.", min=0)] = 0,
    interval_ms: Annotated[int, typer.Option(help="How often the server samples.", min=10)] = 500,
    security: Security = "Basic256Sha256",
    mode: Mode = "SignAndEncrypt",
    user: User = "",
    password_file: PasswordFile = "",
    accept: Accept = False,
    timeout_ms: Timeout = 4000,
    node: NodeOption = "",
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show values of nodes as they change.

    Example: tickwork opcua watch opc.tcp://10.0.0.5:4840 "ns=2;s=Boiler.Level"
    """
    console.use_json(json)

    async def work(client: Any) -> None:
        from drivers.opcua.client_browse import watch as changes_of

        seen = 0
        async for row in changes_of(client, nodes, float(interval_ms)):
            console.give_line(row) if json else console.say(f"{row['time']}  {row['node']}  {_shown(row)}")
            seen += 1
            if seen == count:
                return

    remote = _remote(url, security, mode, user, password_file, timeout_ms)
    _with_client(remote, _directory(node, state), accept, work)


def _show(rows: list[dict[str, object]]) -> None:
    if console.is_json():
        console.give(rows)
        return
    table = Table("node", "value", "type", "status", "time", box=None)
    for row in rows:
        table.add_row(*(str(row[key]) for key in ("node", "value", "type", "status", "time")))
    console.out.print(table)


def _shown(row: dict[str, object]) -> str:
    if "value" not in row:
        return ""
    return str(row["value"]) if row["status"] == "Good" else f"{row['value']} ({row['status']})"
