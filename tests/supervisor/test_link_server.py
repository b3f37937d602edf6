"""The link: who may connect, what is acknowledged and when, and what a lost link means."""

from __future__ import annotations

import time

import msgspec
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from runtime import link
from scan import quality as q
from supervisor.model import Page, SeriesKey

NOW = time.time_ns()


async def test_enrol_when_token_is_used_twice_then_only_same_key_gets_the_same_id(
    supervisor, fake_node, admin
):
    token = (await supervisor.services.people.create_enrolment_token(admin)).secret
    node = fake_node(supervisor.url)
    assert (await node.enrol(token)).status_code == 200
    first = node.node_id
    assert (await node.enrol(token)).status_code == 200
    assert node.node_id == first
    other = fake_node(supervisor.url)
    answer = await other.enrol(token)
    assert (answer.status_code, answer.json()["code"]) == (403, "SV3001")


@pytest.mark.parametrize("token", ["", "twe_guess", "x" * 3000])
async def test_enrol_when_token_is_wrong_then_refused_with_code(supervisor, fake_node, token):
    answer = await fake_node(supervisor.url).enrol(token)
    assert answer.json()["code"] == "SV3001"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"token":1}', b"\xff" * 100])
async def test_enrol_when_body_is_no_request_then_problem(supervisor, body):
    answer = await supervisor.anonymous().post("/link/enrol", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "SV1001")


async def test_enrol_when_token_names_another_node_then_refused(supervisor, fake_node, admin):
    token = await supervisor.services.people.create_enrolment_token(admin, node="pump-7")
    assert (await fake_node(supervisor.url, "water-1").enrol(token.secret)).status_code == 403
    assert (await fake_node(supervisor.url, "pump-7").enrol(token.secret)).status_code == 200


async def test_link_when_signature_is_anothers_then_refused(make_node):
    node = await make_node(connect=False)
    answer = await node.dial(key=Ed25519PrivateKey.generate())
    assert isinstance(answer, link.Refused)
    assert answer.problem.code == "SV3003"


async def test_link_when_node_is_unknown_then_refused(supervisor, fake_node):
    node = fake_node(supervisor.url)
    node.node_id = "nothing"
    answer = await node.dial()
    assert answer.problem.code == "SV3002"
    await node.hang_up()


async def test_batch_when_committed_then_acknowledged_and_readable(supervisor, make_node, admin):
    node = await make_node()
    seq = await node.batch([(0, NOW, 1.25, 0), (1, NOW, 1.0, 0)], texts=())
    await node.committed(seq)
    trace = await supervisor.services.history.raw(
        admin, SeriesKey(node.node_id, "Main.Level"), from_ns=NOW - 1, to_ns=NOW + 1
    )
    assert trace.values == (1.25,)
    tags = await supervisor.services.fleet.tags(admin, node.node_id)
    assert [(t.path, t.value, t.text) for t in tags][:2] == [
        ("Main.Level", 1.25, "1.25"),
        ("Main.Pump", True, "TRUE"),
    ]


async def test_batch_when_sent_again_after_reconnect_then_stored_once(supervisor, make_node, admin):
    node = await make_node()
    await node.committed(await node.batch([(0, NOW, 1.0, 0)]))
    await node.hang_up()
    welcome = await node.dial()
    assert welcome.committed == 1
    await node.describe()
    await node.batch([(0, NOW + 5, 9.0, 0)], seq=1)
    await node.batch([(0, NOW + 1, 2.0, 0)], seq=2)
    await node.committed(2)
    trace = await supervisor.services.history.raw(
        admin, SeriesKey(node.node_id, "Main.Level"), from_ns=NOW - 1, to_ns=NOW + 10
    )
    assert trace.values == (1.0, 2.0)


async def test_batch_when_string_tag_then_text_is_kept(supervisor, make_node, admin):
    node = await make_node()
    seq = await node.batch([(2, NOW, float("nan"), 0)], texts=((0, "filling"),))
    await node.committed(seq)
    (tag,) = await supervisor.services.fleet.tags(admin, node.node_id, ("Main.Text",))
    assert (tag.value, tag.text) == ("filling", "filling")
    trace = await supervisor.services.history.raw(
        admin, SeriesKey(node.node_id, "Main.Text"), from_ns=NOW - 1, to_ns=NOW + 1
    )
    assert trace.texts == ("filling",)


async def test_batch_when_of_an_earlier_program_then_stored_under_its_tags(supervisor, make_node, admin):
    node = await make_node()
    old = node.digest
    node.digest = "e" * 64
    await node.describe((link.Tag(0, "Main.Other", 14),))
    await node.committed(await node.batch([(0, NOW, 4.5, 0)], digest=old, historical=True))
    trace = await supervisor.services.history.raw(
        admin, SeriesKey(node.node_id, "Main.Level"), from_ns=NOW - 1, to_ns=NOW + 1
    )
    assert trace.values == (4.5,)


async def test_tags_when_link_is_lost_then_stale_at_once_with_last_value(
    supervisor, make_node, admin, eventually
):
    node = await make_node()
    await node.committed(await node.batch([(0, NOW, 1.5, 0), (1, NOW, 1.0, q.BAD_DEVICE_FAILURE)]))
    await node.hang_up()

    async def stale():
        return (await supervisor.services.fleet.tags(admin, node.node_id))[0].stale

    await eventually(stale)
    level, pump, *_ = await supervisor.services.fleet.tags(admin, node.node_id)
    assert (level.value, level.time_ns, level.quality) == (1.5, NOW, q.UNCERTAIN_LAST_USABLE)
    assert pump.quality == q.BAD_DEVICE_FAILURE
    (runtime,) = await supervisor.services.fleet.runtimes(admin)
    assert (runtime.link, runtime.attention) == ("down", "no connection")


async def test_tags_when_supervisor_restarts_then_last_values_are_there_as_stale(
    run_supervisor, fake_node, admin, tmp_path
):
    async with run_supervisor(tmp_path / "data") as first:
        node = fake_node(first.url)
        await node.enrol((await first.services.people.create_enrolment_token(admin)).secret)
        await node.dial()
        await node.describe()
        await node.committed(await node.batch([(0, NOW, 3.5, 0)]))
        await node.hang_up()
    async with run_supervisor(tmp_path / "data") as again:
        tags = await again.services.fleet.tags(admin, node.node_id)
        assert [(t.path, t.value, t.stale) for t in tags][:2] == [
            ("Main.Level", 3.5, True),
            ("Main.Pump", None, True),
        ]
        node.url = again.url
        assert (await node.dial()).committed == 1
        await node.hang_up()


async def test_journal_when_committed_then_events_have_growing_numbers(supervisor, make_node, admin):
    node = await make_node()
    seq = await node.journal(link.Event(NOW, "fault", "Fast", "division by zero", {"pou": "Main"}, "error"))
    await node.committed(seq)
    events = await supervisor.services.fleet.events(admin, page=Page(limit=10))
    assert {e.text for e in events} == {"division by zero", "connected"}
    assert [e.seq for e in events] == list(range(len(events), 0, -1))
    assert {e.kind for e in events} == {"fault", "link"}


async def test_link_when_node_dials_twice_then_older_link_is_closed(supervisor, make_node, admin):
    node = await make_node()
    older, reader = node.socket, node._reader
    assert isinstance(await node.dial(), link.Welcome)
    await reader
    assert older.close_code == 4001
    await node.describe()
    await node.committed(await node.batch([(0, NOW, 1.0, 0)]))
    (runtime,) = await supervisor.services.fleet.runtimes(admin)
    assert runtime.link == "up"


async def test_revoke_when_connected_then_link_is_cut_and_refused(supervisor, make_node, admin):
    node = await make_node()
    await supervisor.services.fleet.revoke(admin, node.node_id, "stolen")
    await node._reader
    assert isinstance(await node.dial(), link.Refused)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"x" * 100_000,
        msgspec.msgpack.encode({"t": "Batch"}),
        link.encode(link.Batch(1, "d" * 64, b"\0" * 4, b"\0" * 7, b"\0" * 8, b"\0\0")),
        link.encode(link.Describe("w", "d", "", (link.Tag(2**31, "a", 1),), (), ())),
        link.encode(link.Hello(1, "n", b"", "b", 0)),
    ],
    ids=["empty", "unused byte", "noise", "fields missing", "short column", "huge id", "out of turn"],
)
async def test_link_when_frame_is_wrong_then_refused_and_others_go_on(supervisor, make_node, frame, admin):
    good, bad = await make_node("good"), await make_node("bad")
    await bad.socket.send(frame)
    refused = await bad.wait_for(link.Refused)
    assert refused.problem.code in ("SV3004", "LK1001")
    await bad._reader
    await good.committed(await good.batch([(0, NOW, 1.0, 0)]))


async def test_link_when_frame_is_too_large_then_closed(supervisor, make_node):
    node = await make_node()
    with pytest.raises(websockets.ConnectionClosed):
        await node.socket.send(b"\0" * (link.FRAME_SIZE_MAX + 1000))
        await node.socket.recv()


async def test_link_when_text_frame_then_refused(supervisor, make_node):
    node = await make_node()
    await node.socket.send("hello")
    assert (await node.wait_for(link.Refused)).problem.code == "SV3004"
