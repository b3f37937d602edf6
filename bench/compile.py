"""Time from ST text to machine code: cold, after a change in one POU, and from the cache.

``./dev bench compile`` compiles a made-up program of 10,000 statements. ``TICKWORK_BENCH_SOURCES=PATH`` (a file or
folder) with ``TICKWORK_BENCH_DIALECT`` compiles those instead. Each time is printed as a ratio to its budget: 1 ms a
statement cold, 1 s for the others; with a C compiler on the machine also against ``cc -O2`` on the same in C.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from programs.check import check
from programs.lower_effects import walk
from programs.native import compile_program
from programs.native_cache import Cache
from programs.source import SourceSet

BLOCKS = 400
STATEMENTS_BLOCK = 25
COLD_MS_STATEMENT = 1.0
WARM_S = 1.0
STATEMENT_KINDS = (
    "Assign",
    "CallBlock",
    "CallStatement",
    "If",
    "Case",
    "For",
    "While",
    "Repeat",
    "Exit",
    "Return",
)

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


def made_up(changed: bool = False) -> str:
    parts = []
    repeats = STATEMENTS_BLOCK // 8
    for number in range(BLOCKS):
        timers = " ".join(f"t{i} : TON;" for i in range(repeats))
        body = "".join(_ST_BODY.format(i=i) for i in range(repeats))
        parts.append(_ST_HEAD.format(n=number, t=timers) + body + "  b := b + 1;\nEND_FUNCTION_BLOCK\n")
    if changed:
        parts[7] = parts[7].replace("b := b + 1", "b := b + 2")
    calls = "".join(f"  b{number}();\n" for number in range(BLOCKS))
    names = " ".join(f"b{number} : B{number};" for number in range(BLOCKS))
    return "".join(parts) + f"PROGRAM Main\nVAR {names} END_VAR\n{calls}END_PROGRAM\n"


def in_c() -> str:
    parts = [_C_TON]
    members = ["a", "b", "c", "x", "y", "i", "d", "t"]
    repeats = STATEMENTS_BLOCK // 8
    defines = "".join(f"#define {name} (self->{name})\n" for name in members)
    undefines = "".join(f"#undef {name}\n" for name in members)
    for number in range(BLOCKS):
        body = "".join(_C_BODY.format(i=i) for i in range(repeats))
        parts.append(_C_HEAD.format(n=number) + defines)
        parts.append(
            f"int b{number}(struct B{number} *self, ns now) {{\n{body}  b = b + 1;\n  return 0;\n}}\n{undefines}"
        )
    return "".join(parts)


def texts() -> tuple[dict[str, bytes], str]:
    given = os.environ.get("TICKWORK_BENCH_SOURCES")
    if not given:
        return {"made_up.st": made_up().encode()}, "iec"
    path = pathlib.Path(given)
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {str(one): one.read_bytes() for one in files}, os.environ.get("TICKWORK_BENCH_DIALECT", "auto")


def once(sources: dict[str, bytes], dialect: str, cache: Cache) -> tuple[float, float, int]:
    """Seconds of the front end and of code generation, number of statements."""
    start = time.perf_counter()
    added = SourceSet()
    result = check([added.add(path, text) for path, text in sources.items()], dialect=dialect)
    if result.program is None:
        raise SystemExit("\n".join(problem.render() for problem in result.errors[:10]))
    checked = time.perf_counter()
    compile_program(result.program, digest="bench", cache=cache)
    end = time.perf_counter()
    nodes = (type(node).__name__ for pou in result.program.pous.values() for node in walk(pou.body))
    return checked - start, end - checked, sum(name in STATEMENT_KINDS for name in nodes)


def c_seconds() -> float | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "made_up.c")
        source.write_text(in_c())
        start = time.perf_counter()
        subprocess.run([compiler, "-O2", "-c", str(source), "-o", str(source.with_suffix(".o"))], check=True)
        return time.perf_counter() - start


def main() -> None:
    sources, dialect = texts()
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(pathlib.Path(folder))
        front, back, statements = once(sources, dialect, cache)
        cold = front + back
        budget = statements * COLD_MS_STATEMENT / 1000
        print(f"compile cold     {statements} statements: front end {front:.2f} s, machine code {back:.2f} s")
        print(
            f"compile cold     {1000 * cold / statements:.2f} ms a statement, ratio to budget {cold / budget:.2f}"
        )
        if "made_up.st" in sources:
            front, back, _ = once({"made_up.st": made_up(changed=True).encode()}, dialect, cache)
            print(
                f"compile changed  one POU: {front + back:.2f} s, ratio to budget {(front + back) / WARM_S:.2f}"
            )
        front, back, _ = once(sources, dialect, cache)
        print(f"compile cached   {front + back:.2f} s, ratio to budget {(front + back) / WARM_S:.2f}")
    reference = c_seconds() if "made_up.st" in sources else None
    if reference is not None:
        print(
            f"compile against  cc -O2 on the same statements: {reference:.2f} s, ratio {cold / reference:.2f}"
        )


if __name__ == "__main__":
    main()
