"""Read, Write and Browse as the standard has them: parts of arrays, timestamps, rights, limits, continuation points."""

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from asyncua import Client, ua
from hypothesis import given
from hypothesis import strategies as st

from drivers.opcua import index_range, limits
from drivers.opcua.certificates import CertificateFiles
from scan import NodeState
from scan.abi import IecType, Symbol
from tests.drivers.opcua.conftest import Bench, connected
from tests.drivers.opcua.fake_node import FakeNode

Start = Callable[..., AbstractAsyncContextManager[Bench]]
_codes = ua.StatusCodes
PLANT = """
TYPE E_Mode : (Off, Manual, Auto); END_TYPE
PROGRAM Main
VAR
    {attribute 'access' := 'rw'} grid : ARRAY[5..6, 0..2] OF DINT := [1, 2, 3, 4, 5, 6];
    {attribute 'access' := 'rw'} row : ARRAY[0..9] OF INT;
    {attribute 'access' := 'rw'} {attribute 'low' := '0'} {attribute 'high' := '10'} level : REAL := 2.5;
    {attribute 'access' := 'rw'} {attribute 'write' := 'engineer'} limit : INT;
    {attribute 'access' := 'rw'} {attribute 'write' := 'nobody'} sealed : INT;
    {attribute 'access' := 'rw'} mode : E_Mode;
    {attribute 'access' := 'rw'} text : STRING[5] := 'hello';
    a, b, c : BOOL; d : LINT; e : TIME := T#-1500us; f : USINT; g : LREAL; h : DT; i : UDINT;
END_VAR
END_PROGRAM
"""


@pytest.fixture
def node() -> FakeNode:
    return FakeNode(PLANT)


async def index_of(client: Client) -> int:
    return int(await client.get_namespace_index("urn:tickwork:water"))


def item(node_id: ua.NodeId, part: str | None = None, attribute: int = 13) -> ua.ReadValueId:
    return ua.ReadValueId(NodeId=node_id, AttributeId=ua.AttributeIds(attribute), IndexRange=part)


async def read(
    client: Client, items: list[ua.ReadValueId], stamps: ua.TimestampsToReturn = ua.TimestampsToReturn.Both
) -> list[ua.DataValue]:
    params = ua.ReadParameters(NodesToRead=items, TimestampsToReturn=stamps)
    return list(await client.uaclient.read(params))


async def write(client: Client, node_id: ua.NodeId, variant: ua.Variant, part: str | None = None) -> int:
    value = ua.WriteValue(NodeId=node_id, AttributeId=ua.AttributeIds.Value, IndexRange=part)
    value.Value = ua.DataValue(variant)
    (code,) = await client.uaclient.write(ua.WriteParameters(NodesToWrite=[value]))
    return int(code.value)


async def test_read_when_parts_and_timestamps_are_asked_for_then_exactly_these_come(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode
) -> None:
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client)
        grid, level, text = (ua.NodeId(f"Main.{name}", own) for name in ("grid", "level", "text"))
        wanted = [
            item(grid, "1:1"),
            item(grid, "0:1,1:2"),
            item(grid, "1,0:9"),
            item(grid, "2,0"),
            item(grid, "x"),
        ]
        wanted += [
            item(level, "0"),
            item(text, "1:2"),
            item(ua.NodeId("Main.no", own)),
            item(level, None, 99 % 28),
        ]
        found = await read(client, wanted)
        codes = [value.StatusCode.value for value in found]
        assert codes[:3] == [_codes.BadIndexRangeInvalid, 0, 0]
        assert [value.Value.Value for value in found[1:3]] == [[[2, 3], [5, 6]], [[4, 5, 6]]]
        assert codes[3:6] == [
            _codes.BadIndexRangeNoData,
            _codes.BadIndexRangeInvalid,
            _codes.BadIndexRangeNoData,
        ]
        assert found[6].Value.Value == "el"
        assert codes[7] == _codes.BadNodeIdUnknown
        for stamps, source, server in (
            (ua.TimestampsToReturn.Source, True, False),
            (ua.TimestampsToReturn.Server, False, True),
            (ua.TimestampsToReturn.Both, True, True),
            (ua.TimestampsToReturn.Neither, False, False),
        ):
            (value,) = await read(client, [item(level)], stamps)
            assert (value.SourceTimestamp is not None, value.ServerTimestamp is not None) == (source, server)
        one, other = await read(client, [item(level), item(grid)])
        assert one.SourceTimestamp == other.SourceTimestamp


async def test_read_when_many_are_asked_for_then_the_packed_answer_is_that_of_the_general_way(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode
) -> None:
    for name, value in (
        ("b", True),
        ("d", -(2**60)),
        ("f", 200),
        ("g", 1e-9),
        ("h", 10**18),
        ("i", 2**32 - 1),
    ):
        node.set(f"Main.{name}", value)
    node.set("Main.mode", 2)
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client)
        names = [*"abcdefghi", "mode", "level", "limit"]
        ids = [ua.NodeId(f"Main.{name}", own) for name in names]
        for stamps in (ua.TimestampsToReturn.Both, ua.TimestampsToReturn.Neither):
            for _ in range(2):  # the second answer comes from the plan of the first
                packed = await read(client, [item(one) for one in ids], stamps)
                single = [(await read(client, [item(one)], stamps))[0] for one in ids]
                assert [(one.Value, one.StatusCode) for one in packed] == [
                    (one.Value, one.StatusCode) for one in single
                ]
                assert all((one.SourceTimestamp is None) == (stamps == 3) for one in packed)
        node.state = NodeState.STOPPED
        packed = await read(client, [item(one) for one in ids])
        assert {one.StatusCode.value for one in packed} == {_codes.UncertainLastUsableValue}


async def test_write_when_type_part_range_or_role_do_not_fit_then_nothing_reaches_the_scan(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode
) -> None:
    async with start(node) as bench:
        async with connected(bench, identities["known"]) as client:
            own = await index_of(client)
            kinds = ua.VariantType

            async def put(name: str, value: object, kind: ua.VariantType, part: str | None = None) -> int:
                return await write(client, ua.NodeId(f"Main.{name}", own), ua.Variant(value, kind), part)

            assert await put("level", 1, kinds.Int16) == _codes.BadTypeMismatch
            assert await put("level", 11.0, kinds.Float) == _codes.BadOutOfRange
            assert await put("level", [1.0], kinds.Float) == _codes.BadTypeMismatch
            assert await put("mode", 9, kinds.Int32) == _codes.BadOutOfRange
            assert await put("limit", 1, kinds.Int16) == _codes.BadUserAccessDenied
            assert await put("sealed", 1, kinds.Int16) == _codes.BadUserAccessDenied
            assert await put("a", True, kinds.Boolean) == _codes.BadNotWritable
            assert await put("no", 1, kinds.Int16) == _codes.BadNodeIdUnknown
            assert await put("row", [1, 2], kinds.Int16, "9:10") == _codes.BadIndexRangeNoData
            assert await put("row", [1, 2, 3], kinds.Int16, "1:2") == _codes.BadTypeMismatch
            assert await put("row", [1, 2], kinds.Int16, "2:1") == _codes.BadIndexRangeInvalid
            assert await put("text", "ab", kinds.String, "0:1") == _codes.BadWriteNotSupported
            assert bench.writes == []
            level = await client.get_node(ua.NodeId("Main.limit", own)).read_attribute(
                ua.AttributeIds.UserAccessLevel
            )
            assert level.Value.Value == ua.AccessLevel.CurrentRead.mask
            assert await put("row", [7, 8], kinds.Int16, "3:4") == _codes.Good
            assert await put("grid", [[20, 30], [50, 60]], kinds.Int32, "0:1,1:2") == _codes.Good
            (first, _), (second, _) = bench.writes
            for symbol, value in [*first.items(), *second.items()]:
                node.put(symbol, value)
            assert node.get("Main.row") == [0, 0, 0, 7, 8, 0, 0, 0, 0, 0]
            assert node.get("Main.grid") == [1, 20, 30, 4, 50, 60]
            assert [symbol.path for symbol in second] == ["Main.grid[5,1..2]", "Main.grid[6,1..2]"]
        async with connected(bench, identities["known"], "eva") as client:
            assert (
                await write(client, ua.NodeId("Main.limit", own), ua.Variant(1, kinds.Int16)) == _codes.Good
            )
            assert (
                await write(client, ua.NodeId("Main.sealed", own), ua.Variant(1, kinds.Int16)) != _codes.Good
            )


async def test_requests_when_over_a_limit_or_empty_then_are_refused_as_a_whole(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode
) -> None:
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client)
        level = ua.NodeId("Main.level", own)
        for node_id, value in limits.published():
            assert await client.get_node(node_id).read_value() == value
        with pytest.raises(ua.uaerrors.BadNothingToDo):
            await read(client, [])
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            await read(client, [item(level)] * (limits.READ_MAX + 1))
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            value = ua.WriteValue(NodeId=level, AttributeId=ua.AttributeIds.Value)
            value.Value = ua.DataValue(ua.Variant(1.0, ua.VariantType.Float))
            await client.uaclient.write(ua.WriteParameters(NodesToWrite=[value] * (limits.WRITE_MAX + 1)))
        with pytest.raises(ua.uaerrors.BadTooManyOperations):
            await client.uaclient.register_nodes([level] * (limits.REGISTER_MAX + 1))
        assert await client.uaclient.register_nodes([level]) == [level]
        capabilities = ua.ObjectIds.Server_ServerCapabilities_MaxBrowseContinuationPoints
        assert await client.get_node(ua.NodeId(capabilities)).read_value() > 0
        names = (
            "ServerCapabilities_ServerProfileArray", "ServerCapabilities_LocaleIdArray", "ServiceLevel",
            "ServerCapabilities_MinSupportedSampleRate", "ServerDiagnostics_EnabledFlag", "ServerStatus_State",
            "ServerDiagnostics_ServerDiagnosticsSummary", "ServerDiagnostics_SubscriptionDiagnosticsArray",
            "ServerDiagnostics_SessionsDiagnosticsSummary_SessionDiagnosticsArray",
        )  # fmt: skip
        for name in names:
            told = await client.get_node(ua.NodeId(getattr(ua.ObjectIds, f"Server_{name}"))).read_value()
            assert told is not None, name


async def test_browse_when_there_are_more_than_asked_for_then_continuation_points_give_the_rest(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    names = [f"v{number}" for number in range(450)]
    node = FakeNode(f"PROGRAM Main VAR {', '.join(names)} : INT; END_VAR END_PROGRAM")
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client)

        async def children(node_id: ua.NodeId, limit: int) -> list[str]:
            wanted = ua.BrowseDescription()
            wanted.NodeId, wanted.BrowseDirection = node_id, ua.BrowseDirection.Forward
            wanted.ReferenceTypeId = ua.NodeId(ua.ObjectIds.HierarchicalReferences)
            wanted.IncludeSubtypes, wanted.ResultMask = True, ua.BrowseResultMask.BrowseName
            params = ua.BrowseParameters(RequestedMaxReferencesPerNode=limit, NodesToBrowse=[wanted])
            (result,) = await client.uaclient.browse(params)
            found = list(result.References)
            while result.ContinuationPoint:
                assert len(result.References) == limit
                point = result.ContinuationPoint
                more = ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=[point])
                (result,) = await client.uaclient.browse_next(more)
                found += result.References
            return [str(one.NodeId.Identifier) for one in found]

        top = await children(ua.NodeId("Main", own), 100)
        folders = [name for name in top if name.startswith("/Range/")]
        assert folders == ["/Range/Main/1-200", "/Range/Main/201-400", "/Range/Main/401-450"]
        listed = [await children(ua.NodeId(folder, own), 70) for folder in folders]
        assert list(itertools.chain(*listed)) == [f"Main.{name}" for name in names]
        variable = client.get_node(ua.NodeId("Main.v399", own))
        (parent,) = await variable.get_referenced_nodes(
            ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Inverse
        )
        assert parent.nodeid.Identifier == "/Range/Main/201-400"
        with pytest.raises(ua.UaStatusCodeError):
            await client.get_node(ua.NodeId("/Range/Main/2-3", own)).read_browse_name()
        stale = ua.BrowseNextParameters(ReleaseContinuationPoints=False, ContinuationPoints=[b"12345678"])
        (result,) = await client.uaclient.browse_next(stale)
        assert result.StatusCode.value == _codes.BadContinuationPointInvalid


@given(st.text(alphabet="0123456789:,- x", max_size=12))
def test_index_range_when_any_text_is_parsed_then_bounds_ascend_or_it_is_refused(text: str) -> None:
    bounds = index_range.parse(text)
    assert bounds is None or all(0 <= low <= high for low, high in bounds)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes),
            st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)) for n in sizes)),
        )
    )
)
def test_part_when_written_then_covers_exactly_the_selected_elements(
    shape: tuple[list[int], tuple[tuple[int, int], ...]],
) -> None:
    sizes, corners = shape
    bounds = [(min(pair), max(pair)) for pair in corners]
    text = ",".join(str(low) if low == high else f"{low}:{high}" for low, high in bounds)
    count = 1
    for size in sizes:
        count *= size
    dims = tuple((3, 2 + size) for size in sizes)
    symbol = Symbol("P.a", IecType.INT, offset=100, size=2 * count, dims=dims)
    whole = ua.Variant(list(range(count)), ua.VariantType.Int16, Dimensions=sizes, is_array=True)
    selected = index_range.select(ua.DataValue(whole), text).Value.Value
    _, pieces, status = index_range.part_of(symbol, text)
    assert status == _codes.Good
    reached = [(piece.offset - 100) // 2 + number for piece, _ in pieces for number in range(piece.size // 2)]
    assert reached == selected


async def test_browse_when_an_answer_would_be_huge_then_the_rest_is_refused(
    start: Start, identities: dict[str, CertificateFiles], node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.opcua.browsing.TOTAL_MAX", 30)
    async with start(node) as bench, connected(bench, identities["known"]) as client:
        wanted = ua.BrowseDescription()
        wanted.NodeId = ua.NodeId("Main", await index_of(client))
        wanted.BrowseDirection, wanted.ResultMask = ua.BrowseDirection.Forward, 63
        params = ua.BrowseParameters(NodesToBrowse=[wanted] * 4)
        results = await client.uaclient.browse(params)
        assert sum(len(one.References) for one in results) == 30
        assert [one.StatusCode.value for one in results][-1] == _codes.BadNoContinuationPoints
        assert any(one.ContinuationPoint for one in results)
