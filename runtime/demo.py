"""``tickwork demo``: a simulated plant, a runtime and a supervisor, each its own process tree, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from runtime import console
from runtime.demo_project import put_project, put_screens
from runtime.facts import version
from runtime.state import StateDirectory
from runtime.uplink_identity import Identity, enrol
from scan.problem import Place, Problem, TickworkError, fail

app = typer.Typer()

PAGE_PORT, PLANT_PORT, OPCUA_PORT = 8080, 5020, 4840
START_S = 90.0  # the first start compiles everything on a small machine
STOP_S = 15.0
POLL_S = 0.1
LOG_LINES = 12
HOST = "127.0.0.1"


@app.command("demo")
def demo_command(
    port: Annotated[int, typer.Option(help=f"Port of the pages; 0: {PAGE_PORT} or any free one.")] = 0,
    plant_port: Annotated[
        int, typer.Option(help=f"Port of the simulated plant; 0: {PLANT_PORT} or any free one.")
    ] = 0,
    opcua_port: Annotated[int, typer.Option(help=f"Port of OPC UA; 0: {OPCUA_PORT} or any free one.")] = 0,
    directory: Annotated[
        pathlib.Path | None,
        typer.Option("--dir", help="Where the demo keeps its state; default: the user's state home."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos left.")] = False,
    json_form: Annotated[
        bool, typer.Option("--json", help="Write addresses as one JSON line when ready.")
    ] = False,
) -> None:
    """Start the water plant with everything around it and show where to look.

    A simulated plant, a runtime, a supervisor: real processes, real protocols. Ctrl-C ends them in order.
    """
    home = (directory or _default_directory()).expanduser().absolute()
    if fresh:
        shutil.rmtree(home, ignore_errors=True)
    ports = Ports(
        _port(port, PAGE_PORT, "--port"), _port(plant_port, PLANT_PORT, "--plant-port"),
        _port(opcua_port, OPCUA_PORT, "--opcua-port"),
    )  # fmt: skip
    console.use_json(json_form)
    with console.progress("starting the demo") as progress:
        asyncio.run(Demo(home, ports, progress).run())


def _default_directory() -> pathlib.Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (pathlib.Path(home) if home else pathlib.Path.home() / ".local" / "state") / "tickwork-demo"


@dataclass(frozen=True, slots=True)
class Ports:
    page: int
    plant: int
    opcua: int


def _port(given: int, usual: int, option: str) -> int:
    """The given port, else the usual one, else a free one. Raises CL4001 when the given one is taken."""
    for candidate in (given,) if given else (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, candidate))
            except OSError as error:
                problem = error.strerror or str(error)
                continue
            return int(probe.getsockname()[1])
    raise fail(
        "CL4001", f"port {given} is taken", expected="a free port", found=problem,
        remedy=f"give another with {option}, or leave the option away to take any free one",
    )  # fmt: skip


def example_folder() -> pathlib.Path:
    """The water plant: in a checkout under examples/, in an installation beside this package."""
    here = pathlib.Path(__file__).resolve().parent
    for folder in (here.parent / "examples" / "water", here / "examples" / "water"):
        if (folder / "plant.toml").exists():
            return folder
    raise fail(
        "CL4002", "the example plant is missing", place=Place(str(here)), remedy="install tickwork anew"
    )


def copy_example(source: pathlib.Path, target: pathlib.Path, ports: Ports, url: str) -> None:
    """The plant folder of the demo: made once, then the user's to edit; only the addresses are set each time."""
    if not target.exists():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    path = target / "plant.toml"
    path.write_text(with_addresses(path.read_text("utf-8"), ports, url), "utf-8")


def with_addresses(text: str, ports: Ports, url: str) -> str:
    """The plant file with the demo's ports and supervisor, everything else as it stands."""
    lines, section, seen = [], "", set()
    values = {"device": {"port": str(ports.plant)}, "opcua": {"port": str(ports.opcua)},
              "supervisor": {"url": f'"{url}"'}}  # fmt: skip
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[]").strip()
            seen.add(section)
        key = stripped.partition("=")[0].strip()
        replacement = values.get(section, {}).get(key) if "=" in stripped else None
        lines.append(f"{key} = {replacement}" if replacement is not None else line)
    for missing in (name for name in ("opcua", "supervisor") if name not in seen):
        lines += ["", f"[{missing}]", *(f"{key} = {value}" for key, value in values[missing].items())]
    return "\n".join(lines) + "\n"


class Demo:
    """The processes of one demo. ``run`` returns when the user ends it; a process that dies ends it with a problem."""

    def __init__(self, home: pathlib.Path, ports: Ports, progress: Callable[[str], None]) -> None:
        self._home = home
        self._ports = ports
        self._progress = progress
        self._node = StateDirectory(home / "node")
        self._running: list[tuple[str, asyncio.subprocess.Process]] = []
        self._addresses: dict[str, str] = {}

    async def run(self) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        for folder in (self._home, self._home / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._node.create()
        starting = asyncio.create_task(self._start())
        ending = asyncio.create_task(stopping.wait())
        try:
            with StateDirectory(self._home).locked():
                await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    self._announce()
                    await self._until_one_ends(ending)
        finally:
            starting.cancel()
            ending.cancel()
            await asyncio.gather(starting, ending, return_exceptions=True)
            await self._stop()

    async def _start(self) -> None:
        self._progress("starting the simulated plant")
        await self._spawn("plant", ["-m", "drivers.sim", "water", "--port", str(self._ports.plant)])
        await self._wait_for("plant", self._plant_listens)
        self._progress("starting the supervisor")
        await self._start_supervisor()
        self._progress("starting the runtime")
        await self._start_runtime()

    async def _plant_listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self._ports.plant)
        except OSError:
            return False
        writer.close()
        return True

    async def _start_supervisor(self) -> None:
        token = self._home / "enrolment-token"
        token.unlink(missing_ok=True)
        log = self._home / "logs" / "supervisor.out"
        await self._spawn(
            "supervisor",
            ["-m", "runtime.cli", "supervise", "--json", "--data-dir", str(self._home / "supervisor"),
             "--port", str(self._ports.page), "--enrolment-token-file", str(token),
             "--api-key-file", str(self._home / "api-key")],
            output=log,
        )  # fmt: skip

        async def told() -> bool:
            lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
            found = next((line for line in lines if line.startswith("{")), None)
            if found is None:
                return False
            self._addresses |= {key: str(value) for key, value in json.loads(found).items()}
            return True

        await self._wait_for("supervisor", told)
        await self._enrol(token)

    async def _enrol(self, token: pathlib.Path) -> None:
        identity = Identity(self._node.identity)
        url = self._addresses["url"].rstrip("/")
        known = identity.enrolment()
        if known is not None and (self._home / "supervisor").exists() and known.url == url:
            return
        text = await asyncio.to_thread(token.read_text, "utf-8")
        await enrol(identity, url, text.strip(), name="water", version=version())

    async def _start_runtime(self) -> None:
        folder = self._home / "water"
        copy_example(example_folder(), folder, self._ports, self._addresses["url"])
        self._node.node_file.unlink(missing_ok=True)
        await self._spawn(
            "runtime", ["-m", "runtime.cli", "run", str(folder), "--state", str(self._node.root), "-q"]
        )

        async def runs() -> bool:
            node = self._node.read_node_file()
            return node is not None and node.state == "running"

        await self._wait_for("runtime", runs)
        self._progress("giving the program to the supervisor")
        key = await asyncio.to_thread((self._home / "api-key").read_text, "utf-8")
        await put_project(self._addresses["url"], key.strip(), folder, "water")
        await put_screens(self._addresses["url"], key.strip(), folder, "water")

    def _announce(self) -> None:
        setup = self._addresses.get("setup_url", "")
        facts = {
            "url": self._addresses["url"], "setup_url": setup, "plant": str(self._home / "water"),
            "state": str(self._node.root), "opcua": f"opc.tcp://{HOST}:{self._ports.opcua}/tickwork",
            "modbus": f"{HOST}:{self._ports.plant}", "api_key_file": str(self._home / "api-key"),
            "pids": {name: process.pid for name, process in self._running},
        }  # fmt: skip
        self._progress("everything runs; Ctrl-C ends it")
        if console.is_json():
            console.give_line(facts)
            return
        state = self._node.root
        console.say(f"pages           {facts['url']}")
        if setup:
            console.say(f"administrator   {setup}   (works once)")
        console.say(f"program         {facts['plant']}")
        console.say(f"live values     tickwork watch --state {state}")
        console.say(f"deploy changes  tickwork deploy {facts['plant']} --to {facts['url']} "
                    f"--api-key-file {facts['api_key_file']}")  # fmt: skip
        console.say(f"OPC UA          {facts['opcua']}")
        console.say("Ctrl-C ends everything.")

    async def _until_one_ends(self, ending: asyncio.Task[bool]) -> None:
        exits = {asyncio.create_task(process.wait()): name for name, process in self._running}
        done, _ = await asyncio.wait((*exits, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in exits:
            task.cancel()
        if ending not in done:
            raise self._died(next(exits[task] for task in exits if task in done))

    async def _spawn(self, name: str, arguments: Sequence[str], output: pathlib.Path | None = None) -> None:
        logs = self._home / "logs"
        with (logs / f"{name}.log").open("wb") as log, (output or logs / f"{name}.out").open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=log,
                start_new_session=True, env={**os.environ, "TICKWORK_LOG": "json"},
            )  # fmt: skip
        self._running.append((name, process))

    async def _wait_for(self, name: str, ready: Callable[[], Awaitable[bool]]) -> None:
        process = dict(self._running)[name]
        deadline = asyncio.get_running_loop().time() + START_S
        while not await ready():
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise self._died(name)
            await asyncio.sleep(POLL_S)

    def _died(self, name: str) -> TickworkError:
        path = self._home / "logs" / f"{name}.log"
        lines = path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:] if path.exists() else []
        code = dict(self._running)[name].returncode
        return TickworkError(
            Problem(
                "CL4003", f"the {name} of the demo did not stay up", Place(str(path)),
                found=f"return code {code}" if code is not None else f"not ready after {START_S:g} s",
                remedy=f"see the last lines of its log above; all of it is in {path}", notes=tuple(lines),
            )
        )  # fmt: skip

    async def _stop(self) -> None:
        """Runtime first: its outputs take their safe values while the plant is still there to see it."""
        order = {"runtime": 0, "supervisor": 1, "plant": 2}
        for name, process in sorted(self._running, key=lambda one: order[one[0]]):
            self._progress(f"ending the {name}")
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
