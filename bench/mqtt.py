"""MQTT and Sparkplug on one Mosquitto, against paho-mqtt alone with the same messages.

edge      10,000 metrics that all change once a second, as one edge node: share of a core (gate 0.15), beside paho
          alone publishing 10,000 values as one JSON message each
host      metrics a second from the broker into columns for the history (gate 50,000), beside paho alone that
          receives the same messages and looks at nothing
rebirth   from the request to the last metric of 10,000 at the host: seconds (gate 1)
codec     metrics a second, without a broker
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from drivers.mqtt import Broker, Connection
from drivers.mqtt.client import MqttClient
from drivers.mqtt.sparkplug import DataType, Payload
from drivers.mqtt.sparkplug_codec import decode_payload, encode_payload
from drivers.mqtt.sparkplug_edge import EdgeConfig, EdgeNode, Publish, Subscribe
from drivers.mqtt.sparkplug_host import Data, Host, HostConfig
from drivers.mqtt.sparkplug_space import Item, Space
from supervisor.mqtt import tags
from tests.drivers.mqtt.broker import Mosquitto, running

METRICS = 10_000
SECONDS = 5
ROUNDS = 60  # of all metrics, in messages of PER_MESSAGE, for the host
PER_MESSAGE = 500
KEY = ("bench", "node")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def make_edge() -> EdgeNode:
    kinds = (DataType.DOUBLE, DataType.FLOAT, DataType.INT32, DataType.BOOLEAN)
    items = [
        Item(
            f"Main.unit{n // 100:03}.value{n % 100:02}", kinds[n % 4], writable=True,
            properties=(("engUnit", DataType.STRING, "m3/h"), ("engHigh", DataType.DOUBLE, 500.0)),
        )
        for n in range(METRICS)
    ]  # fmt: skip
    edge = EdgeNode(EdgeConfig(*KEY), Space(items))
    change(edge, 0)
    return edge


MAKERS = (float, float, int, bool)


def change(edge: EdgeNode, number: int) -> list[int]:
    """All metrics get a new value, as columns of a snapshot give them."""
    values = (np.arange(METRICS) * 0.5 + number).tolist()
    at = now_ms()
    space = edge.space
    for row, value in enumerate(values):
        space.set(row, MAKERS[row % 4](value if row % 4 != 3 else (row + number) % 2), at, 192)
    return list(range(METRICS))


class Peer:
    """A machine with its connection; ``carry`` does what it says."""

    def __init__(self, port: int, name: str, machine: EdgeNode | Host) -> None:
        self.machine = machine
        self.samples = 0
        self.batches = 0
        if isinstance(machine, Host):
            will = lambda _: machine.will(now_ms())  # noqa: E731
        else:
            will = lambda _: machine.will()  # noqa: E731
        self.client = MqttClient(
            Connection((Broker("127.0.0.1", port),), name, waiting_max=1_000_000),
            on_message=lambda topic, payload, _: self.carry(machine.message(topic, payload, now_ms())),
            on_up=lambda _: self.carry(machine.connected(now_ms())), on_down=lambda _: None, prepare=will,
        )  # fmt: skip

    def carry(self, steps: list) -> None:
        for one in steps:
            if isinstance(one, Publish):
                self.client.publish(one.topic, one.payload, qos=one.qos, retain=one.retain)
            elif isinstance(one, Subscribe):
                self.client.subscribe(one.filters)
            elif isinstance(one, Data):
                for sample in one.samples:
                    sample.metric.tag = 1
                self.batches += len(tags.batch(1, "", one.samples, historical=False).ids) // 4
                self.samples += len(one.samples)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def edge_share(port: int) -> dict[str, float]:
    peer = Peer(port, "edge", make_edge())
    peer.client.start()
    await peer.until(lambda: peer.client.connected and peer.client.waiting == 0)
    began, wall = time.process_time(), time.monotonic()
    for number in range(SECONDS):
        rows = change(peer.machine, number + 1)
        peer.carry(peer.machine.changed(rows, now_ms()))
        await asyncio.sleep(max(0.0, wall + number + 1 - time.monotonic()))
    share = (time.process_time() - began) / (time.monotonic() - wall)
    await peer.client.stop()
    return {"share": share}


def plain_share(port: int) -> dict[str, float]:
    """paho alone: 10,000 JSON messages a second."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "plain")
    client.connect("127.0.0.1", port)
    client.loop_start()
    began, wall = time.process_time(), time.monotonic()
    for number in range(2):
        for row in range(METRICS):
            client.publish(f"bench/{row}", json.dumps({"value": row * 0.5 + number, "time": now_ms()}))
        time.sleep(max(0.0, wall + number + 1 - time.monotonic()))
    share = (time.process_time() - began) / (time.monotonic() - wall)
    client.disconnect()
    client.loop_stop()
    return {"share": share}


def data_messages() -> tuple[list[tuple[str, bytes]], list[tuple[str, bytes]]]:
    """Births, and the data of all rounds, encoded."""
    edge = make_edge()
    edge.will()
    births = [(one.topic, one.payload) for one in edge.connected(now_ms()) if isinstance(one, Publish)]
    data = []
    for number in range(ROUNDS):
        rows = change(edge, number + 1)
        for start in range(0, METRICS, PER_MESSAGE):
            actions = edge.changed(rows[start : start + PER_MESSAGE], now_ms())
            data += [(one.topic, one.payload) for one in actions if isinstance(one, Publish)]
    return births, data


async def send(port: int, messages: list[tuple[str, bytes]], name: str) -> None:
    """From a process of its own, so that its work is not counted."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        pathlib.Path(file.name).write_text(  # noqa: ASYNC240
            json.dumps([[topic, payload.hex()] for topic, payload in messages])
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "send", str(port), file.name, name
        )
        assert await process.wait() == 0


def send_main(port: str, path: str, name: str) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, name)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    for topic, payload in json.loads(pathlib.Path(path).read_text()):
        client.publish(topic, bytes.fromhex(payload)).wait_for_publish()
    client.disconnect()
    client.loop_stop()


async def host_rate(port: int) -> dict[str, float]:
    births, data = data_messages()
    peer = Peer(port, "host", Host(HostConfig("bench")))
    peer.client.start()
    await peer.until(lambda: peer.client.connected)
    await send(port, births, "sender")
    await peer.until(lambda: peer.samples > 0)
    first = peer.samples
    began, wall = time.process_time(), time.monotonic()
    sending = asyncio.create_task(send(port, data, "sender"))
    await peer.until(lambda: peer.samples - first >= METRICS * ROUNDS)
    used, took = time.process_time() - began, time.monotonic() - wall
    await sending
    await peer.client.stop()
    count = METRICS * ROUNDS
    return {
        "metrics_per_cpu_s": count / used,
        "metrics_per_s": count / took,
        "ns_per_metric": used / count * 1e9,
    }


async def receive_rate(port: int) -> dict[str, float]:
    """paho alone receives the same bytes."""
    _, data = data_messages()
    got = 0

    def heard(*_: object) -> None:
        nonlocal got
        got += 1

    client = paho.Client(CallbackAPIVersion.VERSION2, "receiver")
    client.on_message = heard
    client.connect("127.0.0.1", port)
    client.subscribe("spBv1.0/bench/#")
    client.loop_start()
    await asyncio.sleep(0.3)
    began = time.process_time()
    sending = asyncio.create_task(send(port, data, "sender2"))
    while got < len(data):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    used = time.process_time() - began
    await sending
    client.disconnect()
    client.loop_stop()
    return {"metrics_per_cpu_s": METRICS * ROUNDS / used}


async def rebirth_time(port: int) -> dict[str, float]:
    edge, host = Peer(port, "edge", make_edge()), Peer(port, "host", Host(HostConfig("bench")))
    host.client.start()
    await host.until(lambda: host.client.connected)
    edge.client.start()
    await host.until(lambda: host.samples >= METRICS)
    times = []
    for _ in range(3):
        await asyncio.sleep(1.1)  # the edge answers once a second at most
        before = host.samples
        began = time.monotonic()
        host.carry(host.machine.rebirth(KEY, now_ms()))
        await host.until(lambda b=before: host.samples >= b + METRICS)
        times.append(time.monotonic() - began)
    await edge.client.stop()
    await host.client.stop()
    return {"seconds": min(times)}


def codec_rate() -> dict[str, float]:
    _, data = data_messages()
    payloads = [payload for _, payload in data[:100]]
    began = time.process_time()
    decoded: list[Payload] = [decode_payload(one) for one in payloads]
    read = 100 * PER_MESSAGE / (time.process_time() - began)
    began = time.process_time()
    for one in decoded:
        encode_payload(one)
    return {"read": read, "write": 100 * PER_MESSAGE / (time.process_time() - began)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running(pathlib.Path(folder)) as broker:
        report(broker)


def report(broker: Mosquitto) -> None:
    def run(work: Callable[[int], Awaitable[dict[str, float]]]) -> dict[str, float]:
        with contextlib.suppress(ImportError):
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(work(broker.port))  # type: ignore[arg-type]
        return asyncio.run(work(broker.port))  # type: ignore[arg-type]

    edge, plain = run(edge_share)["share"], plain_share(broker.port)["share"]
    print(f"edge     {edge:6.1%} of a core for {METRICS:,} metrics a second (gate 15 %)")
    print(f"         paho alone, a message a value: {plain:.1%}; ratio {edge / plain:.2f}")
    host, receive = run(host_rate), run(receive_rate)["metrics_per_cpu_s"]
    print(f"host     {host['metrics_per_cpu_s']:,.0f} metrics a CPU second (gate 50,000)")
    print(f"         {host['metrics_per_s']:,.0f} a second through the broker")
    print(f"         paho alone receives {receive:,.0f}; ratio {host['metrics_per_cpu_s'] / receive:.2f}")
    rebirth = run(rebirth_time)
    print(f"rebirth  {rebirth['seconds']:.2f} s for {METRICS:,} metrics (gate 1 s)")
    codec = codec_rate()
    print(f"codec    reads {codec['read']:,.0f}, writes {codec['write']:,.0f} metrics a CPU second")


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        send_main(*sys.argv[2:])
    else:
        main()
