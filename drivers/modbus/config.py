"""What a plant file says about a Modbus device, checked and resolved: plain values for the poller.

Registers land in the process image little-endian; coils and discrete inputs as bits, the first one in the bit that the
location names. Times are in nanoseconds or milliseconds as named.
"""

from __future__ import annotations

import msgspec

from drivers.modbus.pdu import Function
from scan.iomap import Channel

TRANSPORTS = {
    "modbus-tcp": "tcp",
    "modbus-tls": "tls",
    "modbus-rtu": "rtu",
    "modbus-ascii": "ascii",
    "modbus-rtu-over-tcp": "rtu-over-tcp",
    "modbus-ascii-over-tcp": "ascii-over-tcp",
}
PROTOCOLS = tuple(TRANSPORTS)


class Connection(msgspec.Struct, frozen=True):
    """How a device is reached. Devices with an equal connection share it (gateway, serial bus)."""

    transport: str
    host: str = ""
    port: int = 502
    serial_port: str = ""
    baud: int = 19200
    parity: str = "E"  # Modbus over Serial Line V1.02 §2.5.1: even parity is the default
    stop_bits: int = 1
    rs485: bool = False
    local_echo: bool = False  # the adapter hears what it sends
    max_outstanding: int = 1
    connect_timeout_ms: int = 3000
    backoff_max_ms: int = 10_000
    pause_ms: int = 0
    pause_after_connect_ms: int = 0
    turnaround_ms: int = 100  # after a broadcast
    overtake_max: int = (
        10  # requests that go first by priority before the one that waited longest has its turn
    )
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_server_name: str = ""

    @property
    def is_stream(self) -> bool:
        """Serial framing, where replies carry no transaction number."""
        return self.transport not in ("tcp", "tls")

    @property
    def address(self) -> str:
        return self.serial_port or f"{self.host}:{self.port}"


class Point(msgspec.Struct, frozen=True):
    """One value of a block with a type of its own. ``at``: registers (or bits) after the block's address."""

    name: str
    at: int
    kind: str  # "int16", "float32", "bcd16", "string", "bit", …: how the device stores it
    offset: int  # in the process image, bytes
    size: int  # bytes in the image, 0 for a bit
    bit: int = -1  # bit in the image
    order: str = ""  # "ABCD", "CDAB", …; as wide as the value
    store: str = ""  # numpy type in the image, "" copies the bytes
    scale: float = 1.0
    shift: float = 0.0  # value = raw * scale + shift
    low: float | None = None  # clamp
    high: float | None = None
    invalid: tuple[int, ...] = ()  # raw values that mean "no valid measurement"
    substitute: bytes = b""  # image form; b"" follows the block's on_loss
    register_bit: int = -1  # kind "bit": which bit of the register
    registers: int = 1
    deadband: float = 0.0  # a smaller change of the scaled value counts as none


class Exchange(msgspec.Struct, frozen=True):
    """What a read block writes with the same request (FC 23)."""

    address: int
    count: int
    offset: int  # in %Q
    safe: bytes | None = None  # image form, None holds


class ReadBlock(msgspec.Struct, frozen=True):
    """One request that is repeated."""

    function: Function
    address: int
    count: int
    period_ns: int
    phase_ns: int
    priority: int
    on_loss: str  # "hold", "zero", "substitute"
    offset: int = 0  # image place of a block without points
    bit: int = -1
    points: tuple[Point, ...] = ()
    first_row: int = 0  # of this block's channels among the device's inputs
    rows: int = 0
    substitute: bytes = b""  # image form, for a block without points
    trigger: tuple[int, int] = (-1, -1)  # byte and bit in %Q: read at its rising edge instead of periodically
    group: str = ""  # the scan group that it belongs to
    exchange: Exchange | None = None


class WriteBlock(msgspec.Struct, frozen=True):
    """One place in the device that follows outputs."""

    function: Function  # WRITE_MULTIPLE_…, WRITE_SINGLE_…, or MASK_WRITE_REGISTER for one bit of a register
    address: int
    count: int
    mode: str  # "change", "cyclic", "both"
    refresh_ns: int
    offset: int
    bit: int = -1
    priority: int = 0
    safe: bytes | None = None  # image form, None holds
    verify: str = "echo"  # "echo", "read-back", "exchange" (FC 23 returns what it wrote)
    points: tuple[Point, ...] = ()
    gap_ns: int = 0  # shortest time between two writes


class InitWrite(msgspec.Struct, frozen=True):
    """What a device is told after each connection before anything else. ``data``: packed bits, or big-endian."""

    function: Function  # WRITE_…
    address: int
    count: int
    data: bytes


class StatisticTag(msgspec.Struct, frozen=True):
    """A figure about the device, or about one of its scan groups, in the process image."""

    name: str
    value: str  # a name of drivers.modbus.statistics
    group: str  # "" is the device
    exception: int  # count this code only, 0 all
    offset: int
    size: int
    store: str  # numpy type


class ModbusDevice(msgspec.Struct, frozen=True):
    """A device of a plant file, ready for the poller, with its channels in the process image."""

    name: str
    protocol: str
    connection: Connection
    unit: int
    timeout_ms: int
    retries: int
    busy_retries: int
    failures_max: int
    probe_ms: int
    reads: tuple[ReadBlock, ...]
    writes: tuple[WriteBlock, ...]
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    status: tuple[int, int] = (-1, -1)  # byte and bit in %I
    status_row: int = -1
    inits: tuple[InitWrite, ...] = ()
    statistics: tuple[StatisticTag, ...] = ()
    statistics_row: int = -1  # of the first of them among the inputs

    @property
    def input_bytes(self) -> int:
        """First byte of %I after the last one used."""
        return max((channel.offset + channel.size for channel in self.inputs), default=0)

    @property
    def output_bytes(self) -> int:
        return max((channel.offset + channel.size for channel in self.outputs), default=0)
