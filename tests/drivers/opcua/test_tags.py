"""Qualities of variables and the health of the node, as clients are told them."""

from dataclasses import dataclass

import numpy as np
from asyncua import ua

from drivers.opcua.companion import Companion
from drivers.opcua.program_types import ProgramTypes
from drivers.opcua.server_state import DEVICE_LOST, HEALTHY, OVERRUNS, STOPPED, Health
from drivers.opcua.tags import Tags
from drivers.opcua.tree import Tree
from scan import Inputs, NodeState
from scan import quality as q
from scan.abi import Symbol
from scan.field_io import HEARTBEAT_TIMEOUT_NS
from tests.drivers.opcua.fake_node import FakeNode

PLANT = """
TYPE ST_Pair : STRUCT a : INT; b : INT; END_STRUCT; END_TYPE
PROGRAM Main VAR level : INT; pair : ST_Pair; END_VAR END_PROGRAM
"""


class FedNode(FakeNode):
    """A node whose variables ``level`` and ``pair.b`` come from channels."""

    channels = np.array([q.GOOD, q.GOOD], np.uint16)
    age_ns = 0

    def inputs(self) -> Inputs:  # type: ignore[override]
        return Inputs(np.zeros(0, np.uint8), self.channels, np.zeros(2, np.int64), self.age_ns, 1)

    def channel_of(self, symbol: Symbol) -> int:
        return {"Main.level": 0, "Main.pair.b": 1}.get(symbol.path, -1)


def tags_of(node: FakeNode) -> Tags:
    tags = Tags(node, 2)  # type: ignore[arg-type]
    tree = Tree(node.application.symbols, node.application.aggregates)
    tags.bind(tree, ProgramTypes(tree, Companion(3, 4), 2), node.generation)
    return tags


def status(tags: Tags, path: str) -> int:
    tags.take_snapshot()
    value = tags.read(ua.NodeId(path, 2))
    assert value is not None
    assert (value.Value.Value is None) == (value.StatusCode.value >= 0x8000_0000)
    return int(value.StatusCode.value)


def test_status_when_the_field_or_the_scan_is_away_then_says_which() -> None:
    node = FedNode(PLANT)
    tags = tags_of(node)
    assert status(tags, "Main.level") == 0
    node.channels = np.array([q.BAD_WAITING_FOR_INITIAL_DATA, q.BAD_NO_COMMUNICATION], np.uint16)
    assert status(tags, "Main.level") == ua.StatusCodes.BadWaitingForInitialData
    assert status(tags, "Main.pair") == ua.StatusCodes.BadNoCommunication, "the worst of its members"
    node.channels, node.age_ns = np.array([0, 0], np.uint16), HEARTBEAT_TIMEOUT_NS + 1
    assert status(tags, "Main.level") == ua.StatusCodes.BadNoCommunication
    node.age_ns, node.state = 0, NodeState.FAULT
    assert status(tags, "Main.pair.a") == ua.StatusCodes.UncertainLastUsableValue
    level = node.symbol("Main.level")
    node.forced = frozenset({(level.offset, 0)})
    assert status(tags, "Main.level") == ua.StatusCodes.GoodLocalOverride
    tags.away = True
    assert status(tags, "Main.pair.a") == ua.StatusCodes.BadOutOfService


@dataclass
class Device:
    name: str
    online: bool


def test_service_level_when_the_node_has_troubles_then_is_that_of_the_worst() -> None:
    node, health = FakeNode(PLANT), Health()
    devices = [Device("a", True), Device("b", False)]
    assert health.level(node, devices[:1], 0.0) == HEALTHY  # type: ignore[arg-type]
    assert health.level(node, devices, 1.0) == DEVICE_LOST  # type: ignore[arg-type]
    node.overruns = 1
    assert health.level(node, devices, 2.0) == OVERRUNS  # type: ignore[arg-type]
    assert health.level(node, devices[:1], 61.0) == OVERRUNS  # type: ignore[arg-type]
    assert health.level(node, devices[:1], 63.0) == HEALTHY  # type: ignore[arg-type]
    node.state = NodeState.STOPPED
    assert health.level(node, [], 64.0) == STOPPED  # type: ignore[arg-type]
    node.state, node.alive = NodeState.RUNNING, False
    assert health.level(node, [], 65.0) == STOPPED  # type: ignore[arg-type]
