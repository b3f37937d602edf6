"""A ``[[device]]`` with ``protocol = "opcua"``: a remote server and which of its nodes are inputs and outputs.

Light: reading a plant file must not load a protocol library. Values lie little-endian in the process image; bits, and
the elements of arrays, one after another from the place that the location names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from drivers._table import Placer, Table, file_path, no_place
from drivers.location import Location, format_location, parse_location
from scan.iomap import Channel

from .client_points import STORES, Point, encode_image

PROTOCOLS = ("opcua",)
POLICIES = ("Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss", "None")
MODES = ("SignAndEncrypt", "Sign")
COUNT_MAX = 10_000
LENGTH_MAX = 4096
INTERVAL_MS_MAX = 3_600_000
# OPC 10000-6 §5.3.1.10, with the namespace by index or by its URI.
_NODE = re.compile(
    r"(ns=\d{1,5};|nsu=[^;]+;)?(i=\d{1,10}|s=.+|g=[0-9A-Fa-f-]{36}|b=[A-Za-z0-9+/=]+)", re.DOTALL
)


class Remote(msgspec.Struct, frozen=True):
    """How a server is reached and who we are to it. Files are absolute paths."""

    url: str
    policy: str = "Basic256Sha256"
    mode: str = "SignAndEncrypt"
    user: str = ""
    password_file: str = ""
    user_certificate: str = ""  # X.509 user token, with user_key; PEM or DER
    user_key: str = ""
    timeout_ms: int = 4000


class Input(msgspec.Struct, frozen=True):
    """A node that is followed. ``point`` tells where and how its value goes into the image."""

    node: str
    point: Point
    sampling_ms: float
    row: int  # of its first channel among the device's inputs
    substitute: bytes = b""  # image form; b"" holds the last value on loss


class Output(msgspec.Struct, frozen=True):
    """A node that follows outputs."""

    node: str
    point: Point
    safe: bytes | None = None  # image form, None holds
    read_back: bool = False  # "Good" alone is not believed
    refresh_ns: int = 0  # 0: written on change only


class OpcUaDevice(msgspec.Struct, frozen=True):
    """A device of a plant file, ready for the driver, with its channels in the process image."""

    name: str
    protocol: str
    remote: Remote
    publishing_ms: float
    mode: str  # "auto": subscribe, poll what cannot be subscribed; "poll"
    backoff_max_ms: int
    reads: tuple[Input, ...]
    writes: tuple[Output, ...]
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    status: tuple[int, int] = (-1, -1)  # byte and bit in %I that is TRUE while the server serves

    @property
    def input_bytes(self) -> int:
        return max((channel.offset + channel.size for channel in self.inputs), default=0)

    @property
    def output_bytes(self) -> int:
        return max((channel.offset + channel.size for channel in self.outputs), default=0)


def parse_device(table: Mapping[str, object], place: Placer = no_place) -> OpcUaDevice:
    """The device that ``table`` describes. Raises TickworkError with all problems, each at its place."""
    reader = Table(table, place)
    name = reader.text("name")
    protocol = reader.choice("protocol", PROTOCOLS)
    remote = parse_remote(reader)
    publishing_ms = reader.integer("publishing_ms", 100, low=10, high=INTERVAL_MS_MAX)
    sampling_ms = reader.integer("sampling_ms", publishing_ms, low=0, high=INTERVAL_MS_MAX)
    inputs: list[Channel] = []
    outputs: list[Channel] = []
    reads: list[Input] = []
    writes: list[Output] = []
    for item in reader.tables("point"):
        if "from" in item:
            writes.append(_output(item, name, outputs))
        else:
            reads.append(_input(item, name, inputs, sampling_ms))
        item.finish()
    device = OpcUaDevice(
        name=name,
        protocol=protocol,
        remote=remote,
        publishing_ms=float(publishing_ms),
        mode=reader.choice("mode", ("auto", "poll"), "auto"),
        backoff_max_ms=reader.integer("backoff_max_ms", 30_000, low=1000, high=INTERVAL_MS_MAX),
        reads=tuple(reads),
        writes=tuple(writes),
        status=_status(reader, name, inputs),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )
    _find_overlaps(reader, device.inputs)
    reader.finish()
    reader.raise_problems()
    return device


def parse_remote(table: Table) -> Remote:
    """The keys that say how a server is reached."""
    remote = Remote(
        url=_url(table),
        policy=table.choice("security", POLICIES, POLICIES[0]),
        mode=table.choice("security_mode", MODES, MODES[0]),
        user=table.text("user", ""),
        timeout_ms=table.integer("timeout_ms", 4000, low=100, high=120_000),
        **{
            key: file_path(table, key)
            for key in ("password_file", "user_certificate", "user_key")
            if key in table
        },
    )
    if bool(remote.user_certificate) != bool(remote.user_key):
        table.problem(
            "DV1003", "user_certificate and user_key belong together", key="user_certificate",
            remedy="give both or neither",
        )  # fmt: skip
    if remote.user and not remote.password_file:
        table.problem(
            "DV1002",
            "password_file is missing",
            remedy="put the password into a file that only the node can read",
        )
    return remote


def is_node_id(text: str) -> bool:
    return _NODE.fullmatch(text) is not None


def _url(table: Table) -> str:
    text = table.text("url")
    try:
        parts = urlsplit(text)
        fits = parts.scheme == "opc.tcp" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits, parts = False, urlsplit("")
    if "url" in table and (not fits or "@" in parts.netloc):
        table.problem(
            "DV1003", "url is no address of an OPC UA server", key="url", expected="opc.tcp://host:4840/path",
            remedy="user and password have keys of their own" if "@" in text else "",
        )  # fmt: skip
    return text


def _input(table: Table, device: str, inputs: list[Channel], sampling_ms: int) -> Input:
    name, node = table.text("name"), _node(table)
    point = _point(table, "to", "in")
    row = len(inputs)
    inputs += _channels(f"{device}.{name}", device, "in", point)
    return Input(
        node=node,
        point=point,
        sampling_ms=float(table.integer("sampling_ms", sampling_ms, low=0, high=INTERVAL_MS_MAX)),
        row=row,
        substitute=_image_value(table, "substitute", point) or b"",
    )


def _output(table: Table, device: str, outputs: list[Channel]) -> Output:
    name, node = table.text("name"), _node(table)
    point = _point(table, "from", "out")
    safe = None if table.raw("safe") in (None, "hold") else _image_value(table, "safe", point)
    for index, channel in enumerate(_channels(f"{device}.{name}", device, "out", point)):
        outputs.append(msgspec.structs.replace(channel, safe=_part(safe, index, channel)))
    return Output(
        node=node,
        point=point,
        safe=safe,
        read_back=table.choice("verify", ("status", "read-back"), "status") == "read-back",
        refresh_ns=table.integer("refresh_ms", 0, low=0, high=INTERVAL_MS_MAX) * 1_000_000,
    )


def _node(table: Table) -> str:
    text = table.text("node")
    if "node" in table and not is_node_id(text):
        table.problem(
            "DV1003", "node is no NodeId", key="node", expected="ns=2;s=Boiler.Level, or nsu=urn:maker;i=1001",
            remedy="see `tickwork opcua browse URL`",
        )  # fmt: skip
    return text


def _point(table: Table, key: str, direction: str) -> Point:
    place = _location(table, key, direction)
    kind = "BOOL" if place.bit >= 0 else table.choice("as", tuple(STORES))
    if place.bit >= 0 and "as" in table:
        table.choice("as", ("BOOL",))
    length = table.integer("length", low=1, high=LENGTH_MAX) if kind == "STRING" else 0
    size = length + 1 if kind == "STRING" else STORES.get(kind, ("", 1))[1]
    if place.bit < 0 and kind != "STRING" and size != place.size and key in table:
        table.problem(
            "DV1004", "the location is too wide or too narrow for the value", key=key,
            expected=f"a location of {size} bytes for {kind}",
            remedy="use %IB for 1 byte, %IW for 2, %ID for 4, %IL for 8 (outputs: %QB …)",
        )  # fmt: skip
    scale = table.number("scale", 1.0)
    if scale == 0:
        table.problem(
            "DV1003", "scale must not be 0", key="scale", remedy="leave it out for the value as it is"
        )
    return Point(
        kind=kind,
        offset=place.offset,
        size=size,
        bit=place.bit,
        count=table.integer("count", 1, low=1, high=COUNT_MAX),
        index=table.integer("index", -1, low=-1, high=COUNT_MAX),
        scale=scale or 1.0,
        shift=table.number("offset", 0.0),
    )


def _location(table: Table, key: str, direction: str) -> Location:
    text = table.text(key)
    found = parse_location(text)
    if found is not None and found.direction == direction:
        return found
    if key in table:
        area = "I" if direction == "in" else "Q"
        table.problem(
            "DV1004",
            f"{key} is no place for this point",
            key=key,
            expected=f"a location like %{area}D0 or %{area}X4.0",
        )
    return Location(direction, 0, 0, 0)


def _channels(name: str, device: str, direction: str, point: Point) -> list[Channel]:
    """One channel an element: each has a quality of its own."""
    channels = []
    for index in range(point.count):
        text = f"{name}[{index}]" if point.count > 1 else name
        if point.bit >= 0:
            position = point.bit + index
            channels.append(Channel(text, device, direction, point.offset + position // 8, 1, position % 8))
        else:
            channels.append(Channel(text, device, direction, point.offset + index * point.size, point.size))
    return channels


def _image_value(table: Table, key: str, point: Point) -> bytes | None:
    """``key`` in the form that it has in the image: one number, text or truth value for all elements, or a list."""
    value = table.raw(key)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value] * point.count
    data = encode_image(point, values) if len(values) == point.count else None
    if data is None:
        table.problem(
            "DV1003",
            f"{key} has a wrong value",
            key=key,
            expected=f"{point.count} of {point.kind}, or one for all",
        )
    return data


def _part(data: bytes | None, index: int, channel: Channel) -> bytes:
    if data is None:
        return b""
    if channel.bit >= 0:
        return data[index : index + 1]
    return data[index * channel.size : (index + 1) * channel.size]


def _status(table: Table, device: str, inputs: list[Channel]) -> tuple[int, int]:
    if "status" not in table:
        return (-1, -1)
    place = _location(table, "status", "in")
    if place.bit < 0:
        table.problem("DV1004", "status is no bit", key="status", expected="a location like %IX8.0")
    inputs.append(Channel(f"{device}.status", device, "in", place.offset, 1, max(place.bit, 0)))
    return (place.offset, max(place.bit, 0))


def _find_overlaps(table: Table, channels: tuple[Channel, ...]) -> None:
    """Two points that write the same input would take turns: never what was meant."""
    owner: dict[tuple[int, int], Channel] = {}
    for channel in channels:
        bits = range(8) if channel.bit < 0 else (channel.bit,)
        for place in ((channel.offset + byte, bit) for byte in range(channel.size) for bit in bits):
            other = owner.setdefault(place, channel)
            if other is not channel:
                where = format_location(channel.direction, channel.offset, size=channel.size, bit=channel.bit)
                table.problem(
                    "DV1005", f"{channel.name} and {other.name} both use {where}",
                    remedy="give one of them another location",
                )  # fmt: skip
                return
