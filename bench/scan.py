"""Time of one scan of the water program against the same control law written by hand in C: ``./dev bench scan``.

Three figures, in alternating rounds: the C reference (``gcc -O2``, no checks), our native code called in the same kind
of loop with the same moving inputs, and the whole engine around it (commands, forces, copies, publishing) in
virtual time. The ratio is native code to C.
"""

from __future__ import annotations

import ctypes
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numba
import numpy as np

import programs
import scan
from scan._memory import call_entry
from scan.abi import CONTEXT_DTYPE, HEADER_SIZE
from scan.loader import load

HERE = pathlib.Path(__file__).resolve().parent
PLANT = HERE.parent / "examples" / "water"
ROUNDS = 9
SCANS = 300_000
ENGINE_SCANS = 20_000


def reference(folder: pathlib.Path) -> ctypes.CDLL:
    library = folder / "reference.so"
    source = HERE / "water_reference.c"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.run.restype, loaded.run.argtypes = ctypes.c_int64, [ctypes.c_int64]
    return loaded


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def run_native(entry, block, context, words, bits, now, scans):  # type: ignore[no-untyped-def]
    """``words`` and ``bits`` are views of the block: %IW0.. as int16 and the bytes; ``now`` a view of the context."""
    total = 0
    for number in range(scans):
        words[0] = (number * 7) % 27648
        words[1] = (number * 5) % 27648
        words[2] = (number * 3) % 27648
        bits[16] = (bits[24] & 1) << 1
        now[4] = number * 20_000_000
        if call_entry(entry, block, context) != 0:
            return -1
        total += words[13] + (bits[24] & 1) + (bits[24] >> 1 & 1)
    return total


class Native:
    def __init__(self, application: scan.Application) -> None:
        self.code = load(application)
        task = application.tasks[0]
        self.entry = self.code.entry(task.entry)
        self.block = np.zeros(application.block_size + 64, np.uint8)
        self.image = np.frombuffer(application.image, np.uint8)
        self.context = np.zeros(CONTEXT_DTYPE.itemsize, np.uint8)
        assert application.inputs.offset == HEADER_SIZE and application.outputs.offset == HEADER_SIZE + 24

    def run(self, scans: int) -> int:
        self.block[: len(self.image)] = self.image
        inputs = self.block[HEADER_SIZE:]
        inputs[17] = 1
        words = inputs[: len(inputs) // 2 * 2].view("<i2")
        addresses = self.block.ctypes.data, self.context.ctypes.data
        return int(run_native(self.entry, *addresses, words, inputs, self.context.view("<i8"), scans))


def timed(action: object, count: int) -> float:
    begun = time.perf_counter_ns()
    action(count)  # type: ignore[operator]
    return (time.perf_counter_ns() - begun) / count


def main() -> int:
    application = programs.compile_artifact(programs.build(PLANT).data)
    native, engine = Native(application), scan.VirtualEngine(application)
    step = [0]

    def engine_run(count: int) -> None:
        for _ in range(count):
            engine.scan(step[0] * 20_000_000, task=application.tasks[0].name)
            step[0] += 1

    with tempfile.TemporaryDirectory() as folder:
        c = reference(pathlib.Path(folder))
        assert native.run(1000) >= 0, "the program faulted"
        engine_run(100)
        rows = [
            (timed(c.run, SCANS), timed(native.run, SCANS), timed(engine_run, ENGINE_SCANS))
            for _ in range(ROUNDS)
        ]
    c_ns, native_ns, engine_ns = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"water program, median of {ROUNDS} rounds")
    print(f"  by hand in C, gcc -O2     {c_ns:8.1f} ns a scan")
    print(f"  ours, native code         {native_ns:8.1f} ns a scan   {native_ns / c_ns:.2f} x C")
    print(f"  ours, engine called from Python {engine_ns:.0f} ns a scan")
    print(f"ratio {native_ns / c_ns:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
