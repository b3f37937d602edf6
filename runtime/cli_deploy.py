"""Commands towards a supervisor, and deployments: deploy, login, enrol."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import time
from typing import Annotated, Any

import msgspec
import typer

from runtime import console
from runtime.cli_node import JsonOption, NodeOption, StateOption
from runtime.credentials import Credentials
from runtime.facts import version
from runtime.find_node import running_node, state_of
from runtime.http import ask, client
from runtime.link import DeployState
from runtime.local_socket import connected
from runtime.plant import load_plant
from runtime.state import StateDirectory
from runtime.uplink_identity import Identity, check_url, enrol
from scan.problem import Problem, fail

app = typer.Typer()

POLL_S = 0.3
DEPLOY_S = 900.0

UrlOption = Annotated[str, typer.Option("--to", help="Address of the supervisor, https://host:port.")]
CaOption = Annotated[str, typer.Option("--ca-file", help="Certificate authority of the supervisor (PEM).")]
PlainOption = Annotated[bool, typer.Option("--allow-plain", help="Permit http:// to another machine.")]


@app.command()
def deploy(
    plant: Annotated[
        pathlib.Path, typer.Argument(help="Plant folder, or an artifact made by `tickwork build`.")
    ],
    to: Annotated[
        str, typer.Option("--to", help="Supervisor to deploy through; without it: the node here.")
    ] = "",
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Runtime by name; default: the plant's own name."),
    ] = None,
    node: NodeOption = "",
    state: StateOption = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit trail.")] = "",
    cold: Annotated[
        bool, typer.Option("--cold", help="Start with initial values instead of the present ones.")
    ] = False,
    api_key_file: Annotated[
        pathlib.Path | None, typer.Option(help="API key; default: what `login` stored.")
    ] = None,
    ca_file: CaOption = "",
    json: JsonOption = False,
) -> None:
    """Build a plant and bring it to run, online and without stopping what runs until it works.

    Examples: tickwork deploy examples/water --to http://127.0.0.1:8080
    tickwork deploy examples/water            (the node on this machine)
    """
    console.use_json(json)
    with console.progress(f"building {plant}") as progress:
        artifact, name = _artifact(plant)
        if to:
            url = check_url(to, allow_plain=True)
            key = api_key_file.read_text("utf-8").strip() if api_key_file else Credentials().key(url)
            wanted = tuple(targets or (name,))
            final = asyncio.run(_deploy_remote(url, key, artifact, wanted, reason, cold, ca_file, progress))
        else:
            directory, _ = running_node(node or ("" if state else name), state)
            final = [asyncio.run(_deploy_local(directory, artifact, cold, progress))]
    _tell(final, json=json)


def _artifact(plant: pathlib.Path) -> tuple[bytes, str]:
    """Artifact and node name, of a folder (built here) or of a file."""
    from runtime.build_job import artifact_of, open_plant

    if plant.is_file() and plant.suffix == ".twa":
        data = plant.read_bytes()
        return data, open_plant(data, plant).name
    read = load_plant(plant)
    return artifact_of(read.folder), read.name


class Final(msgspec.Struct, frozen=True):
    """How a deployment ended on one runtime."""

    node: str
    state: str
    digest: str = ""
    problems: tuple[Problem, ...] = ()


async def _deploy_local(directory: StateDirectory, artifact: bytes, cold: bool, progress: Any) -> Final:
    path = directory.run / f"local-{time.time_ns()}.twa"
    path.write_bytes(artifact)

    def told(event: str, fields: dict[str, Any]) -> None:
        if event == "deploy":
            progress(str(fields["state"]["state"]))

    try:
        async with connected(directory.socket, told) as peer:
            answer = await peer.request("deploy", path=str(path), cold=cold, timeout_s=DEPLOY_S)
    finally:
        path.unlink(missing_ok=True)
    state = msgspec.convert(answer["deploy"], DeployState)
    return Final(directory.root.name, state.state, state.digest, state.problems)


async def _deploy_remote(
    url: str,
    key: str,
    artifact: bytes,
    targets: tuple[str, ...],
    reason: str,
    cold: bool,
    ca_file: str,
    progress: Any,
) -> list[Final]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/octet-stream"}
    query = {"targets": ",".join(targets), "reason": reason, "cold": "1" if cold else "0"}
    deadline = time.monotonic() + DEPLOY_S
    async with client(ca_file) as http:
        request = http.build_request(
            "POST", f"{url}/api/v1/deployments", params=query, content=artifact, headers=headers
        )
        deployment = _decoded(await ask(http, request))
        while deployment["state"] == "running" and time.monotonic() < deadline:
            progress(", ".join(f"{one['node']}: {one['state']}" for one in deployment["targets"]))
            await asyncio.sleep(POLL_S)
            again = http.build_request("GET", f"{url}/api/v1/deployments/{deployment['id']}", headers=headers)
            deployment = _decoded(await ask(http, again))
    return [
        Final(
            one["node"],
            one["state"],
            one.get("digest", ""),
            msgspec.convert(one["problems"], tuple[Problem, ...]),
        )
        for one in deployment["targets"]
    ]


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        deployment = msgspec.json.decode(data, type=dict[str, Any])
        if {"id", "state", "targets"} <= set(deployment):
            return deployment
    except (msgspec.DecodeError, msgspec.ValidationError):
        pass
    raise fail(
        "LK3004",
        "the answer to the deployment is not in the agreed form",
        found=data[:80].decode("utf-8", "replace"),
        remedy="is this the address of a tickwork supervisor, of the same version?",
    )


def _tell(finals: list[Final], *, json: bool) -> None:
    """Exit code 4 unless every runtime itself reports that the new program runs."""
    if json:
        console.give({"targets": finals})
    for final in finals:
        if not json:
            digest = f" ({final.digest[:12]})" if final.digest else ""
            console.say(f"{final.node}: {final.state}{digest}")
            console.show_problems(final.problems)
    if any(final.state != "running" for final in finals):
        console.leave(console.REFUSED)


@app.command()
def login(
    to: UrlOption,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="Read the key from standard input.")] = False,
    ca_file: CaOption = "",
    allow_plain: PlainOption = False,
) -> None:
    """Store an API key for a supervisor, made on its page "Users".

    Example: tickwork login --to https://supervisor.example:8443
    """
    url = check_url(to, allow_plain=allow_plain)
    key = (sys.stdin.readline() if key_stdin else typer.prompt("API key", hide_input=True)).strip()
    asyncio.run(_try_key(url, key, ca_file))
    Credentials().store(url, key)
    console.say(f"the key for {url} is stored")


async def _try_key(url: str, key: str, ca_file: str) -> None:
    async with client(ca_file) as http:
        headers = {"authorization": f"Bearer {key}"}
        await ask(http, http.build_request("GET", f"{url}/api/v1/deployments", headers=headers))


@app.command("enrol")
def enrol_node(
    plant: Annotated[pathlib.Path, typer.Argument(help="Folder of the plant that this node runs.")],
    to: Annotated[str, typer.Option("--to", help="Supervisor; default: [supervisor] url of the plant.")] = "",
    token: Annotated[
        str, typer.Option(help="One-time token; better: --token-file, or typed when asked.")
    ] = "",
    token_file: Annotated[pathlib.Path | None, typer.Option(help="File with the one-time token.")] = None,
    state: StateOption = None,
    ca_file: CaOption = "",
    allow_plain: PlainOption = False,
    json: JsonOption = False,
) -> None:
    """Make this node known to a supervisor with a one-time token from its page "Enrolment".

    Example: tickwork enrol examples/water --to https://supervisor.example:8443
    """
    console.use_json(json)
    read = load_plant(plant)
    section = read.supervisor
    url = check_url(to or (section.url if section else ""),
                    allow_plain=allow_plain or bool(section and section.allow_plain))  # fmt: skip
    if token_file is not None:
        token = _token(token_file)
    token = token or typer.prompt("token", hide_input=True)
    directory = state_of(str(plant), state)
    directory.create()
    identity = Identity(directory.identity)
    enrolment = asyncio.run(
        enrol(identity, url, token.strip(), name=read.name, version=version(),
              ca_file=ca_file or (section.ca_file if section else ""))
    )  # fmt: skip
    if json:
        console.give({"node_id": enrolment.node_id, "url": url})
    console.say(f"{read.name} is enrolled at {url} as {enrolment.node_id}")


def _token(path: pathlib.Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise fail("CL1005", "the token file cannot be read", found=str(error),
                   remedy="give a file that holds the one-time token") from error  # fmt: skip
