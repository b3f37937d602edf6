"""Keeping 1,000 retained variables durably, against writing and syncing as many bytes to the same disk.

Rounds of both alternate on the same folder. What is not the disk's is taking the values out of the block, encoding,
the checksum, and the two-slot discipline.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

from runtime.retain import SLOTS, RetainStore
from scan.abi import ABI_VERSION, Application, IecType, Region, Symbol

VARIABLES = 1000
LIMIT = 3.0
ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "100"))


def application() -> Application:
    nothing = Region(64, 0)
    symbols = tuple(
        Symbol(f"Main.value{number}", IecType.LREAL, offset=64 + 8 * number, size=8, retain=True)
        for number in range(VARIABLES)
    )
    size = 64 + 8 * VARIABLES
    return Application(
        ABI_VERSION, "bench", "d", "any", size, nothing, nothing, nothing, nothing, bytes(size), symbols, (), (), (),
        b"",
    )  # fmt: skip


def sync_file(path: pathlib.Path, data: bytes) -> None:
    """The plain way: written beside, synced, renamed."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def main() -> int:
    program = application()
    block = np.zeros(program.block_size, np.uint8)
    saves, plain = [], []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TICKWORK_BENCH_DIR", ".")) as folder:
        directory = pathlib.Path(folder)
        store = RetainStore(directory / "retain")
        store.save(program, block, 0, 0)
        slot = next(directory / "retain" / name for name in SLOTS if (directory / "retain" / name).exists())
        data = os.urandom(slot.stat().st_size)
        for number in range(1, ROUNDS + 1):
            block[64:] = number % 256
            begun = time.perf_counter()
            assert store.save(program, block, number, number)
            between = time.perf_counter()
            sync_file(directory / "plain", data)
            saves.append(between - begun)
            plain.append(time.perf_counter() - between)
    save_ms, plain_ms = statistics.median(saves) * 1e3, statistics.median(plain) * 1e3
    print(f"{VARIABLES:,} retained variables, {len(data):,} bytes, median of {ROUNDS} rounds")
    print(f"  save {save_ms:.2f} ms, plain write and fsync {plain_ms:.2f} ms")
    print(f"ratio: {save_ms / plain_ms:.2f} (at most {LIMIT:g})")
    return int(save_ms / plain_ms > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
