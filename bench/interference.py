"""Whether what others do lengthens a scan: execution time p99.9 with and without load, in alternating rounds.

The load, each in a process of its own: the recorder; a reader that takes snapshots and finds changes without a pause;
a client that writes as fast as the lane takes it; a compiler that builds one program after the other.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

from _scan import running

import programs
from programs.building import read_settings
from runtime.plant import RecorderSection
from runtime.recorder import PUMP_S, Recorder
from scan import Application, CommandLane, Gather, NodeView, TickworkError

LIMIT = 1.2
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "2.0"))
PROGRAM = """
PROGRAM Main
VAR i : DINT; delays : ARRAY[1..1000] OF TON; mean : ARRAY[1..1000] OF LREAL; END_VAR
VAR {attribute 'access' := 'rw'} gain : LREAL := 0.5; END_VAR
FOR i := 1 TO 1000 DO
  mean[i] := mean[i] * 0.99 + gain * i;
  delays[i](IN := mean[i] > 100.0, PT := T#50ms);
END_FOR
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#1ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


def compiled(text: str, cache: pathlib.Path | None = None) -> Application:
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    return programs.compile_sources(settings, {"main.st": text.encode()}, cache_dir=cache)


def record(directory: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            NodeView.open(directory), segments=directory, folder=pathlib.Path(folder), section=RecorderSection(),
            node="bench", now_ns=time.time_ns,
        )  # fmt: skip
        while True:
            recorder.pump()
            time.sleep(PUMP_S)


def read(directory: pathlib.Path) -> None:
    view = NodeView.open(directory)
    view.refresh()
    assert view.application is not None
    gather = Gather(view, view.application.symbols)
    while True:
        gather.update(view.snapshot())


def write(directory: pathlib.Path) -> None:
    view, lane = NodeView.open(directory), CommandLane.open(directory, "parent")
    view.refresh()
    symbol = view.symbol("Main.gain")
    number = 0
    while True:
        number += 1
        try:
            lane.write(view, symbol, float(number % 7))
        except TickworkError:  # the lane is full
            time.sleep(0.001)
        lane.poll()


def compile_always(_directory: pathlib.Path) -> None:
    number = 0
    while True:
        number += 1
        with tempfile.TemporaryDirectory() as cache:
            compiled(PROGRAM.replace("100.0", f"{number}.0"), pathlib.Path(cache))


LOADS: tuple[Callable[[pathlib.Path], None], ...] = (record, read, write, compile_always)


def main() -> int:
    times: dict[bool, list[float]] = {False: [], True: []}
    with running(compiled(PROGRAM)) as run:
        for number in range(2 * ROUNDS):
            loaded = bool(number % 2)
            workers = (
                [multiprocessing.Process(target=load, args=(run.directory,)) for load in LOADS]
                if loaded
                else []
            )
            for worker in workers:
                worker.start()
            time.sleep(1.0)
            times[loaded].append(run.measure(SECONDS).execution.percentile_ns(99.9) / 1000)
            for worker in workers:
                worker.kill()
                worker.join()
    idle, load = statistics.median(times[False]), statistics.median(times[True])
    print(f"execution time of a scan, p99.9, median of {ROUNDS} rounds of {SECONDS:g} s each")
    print(f"  alone {idle:.1f} µs, with recorder, reader, writer and compiler at full speed {load:.1f} µs")
    print(f"ratio with load to without: {load / idle:.2f} (at most {LIMIT:g})")
    return int(load / idle > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
