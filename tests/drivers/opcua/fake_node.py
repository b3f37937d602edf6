"""A node whose program is a real symbol table over a block that the test writes: no scan process, no native code."""

from __future__ import annotations

import time

import msgspec
import numpy as np

import scan
from programs.check import check
from programs.layout import BlockLayout
from programs.layout_symbols import Image, SymbolTable
from programs.source import Source
from scan import NodeState, Snapshot
from scan.abi import ABI_VERSION, Application, Region, Symbol, TaskSpec
from scan.values import encode_value

MS = 1_000_000


def application(text: str, *, digest: str = "0" * 64) -> Application:
    """The program of an ST text, as far as servers look at it."""
    result = check([Source("main.st", text)])
    assert result.program is not None, "\n".join(problem.render() for problem in result.problems)
    layout = BlockLayout(result.program)
    table = SymbolTable(layout)
    symbols = table.collect()
    tasks = (TaskSpec("Fast", "fast", period_ns=10 * MS, priority=2, programs=("Main",)),)
    aggregates = tuple(
        one if one.kind != "program" else msgspec.structs.replace(one, owner="Fast")
        for one in table.aggregates
    )
    return Application(
        abi=ABI_VERSION, name="demo", digest=digest, target="", block_size=layout.size,
        inputs=layout.inputs, outputs=layout.outputs, markers=layout.markers, shared=Region(64, 0),
        image=Image(layout, table.addresses).build(), symbols=symbols, tasks=tasks, pous=(), pou_files=(),
        object_code=b"", aggregates=aggregates,
    )  # fmt: skip


class FakeNode:
    """What ``scan.NodeView`` is to a server."""

    alive = True

    def __init__(self, text: str) -> None:
        self.state = NodeState.RUNNING
        self.generation = 0
        self.overruns = 0
        self.forced: frozenset[tuple[int, int]] = frozenset()
        self.wall_ns = 1_700_000_000_000_000_000
        self.fault: scan.FaultRecord | None = None
        self.load(text)

    def load(self, text: str) -> None:
        """Another program, as an online change brings it."""
        self.application = application(text, digest=f"{self.generation:0<64x}")
        self.block = np.frombuffer(bytearray(self.application.image), np.uint8)
        self.generation += 1

    def refresh(self) -> bool:
        return False

    def symbol(self, path: str) -> Symbol:
        return next(symbol for symbol in self.application.symbols if symbol.path.lower() == path.lower())

    def set(self, path: str, value: object) -> None:
        self.put(self.symbol(path), value)

    def put(self, symbol: Symbol, value: object) -> None:
        data = encode_value(symbol, value)
        self.block[symbol.offset : symbol.offset + len(data)] = np.frombuffer(data, np.uint8)

    def get(self, path: str) -> scan.Value:
        return scan.read_value(self.block, self.symbol(path))

    def snapshot(self) -> Snapshot:
        self.wall_ns += MS
        return Snapshot(
            generation=self.generation, scan=1, mono_ns=time.monotonic_ns(), wall_ns=self.wall_ns, now_ns=0,
            state=self.state, block=self.block.copy(), forces=(), forced=self.forced, quiet=True, force_table=b"",
        )  # fmt: skip

    def inputs(self) -> None:
        return None

    def channel_of(self, _symbol: Symbol) -> int:
        return -1

    def stats(self) -> tuple[scan.TaskStatistics, ...]:
        zero = scan.Histogram(np.zeros(4, np.int64), 0, 0, 0, 0, 0)
        return (
            scan.TaskStatistics("Fast", 10 * MS, 2, 80, 5, self.overruns, 0, 0, 0, zero, zero, zero, zero),
        )


__all__ = ["FakeNode", "application"]
