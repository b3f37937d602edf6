"""Online change: how long the tasks are held, for 10,000 variables at 1 ms, against that period.

A real scan process changes between two programs with 10,000 variables each, of which all but one are carried over; the
second has its variables in another order. The pause is what the engine itself measured around the exchange.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from _scan import running

import programs
from programs.building import read_settings
from scan import Application, NodeState, encode_application

VARIABLES = 10_000
PERIOD_US = 1000.0
SWAPS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "20"))


def build(*, reverse: bool) -> Application:
    names = [f"v{number}" for number in range(VARIABLES - 1)]
    kinds = ("DINT", "LREAL", "BOOL", "INT", "LINT")
    lines = [f"  {name} : {kinds[int(name[1:]) % len(kinds)]};" for name in names]
    lines.append(f"  only_{'b' if reverse else 'a'} : DINT;")
    body = "\n".join(reversed(lines) if reverse else lines)
    text = (
        f"PROGRAM Main\nVAR\n{body}\nEND_VAR\nv0 := v0 + 1;\nv1 := v1 + 0.5;\nEND_PROGRAM\n"
        "CONFIGURATION Plant\n  RESOURCE Cpu ON Any\n    TASK Fast(INTERVAL := T#1ms, PRIORITY := 1);\n"
        "    PROGRAM Main WITH Fast : Main;\n  END_RESOURCE\nEND_CONFIGURATION\n"
    )
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    return programs.compile_sources(settings, {"main.st": text.encode()})


def main() -> int:
    one, other = build(reverse=False), build(reverse=True)
    pauses = []
    with running(one) as run:
        path = run.directory / "next.app"
        for number in range(SWAPS):
            path.write_bytes(encode_application(one if number % 2 else other))
            time.sleep(0.05)
            run.ask("swap", application=str(path))
            pauses.append(run.view.counters.swap_pause_ns / 1000)
            assert run.view.state is NodeState.RUNNING
    middle, worst = statistics.median(pauses), max(pauses)
    print(f"online change of {VARIABLES:,} variables at 1 ms, {SWAPS} times")
    print(f"  pause {middle:.0f} µs (median), {worst:.0f} µs (worst)")
    print(f"ratio of the worst pause to the period: {worst / PERIOD_US:.2f} (below 1.00)")
    return int(worst >= PERIOD_US)


if __name__ == "__main__":
    sys.exit(main())
