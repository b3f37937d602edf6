"""The address space as clients browse it: companion model, types, properties, stable NodeIds, ranges, online change."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from asyncua import Client, ua

from drivers.opcua.certificates import CertificateFiles
from drivers.opcua.companion import DI_URI, PLC_URI
from tests.drivers.opcua.conftest import Bench, connected
from tests.drivers.opcua.fake_node import FakeNode

Start = Callable[..., AbstractAsyncContextManager[Bench]]
GOLDEN = pathlib.Path(__file__).parent / "golden_nodes.json"

PLANT = """
TYPE
    E_Mode : (Off, Manual, Auto);
    E_Gap : (Low := 2, High := 40);
    ST_Point : STRUCT x : REAL; y : REAL; n : ARRAY[0..1, 0..1] OF INT; END_STRUCT;
    ST_Line : STRUCT a : ST_Point; ends : ARRAY[1..2] OF ST_Point; mode : E_Mode; name : STRING[20]; END_STRUCT;
END_TYPE
FUNCTION_BLOCK Pump
VAR_INPUT start : BOOL; END_VAR
VAR_OUTPUT run : BOOL; END_VAR
VAR_IN_OUT shared : DINT; END_VAR
VAR delay : TON; END_VAR
    delay(IN := start, PT := T#1s);
    run := delay.Q;
END_FUNCTION_BLOCK
PROGRAM Main
VAR
    {attribute 'access' := 'rw'} {attribute 'unit' := 'bar'} {attribute 'low' := '0'} {attribute 'high' := '10'}
    pressure : REAL := 2.5; (* of the line *)
    {attribute 'access' := 'rw'}
    mode : E_Mode := Manual;
    gap : E_Gap;
    {attribute 'access' := 'rw'}
    line : ST_Line;
    lines : ARRAY[1..2] OF ST_Point;
    pumps : ARRAY[1..3] OF Pump;
    {attribute 'access' := 'rw'}
    grid : ARRAY[5..6, 0..2] OF DINT := [1, 2, 3, 4, 5, 6];
    {attribute 'access' := 'rw'} {attribute 'write' := 'engineer'}
    limit : INT;
    short : TIME := T#1500ms;
    long : LTIME := LTIME#3us;
    word1 : WORD := 16#BEEF;
    text : STRING[10] := 'hello';
    {attribute 'access' := 'none'}
    hidden : INT;
END_VAR
VAR RETAIN
    kept : INT;
END_VAR
END_PROGRAM
"""


async def index_of(client: Client, uri: str) -> int:
    return int(await client.get_namespace_index(uri))


async def test_model_when_browsed_then_is_that_of_the_companion_specification(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    async with start(FakeNode(PLANT)) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client, "urn:tickwork:water")
        di, plc = await index_of(client, DI_URI), await index_of(client, PLC_URI)
        path = [f"{di}:DeviceSet", f"{own}:water", f"{plc}:Resources", f"{own}:Resource", f"{plc}:Programs"]
        programs = await client.nodes.objects.get_child(path)
        main = await programs.get_child(f"{own}:Main")
        assert main.nodeid == ua.NodeId("Main", own)

        resource = client.get_node(ua.NodeId("/Resource", own))
        assert (await resource.read_type_definition()) == ua.NodeId(1002, plc)
        names = {(await one.read_browse_name()).Name for one in await resource.get_children()}
        assert {"Tasks", "Programs", "GlobalVars", "Manufacturer", "SerialNumber", "MethodSet"} <= names

        kind = await main.read_type_definition()
        assert kind == ua.NodeId("/Types/Main", own)
        supertypes = await client.get_node(kind).get_referenced_nodes(
            ua.ObjectIds.HasSubtype, ua.BrowseDirection.Inverse
        )
        assert [one.nodeid for one in supertypes] == [ua.NodeId(1004, plc)]
        (task,) = await main.get_referenced_nodes(ua.NodeId(4006, plc))
        assert task.nodeid == ua.NodeId("/Resource/Tasks/Fast", own)
        interval = await (await task.get_child(f"{plc}:Interval")).read_value()
        assert interval == "T#10ms"

        pump = client.get_node(ua.NodeId("Main.pumps[2]", own))
        directions = {
            reference.BrowseName.Name: reference.ReferenceTypeId.Identifier
            for reference in await pump.get_references(ua.ObjectIds.HasComponent, ua.BrowseDirection.Forward)
        }
        assert directions == {"start": 4001, "run": 4002, "delay": 4004}
        declared = client.get_node(ua.NodeId("/Types/Pump/start", own))
        (rule,) = await declared.get_referenced_nodes(ua.ObjectIds.HasModellingRule)
        assert rule.nodeid == ua.NodeId(ua.ObjectIds.ModellingRule_Mandatory)


async def test_types_when_read_then_are_those_of_the_specification(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    async with start(FakeNode(PLANT)) as bench, connected(bench, identities["known"]) as client:
        own, plc = await index_of(client, "urn:tickwork:water"), await index_of(client, PLC_URI)

        async def read(name: str, attribute: ua.AttributeIds = ua.AttributeIds.Value) -> object:
            value = await client.get_node(ua.NodeId(f"Main.{name}", own)).read_attribute(attribute)
            assert value.Value is not None
            return value.Value.Value

        assert await read("short") == 1500
        assert await read("long") == 3000
        assert await read("text") == "hello"
        assert await read("mode") == 1
        assert await read("grid") == [[1, 2, 3], [4, 5, 6]]
        data_type, rank = ua.AttributeIds.DataType, ua.AttributeIds.ValueRank
        numbers = {"short": 3005, "long": 3006, "word1": 3002, "text": 3013}
        for name, number in numbers.items():
            assert await read(name, data_type) == ua.NodeId(number, plc)
        assert await read("mode", data_type) == ua.NodeId("/Types/E_Mode", own)
        assert (await read("grid", rank), await read("grid", ua.AttributeIds.ArrayDimensions)) == (2, [2, 3])
        assert await read("grid/IndexMin") == [5, 0]
        assert await read("kept/RETAIN") is True
        assert await read("pressure", ua.AttributeIds.Description) == ua.LocalizedText("of the line")
        limits = await read("pressure/EURange")
        assert isinstance(limits, ua.Range) and (limits.Low, limits.High) == (0.0, 10.0)
        unit = await read("pressure/EngineeringUnits")
        assert isinstance(unit, ua.EUInformation) and unit.UnitId == 0x424152  # "BAR"
        strings = client.get_node(ua.NodeId("/Types/E_Mode/EnumStrings", own))
        assert [one.Text for one in await strings.read_value()] == ["Off", "Manual", "Auto"]
        values = client.get_node(ua.NodeId("/Types/E_Gap/EnumValues", own))
        assert [one.Value for one in await values.read_value()] == [2, 40]
        definition = await client.get_node(ua.NodeId("/Types/E_Gap", own)).read_data_type_definition()
        assert [(one.Name, one.Value) for one in definition.Fields] == [("Low", 2), ("High", 40)]
        with pytest.raises(ua.UaStatusCodeError):
            await read("hidden")


# A process of its own: asyncua registers the classes that it makes of definitions for the whole process.
_STRUCTURES = """
import asyncio, json, sys
from asyncua import Client, ua

async def main(url, namespace):
    client = Client(url, timeout=5)
    client.set_user("ann")
    client.set_password("secret")
    async with client:
        index = await client.get_namespace_index(namespace)
        kinds = await client.load_data_type_definitions()
        line = client.get_node(ua.NodeId("Main.line", index))
        value = await line.read_value()
        seen = {"a": [value.a.x, value.a.y, list(value.a.n)], "ends": [one.x for one in value.ends],
                "mode": value.mode.name, "name": value.name}
        many = await client.get_node(ua.NodeId("Main.lines", index)).read_value()
        seen["many"] = [one.y for one in many]
        value.a.x, value.name, value.mode = 7.5, "other", kinds["E_Mode"].Off
        value.ends[1].n = [9, 8, 7, 6]
        await line.write_value(ua.DataValue(ua.Variant(value, ua.VariantType.ExtensionObject)))
        print(json.dumps(seen))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_structure_when_read_and_written_by_definition_then_is_exactly_the_variables(
    start: Start, tmp_path: pathlib.Path
) -> None:
    import asyncio

    node = FakeNode(PLANT)
    node.set("Main.line.a.x", 1.5)
    node.set("Main.line.a.n", [1, 2, 3, 4])
    node.set("Main.line.ends[2].x", -2.0)
    node.set("Main.line.mode", 2)
    node.set("Main.line.name", "north")
    node.set("Main.lines[2].y", 4.0)
    async with start(node, insecure=True) as bench:
        script = tmp_path / "structures.py"
        script.write_text(_STRUCTURES)
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), bench.url, "urn:tickwork:water",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, problems = await process.communicate()
        assert process.returncode == 0, problems.decode()
    assert json.loads(out) == {
        "a": [1.5, 0.0, [1, 2, 3, 4]],
        "ends": [0.0, -2.0],
        "mode": "Auto",
        "name": "north",
        "many": [0.0, 4.0],
    }
    ((written, _user),) = bench.writes
    values = {symbol.path: value for symbol, value in written.items()}
    assert values["Main.line.a.x"] == 7.5
    assert values["Main.line.name"] == "other"
    assert values["Main.line.mode"] == 0
    assert values["Main.line.ends[2].n"] == [9, 8, 7, 6]
    assert len(values) == 11


async def test_node_ids_when_the_program_is_built_again_then_are_those_of_the_golden_file(
    start: Start, identities: dict[str, CertificateFiles]
) -> None:
    async with start(FakeNode(PLANT)) as bench, connected(bench, identities["known"]) as client:
        own = await index_of(client, "urn:tickwork:water")
        namespaces = await client.get_namespace_array()
        found: dict[str, list[object]] = {}
        waiting = [client.get_node(ua.NodeId("/Configuration", own))]
        waiting += [
            client.get_node(ua.NodeId(f"/Types/{name}", own)) for name in ("Pump", "ST_Line", "E_Mode")
        ]
        while waiting:
            node = waiting.pop()
            for one in await node.get_references(
                ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Forward
            ):
                identifier = str(one.NodeId.Identifier)
                if one.NodeId.NamespaceIndex != own or identifier in found:
                    continue
                if identifier.startswith("/Node/Tasks/"):
                    continue
                found[identifier] = [
                    one.NodeClass.name,
                    one.BrowseName.Name,
                    namespaces[one.BrowseName.NamespaceIndex],
                ]
                waiting.append(client.get_node(one.NodeId))
    assert json.loads(GOLDEN.read_text()) == found
