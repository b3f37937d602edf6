"""The field driver against a real broker."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from scan.quality import (
    BAD_NO_COMMUNICATION,
    BAD_NOT_CONNECTED,
    BAD_SENSOR_FAILURE,
    BAD_WAITING_FOR_INITIAL_DATA,
    GOOD,
)
from tests.drivers.mqtt.broker import Mosquitto, running, until
from tests.drivers.mqtt.conftest import connection_to, peer_of, session_of


def table(broker: Mosquitto, **more: Any) -> dict[str, Any]:
    usual = {"name": "press", "protocol": "mqtt", "brokers": [broker.address], "backoff_min_ms": 20,
             "backoff_max_ms": 100}  # fmt: skip
    return usual | more


def subscribe(topic: str, *points: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"topic": topic, "point": list(points)} | more


async def test_inputs_when_messages_of_each_kind_come_then_value_quality_and_time(broker: Mosquitto) -> None:
    definition = table(
        broker,
        status="%IX40.0",
        subscribe=[
            subscribe("a/json", {"name": "t", "to": "%ID0", "path": "x.t[1]", "scale": 0.1, "offset": 1.0},
                      {"name": "on", "to": "%IX4.3", "path": "x.on"}),
            subscribe("a/number", {"name": "n", "to": "%IW3", "type": "UINT"}, payload="number"),
            subscribe("a/text", {"name": "s", "to": "%IB8", "type": "STRING", "length": 7}, payload="text"),
            subscribe("a/struct", {"name": "b", "to": "%ID5", "type": "DINT", "format": ">i", "byte": 2},
                      payload="struct"),
        ],
    )  # fmt: skip
    async with session_of(definition) as (session, image), peer_of(connection_to(broker, "p1")) as peer:
        await until(lambda: session.state == "online", "online")
        assert set(image.quality[:5]) == {BAD_WAITING_FOR_INITIAL_DATA}
        peer.client.publish("a/json", b'{"x": {"t": [0, 200], "on": true}}', retain=True)
        peer.client.publish("a/number", b" 513\n", retain=True)
        peer.client.publish("a/text", b"hallo", retain=True)
        peer.client.publish("a/struct", struct.pack(">hi", 1, -7), retain=True)
        await until(lambda: set(image.quality[:5]) == {GOOD}, "all good")
        assert abs(image.value("<f4", 0) - 21.0) < 1e-5
        assert image.image[4] == 8
        assert image.value("<u2", 6) == 513
        assert bytes(image.image[8:16]) == b"hallo\0\0\0"
        assert image.value("<i4", 20) == -7
        assert image.image[40] == 1
        assert image.times[:5].min() > 0
        for topic in ("a/json", "a/number", "a/text", "a/struct"):
            peer.client.publish(topic, b"", retain=True)


async def test_inputs_when_a_topic_has_placeholders_then_each_point_takes_its_own(broker: Mosquitto) -> None:
    points = [{"name": f"line{n}", "to": f"%IW{n}", "where": {"line": str(n)}} for n in (1, 2)]
    definition = table(
        broker, variables={"hall": "h7"},
        subscribe=[subscribe("t2/{hall}/{line}/+/count", *points, payload="number")],
    )  # fmt: skip
    async with session_of(definition) as (session, image), peer_of(connection_to(broker, "p2")) as peer:
        await until(lambda: session.state == "online", "online")
        for line, text in (("1", b"11"), ("2", b"22"), ("3", b"33")):
            peer.client.publish(f"t2/h7/{line}/x/count", text, qos=1)
        await until(lambda: session.counts.received == 3, "received")
        assert [image.value("<i2", 2), image.value("<i2", 4)] == [11, 22]


async def test_inputs_when_a_value_is_wrong_then_only_its_point_is_bad(broker: Mosquitto) -> None:
    definition = table(
        broker,
        subscribe=[
            subscribe("t3/a", {"name": "a", "to": "%IW0", "path": "a", "substitute": -1},
                      {"name": "b", "to": "%IW1", "path": "b"},
                      {"name": "c", "to": "%IW2", "path": "c", "optional": True}, on_loss="substitute")
        ],
    )  # fmt: skip
    async with session_of(definition) as (session, image), peer_of(connection_to(broker, "p3")) as peer:
        await until(lambda: session.state == "online", "online")
        peer.client.publish("t3/a", b'{"a": 1, "b": 2, "c": 3}', qos=1)
        await until(lambda: set(image.quality[:3]) == {GOOD}, "good")
        peer.client.publish("t3/a", b'{"a": 70000, "b": 5}', qos=1)
        await until(lambda: image.quality[0] == BAD_SENSOR_FAILURE, "a is bad")
        assert [image.value("<i2", at) for at in (0, 2, 4)] == [-1, 5, 3]
        assert list(image.quality[1:3]) == [GOOD, GOOD]
        for rubbish in (b"", b"\xff\xfe", b"[" * 100_000, b"{}", b'{"a":{"b":1}}', b'{"a":1e999}'):
            peer.client.publish("t3/a", rubbish, qos=1)
        peer.client.publish("t3/a", b'{"a": 4, "b": 5}', qos=1)
        await until(lambda: image.quality[0] == GOOD and session.counts.received == 9, "good again")
        assert session.counts.last_error.startswith("MQ2003")


async def test_inputs_when_a_value_is_too_old_then_bad_and_on_loss_applies(broker: Mosquitto) -> None:
    definition = table(
        broker,
        subscribe=[subscribe("t4/a", {"name": "a", "to": "%IW0"}, payload="number", max_age_ms=150, on_loss="zero")],
    )  # fmt: skip
    async with session_of(definition) as (session, image), peer_of(connection_to(broker, "p4")) as peer:
        await until(lambda: session.state == "online", "online")
        peer.client.publish("t4/a", b"7", qos=1)
        await until(lambda: image.quality[0] == GOOD and image.value("<i2", 0) == 7, "good")
        await until(lambda: image.quality[0] == BAD_NO_COMMUNICATION, "too old")
        assert image.value("<i2", 0) == 0


async def test_inputs_when_the_device_says_that_it_is_away_then_bad_until_it_is_back(
    broker: Mosquitto,
) -> None:
    definition = table(
        broker,
        availability={"topic": "t5/state"},
        subscribe=[subscribe("t5/a", {"name": "a", "to": "%IW0"}, payload="number")],
    )
    async with session_of(definition) as (session, image), peer_of(connection_to(broker, "p5")) as peer:
        await until(lambda: session.client.connected, "connected")
        peer.client.publish("t5/state", b"online", qos=1)
        peer.client.publish("t5/a", b"7", qos=1)
        await until(lambda: session.state == "online" and image.quality[0] == GOOD, "good")
        peer.client.publish("t5/state", b"offline", qos=1)
        await until(lambda: session.state == "offline" and image.quality[0] == BAD_NOT_CONNECTED, "away")
        peer.client.publish("t5/state", b"online", qos=1)
        await until(lambda: session.state == "online" and image.quality[0] == GOOD, "back")


async def test_outputs_when_they_change_then_one_message_in_an_interval_and_safe_values_at_the_end(
    broker: Mosquitto,
) -> None:
    definition = table(
        broker,
        publish=[
            {"topic": "t6/set", "qos": 1, "interval_ms": 60,
             "point": [{"name": "sp", "from": "%QD0", "path": "set.speed", "scale": 0.5, "safe": 0.0},
                       {"name": "run", "from": "%QX4.0", "path": "set.run", "safe": False}]},
            {"topic": "t6/raw", "payload": "struct",
             "point": [{"name": "w", "from": "%QW3", "type": "UINT", "format": ">H"}]},
            {"topic": "t6/txt", "payload": "number", "point": [{"name": "f", "from": "%QD2", "format": "%.1f"}]},
        ],
    )  # fmt: skip
    image_of = lambda speed, run, word: struct.pack("<fBBHf", speed, run, 0, word, 2.25)  # noqa: E731
    async with peer_of(connection_to(broker, "p6"), "t6/#") as peer, session_of(definition) as (session, _):
        await until(lambda: session.client.connected, "connected")
        for speed in range(1, 21):
            session.follow(image_of(speed, 1, 0x0102), live=True)
        await until(
            lambda: _follows(session, image_of(20, 1, 0x0102)) and len(peer.payloads("t6/set")) >= 2, "sent"
        )
        sent = [json.loads(one) for one in peer.payloads("t6/set")]
        assert sent == [{"set": {"speed": 2.0, "run": True}}, {"set": {"speed": 40.0, "run": True}}]
        assert peer.payloads("t6/raw") == [b"\x01\x02"]
        assert peer.payloads("t6/txt") == [b"2.2"]

        def gone() -> bool:
            session.follow(bytes(12), live=False)
            return session.settled and len(peer.payloads("t6/set")) == 3

        await until(gone, "safe values")
        assert json.loads(peer.payloads("t6/set")[-1]) == {"set": {"speed": 0.0, "run": False}}
        assert len(peer.payloads("t6/raw")) == 1


def _follows(session: Any, image: bytes) -> bool:
    session.follow(image, live=True)
    return True


async def test_outputs_when_refreshed_then_again_without_a_change_and_deadbands_hold(
    broker: Mosquitto,
) -> None:
    definition = table(
        broker,
        publish=[
            {"topic": "t9/a", "refresh_ms": 60, "payload": "number", "point": [{"name": "a", "from": "%QW0"}]},
            {"topic": "t9/b", "interval_ms": 0, "payload": "number",
             "point": [{"name": "b", "from": "%QW1", "deadband": 5.0}]},
        ],
    )  # fmt: skip
    async with peer_of(connection_to(broker, "p9"), "t9/#") as peer, session_of(definition) as (session, _):
        await until(lambda: session.client.connected, "connected")
        await until(
            lambda: _follows(session, struct.pack("<hh", 1, 10)) and len(peer.payloads("t9/a")) >= 3, "again"
        )
        assert set(peer.payloads("t9/a")) == {b"1"}
        session.follow(struct.pack("<hh", 1, 14), live=True)
        session.follow(struct.pack("<hh", 1, 15), live=True)
        await until(lambda: len(peer.payloads("t9/b")) == 2, "the change beyond the deadband")
        assert peer.payloads("t9/b") == [b"10", b"15"]


async def test_device_when_the_broker_goes_and_returns_then_bad_and_outputs_come_again(folder: Path) -> None:
    with running(folder) as broker:
        definition = table(
            broker,
            subscribe=[subscribe("t7/in", {"name": "a", "to": "%IW0"}, payload="number", on_loss="zero")],
            publish=[{"topic": "t7/out", "point": [{"name": "o", "from": "%QW0"}]}],
        )
        async with (
            session_of(definition) as (session, image),
            peer_of(connection_to(broker, "p7"), "t7/out") as peer,
        ):
            await until(lambda: session.state == "online", "online")
            peer.client.publish("t7/in", b"5", qos=1)
            await until(lambda: image.quality[0] == GOOD, "good")
            broker.stop()
            await until(lambda: image.quality[0] == BAD_NOT_CONNECTED, "bad")
            assert image.value("<i2", 0) == 0
            session.follow(b"\x07\0", live=True)
            broker.start()
            await until(lambda: session.state == "online" and len(peer.ups) == 2, "back")
            assert image.quality[0] == BAD_WAITING_FOR_INITIAL_DATA
            await until(lambda: _follows(session, b"\x07\0") and peer.payloads("t7/out") == [b"7"], "sent")


async def test_device_when_the_broker_keeps_the_session_then_nothing_is_missed(broker: Mosquitto) -> None:
    for version in ("3.1.1", "5"):
        name = f"keeps-{version}"
        definition = table(
            broker, client_id=name, session_s=60, version=version,
            subscribe=[subscribe(f"t8/{version}", {"name": "a", "to": "%IW0"}, payload="number")],
        )  # fmt: skip
        async with peer_of(connection_to(broker, f"p8{version}")) as peer:
            async with session_of(definition) as (session, image):
                await until(lambda s=session: s.state == "online", "online")
                peer.client.publish(f"t8/{version}", b"5", qos=1)
                await until(lambda i=image: i.quality[0] == GOOD, "good")
            peer.client.publish(f"t8/{version}", b"6", qos=1)
            await until(lambda p=peer: p.client.waiting == 0, "the broker has it")
            async with session_of(definition) as (session, image):
                await until(lambda i=image: i.quality[0] == GOOD, "good")
                assert image.value("<i2", 0) == 6
