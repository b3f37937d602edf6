"""From a ``[[device]]`` table to a ``ModbusDevice``, with every mistake named at its place."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from drivers._places import find_overlaps, status_location
from drivers._table import Placer, Table, file_path, no_place
from drivers.location import Location, parse_location
from drivers.modbus._parse_extras import parse_inits, parse_statistics
from drivers.modbus._parse_points import (
    MS,
    PERIOD_MS_MAX,
    PRIORITIES,
    READ_FUNCTIONS,
    WRITE_PRIORITY,
    parse_points,
)
from drivers.modbus.config import (
    PROTOCOLS,
    TRANSPORTS,
    Connection,
    Exchange,
    ModbusDevice,
    ReadBlock,
    WriteBlock,
)
from drivers.modbus.pdu import (
    ADDRESSES,
    READ_BITS_MAX,
    READ_REGISTERS_MAX,
    READ_WRITE_REGISTERS_MAX,
    WRITE_BITS_MAX,
    WRITE_REGISTERS_MAX,
    Function,
)
from drivers.modbus.templates import load_template, points_of
from scan.iomap import Channel
from scan.problem import TickworkError

BIT_FUNCTIONS = (Function.READ_COILS, Function.READ_DISCRETE_INPUTS)
WRITE_FUNCTIONS = ("coils", "holding-registers")
TEMPLATE_DEFAULTS = ("order", "gap_max", "registers_max", "timeout_ms", "pause_ms", "unit", "baud", "parity")
BAUD_MAX = 4_000_000


def parse_device(table: Mapping[str, object], place: Placer = no_place) -> ModbusDevice:
    """The device that ``table`` describes. Raises TickworkError with all problems, each at its place."""
    reader, template = _with_template(Table(table, place))
    name = reader.text("name")
    protocol = reader.choice("protocol", PROTOCOLS)
    connection = parse_connection(reader, protocol)
    inputs: list[Channel] = []
    outputs: list[Channel] = []
    reads = [_read(item, name, inputs) for item in reader.tables("read")]
    reads += [_exchange(item, name, inputs, outputs) for item in reader.tables("exchange")]
    writes = [_write(item, name, outputs) for item in reader.tables("write")]
    point_reads, point_writes = parse_points(reader, name, template, inputs, outputs)
    reads += point_reads
    writes += point_writes
    status = status_location(reader, name, inputs)
    status_row = len(inputs) - 1 if status[0] >= 0 else -1
    groups = {block.group for block in reads if block.group}
    statistics = parse_statistics(reader, name, groups, inputs)
    device = ModbusDevice(
        name=name,
        protocol=protocol,
        connection=connection,
        unit=reader.integer("unit", 1, low=0, high=255),
        timeout_ms=reader.integer("timeout_ms", 1000, low=1, high=60_000),
        retries=reader.integer("retries", 1, low=0, high=10),
        busy_retries=reader.integer("busy_retries", 3, low=0, high=100),
        failures_max=reader.integer("failures_max", 3, low=1, high=30),
        probe_ms=reader.integer("probe_ms", 5000, low=100, high=3_600_000),
        reads=tuple(reads),
        writes=tuple(writes),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        status=status,
        status_row=status_row,
        inits=parse_inits(reader),
        statistics=statistics,
        statistics_row=len(inputs) - len(statistics),
    )
    find_overlaps(reader, device.inputs)
    reader.finish()
    reader.raise_problems()
    return device


def parse_connection(table: Table, protocol: str) -> Connection:
    """The keys of a device table that say how it is reached."""
    transport = TRANSPORTS[protocol]
    common = {
        "transport": transport,
        "backoff_max_ms": table.integer("backoff_max_ms", 10_000, low=500, high=300_000),
        "pause_ms": table.integer("pause_ms", 0, low=0, high=30_000),
        "pause_after_connect_ms": table.integer("pause_after_connect_ms", 0, low=0, high=30_000),
        "overtake_max": table.integer("overtake_max", 10, low=1, high=1000),
    }
    if transport in ("rtu", "ascii"):
        common |= {
            "serial_port": table.text("serial_port"),
            "baud": table.integer("baud", 19200, low=50, high=BAUD_MAX),
            "parity": {"none": "N", "even": "E", "odd": "O"}[
                table.choice("parity", ("none", "even", "odd"), "even")
            ],
            "stop_bits": table.integer("stop_bits", 1, low=1, high=2),
            "rs485": table.flag("rs485", False),
            "port": 0,
        }
    else:
        common |= {
            "host": table.text("host"),
            "port": table.integer("port", 802 if transport == "tls" else 502, low=1, high=65535),
            "connect_timeout_ms": table.integer("connect_timeout_ms", 3000, low=10, high=60_000),
        }
    if transport in ("tcp", "tls"):
        common["max_outstanding"] = table.integer("max_outstanding", 1, low=1, high=16)
    else:
        common["turnaround_ms"] = table.integer("turnaround_ms", 100, low=0, high=10_000)
        common["local_echo"] = table.flag("local_echo", False)
    if transport == "tls":
        common |= {key: file_path(table, key) for key in ("tls_ca", "tls_certificate", "tls_key")}
        common["tls_server_name"] = table.text("tls_server_name", "")
    return msgspec.convert(common, Connection)


def _with_template(table: Table) -> tuple[Table, dict[str, dict[str, object]]]:
    """The table with the defaults of its template, and the template's points by name."""
    if "template" not in table:
        return table, {}
    try:
        template = load_template(table.text("template"), table.place("template"))
    except TickworkError as error:
        table.problems += error.problems
        return table, {}
    defaults = {key: template[key] for key in TEMPLATE_DEFAULTS if key in template}
    return table.with_defaults(defaults), points_of(template)


def _read(table: Table, device: str, inputs: list[Channel]) -> ReadBlock:
    block = _block(table, device, inputs, table.choice("function", tuple(READ_FUNCTIONS)))
    table.finish()
    return block


def _exchange(table: Table, device: str, inputs: list[Channel], outputs: list[Channel]) -> ReadBlock:
    name = "holding-registers"
    block = _block(table, device, inputs, name)
    address = table.integer("write_address", low=0, high=ADDRESSES - 1)
    count = table.integer("write_count", 1, low=1, high=READ_WRITE_REGISTERS_MAX)
    _check_span(table, "write_address", address, count)
    source = location(table, "from", "out", bits=False)
    safe = _image_values(table, "safe", count, bits=False)
    for index in range(count):
        channel = _channel(f"{device}.{name}[{address + index}]", device, source, index)
        outputs.append(msgspec.structs.replace(channel, safe=_safe_of(safe, index, bits=False)))
    table.finish()
    return msgspec.structs.replace(block, exchange=Exchange(address, count, source.offset, safe))


def _block(table: Table, device: str, inputs: list[Channel], name: str) -> ReadBlock:
    function = READ_FUNCTIONS[name]
    bits = function in BIT_FUNCTIONS
    address, count = _span(table, READ_BITS_MAX if bits else READ_REGISTERS_MAX)
    target = location(table, "to", "in", bits=bits)
    first_row = len(inputs)
    for index in range(count):
        inputs.append(_channel(f"{device}.{name}[{address + index}]", device, target, index))
    period_ns = table.integer("period_ms", 100, low=1, high=PERIOD_MS_MAX) * MS
    return ReadBlock(
        function=function,
        address=address,
        count=count,
        period_ns=period_ns,
        phase_ns=table.integer("phase_ms", 0, low=0, high=PERIOD_MS_MAX) * MS,
        priority=PRIORITIES.index(table.choice("priority", PRIORITIES, "normal")),
        on_loss=table.choice("on_loss", ("hold", "zero", "substitute"), "hold"),
        substitute=_image_values(table, "substitute", count, bits=bits) or b"",
        offset=target.offset,
        bit=target.bit,
        first_row=first_row,
        rows=count,
        trigger=_trigger(table),
        group=table.text("name", ""),
    )


def _trigger(table: Table) -> tuple[int, int]:
    if "trigger" not in table:
        return (-1, -1)
    source = location(table, "trigger", "out", bits=True)
    return (source.offset, source.bit)


def _write(table: Table, device: str, outputs: list[Channel]) -> WriteBlock:
    name = table.choice("function", WRITE_FUNCTIONS)
    bits = name == "coils"
    address, count = _span(table, WRITE_BITS_MAX if bits else WRITE_REGISTERS_MAX)
    source = location(table, "from", "out", bits=bits)
    mode = table.choice("mode", ("change", "cyclic", "both"), "both")
    safe = _image_values(table, "safe", count, bits=bits)
    for index in range(count):
        channel = _channel(f"{device}.{name}[{address + index}]", device, source, index)
        outputs.append(msgspec.structs.replace(channel, safe=_safe_of(safe, index, bits=bits)))
    single = table.choice("write_with", ("auto", "single", "multiple"), "auto")
    if single == "single" and count > 1:
        table.problem(
            "DV1003",
            'write_with = "single" writes one point',
            key="write_with",
            remedy="split this into one [[device.write]] for each point",
        )
    verify = table.choice("verify", ("echo", "read-back", "exchange"), "echo")
    function = _write_function(bits=bits, single=count == 1 and single != "multiple")
    if verify == "exchange":
        if bits or count > READ_WRITE_REGISTERS_MAX:
            table.problem(
                "DV1007", "exchange is for up to 121 holding registers", key="verify",
                remedy='use verify = "read-back"',
            )  # fmt: skip
        function = Function.READ_WRITE_MULTIPLE_REGISTERS
    block = WriteBlock(
        function=function,
        address=address,
        count=count,
        mode=mode,
        refresh_ns=table.integer("refresh_ms", 1000, low=10, high=PERIOD_MS_MAX) * MS,
        offset=source.offset,
        bit=source.bit,
        priority=WRITE_PRIORITY,
        safe=safe,
        verify=verify,
        gap_ns=table.integer("gap_ms", 0, low=0, high=60_000) * MS,
    )
    table.finish()
    return block


def _write_function(*, bits: bool, single: bool) -> Function:
    if bits:
        return Function.WRITE_SINGLE_COIL if single else Function.WRITE_MULTIPLE_COILS
    return Function.WRITE_SINGLE_REGISTER if single else Function.WRITE_MULTIPLE_REGISTERS


def _image_values(table: Table, key: str, count: int, *, bits: bool) -> bytes | None:
    """Values for a block in image form: packed bits or little-endian registers; None holds the last value."""
    value = table.raw(key)
    if value is None or value == "hold":
        return None
    values = value if isinstance(value, list) else [value] * count
    high = 1 if bits else 65535
    numbers = [int(v) for v in values if isinstance(v, int) and 0 <= int(v) <= high]
    if len(numbers) != len(values) or len(values) != count:
        what = "0 or 1" if bits else "0 to 65535"
        table.problem(
            "DV1003",
            f"{key} has a wrong value",
            key=key,
            expected=f'"hold", a number ({what}) or a list of {count} of them',
        )
        return None
    if bits:
        packed = sum(bit << index for index, bit in enumerate(numbers))
        return packed.to_bytes((count + 7) // 8, "little")
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def _safe_of(safe: bytes | None, index: int, *, bits: bool) -> bytes:
    if safe is None:
        return b""
    return bytes((safe[index // 8] >> index % 8 & 1,)) if bits else safe[2 * index : 2 * index + 2]


def _span(table: Table, count_max: int) -> tuple[int, int]:
    address = table.integer("address", low=0, high=ADDRESSES - 1)
    count = table.integer("count", 1, low=1, high=count_max)
    _check_span(table, "address", address, count)
    return address, count


def _check_span(table: Table, key: str, address: int, count: int) -> None:
    if address + count > ADDRESSES:
        text = f"address {address} and count {count} go beyond 65535"
        table.problem("DV1007", text, key=key, remedy="lower the count")


def location(table: Table, key: str, direction: str, *, bits: bool) -> Location:
    text = table.text(key)
    found = parse_location(text)
    area = "I" if direction == "in" else "Q"
    fallback = Location(direction, 0, 0 if bits else 2, 0 if bits else -1)
    if key not in table:
        return fallback
    if found is None or found.direction != direction or (found.size == 0) != bits:
        wanted = f"%{area}X0.0" if bits else f"%{area}W0"
        table.problem(
            "DV1004", f"{key} is no place for these points", key=key, expected=f"a location like {wanted}",
            remedy=f"write %{area}X… for coils and discrete inputs, %{area}W… for registers",
        )  # fmt: skip
        return fallback
    return found


def _channel(name: str, device: str, start: Location, index: int) -> Channel:
    if start.bit >= 0:
        position = start.bit + index
        return Channel(name, device, start.direction, start.offset + position // 8, 1, position % 8)
    return Channel(name, device, start.direction, start.offset + 2 * index, 2)
