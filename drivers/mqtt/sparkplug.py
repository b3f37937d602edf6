"""What a Sparkplug B message says: data types, metrics, templates, topics (Sparkplug 3.0.0, ISO/IEC 20237).

Plain values without behaviour; ``sparkplug_codec`` turns them into protobuf bytes and back, ``sparkplug_values`` their
values into what the data type means.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import msgspec

NAMESPACE = "spBv1.0"
STATE_PREFIX = f"{NAMESPACE}/STATE/"
REBIRTH = "Node Control/Rebirth"
BDSEQ = "bdSeq"
SEQ_COUNT = 256  # §6.4.3: 0 to 255, then 0 again
QUALITY = "Quality"
QUALITY_BAD, QUALITY_GOOD, QUALITY_STALE = 0, 192, 500  # §6.4.10
NODE_VERBS = ("NBIRTH", "NDATA", "NDEATH", "NCMD")
DEVICE_VERBS = ("DBIRTH", "DDATA", "DDEATH", "DCMD")
ID_MAX = 255  # characters of an id that we accept


class DataType(enum.IntEnum):
    """§6.4.16."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTYSET = 20
    PROPERTYSETLIST = 21
    INT8ARRAY = 22
    INT16ARRAY = 23
    INT32ARRAY = 24
    INT64ARRAY = 25
    UINT8ARRAY = 26
    UINT16ARRAY = 27
    UINT32ARRAY = 28
    UINT64ARRAY = 29
    FLOATARRAY = 30
    DOUBLEARRAY = 31
    BOOLEANARRAY = 32
    STRINGARRAY = 33
    DATETIMEARRAY = 34


class Kind(enum.IntEnum):
    """Which field of a metric holds its value: the field numbers of the protobuf message (§6.2)."""

    NONE = 0
    INT = 10
    LONG = 11
    FLOAT = 12
    DOUBLE = 13
    BOOLEAN = 14
    STRING = 15
    BYTES = 16
    DATASET = 17
    TEMPLATE = 18


class Property(msgspec.Struct):
    """A property value. ``kind`` as of a metric; a property set is ``Kind.TEMPLATE`` + 1, a list of them + 2."""

    type: int | None = None
    kind: int = 0
    value: object = None
    is_null: bool = False


PROPERTY_SET, PROPERTY_SET_LIST = Kind.TEMPLATE + 1, Kind.TEMPLATE + 2


class PropertySet(msgspec.Struct):
    """Keys and values are parallel; a message where they are not is damaged (payloads-propertyset-keys-array-size)."""

    keys: list[str] = []
    values: list[Property] = []

    def get(self, key: str) -> Property | None:
        return self.values[self.keys.index(key)] if key in self.keys else None


class MetaData(msgspec.Struct):
    is_multi_part: bool | None = None
    content_type: str | None = None
    size: int | None = None
    seq: int | None = None
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    description: str | None = None


# Keys (field number and wire type) of the message behind MetaData.
METADATA_FIELDS = {
    0x08: "is_multi_part", 0x12: "content_type", 0x18: "size", 0x20: "seq", 0x2A: "file_name", 0x32: "file_type",
    0x3A: "md5", 0x42: "description",
}  # fmt: skip


class DataSet(msgspec.Struct):
    """A table. A cell is (kind, value), (0, None) if it is null."""

    columns: list[str] = []
    types: list[int] = []
    rows: list[tuple[tuple[int, object], ...]] = []


class Parameter(msgspec.Struct):
    name: str | None = None
    type: int | None = None
    kind: int = 0
    value: object = None


class Template(msgspec.Struct):
    """A definition, or an instance that refers to one by ``template_ref``."""

    version: str | None = None
    metrics: list[Metric] = []
    parameters: list[Parameter] = []
    template_ref: str | None = None
    is_definition: bool | None = None


class Metric(msgspec.Struct):
    """A metric as it is on the wire: ``value`` as the field ``kind`` holds it, integers without sign.

    ``timestamp`` in UTC milliseconds. ``name`` is None where only the alias is sent.
    """

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None
    datatype: int | None = None
    kind: int = 0
    value: object = None
    is_null: bool = False
    is_historical: bool = False
    is_transient: bool = False
    metadata: MetaData | None = None
    properties: PropertySet | None = None


class Payload(msgspec.Struct):
    """``seq`` is None in deaths of nodes and in commands."""

    timestamp: int | None = None
    metrics: list[Metric] = []
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None


class SparkplugError(Exception):
    """Bytes that are no payload, or a value that does not fit its data type."""


class Topic(NamedTuple):
    """``spBv1.0/group/verb/node[/device]``."""

    group: str
    verb: str
    node: str
    device: str = ""

    def __str__(self) -> str:
        head = f"{NAMESPACE}/{self.group}/{self.verb}/{self.node}"
        return f"{head}/{self.device}" if self.device else head


def parse_topic(text: str) -> Topic | None:
    """None for what is no Sparkplug topic of a node or device; STATE topics are not of that kind."""
    parts = text.split("/")
    if len(parts) not in (4, 5) or parts[0] != NAMESPACE or not all(parts):
        return None
    if parts[2] not in (NODE_VERBS if len(parts) == 4 else DEVICE_VERBS):
        return None
    return Topic(parts[1], parts[2], parts[3], parts[4] if len(parts) == 5 else "")


def id_fault(text: str) -> str:
    """Why a group, node, device or host id is not valid (§4.1); "" when it is."""
    if not text:
        return "it is empty"
    if any(character in text for character in "+/#\0") or any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        return "it contains +, /, # or no character"
    return "" if len(text) <= ID_MAX else f"it has more than {ID_MAX} characters"


class HostState(msgspec.Struct):
    """The JSON payload of a STATE message; ``timestamp`` in UTC milliseconds."""

    online: bool
    timestamp: int


_STATE = msgspec.json.Decoder(HostState)


def state_payload(*, online: bool, timestamp_ms: int) -> bytes:
    return msgspec.json.encode(HostState(online, timestamp_ms))


def parse_state(payload: bytes) -> HostState | None:
    """None for what is not the JSON of version 3.0.0; the ``ONLINE`` of older hosts is none."""
    try:
        return _STATE.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
