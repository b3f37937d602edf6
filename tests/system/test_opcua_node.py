"""OPC UA on a whole node: what a client orders reaches the scan, and what befalls the node reaches the client."""

import asyncio
import datetime
import pathlib
from typing import Any

import pytest
from asyncua import Client, ua

from drivers.opcua.users import UserFile
from runtime.build_job import artifact_of
from tests.drivers.opcua.conftest import free_port
from tests.drivers.opcua.test_methods import Events, event_filter
from tests.runtime.node_process import PLANT, NodeProcess, write_plant

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
_codes = ua.StatusCodes
BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)

PROGRAM = """
PROGRAM Main
VAR
  count : DINT;
  divisor : DINT := 1;
  quotient : DINT;
  {attribute 'access' := 'rw'}
  setpoint : REAL := 1.5;
  {attribute 'access' := 'rw'}
  row : ARRAY[0..3] OF INT;
  {attribute 'access' := 'rw'}
  fail : BOOL;
END_VAR
count := count + 1;
IF fail THEN divisor := 0; END_IF
quotient := count / divisor;
END_PROGRAM
CONFIGURATION Plant
  RESOURCE Cpu ON Any
    TASK Fast(INTERVAL := T#10ms, PRIORITY := 1);
    PROGRAM Main WITH Fast : Main;
  END_RESOURCE
END_CONFIGURATION
"""


async def connect(url: str, user: str) -> Client:
    client = Client(url, timeout=10)
    client.set_user(user)
    client.set_password("a long password")
    async with asyncio.timeout(60):
        while True:  # the server comes up with the gate
            try:
                await client.connect()
                return client
            except (OSError, TimeoutError, ua.UaError):
                await asyncio.sleep(0.2)


async def until(value: Any, wanted: Any) -> None:
    async with asyncio.timeout(20):
        while await value() != wanted:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)


async def test_client_when_it_orders_and_the_node_changes_then_each_sees_the_other(
    tmp_path: pathlib.Path,
) -> None:
    port = free_port()
    plant = f'{PLANT}[opcua]\nport = {port}\ninsecure = true\nhistory = ["Main.count"]\n'
    plant += '[[opcua.variable]]\npath = "Main.setpoint"\nunit = "bar"\nlow = 0.0\nhigh = 10.0\n'
    folder = write_plant(tmp_path / "plant", plant=plant, program=PROGRAM)
    state = tmp_path / "state"
    UserFile(state / "opcua" / "users.toml").add("eva", "engineer", "a long password")
    with NodeProcess(folder, state, tmp_path / "cache") as node:
        await asyncio.to_thread(node.until_running)
        client = await connect(f"opc.tcp://127.0.0.1:{port}/tickwork", "eva")
        try:
            await _look(client, node)
        finally:
            await client.disconnect()


async def _look(client: Client, node: NodeProcess) -> None:
    own = await client.get_namespace_index("urn:tickwork:tiny")

    async def data(path: str) -> ua.DataValue:
        return await client.get_node(ua.NodeId(path, own)).read_data_value(raise_on_bad_status=False)

    async def status() -> int:
        return int((await data("Main.count")).StatusCode.value)

    async def level() -> int:
        return int(await client.get_node(ua.NodeId(ua.ObjectIds.Server_ServiceLevel)).read_value())

    setpoint = client.get_node(ua.NodeId("Main.setpoint", own))
    await setpoint.write_value(ua.DataValue(ua.Variant(2.5, ua.VariantType.Float)))
    assert await setpoint.read_value() == 2.5, "the answer comes when the scan has taken it"
    with pytest.raises(ua.uaerrors.BadOutOfRange):  # the plant file gives the range
        await setpoint.write_value(ua.DataValue(ua.Variant(11.0, ua.VariantType.Float)))
    part = ua.WriteValue(
        NodeId=ua.NodeId("Main.row", own), AttributeId=ua.AttributeIds.Value, IndexRange="1:2"
    )
    part.Value = ua.DataValue(ua.Variant([5, 6], ua.VariantType.Int16))
    (code,) = await client.uaclient.write(ua.WriteParameters(NodesToWrite=[part]))
    assert code.is_good()
    assert (await data("Main.row")).Value.Value == [0, 5, 6, 0]
    event, *_rest = await asyncio.to_thread(node.events, "write")
    assert (event["fields"]["via"], event["fields"]["old"]) == ("opcua", "1.5")
    assert event["source"] == "opcua:eva"

    variable = ua.Variant(ua.NodeId("Main.setpoint", own))
    given = (variable, ua.Variant(9.0, ua.VariantType.Float), ua.Variant("test"), ua.Variant(60_000.0))
    method = await _call(client, own, "/Node", "/Node/Force", *given)
    assert method == _codes.Good
    held = await data("Main.setpoint")
    assert (held.Value.Value, held.StatusCode.value) == (9.0, _codes.GoodLocalOverride)
    assert await _call(client, own, "/Node", "/Node/Unforce", variable) == _codes.Good

    assert await level() == 255
    assert await _call(client, own, "/Resource/MethodSet", "/Resource/MethodSet/Stop") == _codes.Good
    await until(status, _codes.UncertainLastUsableValue)
    await until(level, 1)
    assert await _call(client, own, "/Resource/MethodSet", "/Resource/MethodSet/Start") == _codes.Good
    await until(status, _codes.Good)

    await setpoint.write_value(ua.DataValue(ua.Variant(3.5, ua.VariantType.Float)))
    changes = Events(client)
    await changes.open(event_filter(ua.ObjectIds.BaseModelChangeEventType))
    await asyncio.to_thread(_deploy, node, PROGRAM.replace("count : DINT;", "count : DINT;\n  more : INT;"))
    affected = {one.Affected.Identifier: one.Verb for one in (await changes.next())["Changes"]}
    assert affected == {"Main.more": 1, "Main": 4}
    assert (await data("Main.setpoint")).Value.Value == 3.5, "the same NodeId, the value carried over"

    events = Events(client)
    await events.open(event_filter(ua.ObjectIds.AlarmConditionType))
    await client.get_node(ua.NodeId("Main.fail", own)).write_value(ua.DataValue(ua.Variant(True)))
    seen: dict[str, Any] = {}
    while seen.get("ConditionName") != "$fault":
        seen = await events.next()
    assert (seen["ActiveState/Id"], seen["AckedState/Id"]) == (True, False)
    acknowledge = ua.NodeId(ua.ObjectIds.AcknowledgeableConditionType_Acknowledge)
    arguments = [ua.Variant(seen["EventId"], ua.VariantType.ByteString), ua.Variant(ua.LocalizedText("seen"))]
    request = ua.CallMethodRequest(seen["ConditionId"], acknowledge, arguments)
    (result,) = await client.uaclient.call([request])
    assert result.StatusCode.is_good()
    while seen.get("ConditionName") != "$fault" or not seen["AckedState/Id"]:
        seen = await events.next()
    assert seen["ClientUserId"] == "opcua:eva"
    past = await client.get_node(ua.NodeId("Main.count", own)).read_raw_history(BEGIN, END)
    assert len(past) >= 2


def _deploy(node: NodeProcess, program: str) -> None:
    folder = write_plant(
        node.folder.parent / "new", plant=(node.folder / "plant.toml").read_text(), program=program
    )
    artifact = folder.parent / "new.twa"
    artifact.write_bytes(artifact_of(folder))
    assert node.ask("deploy", path=str(artifact))["deploy"]["state"] == "running"


async def _call(client: Client, index: int, node: str, method: str, *given: ua.Variant) -> int:
    request = ua.CallMethodRequest(ua.NodeId(node, index), ua.NodeId(method, index), list(given))
    (result,) = await client.uaclient.call([request])
    return int(result.StatusCode.value)
