"""Bridges: values, alarms and events of a fleet on a broker and at a web server, also after both were away."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from drivers.mqtt.sparkplug_host import DeviceDeath, HostConfig
from supervisor.model import Actor, Role
from supervisor.mqtt.outbox import Message, Outbox
from tests.drivers.mqtt.broker import running, until
from tests.drivers.mqtt.conftest import connection_to, peer_of
from tests.drivers.mqtt.host_peer import host_peer

now_ns = time.time_ns
SETTINGS = """
[[bridge]]
name = "analytics"
kind = "json"
brokers = ["{broker}"]
backoff_min_ms = 20
backoff_max_ms = 100
topic = "site/tw"
tags = ["main.*"]
exclude = ["*.text"]
retain = true
interval_ms = 50
[[bridge]]
name = "scada"
kind = "sparkplug"
brokers = ["{broker}"]
backoff_min_ms = 20
backoff_max_ms = 100
group = "supervisor"
tags = ["Main.Level", "Main.Text"]
interval_ms = 50
[[bridge]]
name = "erp"
kind = "webhook"
url = "http://127.0.0.1:{port}/hook"
secret_file = "{secret}"
what = ["events"]
"""


class Hook:
    """A web server that takes what is posted; ``status`` is its answer."""

    def __init__(self) -> None:
        self.status = 204
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {k.lower(): v for k, v in (one.split(": ", 1) for one in head.split("\r\n")[1:-2])}
            self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
            writer.write(
                f"HTTP/1.1 {self.status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        writer.close()

    def channels(self) -> list[str]:
        return [one["channel"] for _, body in self.requests for one in json.loads(body)["messages"]]


@contextlib.asynccontextmanager
async def hooked() -> AsyncIterator[Hook]:
    hook = Hook()
    server = await hook.start()
    try:
        yield hook
    finally:
        server.close()
        await server.wait_closed()


async def test_bridge_when_a_runtime_reports_then_brokers_and_web_servers_have_it_also_after_a_break(
    tmp_path: Path, supervisor: Any, make_node: Any
) -> None:
    with running(tmp_path) as broker:
        async with hooked() as hook, peer_of(connection_to(broker, "look"), "site/tw/#") as looker:
            (tmp_path / "secret").write_text("s3cret\n")
            text = SETTINGS.format(broker=broker.address, port=hook.port, secret=tmp_path / "secret")
            (supervisor.parts.mqtt.folder / "mqtt.toml").write_text(text)
            await until(lambda: len(supervisor.parts.mqtt.status()[1]) == 3, "bridges")
            async with host_peer(
                connection_to(broker, "host"), HostConfig("h", reorder_ms=100, rebirth_ms=100)
            ) as host:
                node = await make_node()
                await node.batch([(0, now_ns(), 1.5, 0), (1, now_ns(), 1.0, 0)])
                topic = "site/tw/water-1/tags/Main.Level"
                await until(lambda: looker.payloads(topic), "the value as JSON")
                found = json.loads(looker.payloads(topic)[-1])
                assert (found["value"], found["quality"], found["unit"], found["type"]) == (
                    1.5,
                    "good",
                    "m",
                    "REAL",
                )
                await until(lambda: host.value("Main.Level", "water-1") == 1.5, "the value by Sparkplug")
                assert ("water-1", "Main.Pump") not in host.values
                await _alarm(supervisor, looker)
                await _break(broker, node, looker, topic, supervisor)
                await node.hang_up()
                await until(
                    lambda: any(isinstance(one, DeviceDeath) for one in host.news), "the device is gone"
                )
                await until(
                    lambda: json.loads(looker.payloads("site/tw/water-1/link")[-1])["link"] == "down", "link"
                )
            await until(lambda: "water-1/events/link" in hook.channels(), "the event at the web server")
            headers, body = hook.requests[0]
            signed = hmac.new(
                b"s3cret", headers["x-tickwork-time"].encode() + b"." + body, hashlib.sha256
            ).hexdigest()
            assert headers["x-tickwork-signature"] == f"sha256={signed}"


async def _alarm(supervisor: Any, looker: Any) -> None:
    text = '[[alarm]]\nname = "Level high"\npriority = 2\nexpression = \'"water-1:Main.Level" > 1\'\n'
    await supervisor.services.alarms.define(Actor("eva", Role.ENGINEER), "", text)
    topic = "site/tw/supervisor/alarms/Level high"
    await until(lambda: looker.payloads(topic), "the alarm")
    assert json.loads(looker.payloads(topic)[0])["entry"]["alarm"] == "Level high"


async def _break(broker: Any, node: Any, looker: Any, topic: str, supervisor: Any) -> None:
    broker.stop()
    state = supervisor.parts.mqtt.status()[1]
    await until(lambda: not supervisor.parts.mqtt.status()[1][0].connected, "the bridge knows")
    for value in (2.5, 3.5):
        await node.batch([(0, now_ns(), value, 0)])
        await until(lambda v=value: _pending(supervisor) >= (1 if v == 2.5 else 2), "buffered")
    broker.start()
    await until(lambda: json.loads(looker.payloads(topic)[-1])["value"] == 3.5, "the last value")
    await until(lambda: _pending(supervisor) == 0, "all of it is sent")
    assert supervisor.parts.mqtt.status()[1][0].lost == state[0].lost == 0


def _pending(supervisor: Any) -> int:
    return int(supervisor.parts.mqtt.status()[1][0].waiting)


async def test_webhook_when_the_server_refuses_then_tried_again_in_order(
    tmp_path: Path, supervisor: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("supervisor.mqtt.bridge.RETRY_FIRST_S", 0.05)
    async with hooked() as hook:
        hook.status = 503
        (tmp_path / "secret").write_text("x")
        text = SETTINGS.format(broker="127.0.0.1:9", port=hook.port, secret=tmp_path / "secret")
        (supervisor.parts.mqtt.folder / "mqtt.toml").write_text(text)
        await until(lambda: len(supervisor.parts.mqtt.status()[1]) == 3, "bridges")
        supervisor.parts.fleet.tell("", "one", "info", "first", {})
        await until(lambda: len(hook.requests) >= 2, "tried twice")
        supervisor.parts.fleet.tell("", "two", "info", "second", {})
        hook.status = 204
        await until(lambda: hook.channels()[-1] == "supervisor/events/two", "the second too")
        assert "supervisor/events/one" in hook.channels()


async def test_outbox_when_opened_again_then_goes_on_behind_what_was_sent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o", size_mb=1, days=1)
    for number in range(5):
        outbox.put(Message(str(number), b"{}"))
    messages, last = await outbox.part()
    assert [one.channel for one in messages] == ["0", "1", "2", "3", "4"]
    outbox.sent(last - 2)
    outbox.close()
    again = Outbox(tmp_path / "o", size_mb=1, days=1)
    assert [one.channel for one in (await again.part())[0]] == ["3", "4"]
    again.close()


async def test_outbox_when_it_is_full_then_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o", size_mb=1, days=1)
    for number in range(300):
        outbox.put(Message(str(number), b"x" * 10_000))
    messages, _ = await outbox.part()
    assert outbox.lost > 150
    assert int(messages[0].channel) == outbox.lost
    outbox.close()
