"""Commands about this machine: doctor."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import psutil
import typer
from rich.table import Table

from runtime import console, shm
from runtime.cli_node import JsonOption
from runtime.state import state_directory

if TYPE_CHECKING:
    from runtime.latency import Measured
    from scan.realtime import Grant

app = typer.Typer()

Row = tuple[str, bool, str, str]  # what, whether it is there, detail, remedy

MEMORY_MIN_MB = 512
DISK_MIN_MB = 512
SHM_MIN_MB = 64


# In the order in which they help: what comes first cannot be made good by what comes after.
REMEDIES_ORDER = (
    "PREEMPT_RT kernel", "isolated CPU", "constant CPU frequency", "shallow idle states", "real-time scheduling",
    "locked memory",
)  # fmt: skip
UNIT = """[Unit]
Description=Tickwork node %i
After=network.target

[Service]
Type=notify
ExecStart={tickwork} run /etc/tickwork/%i --state /var/lib/tickwork/%i
StateDirectory=tickwork
User=tickwork
WatchdogSec=10
Restart=always
LimitRTPRIO=95
LimitMEMLOCK=infinity
LimitNOFILE=65536
# Writing to /dev/cpu_dma_latency keeps the CPU out of deep sleep; udev must give it to this group.
SupplementaryGroups=tickwork-realtime

[Install]
WantedBy=multi-user.target
"""


@app.command()
def doctor(
    seconds: Annotated[
        float, typer.Option(min=0, max=86_400, help="How long to measure latency; 0: not at all.")
    ] = 60.0,
    unit: Annotated[
        bool, typer.Option("--unit", help="Write a systemd unit with the rights a node wants.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Tell what this machine grants to a scan, measure its latency, and name remedies.

    Exit code 1 if something is missing without which nothing runs. Examples: sudo tickwork doctor --seconds 10;
    tickwork doctor --unit > /etc/systemd/system/tickwork@.service
    """
    from scan import realtime

    console.use_json(json)
    if unit:
        typer.echo(UNIT.format(tickwork=shutil.which("tickwork") or sys.argv[0]), nl=False)
        return
    needs, wishes = _needs(), realtime.examine()
    good = all(one[1] for one in needs)
    rows = [(grant.name, grant.granted, grant.detail, "") for grant in wishes]
    if not json:
        console.say("needed")
        console.out.print(_table(needs, "missing"))
        console.say("\nbetter scan times")
        console.out.print(_table(rows, "no"))
    measured = _measure(seconds) if seconds and good else None
    remedies = _remedies(wishes)
    if json:
        console.give({
            "needs": [dict(zip(("name", "good", "detail", "remedy"), one, strict=True)) for one in needs],
            "wishes": [
                {"name": one.name, "good": one.granted, "detail": one.detail, "remedy": one.remedy}
                for one in wishes
            ],
            "latency": msgspec.to_builtins(measured),
            "remedies": remedies,
        })  # fmt: skip
    else:
        _show(measured, remedies)
    if not good:
        console.leave(console.PROBLEMS)


def _measure(seconds: float) -> Measured:
    from runtime.latency import measure

    with console.progress("measuring") as progress:
        return asyncio.run(measure(seconds, progress))


def _remedies(wishes: Sequence[Grant]) -> list[str]:
    """What to do, the most effective first; rights are a matter of one unit file."""
    missing = {grant.name: grant for grant in wishes if not grant.granted and grant.remedy}
    found = [f"{name}: {missing[name].remedy}" for name in REMEDIES_ORDER if name in missing]
    if {"real-time scheduling", "locked memory", "shallow idle states"} & set(missing):
        found.append("all rights at once: run the node by the unit that `tickwork doctor --unit` writes")
    return found


def _show(measured: Measured | None, remedies: list[str]) -> None:
    if measured is not None:
        scheduling = f"SCHED_FIFO {measured.realtime}" if measured.realtime else "ordinary scheduling"
        console.say(f"\nlatency of a task of 1 ms, {scheduling}: from due to start, µs")
        table = Table("", "wake-ups", "p50", "p99", "p99.9", "max", box=None)
        rows = [("scan", measured.scan)]
        if measured.cyclictest is not None:
            rows.append(("cyclictest", measured.cyclictest))
        for name, figures in rows:
            times = (figures.p50_us, figures.p99_us, figures.p999_us, figures.max_us)
            table.add_row(name, str(figures.wakeups), *(f"{time_us:.0f}" for time_us in times))
        console.out.print(table)
        console.say(f"overruns: {measured.overruns}")
        if measured.cyclictest is not None and measured.cyclictest.p999_us:
            ratio = measured.scan.p999_us / measured.cyclictest.p999_us
            console.say(f"p99.9 of the scan is {ratio:.2f} times that of cyclictest")
        elif measured.without:
            console.say(f"no comparison with cyclictest: {measured.without}")
    console.say("\nremedies, the most effective first" if remedies else "\nnothing to improve")
    for number, remedy in enumerate(remedies, start=1):
        console.say(f"{number}. {remedy}")


def _table(rows: Sequence[Row], bad: str) -> Table:
    table = Table(box=None, show_header=False)
    for name, good, detail, remedy in rows:
        table.add_row("yes" if good else bad, name, detail, "" if good else remedy)
    return table


def _needs() -> list[Row]:
    """(what, whether it is there, detail, remedy)."""
    memory_mb = psutil.virtual_memory().total // 2**20
    shared = shm.memory_root()
    shared_mb = shutil.disk_usage(shared).free // 2**20
    home = _existing(state_directory("x"))
    disk_mb = shutil.disk_usage(home).free // 2**20
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    missing = [
        name
        for name in ("numba", "llvmlite", "asyncua", "starlette")
        if importlib.util.find_spec(name) is None
    ]
    return [
        ("Linux", sys.platform == "linux", os.uname().release, "run it on Linux: a scan needs its clocks"),
        ("Python 3.11 or newer", sys.version_info >= (3, 11), python, "install Python 3.11 or newer"),
        ("libraries", not missing, ", ".join(missing) or "all there", "install tickwork with its dependencies"),
        ("memory", memory_mb >= MEMORY_MIN_MB, f"{memory_mb} MB", f"{MEMORY_MIN_MB} MB or more"),
        ("shared memory", shared_mb >= SHM_MIN_MB, f"{shared_mb} MB free in {shared}", "make room in /dev/shm"),
        ("disk", disk_mb >= DISK_MIN_MB, f"{disk_mb} MB free at {home}", f"{DISK_MIN_MB} MB or more for buffers"),
    ]  # fmt: skip


def _existing(path: pathlib.Path) -> pathlib.Path:
    while not path.exists():
        path = path.parent
    return path
