"""An edge node and a host with a bad network between: whatever is lost, late or doubled, they agree in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.mqtt.sparkplug import DataType
from drivers.mqtt.sparkplug_edge import Disconnect, EdgeConfig, EdgeNode, Publish, Write
from drivers.mqtt.sparkplug_host import Data, DeviceDeath, Host, HostConfig, NodeBirth, NodeDeath
from drivers.mqtt.sparkplug_space import Item, Space

ITEMS = (
    Item("a", DataType.DOUBLE),
    Item("b", DataType.INT32, writable=True),
    Item("s.x", DataType.FLOAT, instance="s", template="S", member="x"),
    Item("d", DataType.DOUBLE, owner="dev"),
)
KEY = ("G", "N")
QUIET_MS = 40_000


class Network:
    """Messages wait here; the fates say what becomes of each: delivered, lost, delivered later."""

    def __init__(self, fates: list[str]) -> None:
        self.now = 1_000_000
        self.fates = iter(fates)
        self.late: list[tuple[str, bytes]] = []
        self.values: dict[tuple[str, str], Any] = {}
        self.host = Host(HostConfig("H", reorder_ms=500, rebirth_ms=1000))
        self.edge = EdgeNode(EdgeConfig(*KEY), Space(ITEMS, (), ("dev",)))
        for row in range(len(ITEMS)):
            self.edge.space.set(row, 0, self.now, 192)
        self.host.will(self.now)
        self.host.connected(self.now)

    def connect(self) -> None:
        self.edge.will()
        self.from_edge(self.edge.connected(self.now))

    def from_edge(self, actions: Any) -> None:
        for one in actions:
            if isinstance(one, Publish):
                fate = next(self.fates, "deliver")
                if fate == "late":
                    self.late.append((one.topic, one.payload))
                elif fate == "deliver":
                    self.deliver(one.topic, one.payload)
                    self.flush()
            assert not isinstance(one, Disconnect)

    def flush(self) -> None:
        late, self.late = self.late, []
        for topic, payload in late:
            self.deliver(topic, payload)

    def deliver(self, topic: str, payload: bytes) -> None:
        self.from_host(self.host.message(topic, payload, self.now))

    def from_host(self, steps: Any) -> None:
        for one in steps:
            if isinstance(one, Publish) and "CMD" in one.topic:
                self.from_edge(self.edge.message(one.topic, one.payload, self.now))
            elif isinstance(one, Data) and not one.historical:
                for sample in one.samples:
                    self.values[sample.metric.device, sample.metric.name] = sample.value
            elif isinstance(one, NodeBirth | NodeDeath | DeviceDeath):
                pass

    def pass_time(self, ms: int) -> None:
        for _ in range(ms // 250):
            self.now += 250
            self.from_edge(self.edge.tick(self.now))
            self.from_host(self.host.tick(self.now))


fates = st.lists(st.sampled_from(["deliver", "deliver", "deliver", "lost", "late"]), max_size=60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 3), st.integers(-1000, 1000)),
        st.tuples(st.just("wait"), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("device"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("reconnect"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=120, deadline=None)
@given(fates, steps)
def test_host_and_node_when_the_network_loses_and_reorders_then_they_agree_in_the_end(
    what: list[str], course: list[tuple[str, int, int]]
) -> None:
    net = Network(what)
    net.connect()
    for kind, index, value in course:
        net.now += 10
        if kind == "set":
            net.edge.space.set(index, value, net.now, 192)
            net.from_edge(net.edge.changed([index], net.now))
        elif kind == "wait":
            net.pass_time(250 * index)
        elif kind == "device":
            net.from_edge(net.edge.device("dev", present=bool(index), now_ms=net.now))
        else:
            net.edge.disconnected()
            net.connect()
    net.fates = iter(())
    net.from_edge(net.edge.device("dev", present=True, now_ms=net.now))
    # One more change after the storm, as every living node has: it shows what is missing.
    for _ in range(3):
        net.now += 10
        net.edge.space.set(0, 4711, net.now, 192)
        net.from_edge(net.edge.changed([0], net.now))
        net.pass_time(QUIET_MS)
    assert net.host.nodes[KEY].online
    wanted = {("", "a"): 4711, ("", "b"): net.edge.space.values[1], ("", "s/x"): net.edge.space.values[2],
              ("dev", "d"): net.edge.space.values[3]}  # fmt: skip
    assert {key: net.values.get(key) for key in wanted} == wanted


topics = st.sampled_from(
    ["spBv1.0/G/NBIRTH/N", "spBv1.0/G/NDATA/N", "spBv1.0/G/NDEATH/N", "spBv1.0/G/DBIRTH/N/dev", "spBv1.0/G/DDATA/N/dev",
     "spBv1.0/G/DDEATH/N/dev", "spBv1.0/G/NCMD/N", "spBv1.0/G/DCMD/N/dev", "spBv1.0/STATE/H", "x"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(topics, st.binary(max_size=40)), max_size=15))
def test_host_and_node_when_any_bytes_come_on_any_topic_then_both_go_on(
    messages: list[tuple[str, bytes]],
) -> None:
    net = Network([])
    net.connect()
    for topic, payload in messages:
        net.now += 10
        net.host.message(topic, payload, net.now)
        actions = net.edge.message(topic, payload, net.now)
        assert not any(isinstance(one, Write) for one in actions)
    net.pass_time(1000)
    net.edge.space.set(0, 1, net.now, 192)
    net.from_edge(net.edge.changed([0], net.now))
    net.pass_time(QUIET_MS)
    net.edge.space.set(0, 2, net.now, 192)
    net.from_edge(net.edge.changed([0], net.now))
    net.pass_time(QUIET_MS)
    assert net.values["", "a"] == 2
