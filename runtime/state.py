"""The state directory of a node: who holds it, which artifact it starts with, what local tools need to find it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

import msgspec

from scan.problem import Place, fail

ENVIRONMENT = "TICKWORK_STATE"  # overrides where the state directories of all nodes lie


class NodeFile(msgspec.Struct, frozen=True):
    """``run/node.json``: what a tool on the same machine needs to look into a running node."""

    name: str
    pid: int
    folder: str
    segments: str
    socket: str
    state: str = "starting"
    digest: str = ""
    artifact: str = ""
    program: str = ""
    pids: dict[str, int] = {}
    endpoints: tuple[str, ...] = ()
    version: str = ""


class Current(msgspec.Struct, frozen=True):
    """``current``: the artifact that runs (again after a restart).

    ``folder_artifact`` is the digest that the plant folder had when ``artifact`` was taken over: as long as the
    folder still builds to it, a deployed artifact stays; once somebody edits the folder, the folder wins at the
    next start.
    """

    artifact: str
    folder_artifact: str = ""


def state_directory(name: str, given: str = "") -> pathlib.Path:
    """Where a node keeps its state: given by option or plant file, else below the user's state home."""
    if given:
        return pathlib.Path(given).expanduser().absolute()
    base = os.environ.get(ENVIRONMENT)
    if base:
        return pathlib.Path(base).expanduser().absolute() / name
    home = os.environ.get("XDG_STATE_HOME")
    root = pathlib.Path(home) if home else pathlib.Path.home() / ".local" / "state"
    return root / "tickwork" / name


class StateDirectory:
    """Paths of a state directory and the atomic writing of its small files."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.identity = root / "identity"
        self.artifacts = root / "artifacts"
        self.cache = root / "cache"
        self.retain = root / "retain"
        self.recordings = root / "recordings"
        self.buffer = root / "buffer"
        self.run = root / "run"
        self.socket = self.run / "gate.sock"
        self.node_file = self.run / "node.json"
        self._current = root / "current"

    def create(self) -> None:
        """Makes the folders, readable for their owner only. Raises PL2002 if that is not permitted."""
        folders = (
            self.root, self.identity, self.artifacts, self.cache, self.retain, self.recordings, self.buffer, self.run
        )  # fmt: skip
        try:
            for folder in folders:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise fail(
                "PL2002",
                "the state directory cannot be written",
                place=Place(str(self.root)),
                found=error.strerror or str(error),
                remedy="give another with --state DIR, or correct its owner and rights",
            ) from error

    def artifact(self, digest: str) -> pathlib.Path:
        return self.artifacts / f"{digest}.twa"

    def current(self) -> Current | None:
        """The remembered artifact; None if there is none or the file is damaged (then the folder is used)."""
        try:
            return msgspec.json.decode(self._current.read_bytes(), type=Current)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None

    def set_current(self, current: Current) -> None:
        write_atomically(self._current, msgspec.json.encode(current))

    def write_node_file(self, node: NodeFile) -> None:
        write_atomically(self.node_file, msgspec.json.encode(node), durable=False)

    def read_node_file(self) -> NodeFile | None:
        """What the running node says of itself; None if none runs or it was killed."""
        try:
            node = msgspec.json.decode(self.node_file.read_bytes(), type=NodeFile)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None
        return node if process_lives(node.pid) else None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the state directory for this process. Raises PL2001 if another node runs on it.

        The kernel's lock decides, not the file: a lock left behind by a killed node is stale by itself. The process id
        inside is for people.
        """
        handle = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise fail(
                    "PL2001",
                    "this node runs already",
                    place=Place(str(self.lock)),
                    found=f"process {holder} holds the state directory",
                    remedy=f"stop it (kill {holder}), or give another state directory with --state DIR",
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)


def write_atomically(path: pathlib.Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replaces ``path`` as a whole: a reader or a crash sees the old content or the new one, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    part.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: pathlib.Path) -> None:
    """Makes created, renamed and removed names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
