"""Modbus against libmodbus (C, from Debian) and pymodbus in one run: ``./dev bench modbus``.

Rounds are interleaved, ratios are medians over them. Needs a C compiler and libmodbus-dev. Each role is a process of
its own (``_modbus_roles.py``), client on one core, server on the other. The gates are those of a machine with two cores
for it: what else runs there shows.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

ROUNDS = int(os.environ.get("TICKWORK_BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("TICKWORK_BENCH_SECONDS", "1.0"))
HERE = pathlib.Path(__file__).resolve()
ROLES = str(HERE.with_name("_modbus_roles.py"))
REGISTERS = 125
DEVICES = 32
CPU_COUNT = os.cpu_count() or 1


class Bench:
    """Starts roles and collects figures."""

    def __init__(self, reference: pathlib.Path) -> None:
        self._reference = str(reference)

    def reference(self, *arguments: object) -> list[float]:
        return [float(word) for word in self._run([self._reference, *map(str, arguments)], cpu=0).split()]

    def ours(self, role: str, *arguments: object) -> dict[str, float]:
        return json.loads(self._run([sys.executable, ROLES, role, *map(str, arguments)], cpu=0))  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def server(self, role: str) -> Iterator[int]:
        """The port of a server of our own ("server", "pymodbus-server") or of the reference."""
        port = 0
        if role == "reference":
            port = _free_port()
            command = [self._reference, "server", str(port)]
        else:
            command = [sys.executable, ROLES, role, "0"]
        process = subprocess.Popen(
            _pinned(command, cpu=1), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout
        try:
            line = process.stdout.readline()
            yield port or int(line)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @staticmethod
    def _run(command: list[str], *, cpu: int) -> str:
        return subprocess.run(_pinned(command, cpu=cpu), check=True, stdout=subprocess.PIPE, text=True).stdout


def _pinned(command: list[str], *, cpu: int) -> list[str]:
    return ["taskset", "-c", str(cpu % CPU_COUNT), *command]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _median(rows: list[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def bench_client(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with bench.server("reference") as port:
        for _ in range(ROUNDS):
            (base,) = bench.reference("client", port, SECONDS)
            one, eight = bench.ours("client", port, 1), bench.ours("client", port, 8)
            other = bench.ours("pymodbus-client", port)
            rows.append({
                "libmodbus": base, "one": one["rate"] / base, "one_cpu": one["cpu_us"],
                "eight": eight["rate"] / base, "eight_cpu": eight["cpu_us"],
                "pymodbus": other["rate"] / base, "pymodbus_cpu": other["cpu_us"],
            })  # fmt: skip
    return rows


def bench_fleet(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with bench.server("reference") as port:
        for _ in range(max(ROUNDS // 2, 1)):
            (base,) = bench.reference("fleet", port, DEVICES, 3 * SECONDS)
            ours, other = bench.ours("fleet", port), bench.ours("pymodbus-fleet", port)
            rows.append({**ours, "libmodbus": base, "pymodbus": other["cpu"]})
    return rows


def bench_server(bench: Bench) -> list[dict[str, float]]:
    rows = []
    with (
        bench.server("reference") as base_port,
        bench.server("server") as port,
        bench.server("pymodbus-server") as other_port,
    ):
        for _ in range(ROUNDS):
            row: dict[str, float] = {}
            for count in (1, 16):
                base, _ = bench.reference("load", base_port, count, SECONDS)
                rate, p99_ns = bench.reference("load", port, count, SECONDS)
                other, _ = bench.reference("load", other_port, count, SECONDS)
                row |= {f"base_{count}": base, f"ours_{count}": rate / base, f"p99_{count}": p99_ns / 1e6,
                        f"pymodbus_{count}": other / base}  # fmt: skip
            rows.append(row)
    return rows


def bench_flood(bench: Bench) -> dict[str, float]:
    """10,000 connection attempts against a limit of 64 while a good client works."""
    with bench.server("server") as port:
        flood = subprocess.Popen(
            [bench._reference, "flood", str(port), "10000"], stdout=subprocess.PIPE, text=True
        )
        _, p99_ns = bench.reference("load", port, 1, 2.0)
        out, _ = flood.communicate()
    return {"attempts_per_s": float(out), "p99_ms": p99_ns / 1e6}


def bench_line(bench: Bench, baud: int) -> dict[str, float]:
    """Which share of the possible rate, and the shortest silence that the device saw, in units of what must be."""
    command = [sys.executable, "-m", "drivers.sim", "device", "--serial", "--baud", str(baud)]
    process = subprocess.Popen(
        _pinned(command, cpu=1), stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
    )
    assert process.stdout
    try:
        path = process.stdout.readline().split(" at ")[1].split(",")[0]
        use = bench.ours("line", path, baud)["use"]
        process.terminate()
        words = process.stdout.read().split()
        return {"use": use, "silence": float(words[words.index("silence") + 1])}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---------------------------------------------------------------- the report


class Gates:
    """Prints each figure with its gate, and counts."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def at_least(self, what: str, value: float, limit: float) -> None:
        self._judge(what, f"{value:.2f}, gate >= {limit:.2f}", value / limit, value >= limit)

    def at_most(self, what: str, value: float, limit: float) -> None:
        self._judge(
            what, f"{value:.2f}, gate <= {limit:.2f}", limit / value if value else 99.0, value <= limit
        )

    def _judge(self, what: str, text: str, margin: float, held: bool) -> None:
        self.passed += held
        self.failed += not held
        print(f"{'PASS' if held else 'FAIL'}  {what}: {text} (margin {margin:.2f})", flush=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        reference = pathlib.Path(folder) / "reference"
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libmodbus"], check=True, capture_output=True, text=True
        ).stdout.split()
        source = HERE.with_name("modbus_reference.c")
        subprocess.run(["cc", "-O2", "-o", str(reference), str(source), *flags, "-lpthread"], check=True)
        gates = Gates()
        for report in (report_client, report_fleet, report_server, report_flood, report_gateway, report_line):
            report(Bench(reference), gates)
    print(f"{gates.passed} gates held, {gates.failed} did not")
    return 0


def report_client(bench: Bench, gates: Gates) -> None:
    rows = bench_client(bench)
    base, other, other_cpu = (_median(rows, key) for key in ("libmodbus", "pymodbus", "pymodbus_cpu"))
    print(f"client, {REGISTERS} registers: libmodbus {base:,.0f} requests/s is 1.00; "
          f"pymodbus {other:.2f}, {other_cpu:.0f} us CPU a request")  # fmt: skip
    gates.at_least("rate, 1 outstanding", _median(rows, "one"), 0.70)
    gates.at_most("us CPU a request, 1 outstanding", _median(rows, "one_cpu"), 60)
    gates.at_least("rate, 8 outstanding", _median(rows, "eight"), 3.0)
    gates.at_most("us CPU a request, 8 outstanding", _median(rows, "eight_cpu"), 25)


def report_fleet(bench: Bench, gates: Gates) -> None:
    rows = bench_fleet(bench)
    rate = _median(rows, "rate")
    ours, base, other = (100 * _median(rows, key) for key in ("cpu", "libmodbus", "pymodbus"))
    print(f"fleet, {DEVICES} devices x 10 Hz x 4 requests: {rate:,.0f}/s of 1,280; CPU of a core: "
          f"libmodbus in {DEVICES} threads {base:.1f} %, pymodbus {other:.1f} %")  # fmt: skip
    gates.at_most("% of a core", ours, 9)
    gates.at_most("ours / pymodbus", ours / other, 0.60)
    gates.at_most("ms a request starts after its time, p99", _median(rows, "late_p99_ms"), 3)
    gates.at_most("ms from its time to the last reply of a cycle, p99", _median(rows, "cycle_p99_ms"), 10)
    gates.at_most("missed requests", max(row["missed"] for row in rows), 0)


def report_server(bench: Bench, gates: Gates) -> None:
    rows = bench_server(bench)
    for count in (1, 16):
        base, ours, p99_ms, other = (
            _median(rows, f"{key}_{count}") for key in ("base", "ours", "p99", "pymodbus")
        )
        print(f"server, {count} connections: libmodbus {base:,.0f} requests/s is 1.00; pymodbus {other:.2f}; "
              f"our p99 {p99_ms:.2f} ms")  # fmt: skip
        gates.at_least(f"rate, {count} connections", ours, 0.75)


def report_flood(bench: Bench, gates: Gates) -> None:
    flood = bench_flood(bench)
    print(f"flood: 10,000 connection attempts, {flood['attempts_per_s']:,.0f}/s, at a limit of 64")
    gates.at_most("ms, p99 of a good client", flood["p99_ms"], 5)


def report_gateway(bench: Bench, gates: Gates) -> None:
    print("gateway: 8 units at 10 Hz behind one connection, one of them dead, time-out 300 ms")
    for outstanding in (8, 1):
        rate = bench.ours("gateway", outstanding)["rate"]
        gates.at_least(f"Hz of the slowest living unit, {outstanding} outstanding", rate, 9.5)


def report_line(bench: Bench, gates: Gates) -> None:
    print("serial line: 10 registers again and again, a device that answers as fast as the line")
    for baud, share in ((9600, 0.95), (115200, 0.85)):
        line = bench_line(bench, baud)
        gates.at_least(f"of the possible rate, {baud} baud", line["use"], share)
        gates.at_least(f"shortest silence / 3.5 characters, {baud} baud", line["silence"], 1.0)


if __name__ == "__main__":
    sys.exit(main())
