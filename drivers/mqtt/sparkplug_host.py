"""A host application of Sparkplug 3.0.0 as a state machine: bytes and times in, actions and news out.

One machine for one MQTT server: STATE messages have their times for each server, and a node lives on one at a time.

Rules
* A node is known by its NBIRTH; what comes before it, or names what it has not declared, asks for a rebirth.
* Messages of a node are taken in the order of seq. A gap waits ``reorder_ms``; then what is there is taken, and a
  rebirth is asked for. Rebirths of a node are limited, whatever asks for them.
* An NDEATH counts if its bdSeq is that of the session; the metrics of a dead node or device are stale.
* MQTT keeps the order within a topic only. A will may overtake the birth of its session: an NBIRTH that comes within
  ``reorder_ms`` of a death with its bdSeq revives nothing, but is asked for again; only a living node answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from drivers.mqtt._sparkplug_metrics import HostMetric, MetricTable, Sample, UnknownMetricError
from drivers.mqtt.config import Will
from drivers.mqtt.sparkplug import (
    BDSEQ,
    NAMESPACE,
    REBIRTH,
    SEQ_COUNT,
    STATE_PREFIX,
    DataType,
    Kind,
    Metric,
    Payload,
    SparkplugError,
    Topic,
    parse_state,
    parse_topic,
    state_payload,
)
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_edge import Disconnect, Publish, Subscribe
from drivers.mqtt.sparkplug_values import KIND_OF, to_wire

NODES_MAX = 10_000
EARLY_MAX = 200  # messages of a node that wait for an earlier one
REBIRTH_MS_LONGEST = 300_000
REBIRTHS_PER_TICK = 50
DUPLICATE_BIRTHS = 3  # births of another session without a death, within the time below
DUPLICATE_MS = 60_000


class HostConfig(msgspec.Struct, frozen=True):
    """``groups``: () for all. ``host_id`` "": a listener that neither says STATE nor asks for rebirths."""

    host_id: str
    groups: tuple[str, ...] = ()
    reorder_ms: int = 2000
    rebirth_ms: int = 10_000  # shortest time between two rebirths of a node; doubles while it does not answer


# ---------------------------------------------------------------- news

Key = tuple[str, str]  # group, node


class NodeBirth(msgspec.Struct, frozen=True):
    """All metrics of the node itself; those of its devices follow by ``DeviceBirth``."""

    key: Key
    metrics: tuple[HostMetric, ...]
    time_ms: int


class DeviceBirth(msgspec.Struct, frozen=True):
    key: Key
    device: str
    metrics: tuple[HostMetric, ...]
    time_ms: int


class Data(msgspec.Struct, frozen=True):
    """New values; ``historical`` ones are not the present ones."""

    key: Key
    samples: list[Sample]
    historical: bool


class NodeDeath(msgspec.Struct, frozen=True):
    """The node and all its devices are offline, their metrics stale since ``time_ms`` of this host."""

    key: Key
    time_ms: int
    reason: str


class DeviceDeath(msgspec.Struct, frozen=True):
    """``time_ms`` as the node says it."""

    key: Key
    device: str
    time_ms: int


class Trouble(msgspec.Struct, frozen=True):
    """Something that a person should know of a node."""

    key: Key
    text: str


News = NodeBirth | DeviceBirth | Data | NodeDeath | DeviceDeath | Trouble
Step = Publish | Subscribe | Disconnect | News


class Node:
    """What the host knows of an edge node."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.online = False
        self.bdseq: int | None = None
        self.expected = 0  # the next seq
        self.table = MetricTable()
        self.devices: dict[str, bool] = {}
        self.born_ms = 0  # by the node's clock
        self.heard_ms = 0  # by ours, of the birth
        self.early: dict[int, tuple[Topic, Payload]] = {}
        self.gap_ms: int | None = None  # since when something is missing
        self.death: tuple[int | None, int] | None = None  # (bdSeq, our time) of the last one
        self.doubtful_ms: int | None = None  # time of a birth that a will may have overtaken
        self.asked_ms: int | None = None
        self.pause_ms = 0
        self.wanted = False  # a rebirth that is not due yet
        self.births_ms: list[int] = []  # of other sessions, without a death before
        self.rebirths = 0
        self.malformed = 0


class Host:
    """``now_ms`` is UTC; it may step, and nothing worse than an early or late timer comes of it."""

    def __init__(self, config: HostConfig) -> None:
        self.config = config
        self.nodes: dict[Key, Node] = {}
        self.online = False
        self._state_ms = 0
        self._timers: set[Key] = set()

    # ------------------------------------------------------------ session

    def will(self, now_ms: int) -> Will | None:
        """The will of the next CONNECT; its time is the time of the STATE message after it."""
        self._state_ms = now_ms
        if not self.config.host_id:
            return None
        return Will(self._state_topic, state_payload(online=False, timestamp_ms=now_ms), qos=1, retain=True)

    def connected(self, now_ms: int) -> list[Step]:
        """Subscriptions first, then STATE; nodes that were known before are asked to be born again."""
        self.online = True
        steps: list[Step] = [Subscribe(self._filters())]
        if self.config.host_id:
            steps.append(self._state(online=True, time_ms=self._state_ms))
        for node in self.nodes.values():
            node.asked_ms, node.pause_ms = None, 0
            self._want(node)
        return steps

    def disconnected(self, now_ms: int) -> list[Step]:
        """Nothing of this server is known any more."""
        self.online = False
        self._timers.clear()
        return [
            self._dead(node, now_ms, "no connection to the broker")
            for node in self.nodes.values()
            if node.online
        ]

    def stop(self, now_ms: int) -> list[Step]:
        if not self.online:
            return []
        last: list[Step] = [self._state(online=False, time_ms=now_ms)] if self.config.host_id else []
        return [*last, Disconnect(next_server=False, with_will=False)]

    def tick(self, now_ms: int) -> list[Step]:
        """A few times a second: gaps that have lasted too long, rebirths that are due."""
        steps: list[Step] = []
        asked = 0
        for key in list(self._timers):
            node = self.nodes[key]
            if node.gap_ms is not None and not 0 <= now_ms - node.gap_ms < self.config.reorder_ms:
                steps += self._give_up(node, now_ms)
            if node.wanted and asked < REBIRTHS_PER_TICK and self._may_ask(node, now_ms):
                asked += 1
                steps += self._ask(node, now_ms)
            if node.gap_ms is None and not node.wanted:
                self._timers.discard(key)
        return steps

    @property
    def _state_topic(self) -> str:
        return STATE_PREFIX + self.config.host_id

    def _state(self, *, online: bool, time_ms: int) -> Publish:
        return Publish(
            self._state_topic, state_payload(online=online, timestamp_ms=time_ms), qos=1, retain=True
        )

    def _filters(self) -> tuple[tuple[str, int], ...]:
        own = [(self._state_topic, 1)] if self.config.host_id else []
        found = []
        for group in self.config.groups or ("+",):
            for verb, qos in (("BIRTH", 1), ("DATA", 0), ("DEATH", 1)):
                found.append((f"{NAMESPACE}/{group}/N{verb}/+", qos))
                found.append((f"{NAMESPACE}/{group}/D{verb}/+/+", qos))
        return (*found, *own)

    # ------------------------------------------------------------ what arrives

    def message(self, topic: str, payload: bytes, now_ms: int) -> list[Step]:
        """Any topic, any bytes."""
        address = parse_topic(topic)
        if address is None:
            return self._own_state(topic, payload)
        if address.verb.endswith("CMD"):
            return []
        node = self._node(address)
        if node is None:
            return []
        try:
            content = decode_payload(payload)
        except SparkplugError as error:
            node.malformed += 1
            return [Trouble(node.key, f"MQ3001: {topic}: {error}")] if node.malformed == 1 else []
        if address.verb == "NDEATH":
            return self._node_death(node, content, now_ms)
        if address.verb == "NBIRTH":
            return self._node_birth(node, content, now_ms)
        return self._ordered(node, address, content, now_ms)

    def _own_state(self, topic: str, payload: bytes) -> list[Step]:
        """Somebody, or our own will of before, says that we are offline: say it is not so."""
        if not self.config.host_id or topic != self._state_topic or not self.online:
            return []
        state = parse_state(payload)
        if state is not None and state.online:
            return []
        return [self._state(online=True, time_ms=self._state_ms)]

    def _node(self, address: Topic) -> Node | None:
        key = (address.group, address.node)
        node = self.nodes.get(key)
        if node is None and len(self.nodes) < NODES_MAX:
            node = self.nodes[key] = Node(key)
        return node

    # ------------------------------------------------------------ births and deaths of nodes

    def _node_birth(self, node: Node, content: Payload, now_ms: int) -> list[Step]:
        bdseq, born_ms = _bdseq(content), content.timestamp or 0
        if self._is_doubtful(node, bdseq, born_ms, now_ms):
            node.doubtful_ms = max(born_ms, node.doubtful_ms or 0)
            return self._want(node, now_ms)
        steps = self._two_of_them(node, bdseq, now_ms)
        stays = {
            seq: one
            for seq, one in node.early.items()
            if (one[1].timestamp or 0) >= born_ms and seq != content.seq
        }
        node.table = MetricTable()
        try:
            metrics, samples = node.table.birth("", content, now_ms)
        except SparkplugError as error:
            node.malformed += 1
            return [*steps, Trouble(node.key, f"MQ3001: NBIRTH: {error}")]
        node.online, node.bdseq, node.born_ms, node.heard_ms = True, bdseq, born_ms, now_ms
        node.death = node.doubtful_ms = node.asked_ms = None
        node.pause_ms, node.wanted = 0, False
        node.devices = dict.fromkeys(node.devices, False)
        node.expected = ((content.seq or 0) + 1) % SEQ_COUNT
        node.early, node.gap_ms = stays, now_ms if stays else None
        if stays:
            self._timers.add(node.key)
        steps += [NodeBirth(node.key, metrics, born_ms or now_ms), Data(node.key, samples, historical=False)]
        return [*steps, *self._drain(node, now_ms)]

    def _is_doubtful(self, node: Node, bdseq: int | None, born_ms: int, now_ms: int) -> bool:
        """Whether the session that this birth belongs to may be over."""
        if node.online and bdseq == node.bdseq and born_ms < node.born_ms:
            return 0 <= now_ms - node.heard_ms < self.config.reorder_ms  # an earlier birth that was overtaken
        if node.death is None or node.death[0] != bdseq:
            return False
        if node.doubtful_ms is not None:
            return born_ms <= node.doubtful_ms
        return born_ms <= node.born_ms or 0 <= now_ms - node.death[1] < self.config.reorder_ms

    def _two_of_them(self, node: Node, bdseq: int | None, now_ms: int) -> list[Step]:
        if not node.online or bdseq == node.bdseq:
            return []
        recent = [at for at in node.births_ms if 0 <= now_ms - at < DUPLICATE_MS]
        node.births_ms = [*recent, now_ms][-DUPLICATE_BIRTHS:]
        if len(node.births_ms) < DUPLICATE_BIRTHS:
            return []
        node.births_ms = []
        return [
            Trouble(
                node.key, "births of different sessions alternate: two edge nodes use this group and node id"
            )
        ]

    def _node_death(self, node: Node, content: Payload, now_ms: int) -> list[Step]:
        bdseq = _bdseq(content)
        if not node.online or (bdseq is not None and node.bdseq is not None and bdseq != node.bdseq):
            if not node.online:
                node.death = (bdseq, now_ms)  # it may have overtaken the birth of its session
            return []
        node.death = (node.bdseq, now_ms)
        return [self._dead(node, now_ms, "the node says, or its will")]

    def _dead(self, node: Node, now_ms: int, reason: str) -> NodeDeath:
        node.online = False
        node.devices = dict.fromkeys(node.devices, False)
        node.early.clear()
        node.gap_ms = None
        return NodeDeath(node.key, now_ms, reason)

    # ------------------------------------------------------------ everything that has a seq

    def _ordered(self, node: Node, address: Topic, content: Payload, now_ms: int) -> list[Step]:
        seq = content.seq
        if seq is None or seq >= SEQ_COUNT:
            node.malformed += 1
            return (
                [Trouble(node.key, f"{address.verb} without a sequence number")]
                if node.malformed == 1
                else []
            )
        before_birth = node.online and (content.timestamp or now_ms) < node.born_ms
        # Late; or, when the birth is long ago, the node's clock was set back.
        if before_birth and (seq != node.expected or 0 <= now_ms - node.heard_ms < self.config.reorder_ms):
            return []
        if node.online and seq == node.expected:
            steps = self._take(node, address, content, now_ms)
            return [*steps, *self._drain(node, now_ms)] if node.early else steps
        node.early[seq] = (address, content)
        if node.gap_ms is None:
            node.gap_ms = now_ms
            self._timers.add(node.key)
        if len(node.early) > EARLY_MAX or self.config.reorder_ms == 0:
            return self._give_up(node, now_ms)
        return []

    def _drain(self, node: Node, now_ms: int) -> list[Step]:
        steps: list[Step] = []
        while (waiting := node.early.pop(node.expected, None)) is not None:
            steps += self._take(node, *waiting, now_ms)
        if not node.early:
            node.gap_ms = None
        return steps

    def _give_up(self, node: Node, now_ms: int) -> list[Step]:
        """What is missing does not come any more: take what is there in its order, and ask for a rebirth."""
        steps: list[Step] = []
        early, node.early, node.gap_ms = node.early, {}, None
        if node.online:
            first = node.expected
            for seq in sorted(early, key=lambda one: (one - first) % SEQ_COUNT):
                node.expected = seq
                steps += self._take(node, *early[seq], now_ms)
        return [*steps, *self._want(node, now_ms)]

    def _take(self, node: Node, address: Topic, content: Payload, now_ms: int) -> list[Step]:
        node.expected = (node.expected + 1) % SEQ_COUNT
        device = address.device
        try:
            if address.verb == "DBIRTH":
                metrics, samples = node.table.birth(device, content, now_ms)
                node.devices[device] = True
                at = content.timestamp or now_ms
                return [
                    DeviceBirth(node.key, device, metrics, at), Data(node.key, samples, historical=False),
                ]  # fmt: skip
            if address.verb == "DDEATH":
                node.devices[device] = False
                return [DeviceDeath(node.key, device, content.timestamp or now_ms)]
            if device and not node.devices.get(device):
                return self._want(node, now_ms)
            return self._data(node, device, content, now_ms)
        except SparkplugError as error:
            node.malformed += 1
            return [Trouble(node.key, f"MQ3001: {address}: {error}")] if node.malformed == 1 else []

    def _data(self, node: Node, device: str, content: Payload, now_ms: int) -> list[Step]:
        unknown = False
        try:
            now, past = node.table.data(device, content, now_ms)
        except UnknownMetricError as error:
            now, past, unknown = error.now, error.past, True
        steps: list[Step] = [Data(node.key, now, historical=False)] if now else []
        if past:
            steps.append(Data(node.key, past, historical=True))
        return [*steps, *self._want(node, now_ms)] if unknown else steps

    # ------------------------------------------------------------ rebirths and commands

    def rebirth(self, key: Key, now_ms: int) -> list[Step]:
        """A person asks for it: no limit."""
        node = self.nodes.get(key)
        return self._ask(node, now_ms) if node is not None and self.online else []

    def _want(self, node: Node, now_ms: int | None = None) -> list[Step]:
        if not self.config.host_id:
            return []
        if now_ms is not None and self.online and self._may_ask(node, now_ms):
            return self._ask(node, now_ms)
        node.wanted = True
        self._timers.add(node.key)
        return []

    def _may_ask(self, node: Node, now_ms: int) -> bool:
        return node.asked_ms is None or not 0 <= now_ms - node.asked_ms < node.pause_ms

    def _ask(self, node: Node, now_ms: int) -> list[Step]:
        node.wanted, node.asked_ms = False, now_ms
        node.pause_ms = min(max(2 * node.pause_ms, self.config.rebirth_ms), REBIRTH_MS_LONGEST)
        node.rebirths += 1
        metric = Metric(REBIRTH, None, now_ms, DataType.BOOLEAN, Kind.BOOLEAN, True)
        return [self._command(node.key, "", [metric], now_ms)]

    def write(
        self, key: Key, device: str, values: Sequence[tuple[HostMetric, Any]], now_ms: int
    ) -> list[Step]:
        """A command. Raises SparkplugError for a value that does not fit, or a node that is not there."""
        node = self.nodes.get(key)
        if node is None or not self.online or not node.online or (device and not node.devices.get(device)):
            raise SparkplugError("the node or device is offline")
        metrics = [_wish(metric, value, now_ms) for metric, value in values]
        return [self._command(key, device, metrics, now_ms)]

    def _command(self, key: Key, device: str, metrics: list[Metric], now_ms: int) -> Publish:
        topic = Topic(key[0], "DCMD" if device else "NCMD", key[1], device)
        return Publish(str(topic), encode_payload(Payload(now_ms, metrics)))


def _wish(metric: HostMetric, value: Any, now_ms: int) -> Metric:
    """A metric of a command: by alias alone where there is one (payloads-alias-data-cmd-requirement)."""
    kind = KIND_OF.get(metric.datatype)
    if kind is None or metric.member:
        raise SparkplugError(f"{metric.name} cannot be written by its type")
    wire = to_wire(metric.datatype, value)
    named = metric.alias is None
    return Metric(
        metric.name if named else None, metric.alias, now_ms, metric.datatype if named else None, kind, wire
    )


def _bdseq(content: Payload) -> int | None:
    for metric in content.metrics:
        if metric.name == BDSEQ and isinstance(metric.value, int):
            return metric.value
    return None


def publishes(steps: Iterable[Step]) -> Iterator[Publish]:
    """The messages among the steps."""
    return (step for step in steps if isinstance(step, Publish))
