"""The segment directory of a node: mapped memory shared by its processes, in a file system that is memory."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

from runtime.state import process_lives
from scan.problem import Place, fail

_PREFIX = "tickwork"


def memory_root() -> pathlib.Path:
    """Where POSIX shared memory lies; without it the temporary directory (on a disk: slower, still right)."""
    root = pathlib.Path("/dev/shm")  # noqa: S108 - folders below it are made with mode 0700
    return root if os.access(root, os.W_OK) else pathlib.Path(tempfile.gettempdir())


def create(name: str) -> pathlib.Path:
    """Makes the directory of this process' node, and removes those of nodes of this name that were killed."""
    root = memory_root()
    for stale in root.glob(f"{_PREFIX}-{name}-*"):
        pid = stale.name.removeprefix(f"{_PREFIX}-{name}-")
        if pid.isdigit() and not process_lives(int(pid)):
            shutil.rmtree(stale, ignore_errors=True)
    folder = root / f"{_PREFIX}-{name}-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise fail(
            "PL2003",
            "the shared memory of the node cannot be made",
            place=Place(str(folder)),
            found=error.strerror or str(error),
            remedy="make room in /dev/shm (a container: --shm-size), or correct its rights",
        ) from error
    return folder


def remove(folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
