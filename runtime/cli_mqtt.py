"""``tickwork mqtt``: look at a broker: decode Sparkplug live, list edge nodes, ask one for a rebirth."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from drivers.mqtt import Broker, Connection
from drivers.mqtt._sparkplug_metrics import MetricTable
from drivers.mqtt.client import MqttClient
from drivers.mqtt.config import PORTS
from drivers.mqtt.sparkplug import (
    NAMESPACE,
    REBIRTH,
    DataType,
    Kind,
    Metric,
    Payload,
    SparkplugError,
    Topic,
    id_fault,
    parse_topic,
)
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_edge import Publish, Subscribe
from drivers.mqtt.sparkplug_host import Host, HostConfig, NodeBirth, Step
from drivers.mqtt.sparkplug_values import from_wire, type_name
from drivers.mqtt.topics import topic_fault
from runtime import console
from runtime.cli_node import JsonOption
from scan.problem import Problem, TickworkError, fail

app = typer.Typer(
    help="Look at MQTT brokers and Sparkplug nodes: listen, nodes, rebirth.", no_args_is_help=True
)

CONNECT_S = 10.0
SHOWN_MAX = 120  # characters of one value or payload
POLL_S = 0.05

Target = Annotated[str, typer.Argument(metavar="BROKER", help="host or host:port.")]
Tls = Annotated[bool, typer.Option("--tls", help="Encrypt, and check the broker's certificate.")]
Authority = Annotated[str, typer.Option("--ca", help="Certificates that may vouch for the broker (PEM).")]
Certificate = Annotated[str, typer.Option("--cert", help="Client certificate (PEM).")]
PrivateKey = Annotated[str, typer.Option("--key", help="Its private key (PEM).")]
User = Annotated[str, typer.Option(help="User name.")]
PasswordFile = Annotated[str, typer.Option(help="File with the password.")]
Version = Annotated[str, typer.Option("--mqtt", help="3.1.1 or 5.")]
Websockets = Annotated[bool, typer.Option("--websockets", help="By WebSocket.")]
GroupName = Annotated[str, typer.Option("--group", help="Only this Sparkplug group.")]
Seconds = Annotated[float, typer.Option(help="End after so many seconds.", min=0.1)]


def _connection(
    target: str,
    tls: bool,
    ca: str,
    cert: str,
    key: str,
    user: str,
    password_file: str,
    version: str,
    websockets: bool,
) -> Connection:
    transport = "websockets" if websockets else "tcp"
    host, _, port = target.partition(":")
    if not host or (port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65_536)):
        raise fail(
            "MQ1002", f"{target!r} is no address of a broker", expected="host or host:port", found=target
        )
    if version not in ("3.1.1", "5"):
        raise fail("DV1003", f"{version} is no version of MQTT", expected="3.1.1 or 5", found=version)
    identifier = f"tickwork-look-{time.time_ns() % 10**12}"
    return Connection(
        (Broker(host, int(port or PORTS[transport, tls])),), identifier, version=version,
        transport=transport, user=user, password_file=password_file, tls=tls, tls_ca=ca, tls_certificate=cert,
        tls_key=key,
    )  # fmt: skip


class _Listener:
    """A passive host on a broker: it says no STATE and asks for nothing by itself."""

    def __init__(self, connection: Connection, group: str, heard: Callable[[str, bytes, bool], None]) -> None:
        self.host = Host(HostConfig("", (group,) if group else ()))
        self.news: list[Step] = []
        self.problem: Problem | None = None
        self._heard = heard
        self.client = MqttClient(
            connection,
            on_message=self._message,
            on_up=lambda _: self._do(self.host.connected(_now_ms())),
            on_down=self._failed,
            on_failed=self._failed,
        )

    def _failed(self, problem: Problem) -> None:
        self.problem = problem

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        self._heard(topic, payload, retained)
        if topic.startswith(NAMESPACE + "/"):
            self._do(self.host.message(topic, payload, _now_ms()))

    def _do(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Subscribe):
                self.client.subscribe(step.filters)
            elif not isinstance(step, Publish):
                self.news.append(step)

    async def connect(self) -> None:
        """Raises TickworkError MQ2001 or MQ2002 when the broker is not to be had."""
        self.client.start()
        end = time.monotonic() + CONNECT_S
        while not self.client.connected and self.problem is None and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        if not self.client.connected:
            raise TickworkError(self.problem or Problem("MQ2001", "the MQTT broker cannot be reached"))


def _run(connection: Connection, group: str, heard: Callable[[str, bytes, bool], None], work: Any) -> None:
    async def go() -> None:
        listener = _Listener(connection, group, heard)
        try:
            await listener.connect()
            await work(listener)
        finally:
            await listener.client.stop()

    asyncio.run(go())


# ---------------------------------------------------------------- listen


@app.command()
def listen(
    target: Target, topic: Annotated[str, typer.Option(help="A topic filter.")] = f"{NAMESPACE}/#",
    count: Annotated[int, typer.Option(help="End after so many messages; 0: until Ctrl-C.", min=0)] = 0,
    seconds: Seconds = 1e9, tls: Tls = False, ca: Authority = "", cert: Certificate = "", key: PrivateKey = "",
    user: User = "", password_file: PasswordFile = "", mqtt: Version = "3.1.1", websockets: Websockets = False,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Show messages as they come, Sparkplug decoded, aliases with the names of the last birth."""
    console.use_json(json)
    if fault := topic_fault(topic, wildcards=True):
        raise fail("MQ1001", f"the topic is not valid: {fault}", found=topic)
    shown = 0
    tables: dict[tuple[str, str], MetricTable] = {}

    def heard(name: str, payload: bytes, retained: bool) -> None:
        nonlocal shown
        if count and shown >= count:
            return
        shown += 1
        show(tables, name, payload, retained)

    async def work(listener: _Listener) -> None:
        listener.client.subscribe([(topic, 1)])
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (count and shown >= count):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    connection = _connection(target, tls, ca, cert, key, user, password_file, mqtt, websockets)
    plain = _Plain(connection, heard)
    asyncio.run(plain.run(work))


class _Plain(_Listener):
    """Nothing but what the command subscribes: the same message must not come twice."""

    def __init__(self, connection: Connection, heard: Callable[[str, bytes, bool], None]) -> None:
        super().__init__(connection, "", heard)

    def _message(self, topic: str, payload: bytes, retained: bool) -> None:
        self._heard(topic, payload, retained)

    def _do(self, steps: Iterable[Step]) -> None:
        """No subscriptions of a host."""

    async def run(self, work: Any) -> None:
        try:
            await self.connect()
            await work(self)
        finally:
            await self.client.stop()


def show(tables: dict[tuple[str, str], MetricTable], topic: str, payload: bytes, retained: bool) -> None:
    """One message on the terminal, or one JSON object a line."""
    address = parse_topic(topic)
    row: dict[str, Any] = {"topic": topic, "retained": retained, "bytes": len(payload)}
    if address is None:
        row["payload"] = _plain_payload(payload)
    else:
        try:
            row |= _sparkplug(tables, address, decode_payload(payload))
        except SparkplugError as error:
            row["problem"] = f"MQ3001: {error}"
    if console.is_json():
        console.give_line(row)
        return
    head = f"{topic}{' (retained)' if retained else ''}  {len(payload)} bytes"
    console.say(f"{head}  seq {row['seq']}" if row.get("seq") is not None else head)
    if "payload" in row or "problem" in row:
        console.say(f"    {row.get('payload', row.get('problem'))}")
    for metric in row.get("metrics", ()):
        console.say("    " + _metric_line(metric))


def _sparkplug(
    tables: dict[tuple[str, str], MetricTable], address: Topic, content: Payload
) -> dict[str, Any]:
    key = (address.group, address.node)
    if address.verb.endswith("BIRTH"):
        if not address.device:
            tables[key] = MetricTable()
        tables.setdefault(key, MetricTable()).birth(address.device, content, _now_ms())
    table = tables.get(key)
    return {
        "time_ms": content.timestamp, "seq": content.seq,
        "metrics": [_metric_row(table, address.device, one) for one in content.metrics],
    }  # fmt: skip


def _metric_row(table: MetricTable | None, device: str, metric: Metric) -> dict[str, Any]:
    known = table.by_alias(metric.alias) if table is not None and metric.alias is not None else None
    if known is None and table is not None and metric.name is not None:
        known = table.find(device, metric.name)
    datatype = metric.datatype or (known.datatype if known is not None else None)
    value = metric.value
    if datatype is not None and not metric.is_null:
        with contextlib.suppress(SparkplugError):
            value = from_wire(datatype, metric.kind, value)
    row = {
        "name": metric.name or (known.name if known is not None else None), "alias": metric.alias,
        "type": type_name(datatype) if datatype is not None else None,
        "value": None if metric.is_null else _shown(value), "time_ms": metric.timestamp,
        "historical": metric.is_historical or None,
    }  # fmt: skip
    if metric.properties is not None:
        row["properties"] = {
            name: _shown(one.value)
            for name, one in zip(metric.properties.keys, metric.properties.values, strict=True)
        }
    return {name: one for name, one in row.items() if one is not None or name == "value"}


def _metric_line(row: dict[str, Any]) -> str:
    name = row.get("name") or f"alias {row.get('alias')} (no birth seen)"
    parts = [f"{name} = {row['value']}"]
    if "type" in row:
        parts.append(row["type"])
    if row.get("historical"):
        parts.append("historical")
    parts += [f"{key} {value}" for key, value in row.get("properties", {}).items()]
    return "  ".join(parts)


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:SHOWN_MAX]
    if isinstance(value, bytes):
        return value[: SHOWN_MAX // 2].hex()
    return msgspec.json.encode(msgspec.to_builtins(value)).decode()[:SHOWN_MAX]


def _plain_payload(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")[:SHOWN_MAX]
    except UnicodeDecodeError:
        return payload[: SHOWN_MAX // 2].hex(" ")


# ---------------------------------------------------------------- nodes and rebirth


@app.command()
def nodes(
    target: Target, seconds: Seconds = 5.0, group: GroupName = "", tls: Tls = False, ca: Authority = "",
    cert: Certificate = "", key: PrivateKey = "", user: User = "", password_file: PasswordFile = "",
    mqtt: Version = "3.1.1", websockets: Websockets = False, json: JsonOption = False,
) -> None:  # fmt: skip
    """List the edge nodes that say something meanwhile; births are not retained, so silent ones stay unknown."""
    console.use_json(json)
    found: dict[tuple[str, str], dict[str, Any]] = {}

    def heard(topic: str, _payload: bytes, _retained: bool) -> None:
        address = parse_topic(topic)
        if address is not None and not address.verb.endswith("CMD"):
            row = found.setdefault(
                (address.group, address.node), {"messages": 0, "devices": set(), "last": ""}
            )
            row["messages"] += 1
            row["last"] = address.verb
            if address.device:
                row["devices"].add(address.device)

    async def work(_listener: _Listener) -> None:
        await asyncio.sleep(seconds)

    _run(_connection(target, tls, ca, cert, key, user, password_file, mqtt, websockets), group, heard, work)
    rows = [
        {"group": name[0], "node": name[1], "messages": row["messages"], "last": row["last"],
         "devices": sorted(row["devices"])}
        for name, row in sorted(found.items())
    ]  # fmt: skip
    if console.is_json():
        console.give({"nodes": rows})
        return
    table = Table("group", "node", "messages", "last", "devices")
    for row in rows:
        table.add_row(row["group"], row["node"], str(row["messages"]), row["last"], ", ".join(row["devices"]))
    console.out.print(table)


@app.command()
def rebirth(
    target: Target, node: Annotated[str, typer.Argument(metavar="GROUP/NODE")], seconds: Seconds = 10.0,
    tls: Tls = False, ca: Authority = "", cert: Certificate = "", key: PrivateKey = "", user: User = "",
    password_file: PasswordFile = "", mqtt: Version = "3.1.1", websockets: Websockets = False,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Ask an edge node to be born again, and wait for its birth."""
    console.use_json(json)
    group, _, name = node.partition("/")
    for one in (group, name):
        if fault := id_fault(one):
            raise fail("MQ1004", f"{node!r} names no edge node: {fault}", expected="GROUP/NODE", found=node)
    result: dict[str, Any] = {}

    async def work(listener: _Listener) -> None:
        metric = Metric(REBIRTH, None, _now_ms(), DataType.BOOLEAN, Kind.BOOLEAN, True)
        asked = time.monotonic()
        listener.client.publish(str(Topic(group, "NCMD", name)), encode_payload(Payload(_now_ms(), [metric])))
        while time.monotonic() < asked + seconds and not result:
            await asyncio.sleep(POLL_S / 5)
            for step in listener.news:
                if isinstance(step, NodeBirth) and step.key == (group, name):
                    result.update(
                        metrics=len(step.metrics), milliseconds=round(1000 * (time.monotonic() - asked))
                    )

    _run(
        _connection(target, tls, ca, cert, key, user, password_file, mqtt, websockets), group,
        lambda topic, payload, retained: None, work,
    )  # fmt: skip
    if not result:
        raise fail(
            "MQ3002", f"{node} did not answer with a birth", expected=f"an NBIRTH within {seconds:g} s", found="none",
            remedy="is the node connected to this broker? `tickwork mqtt nodes` shows who speaks",
        )  # fmt: skip
    if console.is_json():
        console.give({"node": node, **result})
    else:
        console.say(
            f"{node} was born again with {result['metrics']} metrics after {result['milliseconds']} ms"
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
