"""What a plant file says about MQTT, checked and resolved: plain values for client, device and Sparkplug node.

Light: reading a plant file must not load a protocol library.
"""

from __future__ import annotations

import msgspec

from scan.iomap import Channel

PORTS = {("tcp", False): 1883, ("tcp", True): 8883, ("websockets", False): 80, ("websockets", True): 443}


class Broker(msgspec.Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Connection(msgspec.Struct, frozen=True):
    """How a broker is reached. Several brokers are tried in order, one at a time."""

    brokers: tuple[Broker, ...]
    client_id: str
    version: str = "3.1.1"  # or "5"
    transport: str = "tcp"  # or "websockets"
    path: str = "/mqtt"
    user: str = ""
    password_file: str = ""  # a secret has no place in a file that is deployed and shown
    tls: bool = False
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    keepalive_s: int = 30
    connect_timeout_ms: int = 5000
    backoff_min_ms: int = 500
    backoff_max_ms: int = 30_000
    session_s: int = (
        0  # how long the broker keeps the session of a client that is away; 0: a clean one each time
    )
    waiting_max: int = 1000  # messages that the broker has not taken yet

    @property
    def address(self) -> str:
        return ", ".join(map(str, self.brokers))


class Will(msgspec.Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Field(msgspec.Struct, frozen=True):
    """One value in a payload. ``path``: the keys and indexes to it in JSON; ``at``: byte offset in a struct."""

    kind: str  # "json", "text", "number", "struct", "bytes"
    path: tuple[str | int, ...] = ()
    form: str = ""  # struct format of one value, or printf-like format of an output
    at: int = 0
    true: str = "true"  # texts that stand for a BOOL
    false: str = "false"


class Point(msgspec.Struct, frozen=True):
    """One value between a payload and the process image."""

    name: str
    field: Field
    store: str  # "BOOL", an IEC number type, or "STRING"
    offset: int  # bytes in the image
    size: int  # bytes in the image, 0 for a bit
    bit: int = -1
    scale: float = 1.0
    shift: float = 0.0  # value = raw * scale + shift
    low: float | None = None  # clamp
    high: float | None = None
    deadband: float = 0.0
    where: tuple[str, ...] = ()  # text of each placeholder of the topic, "" for any
    substitute: bytes = b""  # image form; b"": as ``on_loss`` says
    optional: bool = False  # a message without this path leaves the value as it is


class Subscription(msgspec.Struct, frozen=True):
    """Messages that become inputs."""

    filter: str
    qos: int
    retained: bool  # whether a retained message counts as a value
    max_age_ns: int  # 0: a value stays good while the broker is there
    on_loss: str  # "hold", "zero", "substitute"
    points: tuple[Point, ...]
    first_row: int  # of the points among the device's inputs
    places: tuple[int, ...] = ()  # level of each placeholder in the topic


class Publication(msgspec.Struct, frozen=True):
    """Outputs that become messages."""

    topic: str
    kind: str
    qos: int
    retain: bool
    interval_ns: int  # shortest time between two messages
    refresh_ns: int  # longest time between two messages, 0: on change only
    points: tuple[Point, ...]
    safe: tuple[bytes | None, ...]  # of each point, None: nothing is published


class Availability(msgspec.Struct, frozen=True):
    """A topic on which the device itself, or its will, says whether it is there."""

    topic: str
    online: str
    offline: str


class MqttDevice(msgspec.Struct, frozen=True):
    """A device of a plant file, with its channels in the process image."""

    name: str
    protocol: str
    connection: Connection
    subscriptions: tuple[Subscription, ...]
    publications: tuple[Publication, ...]
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    availability: Availability | None = None
    will: Will | None = None
    birth: Will | None = None
    payload_max: int = 256 * 1024
    status: tuple[int, int] = (-1, -1)  # byte and bit in %I
    status_row: int = -1

    @property
    def input_bytes(self) -> int:
        """First byte of %I after the last one used."""
        return max((channel.offset + channel.size for channel in self.inputs), default=0)

    @property
    def output_bytes(self) -> int:
        return max((channel.offset + channel.size for channel in self.outputs), default=0)
