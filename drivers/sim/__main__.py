"""``python -m drivers.sim``: simulated plants and devices that listen until they are told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from drivers.sim.device_server import TcpDevice
from drivers.sim.faults import RTU, TCP, Exchange, Fault, Step
from drivers.sim.registers import RegisterDevice
from drivers.sim.serial_device import RtuDevice
from drivers.sim.template_device import device_of, load_template, template_names
from drivers.sim.water_device import serve_water
from scan.problem import TickworkError, fail


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_water(options) if options.plant == "water" else _device(options))
    except TickworkError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
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
    device = plants.add_parser("device", help="a Modbus device from a template that misbehaves on request")
    device.add_argument(
        "--template", choices=template_names(), help="register map to show; without one all is 0"
    )
    device.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s)")
    device.add_argument("--port", type=int, default=5021, help="0 takes a free port (default %(default)s)")
    device.add_argument("--serial", action="store_true", help="RTU on a pseudo terminal instead of TCP")
    device.add_argument(
        "--baud",
        type=int,
        default=0,
        help="only understand this rate, and answer as fast as such a line does",
    )
    device.add_argument("--unit", type=int, default=1, help="unit number (default %(default)s)")
    device.add_argument("--fault", choices=sorted({*TCP, *RTU}), help="what goes wrong with replies")
    device.add_argument("--every", type=int, default=10, help="which reply is faulty: each tenth (default)")
    return parser


async def _water(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[int] = loop.create_future()
    ready.add_done_callback(
        lambda future: _announce(f"water plant at {options.host}:{future.result()}, Modbus TCP, unit 1")
    )
    await serve_water(
        host=options.host,
        port=options.port,
        seed=options.seed,
        speed=options.speed,
        stop=_stopping(),
        ready=ready,
    )


async def _device(options: argparse.Namespace) -> None:
    stop = _stopping()
    registers = device_of(load_template(options.template)) if options.template else RegisterDevice()
    faults = RTU if options.serial else TCP
    if options.fault and options.fault not in faults:
        raise fail(
            "DV1003", f"{options.fault} cannot happen on this transport", expected=", ".join(sorted(faults))
        )
    always = _each(faults[options.fault], options.every) if options.fault else None
    name = options.template or "device"
    if options.serial:
        line = RtuDevice({options.unit: registers}, baud=options.baud)
        line.always = always
        _announce(f"{name} at {line.start()}, Modbus RTU, unit {options.unit}")
        await stop.wait()
        await line.stop()
        if line.gaps:
            _announce(f"{line.requests} requests, silence {line.shortest_silence:.2f} times 3.5 characters")
        return
    server = TcpDevice({options.unit: registers})
    server.always = always
    try:
        port = await server.start(host=options.host, port=options.port)
    except OSError as error:
        raise fail(
            "DV3001",
            f"the simulated device cannot listen at {options.host}:{options.port}",
            expected="a free port",
            found=error.strerror or str(error),
            remedy="choose another port with --port",
        ) from error
    _announce(f"{name} at {options.host}:{port}, Modbus TCP, unit {options.unit}")
    await stop.wait()
    await server.stop()


def _each(fault: Fault, every: int) -> Fault:
    """``fault`` for each ``every``-th reply, the right one otherwise."""
    count = 0

    def chosen(exchange: Exchange) -> list[Step]:
        nonlocal count
        count += 1
        return fault(exchange) if count % max(every, 1) == 0 else [Step(exchange.frame())]

    return chosen


def _stopping() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _announce(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's own output


if __name__ == "__main__":
    sys.exit(main())
