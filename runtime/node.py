"""The parent process of a node: starts scan, field and gate, and decides what each event means.

Rules.
* The scan process comes first and is the only one whose loss changes what the machine does; field and gate are
  started again for ever, the scan process as often as the plant file permits.
* A program reaches the scan process only when it was built completely; what ran before stays until then.
* The end goes the other way round: scan (outputs take their safe values), field (writes them), gate (says so).
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import structlog

from runtime import control, shm
from runtime.builder import Builder, Progress
from runtime.child import Child
from runtime.control import Message
from runtime.deployer import Deployer
from runtime.facts import Facts, GateJob, gate_job, version
from runtime.link import DeployState, DeviceStatus, Event
from runtime.plant import Plant
from runtime.program import Program
from runtime.restart import RestartPolicy
from runtime.retain import Restored, RetainStore
from runtime.satellite import Satellite
from runtime.scan_host import ScanHost
from runtime.state import Current, NodeFile, StateDirectory
from runtime.systemd import Notifier
from scan.problem import Problem, TickworkError

log = structlog.get_logger("tickwork.node")

OUTBOX_MAX = 1000  # journal events and states of deployments that wait for the gate
FACTS_INTERVAL_S = 1.0
_SATELLITE_WINDOW_S = 60.0
_T = TypeVar("_T")
_SCAN_STATES = {"trial": "running"}  # the node's state has no word for a trial


class Node:
    """A running node. ``run`` returns when it was asked to stop, or raises what kept it from starting."""

    def __init__(
        self,
        plant: Plant,
        state: StateDirectory,
        *,
        progress: Progress,
        ready: Callable[[Facts], None],
        serves: Callable[[str], None] = lambda url: None,
    ) -> None:
        self.own = plant
        self.state_directory = state
        self.program: Program | None = None
        self.state = "empty"
        self._progress = progress
        self._ready = ready
        self._serves = serves
        self._outbox: deque[tuple[str, Message]] = deque(maxlen=OUTBOX_MAX)
        self._jobs: set[asyncio.Task[Any]] = set()
        self._devices: tuple[DeviceStatus, ...] = ()
        self._stopping = asyncio.Event()
        self._notifier = Notifier()
        self._started_ns = time.time_ns()
        self._segments = shm.create(plant.name)
        self._recovering: asyncio.Task[None] | None = None
        self.program_lock = asyncio.Lock()  # loading, starting and stopping: one after another, whoever asks
        self.stopped_by_hand = False
        self.builder = Builder(state, plant)
        self.retain = RetainStore(state.retain)
        self.scan = ScanHost(self._segments, state.cache, plant.scan, self.retain, self._scan_says)
        self.field = self._satellite("field", {"id": 0, "op": "stop"}, self._set_up_field)
        self.gate = self._satellite("gate", {"event": "stop"}, self._set_up_gate)
        self._gate_job: GateJob | None = None
        self.deployer = Deployer(self)

    # ---------------------------------------------------------------- life

    async def run(self) -> None:
        """Runs until SIGTERM or SIGINT. Raises TickworkError when there is nothing that could run."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        starting = asyncio.create_task(self._start(), name="start of the node")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await self._stand_watch()
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await self._shut_down()

    def stop(self) -> None:
        self._stopping.set()

    async def _start(self) -> None:
        self._write_node_file()
        self.gate.start()
        engine = asyncio.create_task(self.scan.start(), name="start of the scan process")
        try:
            program = await self.deployer.first_program(self._progress)
            await engine
        finally:
            engine.cancel()
            await asyncio.gather(engine, return_exceptions=True)
        if program is not None:
            async with self.program_lock:
                await self.take_over(program)
                if program.plant.scan.start == "run":
                    await self.run_program("warm")
        self.note("start", "node", f"{self.own.name} started", fields={"version": version()})
        self._write_node_file()
        self._notifier.ready(f"{self.own.name}: {self.state}")
        self._ready(self.facts())

    async def take_over(self, program: Program) -> None:
        """Loads a program with its kept values into a scan process that runs none; field and gate follow."""
        await self.scan.load(program, self._kept_values(program))
        await self.adopt(program)

    async def adopt(self, program: Program) -> None:
        """The scan process has this program: everything around follows it."""
        before, self.program = self.program, program
        if before is None or before.plant.device_tables != program.plant.device_tables:
            self._devices = ()
            await self._follow_with_field(program)
        if self._gate_job is not None and self._gate_job != self._job_of_gate():
            await self.gate.restart()
        self.publish()

    async def _follow_with_field(self, program: Program) -> None:
        if not program.plant.devices:
            await self.field.stop()
        elif self.field.child is not None and self.field.state == "running":
            try:
                await self._configure_field(self.field.child)  # devices that stay as they are stay connected
            except TickworkError as error:
                self.note("device", "field", error.problems[0].message, severity="error")
                await self.field.restart()
        else:
            self.field.start()

    async def run_program(self, mode: str) -> None:
        self._enter(await self.scan.run(mode))

    async def halt_program(self) -> None:
        self._enter(await self.scan.halt())

    def _enter(self, state: str) -> None:
        self.state = _SCAN_STATES.get(state, state)
        self.publish()

    def _kept_values(self, program: Program) -> Restored:
        restored = self.scan.restored(program)
        if restored.problems and program.plant.retain.on_corrupt == "stop":
            raise TickworkError(*restored.problems)
        for problem in restored.problems:
            self.note("retain", "node", problem.message, severity="error")
        if restored.dropped:
            self.note("retain", "node", "kept values without a variable: " + ", ".join(restored.dropped[:20]),
                      severity="warning")  # fmt: skip
        return restored

    async def _stand_watch(self) -> None:
        """Facts to the gate, the watchdog of systemd, retained values to the disk: until the node stops."""
        saved = alive = published = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - saved >= self._retain_interval_s():
                saved = now
                await self._save_retained()
            if self._notifier.interval_s and now - alive >= self._notifier.interval_s:
                alive = now
                self._notifier.alive()
            if now - published >= FACTS_INTERVAL_S:
                published = now
                self.publish()
            pause_s = min(self._retain_interval_s(), FACTS_INTERVAL_S, self._notifier.interval_s or 60.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _shut_down(self) -> None:
        self._notifier.stopping()
        if self._recovering is not None:
            self._recovering.cancel()
        if self.program is not None:
            with contextlib.suppress(TickworkError):
                await self.halt_program()
            await self._save_retained()
            self.note("stop", "node", f"{self.own.name} stopped")
        await self.scan.stop()
        await self.field.stop()
        await self.gate.stop()
        self.state_directory.node_file.unlink(missing_ok=True)
        shm.remove(self._segments)

    # ---------------------------------------------------------------- what the scan process says

    def _scan_says(self, event: str, fields: Message) -> None:
        if event == "state":
            self._enter(str(fields.get("state", "")).lower())
        elif event == "fault":
            self._enter(str(fields.get("state", "fault")).lower())
            self._faulted(dict(fields.get("fault", {})))
        elif event == "exit":
            self._recover(self._restart_scan(int(fields.get("code", 0))))
        elif event == "overrun":
            count = fields.get("alarms", 1)
            self.note("overrun", "scan", f"{count} scans took longer than their period", severity="warning")

    def _faulted(self, fault: Message) -> None:
        """A fault of the program on trial leaves the node running: the deployment tells of that one."""
        place = f"{fault.get('pou', '')} ({fault.get('file', '')}:{fault.get('line', 0)})"
        text = f"{fault.get('code', '')} in {place}"
        self.note("fault", str(fault.get("task", "")), text, severity="error", fields=_texts(fault))
        if self.state == "fault" and self.program is not None and self.program.plant.scan.on_fault != "stop":
            self._recover(self._restart_program())

    def _recover(self, work: object) -> None:
        if self._recovering is None or self._recovering.done():
            self._recovering = asyncio.create_task(work)  # type: ignore[arg-type]

    async def _restart_program(self) -> None:
        delay_s = self.scan.next_restart_delay_s()
        if delay_s is None:
            self.note("fault", "node", "the program faulted too often and stays stopped", severity="error")
            return
        await asyncio.sleep(delay_s)
        assert self.program is not None
        async with self.program_lock:
            if self.stopped_by_hand or self.state != "fault":
                return  # a person was faster
            with contextlib.suppress(TickworkError):
                if self.program.plant.scan.on_fault == "restart-cold":
                    await self.scan.load(self.program, Restored())
                    await self.run_program("cold")
                else:
                    await self.run_program("warm")

    async def _restart_scan(self, code: int) -> None:
        """The scan process died: the field process has set safe values meanwhile; start with what was kept."""
        ran, self.state = self.state == "running", "stopped"
        await self._save_retained()
        self.note("fault", "scan", f"the scan process ended with code {code}", severity="error")
        while (delay_s := self.scan.next_restart_delay_s()) is not None:
            await asyncio.sleep(delay_s)
            try:
                async with self.program_lock:
                    await self.scan.start()
                    if self.program is not None:
                        await self._run_after_crash(self.program, ran=ran)
            except TickworkError as error:
                log.error("the scan process could not be restarted", problem=str(error))
                continue
            self.note("start", "scan", "the scan process runs again", severity="warning")
            return
        self.state = "fault"
        self.note("fault", "scan", "the scan process ended too often; outputs stay safe", severity="error")

    async def _run_after_crash(self, program: Program, *, ran: bool) -> None:
        """As the plant file says: the program waits for a start by hand, or runs again, warm or cold.

        A program that did not run before, or that a person has stopped meanwhile, waits in any case.
        """
        reaction = program.plant.scan.on_crash
        cold = reaction == "restart-cold"
        await self.scan.load(program, Restored() if cold else self._kept_values(program))
        if reaction == "stop" or not ran or self.stopped_by_hand:
            self._enter("stopped")
        else:
            await self.run_program("cold" if cold else "warm")

    # ---------------------------------------------------------------- field and gate

    def _satellite(self, name: str, stop_order: Message, setup: Callable[[Child], object]) -> Satellite:
        return Satellite(
            name, ("-m", f"runtime.{name}"), setup=setup, stop_order=stop_order,  # type: ignore[arg-type]
            listener=getattr(self, f"_{name}_says"), report=self._process_changed,
            policy=RestartPolicy(None, _SATELLITE_WINDOW_S),
            handler=self.answer if name == "gate" else control.refuse,
        )  # fmt: skip

    async def _set_up_field(self, child: Child) -> None:
        await child.ready()
        await self._configure_field(child)

    async def _configure_field(self, child: Child) -> None:
        assert self.program is not None
        plant = self.program.plant
        await child.request(
            "configure", segments=str(self._segments), devices=list(plant.device_tables),
            state=str(self.state_directory.root),
        )  # fmt: skip

    async def _set_up_gate(self, child: Child) -> None:
        self._gate_job = self._job_of_gate()
        child.peer.event("job", job=msgspec.to_builtins(self._gate_job, enc_hook=str))

    def _job_of_gate(self) -> GateJob:
        return gate_job(
            self.program.plant if self.program else self.own, self._segments, self.state_directory.root
        )

    def _process_changed(self, name: str, state: str, text: str) -> None:
        if state == "running" and name == "gate":
            asyncio.get_running_loop().call_soon(self.publish)
        elif text:
            self.note("process", name, text, severity="warning")

    def _field_says(self, event: str, fields: Message) -> None:
        if event == "devices":
            with contextlib.suppress(msgspec.ValidationError):
                first = not self._devices
                self._devices = msgspec.convert(fields.get("devices", ()), tuple[DeviceStatus, ...])
                if first:
                    self.publish()
        elif event == "device":
            state, name = str(fields.get("state", "")), str(fields.get("device", ""))
            severity = "info" if state == "online" else "warning"
            self.note("device", name, f"{state}: {fields.get('text', '')}".rstrip(": "), severity=severity)
        elif event == "problem":
            for problem in control.problems_of([fields.get("problem")]):
                log.error("the field process cannot work", problem=problem.render())
                self.note("device", "field", problem.message, severity="error")

    def _gate_says(self, event: str, fields: Message) -> None:
        if event == "endpoints":
            before = self._endpoints
            self._endpoints = tuple(str(one) for one in fields.get("endpoints", ()))
            for url in self._endpoints:
                if url not in before:
                    self._serves(url)
            self._write_node_file()

    _endpoints: tuple[str, ...] = ()

    async def answer(self, op: str, arguments: Message) -> Message:
        """What the gate may ask for, on behalf of a person at the supervisor or at this machine."""
        if op == "control":
            await self._finish(
                self.deployer.control(str(arguments["action"]), str(arguments.get("user", "")))
            )
            return {"state": self.state}
        if op == "deploy":
            order = self.deployer.deploy(
                pathlib.Path(arguments["path"]), identifier=str(arguments.get("deployment", "")),
                user=str(arguments.get("user", "")), cold=bool(arguments.get("cold", False)),
            )  # fmt: skip
            return {"deploy": msgspec.to_builtins(await self._finish(order))}
        if op == "facts":
            return {"facts": msgspec.to_builtins(self.facts())}
        raise control.unknown(op, ("control", "deploy", "facts"))

    async def _finish(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Does the work to its end, also when the gate that asked for it goes away meanwhile."""
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return await asyncio.shield(task)

    # ---------------------------------------------------------------- what the node says of itself

    def note(
        self,
        kind: str,
        source: str,
        text: str,
        *,
        severity: str = "info",
        fields: dict[str, str] | None = None,
    ) -> None:
        """An event for the journal; it waits here while the gate is away."""
        getattr(log, "info" if severity == "info" else severity)(text, kind=kind, source=source)
        event = Event(time.time_ns(), kind, source, text, fields or {}, severity)
        self._post("journal", {"entry": msgspec.to_builtins(event)})

    def deploy_state(self, state: DeployState) -> None:
        self._post("deploy", {"state": msgspec.to_builtins(state)})

    def _post(self, event: str, fields: Message) -> None:
        """To the gate, in order; what it cannot take now waits for the next one."""
        self._outbox.append((event, fields))
        self._send_outbox()

    def _send_outbox(self) -> None:
        while self._outbox and self.gate.event(self._outbox[0][0], **self._outbox[0][1]):
            self._outbox.popleft()

    def publish(self) -> None:
        self._send_outbox()
        self.gate.event("facts", facts=msgspec.to_builtins(self.facts()))

    def facts(self) -> Facts:
        program = self.program
        pids = {"parent": _own_pid(), "scan": self.scan.pid, "field": self.field.pid, "gate": self.gate.pid}
        return Facts(
            name=self.own.name,
            folder=str(self.own.folder),
            state=self.state,
            program=program.name if program else "",
            digest=program.digest if program else "",
            artifact=program.artifact if program else "",
            tasks=program.tasks if program else (),
            devices=self._devices,
            processes={
                "scan": "running" if self.scan.pid else "stopped", "field": self.field.state, "gate": self.gate.state
            },
            pids={name: pid for name, pid in pids.items() if pid},
            restarts={"scan": self.scan.restarts},
            started_ns=self._started_ns,
            version=version(),
        )  # fmt: skip

    def _write_node_file(self) -> None:
        facts = self.facts()
        self.state_directory.write_node_file(
            NodeFile(
                facts.name, _own_pid(), facts.folder, str(self._segments), str(self.state_directory.socket),
                facts.state, facts.digest, facts.artifact, facts.program, facts.pids, self._endpoints, facts.version,
            )
        )  # fmt: skip

    def remember(self, current: Current) -> None:
        """The artifact that runs is the one to start with from now on."""
        self.state_directory.set_current(current)
        self._write_node_file()

    def _retain_interval_s(self) -> float:
        plant = self.program.plant if self.program else self.own
        return plant.retain.interval_ms / 1000

    async def _save_retained(self) -> None:
        try:
            await asyncio.to_thread(self.scan.save_retained)
        except (OSError, TickworkError) as error:
            problem = Problem("PL5002", "retained values cannot be saved", found=str(error))
            log.error(problem.message, found=problem.found)


def _own_pid() -> int:
    import os

    return os.getpid()


def _texts(fields: Message) -> dict[str, str]:
    return {key: str(value) for key, value in fields.items()}
