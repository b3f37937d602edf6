"""Time and memory from ST text to machine code: cold, after a change in one POU, unchanged: ``./dev bench compile``.

Two made-up programs of 10,000 statements, one in 400 blocks and one in a single PROGRAM, and a library:
``TICKWORK_BENCH_OSCAT`` names a folder with OSCAT Basic as CODESYS exports it (one file a unit),
``TICKWORK_BENCH_OSCAT_RUSTY`` one with oscat.st and stubs.st in the RuSTy dialect. Each is compiled by the process
that a node starts for it, ``python -m programs.native``, start of Python included. "CPU" is the processor time of that
process and of those that it starts: on a machine with other work it says more than the time of day. The ratio is the
time of day to the budget. With a C compiler on the machine the cold time is also compared with ``cc -O2`` on the same
in C.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

from programs.building import read_folder
from programs.check import check
from programs.native import compile_program
from programs.native_cache import Cache
from programs.source import SourceSet

COLD_S, OSCAT_COLD_S, FRONT_END_S, CHANGED_S, CACHED_S, MEMORY_MB = 10.0, 30.0, 1.5, 1.0, 1.0, 600.0
OSCAT_POUS, OSCAT_RUSTY_POUS = 545, 450
BLOCKS = 400
STATEMENTS_BLOCK = 25
REPEATS = STATEMENTS_BLOCK // 8
# Variables that a user of the library declares; the exported folder does not have them.
OSCAT_GLOBALS = """VAR_GLOBAL CONSTANT STRING_LENGTH : INT := 250; LIST_LENGTH : INT := 250; END_VAR
VAR_GLOBAL MATH : CONSTANTS_MATH; PHYS : CONSTANTS_PHYS; LANGUAGE : CONSTANTS_LANGUAGE; SETUP : CONSTANTS_SETUP;
LOCATION : CONSTANTS_LOCATION; END_VAR
"""

_ST_BODY = """  a := a * 3 + b;
  IF a > 100 THEN c := c + 1; ELSIF b < 5 THEN c := c - 1; END_IF
  x := x * 0.5 + y;
  t{i}(IN := a > b, PT := T#20ms);
  FOR i := 0 TO 9 DO d[i] := d[i] + a; END_FOR
"""
_C_BODY = """  a = a * 3 + b;
  if (a > 100) c = c + 1; else if (b < 5) c = c - 1;
  x = x * 0.5f + y;
  ton(&t[{i}], a > b, 20000000, now);
  for (i = 0; i <= 9; i++) {{ if (i < 0 || i > 9) return 1; d[i] = d[i] + a; }}
"""
_ST_HEAD = (
    "FUNCTION_BLOCK B{n}\nVAR a, b, c : DINT; x, y : REAL; i : INT; d : ARRAY[0..9] OF DINT; {t} END_VAR\n"
)
_C_HEAD = "struct B{n} {{ int a, b, c; float x, y; short i; int d[10]; struct ton t[4]; }};\n"
_C_TON = """typedef long long ns;
struct ton { ns start, et; char phase, q; };
static void ton(struct ton *t, int in, ns pt, ns now) {
  if (!in) { t->phase = 0; t->q = 0; t->et = 0; return; }
  if (t->phase == 0) { t->phase = 1; t->start = now; }
  if (t->phase == 1) { ns e = now - t->start; if (e >= pt) { t->phase = 2; t->q = 1; t->et = pt; } else t->et = e; }
}
"""
_SINGLE = """  a{k} := a{l} * 3 + b{k};
  IF a{k} > {i} THEN b{k} := b{k} + 1; ELSE b{k} := a{m} / (b{l} + 2); END_IF
  x{k} := x{l} * 0.5 + y;
  t{k}(IN := a{k} > b{k}, PT := T#20ms);
  q{k} := q{l} AND NOT t{k}.Q OR q{m};
  d[b{k} MOD 20 + 20] := d[{k}] + a{k};
  w := CONCAT(w, 'x');
"""


def in_blocks() -> str:
    parts = []
    for number in range(BLOCKS):
        timers = " ".join(f"t{i} : TON;" for i in range(REPEATS))
        body = "".join(_ST_BODY.format(i=i) for i in range(REPEATS))
        parts.append(_ST_HEAD.format(n=number, t=timers) + body + "  b := b + 1;\nEND_FUNCTION_BLOCK\n")
    calls = "".join(f"  b{number}();\n" for number in range(BLOCKS))
    names = " ".join(f"b{number} : B{number};" for number in range(BLOCKS))
    return "".join(parts) + f"PROGRAM Main\nVAR {names} END_VAR\n{calls}END_PROGRAM\n"


def in_one() -> str:
    names = "".join(f"a{k}, b{k} : DINT; x{k} : REAL; q{k} : BOOL; t{k} : TON;\n" for k in range(40))
    numbers = ((i, i % 40) for i in range(10_000 // 9))
    body = "".join(_SINGLE.format(i=i, k=k, l=(k + 1) % 40, m=(k + 7) % 40) for i, k in numbers)
    variables = f"{names}y : REAL; d : ARRAY[0..40] OF DINT; w : STRING;"
    return f"PROGRAM Main\nVAR {variables} END_VAR\n{body}END_PROGRAM\n"


def in_c() -> str:
    parts = [_C_TON]
    members = ["a", "b", "c", "x", "y", "i", "d", "t"]
    defines = "".join(f"#define {name} (self->{name})\n" for name in members)
    undefines = "".join(f"#undef {name}\n" for name in members)
    for number in range(BLOCKS):
        body = "".join(_C_BODY.format(i=i) for i in range(REPEATS))
        parts.append(_C_HEAD.format(n=number) + defines)
        parts.append(
            f"int b{number}(struct B{number} *self, ns now) {{\n{body}  b = b + 1;\n  return 0;\n}}\n{undefines}"
        )
    return "".join(parts)


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Run:
    wall_s: float
    cpu_s: float
    memory_mb: float


def _memory_kb(pid: int) -> int:
    """Resident memory of a process and of those that it started."""
    total = 0
    with contextlib.suppress(OSError, IndexError):  # it may end at any time
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total = int(status.partition("VmRSS:")[2].split()[0])
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        total += sum(_memory_kb(int(child)) for child in children)
    return total


def _watch(pid: int, ended: threading.Event, peak: list[int]) -> None:
    while not ended.wait(0.02):
        peak.append(_memory_kb(pid))


def compiled(plant: pathlib.Path, cache: pathlib.Path) -> Run:
    """One compile job, as a node starts it."""
    command = [
        sys.executable,
        "-m",
        "programs.native",
        str(plant),
        "--out",
        str(cache) + ".out",
        "--cache",
        str(cache),
    ]
    begun = time.perf_counter()
    job = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=pathlib.Path(__file__).parents[1])
    peak, ended = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(job.pid, ended, peak))
    watcher.start()
    assert job.stdout is not None
    said = job.stdout.read()
    _, status, usage = os.wait4(job.pid, 0)
    job.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    ended.set()
    watcher.join()
    if job.returncode:
        raise SystemExit(said[-2000:].decode())
    return Run(wall, usage.ru_utime + usage.ru_stime, max(peak) / 1024)


def told(what: str, wall_s: float, cpu_s: float, budget_s: float) -> None:
    print(
        f"  {what:34} {wall_s:6.2f} s   CPU {cpu_s:6.2f} s   budget {budget_s:4.1f} s   ratio {wall_s / budget_s:.2f}"
    )


def front_end(plant: pathlib.Path) -> tuple[int, int]:
    """Prints the time of parsing and checking; the number of POUs and of problems."""
    settings, _, files = read_folder(plant)
    sources = SourceSet()
    added = [sources.add(path, data) for path, data in files.items()]
    begun, cpu = time.perf_counter(), time.process_time()
    result = check(added, dialect=settings.dialect)
    told("front end", time.perf_counter() - begun, time.process_time() - cpu, FRONT_END_S)
    if result.program is None:
        raise SystemExit("\n".join(problem.render() for problem in result.errors[:10]))
    own = [pou for pou in result.program.pous.values() if not pou.builtin and not pou.owner]
    return len(own), len(result.errors)


def recompiled(plant: pathlib.Path, cache: pathlib.Path) -> int:
    """Modules that are not in the cache."""
    settings, _, files = read_folder(plant)
    sources = SourceSet()
    program = check(
        [sources.add(path, data) for path, data in files.items()], dialect=settings.dialect
    ).program
    assert program is not None
    found = Cache(cache)
    compile_program(program, digest="bench", cache=found)
    return found.misses


def series(title: str, plant: pathlib.Path, change: tuple[str, str, str], cold_s: float) -> Run:
    """Cold, unchanged, changed; ``change`` is a file's name and a text in it that becomes another."""
    print(title)
    front_end(plant)
    cache = plant.parent / f"{plant.name}.cache"
    cold = compiled(plant, cache)
    told("parse to machine code, cold", cold.wall_s, cold.cpu_s, cold_s)
    print(f"  {'memory, all processes':34} {cold.memory_mb:6.0f} MB budget {MEMORY_MB:.0f} MB   ratio "
          f"{cold.memory_mb / MEMORY_MB:.2f}")  # fmt: skip
    same = compiled(plant, cache)
    told("unchanged", same.wall_s, same.cpu_s, CACHED_S)
    path = plant / change[0]
    text = path.read_bytes()
    assert change[1].encode() in text, change
    path.write_bytes(text.replace(change[1].encode(), change[2].encode(), 1))
    counted = plant.parent / f"{plant.name}.copy"
    shutil.copytree(cache, counted)
    modules = recompiled(plant, counted)
    changed = compiled(plant, cache)
    told(f"one POU changed ({modules} modules made)", changed.wall_s, changed.cpu_s, CHANGED_S)
    return cold


def made_plant(folder: pathlib.Path, files: dict[str, bytes], dialect: str = "iec") -> pathlib.Path:
    folder.mkdir()
    (folder / "sources").mkdir()
    for name, data in files.items():
        (folder / "sources" / name).write_bytes(data)
    (folder / "plant.toml").write_text(
        f'[node]\nname = "bench"\n[program]\nsources = ["sources/*"]\ndialect = "{dialect}"\n'
    )
    return folder


def c_seconds(folder: pathlib.Path) -> float | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    source = folder / "made_up.c"
    source.write_text(in_c())
    start = time.perf_counter()
    subprocess.run([compiler, "-O2", "-c", str(source), "-o", str(source.with_suffix(".o"))], check=True)
    return time.perf_counter() - start


def library(folder: pathlib.Path) -> None:
    """The library in both dialects, where its paths are given."""
    given = os.environ.get("TICKWORK_BENCH_OSCAT")
    if given:
        files = {path.name: path.read_bytes() for path in sorted(pathlib.Path(given).glob("*.EXP"))}
        plant = made_plant(folder / "oscat", {**files, "globals.st": OSCAT_GLOBALS.encode()}, "codesys")
        change = ("sources/BAND_B.EXP", "END_FUNCTION", "BAND_B := BAND_B;\nEND_FUNCTION")
        series(f"OSCAT Basic, CODESYS dialect, {len(files)} files", plant, change, OSCAT_COLD_S)
        pous, _ = front_end(plant)
        print(f"  POUs compiled                      {pous} of {OSCAT_POUS}")
    given = os.environ.get("TICKWORK_BENCH_OSCAT_RUSTY")
    if given:
        files = {name: pathlib.Path(given, name).read_bytes() for name in ("oscat.st", "stubs.st")}
        plant = made_plant(folder / "rusty", files, "rusty")
        print("OSCAT Basic, RuSTy dialect")
        pous, _ = front_end(plant)
        run = compiled(plant, folder / "rusty.cache")
        told("parse to machine code, cold", run.wall_s, run.cpu_s, OSCAT_COLD_S)
        print(f"  POUs compiled                      {pous}, at least {OSCAT_RUSTY_POUS}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plant = made_plant(folder / "blocks", {"made_up.st": in_blocks().encode()})
        change = ("sources/made_up.st", "b := b + 1;", "b := b + 2;\n")
        cold = series(
            f"{BLOCKS * (STATEMENTS_BLOCK + 1)} statements in {BLOCKS} blocks", plant, change, COLD_S
        )
        reference = c_seconds(folder)
        if reference is not None:
            ratio = cold.wall_s / reference
            print(
                f"  {'cc -O2 on the same in C':34} {reference:6.2f} s   ratio of the cold time to it {ratio:.2f}"
            )
        plant = made_plant(folder / "single", {"made_up.st": in_one().encode()})
        change = ("sources/made_up.st", "w := CONCAT(w, 'x');", "w := CONCAT(w, 'y');")
        series("10,000 statements in one PROGRAM", plant, change, COLD_S)
        library(folder)


if __name__ == "__main__":
    main()
