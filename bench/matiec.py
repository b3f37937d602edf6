"""Time of one scan against the same program through matiec and ``gcc -O2``: ``./dev bench matiec``.

Ten kinds of program in ``bench/matiec_programs`` are compiled by both and run in alternating rounds of the same
number of scans; each keeps a sum over what it computed, which must be the same in both. Ours has all its checks
(index, division, subrange, endless loop), matiec's has none. matiec is not part of this project:
``TICKWORK_BENCH_MATIEC`` names a folder with a built ``iec2c`` and its ``lib``.
"""

from __future__ import annotations

import ctypes
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numba
import numpy as np

from programs.check import check
from programs.native import compile_program
from programs.source import Source
from scan._memory import call_entry
from scan.abi import CONTEXT_DTYPE, Application
from scan.loader import load

PROGRAMS = pathlib.Path(__file__).resolve().parent / "matiec_programs"
ROUNDS = 11
ROUND_S = 0.02
PERIOD_NS = 20_000_000
WARM_UP_SCANS = 2_000
GEOMETRIC_MEAN_MAX, RATIO_MAX = 1.0, 1.5
# matiec computes expressions of REAL with constants in double: such sums may drift apart by so much a scan.
DRIFT_SCAN = 0.01
HOW_TO_GET = """matiec is needed for this benchmark and is not part of the project:
  1. get the sources of https://github.com/beremiz/matiec
  2. autoreconf -i && ./configure && make       (Debian: flex bison autoconf automake g++)
  3. TICKWORK_BENCH_MATIEC=FOLDER ./dev bench matiec"""
CONFIGURATION = """
CONFIGURATION Config0
  RESOURCE Res0 ON PLC
    TASK Fast(INTERVAL := T#20ms, PRIORITY := 1);
    PROGRAM Inst0 WITH Fast : Main0;
  END_RESOURCE
END_CONFIGURATION
"""
DRIVER = """
#include "iec_std_lib.h"
#include "accessor.h"
#include "POUS.h"
TIME __CURRENT_TIME;
BOOL __DEBUG;
extern MAIN0 RES0__INST0;
void config_init__(void);
void config_run__(unsigned long tick);
void begin(void) { config_init__(); }
void run(long first, long scans) {
  long tick, ns;
  for (tick = first; tick < first + scans; tick++) {
    ns = tick * 20000000L;
    __CURRENT_TIME.tv_sec = ns / 1000000000;
    __CURRENT_TIME.tv_nsec = ns % 1000000000;
    config_run__(tick);
  }
}
int check(void) { return RES0__INST0.CHECK.value; }
"""


class Theirs:
    """A program through matiec and gcc."""

    def __init__(self, matiec: pathlib.Path, text: str, folder: pathlib.Path) -> None:
        folder.mkdir()
        (folder / "program.st").write_text(text)
        (folder / "driver.c").write_text(DRIVER)
        self._do(folder, str(matiec / "iec2c"), "-I", str(matiec / "lib"), "-T", ".", "program.st")
        sources = ["Config0.c", "Res0.c", "driver.c"]
        flags = ["-O2", "-w", "-fPIC", "-shared", "-I", str(matiec / "lib" / "C"), "-I", "."]
        self._do(folder, "gcc", *flags, "-o", "program.so", *sources, "-lm")
        self.library = ctypes.CDLL(str(folder / "program.so"))
        self.library.run.argtypes = [ctypes.c_long, ctypes.c_long]
        self.library.begin()
        self.scans = 0

    @staticmethod
    def _do(folder: pathlib.Path, *command: str) -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")

    def run(self, scans: int) -> None:
        self.library.run(self.scans, scans)
        self.scans += scans

    def check(self) -> int:
        return int(self.library.check())


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _run(entry, block, context, now, first, scans):  # type: ignore[no-untyped-def]
    for tick in range(first, first + scans):
        now[4] = tick * PERIOD_NS
        status = call_entry(entry, block, context)
        if status != 0:
            return status
    return 0


class Ours:
    """The same through this project's compiler, called as the engine calls it."""

    def __init__(self, text: str) -> None:
        program = check([Source("program.st", text)]).program
        assert program is not None
        self.application: Application = compile_program(program, digest="bench")
        self.code = load(self.application)
        self.block = np.frombuffer(bytearray(self.application.image), np.uint8)
        self.context = np.zeros(CONTEXT_DTYPE.itemsize, np.uint8)
        self.now = self.context.view("<i8")
        self.entry = self.code.entry(self.application.tasks[0].entry)
        self.scans = 0
        self.inexact = " REAL" in text

    def run(self, scans: int) -> None:
        addresses = self.block.ctypes.data, self.context.ctypes.data
        status = _run(self.entry, *addresses, self.now, self.scans, scans)
        assert status == 0, f"program fault {status}"
        self.scans += scans

    def check(self) -> int:
        symbol = next(one for one in self.application.symbols if one.path.lower().endswith(".check"))
        return int(self.block[symbol.offset : symbol.offset + 4].view("<i4")[0])


def timed(side: Ours | Theirs, scans: int) -> float:
    begun = time.perf_counter_ns()
    side.run(scans)
    return (time.perf_counter_ns() - begun) / scans


def same(name: str, ours: Ours, theirs: Theirs) -> None:
    """The sums (DINT, wrapping) must be equal; those over REALs nearly."""
    apart = abs((ours.check() - theirs.check() + 2**31) % 2**32 - 2**31)
    if ours.scans != theirs.scans or apart > (DRIFT_SCAN * ours.scans if ours.inexact else 0):
        raise SystemExit(
            f"{name}: the sums differ after {ours.scans} scans: {ours.check()}, matiec {theirs.check()}"
        )


def compared(name: str, ours: Ours, theirs: Theirs) -> float:
    """Prints one line; the ratio of the medians."""
    for side in (ours, theirs):
        side.run(WARM_UP_SCANS)
    same(name, ours, theirs)
    scans = max(int(ROUND_S * 1e9 / timed(theirs, WARM_UP_SCANS)), 1)
    ours.run(theirs.scans - ours.scans)
    rows = [(timed(ours, scans), timed(theirs, scans)) for _ in range(ROUNDS)]
    same(name, ours, theirs)
    mine, other = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"  {name:10} ours {mine:9.1f} ns   matiec + gcc -O2 {other:9.1f} ns   ratio {mine / other:.2f}")
    return mine / other


def main() -> int:
    given = os.environ.get("TICKWORK_BENCH_MATIEC")
    if not given:
        print(HOW_TO_GET)
        return 0
    matiec = pathlib.Path(given).resolve()
    ratios = []
    print(f"one scan, median of {ROUNDS} alternating rounds")
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(PROGRAMS.glob("*.st")):
            text = path.read_text(encoding="utf-8") + CONFIGURATION
            theirs = Theirs(matiec, text, pathlib.Path(folder, path.stem))
            ratios.append(compared(path.stem, Ours(text), theirs))
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"geometric mean ratio {mean:.2f} (at most {GEOMETRIC_MEAN_MAX})")
    print(f"worst ratio {max(ratios):.2f} (at most {RATIO_MAX})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
