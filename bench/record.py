"""What recording costs a scan: 1,000 inputs of which 50 change in each scan, recorder on against recorder off.

A real scan process at 1 ms with a program of ordinary size; rounds with and without a recorder alternate, so that both
see the same machine. The time is that of the whole scan as the engine measures it.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

from _scan import running

import programs
from programs.building import read_settings
from runtime.plant import RecorderSection
from runtime.recorder import PUMP_S, Recorder
from scan import Channel, InputsWriter, IoMap, NodeView

LIMIT_SHARE, LIMIT_US = 0.05, 2.0
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "7"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "1.0"))
INPUTS, CHANGED = 1000, 50
PROGRAM = f"""
VAR_GLOBAL level AT %ID0 : ARRAY[1..{INPUTS}] OF DINT; valve AT %QD0 : ARRAY[1..{INPUTS}] OF DINT; END_VAR
PROGRAM Main
VAR i : DINT; mean : ARRAY[1..{INPUTS}] OF LREAL; delays : ARRAY[1..{INPUTS}] OF TON; END_VAR
FOR i := 1 TO {INPUTS} DO
  mean[i] := mean[i] * 0.95 + 0.05 * level[i];
  delays[i](IN := level[i] > mean[i], PT := T#50ms);
  valve[i] := SEL(delays[i].Q, LREAL_TO_DINT(SQRT(ABS(mean[i]))), 0);
END_FOR
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#1ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


class Field(threading.Thread):
    """Changes 50 inputs every millisecond."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(daemon=True)
        channels = tuple(Channel(f"c{n}", "d", "in", 4 * n, 4) for n in range(INPUTS))
        self._writer = InputsWriter.create(directory, IoMap(channels, inputs_size=4 * INPUTS))
        self.stopping = threading.Event()

    def run(self) -> None:
        image = self._writer.image.view("<i4")
        count = 0
        while not self.stopping.wait(0.001):
            count += 1
            image[count % 20 :: INPUTS // CHANGED] += 1
            self._writer.publish()


class Pump(threading.Thread):
    """The recorder as the gate runs it."""

    def __init__(self, directory: pathlib.Path, folder: pathlib.Path) -> None:
        super().__init__(daemon=True)
        self._recorder = Recorder(
            NodeView.open(directory), segments=directory, folder=folder, section=RecorderSection(), node="bench",
            now_ns=time.time_ns,
        )  # fmt: skip
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(PUMP_S):
            self._recorder.pump()
        self._recorder.close()


def main() -> int:
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    application = programs.compile_sources(settings, {"main.st": PROGRAM.encode()})
    times: dict[bool, list[float]] = {False: [], True: []}
    with running(application) as run, tempfile.TemporaryDirectory() as folder:
        field = Field(run.directory)
        field.start()
        for number in range(2 * ROUNDS):
            recorded = bool(number % 2)
            pump = Pump(run.directory, pathlib.Path(folder))
            if recorded:
                pump.start()
                time.sleep(4 * PUMP_S)
            times[recorded].append(run.measure(SECONDS).execution.percentile_ns(50) / 1000)
            pump.stopping.set()
            if recorded:
                pump.join()
        field.stopping.set()
        field.join()
        lost = run.view.counters.records_lost
    off, on = statistics.median(times[False]), statistics.median(times[True])
    print(
        f"{INPUTS:,} inputs, {CHANGED} of them change a scan; median of {ROUNDS} rounds of {SECONDS:g} s each"
    )
    print(f"  off {off:.2f} µs, on {on:.2f} µs a scan (p50), {lost} records lost")
    print(f"  costs {on - off:.2f} µs (at most {LIMIT_US:g})")
    print(f"ratio on to off: {on / off:.3f} (at most {1 + LIMIT_SHARE:.2f})")
    return int(on - off > LIMIT_US or on / off > 1 + LIMIT_SHARE)


if __name__ == "__main__":
    sys.exit(main())
