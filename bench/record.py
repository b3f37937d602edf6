"""What recording costs a scan: 1,000 inputs of which 50 change in each scan, recorder on against recorder off.

A real scan process at 1 ms; rounds with and without a recorder alternate, so that both see the same machine. *Scan
time* is the execution time of a whole scan as the engine measures it, inputs to snapshot, of a program that does with
each of its 1,000 inputs the least that programs do with one: a filter, a delay, an output. A program that does more has
a longer scan and a smaller share; the absolute cost does not depend on the program, and has a limit of its own.

Virtual time tells the bare instructions: the same scans back to back from warm caches, in slices too short to be
disturbed, the best of each. In a real scan the caches are as cold as the millisecond before has left them.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

import numpy as np
from _scan import running, typical_us

import programs
from programs.building import read_settings
from runtime.plant import RecorderSection
from runtime.recorder import PUMP_S, Recorder
from scan import Application, Channel, InputsWriter, IoMap, NodeView, VirtualEngine
from scan import layout as w
from scan.program import address_of, make_words

LIMIT_SHARE, LIMIT_US = 0.05, 2.0
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "25"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "0.4"))
INPUTS, CHANGED = 1000, 50
SLICE_SCANS, SLICES = 300, 300
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


def measure_process(application: Application) -> tuple[float, float, int]:
    """µs a scan without and with the recorder, and records lost."""
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
            times[recorded].append(typical_us(run.measure(SECONDS).execution))
            pump.stopping.set()
            if recorded:
                pump.join()
        field.stopping.set()
        field.join()
        lost = run.view.counters.records_lost
    return statistics.median(times[False]), statistics.median(times[True]), lost


def measure_virtual(application: Application) -> tuple[float, float]:
    """µs a scan without and with records, run from records of such scans."""
    engine = VirtualEngine(application)
    ring = make_words((w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY) // 8)
    engine._memory.words[w.E_RECORDS] = address_of(ring)
    ring[w.R_ENABLED] = 1
    image = np.zeros(INPUTS, np.int32)
    for number in range(SLICE_SCANS):
        image[number % 20 :: INPUTS // CHANGED] += 1
        engine.scan(number * 1_000_000, inputs=image.tobytes())
    records = ring[w.RECORDS_HEADER_SIZE // 8 :][: int(ring[w.R_TAIL]) // 8].tobytes()
    best = [float("inf"), float("inf")]
    for number in range(2 * SLICES):
        ring[w.R_HEAD], ring[w.R_ENABLED] = ring[w.R_TAIL], number % 2 and number
        begun = time.perf_counter_ns()
        assert engine.replay(records) == len(records) and ring[w.R_LOST] == 0
        best[number % 2] = min(best[number % 2], (time.perf_counter_ns() - begun) / SLICE_SCANS / 1000)
    return best[0], best[1]


def main() -> int:
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    application = programs.compile_sources(settings, {"main.st": PROGRAM.encode()})
    warm_off, warm_on = measure_virtual(application)
    off, on, lost = measure_process(application)
    cost, share = on - off, (on - off) / off
    print(
        f"{INPUTS:,} inputs, {CHANGED} of them change a scan; median of {ROUNDS} rounds of {SECONDS:g} s each"
    )
    print(f"  virtual time: off {warm_off:.2f} µs, on {warm_on:.2f} µs, costs {warm_on - warm_off:.3f} µs")
    print(f"  real process: off {off:.2f} µs, on {on:.2f} µs, costs {cost:.3f} µs, {lost} records lost")
    print(f"ratio of the cost to {LIMIT_US:g} µs: {cost / LIMIT_US:.2f} (at most 1.00)")
    print(f"ratio of the cost to the scan time: {share:.3f} (at most {LIMIT_SHARE:.2f})")
    return int(cost > LIMIT_US or share > LIMIT_SHARE)


if __name__ == "__main__":
    sys.exit(main())
