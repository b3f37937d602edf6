"""Structured values from foreign bytes: either every variable gets a value of its type, or none does."""

from typing import Any

from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.events import Filter, make
from drivers.opcua.structures import encode, from_variant
from drivers.opcua.tree import Tree
from scan.values import encode_value
from tests.drivers.opcua.fake_node import FakeNode
from tests.drivers.opcua.test_space import PLANT

NODE = FakeNode(PLANT)
TREE = Tree(NODE.application.symbols, NODE.application.aggregates)
LINE = TREE.branches["Main.line"]
ENCODING = ua.NodeId("/Types/ST_Line/Binary", 2)


def extension(body: bytes) -> ua.Variant:
    return ua.Variant(ua.ExtensionObject(TypeId=ENCODING, Body=body), ua.VariantType.ExtensionObject)


@given(st.binary(max_size=200))
def test_bytes_when_they_are_any_then_are_refused_or_give_each_variable_a_value(body: bytes) -> None:
    found, status = from_variant(LINE, extension(body), ENCODING)
    if status == ua.StatusCodes.Good:
        assert set(found) == set(LINE.leaves())
        for symbol, value in found.items():
            encode_value(symbol, value)
    else:
        assert found == {}


@given(st.integers(0, 200), st.binary(max_size=3))
def test_bytes_when_cut_or_longer_then_are_refused(end: int, more: bytes) -> None:
    whole = encode(NODE.block, LINE)
    damaged = whole[:end] + more
    found, status = from_variant(LINE, extension(damaged), ENCODING)
    assert (status == ua.StatusCodes.Good) == (len(damaged) == len(whole) and bool(found))
    other = ua.Variant(ua.ExtensionObject(TypeId=ua.NodeId(1, 2), Body=whole), ua.VariantType.ExtensionObject)
    assert from_variant(LINE, other, ENCODING) == ({}, ua.StatusCodes.BadTypeMismatch)


def operand(draw: Any) -> Any:
    kind = draw(st.sampled_from(["literal", "element", "field", "odd"]))
    if kind == "literal":
        value = draw(st.one_of(st.integers(-5, 5), st.text(max_size=3), st.booleans()))
        return ua.LiteralOperand(Value=ua.Variant(value))
    if kind == "element":
        return ua.ElementOperand(Index=draw(st.integers(0, 6)))
    if kind == "odd":
        return ua.AttributeOperand()
    one = ua.SimpleAttributeOperand()
    one.TypeDefinitionId = ua.NodeId(ua.ObjectIds.BaseEventType)
    one.AttributeId = ua.AttributeIds.Value
    one.BrowsePath = [ua.QualifiedName(draw(st.sampled_from(["Severity", "Message", "No"])))]
    return one


@given(st.data())
def test_where_clause_when_it_is_any_then_is_refused_or_says_yes_or_no(data: st.DataObject) -> None:
    wanted = ua.EventFilter()
    wanted.SelectClauses = [ua.SimpleAttributeOperand()]
    for _ in range(data.draw(st.integers(1, 5))):
        element = ua.ContentFilterElement()
        element.FilterOperator = data.draw(st.sampled_from(list(ua.FilterOperator)))
        element.FilterOperands = [operand(data.draw) for _ in range(data.draw(st.integers(0, 4)))]
        wanted.WhereClause.Elements.append(element)
    try:
        checked = Filter(wanted, lambda one, other: one == other)
    except ValueError as error:
        assert error.args[0] & 0x8000_0000
        return
    event = make(ua.NodeId(ua.ObjectIds.BaseEventType), "x", severity=5, time_ns=0)
    assert checked.passes(event) in (True, False)
