"""The assertions about host applications, each a test with its id."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drivers.mqtt.sparkplug import REBIRTH, DataType, Kind, Metric, Payload, SparkplugError
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_edge import Disconnect, EdgeConfig, EdgeNode, Publish, Subscribe
from drivers.mqtt.sparkplug_host import (
    Data,
    DeviceBirth,
    DeviceDeath,
    Host,
    HostConfig,
    NodeBirth,
    NodeDeath,
    Step,
)
from tests.drivers.mqtt.edge_peer import space
from tests.drivers.mqtt.rules import Rules
from tests.drivers.mqtt.wire import Packet, packets_of, parse_connect

rule = Rules()
STATE = "spBv1.0/STATE/H"
KEY = ("G", "N")


class World:
    """A host that is connected, and a node that is not connected to anything but what the test hands over."""

    def __init__(self, **config: Any) -> None:
        self.host = Host(HostConfig("H", **config))
        self.host.will(900)
        self.connect = self.host.connected(1000)
        self.edge = EdgeNode(EdgeConfig(*KEY), space())
        self.edge_will = self.edge.will()

    def hand(self, actions: Any, now_ms: int = 2000) -> list[Step]:
        """Publishes of the node to the host, in this order."""
        steps: list[Step] = []
        for one in actions:
            if isinstance(one, Publish):
                steps += self.host.message(one.topic, one.payload, now_ms)
        return steps

    def born(self, now_ms: int = 2000) -> list[Step]:
        return self.hand(self.edge.connected(now_ms), now_ms)

    def change(self, value: float, now_ms: int = 2500, name: str = "level", owner: str = "") -> Any:
        row = self.edge.space.row_of[owner, name]
        self.edge.space.set(row, value, now_ms, 192)
        return self.edge.changed([row], now_ms)

    @property
    def node(self) -> Any:
        return self.host.nodes[KEY]


def of(steps: list[Step], kind: Any) -> list[Any]:
    return [one for one in steps if isinstance(one, kind)]


def rebirths(steps: list[Step]) -> list[Publish]:
    return [one for one in of(steps, Publish) if "/NCMD/" in one.topic]


def state(step: Any) -> dict[str, Any]:
    return dict(json.loads(step.payload))


# ---------------------------------------------------------------- STATE


@rule(
    "host-topic-phid-birth-message",
    "host-topic-phid-birth-qos",
    "host-topic-phid-birth-retain",
    "host-topic-phid-birth-topic",
    "host-topic-phid-birth-payload",
    "host-topic-phid-birth-payload-timestamp",
    "host-topic-phid-birth-required",
    "intro-sparkplug-host-state",
    "components-ph-state",
    "conformance-primary-host",
    "payloads-state-birth",
    "payloads-state-birth-payload",
    "operational-behavior-host-application-connect-birth",
    "operational-behavior-host-application-connect-birth-topic",
    "operational-behavior-host-application-connect-birth-payload",
    "operational-behavior-host-application-connect-birth-qos",
    "operational-behavior-host-application-connect-birth-retained",
    "message-flow-phid-sparkplug-state-publish",
    "message-flow-phid-sparkplug-state-publish-payload",
    "message-flow-phid-sparkplug-state-publish-payload-timestamp",
    "operational-behavior-primary-application-state-with-multiple-servers-state",
)
def the_first_message_is_online_with_the_time_of_the_will() -> None:
    host = Host(HostConfig("H"))
    will = host.will(900)
    assert will is not None
    first = of(host.connected(1000), Publish)[0]
    assert (first.topic, first.qos, first.retain) == (STATE, 1, True)
    assert state(first) == {"online": True, "timestamp": 900} | {"timestamp": state(will)["timestamp"]}


@rule(
    "host-topic-phid-birth-sub-required",
    "message-flow-phid-sparkplug-subscription",
    "payloads-state-subscribe",
)
def subscriptions_come_first() -> None:
    first, second = World().connect[:2]
    assert isinstance(first, Subscribe)
    assert (STATE, 1) in first.filters
    assert {name for name, _ in first.filters} >= {"spBv1.0/+/NBIRTH/+", "spBv1.0/+/DDEATH/+/+"}
    assert isinstance(second, Publish)


@rule(
    "host-topic-phid-death-qos",
    "host-topic-phid-death-retain",
    "host-topic-phid-death-topic",
    "host-topic-phid-death-required",
    "host-topic-phid-death-payload",
    "host-topic-phid-death-payload-timestamp-connect",
    "payloads-state-will-message",
    "payloads-state-will-message-qos",
    "payloads-state-will-message-retain",
    "payloads-state-will-message-payload",
    "operational-behavior-host-application-connect-will",
    "operational-behavior-host-application-connect-will-topic",
    "operational-behavior-host-application-connect-will-payload",
    "operational-behavior-host-application-connect-will-qos",
    "operational-behavior-host-application-connect-will-retained",
    "operational-behavior-host-application-death-payload",
    "message-flow-phid-sparkplug-clean-session-311",
    "message-flow-phid-sparkplug-clean-session-50",
)
async def the_will_is_offline_at_the_time_of_the_connect() -> None:
    for version in ("3.1.1", "5"):
        packets = await session(version)
        connect = parse_connect(packets[0].body)
        assert (connect.clean, connect.session_expiry in (None, 0)) == (True, True)
        assert (connect.will_topic, connect.will_qos, connect.will_retain) == (STATE, 1, True)
        assert json.loads(connect.will_payload) == {"online": False, "timestamp": 1000}
        assert [one.name for one in packets[:3]] == ["CONNECT", "SUBSCRIBE", "PUBLISH"]


@rule(
    "host-topic-phid-death-payload-timestamp-disconnect-clean",
    "operational-behavior-host-application-termination",
    "host-topic-phid-death-payload-timestamp-disconnect-with-no-disconnect-packet",
    "operational-behavior-host-application-death-topic",
    "operational-behavior-host-application-death-qos",
    "operational-behavior-host-application-death-retained",
    "operational-behavior-host-application-disconnect-intentional",
)
def an_orderly_end_says_offline_with_the_time_of_now() -> None:
    death, goodbye = World().host.stop(7000)
    assert isinstance(death, Publish)
    assert (death.topic, death.qos, death.retain) == (STATE, 1, True)
    assert state(death) == {"online": False, "timestamp": 7000}
    assert isinstance(goodbye, Disconnect)


@rule("message-flow-hid-sparkplug-state-message-delivered")
def who_says_that_we_are_offline_is_corrected() -> None:
    world = World()
    for payload in (b'{"online":false,"timestamp":5}', b"OFFLINE", b"\xff"):
        (again,) = world.host.message(STATE, payload, 3000)
        assert state(again) == {"online": True, "timestamp": 900}
    assert world.host.message(STATE, b'{"online":true,"timestamp":900}', 3000) == []
    assert world.host.message("spBv1.0/STATE/other", b'{"online":false,"timestamp":5}', 3000) == []


@rule("operational-behavior-host-application-multi-server-timestamp")
def each_server_has_a_time_of_its_own() -> None:
    first, second = Host(HostConfig("H")), Host(HostConfig("H"))
    for host, at in ((first, 100), (second, 200), (first, 300)):
        host.will(at)
        assert state(of(host.connected(at + 5), Publish)[0])["timestamp"] == at


# ---------------------------------------------------------------- deaths


@rule(
    "operational-behavior-edge-node-termination-host-action-ndeath-node-offline",
    "operational-behavior-edge-node-termination-host-action-ndeath-node-tags-stale",
    "operational-behavior-edge-node-termination-host-action-ndeath-devices-offline",
    "operational-behavior-edge-node-termination-host-action-ndeath-devices-tags-stale",
)
def a_node_death_makes_all_stale_at_our_time() -> None:
    world = World()
    world.born()
    steps = world.host.message(world.edge_will.topic, world.edge_will.payload, 4444)
    assert steps == [NodeDeath(KEY, 4444, "the node says, or its will")]
    assert not world.node.online
    assert world.node.devices == {"meter": False}


@rule(
    "operational-behavior-edge-node-termination-host-action-ddeath-devices-offline",
    "operational-behavior-edge-node-termination-host-action-ddeath-devices-tags-stale",
)
def a_device_death_makes_it_stale_at_the_time_of_the_message() -> None:
    world = World()
    world.born()
    steps = world.hand(world.edge.device("meter", present=False, now_ms=3333), 9999)
    assert steps == [DeviceDeath(KEY, "meter", 3333)]
    assert world.node.online


# ---------------------------------------------------------------- order


@rule("operational-behavior-host-reordering-param", "operational-behavior-host-reordering-start")
def a_gap_waits_as_long_as_configured() -> None:
    world = World(reorder_ms=700)
    world.born()
    world.change(1.0)
    assert world.hand(world.change(2.0), 3000) == []
    assert world.host.tick(3699) == []
    assert rebirths(world.host.tick(3700))


@rule(
    "operational-behavior-host-reordering-rebirth",
    "operational-behavior-data-commands-ncmd-rebirth-verb",
    "operational-behavior-data-commands-ncmd-rebirth-name",
    "operational-behavior-data-commands-ncmd-rebirth-value",
    "topics-ncmd-mqtt",
    "payloads-ncmd-qos",
    "payloads-ncmd-retain",
    "payloads-ncmd-seq",
    "payloads-ncmd-timestamp",
    "topics-ncmd-timestamp",
)
def what_does_not_come_is_asked_for_by_rebirth() -> None:
    world = World()
    world.born()
    world.change(1.0)
    world.hand(world.change(2.0), 3000)
    steps = world.host.tick(5000)
    assert [one.samples[0].value for one in of(steps, Data)] == [2.0]
    (ask,) = rebirths(steps)
    assert (ask.topic, ask.qos, ask.retain) == ("spBv1.0/G/NCMD/N", 0, False)
    content = decode_payload(ask.payload)
    assert (content.seq, content.timestamp) == (None, 5000)
    assert [(one.name, one.value) for one in content.metrics] == [(REBIRTH, True)]


@rule("operational-behavior-host-reordering-success")
def what_comes_late_is_put_in_its_place() -> None:
    world = World()
    world.born()
    first, second, third = (world.change(float(n)) for n in (1, 2, 3))
    assert world.hand([*third, *second], 3000) == []
    steps = world.hand(first, 3100)
    assert [one.samples[0].value for one in of(steps, Data)] == [1.0, 2.0, 3.0]
    assert world.host.tick(9000) == []


# ---------------------------------------------------------------- commands


@rule(
    "operational-behavior-data-commands-ncmd-verb",
    "operational-behavior-data-commands-dcmd-verb",
    "topics-dcmd-mqtt",
    "payloads-dcmd-qos",
    "payloads-dcmd-retain",
    "payloads-dcmd-seq",
    "payloads-dcmd-timestamp",
    "topics-dcmd-timestamp",
)
def commands_go_to_node_or_device() -> None:
    world = World()
    world.born()
    for device, name, value in (("", "setpoint", -5), ("meter", "valve", True)):
        metric = world.node.table.find(device, name)
        (step,) = world.host.write(KEY, device, [(metric, value)], 6000)
        assert isinstance(step, Publish)
        assert step.topic == ("spBv1.0/G/DCMD/N/meter" if device else "spBv1.0/G/NCMD/N")
        assert (step.qos, step.retain) == (0, False)
        content = decode_payload(step.payload)
        assert (content.seq, content.timestamp) == (None, 6000)
        assert [(one.name, one.alias) for one in content.metrics] == [(None, metric.alias)]
        with pytest.raises(SparkplugError):
            world.host.write(KEY, device, [(metric, "text")], 6000)


async def session(version: str) -> list[Packet]:
    return await packets_of(version, Host(HostConfig("H")), lambda host: host.stop(2000))


@pytest.mark.parametrize("assertion", sorted(rule.checks))
async def test_host_rule(assertion: str) -> None:
    result = rule.checks[assertion]()
    if result is not None:
        await result


# ---------------------------------------------------------------- beyond the assertions: what goes wrong in plants


def test_host_when_data_come_before_the_birth_then_rebirth_is_asked_for_and_limited() -> None:
    world = World(reorder_ms=100, rebirth_ms=1000)
    world.edge.connected(1000)
    asked = 0
    for at in range(2000, 12_000, 50):
        asked += len(rebirths([*world.hand(world.change(float(at)), at), *world.host.tick(at)]))
    assert asked == 4  # at 2.1, 3.1, 5.1 and 9.1 s


def test_host_when_data_name_what_no_birth_declared_then_the_rest_is_taken_and_rebirth_asked_for() -> None:
    world = World()
    world.born()
    known = world.node.table.find("", "level").alias
    metrics = [Metric(None, alias, 2500, kind=Kind.DOUBLE, value=5.0) for alias in (known, 777)]
    payload = encode_payload(Payload(2500, metrics, 2))
    steps = world.host.message("spBv1.0/G/NDATA/N", payload, 2600)
    assert [one.samples[0].value for one in of(steps, Data)] == [5.0]
    assert rebirths(steps)


def test_host_when_a_will_overtakes_the_birth_of_its_session_then_nothing_is_revived() -> None:
    world = World(reorder_ms=500)
    birth = world.edge.connected(1500)
    assert world.host.message(world.edge_will.topic, world.edge_will.payload, 2000) == []
    steps = world.hand(birth, 2100)
    assert not of(steps, NodeBirth)
    assert rebirths(steps)
    assert not world.node.online
    alive = world.hand(world.edge.message("spBv1.0/G/NCMD/N", rebirths(steps)[0].payload, 3000), 3000)
    assert of(alive, NodeBirth), "only a living node answers"


def test_host_when_a_will_overtakes_a_rebirth_then_the_dead_stays_dead() -> None:
    world = World(reorder_ms=500)
    world.born(2000)
    late = world.edge.message("spBv1.0/G/NCMD/N", rebirths([*world.host.rebirth(KEY, 9000)])[0].payload, 9000)
    world.host.message(world.edge_will.topic, world.edge_will.payload, 9100)
    assert not of(world.hand(late, 9200), NodeBirth)
    assert not world.node.online


def test_host_when_a_node_restarts_with_the_same_bdseq_then_it_lives() -> None:
    world = World(reorder_ms=500)
    world.born(2000)
    world.host.message(world.edge_will.topic, world.edge_will.payload, 3000)
    other = EdgeNode(EdgeConfig(*KEY), space())
    other.will()
    assert of(world.hand(other.connected(60_000), 60_000), NodeBirth)


def test_host_when_a_death_is_of_an_earlier_session_then_it_does_not_count() -> None:
    world = World()
    world.born()
    world.edge.disconnected()
    world.edge.will()
    world.hand(world.edge.connected(5000), 5000)
    assert world.host.message(world.edge_will.topic, world.edge_will.payload, 6000) == []
    assert world.node.online


def test_host_when_a_device_birth_overtakes_the_node_birth_then_both_are_taken() -> None:
    world = World()
    node_birth, device_birth = [one for one in world.edge.connected(2000) if isinstance(one, Publish)]
    assert world.hand([device_birth], 2000) == []
    steps = world.hand([node_birth], 2010)
    assert [type(one) for one in steps if not isinstance(one, Data)] == [NodeBirth, DeviceBirth]
    assert world.host.tick(60_000) == []


def test_host_when_data_of_before_the_birth_come_late_then_they_are_dropped() -> None:
    world = World()
    world.born(2000)
    late = world.change(66.0, 2500)
    world.hand(
        world.edge.message("spBv1.0/G/NCMD/N", rebirths(world.host.rebirth(KEY, 8000))[0].payload, 8000), 8000
    )
    assert world.hand(late, 8001) == []
    assert [one.samples[0].value for one in of(world.hand(world.change(67.0, 8100), 8100), Data)] == [67.0]


def test_host_when_the_clock_of_a_node_is_set_back_then_its_data_go_on() -> None:
    world = World(reorder_ms=500)
    world.born(1_000_000)
    steps = world.hand(world.change(5.0, 500_000), 1_010_000)
    assert [one.samples[0].value for one in of(steps, Data)] == [5.0]


def test_host_when_our_clock_steps_then_timers_end_rather_than_hang() -> None:
    world = World(reorder_ms=500)
    world.born(1_000_000)
    world.change(1.0, 1_000_050)
    world.hand(world.change(2.0, 1_000_100), 1_000_100)
    assert rebirths(world.host.tick(10))


def test_host_when_two_nodes_use_one_name_then_it_is_told() -> None:
    world = World()
    told: list[Any] = []
    edges = [EdgeNode(EdgeConfig(*KEY), space(), bdseq=first) for first in (0, 100)]
    for at in range(2000, 12_000, 1000):
        edge = edges[at // 1000 % 2]
        edge.disconnected()
        edge.will()
        told += [
            one for one in world.hand(edge.connected(at), at) if "two edge nodes" in getattr(one, "text", "")
        ]
    assert told


def test_host_when_bytes_are_no_payload_then_told_once_and_nothing_changes() -> None:
    world = World()
    world.born()
    told = []
    for topic in ("NBIRTH/N", "NDATA/N", "NDEATH/N", "DBIRTH/N/x", "DDATA/N/meter"):
        for junk in (b"\xff\xff", b"\x12\x05"):
            told += world.host.message(f"spBv1.0/G/{topic}", junk, 2000)
    assert len(told) == 1
    assert world.node.online


@pytest.mark.parametrize(
    "topic",
    [
        *(
            "",
            "/",
            "spBv1.0",
            "spBv1.0/G/NBIRTH",
            "spBv1.0/G/NBIRTH/N/D",
            "spBv1.0/G/DBIRTH/N",
            "spBv1.0/G/WHAT/N",
        ),
        *("spBv1.0//NBIRTH/N", "spAv1.0/G/NBIRTH/N", "spBv1.0/G/NBIRTH/N/D/E"),
    ],
)
def test_host_when_a_topic_is_none_of_sparkplug_then_ignored(topic: str) -> None:
    world = World()
    assert world.host.message(topic, b"", 2000) == []
    assert world.host.nodes == {}


def test_host_when_a_birth_has_an_alias_twice_then_it_is_refused() -> None:
    world = World()
    metrics = [Metric(name, 1, 5, DataType.DOUBLE, Kind.DOUBLE, 1.0) for name in ("a", "b")]
    steps = world.host.message("spBv1.0/G/NBIRTH/N", encode_payload(Payload(5, metrics, 0)), 2000)
    assert "alias 1" in steps[0].text  # type: ignore[union-attr]
    assert not world.host.nodes[KEY].online


def test_host_when_the_connection_is_lost_then_all_is_stale_and_born_again_after() -> None:
    world = World()
    world.born()
    assert [type(one) for one in world.host.disconnected(3000)] == [NodeDeath]
    world.host.will(4000)
    world.host.connected(4100)
    assert rebirths(world.host.tick(4200))
