"""The live bus: latest values for whoever is slow, events without a hole for everybody."""

from __future__ import annotations

import asyncio
import time

import pytest

from runtime import link
from supervisor import live
from supervisor.model import Actor, Role
from supervisor.services import StreamEnded

NOW = time.time_ns()


async def drain(subscription):
    """Updates until a quiet one."""
    found = []
    while True:
        update = await subscription.next(interval_ms=0, beat_ms=100)
        if not (update.values or update.events or update.runtimes or update.commands or update.deployments):
            return found
        found.append(update)


async def test_next_when_subscribed_then_first_all_tags_and_later_only_changes(supervisor, make_node, admin):
    node = await make_node()
    subscription = supervisor.services.fleet.subscribe(admin, tags={node.node_id: ()})
    first = await subscription.next()
    assert [tag.path for tag in first.values] == ["Main.Level", "Main.Pump", "Main.Text", "Main.Setpoint"]
    await drain(subscription)
    await node.committed(await node.batch([(0, NOW, 1.0, 0)]))
    updates = await drain(subscription)
    assert [(tag.path, tag.value) for update in updates for tag in update.values] == [("Main.Level", 1.0)]
    subscription.close()


async def test_next_when_client_is_slow_then_it_sees_the_last_value_only(supervisor, make_node, admin):
    node = await make_node()
    subscription = supervisor.services.fleet.subscribe(admin, tags={node.node_id: ("Main.Level",)})
    await drain(subscription)
    for step in range(20):
        seq = await node.batch([(0, NOW + step, float(step), 0), (1, NOW + step, 1.0, 0)])
    await node.committed(seq)
    values = [tag.value for update in await drain(subscription) for tag in update.values]
    assert values == [19.0]
    subscription.close()


async def test_next_when_link_is_lost_then_every_tag_comes_as_stale(supervisor, make_node, admin, eventually):
    node = await make_node()
    subscription = supervisor.services.fleet.subscribe(admin, tags={node.node_id: ()}, fleet=True)
    await drain(subscription)
    await node.hang_up()
    values, runtimes = [], []

    async def told():
        update = await subscription.next(interval_ms=0, beat_ms=50)
        values.extend(update.values)
        runtimes.extend(update.runtimes)
        return values and runtimes

    await eventually(told)
    assert len(values) == 4
    assert all(tag.stale for tag in values)
    assert runtimes[-1].link == "down"
    subscription.close()


async def test_events_when_client_resumes_then_exactly_those_it_missed(supervisor, make_node, admin):
    node = await make_node()
    await node.committed(await node.journal(*(link.Event(NOW, "e", "t", f"event {n}") for n in range(5))))
    known = (await supervisor.services.fleet.events(admin))[2].seq
    subscription = supervisor.services.fleet.subscribe(admin, after_seq=known)
    events = [event for update in await drain(subscription) for event in update.events]
    assert [event.seq for event in events] == [known + 1, known + 2]
    subscription.close()


async def test_events_when_too_many_wait_then_resync_instead_of_a_hole(
    supervisor, make_node, admin, monkeypatch
):
    monkeypatch.setattr(live, "EVENTS_QUEUED_MAX", 10)
    node = await make_node()
    subscription = supervisor.services.fleet.subscribe(admin)
    await node.committed(await node.journal(*(link.Event(NOW, "e", "t", str(n)) for n in range(50))))
    update = await subscription.next()
    assert update.resync
    assert update.events == ()
    subscription.close()


async def test_subscribe_when_asked_for_a_future_or_forgotten_event_then_resync(supervisor, admin):
    subscription = supervisor.services.fleet.subscribe(admin, after_seq=10**9)
    assert (await subscription.next()).resync
    subscription.close()


async def test_subscribe_when_key_is_limited_then_others_are_not_heard(supervisor, make_node):
    one, other = await make_node("one"), await make_node("other")
    limited = Actor("key", Role.VIEWER, "api", nodes=(one.node_id,))
    subscription = supervisor.services.fleet.subscribe(limited, fleet=True)
    await drain(subscription)
    await other.committed(await other.journal(link.Event(NOW, "e", "t", "secret")))
    await one.committed(await one.journal(link.Event(NOW, "e", "t", "mine")))
    updates = await drain(subscription)
    # That "one" has connected may be told before or after the first drain.
    heard = [event.text for update in updates for event in update.events if event.text != "connected"]
    assert heard == ["mine"]
    assert {runtime.node_id for update in updates for runtime in update.runtimes} <= {one.node_id}
    subscription.close()


async def test_next_when_closed_while_waiting_then_it_ends(supervisor, admin):
    subscription = supervisor.services.fleet.subscribe(admin)
    await drain(subscription)
    waiting = asyncio.create_task(subscription.next(beat_ms=10_000))
    await asyncio.sleep(0)
    subscription.close()
    with pytest.raises(StreamEnded):
        await waiting
    assert supervisor.parts.fleet.bus.clients == 0
