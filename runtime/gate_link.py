"""The link as part of the gate: feeds it with tags, status and events, and carries out what the supervisor asks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import programs
import scan
from runtime import control, gate_trace
from runtime.alarm_desk import AlarmDesk
from runtime.commander import Commander
from runtime.facts import Facts, GateJob
from runtime.gate_alarms import NodeAlarms
from runtime.link import (
    ARTIFACT_SIGNED,
    Batch,
    Command,
    CommandResult,
    Deploy,
    DeployState,
    Describe,
    Event,
    Fetch,
    Fetched,
    Status,
)  # fmt: skip
from runtime.plant import SupervisorSection
from runtime.state import StateDirectory, write_atomically
from runtime.uplink import State, Uplink
from runtime.uplink_alarms import AlarmForwarder
from runtime.uplink_buffer import Buffer
from runtime.uplink_client import LinkClient
from runtime.uplink_identity import Enrolment, Identity, check_url
from runtime.uplink_report import Changes, Reporter, describe, reported_symbols
from scan.problem import Problem, TickworkError, fail

log = structlog.get_logger("tickwork.link")

DAY_NS = 24 * 3600 * 1_000_000_000
LOST_CHECK_S = 5.0

Deployer = Callable[[str, str, str, bool], Awaitable[DeployState]]  # (path, id, user, cold)


class GateLink:
    """One supervisor. ``facts`` and ``status`` give the node's present state when they are sent."""

    def __init__(
        self,
        job: GateJob,
        view: scan.NodeView,
        enrolment: Enrolment,
        commander: Commander,
        *,
        facts: Callable[[], Facts],
        status: Callable[[], Status],
        deploy: Deployer,
        alarms: NodeAlarms,
    ) -> None:
        self._signer = Ed25519PublicKey.from_public_bytes(base64.b64decode(enrolment.supervisor_key))
        self._section = job.supervisor or SupervisorSection(enrolment.url)
        self._state = StateDirectory(job.state)
        self._view = view
        self._commander = commander
        self._facts, self._status, self._deploy = facts, status, deploy
        url = check_url(self._section.url or enrolment.url, allow_plain=self._section.allow_plain)
        self.buffer = Buffer(
            self._state.buffer,
            size_max=self._section.buffer_mb * 1024 * 1024,
            age_ns_max=self._section.buffer_days * DAY_NS,
        )
        self.uplink = Uplink(Identity(self._state.identity), enrolment.node_id, self.buffer)
        self.client = LinkClient(
            self.uplink,
            self.buffer,
            url,
            ca_file=self._section.ca_file,
            came_up=self._came_up,
            ordered=self._take_orders,
        )
        self._alarms = alarms
        self._alarm_forwarder = AlarmForwarder(alarms, self.uplink, self.client.wake)
        self._reporter: Reporter | None = None
        self._digest = ""
        self._symbols: tuple[scan.Symbol, ...] = ()
        self._generation = -1
        self._everything = False
        self._lost_told = 0
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; what is on its way to the disk is finished."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.client.run())
            group.create_task(self._report())
            group.create_task(self._alarm_forwarder.run())

    def close(self) -> None:
        for task in self._work:
            task.cancel()
        self.buffer.close()

    def note(self, event: Event) -> None:
        """An event of the node's journal goes to the supervisor too."""
        try:
            self.uplink.append_events((event,), time.time_ns())
        except TickworkError as error:
            log.error(error.problems[0].message, found=error.problems[0].found)
        self.client.wake()

    def send_status(self) -> None:
        self.uplink.say(self._status())
        self.client.wake()

    def deploy_state(self, state: DeployState) -> None:
        self.uplink.deploy_state(state)
        self.client.wake()

    # ---------------------------------------------------------------- tags

    async def _report(self) -> None:
        interval_s = self._section.report_interval_ms / 1000
        due = time.monotonic()
        while True:
            due = max(due + interval_s, time.monotonic())
            try:
                self._report_once()
            except (
                TickworkError
            ) as error:  # the scan process starts anew, or the disk is full: later all tags
                self._everything = True
                log.debug("no report", problem=str(error))
            except ValueError:  # the program has just changed
                self._generation = -1
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    def _report_once(self) -> None:
        self._view.refresh()
        if self._view.generation != self._generation:
            self._bind()
        if self._reporter is None:
            return
        now_ns = time.time_ns()
        changes = self._reporter.changes(everything=self._everything)
        self._everything = False
        historical = self.uplink.state is not State.UP
        for part in changes.batches():

            def numbered(seq: int, part: Changes = part) -> Batch:
                return part.batch(seq, self._digest, historical=historical)

            self.uplink.append(numbered, now_ns)
        self._tell_lost(now_ns)
        self.client.wake()

    def _bind(self) -> None:
        """A program was loaded or exchanged: other symbols, other offsets, a new description."""
        application = self._view.application
        self._generation = self._view.generation
        self._digest = application.digest if application else ""
        self._symbols = reported_symbols(application, self._section) if application else ()
        self._reporter = Reporter(self._view, self._symbols, self._section) if self._symbols else None
        self._everything = True
        self.uplink.say(self._description())

    def _tell_lost(self, now_ns: int) -> None:
        lost = self.buffer.lost
        if lost > self._lost_told:
            text = f"{lost - self._lost_told} messages were dropped from the full buffer of the link"
            self._lost_told = lost
            self.uplink.append_events(
                (Event(now_ns, "lost", "link", text, {"total": str(lost)}, "warning"),), now_ns
            )

    def _description(self) -> Describe:
        return describe(self._facts(), self._view.application, self._symbols)

    def _came_up(self) -> None:
        self.uplink.resume(self._description())
        self.uplink.say(self._status())
        self._everything = True
        self._alarm_forwarder.describe()

    # ---------------------------------------------------------------- orders

    def _take_orders(self) -> None:
        while self.uplink.orders:
            order = self.uplink.orders.popleft()
            task = asyncio.create_task(self._carry_out(order))
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    async def _carry_out(self, order: Command | Deploy | Fetch) -> None:
        """Every order gets an answer, also when carrying it out meets a fault of ours."""
        try:
            if isinstance(order, Command):
                self.uplink.result(await self._carry_out_command(order))
            elif isinstance(order, Deploy):
                await self._carry_out_deploy(order)
            else:
                self.uplink.fetched(await self._fetch(order))
        except Exception as error:
            log.exception("an order could not be carried out", order=type(order).__name__)
            self._answer_fault(order, Problem("CL9001", "this is a fault in tickwork", found=repr(error)))
        self.client.wake()

    def _answer_fault(self, order: Command | Deploy | Fetch, problem: Problem) -> None:
        now_ns = time.time_ns()
        if isinstance(order, Command):
            self.uplink.result(CommandResult(order.id, "uncertain", time_ns=now_ns, problem=problem))
        elif isinstance(order, Deploy):
            self.uplink.deploy_state(DeployState(order.id, "refused", problems=(problem,), time_ns=now_ns))
        else:
            self.uplink.fetched(Fetched(order.id, b"", problem))

    async def _carry_out_command(self, order: Command) -> CommandResult:
        if order.kind == "alarm":
            return await AlarmDesk(self._alarms).carry_out(order, time.time_ns())
        outcome = await self._commander.execute(order, "supervisor")
        return CommandResult(
            order.id, outcome.state, outcome.scan, time.time_ns(), outcome.value, outcome.problem  # type: ignore[arg-type]
        )  # fmt: skip

    async def _carry_out_deploy(self, order: Deploy) -> None:
        path = self._state.run / f"incoming-{hashlib.sha256(order.id.encode()).hexdigest()[:16]}.twa"
        try:
            if hashlib.sha256(order.artifact).hexdigest() != order.digest:
                raise fail(
                    "LK4010", "the artifact arrived damaged", expected=order.digest, remedy="deploy again"
                )
            self._check_signature(order)
            await asyncio.to_thread(programs.open_artifact, order.artifact)
            await asyncio.to_thread(write_atomically, path, order.artifact)
            await self._deploy(
                str(path), order.id, order.user, order.cold
            )  # its states come by ``deploy_state``
        except TickworkError as error:
            self.uplink.deploy_state(
                DeployState(order.id, "refused", problems=error.problems, time_ns=time.time_ns())
            )
        finally:
            path.unlink(missing_ok=True)

    def _check_signature(self, order: Deploy) -> None:
        """An artifact runs here only when the supervisor that this node is enrolled with signed its digest."""
        try:
            self._signer.verify(order.signature, ARTIFACT_SIGNED + order.digest.encode())
        except InvalidSignature as error:
            raise fail(
                "LK4012",
                "the artifact is not signed by the supervisor of this node",
                found="another signature" if order.signature else "no signature",
                remedy="deploy it through the supervisor that this node is enrolled with",
            ) from error

    async def _fetch(self, order: Fetch) -> Fetched:
        try:
            if order.kind == "values":
                return Fetched(order.id, msgspec.json.encode(self._exact(order.what)))
            if order.kind == "artifact":
                path = self._state.artifact(self._facts().artifact)
                return Fetched(order.id, await asyncio.to_thread(path.read_bytes))
            if order.kind == "trace" and order.question is not None:
                return Fetched(order.id, await gate_trace.answer(order.question, self._state.recordings))
            return Fetched(order.id, b"", Problem("LK4011", f"this node cannot hand out a {order.kind}"))
        except TickworkError as error:
            return Fetched(order.id, b"", error.problems[0])
        except OSError as error:
            return Fetched(
                order.id, b"", Problem("LK4011", f"the {order.kind} is not here", found=str(error))
            )

    def _exact(self, paths: tuple[str, ...]) -> dict[str, str]:
        self._view.refresh()
        block = self._view.snapshot().block
        symbols = {path: self._view.symbol(path) for path in paths}
        return {
            path: scan.format_value(symbol, scan.read_value(block, symbol))
            for path, symbol in symbols.items()
        }


def describe_link(link: GateLink | None) -> control.Message:
    """The link's state for local tools."""
    if link is None:
        return {"state": "not enrolled"}
    refused = link.uplink.refused
    return {
        "state": link.uplink.state.value,
        "error": refused.render() if refused else link.client.last_error,
        "buffered": link.buffer.pending,
        "lost": link.buffer.lost,
    }
