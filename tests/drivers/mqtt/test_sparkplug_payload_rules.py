"""The assertions about names and payloads; and that every assertion is shown, or has a reason why it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt.edge_config import parse_sparkplug
from drivers.mqtt.sparkplug import (
    DataSet,
    DataType,
    Kind,
    Metric,
    Parameter,
    Payload,
    SparkplugError,
    Template,
    id_fault,
)
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_host import Host, HostConfig, NodeBirth
from scan.problem import TickworkError
from tests.drivers.mqtt import test_sparkplug_edge_rules as edge_rules
from tests.drivers.mqtt import test_sparkplug_host_rules as host_rules
from tests.drivers.mqtt.rules import Rules

rule = Rules()

SERVER = "an assertion about MQTT servers; there is none of ours"
PEOPLE = (
    "ids are given by people; a host tells when two nodes use one (test_host_when_two_nodes_use_one_name…)"
)
NOT_SHOWN = {
    **dict.fromkeys(
        (
            "conformance-mqtt-aware-basic",
            "conformance-mqtt-aware-dbirth-mqtt-retain",
            "conformance-mqtt-aware-dbirth-mqtt-topic",
            "conformance-mqtt-aware-nbirth-mqtt-retain",
            "conformance-mqtt-aware-nbirth-mqtt-topic",
            "conformance-mqtt-aware-ndeath-timestamp",
            "conformance-mqtt-aware-store",
            "conformance-mqtt-qos0",
            "conformance-mqtt-qos1",
            "conformance-mqtt-retained",
            "conformance-mqtt-will-messages",
        ),
        SERVER,
    ),
    **dict.fromkeys(
        (
            "case-sensitivity-sparkplug-ids",
            "intro-edge-node-id-uniqueness",
            "operational-behavior-host-application-host-id",
            "payloads-nbirth-edge-node-descriptor",
            "topic-structure-namespace-unique-edge-node-descriptor",
        ),
        PEOPLE,
    ),
    "case-sensitivity-metric-names": "names of IEC 61131-3 never differ in case alone (§6.1.2)",
}


def section(**more: Any) -> Any:
    return parse_sparkplug({"brokers": ["127.0.0.1"], "group": "G"} | more)


@rule(
    "intro-group-id-chars",
    "intro-edge-node-id-chars",
    "intro-device-id-chars",
    "topic-structure-namespace-valid-group-id",
    "topic-structure-namespace-valid-edge-node-id",
    "topic-structure-namespace-valid-device-id",
)
def ids_have_no_signs_of_topics() -> None:
    for text in ("a+b", "a/b", "a#", "", "\0", "x" * 300, "\ud800"):
        assert id_fault(text)
    for text in ("Hall 7", "α", "a.b-c_d"):
        assert not id_fault(text)
        assert section(group=text, node=text).group == text
    for key in ("group", "node", "primary_host"):
        with pytest.raises(TickworkError) as raised:
            section(**{key: "a/b"})
        assert raised.value.code == "MQ1004"


@rule(
    "topic-structure-namespace-unique-device-id",
    "topic-structure-namespace-duplicate-device-id-across-edge-node",
)
def device_ids_are_of_their_node() -> None:
    host = Host(HostConfig("H"))
    host.will(0)
    host.connected(0)
    for node in ("A", "B"):
        host.message(f"spBv1.0/G/NBIRTH/{node}", encode_payload(Payload(5, [], 0)), 5)
        host.message(f"spBv1.0/G/DBIRTH/{node}/same", encode_payload(Payload(5, [], 1)), 5)
    assert [node.devices for node in host.nodes.values()] == [{"same": True}, {"same": True}]


@rule(
    "payloads-dataset-column-size",
    "payloads-dataset-column-num-headers",
    "payloads-dataset-types-def",
    "payloads-dataset-types-num",
    "payloads-dataset-types-type",
    "payloads-dataset-types-value",
    "payloads-dataset-parameter-type-req",
    "payloads-template-dataset-value",
)
def a_data_set_has_as_many_types_as_columns() -> None:
    rows: list[tuple[tuple[int, object], ...]] = [
        ((int(Kind.INT), 1), (int(Kind.STRING), "a")),
        ((0, None), (int(Kind.DOUBLE), 2.5)),
    ]
    good = DataSet(["n", "t"], [int(DataType.INT32), int(DataType.STRING)], rows)
    metric = Metric("d", None, 5, int(DataType.DATASET), int(Kind.DATASET), good)
    assert decode_payload(encode_payload(Payload(5, [metric]))).metrics[0].value == good
    for bad in (
        DataSet(["n"], [], []),
        DataSet([], [3], []),
        DataSet(["n"], [3], [()]),
        DataSet(["n", "m"], [3], []),
    ):
        metric.value = bad
        with pytest.raises(SparkplugError):
            decode_payload(encode_payload(Payload(5, [metric])))


@rule(
    "payloads-template-definition-parameters",
    "payloads-template-definition-parameters-default",
    "payloads-template-instance-parameters",
    "payloads-template-parameter-name-required",
    "payloads-template-parameter-name-type",
    "payloads-template-parameter-type-req",
    "payloads-template-parameter-type-value",
    "payloads-template-parameter-value",
    "payloads-template-parameter-value-type",
    "payloads-template-version",
)
def parameters_and_versions_of_foreign_templates_are_read() -> None:
    """Ours have neither: a structure of IEC 61131-3 has no parameters."""
    parameters = [
        Parameter("size", int(DataType.INT32), int(Kind.INT), 4),
        Parameter("name", int(DataType.STRING), int(Kind.STRING), "x"),
    ]
    member = Metric("m", None, 5, int(DataType.DOUBLE), int(Kind.DOUBLE), 1.5)
    host = Host(HostConfig("H"))
    host.will(0)
    host.connected(0)
    metrics = [
        Metric(
            name,
            None,
            5,
            int(DataType.TEMPLATE),
            int(Kind.TEMPLATE),
            Template("v1", [member], parameters, ref, ref is None),
        )
        for name, ref in (("T", None), ("t", "T"))
    ]
    payload = encode_payload(Payload(5, metrics, 0))
    assert decode_payload(payload).metrics == metrics
    birth = host.message("spBv1.0/G/NBIRTH/N", payload, 5)[0]
    assert isinstance(birth, NodeBirth)
    assert [one.name for one in birth.metrics] == ["t", "t/m"]


@pytest.mark.parametrize("assertion", sorted(rule.checks))
def test_payload_rule(assertion: str) -> None:
    rule.checks[assertion]()


def test_assertions_when_counted_then_each_is_shown_or_has_a_reason() -> None:
    every = set((Path(__file__).parent / "sparkplug_assertions.txt").read_text().split())
    shown = [set(one.checks) for one in (rule, edge_rules.rule, host_rules.rule)]
    assert sum(map(len, shown)) == len(set().union(*shown)), "one assertion is shown in two files"
    assert set().union(*shown) | set(NOT_SHOWN) == every
    assert not set().union(*shown) & set(NOT_SHOWN)
    assert len(every) == 299
