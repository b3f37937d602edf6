"""Services of a made-up plant for page tests: in memory, lively, without a database or a runtime."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

from runtime.link import DeviceStatus, GroupStatus, TaskStatus
from scan.problem import Place, Problem, fail
from supervisor.compiler import CaseResult, ProgramTests
from supervisor.language_worker import Choice, Help
from supervisor.model import (
    NEWEST,
    About,
    Actor,
    ApiKey,
    AuditEntry,
    AuditVerdict,
    CheckReport,
    CommandRow,
    Deployment,
    EnrolmentToken,
    EventRow,
    FileDiff,
    Force,
    Gap,
    Login,
    Page,
    Plan,
    PlanChange,
    Project,
    ProjectDetail,
    Role,
    Runtime,
    RuntimeDetail,
    Secret,
    Series,
    SeriesKey,
    SourceFile,
    TagValue,
    Target,
    Trace,
    Update,
    User,
    Version,
)
from supervisor.problems import not_found, require
from supervisor.services import Services, StreamEnded
from tests.supervisor.pages.fake_alarms import FakeAlarms
from tests.supervisor.pages.fake_notify import FakeNotify
from tests.supervisor.pages.fake_recordings import FakeRecordings
from tests.supervisor.pages.fake_screens import FakeScreens, FakeWatchLists

S = 1_000_000_000
PASSWORD = "a long enough password"
HOSTILE = "Evil.<script>alert(1)</script>\"'&{{7*7}}"
SOURCE = """(* Two-point control of the level. *)
PROGRAM Control
VAR
    Level1 : REAL;
    Inlet : SR;
    Delay : TON;
END_VAR
    Inlet(S1 := Level1 < 40.0, R := Level1 > 70.0);
    Delay(IN := Inlet.Q1, PT := T#5s);
    IF Delay.Q THEN
        Level1 := Level1 + 0.1;
    END_IF;
END_PROGRAM

CONFIGURATION Water
    RESOURCE Plc ON PLC
        TASK Fast(INTERVAL := T#20ms, PRIORITY := 1);
        PROGRAM Control WITH Fast : Control;
    END_RESOURCE
END_CONFIGURATION
"""

TAGS: list[tuple[str, str, str, float | None, float | None, bool, str, str]] = [
    ("Control.Level1", "REAL", "%", 0, 100, False, "level of the raw water tank", ""),
    ("Control.Level2", "REAL", "%", 0, 100, False, "level of the clean water tank", ""),
    ("Control.Flow", "REAL", "l/s", 0, 12, False, "pump to tank 2", ""),
    ("Control.Temperature", "REAL", "°C", 0, 120, False, "pump motor", ""),
    ("Control.PumpSpeed", "REAL", "%", 0, 100, False, "", ""),
    ("Control.Level1Low", "REAL", "%", 0, 100, True, "open the inlet below", ""),
    ("Control.Level1High", "REAL", "%", 0, 100, True, "close the inlet above", ""),
    ("Control.FlowSetpoint", "REAL", "l/s", 0, 10, True, "", ""),
    ("Control.Auto", "BOOL", "", None, None, True, "FALSE: everything off", ""),
    ("Control.Pump.State", "INT", "", None, None, False, "", ""),
    ("Level1Raw", "INT", "", None, None, False, "", "%IW0"),
    ("OverTemperature", "BOOL", "", None, None, False, "", "%IX16.0"),
    ("PumpRun", "BOOL", "", None, None, False, "", "%QX0.0"),
    ("SpeedSetpointRaw", "INT", "", None, None, False, "", "%QW1"),
    ("Totals.Delivered", "LREAL", "l", None, None, False, "pumped to tank 2", ""),
    ("Totals.PumpTime", "TIME", "", None, None, False, "", ""),
    (HOSTILE, "STRING", "<b>", None, None, True, "<img src=x onerror=alert(1)>", ""),
]
BY_PATH = {tag[0]: tag for tag in TAGS}
STATES = (("Stopped", 0), ("Starting", 1), ("Running", 2), ("Stopping", 3), ("Tripped", 4))


def signal(path: str, seconds: float) -> tuple[Any, str]:
    wave = math.sin(seconds / 20)
    if path.endswith("Level1"):
        value = 55 + 15 * wave + 0.3 * math.sin(seconds * 3)
    elif path.endswith("Level2"):
        value = 60 - 15 * math.sin(seconds / 20 + 0.8)
    elif path.endswith("Flow"):
        value = max(0.0, 6 + 2 * wave + 0.05 * math.sin(seconds * 7))
    elif path == "Control.Temperature":
        value = 52.3 + 8 * wave
    elif path.endswith("PumpSpeed"):
        value = 61 + 9 * wave
    elif path.endswith("Raw"):
        return (number := int(15000 + 4000 * wave)), str(number)
    elif path.endswith("Delivered"):
        value = 184_223.25 + seconds % 100_000
    elif path.endswith("PumpTime"):
        return None, "T#1d4h12m3s"
    elif path.endswith("State"):
        return 2, "Running"
    elif path in ("PumpRun", "Control.Auto"):
        return True, "TRUE"
    elif path == "OverTemperature":
        return False, "FALSE"
    elif path == HOSTILE:
        return "</td><script>alert(2)</script>", "'</td><script>alert(2)</script>'"
    else:
        value = {"Control.Level1Low": 40.0, "Control.Level1High": 70.0}.get(path, 6.0)
    return value, f"{value:.7g}"


class Plant:
    """The state that all fakes share."""

    def __init__(self) -> None:
        self.started_ns = time.time_ns()
        self.lost: set[str] = {"n3"}
        self.written: dict[str, tuple[Any, str]] = {}
        self.forced: dict[tuple[str, str], Force] = {}
        self.commands: list[CommandRow] = []
        self.events: list[EventRow] = []
        self.audit: list[AuditEntry] = []
        self.deployments: list[Deployment] = []
        self.digests = {"n1": "9f31c2ab77", "n2": "9f31c2ab77", "n3": "51ad0e8821"}
        self.changed = asyncio.Event()
        self.faulted = {"n4"}
        self.subscriptions = 0
        self.drops = 0  # how often all streams were cut
        for index in range(18):
            self.event("n1", "device" if index % 4 == 0 else "info", f"plant answered again after {index} s")
        self.event("n4", "fault", "division by zero in Control, line 42", severity="error")
        self.event("n1", "info", f"a tag named {HOSTILE}")

    def event(self, node: str, kind: str, text: str, severity: str = "info") -> None:
        now = time.time_ns()
        seq = len(self.events) + 1
        self.events.insert(
            0, EventRow(seq, node, self.name(node), now - 60 * S, now, kind, severity, "plant", text)
        )

    @staticmethod
    def name(node: str) -> str:
        return {
            "n1": "water-north",
            "n2": "water-south",
            "n3": "press-7",
            "n4": "boiler",
            "n5": "spare <i>",
        }.get(node, node)

    def scan(self) -> int:
        return (time.time_ns() - self.started_ns) // 20_000_000 + 184_223

    def runtime(self, node: str) -> Runtime:
        now = time.time_ns()
        down, fault, never = node in self.lost, node in self.faulted, node == "n5"
        forces = sum(1 for held, _ in self.forced if held == node)
        attention = (
            "division by zero in Control, line 42"
            if fault
            else "no link for 4 min"
            if down
            else "1 of 2 devices does not answer"
            if node == "n2"
            else f"{forces} forced"
            if forces
            else ""
        )
        return Runtime(
            node_id=node,
            name=self.name(node),
            link="never" if never else "down" if down else "up",
            state="empty" if never else "fault" if fault else "running",
            rank=0 if fault else 1 if down else 2 if attention else 9,
            attention=attention,
            link_since_ns=self.started_ns,
            seen_ns=0 if never else now - 240 * S if down else now - now % S,
            digest="" if never else self.digests.get(node, "77e0aa10c4") + "0" * 54,
            application="" if never else "Water",
            version="0.1.0",
            address="" if never else f"10.0.0.{node[1]}:51514",
            tags=0 if never else len(TAGS),
            scan=0 if never else self.scan(),
            forces=forces,
            devices=0 if never else 2 if node == "n2" else 1,
            devices_online=0 if never or down else 1,
            buffered=1200 if down else 0,
            enrolled_ns=self.started_ns,
        )

    def value(self, node: str, path: str) -> TagValue:
        row = BY_PATH.get(path)
        if row is None:
            raise not_found("tag", path)
        now = time.time_ns()
        value, text = self.written.get(path) or signal(path, now / S)
        quality, words = 0, "good"
        if path == "Level1Raw" and node == "n2":
            quality, words = 0x8031_0000 >> 16, "bad: no communication"
        if path == "Control.Temperature":
            quality, words = 0x4090, "uncertain: last usable value"
        held = self.forced.get((node, path))
        if held:
            text, quality, words = held.text, 0x0096, "forced"
        return TagValue(
            node_id=node,
            path=path,
            type=row[1],
            value=value,
            text=text,
            quality=quality,
            quality_text=words,
            time_ns=now,
            stale=node in self.lost,
            unit=row[2],
            low=row[3],
            high=row[4],
            writable=row[5],
            comment=row[6],
            location=row[7],
            enum_values=STATES if path.endswith("State") else (),
        )


class FakeSubscription:
    def __init__(self, plant: Plant, tags: dict[str, tuple[str, ...]]) -> None:
        self.plant, self.tags, self.open, self.drops = plant, tags, True, plant.drops
        plant.subscriptions += 1

    async def next(self, *, interval_ms: int = 250, beat_ms: int = 2000) -> Update:
        await asyncio.sleep(interval_ms / 1000)
        if not self.open or self.drops != self.plant.drops:
            raise StreamEnded
        values = tuple(
            self.plant.value(node, path)
            for node, paths in self.tags.items()
            if node not in self.plant.lost
            for path in paths
            if path in BY_PATH
        )
        nodes = ("n1", "n2", "n3", "n4", "n5")
        events = tuple(self.plant.events[:1])
        return Update(
            values,
            tuple(self.plant.runtime(node) for node in nodes),
            events,
            (),
            tuple(self.plant.deployments),
        )

    def close(self) -> None:
        if self.open:
            self.open = False
            self.plant.subscriptions -= 1


class FakeFleet:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def runtimes(self, actor: Actor) -> tuple[Runtime, ...]:
        found = [self.plant.runtime(node) for node in ("n1", "n2", "n3", "n4", "n5")]
        return tuple(sorted(found, key=lambda runtime: (runtime.rank, runtime.name)))

    async def runtime(self, actor: Actor, node_id: str) -> RuntimeDetail:
        if node_id not in ("n1", "n2", "n3", "n4", "n5"):
            raise not_found("runtime", node_id)
        runtime = self.plant.runtime(node_id)
        if node_id == "n5":
            return RuntimeDetail(runtime)
        grow = self.plant.scan()
        curve = tuple(int(grow * math.exp(-(((i - 250) / 14) ** 2))) for i in range(592))
        tasks = (
            _task("Fast", 20_000_000, grow, 0, curve),
            _task("Slow", 100_000_000, grow // 5, 2 if node_id == "n2" else 0, curve),
        )
        devices = [
            DeviceStatus(
                "plant",
                "modbus-tcp",
                "127.0.0.1:5020",
                "online",
                0,
                grow,
                3,
                420_000,
                1_900_000,
                rate_per_s=20.0,
                timeouts=2,
                retries=3,
                exceptions={"2": 1},
                groups=(GroupStatus("levels", 0, 10.0, grow, 1, 1, 1, 0, {"2": 1}, 400_000, 1_800_000),),
            )
        ]
        if node_id == "n2":
            devices.append(
                DeviceStatus(
                    "dosing",
                    "modbus-tcp",
                    "10.0.0.40:502",
                    "offline",
                    0x8031,
                    210,
                    210,
                    last_error="no answer within 500 ms",
                )
            )
        fault = None
        if node_id == "n4":
            fault = Problem(
                "RF1001",
                "division by zero",
                Place("main.st", 42, 17, 5),
                found="0",
                source_line="    Ratio := Flow / Zero;",
                remedy="guard the divisor, then deploy the change",
            )
        return RuntimeDetail(
            runtime,
            tasks,
            tuple(devices),
            ("opcua 10.0.0.7:51514",),
            ("opc.tcp://10.0.0.1:4840",),
            {"scan": "running", "field": "running", "gate": "running"},
            fault,
            time.time_ns(),
        )

    async def tags(self, actor: Actor, node_id: str, paths: tuple[str, ...] = ()) -> tuple[TagValue, ...]:
        if node_id == "n5":
            return ()
        return tuple(self.plant.value(node_id, path) for path in (paths or tuple(tag[0] for tag in TAGS)))

    async def forces(self, actor: Actor, node_id: str) -> tuple[Force, ...]:
        return tuple(force for (node, _), force in self.plant.forced.items() if node == node_id)

    async def rename(self, actor: Actor, node_id: str, name: str) -> Runtime:
        return self.plant.runtime(node_id)

    async def revoke(self, actor: Actor, node_id: str, reason: str) -> None:
        require(actor, Role.ADMIN)
        self.plant.lost.add(node_id)

    async def events(
        self, actor: Actor, *, node_id: str = "", kind: str = "", page: Page = NEWEST
    ) -> tuple[EventRow, ...]:
        found = [
            row
            for row in self.plant.events
            if (not node_id or row.node_id == node_id)
            and (not kind or row.kind == kind)
            and (not page.before or row.seq < page.before)
        ]
        return tuple(found[: page.limit])

    def subscribe(
        self, actor: Actor, *, tags: Any = None, fleet: bool = False, after_seq: int | None = None
    ) -> Any:
        return FakeSubscription(self.plant, tags or {})


def _task(name: str, period_ns: int, scans: int, overruns: int, curve: tuple[int, ...]) -> TaskStatus:
    return TaskStatus(
        name,
        period_ns,
        scans,
        overruns,
        38_000,
        112_000,
        860_000,
        21_000,
        44_000,
        390_000,
        time.time_ns() - 3600 * S,
        curve,
        tuple(reversed(curve)),
    )


class FakeHistory:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def series(
        self, actor: Actor, *, node_id: str = "", search: str = "", limit: int = 1000
    ) -> tuple[Series, ...]:
        return tuple(
            Series(
                node,
                self.plant.name(node),
                tag[0],
                tag[1],
                tag[2],
                tag[3],
                tag[4],
                self.plant.started_ns,
                time.time_ns(),
            )
            for node in ("n1", "n2")
            for tag in TAGS
            if (not node_id or node == node_id) and search.lower() in tag[0].lower()
        )[:limit]

    async def trend(
        self, actor: Actor, keys: tuple[SeriesKey, ...], *, from_ns: int, to_ns: int, points: int
    ) -> tuple[Trace, ...]:
        return tuple(self._trace(key, from_ns, to_ns, points) for key in keys)

    def _trace(self, key: SeriesKey, from_ns: int, to_ns: int, points: int) -> Trace:
        row = next((tag for tag in TAGS if tag[0] == key.path), None)
        if row is None or row[1] in ("STRING", "TIME"):
            return Trace(key, (), (), ())
        number = min(points, 600)
        step = max((to_ns - from_ns) // max(number, 1), 1)
        times = tuple(from_ns + index * step for index in range(number))
        hole = (number // 2, number // 2 + number // 20)
        values = tuple(
            None if hole[0] <= i < hole[1] else float(signal(key.path, t / S)[0]) for i, t in enumerate(times)
        )
        gap = Gap(times[hole[0]], times[hole[1]], "no link") if number > 40 else None
        return Trace(
            key,
            times,
            values,
            tuple(0 for _ in times),
            (gap,) if gap else (),
            unit=row[2],
            decimated=(to_ns - from_ns) > 3600 * S,
            samples=number * 37,
        )

    async def raw(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, limit: int = 10_000
    ) -> Trace:
        return self._trace(key, from_ns, to_ns, min(limit, 500))

    async def aggregate(
        self, actor: Actor, key: SeriesKey, *, from_ns: int, to_ns: int, interval_ns: int
    ) -> Any:
        return ()


class FakePrograms:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.files = {
            1: {"main.st": SOURCE, "plant.toml": '[node]\nname = "water"\n', "types.st": "TYPE\nEND_TYPE\n"}
        }
        self.names = {1: "water"}
        self.saved: dict[int, list[dict[str, str]]] = {1: [dict(self.files[1])]}
        self.saved[1][0]["main.st"] = SOURCE.replace("40.0", "35.0")
        self.saved[1].append(dict(self.files[1]))
        self.edits = 0

    def _project(self, number: int) -> Project:
        if number not in self.names:
            raise not_found("project", number)
        dirty = not self.saved[number] or self.saved[number][-1] != self.files[number]
        return Project(
            number,
            self.names[number],
            len(self.saved[number]),
            time.time_ns() - 90 * S,
            "ada",
            f"d{self.edits}",
            dirty,
        )

    async def projects(self, actor: Actor) -> tuple[Project, ...]:
        return tuple(self._project(number) for number in self.names)

    async def project(self, actor: Actor, project_id: int) -> ProjectDetail:
        project = self._project(project_id)
        files = tuple(SourceFile(path, text) for path, text in sorted(self.files[project_id].items()))
        versions = tuple(
            Version(
                project_id, n, f"change {n}", time.time_ns() - (10 - n) * 3600 * S, "ada", f"{n}c0ffee0123"
            )
            for n in range(len(self.saved[project_id]), 0, -1)
        )
        return ProjectDetail(project, files, versions)

    async def create(self, actor: Actor, name: str, files: tuple[SourceFile, ...]) -> ProjectDetail:
        require(actor, Role.ENGINEER)
        number = max(self.names) + 1
        self.names[number], self.files[number], self.saved[number] = name, {f.path: f.text for f in files}, []
        return await self.project(actor, number)

    async def upload(self, actor: Actor, name: str, archive: bytes) -> ProjectDetail:
        return await self.create(actor, name, (SourceFile("main.st", SOURCE),))

    async def save(
        self, actor: Actor, project_id: int, path: str, text: str, *, draft_digest: str = ""
    ) -> Project:
        require(actor, Role.ENGINEER)
        if draft_digest and draft_digest != f"d{self.edits}":
            raise fail(
                "SV1006", "the draft changed meanwhile", remedy="load the page again and repeat your change"
            )
        self.files[project_id][path] = text
        self.edits += 1
        return self._project(project_id)

    async def remove(self, actor: Actor, project_id: int, path: str) -> Project:
        self.files[project_id].pop(path, None)
        self.edits += 1
        return self._project(project_id)

    async def check(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> CheckReport:
        texts = dict(self.files[project_id]) | {f.path: f.text for f in files}
        problems = []
        for path, text in texts.items():
            for index, line in enumerate(text.splitlines()):
                if "Levl" in line:
                    problems.append(
                        Problem(
                            "ST3001",
                            "'Levl1' is not declared",
                            Place(path, index + 1, line.index("Levl") + 1, 5),
                            source_line=line,
                            remedy="did you mean 'Level1'?",
                        )
                    )
        return CheckReport(not problems, tuple(problems), f"d{self.edits}", 4)

    async def test(self, actor: Actor, project_id: int, files: tuple[SourceFile, ...] = ()) -> ProgramTests:
        problem = Problem("PT1003", f"expected 1.0 {HOSTILE}", Place("tests/plant.toml", 3), "1.0", "2.0")
        if project_id != 1:
            return ProgramTests(False, (), (problem,), 40)
        passed = CaseResult("tests/plant.toml", "fills", True, 1200, 24 * S)
        return ProgramTests(
            False, (passed, CaseResult("tests/plant.toml", HOSTILE, False, 3, S, (problem,))), (), 900
        )

    async def help(self, actor: Actor, project_id: int, edited: SourceFile, place: Place, what: str) -> Help:
        if what == "describe":
            return Help(text=f"Level1 : REAL {HOSTILE}")
        return Help((Choice("Level1", "variable", "REAL", HOSTILE, "Level1"),))

    async def publish(self, actor: Actor, project_id: int, message: str) -> Version:
        report = await self.check(actor, project_id)
        if not report.ok:
            raise fail("ST3001", "'Levl1' is not declared", place=report.problems[0].place)
        self.saved[project_id].append(dict(self.files[project_id]))
        return (await self.project(actor, project_id)).versions[0]

    async def version(self, actor: Actor, project_id: int, number: int) -> tuple[SourceFile, ...]:
        return tuple(
            SourceFile(path, text) for path, text in sorted(self.saved[project_id][number - 1].items())
        )

    async def diff(self, actor: Actor, project_id: int, old: int, new: int) -> tuple[FileDiff, ...]:
        def texts(number: int) -> dict[str, str]:
            return self.saved[project_id][number - 1] if number else self.files[project_id]

        found = []
        for path in sorted(set(texts(old)) | set(texts(new))):
            before, after = texts(old).get(path, ""), texts(new).get(path, "")
            if before != after:
                lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3))[
                    2:
                ]
                found.append(FileDiff(path, "changed", _numbered(lines)))
        return tuple(found)


def _numbered(lines: list[str]) -> tuple[tuple[str, int, int, str], ...]:
    rows, old, new = [], 0, 0
    for line in lines:
        if line.startswith("@@"):
            old, new = (int(part.split(",")[0][1:]) for part in line.split()[1:3])
            rows.append(("@", 0, 0, line))
        elif line.startswith("-"):
            rows.append(("-", old, 0, line[1:]))
            old += 1
        elif line.startswith("+"):
            rows.append(("+", 0, new, line[1:]))
            new += 1
        else:
            rows.append((" ", old, new, line[1:]))
            old, new = old + 1, new + 1
    return tuple(rows)


STEPS = ("pending", "sent", "received", "compiling", "swapping", "trial", "running")


class FakeDeployments:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def create(
        self,
        actor: Actor,
        *,
        targets: tuple[str, ...],
        project_id: int = 0,
        version: int = 0,
        artifact: bytes = b"",
        reason: str = "",
        cold: bool = False,
    ) -> Deployment:
        require(actor, Role.ENGINEER)
        now = time.time_ns()
        rows = tuple(Target(node, self.plant.name(node), "pending", now, now + 60 * S) for node in targets)
        outside = bool(artifact) or reason == "no"
        made = Deployment(
            len(self.plant.deployments) + 1,
            "c0ffee0123",
            "Water",
            0 if outside else project_id,
            0 if outside else version or 2,
            now,
            actor.name,
            reason,
            "running",
            rows,
            cold,
        )
        self.plant.deployments.insert(0, made)
        return made

    def _now(self, deployment: Deployment) -> Deployment:
        steps = min(int((time.time_ns() - deployment.created_ns) / S / 0.7), len(STEPS) - 1)
        refused = "no" in deployment.reason
        targets = []
        for target in deployment.targets:
            names = STEPS[: min(steps, 3) + 1] if refused else STEPS[: steps + 1]
            if refused and steps > 3:
                names = (*names, "refused")
            timeline = tuple((name, deployment.created_ns + i * 700_000_000) for i, name in enumerate(names))
            problem = (
                Problem("ST3001", "'Levl1' is not declared", Place("main.st", 8, 3, 5))
                if names[-1] == "refused"
                else None
            )
            digest = "c0ffee0123" + "0" * 54 if names[-1] == "running" else ""
            if digest:
                self.plant.digests[target.node_id] = digest[:10]
            targets.append(
                msgspec.structs.replace(
                    target,
                    state=names[-1],
                    timeline=timeline,
                    changed_ns=timeline[-1][1],
                    digest=digest,
                    problems=(problem,) if problem else (),
                )
            )
        ended = all(target.state in ("running", "refused") for target in targets)
        state = "running" if not ended else "failed" if refused else "succeeded"
        return msgspec.structs.replace(deployment, targets=tuple(targets), state=state)

    async def list(self, actor: Actor, *, node_id: str = "", page: Page = NEWEST) -> tuple[Deployment, ...]:
        found = [self._now(one) for one in self.plant.deployments]
        return tuple(one for one in found if not node_id or any(t.node_id == node_id for t in one.targets))

    async def get(self, actor: Actor, deployment_id: int) -> Deployment:
        for one in self.plant.deployments:
            if one.id == deployment_id:
                return self._now(one)
        raise not_found("deployment", deployment_id)

    async def plan(
        self, actor: Actor, *, targets: tuple[str, ...], project_id: int, version: int = 0
    ) -> tuple[Plan, ...]:
        changes = (
            PlanChange("tag", "added", "Control.Delay", new="TON"),
            PlanChange("tag", "changed", "Control.Level1Low", "INT", "REAL"),
            PlanChange("retain", "lost", "Totals.Old", "LREAL", ""),
            PlanChange("task", "changed", "Fast", "20 ms", "10 ms"),
        )
        return tuple(
            Plan(
                node,
                self.plant.name(node),
                self.plant.digests.get(node, ""),
                "c0ffee0123",
                changes,
                ("one value is forced; the force stays",) if node == "n2" else (),
            )
            for node in targets
        )

    async def abort(self, actor: Actor, deployment_id: int) -> Deployment:
        return await self.get(actor, deployment_id)


class FakeCommands:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant

    async def send(
        self,
        actor: Actor,
        node_id: str,
        kind: str,
        values: dict[str, str] | None = None,
        *,
        reason: str = "",
        expected: Any = None,
        expires_s: int = 30,
        lease_s: int = 0,
        idempotency_key: str = "",
    ) -> CommandRow:
        require(actor, Role.OPERATOR)
        now = time.time_ns()
        number = len(self.plant.commands) + 1
        row = CommandRow(
            f"c{number}",
            number,
            node_id,
            self.plant.name(node_id),
            kind,
            values or {},
            "queued",
            actor.name,
            reason,
            now,
            now,
            now + expires_s * S,
        )
        self.plant.commands.append(row)
        for path, text in (values or {}).items():
            if kind == "force":
                self.plant.forced[(node_id, path)] = Force(
                    node_id, path, text, actor.name, reason, now, now + lease_s * S
                )
            elif kind == "unforce":
                self.plant.forced.pop((node_id, path), None)
            elif kind == "write":
                number_text = text.replace(".", "", 1).lstrip("-")
                self.plant.written[path] = (float(text) if number_text.isdecimal() else text, text)
        return row

    async def get(self, actor: Actor, command_id: str) -> CommandRow:
        for row in self.plant.commands:
            if row.id == command_id:
                if time.time_ns() - row.created_ns < 0.6 * S:
                    return msgspec.structs.replace(row, state="sent")
                if "99" in row.values.values():
                    return msgspec.structs.replace(
                        row,
                        state="rejected",
                        problem=Problem("SC2004", "the value was not as expected", found="98"),
                    )
                return msgspec.structs.replace(
                    row, state="effective", scan=self.plant.scan(), value=next(iter(row.values.values()), "")
                )
        raise not_found("command", command_id)

    async def list(self, actor: Actor, *, node_id: str = "", page: Page = NEWEST) -> tuple[CommandRow, ...]:
        return tuple(reversed(self.plant.commands))


class FakePeople:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.ids = itertools.count(10)
        self.people = {
            "ada": User(1, "ada", "Ada L.", Role.ADMIN, True, plant.started_ns, plant.started_ns),
            "eva": User(2, "eva", "Eva <b>E</b>", Role.ENGINEER, True, plant.started_ns),
            "otto": User(3, "otto", "Otto", Role.OPERATOR, True, plant.started_ns),
            "vera": User(4, "vera", "Vera", Role.VIEWER, True, plant.started_ns),
        }
        self.sessions: dict[str, Login] = {}
        self.claimed = True
        self.keys: list[ApiKey] = []
        self.tokens = [EnrolmentToken(9, "water-north", "ada", 1, 2, plant.started_ns, "n1")]

    async def needs_first_admin(self) -> bool:
        return not self.claimed

    async def claim(
        self, token: str, name: str, password: str, *, address: str, full_name: str = ""
    ) -> Login:
        if token != "once" or self.claimed:
            raise fail("SV1104", "this link was used already", remedy="log in")
        self.claimed = True
        self.people[name] = User(next(self.ids), name, full_name, Role.ADMIN, True, time.time_ns())
        return await self.login(name, PASSWORD, address=address)

    async def login(self, name: str, password: str, *, address: str) -> Login:
        user = self.people.get(name)
        if user is None or password != PASSWORD or not user.enabled:
            raise fail("SV1101", "name or password is wrong", remedy="try again")
        token = f"token-{name}-{next(self.ids)}"
        actor = Actor(user.name, user.role, "page", address, user.id, user.full_name)
        self.sessions[token] = Login(token, f"csrf-{token}", actor, time.time_ns() + 3600 * S)
        return self.sessions[token]

    async def session(self, token: str, *, address: str) -> Login | None:
        return self.sessions.get(token)

    async def key_holder(self, secret: str, *, address: str) -> Actor | None:
        return None

    async def logout(self, token: str) -> None:
        self.sessions.pop(token, None)

    async def set_password(self, actor: Actor, user_id: int, password: str, *, old: str = "") -> None:
        if user_id == actor.user_id and old != PASSWORD:
            raise fail("SV1101", "the current password is wrong")

    async def users(self, actor: Actor) -> tuple[User, ...]:
        require(actor, Role.ADMIN)
        return tuple(self.people.values())

    async def create_user(
        self, actor: Actor, name: str, password: str, role: Role, *, full_name: str = ""
    ) -> User:
        require(actor, Role.ADMIN)
        if name in self.people:
            raise fail(
                "SV1005", "there is a user of this name already", found=name, remedy="choose another name"
            )
        self.people[name] = User(next(self.ids), name, full_name, role, True, time.time_ns())
        return self.people[name]

    async def change_user(
        self, actor: Actor, user_id: int, *, role: Role | None = None, enabled: bool | None = None
    ) -> User:
        require(actor, Role.ADMIN)
        name = next(name for name, user in self.people.items() if user.id == user_id)
        if name == "ada":
            raise fail("SV1107", "the last administrator stays", remedy="make another administrator first")
        user = self.people[name]
        self.people[name] = msgspec.structs.replace(
            user, role=role or user.role, enabled=user.enabled if enabled is None else enabled
        )
        return self.people[name]

    async def api_keys(self, actor: Actor) -> tuple[ApiKey, ...]:
        return tuple(self.keys)

    async def create_api_key(
        self, actor: Actor, name: str, role: Role, *, expires_days: int = 90, nodes: tuple[str, ...] = ()
    ) -> Secret:
        number = next(self.ids)
        expires = time.time_ns() + expires_days * 86400 * S
        self.keys.append(ApiKey(number, name, role, nodes, actor.name, time.time_ns(), expires))
        return Secret(number, f"twk_{number}_secret", expires)

    async def revoke_api_key(self, actor: Actor, key_id: int) -> None:
        self.keys = [
            msgspec.structs.replace(key, revoked=key.revoked or key.id == key_id) for key in self.keys
        ]

    async def enrolment_tokens(self, actor: Actor) -> tuple[EnrolmentToken, ...]:
        require(actor, Role.ADMIN)
        return tuple(self.tokens)

    async def create_enrolment_token(self, actor: Actor, *, node: str = "", expires_s: int = 3600) -> Secret:
        require(actor, Role.ADMIN)
        number = next(self.ids)
        expires = time.time_ns() + expires_s * S
        self.tokens.insert(0, EnrolmentToken(number, node, actor.name, time.time_ns(), expires))
        return Secret(number, "twe_8Jk2mN4pQ6rS8tV0wX2yZ4", expires)

    async def cancel_enrolment_token(self, actor: Actor, token_id: int) -> None:
        self.tokens = [token for token in self.tokens if token.id != token_id]


class FakeAudit:
    def __init__(self, plant: Plant) -> None:
        now = time.time_ns()
        self.rows = [
            AuditEntry(
                n,
                now - n * 60 * S,
                "ada",
                "admin",
                "page",
                "127.0.0.1",
                action,
                about,
                result,
                old,
                new,
                reason,
                "ab" * 32,
            )
            for n, (action, about, result, old, new, reason) in enumerate(
                [
                    ("user.login", "user ada", "ok", "", "", ""),
                    (
                        "deployment.create",
                        "runtime water-north",
                        "ok",
                        "9f31c2ab77",
                        "c0ffee0123",
                        "level too low",
                    ),
                    (
                        "command.write",
                        "runtime water-north",
                        "ok",
                        "Control.Level1Low = 40.0",
                        "Control.Level1Low = 35.0",
                        "",
                    ),
                    ("command.force", f"runtime water-north {HOSTILE}", "refused", "", "<script>", "test"),
                ],
                start=1,
            )
        ]

    async def entries(
        self, actor: Actor, *, who: str = "", action: str = "", about: str = "", page: Page = NEWEST
    ) -> tuple[AuditEntry, ...]:
        return tuple(
            row
            for row in self.rows
            if row.actor.startswith(who)
            and row.action.startswith(action)
            and row.about.startswith(about)
            and (not page.before or row.id < page.before)
        )

    async def verify(self, actor: Actor) -> AuditVerdict:
        return AuditVerdict(True, len(self.rows), "ab" * 32, checked_ns=time.time_ns())


class FakeSystem:
    async def about(self, actor: Actor) -> About:
        return About(
            "0.1.0",
            "SHA256:q8s1d",
            time.time_ns() - 3600 * S,
            18_400_000,
            640_000,
            12_400_000,
            34,
            412.0,
            3.2,
            52_000_000_000,
            False,
            "",
        )


def fake_services(plant: Plant | None = None) -> Services:
    plant = plant or Plant()
    make: Callable[[Any], Any] = lambda kind: kind(plant)  # noqa: E731
    return Services(
        fleet=make(FakeFleet),
        history=make(FakeHistory),
        programs=make(FakePrograms),
        deployments=make(FakeDeployments),
        commands=make(FakeCommands),
        people=make(FakePeople),
        audit=make(FakeAudit),
        system=FakeSystem(),  # type: ignore[arg-type]
        alarms=FakeAlarms("n1", "water-1"),
        screens=FakeScreens(HOSTILE),
        recordings=FakeRecordings(HOSTILE),
        watch_lists=FakeWatchLists(HOSTILE),
        notifications=FakeNotify(HOSTILE),
    )
