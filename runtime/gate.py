"""The gate process: everything that outsiders can reach. It may die at any time; scan and field never notice.

``python -m runtime.gate``: the job comes on standard input (``runtime.facts.GateJob``), see ``runtime.control``.
Inside: the local socket, the link to the supervisor, the OPC UA server, and the one command lane that they share.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

import msgspec
import structlog

import scan
from runtime import control, log
from runtime.alarm_desk import AlarmDesk
from runtime.commander import Commander
from runtime.control import Message, Peer
from runtime.facts import DeviceStatus, Facts, GateJob
from runtime.gate_alarms import NodeAlarms
from runtime.gate_journal import RECENT, Journal
from runtime.gate_lane import GateLane
from runtime.gate_link import GateLink, describe_link
from runtime.gate_servers import Hosted, Server
from runtime.link import Command, DeployState, Event, Status
from runtime.local_socket import LocalServer
from runtime.metrics import MetricsServer, NodeMetrics
from runtime.recorder import Recorder
from runtime.state import StateDirectory
from runtime.uplink_identity import Identity
from runtime.uplink_report import status
from scan.problem import TickworkError

logger = structlog.get_logger("tickwork.gate")

LANE = "gate"
OPEN_RETRY_S = 0.05
STATUS_S = 1.0
ENROLMENT_CHECK_S = 2.0
DEPLOY_S = 600.0  # compiling a large program on a small machine


class Gate:
    """One life of the gate. ``parent`` is the control line to the parent process."""

    def __init__(self, job: GateJob, parent: Peer) -> None:
        self._job = job
        self._parent = parent
        self._state = StateDirectory(job.state)
        self._facts = Facts(job.name, version=job.version)
        self._journal = Journal(job.state)
        self._link: GateLink | None = None
        self._servers: list[Hosted] = []
        self._local = LocalServer(self._state.socket, self._answer)

    async def run(self) -> None:
        """Serves until cancelled."""
        self._view = await _opened(self._job.segments)
        self._metrics = NodeMetrics(self._view, lambda: self._facts)
        self._lane = GateLane(self._view, scan.CommandLane.open(self._job.segments, LANE))
        self._commander = Commander(self._view, self._lane, self._journal.note, self._order, time.time_ns)
        self._alarms = self._make_alarms()
        try:
            await self._local.start()
            self._add_servers()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_link())
                group.create_task(self._tend())
                group.create_task(self._alarms.run())
                if self._job.recorder.enabled:
                    group.create_task(self._recorder().run())
                for server in self._servers:
                    group.create_task(server.run())
        finally:
            await self._close()

    async def _close(self) -> None:
        await self._local.stop()
        await self._lane.close()
        self._journal.close()

    # ---------------------------------------------------------------- what the parent says

    def heard(self, event: str, fields: Message) -> None:
        """Events of the parent process."""
        with contextlib.suppress(msgspec.ValidationError):
            if event == "facts":
                self._facts = msgspec.convert(fields["facts"], Facts)
            elif event == "journal":
                self._journal.note(msgspec.convert(fields["entry"], Event))
            elif event == "deploy":
                self._local.broadcast("deploy", state=fields["state"])
                if self._link is not None:
                    self._link.deploy_state(msgspec.convert(fields["state"], DeployState))

    # ---------------------------------------------------------------- recorder

    def _recorder(self) -> Recorder:
        """It writes in a thread: it has a view of its own, and its notes come back to the loop."""
        loop = asyncio.get_running_loop()

        def note(text: str, severity: str) -> None:
            event = Event(time.time_ns(), "recorder", "recorder", text, severity=severity)
            loop.call_soon_threadsafe(self._journal.note, event)

        return Recorder(
            scan.NodeView.open(self._job.segments), segments=self._job.segments, folder=self._state.recordings,
            section=self._job.recorder, node=self._job.name, now_ns=time.time_ns, note=note,
        )  # fmt: skip

    # ---------------------------------------------------------------- alarms

    def _make_alarms(self) -> NodeAlarms:
        """It reads and writes in a thread, so it has a view of its own."""
        channels = self._job.channels
        return NodeAlarms(
            scan.NodeView.open(self._job.segments), state=self._job.state, definitions=self._job.alarms,
            facts=lambda: self._facts, buffered=lambda: self._link.buffer.pending if self._link else 0,
            sources=lambda row: channels[row] if row < len(channels) else "inputs",
        )  # fmt: skip

    # ---------------------------------------------------------------- servers

    def _add_servers(self) -> None:
        job, view, commander = self._job, self._view, self._commander
        if job.opcua is not None:
            self._host("opcua", lambda: opcua_server(job, view, commander, self._field, self._alarms))
        if job.modbus_server is not None:
            self._host("modbus", lambda: modbus_server(job, view, commander, self._journal.note))
        if job.sparkplug is not None:
            self._host(
                "sparkplug", lambda: sparkplug_server(job, view, commander, self._journal.note, self._field)
            )
        if job.metrics_port:
            self._host("metrics", lambda: MetricsServer(job.metrics_port, self._metrics.text))

    def _field(self) -> tuple[DeviceStatus, ...]:
        return self._facts.devices

    def _host(self, name: str, make: Callable[[], Server]) -> None:
        self._servers.append(Hosted(name, make, self._journal.note, self._tell_endpoints))

    def _tell_endpoints(self) -> None:
        self._parent.event(
            "endpoints", endpoints=[url for server in self._servers for url in server.endpoints()]
        )

    # ---------------------------------------------------------------- supervisor

    async def _run_link(self) -> None:
        """Waits for an enrolment, then keeps the link."""
        identity = Identity(self._state.identity)
        while (enrolment := identity.enrolment()) is None:  # noqa: ASYNC110 - another program writes the file
            await asyncio.sleep(ENROLMENT_CHECK_S)
        link = GateLink(
            self._job, self._view, enrolment, self._commander,
            facts=lambda: self._facts, status=self._status, deploy=self._deploy, alarms=self._alarms,
        )  # fmt: skip
        for event in self._journal.recent(RECENT):  # what happened before there was a link
            link.note(event)
        self._link, self._journal.forward = link, link.note
        try:
            await link.run()
        finally:
            link.close()

    async def _tend(self) -> None:
        """Once a second: status to the supervisor, new programs to the servers."""
        generation = self._view.generation
        while True:
            with contextlib.suppress(TickworkError):  # the scan process starts anew: next time
                self._view.refresh()
                if self._link is not None:
                    self._link.send_status()
            if self._view.generation != generation:
                generation = self._view.generation
                for server in self._servers:
                    await server.rebind()
            await asyncio.sleep(STATUS_S)

    def _status(self) -> Status:
        made = status(
            self._facts,
            self._view,
            time_ns=time.time_ns(),
            clients=tuple(client for server in self._servers for client in server.clients()),
            endpoints=tuple(url for server in self._servers for url in server.endpoints()),
            buffered=self._link.buffer.pending if self._link else 0,
            lost=self._link.buffer.lost if self._link else 0,
        )
        return msgspec.structs.replace(made, alarms=self._alarms.health)

    # ---------------------------------------------------------------- orders to the parent

    async def _order(self, action: str, user: str) -> None:
        await self._parent.request("control", action=action, user=user, timeout_s=30.0)

    async def _deploy(self, path: str, identifier: str, user: str, cold: bool) -> DeployState:
        answer = await self._parent.request(
            "deploy", path=path, deployment=identifier, user=user, cold=cold, timeout_s=DEPLOY_S
        )
        return msgspec.convert(answer["deploy"], DeployState)

    # ---------------------------------------------------------------- local tools

    async def _answer(self, op: str, arguments: Message, user: str) -> Message:
        known = {
            "status": self._say_status, "read": self._read, "forces": self._forces, "journal": self._say_journal,
            "deploy": self._local_deploy, "metrics": self._say_metrics,
        }  # fmt: skip
        if op in known:
            return await known[op](arguments, user)
        if op.startswith("alarm"):
            return await AlarmDesk(self._alarms).answer(op, arguments, user)
        if op == "cold":
            await self._order("cold", user)
            return {}
        if op in ("write", "force", "unforce", "start", "stop", "restart", "reset_statistics"):
            outcome = await self._commander.execute(_command(op, arguments, user), "local")
            return {"outcome": msgspec.to_builtins(outcome)}
        raise control.unknown(op, known)

    async def _say_status(self, _arguments: Message, _user: str) -> Message:
        return {
            "status": msgspec.to_builtins(self._status()),
            "facts": msgspec.to_builtins(self._facts),
            "link": describe_link(self._link),
        }

    async def _say_metrics(self, _arguments: Message, _user: str) -> Message:
        return {"text": self._metrics.text().decode()}

    async def _say_journal(self, arguments: Message, _user: str) -> Message:
        return {"events": msgspec.to_builtins(self._journal.recent(int(arguments.get("count", 50))))}

    async def _read(self, arguments: Message, _user: str) -> Message:
        self._view.refresh()
        snapshot = self._view.snapshot()
        values = {}
        for path in arguments["paths"]:
            symbol = self._view.symbol(str(path))
            text = scan.format_value(symbol, scan.read_value(snapshot.block, symbol))
            values[symbol.path] = {
                "value": text,
                "quality": self._view.quality(symbol),
                "type": symbol.type_name,
            }
        return {"scan": snapshot.scan, "wall_ns": snapshot.wall_ns, "values": values}

    async def _forces(self, _arguments: Message, _user: str) -> Message:
        self._view.refresh()
        return {"forces": [_plain_force(force) for force in self._view.snapshot().forces]}

    async def _local_deploy(self, arguments: Message, user: str) -> Message:
        final = await self._deploy(str(arguments["path"]), "", user, bool(arguments.get("cold", False)))
        return {"deploy": msgspec.to_builtins(final)}


def _plain_force(force: scan.Force) -> Message:
    names = ("path", "value", "actual", "owner", "reason", "remaining_ns")
    return {name: getattr(force, name) for name in names}


def _command(op: str, arguments: Message, user: str) -> Command:
    texts = {str(path): str(value) for path, value in dict(arguments.get("values", {})).items()}
    return Command(
        "", op, texts, user, reason=str(arguments.get("reason", "")),  # type: ignore[arg-type]
        expected={str(path): str(value) for path, value in dict(arguments.get("expected", {})).items()},
        lease_s=int(arguments.get("lease_s", 0)),
    )  # fmt: skip


def opcua_server(
    job: GateJob,
    view: scan.NodeView,
    commander: Commander,
    devices: Callable[[], tuple[DeviceStatus, ...]],
    alarms: NodeAlarms,
) -> Server:
    """The OPC UA server of the plant file. Imported here: its library takes a second that others need not wait."""
    from drivers.opcua.server import OpcUaServer
    from runtime.gate_opcua import surroundings

    assert job.opcua is not None
    node = surroundings(commander, devices, alarms)
    return OpcUaServer(view, node, job.opcua.config(job.name, job.state / "opcua"))


def modbus_server(
    job: GateJob, view: scan.NodeView, commander: Commander, note: Callable[[Event], None]
) -> Server:
    """The Modbus server of the plant file. Imported here, as few nodes have one."""
    from drivers.modbus.server import ModbusServer

    assert job.modbus_server is not None
    return ModbusServer(
        view,
        functools.partial(commander.write_values, via="modbus"),
        job.modbus_server,
        node=job.name,
        version=job.version,
        on_problem=lambda problem: note(
            Event(time.time_ns(), "server", "modbus", problem.message, {"code": problem.code}, "warning")
        ),
    )


def sparkplug_server(
    job: GateJob, view: scan.NodeView, commander: Commander, note: Callable[[Event], None],
    devices: Callable[[], tuple[DeviceStatus, ...]],
) -> Server:  # fmt: skip
    """The edge node of the plant file. Imported here, as few nodes are one."""
    from runtime.gate_sparkplug import SparkplugServer

    assert job.sparkplug is not None
    return SparkplugServer(
        view, functools.partial(commander.write_values, via="sparkplug"), job.sparkplug, node=job.name,
        channels=job.io_map, folder=job.state / "sparkplug", devices=devices, note=note,
    )  # fmt: skip


async def _opened(segments: pathlib.Path) -> scan.NodeView:
    """The node's published state, as soon as the scan process has made it."""
    while True:
        try:
            return scan.NodeView.open(segments)
        except TickworkError:
            await asyncio.sleep(OPEN_RETRY_S)


async def serve() -> int:
    """The process: waits for its job, works until the parent says stop, dies or sends SIGTERM."""
    stopping = asyncio.Event()
    jobs: asyncio.Queue[GateJob] = asyncio.Queue()
    gates: list[Gate] = []
    early: list[tuple[str, Message]] = []

    def heard(event: str, fields: Message) -> None:
        if event == "stop":
            stopping.set()
        elif event == "job":
            jobs.put_nowait(msgspec.convert(fields["job"], GateJob, dec_hook=_decode))
        elif gates:
            gates[0].heard(event, fields)
        else:
            early.append((event, fields))

    peer = Peer(*await control.standard_streams(), listener=heard, name="the parent")
    reading = asyncio.create_task(peer.run())
    reading.add_done_callback(lambda _task: stopping.set())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    ending = asyncio.create_task(stopping.wait())
    first = asyncio.create_task(jobs.get())
    await asyncio.wait((ending, first), return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        return 0
    peer.event("ready")  # the rest waits for the scan process, however long that takes
    gates.append(Gate(first.result(), peer))
    for event, fields in early:
        gates[0].heard(event, fields)
    working = asyncio.create_task(gates[0].run())
    await asyncio.wait((ending, working), return_when=asyncio.FIRST_COMPLETED)
    return await _finished(working, peer)


async def _finished(working: asyncio.Task[None], peer: Peer) -> int:
    """Ends the work in order; its own failure is logged and becomes the return code."""
    failed = working.done()
    working.cancel()
    (result,) = await asyncio.gather(working, return_exceptions=True)
    with contextlib.suppress(ConnectionError):
        await peer.drain()
    if failed and isinstance(result, BaseException):
        logger.error("the gate failed", exc_info=result)
        return 1
    return 0


def _decode(wanted: type, value: object) -> object:
    if wanted is pathlib.Path:
        return pathlib.Path(str(value))
    raise NotImplementedError(wanted)


def main() -> int:
    log.configure("gate")
    os.umask(0o077)
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    return asyncio.run(serve())


if __name__ == "__main__":
    sys.exit(main())
