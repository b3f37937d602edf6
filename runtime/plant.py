"""The plant file ``plant.toml``: what a node is called, runs, talks to and reports. See docs/plant-file.md.

``load_plant`` reads a folder, ``parse_plant`` a text (the plant file inside an artifact). Both raise TickworkError
with *all* problems of the file, each with its line. Devices and servers are parsed by their drivers; this module
only hands over their tables and knows where each key stands.
"""

from __future__ import annotations

import fnmatch
import pathlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from drivers.modbus.server_config import ModbusServerSection
from drivers.modbus.server_config import parse_server as parse_modbus_server
from drivers.mqtt.edge_config import SparkplugSection, parse_sparkplug
from drivers.opcua.config import OpcUaSection
from drivers.opcua.config import parse_server as parse_opcua_server
from drivers.protocols import parse_device
from runtime.alarms.model import Definition
from runtime.plant_alarms import parse_alarms
from runtime.toml_table import Document, Table, parse
from scan.iomap import IoMap
from scan.problem import Place, Problem, TickworkError, fail

FILE_NAME = "plant.toml"
FILE_SIZE_MAX = 4 * 1024 * 1024  # a plant of 10,000 points has about 1 MB
NAME = re.compile(
    r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
)  # a DNS label: it becomes part of file and host names

REACTIONS = ("stop", "restart", "restart-cold")
CPU_MAX = 1023

_Section = TypeVar("_Section")


@dataclass(frozen=True, slots=True)
class TaskOverride:
    """Settings of a task that the program declares; None: as declared, or as [scan] says for all."""

    name: str
    period_ns: int | None = None
    priority: int | None = None
    cpu: int | None = None
    watchdog_ms: float | None = None
    overrun_limit: int = 0  # overruns in a row that are too many; 0 = they are only counted
    overrun_action: str = "alarm"  # or "fault"


@dataclass(frozen=True, slots=True)
class ScanSection:
    watchdog_ms: int = 1000
    on_fault: str = "stop"  # of the program: one of REACTIONS
    on_crash: str = "restart"  # of the scan process: one of REACTIONS
    start: str = "run"  # "run" or "stop"
    restarts_max: int = 5  # of a process or faulted program within restart_window_s
    restart_window_s: int = 60
    realtime: bool = True  # ask the system for real-time priority, locked memory and the rest
    cpus: tuple[int, ...] = ()  # cores for the scan threads, () = any
    lead_us: int = 50  # how early a cyclic task wakes up to fetch its memory, at most an eighth of its period
    trial_s: int = 2  # how long a new program must run without a fault before it counts as running


@dataclass(frozen=True, slots=True)
class Deadband:
    """Changes up to ``absolute`` (engineering units) or ``percent`` of the range are not reported."""

    tags: tuple[str, ...]
    absolute: float = 0.0
    percent: float = 0.0


@dataclass(frozen=True, slots=True)
class SupervisorSection:
    url: str
    tags: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    report_interval_ms: int = 250
    deadbands: tuple[Deadband, ...] = ()
    buffer_mb: int = 256
    buffer_days: int = 7
    allow_plain: bool = False  # http:// to another machine
    ca_file: str = ""

    def selects(self, path: str) -> bool:
        """Whether a tag is reported. Patterns as in file names, without regard to case (IEC 61131-3 §6.1.2)."""
        return _matches(path, self.tags) and not _matches(path, self.exclude)


@dataclass(frozen=True, slots=True)
class RetainSection:
    interval_ms: int = 1000
    on_corrupt: str = "stop"  # "stop" or "initial": what to do when no kept copy can be read


@dataclass(frozen=True, slots=True)
class RecorderSection:
    enabled: bool = True
    minutes: int = 60
    size_mb: int = 256


@dataclass(frozen=True, slots=True)
class ChangeSection:
    """How a new program takes over from the running one."""

    health: str = ""  # path of a BOOL that must be TRUE while the new program is on trial
    renames: tuple[
        tuple[str, str], ...
    ] = ()  # (old path, new path): the new variable goes on with the old's value


@dataclass(frozen=True, slots=True)
class Plant:
    """A whole plant file. ``devices`` are what the drivers parsed, ``device_tables`` the tables they came from."""

    name: str
    folder: pathlib.Path
    description: str = ""
    sources: tuple[str, ...] = ("*.st",)
    dialect: str = "iec"
    tasks: tuple[TaskOverride, ...] = ()
    scan: ScanSection = ScanSection()
    devices: tuple[Any, ...] = ()
    device_tables: tuple[Mapping[str, Any], ...] = ()
    opcua: OpcUaSection | None = None
    modbus_server: ModbusServerSection | None = None
    sparkplug: SparkplugSection | None = None
    metrics_port: int = 0  # of the page for Prometheus on this machine; 0 = none
    supervisor: SupervisorSection | None = None
    retain: RetainSection = RetainSection()
    recorder: RecorderSection = RecorderSection()
    change: ChangeSection = ChangeSection()
    alarms: tuple[Definition, ...] = ()
    state_directory: str = ""
    text: str = ""
    warnings: tuple[Problem, ...] = field(default=(), compare=False)

    def io_map(self) -> IoMap:
        """Channels of all devices in file order, with the bytes of %I and %Q that they cover."""
        return IoMap(
            tuple(channel for device in self.devices for channel in device.inputs),
            tuple(channel for device in self.devices for channel in device.outputs),
            max((device.input_bytes for device in self.devices), default=0),
            max((device.output_bytes for device in self.devices), default=0),
        )

    def source_files(self) -> tuple[pathlib.Path, ...]:
        """The source files in the folder, sorted, each once. Raises PL1007 for a pattern without a file."""
        found: set[pathlib.Path] = set()
        for pattern in self.sources:
            matched = [path for path in self.folder.glob(pattern) if path.is_file()]
            if not matched:
                raise fail(
                    "PL1007",
                    f"no source file matches {pattern!r}",
                    place=Place(str(self.folder / FILE_NAME)),
                    expected=f"a file {self.folder / pattern}",
                    found="none",
                    remedy="correct `sources` in [program] or add the file",
                )
            found.update(matched)
        return tuple(sorted(found))


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path.upper(), pattern.upper()) for pattern in patterns)


def load_plant(folder: pathlib.Path) -> Plant:
    """Reads ``folder/plant.toml`` (or the file itself). Raises TickworkError PL1006 if there is none."""
    file = (folder / FILE_NAME if folder.is_dir() else folder).absolute()
    try:
        data = file.read_bytes()[: FILE_SIZE_MAX + 1]
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fail(
            "PL1001", "the file is not UTF-8", place=Place(str(file)), found=f"byte {error.start}",
            remedy="save it as UTF-8",
        ) from error  # fmt: skip
    except OSError as error:
        raise fail(
            "PL1006",
            "there is no plant here",
            place=Place(str(file)),
            expected=f"a folder with {FILE_NAME}",
            found=error.strerror or str(error),
            remedy="give the folder of a plant, for example: tickwork check examples/water",
        ) from error
    return parse_plant(text, folder=file.parent, file=str(file))


def parse_plant(text: str, *, folder: pathlib.Path, file: str = FILE_NAME) -> Plant:
    """Parses a plant file; ``folder`` is what its relative names refer to."""
    if len(text) > FILE_SIZE_MAX:
        raise fail(
            "PL1001", "the plant file is too large", place=Place(file), expected=f"{FILE_SIZE_MAX} bytes"
        )
    document = parse(text, file)
    root = document.root()
    name, description = _node(root.table("node"), folder)
    program = root.table("program")
    sources = program.texts("sources", ("*.st",))
    dialect = program.text("dialect", "iec")
    program.done()
    tables = root.tables("device")
    state = root.table("state")
    plant = Plant(
        name=name,
        folder=folder,
        description=description,
        sources=sources,
        dialect=dialect,
        tasks=_tasks(root.tables("task")),
        scan=_scan(root.table("scan")),
        devices=_devices(document, tables),
        device_tables=tuple(table.data for table in tables),
        opcua=_server(document, root, "opcua", parse_opcua_server),
        modbus_server=_server(document, root, "modbus-server", parse_modbus_server),
        sparkplug=_server(document, root, "sparkplug", parse_sparkplug),
        metrics_port=_metrics_port(root.table("metrics")),
        supervisor=_supervisor(root.table("supervisor")) if "supervisor" in root else None,
        retain=_retain(root.table("retain")),
        recorder=_recorder(root.table("recorder")),
        change=_change(root.table("online-change")),
        alarms=parse_alarms(root),
        state_directory=state.text("directory"),
        text=text,
        warnings=tuple(problem for problem in document.problems if problem.severity == "warning"),
    )
    state.done()
    for key in ("supervisor", "opcua", "modbus-server", "sparkplug"):  # known, even if not there
        root.table(key)
    root.done()
    _check_image(document, plant)
    document.raise_errors()
    return plant


def _node(table: Table, folder: pathlib.Path) -> tuple[str, str]:
    fallback = re.sub(r"[^a-z0-9-]+", "-", folder.name.lower()).strip("-") or "plant"
    name = table.text("name", fallback)
    if not NAME.fullmatch(name):
        table.report(
            "PL1008",
            f"{name!r} is no name for a node",
            "name",
            expected="1 to 63 of a–z, 0–9 and -, neither first nor last a -",
            found=name,
            remedy=f'write name = "{fallback}"',
        )
    description = table.text("description")
    table.done()
    return name, description


def _tasks(tables: list[Table]) -> tuple[TaskOverride, ...]:
    tasks: dict[str, TaskOverride] = {}
    for table in tables:
        name = table.text("name", required=True)
        period_ms = table.number("period_ms", low=0.05, high=3_600_000.0)
        priority = table.integer("priority", low=0, high=65535)
        cpu = table.integer("cpu", low=0, high=CPU_MAX)
        watchdog_ms = table.number("watchdog_ms", low=0.1, high=600_000.0)
        if name.upper() in tasks:
            table.report("PL1009", f"the task {name} is given twice", "name", remedy="keep one of them")
        tasks[name.upper()] = TaskOverride(
            name,
            round(period_ms * 1e6) if "period_ms" in table else None,
            priority if "priority" in table else None,
            cpu if "cpu" in table else None,
            watchdog_ms if "watchdog_ms" in table else None,
            table.integer("overrun_limit", low=0, high=1_000_000),
            table.choice("overrun_action", ("alarm", "fault"), "alarm"),
        )
        table.done()
    return tuple(tasks.values())


def _scan(table: Table) -> ScanSection:
    usual = ScanSection()
    section = ScanSection(
        watchdog_ms=table.integer("watchdog_ms", usual.watchdog_ms, low=1, high=600_000),
        on_fault=table.choice("on_fault", REACTIONS, usual.on_fault),
        on_crash=table.choice("on_crash", REACTIONS, usual.on_crash),
        start=table.choice("start", ("run", "stop"), usual.start),
        restarts_max=table.integer("restarts_max", usual.restarts_max, low=0, high=1000),
        restart_window_s=table.integer("restart_window_s", usual.restart_window_s, low=1, high=86_400),
        realtime=table.flag("realtime", usual.realtime),
        cpus=_cpus(table),
        lead_us=table.integer("lead_us", usual.lead_us, low=0, high=1000),
        trial_s=table.integer("trial_s", usual.trial_s, low=0, high=600),
    )
    table.done()
    return section


def _cpus(table: Table) -> tuple[int, ...]:
    text = table.text("cpus")
    if not text:
        return ()
    if not re.fullmatch(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*", text):
        table.report("PL1004", "`cpus` names no cores", "cpus", expected='"2" or "2,3" or "2-5"', found=text)
        return ()
    cores: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cores))


def _devices(document: Document, tables: list[Table]) -> tuple[Any, ...]:
    devices: dict[str, Any] = {}
    for table in tables:
        try:
            device = parse_device(table.data, _placer(table))
        except TickworkError as error:
            document.problems += (_with_source(document, problem) for problem in error.problems)
            continue
        if device.name in devices:
            table.report(
                "PL1009", f"the device {device.name} is given twice", "name", remedy="rename one of them"
            )
        devices[device.name] = device
    return tuple(devices.values())


def _server(
    document: Document, root: Table, key: str, parse_section: Callable[..., _Section]
) -> _Section | None:
    """The section of a protocol server, as its driver parses it; None if the file does not have it."""
    if key not in root:
        return None
    table = root.table(key)
    try:
        return parse_section(table.data, _placer(table))
    except TickworkError as error:
        document.problems += (_with_source(document, problem) for problem in error.problems)
        return None


def _placer(table: Table) -> Callable[..., Place]:
    """Finds keys inside ``table`` for the driver that parses it: ``place("read", 0, "address")``."""
    return lambda *keys: table.document.place((*table.path, *keys))


def _with_source(document: Document, problem: Problem) -> Problem:
    """Adds the source line to a driver's problem: the driver knows the place, not the text."""
    lines = document.text.splitlines()
    if problem.source_line or not 0 < problem.place.line <= len(lines):
        return problem
    return Problem(
        problem.code, problem.message, problem.place, problem.expected, problem.found, problem.remedy,
        problem.severity, lines[problem.place.line - 1], problem.notes,
    )  # fmt: skip


def _supervisor(table: Table) -> SupervisorSection:
    usual = SupervisorSection("")
    section = SupervisorSection(
        url=table.text("url", required=True).rstrip("/"),
        tags=table.texts("tags", usual.tags),
        exclude=table.texts("exclude"),
        report_interval_ms=table.integer(
            "report_interval_ms", usual.report_interval_ms, low=50, high=3_600_000
        ),
        deadbands=tuple(_deadband(one) for one in table.tables("deadband")),
        buffer_mb=table.integer("buffer_mb", usual.buffer_mb, low=1, high=1_000_000),
        buffer_days=table.integer("buffer_days", usual.buffer_days, low=1, high=3650),
        allow_plain=table.flag("allow_plain"),
        ca_file=table.text("ca_file"),
    )
    _check_url(table, section)
    table.done()
    return section


def _deadband(table: Table) -> Deadband:
    deadband = Deadband(
        table.texts("tags", ("*",)),
        table.number("absolute", low=0.0),
        table.number("percent", low=0.0, high=100.0),
    )
    table.done()
    return deadband


def _check_url(table: Table, section: SupervisorSection) -> None:
    if not section.url:
        return
    try:
        parts = urlsplit(section.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host:
        table.report(
            "PL1010", "`url` is no address of a supervisor", "url", expected="https://host:port",
            found=section.url, remedy="write the address that the supervisor's page has",
        )  # fmt: skip
    elif parts.scheme == "http" and not section.allow_plain and not is_loopback(host):
        table.report(
            "PL1011", "commands and values would cross the network unencrypted", "url", expected="https://…",
            found=section.url, remedy="use https, or write allow_plain = true if the network is protected otherwise",
        )  # fmt: skip


def is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _retain(table: Table) -> RetainSection:
    usual = RetainSection()
    section = RetainSection(
        table.integer("interval_ms", usual.interval_ms, low=100, high=3_600_000),
        table.choice("on_corrupt", ("stop", "initial"), usual.on_corrupt),
    )
    table.done()
    return section


def _metrics_port(table: Table) -> int:
    port = table.integer("port", 0, low=0, high=65_535)
    table.done()
    return port


def _recorder(table: Table) -> RecorderSection:
    usual = RecorderSection()
    section = RecorderSection(
        table.flag("enabled", usual.enabled),
        table.integer("minutes", usual.minutes, low=1, high=525_600),
        table.integer("size_mb", usual.size_mb, low=1, high=1_000_000),
    )
    table.done()
    return section


def _change(table: Table) -> ChangeSection:
    renames = table.table("renames")
    section = ChangeSection(table.text("health"), tuple((old, renames.text(old)) for old in renames.data))
    renames.done()
    table.done()
    return section


def _check_image(document: Document, plant: Plant) -> None:
    """Two devices must not write one input, nor one output go to a device twice by mistake of address."""
    taken: dict[tuple[str, int, int], str] = {}
    for index, device in enumerate(plant.devices):
        for channel in device.inputs:
            for byte in range(channel.offset, channel.offset + channel.size):
                bits = range(8) if channel.bit < 0 else (channel.bit,)
                for bit in bits:
                    other = taken.setdefault((channel.direction, byte, bit), channel.name)
                    if other != channel.name:
                        document.report(
                            "PL1012", f"{channel.name} and {other} write the same input %IX{byte}.{bit}",
                            ("device", index), remedy="give one of them another address",
                        )  # fmt: skip
                        return


def with_own_parts(plant: Plant, own: Plant) -> Plant:
    """The artifact's plant on this node: its name, supervisor and state stay what the node's own file says."""
    return replace(
        plant,
        name=own.name,
        supervisor=own.supervisor,
        state_directory=own.state_directory,
        folder=own.folder,
    )
