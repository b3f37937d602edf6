"""A broker that only writes down what a client sends: for rules about the packets themselves."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from drivers.mqtt import Broker, Connection
from drivers.mqtt.client import MqttClient
from drivers.mqtt.sparkplug_edge import Disconnect, EdgeNode, Publish, Subscribe
from tests.drivers.mqtt.broker import until

NAMES = {1: "CONNECT", 3: "PUBLISH", 8: "SUBSCRIBE", 14: "DISCONNECT"}


class Packet(NamedTuple):
    name: str
    flags: int
    body: bytes


class Connect(NamedTuple):
    """The fields of a CONNECT packet (MQTT 3.1.1 §3.1, 5.0 §3.1)."""

    clean: bool
    session_expiry: int | None
    will_topic: str
    will_payload: bytes
    will_qos: int
    will_retain: bool
    has_will: bool


def parse_connect(body: bytes) -> Connect:
    version, flags = body[6], body[7]
    at = 10
    expiry = None
    if version == 5:
        size = body[at]
        properties = body[at + 1 : at + 1 + size]
        at += 1 + size
        expiry = struct.unpack(">I", properties[1:5])[0] if properties[:1] == b"\x11" else 0
    _, at = _field(body, at)
    topic = payload = b""
    if flags & 4:
        if version == 5:
            at += 1 + body[at]
        topic, at = _field(body, at)
        payload, at = _field(body, at)
    return Connect(
        bool(flags & 2), expiry, topic.decode(), payload, flags >> 3 & 3, bool(flags & 32), bool(flags & 4)
    )


def _field(body: bytes, at: int) -> tuple[bytes, int]:
    size = struct.unpack_from(">H", body, at)[0]
    return body[at + 2 : at + 2 + size], at + 2 + size


async def packets_of(
    version: str, machine: Any, drive: Callable[[Any], Any], now_ms: int = 1000
) -> list[Packet]:
    """What a machine's connection sends: it connects, ``drive`` makes further actions, then it leaves."""
    packets: list[Packet] = []
    five = version == "5"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readexactly(1))[0]
                size = shift = 0
                while True:
                    byte = (await reader.readexactly(1))[0]
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                packets.append(
                    Packet(NAMES.get(head >> 4, str(head >> 4)), head & 15, await reader.readexactly(size))
                )
                if head >> 4 == 1:
                    writer.write(b"\x20\x03\0\0\0" if five else b"\x20\x02\0\0")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def do(actions: Any) -> None:
        for action in actions:
            if isinstance(action, Publish):
                client.publish(action.topic, action.payload, qos=action.qos, retain=action.retain)
            elif isinstance(action, Subscribe):
                client.subscribe(action.filters)
            elif isinstance(action, Disconnect):
                client.disconnect(with_will=action.with_will)

    client = MqttClient(
        Connection((Broker("127.0.0.1", port),), "wire", version=version, backoff_min_ms=60_000, backoff_max_ms=60_000),
        on_message=lambda *_: None, on_up=lambda _: do(machine.connected(now_ms)), on_down=lambda _: None,
        prepare=lambda _: machine.will() if isinstance(machine, EdgeNode) else machine.will(now_ms),
    )  # fmt: skip
    client.start()
    await until(lambda: client.connected, "connected")
    do(drive(machine))
    await until(lambda: any(one.name == "DISCONNECT" for one in packets), "disconnected")
    await client.stop()
    server.close()
    await server.wait_closed()
    return packets
