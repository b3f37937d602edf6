"""Commands about this machine: doctor."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import sys

import psutil
import typer
from rich.table import Table

from runtime import console, shm
from runtime.cli_node import JsonOption
from runtime.state import state_directory

app = typer.Typer()

MEMORY_MIN_MB = 512
DISK_MIN_MB = 512
SHM_MIN_MB = 64


@app.command()
def doctor(json: JsonOption = False) -> None:
    """Tell what this machine grants to a scan, and how to get what it does not.

    Exit code 1 if something is missing without which nothing runs. Example: sudo tickwork doctor
    """
    from scan import realtime

    console.use_json(json)
    needs = [*_needs()]
    wishes = [(grant.name, grant.granted, grant.detail, grant.remedy) for grant in realtime.examine()]
    if json:
        keys = ("name", "good", "detail", "remedy")
        console.give({
            "needs": [dict(zip(keys, one, strict=True)) for one in needs],
            "wishes": [dict(zip(keys, one, strict=True)) for one in wishes],
        })  # fmt: skip
    else:
        console.say("needed")
        console.out.print(_table(needs, "missing"))
        console.say("\nbetter scan times")
        console.out.print(_table(wishes, "not granted"))
    if not all(good for _, good, _, _ in needs):
        console.leave(console.PROBLEMS)


def _table(rows: list[tuple[str, bool, str, str]], bad: str) -> Table:
    table = Table(box=None, show_header=False)
    for name, good, detail, remedy in rows:
        table.add_row("yes" if good else bad, name, detail, "" if good else remedy)
    return table


def _needs() -> list[tuple[str, bool, str, str]]:
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
