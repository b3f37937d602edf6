"""Alarms of the node itself, there without any definition: their inputs, and how they are defined unless a plant file
or page says otherwise (a definition of the same name stands in for one of these).
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import shutil
from collections import deque
from collections.abc import Callable

from cryptography import x509

import scan
from runtime.alarms.conditions import TagInfo
from runtime.alarms.model import Definition
from runtime.facts import Facts
from scan.problem import TickworkError

SECOND = 1_000_000_000
OVERRUNS_WINDOW_NS = 60 * SECOND
CLOCK_WINDOW_NS = 600 * SECOND
CERTIFICATES_NS = 3600 * SECOND
FORCE_AGE_S = 8 * 3600  # a force is for one shift


class SystemInputs:
    """Values by name of system input, made about once a second. Times are in nanoseconds of the clock named."""

    def __init__(self, state: pathlib.Path, buffered: Callable[[], int]) -> None:
        self._state = state
        self._buffered = buffered
        self._overruns: deque[tuple[int, int]] = deque()
        self._forced_since: dict[str, int] = {}
        self._steps: deque[tuple[int, float]] = deque()
        self._clocks: tuple[int, int] | None = None
        self._certificate = (0, math.inf)

    def read(self, facts: Facts, view: scan.NodeView, *, wall_ns: int, mono_ns: int) -> dict[str, float]:
        values = {
            "$fault": float(facts.state == "fault"),
            "$overruns": self._overruns_lately(view, mono_ns),
            "$force": self._force_age_s(view, mono_ns),
            "$disk": self._disk_free_percent(),
            "$clock": self._clock_step_s(wall_ns, mono_ns),
            "$certificate": self._certificate_days(wall_ns, mono_ns),
            "$link": float(self._buffered()),
        }
        for device in facts.devices:
            values[f"$device.{device.name}"] = float(device.state != "online")
        for name, state in facts.processes.items():
            if name != "gate":
                gone = state in ("failed", "restarting") or (name, state) == ("scan", "stopped")
                values[f"$process.{name}"] = float(gone and bool(facts.digest))
        return values

    def _overruns_lately(self, view: scan.NodeView, mono_ns: int) -> float:
        total = sum(task.overruns for task in view.stats())
        kept = self._overruns
        if kept and total < kept[-1][1]:
            kept.clear()  # statistics were reset, or another program
        kept.append((mono_ns, total))
        while kept[0][0] < mono_ns - OVERRUNS_WINDOW_NS:
            kept.popleft()
        return float(total - kept[0][1])

    def _force_age_s(self, view: scan.NodeView, mono_ns: int) -> float:
        try:
            forced = {force.path for force in view.snapshot().forces}
        except TickworkError:
            forced = set()
        self._forced_since = {path: self._forced_since.get(path, mono_ns) for path in forced}
        oldest = min(self._forced_since.values(), default=mono_ns)
        return (mono_ns - oldest) / SECOND

    def _disk_free_percent(self) -> float:
        try:
            usage = shutil.disk_usage(self._state)
        except OSError:
            return math.nan
        return 100.0 * usage.free / usage.total

    def _clock_step_s(self, wall_ns: int, mono_ns: int) -> float:
        """The largest step of the wall clock against the monotonic one within the last minutes."""
        if self._clocks is not None:
            step = (wall_ns - self._clocks[0]) - (mono_ns - self._clocks[1])
            self._steps.append((mono_ns, abs(step) / SECOND))
        self._clocks = (wall_ns, mono_ns)
        while self._steps and self._steps[0][0] < mono_ns - CLOCK_WINDOW_NS:
            self._steps.popleft()
        return max((step for _, step in self._steps), default=0.0)

    def _certificate_days(self, wall_ns: int, mono_ns: int) -> float:
        looked_ns, days = self._certificate
        if looked_ns == 0 or mono_ns - looked_ns > CERTIFICATES_NS:
            days = earliest_expiry_days(self._state / "opcua", wall_ns)
            self._certificate = (mono_ns, days)
        return min(days, 99_999.0)


def earliest_expiry_days(folder: pathlib.Path, wall_ns: int) -> float:
    """Of the node's own certificates; infinite when it has none."""
    earliest = math.inf
    for path in sorted(folder.glob("*.der")) + sorted(folder.glob("*.pem")):
        with contextlib.suppress(ValueError, OSError):
            data = path.read_bytes()
            load = x509.load_pem_x509_certificate if b"BEGIN CERT" in data else x509.load_der_x509_certificate
            expires_s = load(data).not_valid_after_utc.timestamp()
            earliest = min(earliest, (expires_s - wall_ns / 1e9) / 86_400)
    return earliest


def _system(name: str, text: str, **more: object) -> Definition:
    fields = {"group": "system", "origin": "system", "tag": name, "kind": "limit"} | more
    return Definition(name, text=text, **fields)  # type: ignore[arg-type]  # the keywords of the struct


def system_definitions(names: tuple[str, ...]) -> tuple[Definition, ...]:
    """For the inputs that a node has at present."""
    found = [
        _system("$fault", "The program is in fault", kind="digital", priority=1,
                response="read the fault, correct the program, start it again"),
        _system("$overruns", "Scans overran in the last minute", h=1.0, hh=100.0, hh_priority=2, off_delay_ms=5000,
                cause="a task needs longer than its period", response="look at the histograms of the tasks"),
        _system("$force", "A force has been active for too long", h=float(FORCE_AGE_S), priority=3,
                response="release it, or correct what it works around"),
        _system("$disk", "Little room on the disk of the state directory", l=10.0, ll=3.0, l_deadband=2.0,
                ll_deadband=1.0, ll_priority=2, response="make room before recordings and alarms cannot be stored"),
        _system("$clock", "The clock was set by more than a second", h=1.0, priority=4,
                consequence="times before and after do not compare"),
        _system("$certificate", "A certificate of this node expires soon", l=30.0, ll=7.0, ll_priority=2, priority=4,
                response="renew it"),
        _system("$link", "Messages wait for the supervisor", h=2000.0, hh=20_000.0, h_deadband=500.0,
                hh_deadband=5000.0, hh_priority=2, on_delay_ms=30_000, cause="no connection, or a slow supervisor"),
    ]  # fmt: skip
    for name in names:
        what, _, which = name[1:].partition(".")
        if what == "device":
            found.append(_system(name, f"Device {which} does not answer", kind="digital", priority=2,
                                 on_delay_ms=3000, response="look at its power, cable and address"))  # fmt: skip
        elif what == "process":
            found.append(_system(name, f"The {which} process does not run", kind="digital", priority=1,
                                 on_delay_ms=2000))  # fmt: skip
    return tuple(found)


def system_tags(names: tuple[str, ...]) -> tuple[TagInfo, ...]:
    return tuple(TagInfo(name) for name in names)
