"""Replay against real time: recorded scans of a program of ordinary size at 10 ms, run again with every check.

The recording is made in virtual time with inputs that change, checkpoints every ten seconds, as the recorder writes
it, and is read from its file: the time counted is all from the bytes of the file to the verdict.
"""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import sys

import numpy as np

import programs
from programs.building import read_settings
from scan import VirtualEngine
from scan import layout as w
from scan import recording as r
from scan.program import address_of, make_words
from scan.replay import Recording, replay

LIMIT = 100.0
PERIOD_NS = 10_000_000
SCANS = int(os.environ.get("TICKWORK_BENCH_SCANS", "30000"))
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
CHECKPOINT_SCANS = 1000
LOOPS = 40
PROGRAM = f"""
VAR_GLOBAL level AT %ID0 : ARRAY[1..100] OF DINT; valve AT %QD0 : ARRAY[1..{LOOPS}] OF DINT; END_VAR
PROGRAM Main
VAR i : INT; delays : ARRAY[1..{LOOPS}] OF TON; mean, dev : ARRAY[1..{LOOPS}] OF LREAL; END_VAR
FOR i := 1 TO {LOOPS} DO
  mean[i] := mean[i] * 0.95 + 0.05 * level[i];
  dev[i] := dev[i] * 0.95 + 0.05 * ABS(level[i] - mean[i]);
  delays[i](IN := level[i] > mean[i] + 2.0 * dev[i], PT := T#50ms);
  valve[i] := SEL(delays[i].Q, LREAL_TO_DINT(SQRT(ABS(mean[i]))), 0);
END_FOR
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


def record() -> Recording:
    settings = read_settings('[node]\nname = "bench"\n', "plant.toml")
    application = programs.compile_sources(settings, {"main.st": PROGRAM.encode()})
    engine = VirtualEngine(application)
    ring = make_words((w.RECORDS_HEADER_SIZE + w.RECORDS_CAPACITY) // 8)
    ring[w.R_ENABLED] = 1
    engine._memory.words[w.E_RECORDS] = address_of(ring)
    frames = [r.encode_header(r.SegmentHeader("bench", "b", application.target, 0))]
    chance = random.Random(1)
    inputs = np.zeros(application.inputs.size // 4, np.int32)
    for scan in range(SCANS + 1):
        for _ in range(5):
            inputs[chance.randrange(100)] = chance.randrange(1000)
        engine.scan(scan * PERIOD_NS, inputs=inputs.tobytes(), wall_ns=scan * PERIOD_NS)
        if scan % CHECKPOINT_SCANS == 0:
            frames += frames_now(engine, ring, inputs.tobytes(), scan * PERIOD_NS)
    return Recording(r.read_segment(b"".join(frames)).frames, {application.digest: application})


def frames_now(engine: VirtualEngine, ring: np.ndarray, inputs: bytes, now_ns: int) -> list[bytes]:
    head, tail = int(ring[w.R_HEAD]), int(ring[w.R_TAIL])
    places = np.arange(head // 8, tail // 8) % (w.RECORDS_CAPACITY // 8)
    ring[w.R_HEAD] = tail
    block = engine.block.tobytes()
    point = r.Checkpoint(
        1, engine.application.digest, engine.scan_count, now_ns, now_ns, block, inputs,
        digest=hashlib.sha256(block).hexdigest(),
    )  # fmt: skip
    records = r.encode_records(ring[w.RECORDS_HEADER_SIZE // 8 + places].tobytes())
    return [records, r.encode_checkpoint(point)]


def main() -> int:
    recording = record()
    speeds, report = [], None
    for _ in range(ROUNDS):
        report = replay(recording)
        assert not report.mismatches
        speeds.append(report.speed)
    assert report is not None
    speed = statistics.median(speeds)
    print(
        f"replay of {report.scans:,} scans at 10 ms, {LOOPS} loops with timers, {report.checkpoints} checkpoints met"
    )
    print(f"  {report.elapsed_ns / 1e3 / report.scans:.2f} µs a scan")
    print(f"ratio to real time: {speed:,.0f} (at least {LIMIT:g})")
    return int(speed < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
