"""``tickwork modbus``: at a device with a terminal: find it, read it, write it, listen to its line."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.progress import track
from rich.table import Table

from drivers.modbus import commissioning as field
from drivers.modbus import open_link, pdu
from drivers.modbus.config import Connection
from drivers.modbus.link import Link
from drivers.modbus.pdu import Function
from drivers.modbus.points import KINDS, ORDERS
from drivers.modbus.serial import line_parity, open_port
from runtime import console
from runtime.cli_node import JsonOption
from scan.problem import TickworkError, fail

app = typer.Typer(help="Commission Modbus devices: scan, read, write, listen, decode.", no_args_is_help=True)

READS = {
    "coils": Function.READ_COILS, "discrete-inputs": Function.READ_DISCRETE_INPUTS,
    "holding-registers": Function.READ_HOLDING_REGISTERS, "input-registers": Function.READ_INPUT_REGISTERS,
}  # fmt: skip
BAUDS = (9600, 19200, 38400, 57600, 115200, 4800, 2400)
PARITIES = {"even": "E", "none": "N", "odd": "O"}
WATCH_S = 0.5

Rows = list[dict[str, object]]  # address and value
Target = Annotated[str, typer.Argument(help="host, host:port, or a serial port such as /dev/ttyUSB0.")]
Unit = Annotated[int, typer.Option(help="Unit number.", min=0, max=255)]
Baud = Annotated[int, typer.Option(help="Baud rate of a serial port.", min=50)]
Parity = Annotated[str, typer.Option(help="even, none or odd.")]
Timeout = Annotated[int, typer.Option(help="Milliseconds to wait for a reply.", min=1)]
TableName = Annotated[str, typer.Option("--table", help=", ".join(READS) + ".")]
Kind = Annotated[str, typer.Option("--type", help=", ".join(KINDS) + ".")]
OrderOption = Annotated[
    str, typer.Option("--order", help="Bytes of 32 bits on the wire: " + ", ".join(ORDERS) + ".")
]


def _connection(target: str, baud: int, parity: str) -> Connection:
    if target.startswith("/"):
        return Connection("rtu", serial_port=target, baud=baud, parity=_parity_letter(parity))
    host, _, port = target.partition(":")
    if port and not port.isdecimal():
        raise fail("DV1003", f"{target} is no address", expected="host, host:port or /dev/…", found=target)
    return Connection("tcp", host=host, port=int(port or 502))


def _parity_letter(parity: str) -> str:
    return PARITIES[_one_of("parity", parity, PARITIES)]


def _one_of(name: str, value: str, known: Any) -> str:
    if value not in known:
        raise fail("DV1003", f"{value} is no {name}", expected="one of " + ", ".join(known), found=value)
    return value


def _with_link(connection: Connection, work: Callable[[Link], Awaitable[None]]) -> None:
    async def run() -> None:
        link = open_link(connection)
        await field.open_and_wait(link)
        try:
            await work(link)
        finally:
            await link.stop()

    asyncio.run(run())


@app.command()
def scan(
    target: Target,
    first: Annotated[int, typer.Option(help="First unit to try.", min=0, max=255)] = 1,
    last: Annotated[int, typer.Option(help="Last unit to try.", min=0, max=255)] = 247,
    all_rates: Annotated[
        bool, typer.Option("--all-rates", help="Try the usual baud rates and parities until a unit answers.")
    ] = False,
    baud: Baud = 19200,
    parity: Parity = "even",
    timeout_ms: Timeout = 200,
    json: JsonOption = False,
) -> None:
    """Find the units behind an address or on a serial line.

    Example: tickwork modbus scan /dev/ttyUSB0 --all-rates --last 10
    """
    console.use_json(json)
    settings = [(baud, parity)]
    if all_rates and target.startswith("/"):
        settings = [(rate, way) for rate in BAUDS for way in PARITIES]
    found: list[dict[str, object]] = []

    async def work(link: Link, at: str) -> None:
        units = list(range(first, last + 1))
        shown = track(
            units, f"{link.address} {at}", console=console.err, transient=True, disable=console.is_json()
        )
        async for unit in field.find_units(link, shown, timeout_s=timeout_ms / 1000):
            found.append({"address": link.address, "line": at, "unit": unit.unit, "says": unit.text})
            console.say(f"{link.address} {at} unit {unit.unit}: {unit.text}")

    for rate, way in settings:
        at = f"{rate} baud, {way} parity" if target.startswith("/") else ""
        _with_link(_connection(target, rate, way), functools.partial(work, at=at))
        if found:  # the units of a line share its rate
            break
    if console.is_json():
        console.give(found)
    elif not found:
        console.say("no unit answers")


@app.command()
def read(
    target: Target,
    address: Annotated[int, typer.Option(help="Address on the wire, from 0.", min=0, max=65535)] = 0,
    count: Annotated[int, typer.Option(help="Values to read.", min=1)] = 1,
    table: TableName = "holding-registers",
    kind: Kind = "uint16",
    order: OrderOption = "ABCD",
    unit: Unit = 1,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read again every half second until Ctrl-C.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Read again with pymodbus, as a second opinion.")
    ] = False,
    baud: Baud = 19200,
    parity: Parity = "even",
    timeout_ms: Timeout = 1000,
    json: JsonOption = False,
) -> None:
    """Read points and show them.

    Example: tickwork modbus read 10.0.0.7 --table input-registers --address 12 --count 2 --type float32
    """
    console.use_json(json)
    function = READS[_one_of("table", table, READS)]
    _one_of("type", kind, KINDS)
    _one_of("order", order, ORDERS)
    bits = function in (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)
    step = 1 if bits else KINDS[kind][0]
    try:
        request = (pdu.read_bits if bits else pdu.read_registers)(function, address, count * step)
    except ValueError as error:
        raise fail("DV1007", str(error), remedy="read fewer values at once") from error

    async def once(link: Link) -> Rows:
        data = (await field.ask(link, unit, request, timeout_s=timeout_ms / 1000))[2:]
        if bits:
            texts = [str(data[at >> 3] >> (at & 7) & 1) for at in range(count)]
        else:
            texts = field.show_registers(data, kind=kind, order=order)
        return [{"address": address + at * step, "value": text} for at, text in enumerate(texts)]

    async def work(link: Link) -> None:
        rows = await once(link)
        if watch:
            await _watch(link, once, rows, table)
        elif console.is_json():
            console.give(rows)
        else:
            console.out.print(_show(rows, table))

    connection = _connection(target, baud, parity)
    _with_link(connection, work)
    if check:
        asyncio.run(_second_opinion(connection, function, address, count * step, unit))


async def _watch(link: Link, once: Callable[[Link], Awaitable[Rows]], rows: Rows, name: str) -> None:
    """Again and again until Ctrl-C. A device that goes is shown with its last values and why, and comes back."""
    link.gives_up_silent = False
    with Live(_show(rows, name), console=console.out, auto_refresh=False) as live:
        while True:
            why = ""
            try:
                rows = await once(link)
            except TickworkError as error:
                why = error.problems[0].message
            if console.is_json():
                console.give_line({"values": rows, "error": why})
            else:
                live.update(_show(rows, name, why), refresh=True)
            await asyncio.sleep(WATCH_S)


def _show(rows: Rows, name: str, why: str = "") -> Table:
    shown = Table(name, "value", box=None, caption=why, caption_style="red")
    for row in rows:
        shown.add_row(str(row["address"]), str(row["value"]))
    return shown


async def _second_opinion(connection: Connection, function: int, address: int, count: int, unit: int) -> None:
    """The same with a library that is not ours: tells a device's oddity from a mistake of Tickwork."""
    from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
    from pymodbus.exceptions import ModbusException

    client: AsyncModbusSerialClient | AsyncModbusTcpClient
    if connection.serial_port:
        parity = line_parity(connection.serial_port, connection.parity)
        client = AsyncModbusSerialClient(connection.serial_port, baudrate=connection.baud, parity=parity)
    else:
        client = AsyncModbusTcpClient(connection.host, port=connection.port)
    await client.connect()
    calls = {
        1: client.read_coils, 2: client.read_discrete_inputs,
        3: client.read_holding_registers, 4: client.read_input_registers,
    }  # fmt: skip
    try:
        reply = await calls[function](address, count=count, device_id=unit)
        values = reply.bits[:count] if function in (1, 2) else reply.registers
        console.say(f"pymodbus reads: {reply if reply.isError() else values}")
    except ModbusException as error:
        console.say(f"pymodbus reads nothing: {error}")
    finally:
        client.close()


@app.command(context_settings={"ignore_unknown_options": True})  # values may be negative
def write(
    target: Target,
    address: Annotated[int, typer.Argument(help="Address on the wire, from 0.", min=0, max=65535)],
    values: Annotated[list[str], typer.Argument(help="Values; 0 or 1 for coils.")],
    table: TableName = "holding-registers",
    kind: Kind = "uint16",
    order: OrderOption = "ABCD",
    unit: Unit = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    baud: Baud = 19200,
    parity: Parity = "even",
    timeout_ms: Timeout = 1000,
) -> None:
    """Write points. This moves machines: it asks first.

    Example: tickwork modbus write 10.0.0.7 100 21.5 --type float32
    """
    _one_of("table", table, ("coils", "holding-registers"))
    _one_of("type", kind, KINDS)
    _one_of("order", order, ORDERS)
    request = _write_request(table, address, values, kind, order)
    if not yes:
        typer.confirm(f"write {' '.join(values)} to {table} {address} of {target} unit {unit}?", abort=True)

    async def work(link: Link) -> None:
        await field.ask(link, unit, request, timeout_s=timeout_ms / 1000)

    _with_link(_connection(target, baud, parity), work)
    console.say("the device has taken it")


def _write_request(table: str, address: int, values: list[str], kind: str, order: str) -> pdu.Request:
    try:
        if table == "holding-registers":
            data = b"".join(field.encode_number(text, kind=kind, order=order) for text in values)
            if len(data) == 2:
                return pdu.write_register(address, int.from_bytes(data, "big"))
            return pdu.write_registers(address, data)
        bits = [_one_of("value of a coil", text, ("0", "1")) == "1" for text in values]
        if len(bits) == 1:
            return pdu.write_coil(address, bits[0])
        packed = sum(bit << at for at, bit in enumerate(bits)).to_bytes((len(bits) + 7) // 8, "little")
        return pdu.write_coils(address, len(bits), packed)
    except ValueError as error:
        raise fail("DV1007", str(error), remedy="write fewer values at once") from error


@app.command()
def identify(
    target: Target, unit: Unit = 1, baud: Baud = 19200, parity: Parity = "even", timeout_ms: Timeout = 1000,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Show what a device tells of itself: identification, server id, status and diagnostic counters.

    Example: tickwork modbus identify 10.0.0.7 --unit 3
    """
    console.use_json(json)
    found: list[tuple[str, str]] = []

    async def work(link: Link) -> None:
        found.extend([row async for row in field.diagnose(link, unit, timeout_s=timeout_ms / 1000)])

    _with_link(_connection(target, baud, parity), work)
    if json:
        console.give(dict(found))
        return
    table = Table("question", "answer", box=None)
    for question, answer in found:
        table.add_row(question, answer)
    console.out.print(table)


@app.command()
def listen(
    port: Annotated[str, typer.Argument(help="Serial port that hears the line.")],
    seconds: Annotated[float, typer.Option(help="How long to listen; 0 until Ctrl-C.")] = 0.0,
    baud: Baud = 19200,
    parity: Parity = "even",
    json: JsonOption = False,
) -> None:
    """Show the RTU traffic of other devices on a line, without sending anything.

    Example: tickwork modbus listen /dev/ttyUSB0 --baud 9600
    """
    console.use_json(json)
    letter = _parity_letter(parity)
    try:
        line = open_port(port, baudrate=baud, parity=letter, timeout=0.05)
    except OSError as error:
        found = str(error).removeprefix("DV2007: ")
        remedy = "check its name and who else uses it"
        raise fail("DV2007", f"{port} cannot be used", found=found, remedy=remedy) from error
    began = time.monotonic()
    rest = b""
    with line:
        while not seconds or time.monotonic() - began < seconds:
            heard = line.read(4096)
            frames, rest = field.split_frames(rest + heard, final=not heard)  # nothing follows silence
            for frame in frames:
                _show_frame(frame, time.monotonic() - began)


@app.command()
def decode(
    file: Annotated[
        str, typer.Argument(help="Captured bytes, as they are or as hexadecimal text; - is stdin.")
    ],
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Modbus TCP, one direction of a connection, instead of RTU.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show captured traffic in words.

    Example: tickwork modbus decode capture.bin
    """
    console.use_json(json)
    try:
        data = sys.stdin.buffer.read() if file == "-" else pathlib.Path(file).read_bytes()
    except OSError as error:
        raise fail(
            "DV1003", f"{file} cannot be read", found=error.strerror or "", remedy="check its name"
        ) from error
    with contextlib.suppress(ValueError):
        data = bytes.fromhex(data.decode("ascii"))
    for frame in field.split_tcp_frames(data) if tcp else field.split_frames(data, final=True)[0]:
        text = field.explain_tcp(frame) if tcp else field.explain(frame)
        if console.is_json():
            console.give_line({"frame": frame.hex(), "text": text})
        else:
            console.say(text)


def _show_frame(frame: bytes, at_s: float) -> None:
    if console.is_json():
        console.give_line({"at_s": round(at_s, 4), "frame": frame.hex(), "text": field.explain(frame)})
    else:
        console.say(f"{at_s:9.3f}  {field.explain(frame)}")
