"""The compiled engine: built once by numba, kept as object code, loaded without numba.

Theory. numba's own cache misses changes in a callee of another file, therefore the object is named by a digest over all
sources that are compiled into it, the versions of compiler and layout, and the CPU. It is built in a process of its
own: the process that runs scans never imports numba, starts in a fraction of a second and locks less memory.

What could go wrong. Two processes may want to build at once: a lock lets one do it. A file appears by a rename; one
that is torn or foreign fails its checksum and is built again.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from scan import layout as w
from scan._object import ENGINE_LIBC, libc_addresses, load_object
from scan.problem import TickworkError, fail

_SOURCES = (
    "_exchange", "_histogram", "_lanes", "_memory", "_publish", "_records", "_replay", "_step", "_system", "cycle",
    "layout", "native",
)  # fmt: skip
_MAGIC = b"TICKENG1"
BUILD_TIMEOUT_S = 300

_DOOR = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 6
)  # numba's convention: result and exception places, then the arguments


class NativeEngine:
    """Doors of the compiled engine. Calls release the interpreter and take addresses as plain integers."""

    def __init__(self, address: int) -> None:
        self._call = _DOOR(address)

    def _enter(self, door: int, engine: int, slot: int, a: int = 0, b: int = 0, c: int = 0) -> int:
        result = ctypes.c_int64(0)
        exception = ctypes.c_void_p(0)
        status = self._call(
            ctypes.addressof(result), ctypes.addressof(exception), door, engine, slot, a, b, c
        )
        assert status == 0, "the compiled engine raises nothing"
        return result.value

    def run(self, engine: int, slot: int) -> int:
        """Runs a task in the calling thread until it stops; one of the RESULT words."""
        return self._enter(w.DOOR_RUN, engine, slot)

    def watch(self, engine: int, slot: int) -> None:
        """Runs the watchdog in the calling thread until ``E_WATCH_STOP``."""
        self._enter(w.DOOR_WATCH, engine, slot)

    def scan(self, engine: int, slot: int, now_ns: int, wall_ns: int) -> int:
        """One scan in virtual time; 0, the code of its fault, or -1 when the engine does not run."""
        return self._enter(w.DOOR_SCAN, engine, slot, now_ns, wall_ns)

    def swap(self, engine: int, slot: int, program: int, trial_scans: int) -> int:
        """Exchanges the program under a running clock; pause in ns, 0 when refused."""
        return self._enter(w.DOOR_SWAP, engine, slot, program, trial_scans)

    def exchange(self, engine: int, program: int, trial_scans: int, now_ns: int) -> int:
        """Exchanges the program in virtual time; 1 when done."""
        return self._enter(w.DOOR_EXCHANGE, engine, 0, program, trial_scans, now_ns)

    def replay(self, engine: int, records: int, size: int) -> int:
        """Runs recorded scans in virtual time; bytes consumed, short at a record that the caller must act on."""
        return self._enter(w.DOOR_REPLAY, engine, 0, records, size)

    def flush(self, engine: int) -> None:
        """Ends the scans that a replay has left open."""
        self._enter(w.DOOR_FLUSH, engine, 0)

    def publish_state(self, engine: int, slot: int, state: int, *, safe: bool) -> None:
        self._enter(w.DOOR_STATE, engine, slot, state, int(safe))


def cache_directory() -> pathlib.Path:
    """``TICKWORK_CACHE``, else the user's cache directory."""
    given = os.environ.get("TICKWORK_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return (
        pathlib.Path(given)
        if given
        else (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "tickwork"
    )


def engine_digest() -> str:
    """Hex digest of everything that the object code depends on."""
    import llvmlite
    import llvmlite.binding as llvm

    digest = hashlib.sha256()
    folder = pathlib.Path(__file__).parent
    for name in _SOURCES:
        digest.update((folder / f"{name}.py").read_bytes())
    digest.update(_numba_version())
    cpu = [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), platform.machine()]
    digest.update("\0".join([llvmlite.__version__, *cpu]).encode())
    return digest.hexdigest()


def _numba_version() -> bytes:
    """The version file of the installed numba, without importing it."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        raise fail("SC3001", "numba is not installed", remedy="install tickwork with its requirements")
    return (pathlib.Path(spec.origin).parent / "_version.py").read_bytes()


def load_engine(cache: pathlib.Path | None = None) -> NativeEngine:
    """The engine from the cache, built first if need be. Raises TickworkError SC3001."""
    path = (cache or cache_directory()) / f"engine-{engine_digest()[:24]}.bin"
    found = _read(path) or _build_once(path)
    if found is None:
        raise fail("SC3001", "the engine was built but cannot be read back", found=str(path))
    symbol, code = found
    return NativeEngine(load_object(code, [symbol], libc_addresses(ENGINE_LIBC))[symbol])


def _read(path: pathlib.Path) -> tuple[str, bytes] | None:
    """Symbol and object code, or None when the file is missing, torn or foreign."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < 44 or data[:8] != _MAGIC or hashlib.sha256(data[40:]).digest() != data[8:40]:
        return None
    length = int.from_bytes(data[40:44], "little")
    return data[44 : 44 + length].decode(), data[44 + length :]


def _build_once(path: pathlib.Path) -> tuple[str, bytes] | None:
    """Builds unless another process has done so meanwhile: the second one waits for the first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        remedy = "make the cache directory writable, or name another one with TICKWORK_CACHE"
        raise fail("SC3001", "the engine cannot be cached", found=str(error), remedy=remedy) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _read(path) is None:
            _build_in_process(path)
    return _read(path)


def _build_in_process(path: pathlib.Path) -> None:
    command = [sys.executable, "-m", "scan.native", str(path)]
    folder = str(pathlib.Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise fail("SC3001", "the engine could not be built", found=str(error)) from error
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise fail(
            "SC3001", "the engine could not be built", found=tail[0], remedy="run python -m scan.native PATH"
        )


def build_engine(path: pathlib.Path) -> None:
    """Compiles the engine with numba and writes it to ``path`` in one step."""
    from scan.cycle import enter_engine

    (compiled,) = enter_engine.overloads.values()  # type: ignore[attr-defined]
    library = compiled.library
    foreign = sorted(
        function.name
        for function in library._final_module.functions
        if function.is_declaration
        and not function.name.startswith("llvm.")
        and function.name not in ENGINE_LIBC
    )
    if foreign:
        raise fail("SC3001", "the engine needs functions outside its list", found=", ".join(foreign))
    symbol = compiled.fndesc.mangled_name.encode()
    body = len(symbol).to_bytes(4, "little") + symbol + library._get_compiled_object()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(_MAGIC + hashlib.sha256(body).digest() + body)
    pathlib.Path(file.name).replace(path)


if __name__ == "__main__":
    try:
        build_engine(pathlib.Path(sys.argv[1]))
    except TickworkError as error:
        sys.exit(str(error))
