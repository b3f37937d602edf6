"""The assertions about edge nodes, each a test with its id, on the transcript of one session."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from drivers.mqtt.sparkplug import (
    BDSEQ,
    REBIRTH,
    DataType,
    Kind,
    Metric,
    Payload,
    Template,
    parse_topic,
    state_payload,
)
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_edge import (
    Action,
    Disconnect,
    EdgeConfig,
    EdgeNode,
    Publish,
    Refuse,
    Stage,
    Subscribe,
    Write,
)
from drivers.mqtt.sparkplug_space import Item
from tests.drivers.mqtt.edge_peer import ITEMS, space
from tests.drivers.mqtt.rules import Rules
from tests.drivers.mqtt.wire import Packet, packets_of, parse_connect

rule = Rules()
CONFIG = EdgeConfig("G", "N")
PRIMARY = EdgeConfig("G", "N", "H", servers=2)
STATE = "spBv1.0/STATE/H"
NODE = "spBv1.0/G/{}/N"
DEVICE = "spBv1.0/G/{}/N/meter"
NULL = Item("empty", DataType.DOUBLE)


class Message(NamedTuple):
    publish: Publish
    content: Payload

    def metric(self, name: str) -> Metric:
        return next(one for one in self.content.metrics if one.name == name)


class Log:
    """A whole session: birth, data, commands, a device that goes and comes, rebirth, an orderly end."""

    def __init__(self) -> None:
        self.node = EdgeNode(CONFIG, space((*ITEMS, NULL)))
        self.node.space.set(len(ITEMS), None, 900, 192)
        self.wills = [self.node.will()]
        self.birth = self.node.connected(1000)
        self.data = self.change("level", 2.5, 2000) + self.change("flow", 3.5, 2100, "meter")
        self.data += self.change("motor.speed", 9.0, 2200)
        self.rebirth = self.command("NCMD", [Metric(REBIRTH, kind=Kind.BOOLEAN, value=True)], 5000)
        self.after = self.change("level", 3.5, 5100)
        self.gone = self.node.device("meter", present=False, now_ms=6000)
        self.back = self.node.device("meter", present=True, now_ms=7000)
        self.end = self.node.stop(8000)
        self.node.disconnected()
        self.wills.append(self.node.will())

    def change(self, name: str, value: Any, at: int, owner: str = "") -> list[Action]:
        row = self.node.space.row_of[owner, name]
        self.node.space.set(row, value, at, 192)
        return self.node.changed([row], at)

    def command(self, verb: str, metrics: list[Metric], at: int) -> list[Action]:
        topic = (DEVICE if verb[0] == "D" else NODE).format(verb)
        return self.node.message(topic, encode_payload(Payload(at, metrics)), at)

    @property
    def everything(self) -> list[Action]:
        return [*self.birth, *self.data, *self.rebirth, *self.after, *self.gone, *self.back, *self.end]

    def of(self, verb: str, actions: list[Action] | None = None) -> list[Message]:
        return [one for one in messages(actions or self.everything) if f"/{verb}/" in one.publish.topic]

    @property
    def nbirth(self) -> Message:
        return self.of("NBIRTH")[0]

    @property
    def dbirth(self) -> Message:
        return self.of("DBIRTH")[0]


def messages(actions: list[Action]) -> list[Message]:
    return [Message(one, decode_payload(one.payload)) for one in actions if isinstance(one, Publish)]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


# ---------------------------------------------------------------- topics


@rule(
    "topic-structure",
    "topic-structure-namespace-a",
    "intro-group-id-string",
    "intro-edge-node-id-string",
    "intro-device-id-string",
    "topic-structure-namespace-device-id-associated-message-types",
    "topic-structure-namespace-device-id-non-associated-message-types",
)
def all_topics_are_as_they_should(log: Log) -> None:
    for one in messages(log.everything):
        address = parse_topic(one.publish.topic)
        assert address is not None
        assert one.publish.topic.split("/")[0] == "spBv1.0"
        assert (address.group, address.node) == ("G", "N")
        assert bool(address.device) == (address.verb[0] == "D")


@rule(
    "topics-nbirth-topic",
    "message-flow-edge-node-birth-publish-nbirth-topic",
    "topics-ndata-topic",
    "topics-ndeath-topic",
    "topics-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-topic",
    "topics-ddata-topic",
    "topics-ddeath-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
)
def each_verb_has_its_topic(log: Log) -> None:
    for verb in ("NBIRTH", "NDATA", "NDEATH"):
        assert {one.publish.topic for one in log.of(verb)} == {NODE.format(verb)}
    for verb in ("DBIRTH", "DDATA", "DDEATH"):
        assert {one.publish.topic for one in log.of(verb)} == {DEVICE.format(verb)}


@rule(
    "topics-nbirth-mqtt",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
    "topics-ndata-mqtt",
    "payloads-ndata-qos",
    "payloads-ndata-retain",
    "topics-dbirth-mqtt",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
    "topics-ddata-mqtt",
    "payloads-ddata-qos",
    "payloads-ddata-retain",
    "topics-ddeath-mqtt",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
)
def births_and_data_are_qos_0_and_not_retained(log: Log) -> None:
    for verb in ("NBIRTH", "NDATA", "DBIRTH", "DDATA", "DDEATH"):
        assert {(one.publish.qos, one.publish.retain) for one in log.of(verb)} == {(0, False)}


# ---------------------------------------------------------------- births


@rule(
    "topics-nbirth-seq-num",
    "payloads-nbirth-seq",
    "payloads-sequence-num-req-nbirth",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
)
def a_node_birth_has_seq_0(log: Log) -> None:
    assert {one.content.seq for one in log.of("NBIRTH")} == {0}


@rule(
    "topics-nbirth-timestamp",
    "payloads-nbirth-timestamp",
    "topics-dbirth-timestamp",
    "payloads-dbirth-timestamp",
    "topics-ndata-timestamp",
    "payloads-ndata-timestamp",
    "topics-ddata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
    "payloads-timestamp-in-UTC",
)
def payloads_have_the_time_of_their_sending(log: Log) -> None:
    wanted = {
        "NBIRTH": [1000, 5000],
        "DBIRTH": [1000, 5000, 7000],
        "NDATA": [2000, 2200, 5100],
        "DDATA": [2100],
        "DDEATH": [6000],
    }
    for verb, times in wanted.items():
        assert [one.content.timestamp for one in log.of(verb)] == times


@rule(
    "topics-nbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-dbirth",
)
def births_name_all_that_data_ever_name(log: Log) -> None:
    born = {m.alias for one in (log.nbirth, log.dbirth) for m in one.content.metrics}
    assert {
        m.alias for verb in ("NDATA", "DDATA") for one in log.of(verb) for m in one.content.metrics
    } <= born


@rule(
    "topics-nbirth-metrics",
    "topics-dbirth-metrics",
    "payloads-name-requirement",
    "payloads-metric-datatype-req",
    "payloads-metric-datatype-value-type",
    "payloads-metric-datatype-value",
    "payloads-name-birth-data-requirement",
    "payloads-metric-timestamp-in-UTC",
)
def metrics_of_births_have_name_type_value_and_time(log: Log) -> None:
    for one in (log.nbirth, log.dbirth):
        for metric in one.content.metrics:
            assert metric.name
            assert DataType(metric.datatype or 0) != DataType.UNKNOWN
            assert metric.timestamp
            assert (metric.kind != Kind.NONE) != metric.is_null
    for verb in ("NDATA", "DDATA"):
        assert all(metric.timestamp for one in log.of(verb) for metric in one.content.metrics)


@rule("operational-behavior-data-publish-nbirth-values", "operational-behavior-data-publish-dbirth-values")
def a_value_that_is_not_there_is_null(log: Log) -> None:
    empty = log.nbirth.metric("empty")
    assert (empty.is_null, empty.kind) == (True, Kind.NONE)


@rule(
    "topics-nbirth-bdseq-included",
    "topics-nbirth-bdseq-matching",
    "payloads-nbirth-bdseq",
    "payloads-nbirth-bdseq-repeat",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "payloads-ndeath-bdseq",
    "operational-behavior-data-commands-rebirth-action-3",
)
def births_have_the_bdseq_of_the_will(log: Log) -> None:
    will = decode_payload(log.wills[0].payload).metrics[0]
    for one in log.of("NBIRTH"):
        metric = one.metric(BDSEQ)
        assert (metric.datatype, metric.value) == (DataType.INT64, will.value)


@rule("topics-nbirth-bdseq-increment", "message-flow-edge-node-birth-publish-will-message-payload-bdSeq")
def bdseq_goes_from_0_by_one_to_255_and_back(log: Log) -> None:
    node = EdgeNode(CONFIG, space())
    numbers = [decode_payload(node.will().payload).metrics[0].value for _ in range(258)]
    assert numbers == [*range(256), 0, 1]
    metric = decode_payload(log.wills[0].payload).metrics[0]
    assert (metric.name, metric.datatype) == (BDSEQ, DataType.INT64)


@rule(
    "topics-nbirth-rebirth-metric",
    "payloads-nbirth-rebirth-req",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-name-aliases",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
)
def a_node_birth_offers_rebirth_without_an_alias(log: Log) -> None:
    for one in log.of("NBIRTH"):
        metric = one.metric(REBIRTH)
        assert (metric.datatype, metric.value, metric.alias) == (DataType.BOOLEAN, False, None)


@rule(
    "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
    "message-flow-edge-node-birth-publish-will-message-payload",
)
def payloads_are_protobuf(log: Log) -> None:
    for one in messages(log.everything):
        assert decode_payload(encode_payload(one.content)) == one.content
    assert encode_payload(decode_payload(log.wills[0].payload)) == log.wills[0].payload


@rule(
    "payloads-dbirth-order",
    "payloads-ndata-order",
    "payloads-ddata-order",
    "message-flow-device-birth-publish-nbirth-wait",
    "principles-birth-certificates-order",
    "operational-behavior-data-commands-rebirth-action-2",
)
def births_come_in_order_and_before_data(log: Log) -> None:
    verbs = [one.publish.topic.split("/")[2] for one in messages(log.everything)]
    assert verbs[:3] == ["NBIRTH", "DBIRTH", "NDATA"]
    again = verbs.index("NBIRTH", 1)
    assert verbs[again : again + 3] == ["NBIRTH", "DBIRTH", "NDATA"]
    fresh = EdgeNode(CONFIG, space())
    assert fresh.changed([0], 500) == []


@rule("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def values_are_in_the_order_of_their_times(log: Log) -> None:
    node = EdgeNode(CONFIG, space())
    node.will()
    for row, at in enumerate((50, 10, 40, 30, 60, 20)):
        node.space.set(row, node.space.values[row], at, 192)
    for one in messages([*node.connected(100), *node.changed([0, 1, 2, 3, 4, 5], 200)]):
        times = [metric.timestamp or 0 for metric in one.content.metrics]
        assert times == sorted(times)


# ---------------------------------------------------------------- sequence numbers


@rule(
    "topics-ndata-seq-num",
    "payloads-ndata-seq",
    "payloads-ndata-seq-inc",
    "topics-dbirth-seq",
    "payloads-dbirth-seq",
    "payloads-dbirth-seq-inc",
    "topics-ddata-seq-num",
    "payloads-ddata-seq",
    "payloads-ddata-seq-inc",
    "topics-ddeath-seq-num",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-inc",
    "payloads-ddeath-seq-number",
    "payloads-sequence-num-always-included",
    "payloads-sequence-num-incrementing",
    "message-flow-device-birth-publish-dbirth-payload-seq",
)
def seq_goes_up_by_one_over_all_messages(log: Log) -> None:
    numbers = [one.content.seq for one in messages(log.everything) if "NDEATH" not in one.publish.topic]
    assert numbers == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    node = EdgeNode(CONFIG, space())
    node.will()
    node.connected(0)
    seqs = [messages(node.changed([0], at))[0].content.seq for at in range(300)]
    assert seqs == [(2 + at) % 256 for at in range(300)]


@rule("topics-ndeath-seq", "payloads-ndeath-seq", "topics-ndeath-payload")
def a_node_death_has_bdseq_and_nothing_else(log: Log) -> None:
    for payload in (log.wills[0].payload, log.of("NDEATH")[0].publish.payload):
        content = decode_payload(payload)
        assert content.seq is None
        assert [one.name for one in content.metrics] == [BDSEQ]


# ---------------------------------------------------------------- data


@rule(
    "topics-ndata-payload",
    "topics-ddata-payload",
    "operational-behavior-data-publish-nbirth-change",
    "operational-behavior-data-publish-dbirth-change",
    "principles-rbe-recommended",
)
def data_name_what_changed_and_nothing_else(log: Log) -> None:
    level = log.nbirth.metric("level").alias
    assert [m.alias for m in log.of("NDATA")[0].content.metrics] == [level]
    assert [m.alias for m in log.of("DDATA")[0].content.metrics] == [log.dbirth.metric("flow").alias]
    assert log.node.changed([], 9000) == []


@rule(
    "payloads-alias-uniqueness",
    "payloads-alias-birth-requirement",
    "payloads-alias-data-cmd-requirement",
    "payloads-metric-datatype-not-req",
)
def births_have_name_and_alias_data_the_alias_alone(log: Log) -> None:
    born = [m for one in (log.nbirth, log.dbirth) for m in one.content.metrics if m.alias is not None]
    assert len({one.alias for one in born}) == len(born) == 7
    for verb in ("NDATA", "DDATA"):
        for one in log.of(verb):
            assert all(
                m.alias is not None and m.name is None and m.datatype is None for m in one.content.metrics
            )


@rule(
    "payloads-propertyset-keys-array-size",
    "payloads-propertyset-values-array-size",
    "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req",
    "payloads-propertyset-quality-value-type",
    "payloads-propertyset-quality-value-value",
)
def properties_have_types_and_quality_is_one_of_three(log: Log) -> None:
    found = log.nbirth.metric("level").properties
    assert found is not None
    assert len(found.keys) == len(found.values) == 3
    assert all(DataType(one.type or 0) != DataType.UNKNOWN for one in found.values)
    node = EdgeNode(CONFIG, space())
    node.will()
    node.connected(0)
    for level in (0, 500, 192):
        node.space.set(0, 1.0, 5, level)
        properties = messages(node.changed([0], 10))[0].content.metrics[0].properties
        assert properties is not None
        quality = properties.get("Quality")
        assert quality is not None
        assert (quality.type, quality.kind, quality.value) == (3, Kind.INT, level)


# ---------------------------------------------------------------- templates


@rule(
    "topics-nbirth-templates",
    "payloads-template-definition-nbirth",
    "payloads-template-definition-nbirth-only",
    "payloads-template-definition-is-definition",
    "payloads-template-definition-ref",
    "payloads-template-ref-definition",
    "payloads-template-is-definition",
    "payloads-template-is-definition-definition",
    "payloads-template-definition-members",
)
def definitions_are_in_the_node_birth(log: Log) -> None:
    definition = log.nbirth.metric("Motor").value
    assert isinstance(definition, Template)
    assert (definition.is_definition, definition.template_ref) == (True, None)
    assert [one.name for one in definition.metrics] == ["speed"]
    others = [
        m.value
        for one in messages(log.everything)
        if "NBIRTH" not in one.publish.topic
        for m in one.content.metrics
    ]
    assert not any(isinstance(value, Template) and value.is_definition for value in others)


@rule(
    "payloads-template-instance-is-definition",
    "payloads-template-is-definition-instance",
    "payloads-template-instance-ref",
    "payloads-template-ref-instance",
    "payloads-template-instance-members",
    "payloads-template-instance-members-birth",
    "payloads-template-instance-members-data",
)
def instances_refer_to_their_definition(log: Log) -> None:
    born = log.nbirth.metric("motor").value
    (changed,) = [
        m.value for one in log.of("NDATA") for m in one.content.metrics if isinstance(m.value, Template)
    ]
    for instance in (born, changed):
        assert isinstance(instance, Template)
        assert (instance.is_definition, instance.template_ref) == (False, "Motor")
        assert [one.name for one in instance.metrics] == ["speed"]


# ---------------------------------------------------------------- commands


@rule("operational-behavior-data-commands-rebirth-action-1")
def a_rebirth_request_stops_data_at_once(log: Log) -> None:
    fresh = Log()
    fresh.node.disconnected()
    fresh.node.connected(10_000)
    ask = [Metric(REBIRTH, kind=Kind.BOOLEAN, value=True)]
    assert fresh.command("NCMD", ask, 10_100) == []  # a birth was just sent: the next one waits
    assert fresh.change("level", 7.0, 10_200) == []
    assert fresh.of("NBIRTH", fresh.node.tick(11_000))[0].metric("level").value == 7.0


@rule(
    "payloads-name-cmd-requirement",
    "operational-behavior-data-commands-ncmd-metric-name",
    "operational-behavior-data-commands-dcmd-metric-name",
    "topics-ncmd-payload",
    "topics-dcmd-payload",
)
def commands_are_taken_by_name_or_alias(log: Log) -> None:
    fresh = Log()
    fresh.node.will()
    fresh.node.connected(10_000)
    alias = fresh.nbirth.metric("setpoint").alias
    for metric in (Metric("setpoint", kind=Kind.INT, value=5), Metric(None, alias, kind=Kind.INT, value=5)):
        (write,) = fresh.command("NCMD", [metric], 10_100)
        assert isinstance(write, Write)
        assert [(item.name, value) for item, value in write.values] == [("setpoint", 5)]
    (write,) = fresh.command("DCMD", [Metric("valve", kind=Kind.BOOLEAN, value=True)], 10_100)
    assert isinstance(write, Write)
    assert write.owner == "meter"


@rule(
    "operational-behavior-data-commands-ncmd-metric-value",
    "operational-behavior-data-commands-dcmd-metric-value",
)
def values_that_do_not_fit_change_nothing(log: Log) -> None:
    fresh = Log()
    fresh.node.will()
    fresh.node.connected(10_000)
    good = Metric("setpoint", kind=Kind.INT, value=5)
    for bad in (
        Metric("setpoint", kind=Kind.DOUBLE, value=5.0),
        Metric("level", kind=Kind.DOUBLE, value=5.0),
        Metric("nothing", kind=Kind.INT, value=1),
        Metric("setpoint", is_null=True),
        Metric("setpoint", kind=Kind.INT, value=70_000),
        Metric(None, 999, kind=Kind.INT, value=1),
    ):
        actions = fresh.command("NCMD", [good, bad], 10_100)
        assert [type(one) for one in actions] == [Refuse]


# ---------------------------------------------------------------- devices and the end


@rule("operational-behavior-device-ddeath")
def a_device_that_is_lost_dies(log: Log) -> None:
    (death,) = log.of("DDEATH", log.gone)
    assert death.content.metrics == []
    assert log.of("DBIRTH", log.back)
    assert log.node.device("meter", present=False, now_ms=1) == []


@rule(
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
)
def an_orderly_end_says_so_first(log: Log) -> None:
    death, goodbye = log.end
    assert isinstance(death, Publish)
    assert death.topic == NODE.format("NDEATH")
    assert isinstance(goodbye, Disconnect)


# ---------------------------------------------------------------- primary host


def waiting(config: EdgeConfig = PRIMARY) -> tuple[EdgeNode, list[Action]]:
    node = EdgeNode(config, space())
    node.will()
    return node, node.connected(1000)


def say(node: EdgeNode, at: int, *, online: bool, topic: str = STATE) -> list[Action]:
    return node.message(topic, state_payload(online=online, timestamp_ms=at), at)


@rule(
    "message-flow-edge-node-birth-publish-phid-wait",
    "operational-behavior-edge-node-birth-sequence-wait",
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
)
def births_wait_for_the_primary_host(log: Log) -> None:
    node, actions = waiting()
    assert [type(one) for one in actions] == [Subscribe]
    assert any(name == STATE for name, _ in actions[0].filters)  # type: ignore[union-attr]
    assert node.changed([0], 1100) == []
    assert messages(say(node, 500, online=True))[0].publish.topic == NODE.format("NBIRTH")


@rule("message-flow-edge-node-birth-publish-phid-wait-id")
def another_host_does_not_count(log: Log) -> None:
    node, _ = waiting()
    for topic in ("spBv1.0/STATE/h", "spBv1.0/STATE/H2", "STATE/H", "spBv1.0/STATE/H/x"):
        assert say(node, 2000, online=True, topic=topic) == []


@rule("message-flow-edge-node-birth-publish-phid-wait-online")
def only_online_true_counts(log: Log) -> None:
    node, _ = waiting(EdgeConfig("G", "N", "H"))
    for payload in (
        b"ONLINE",
        b"{}",
        b'{"online":"true","timestamp":5}',
        b'{"online":true}',
        b"\xff",
        b"[" * 5000,
    ):
        assert node.message(STATE, payload, 2000) == []
    assert say(node, 2000, online=False) == []
    assert node.stage == Stage.WAITING


@rule("message-flow-edge-node-birth-publish-phid-wait-timestamp")
def an_older_online_does_not_count(log: Log) -> None:
    node, _ = waiting(EdgeConfig("G", "N", "H"))
    say(node, 2000, online=False)
    assert say(node, 1999, online=True) == []
    assert say(node, 2000, online=True)


@rule(
    "message-flow-edge-node-birth-publish-phid-offline",
    "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-termination-host-offline-reconnect",
    "operational-behavior-primary-application-state-with-multiple-servers-walk",
)
def a_host_that_goes_ends_the_session(log: Log) -> None:
    node, _ = waiting()
    say(node, 2000, online=True)
    death, goodbye = say(node, 2000, online=False)
    assert isinstance(death, Publish)
    assert death.topic == NODE.format("NDEATH")
    assert goodbye == Disconnect(next_server=True, with_will=True)
    assert node.changed([0], 2100) == []
    unborn, _ = waiting()
    assert say(unborn, 10, online=False) == [Disconnect(next_server=True, with_will=False)]
    lonely, _ = waiting()
    assert lonely.tick(5000) == []
    assert lonely.tick(11_000) == [Disconnect(next_server=True, with_will=False)]


@rule("operational-behavior-edge-node-termination-host-offline-timestamp")
def an_old_offline_ends_nothing(log: Log) -> None:
    node, _ = waiting()
    say(node, 2000, online=True)
    assert say(node, 1999, online=False) == []
    assert node.stage == Stage.BORN


# ---------------------------------------------------------------- packets


@rule(
    "principles-persistence-clean-session-311",
    "principles-persistence-clean-session-50",
    "message-flow-edge-node-birth-publish-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
    "payloads-ndeath-will-message",
    "payloads-ndeath-will-message-qos",
    "payloads-ndeath-will-message-retain",
)
async def the_connect_packet_has_a_clean_session_and_the_will(log: Log) -> None:
    for version in ("3.1.1", "5"):
        packets = await session(version)
        connect = parse_connect(packets[0].body)
        assert connect.clean
        assert connect.session_expiry in (None, 0)
        assert (connect.has_will, connect.will_topic) == (True, NODE.format("NDEATH"))
        assert (connect.will_qos, connect.will_retain) == (1, False)


@rule(
    "message-flow-edge-node-ncmd-subscribe",
    "message-flow-device-dcmd-subscribe",
    "topics-ncmd-topic",
    "topics-dcmd-topic",
    "message-flow-edge-node-birth-publish-connect",
)
async def subscriptions_come_before_the_birth(log: Log) -> None:
    packets = await session("3.1.1")
    assert [one.name for one in packets[:3]] == ["CONNECT", "SUBSCRIBE", "PUBLISH"]
    for topic in (NODE.format("NCMD"), DEVICE.format("DCMD")):
        assert topic.encode() + b"\x01" in packets[1].body


@rule("payloads-ndeath-will-message-publisher-disconnect-mqtt50")
async def the_end_by_mqtt_5_asks_for_the_will(log: Log) -> None:
    packets = await session("5")
    assert packets[-1].name == "DISCONNECT"
    assert packets[-1].body[0] == 4
    assert NODE.format("NDEATH").encode() in packets[-2].body


async def session(version: str) -> list[Packet]:
    return await packets_of(version, EdgeNode(CONFIG, space()), lambda node: node.stop(2000))


@rule("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def one_client_has_one_connection(log: Log) -> None:
    """The client closes what it had before each attempt; tests of it show that (test_client)."""
    node, _ = waiting()
    say(node, 2000, online=True)
    say(node, 2000, online=False)
    assert node.stage == Stage.LEAVING
    assert say(node, 3000, online=True) == []


@pytest.mark.parametrize("assertion", sorted(rule.checks))
async def test_edge_rule(assertion: str, log: Log) -> None:
    result = rule.checks[assertion](log)
    if result is not None:
        await result
