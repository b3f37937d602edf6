"""History: what is kept, what of it is read, and what aggregates make of it."""

import datetime
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua.browsing import Points
from drivers.opcua.certificates import CertificateFiles
from drivers.opcua.companion import Companion
from drivers.opcua.history import AGGREGATES, History, aggregate
from drivers.opcua.history_buffer import HistoryBuffer, Past
from drivers.opcua.program_types import ProgramTypes
from drivers.opcua.tags import Tags
from drivers.opcua.tree import Tree
from scan import NodeState
from scan.abi import IecType, Symbol
from tests.drivers.opcua.conftest import Bench, connected
from tests.drivers.opcua.fake_node import MS, FakeNode

Start = Callable[..., AbstractAsyncContextManager[Bench]]
PLANT = (
    "PROGRAM Main VAR level : REAL; count : INT; big : ULINT; on : BOOL; text : STRING; END_VAR END_PROGRAM"
)
SECOND = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND
_codes = ua.StatusCodes


class Bound:
    """Buffer and history over a fake node, sample by sample."""

    def __init__(self, size: int = 1 << 20) -> None:
        self.node = FakeNode(PLANT)
        self.tags = Tags(self.node, 2)  # type: ignore[arg-type]
        self.buffer = HistoryBuffer(("Main.*",), size)
        self.bind()
        self.history = History(self.tags, self.buffer)
        self.points = Points()

    def bind(self) -> None:
        tree = Tree(self.node.application.symbols, self.node.application.aggregates)
        self.tags.bind(tree, ProgramTypes(tree, Companion(3, 4), 2), self.node.generation)
        self.buffer.bind(self.tags)

    def sample(self, second: float, **values: object) -> None:
        for name, value in values.items():
            self.node.set(f"Main.{name}", value)
        self.node.wall_ns = BEGIN_NS + int(second * SECOND) - MS
        self.buffer.sample(self.tags)

    def raw(
        self, name: str, start: float | None, end: float | None, count: int = 0, **more: object
    ) -> list[ua.HistoryReadResult]:
        details = ua.ReadRawModifiedDetails(IsReadModified=False, NumValuesPerNode=count, ReturnBounds=False)
        details.StartTime, details.EndTime = moment(start), moment(end)
        for key, value in more.items():
            setattr(details, key, value)
        found, point = [], None
        while True:
            node = ua.HistoryReadValueId(NodeId=ua.NodeId(f"Main.{name}", 2), ContinuationPoint=point)
            params = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Source, False, [node])
            (result,) = self.history.read(params, self.points)
            found.append(result)
            point = result.ContinuationPoint
            if not point:
                return found

    def values(
        self, name: str, start: float | None, end: float | None, count: int = 0, **more: object
    ) -> list[object]:
        pages = self.raw(name, start, end, count, **more)
        return [one.Value.Value for page in pages for one in page.HistoryData.DataValues]


def moment(second: float | None) -> datetime.datetime:
    if second is None:
        return datetime.datetime(1601, 1, 1, tzinfo=datetime.UTC)
    return datetime.datetime.fromtimestamp(BEGIN_NS / SECOND + second, datetime.UTC)


def test_raw_when_read_then_are_the_changes_in_the_order_asked_for() -> None:
    bound = Bound()
    for second, value in enumerate((1, 2, 2, 4, 5)):
        bound.sample(second, count=value, level=value / 2, on=value > 2, big=2**64 - value)
    assert bound.values("count", 0, 10) == [1, 2, 4, 5]
    assert bound.values("count", 1, 4) == [2, 4], "the end is excluded"
    assert bound.values("count", 4, 1) == [5, 4], "backward, and again without the end"
    assert bound.values("count", None, 3, 2) == [4, 2]
    assert bound.values("count", 1, None, 2) == [2, 4]
    assert bound.values("level", 0, 10, ReturnBounds=True) == [0.5, 1.0, 2.0, 2.5]
    assert bound.values("on", 0, 10) == [False, True]
    assert bound.values("big", 0, 2) == [2**64 - 1, 2**64 - 2]
    pages = bound.raw("count", 0, 10, 3)
    assert [len(page.HistoryData.DataValues) for page in pages] == [3, 1]
    pages = bound.raw("count", 10, 0, 1)
    assert [page.HistoryData.DataValues[0].Value.Value for page in pages] == [5, 4, 2]
    assert bound.raw("count", 100, 200)[0].StatusCode.value == _codes.GoodNoData
    assert bound.raw("count", 0, None)[0].StatusCode.value == _codes.BadHistoryOperationInvalid
    assert bound.raw("text", 0, 1)[0].StatusCode.value == _codes.BadHistoryOperationUnsupported
    assert bound.raw("no", 0, 1)[0].StatusCode.value == _codes.BadNodeIdUnknown


def test_past_when_the_program_changes_or_stops_then_goes_on_with_its_status() -> None:
    bound = Bound()
    bound.sample(0, count=1)
    bound.node.load("PROGRAM Main VAR more, count : INT; level : DINT; END_VAR END_PROGRAM")
    bound.bind()
    bound.sample(1, count=1)
    bound.node.state = NodeState.STOPPED
    bound.sample(2)
    (page,) = bound.raw("count", 0, 10)
    seen = [(one.Value.Value, one.StatusCode.value) for one in page.HistoryData.DataValues]
    assert seen == [(1, 0), (1, 0), (1, _codes.UncertainLastUsableValue)]
    assert bound.values("level", 0, 10) == [0, 0], "of the type that it has now"


def test_buffer_when_full_then_keeps_the_newest() -> None:
    bound = Bound(size=0)
    for second in range(2000):
        bound.sample(second, count=second)
    kept = bound.values("count", 0, 5000)
    assert kept[-1] == 1999
    assert 900 < len(kept) <= 1000
    assert kept == sorted(kept)  # type: ignore[type-var]


def past(rows: list[tuple[int, float]]) -> Past:
    symbol = Symbol("P.x", IecType.LREAL, 64, 8)
    times = np.array([time for time, _ in rows], np.int64)
    raw = np.array([value for _, value in rows], np.float64).view(np.uint64)
    return Past(symbol, times, raw, np.zeros(len(rows), np.uint32), np.arange(len(rows)))


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(-100, 100)), max_size=12, unique_by=lambda row: row[0]
    ),
    st.integers(0, 40),
    st.integers(1, 20),
)
def test_aggregates_when_calculated_then_are_those_of_a_plain_model(
    rows: list[tuple[int, int]], first: int, length: int
) -> None:
    rows.sort()
    whole = past([(time, float(value)) for time, value in rows])
    inside = [value for time, value in rows if first <= time < first + length]
    found = {name: aggregate(whole, name, first, first + length) for name in AGGREGATES.values()}
    assert found["count"].Value.Value == len(inside)
    if inside:
        assert found["average"].Value.Value == pytest.approx(sum(inside) / len(inside))
        assert found["minimum"].Value.Value == min(inside)
        assert found["maximum"].Value.Value == max(inside)
    else:
        assert found["average"].StatusCode.value == _codes.BadNoData
    # What stood at each unit of time, one by one.
    standing = [
        next((value for time, value in reversed(rows) if time <= at), None)
        for at in range(first, first + length)
    ]
    known = [value for value in standing if value is not None]
    if known:
        assert found["time average"].Value.Value == pytest.approx(sum(known) / len(known))
    else:
        assert found["time average"].StatusCode.value == _codes.BadNoData


async def test_history_when_read_by_a_client_then_is_what_was_and_its_aggregates(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    node = FakeNode(PLANT)
    async with (
        start(node, history=("Main.count",), history_ms=50) as bench,
        connected(bench, identities["known"]) as client,
    ):
        index = await client.get_namespace_index("urn:tickwork:water")
        count = client.get_node(ua.NodeId("Main.count", index))
        level = (await count.read_attribute(ua.AttributeIds.AccessLevel)).Value.Value
        assert level & ua.AccessLevel.HistoryRead.mask
        assert (await count.read_attribute(ua.AttributeIds.Historizing)).Value.Value is True
        begin = moment(-3600)
        values: list[int] = []
        for wanted in (3, 5):
            node.set("Main.count", wanted)
            while not values or values[-1] != wanted:
                found = await count.read_raw_history(begin, moment(3600))
                values = [one.Value.Value for one in found]
        assert values[-2:] == [3, 5]
        details = ua.ReadProcessedDetails(begin, moment(3600), 0.0, [ua.NodeId(2347), ua.NodeId(11)])
        details.AggregateType = [ua.NodeId(ua.ObjectIds.AggregateFunction_Maximum), ua.NodeId(11)]
        read = ua.HistoryReadValueId(NodeId=count.nodeid)
        params = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Both, False, [read, read])
        most, unknown = await client.uaclient.history_read(params)
        assert unknown.StatusCode.value == _codes.BadAggregateNotSupported
        (value,) = most.HistoryData.DataValues
        assert value.Value.Value == 5
        details = ua.ReadRawModifiedDetails(True, begin, moment(3600), 0, False)
        params = ua.HistoryReadParameters(details, ua.TimestampsToReturn.Both, False, [read])
        with pytest.raises(ua.uaerrors.BadHistoryOperationUnsupported):
            await client.uaclient.history_read(params)
