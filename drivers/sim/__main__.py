"""``python -m drivers.sim water --port 5020``: a simulated plant that listens until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from drivers.sim.water_device import serve_water
from scan.problem import TickworkError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m drivers.sim", description="Simulated plants and devices."
    )
    plants = parser.add_subparsers(dest="plant", required=True)
    water = plants.add_parser(
        "water", help="two tanks, inlet valve, transfer pump, consumer; Modbus TCP, unit 1"
    )
    water.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s)")
    water.add_argument("--port", type=int, default=5020, help="0 takes a free port (default %(default)s)")
    water.add_argument("--seed", type=int, default=1, help="of the sensor noise (default %(default)s)")
    water.add_argument("--speed", type=float, default=1.0, help="times as fast as time (default %(default)s)")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_water(options.host, options.port, options.seed, options.speed))
    except TickworkError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    return 0


async def _water(host: str, port: int, seed: int, speed: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    ready: asyncio.Future[int] = loop.create_future()
    ready.add_done_callback(lambda future: _announce(host, future.result()))
    await serve_water(host=host, port=port, seed=seed, speed=speed, stop=stop, ready=ready)


def _announce(host: str, port: int) -> None:
    print(f"water plant at {host}:{port}, Modbus TCP, unit 1", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
