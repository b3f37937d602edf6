"""A scan process for the benchmarks: an application of native code without statements, started as a node starts it."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import llvmlite.binding as llvm
import msgspec
import numpy as np

from scan import CommandLane, Histogram, NodeView, TaskStatistics, encode_application
from scan.abi import ABI_VERSION, HEADER_SIZE, Application, Region, TaskSpec
from scan.statistics import bucket_bounds_ns

ROOT = pathlib.Path(__file__).resolve().parents[1]
EMPTY_IR = "define i32 @main(ptr %block, ptr %context) { ret i32 0 }"
STEADY_IR = """
define i32 @main(ptr %block, ptr %context) {
entry:
  br label %loop
loop:
  %n = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void asm sideeffect "", "r"(i64 %n)
  %next = add i64 %n, 1
  %more = icmp ult i64 %next, 30000
  br i1 %more, label %loop, label %done
done:
  ret i32 0
}
"""


def steady_application(*, period_ns: int) -> Application:
    """One that computes in registers alone, about ten microseconds: only the machine can lengthen it."""
    return empty_application(input_bytes=0, output_bytes=0, period_ns=period_ns, code_ir=STEADY_IR)


def empty_application(
    *, input_bytes: int, output_bytes: int, period_ns: int, code_ir: str = EMPTY_IR
) -> Application:
    """An application with process images and nothing to do."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    code = machine.emit_object(llvm.parse_assembly(code_ir))
    size = HEADER_SIZE + input_bytes + output_bytes
    return Application(
        abi=ABI_VERSION,
        name="empty",
        digest="empty",
        target=f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} bench",
        block_size=size,
        inputs=Region(HEADER_SIZE, input_bytes),
        outputs=Region(HEADER_SIZE + input_bytes, output_bytes),
        markers=Region(size, 0),
        shared=Region(HEADER_SIZE, size - HEADER_SIZE),
        image=bytes(size),
        symbols=(),
        tasks=(TaskSpec("Main", "main", period_ns=period_ns),),
        pous=(),
        pou_files=(),
        object_code=msgspec.msgpack.encode([code]),
    )


def typical_us(histogram: Histogram) -> float:
    """The mean of the middle eight tenths: finer than a percentile (buckets are 6 % wide), free of outliers."""
    counts, bounds = histogram.counts.astype(float), bucket_bounds_ns()
    middle = (bounds[:-1] + bounds[1:]) / 2
    ranks = np.cumsum(counts)
    low, high = 0.1 * ranks[-1], 0.9 * ranks[-1]
    kept = np.clip(ranks, low, high) - np.clip(ranks - counts, low, high)
    return float((kept * middle).sum() / kept.sum() / 1000)


class Running:
    """A scan process with its view and lane."""

    def __init__(self, process: subprocess.Popen[str], directory: pathlib.Path) -> None:
        self.directory = directory
        self._process = process
        self._number = 0

    def ask(self, op: str, **arguments: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._number += 1
        self._process.stdin.write(json.dumps({"id": self._number, "op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, object] = {}
        while answer.get("id") != self._number:
            answer = json.loads(self._process.stdout.readline())
        assert answer["ok"], answer

    def attach(self) -> None:
        self.view = NodeView.open(self.directory)
        self.lane = CommandLane.open(self.directory, "gate")

    def measure(self, seconds: float) -> TaskStatistics:
        """Statistics of the next seconds."""
        self.lane.reset_statistics(self.view)
        time.sleep(seconds)
        self.lane.poll()
        return self.view.stats()[0]

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """No scans meanwhile."""
        self.ask("stop")
        yield
        self.ask("start")


@contextlib.contextmanager
def running(application: Application) -> Iterator[Running]:
    """A scan process that runs the application."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="tickwork-bench-") as folder:
        directory = pathlib.Path(folder)
        path = directory / "application"
        path.write_bytes(encode_application(application))
        command = [sys.executable, "-m", "scan.process", "--dir", folder]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
            run = Running(process, directory)
            run.ask("load", application=str(path))
            run.ask("start")
            run.attach()
            yield run
            assert process.stdin
            process.stdin.close()
