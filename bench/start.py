"""Time from starting a node to its first scan, cold and with warm caches: ``./dev bench start``.

Each cold start has a home of its own, so program, standard blocks and engine are compiled; a warm start is the
same node again. The reference, in the same rounds, is what Python needs to load the compiler at all: ``import numba``.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import scan

PLANT = pathlib.Path(__file__).resolve().parent.parent / "examples" / "water"
COLD_ROUNDS, WARM_ROUNDS = 3, 5
LIMIT_S = 180.0


def plant_without_devices(folder: pathlib.Path) -> pathlib.Path:
    plant = folder / "plant"
    plant.mkdir()
    for source in PLANT.glob("*.st"):
        (plant / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    (plant / "plant.toml").write_text('[node]\nname = "water"\n\n[program]\nsources = ["*.st"]\n')
    return plant


def first_scan(state: pathlib.Path, limit: float) -> bool:
    """Whether the node has scanned; polled, since the node must not be slowed by being asked."""
    try:
        facts = json.loads((state / "run" / "node.json").read_text())
        view = scan.NodeView.open(pathlib.Path(facts["segments"]))
        return view.counters.scans > 0
    except (OSError, ValueError, KeyError, scan.TickworkError):
        if time.monotonic() > limit:
            raise
        return False


def start(plant: pathlib.Path, home: pathlib.Path) -> float:
    """Seconds until the first scan."""
    state = home / "state"
    (state / "run" / "node.json").unlink(missing_ok=True)
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [
        str(pathlib.Path(sys.executable).parent / "tickwork"),
        "run",
        str(plant),
        "--state",
        str(state),
    ]
    begun = time.monotonic()
    node = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not first_scan(state, begun + LIMIT_S):
            time.sleep(0.005)
        return time.monotonic() - begun
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(30)


def reference() -> float:
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import numba"], check=True)
    return time.monotonic() - begun


def main() -> int:
    cold, warm, python = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plant = plant_without_devices(folder)
        for number in range(COLD_ROUNDS):
            home = folder / f"home{number}"
            home.mkdir()
            python.append(reference())
            cold.append(start(plant, home))
        for _ in range(WARM_ROUNDS):
            python.append(reference())
            warm.append(start(plant, home))
    cold_s, warm_s, python_s = (statistics.median(column) for column in (cold, warm, python))
    print(f"process start to first scan, medians of {COLD_ROUNDS} cold and {WARM_ROUNDS} warm starts")
    print(f"  python -c 'import numba'  {python_s:6.2f} s")
    print(f"  cold                      {cold_s:6.2f} s   {cold_s / python_s:.1f} x")
    print(f"  warm                      {warm_s:6.2f} s   {warm_s / python_s:.1f} x")
    print(f"ratio {warm_s / python_s:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
