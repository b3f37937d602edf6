"""An edge node of Sparkplug 3.0.0 as a state machine: bytes, values and times in, actions out. No clock, no socket.

States::

    OFFLINE --connected--> WAITING (primary host configured) --host online--> BORN
                     \\----(no primary host)----------------------------------^  |
    BORN --host offline / stop--> LEAVING --disconnected--> OFFLINE               |
    any  --disconnected--> OFFLINE                    rebirth request: BORN again v

Invariants
* bdSeq goes up by one with each CONNECT, and the NBIRTH of a session has the number of that session's will.
* seq goes up by one over all births, data and device deaths; an NBIRTH has 0.
* No data before NBIRTH and all DBIRTHs; what happens while nobody listens goes to the backlog and is sent as history.
* A command takes effect whole or not at all, and only where an item is writable.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from drivers.mqtt.config import Will
from drivers.mqtt.sparkplug import (
    BDSEQ,
    REBIRTH,
    SEQ_COUNT,
    STATE_PREFIX,
    DataType,
    Kind,
    Metric,
    Payload,
    SparkplugError,
    Template,
    Topic,
    parse_state,
    parse_topic,
)
from drivers.mqtt.sparkplug_codec import assemble, decode_payload, encode_metric, encode_payload
from drivers.mqtt.sparkplug_space import Item, Space, Unit
from drivers.mqtt.sparkplug_values import from_wire

METRICS_PER_MESSAGE = 5000  # of data; brokers limit the size of a message
REBIRTH_MS_MIN = 1000  # births are large: a host that asks more often is answered at this pace
HOST_WAIT_MS = 10_000  # on a server without the primary host, before the next server is tried
BACKLOG_ROWS_MAX = 100_000
NEXT_SERVER = "Node Control/Next Server"


class Stage(enum.Enum):
    OFFLINE = "offline"
    WAITING = "waiting for the primary host"
    BORN = "online"
    LEAVING = "leaving"


class EdgeConfig(msgspec.Struct, frozen=True):
    group: str
    node: str
    primary_host: str = ""
    servers: int = 1
    history: bool = True  # whether what happened while nobody listened is sent later


# ---------------------------------------------------------------- actions


class Subscribe(msgspec.Struct, frozen=True):
    filters: tuple[tuple[str, int], ...]


class Publish(msgspec.Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Disconnect(msgspec.Struct, frozen=True):
    """``with_will``: by the MQTT 5 reason code that has the broker publish the will, as §6.4.26 demands."""

    next_server: bool
    with_will: bool = True


class Write(msgspec.Struct, frozen=True):
    """Values that a host wants, already of the items' data types; one atomic group."""

    owner: str
    values: tuple[tuple[Item, Any], ...]


class Refuse(msgspec.Struct, frozen=True):
    """A command that was not understood or is not permitted."""

    owner: str
    reason: str


Action = Subscribe | Publish | Disconnect | Write | Refuse


class Past(msgspec.Struct, frozen=True, array_like=True):
    """A change that nobody heard of."""

    owner: str
    name: str
    value: Any
    time_ms: int
    quality: int


class Backlog(Protocol):
    """Keeps changes until they can be sent, oldest first, bounded."""

    def append(self, past: Sequence[Past]) -> None: ...

    def peek(self, count: int) -> list[Past]: ...

    def drop(self, count: int) -> None: ...

    def __len__(self) -> int: ...


class MemoryBacklog:
    """In memory, the oldest go first when it is full."""

    def __init__(self, rows_max: int = BACKLOG_ROWS_MAX) -> None:
        self._rows: deque[Past] = deque(maxlen=rows_max)
        self.lost = 0

    def append(self, past: Sequence[Past]) -> None:
        room = (self._rows.maxlen or 0) - len(self._rows)
        self.lost += max(len(past) - room, 0)
        self._rows.extend(past)

    def peek(self, count: int) -> list[Past]:
        return [self._rows[index] for index in range(min(count, len(self._rows)))]

    def drop(self, count: int) -> None:
        for _ in range(min(count, len(self._rows))):
            self._rows.popleft()

    def __len__(self) -> int:
        return len(self._rows)


# ---------------------------------------------------------------- the machine


class EdgeNode:
    """``bdseq``: the number that the next CONNECT gets. All methods return what is to be done, in order."""

    def __init__(
        self, config: EdgeConfig, space: Space, *, bdseq: int = 0, backlog: Backlog | None = None
    ) -> None:
        self.config = config
        self.space = space
        self.stage = Stage.OFFLINE
        self.next_bdseq = bdseq % SEQ_COUNT
        self.backlog: Backlog = backlog if backlog is not None else MemoryBacklog()
        self._bdseq = 0
        self._seq = 0
        self._born: set[str] = set()  # devices
        self._present = set(space.devices)
        self._host_ms: int | None = None  # time of the last STATE message of the primary host that counted
        self._online_ms: int | None = None  # of its last online STATE message
        self._since_ms = 0
        self._birth_ms: int | None = None
        self._rebirth_at_ms: int | None = None

    # ------------------------------------------------------------ session

    def will(self) -> Will:
        """The will of the next CONNECT. Call it once for each."""
        self._bdseq, self.next_bdseq = self.next_bdseq, (self.next_bdseq + 1) % SEQ_COUNT
        return Will(str(self._topic("NDEATH")), self._death(None), qos=1, retain=False)

    def connected(self, now_ms: int) -> list[Action]:
        self.stage = Stage.WAITING
        self._since_ms = now_ms
        self._host_ms = self._online_ms = None  # a host keeps its times for each server
        self._rebirth_at_ms = None
        filters = [(str(self._topic("NCMD")), 1)]
        filters += [(str(self._topic("DCMD", device)), 1) for device in self.space.devices]
        if self.config.primary_host:
            return [Subscribe((*filters, (STATE_PREFIX + self.config.primary_host, 1)))]
        return [Subscribe(tuple(filters)), *self._births(now_ms)]

    def disconnected(self) -> None:
        self.stage = Stage.OFFLINE
        self._born.clear()
        self._rebirth_at_ms = None

    def stop(self, now_ms: int) -> list[Action]:
        """An orderly end."""
        return self._leave(now_ms, next_server=False) if self.stage in (Stage.WAITING, Stage.BORN) else []

    def tick(self, now_ms: int) -> list[Action]:
        """Once in a while."""
        if self._rebirth_at_ms is not None and now_ms >= self._rebirth_at_ms and self.stage == Stage.BORN:
            return self._births(now_ms)
        waited = now_ms - self._since_ms
        if self.stage == Stage.WAITING and self.config.servers > 1 and not 0 <= waited < HOST_WAIT_MS:
            return self._leave(now_ms, next_server=True)
        return []

    # ------------------------------------------------------------ what arrives

    def message(self, topic: str, payload: bytes, now_ms: int) -> list[Action]:
        """Any topic, any bytes."""
        if topic == STATE_PREFIX + self.config.primary_host and self.config.primary_host:
            return self._host_state(payload, now_ms)
        address = parse_topic(topic)
        wanted = (self.config.group, self.config.node)
        if address is None or (address.group, address.node) != wanted or not address.verb.endswith("CMD"):
            return []
        if self.stage != Stage.BORN or (address.device and address.device not in self._born):
            return []
        try:
            command = decode_payload(payload)
        except SparkplugError as error:
            return [Refuse(address.device, str(error))]
        return self._command(address.device, command, now_ms)

    def _host_state(self, payload: bytes, now_ms: int) -> list[Action]:
        state = parse_state(payload)
        if state is None or self.stage in (Stage.OFFLINE, Stage.LEAVING):
            return []
        if state.online:
            if self._host_ms is not None and state.timestamp < self._host_ms:
                return []
            self._host_ms = self._online_ms = state.timestamp
            return self._births(now_ms) if self.stage == Stage.WAITING else []
        if self._online_ms is not None and state.timestamp < self._online_ms:
            return []  # the will of an earlier session of the host
        self._host_ms = max(state.timestamp, self._host_ms or 0)
        if self.stage == Stage.BORN or self.config.servers > 1:
            return self._leave(now_ms, next_server=True)
        return []

    def _command(self, device: str, command: Payload, now_ms: int) -> list[Action]:
        values: list[tuple[Item, Any]] = []
        actions: list[Action] = []
        for metric in command.metrics:
            if not device and metric.name in (REBIRTH, NEXT_SERVER):
                if metric.kind == Kind.BOOLEAN and metric.value is True:
                    actions += self._control(metric.name, now_ms)
                continue
            try:
                values += self._wanted(device, metric)
            except SparkplugError as error:
                return [*actions, Refuse(device, str(error))]
        if values:
            actions.append(Write(device, tuple(values)))
        return actions

    def _control(self, name: str | None, now_ms: int) -> list[Action]:
        if name == NEXT_SERVER:
            return self._leave(now_ms, next_server=True) if self.config.servers > 1 else []
        due_ms = (self._birth_ms or 0) + REBIRTH_MS_MIN
        if self._birth_ms is not None and self._birth_ms <= now_ms < due_ms:
            self._rebirth_at_ms = due_ms  # data stops now, as the request demands
            return []
        return self._births(now_ms)

    def _wanted(self, device: str, metric: Metric) -> list[tuple[Item, Any]]:
        space = self.space
        unit = space.by_name.get((device, metric.name)) if metric.name is not None else None
        if unit is None and metric.alias is not None:
            unit = space.by_alias.get(metric.alias)
        if unit is None or unit.owner != device:
            raise SparkplugError(f"there is no metric {metric.name or metric.alias}")
        if unit.template:
            return self._members(unit, metric)
        item = space.items[unit.rows[0]]
        return [(item, _value(item, metric))]

    def _members(self, unit: Unit, metric: Metric) -> list[tuple[Item, Any]]:
        template = metric.value
        if not isinstance(template, Template) or template.template_ref not in (None, unit.template):
            raise SparkplugError(f"{unit.name} is an instance of {unit.template}")
        rows = {self.space.items[row].member: row for row in unit.rows}
        found = []
        for member in template.metrics:
            row = rows.get(member.name or "")
            if row is None:
                raise SparkplugError(f"{unit.name} has no member {member.name}")
            item = self.space.items[row]
            found.append((item, _value(item, member)))
        return found

    # ------------------------------------------------------------ what changes

    def changed(self, rows: Sequence[int], now_ms: int) -> list[Action]:
        """Present values of these rows of the space are new. Publishes them, or keeps them for later."""
        if self.stage != Stage.BORN or self._rebirth_at_ms is not None:
            if self.config.history:
                self._keep(rows)
            return []
        actions: list[Action] = []
        for start in range(0, len(rows), METRICS_PER_MESSAGE):
            part = rows[start : start + METRICS_PER_MESSAGE]
            for owner, metrics in self.space.data(part).items():
                if not owner or owner in self._born:
                    actions.append(self._data(owner, metrics, now_ms))
        return actions

    def _keep(self, rows: Iterable[int]) -> None:
        space = self.space
        self.backlog.append(
            [
                Past(
                    space.items[row].owner,
                    space.items[row].name,
                    space.values[row],
                    space.times[row],
                    space.quality[row],
                )
                for row in rows
            ]
        )

    def flush(self, now_ms: int, *, count: int = METRICS_PER_MESSAGE) -> list[Action]:
        """A part of the backlog as history; call it again while the broker takes it."""
        if self.stage != Stage.BORN or self._rebirth_at_ms is not None or not len(self.backlog):
            return []
        found: dict[str, list[bytes]] = {}
        part = self.backlog.peek(count)
        for past in part:
            row = self.space.row_of.get((past.owner, past.name))
            if row is None or (past.owner and past.owner not in self._born):
                continue  # the program has changed, or the device is away: there is nothing that it could be history of
            try:
                metric = self.space.historical(row, past.value, past.time_ms, past.quality)
            except SparkplugError:
                continue  # the type has changed
            found.setdefault(past.owner, []).append(metric)
        self.backlog.drop(len(part))
        return [self._data(owner, metrics, now_ms) for owner, metrics in found.items()]

    def device(self, name: str, *, present: bool, now_ms: int) -> list[Action]:
        """A device behind the node has come or gone."""
        if name not in self.space.devices:
            return []
        (self._present.add if present else self._present.discard)(name)
        if self.stage != Stage.BORN:
            return []
        if present and name not in self._born:
            return [self._device_birth(name, now_ms)]
        if not present and name in self._born:
            self._born.discard(name)
            payload = assemble([], timestamp=now_ms, seq=self._next_seq())
            return [Publish(str(self._topic("DDEATH", name)), payload)]
        return []

    def renew(self, space: Space, now_ms: int) -> list[Action]:
        """Other metrics: another program. Devices that were away stay away."""
        away = set(self.space.devices) - self._present
        before, self.space = self.space, space
        self._present = set(space.devices) - away
        if self.stage == Stage.OFFLINE or self.stage == Stage.LEAVING:
            return []
        new = [one for one in space.devices if one not in before.devices]
        actions: list[Action] = []
        if new:
            actions.append(Subscribe(tuple((str(self._topic("DCMD", one)), 1) for one in new)))
        if self.stage == Stage.BORN:
            actions += self._births(now_ms)
        return actions

    # ------------------------------------------------------------ messages

    def _births(self, now_ms: int) -> list[Action]:
        self.stage = Stage.BORN
        self._seq = 0
        self._birth_ms, self._rebirth_at_ms = now_ms, None
        self._born.clear()
        metrics = self.space.birth("", now_ms)
        metrics.append(encode_metric(Metric(REBIRTH, None, now_ms, DataType.BOOLEAN, Kind.BOOLEAN, False)))
        if self.config.servers > 1:
            metrics.append(
                encode_metric(Metric(NEXT_SERVER, None, now_ms, DataType.BOOLEAN, Kind.BOOLEAN, False))
            )
        metrics.append(self._bdseq_metric(now_ms))
        first = Publish(str(self._topic("NBIRTH")), assemble(metrics, timestamp=now_ms, seq=0))
        devices = [one for one in self.space.devices if one in self._present]
        return [first, *(self._device_birth(one, now_ms) for one in devices)]

    def _device_birth(self, device: str, now_ms: int) -> Publish:
        self._born.add(device)
        payload = assemble(self.space.birth(device, now_ms), timestamp=now_ms, seq=self._next_seq())
        return Publish(str(self._topic("DBIRTH", device)), payload)

    def _data(self, owner: str, metrics: list[bytes], now_ms: int) -> Publish:
        topic = self._topic("DDATA" if owner else "NDATA", owner)
        return Publish(str(topic), assemble(metrics, timestamp=now_ms, seq=self._next_seq()))

    def _leave(self, now_ms: int, *, next_server: bool) -> list[Action]:
        born = self.stage == Stage.BORN
        self.stage = Stage.LEAVING
        death = Publish(str(self._topic("NDEATH")), self._death(now_ms), qos=1)
        goodbye = Disconnect(next_server=next_server, with_will=born)
        return [death, goodbye] if born else [goodbye]

    def _death(self, now_ms: int | None) -> bytes:
        """Only bdSeq, no seq (topics-ndeath-payload, topics-ndeath-seq)."""
        return encode_payload(Payload(now_ms, [_bdseq(self._bdseq, now_ms)]))

    def _bdseq_metric(self, now_ms: int) -> bytes:
        return encode_metric(_bdseq(self._bdseq, now_ms))

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % SEQ_COUNT
        return self._seq

    def _topic(self, verb: str, device: str = "") -> Topic:
        return Topic(self.config.group, verb, self.config.node, device)


def _bdseq(number: int, time_ms: int | None) -> Metric:
    return Metric(BDSEQ, None, time_ms, DataType.INT64, Kind.LONG, number)


def _value(item: Item, metric: Metric) -> Any:
    if not item.writable:
        raise SparkplugError(f"{item.name} is read-only")
    if metric.is_null:
        raise SparkplugError(f"{item.name} cannot be null")
    if metric.datatype not in (None, item.datatype) and metric.kind == Kind.NONE:
        raise SparkplugError(f"{item.name} got no value")
    return from_wire(item.datatype, metric.kind, metric.value)


__all__ = [
    "Action",
    "Backlog",
    "Disconnect",
    "EdgeConfig",
    "EdgeNode",
    "MemoryBacklog",
    "Past",
    "Publish",
    "Refuse",
    "Stage",
    "Subscribe",
    "Write",
]
