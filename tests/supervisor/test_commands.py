"""Commands: sent once, settled by the runtime, and never claimed to have happened when nobody knows."""

from __future__ import annotations

import time

import pytest

from runtime import link
from scan.problem import TickworkError
from supervisor import commands as module
from supervisor.model import Actor, Role


async def test_write_when_runtime_confirms_then_effective_with_scan_and_value(
    supervisor, make_node, admin, eventually
):
    node = await make_node()
    row = await supervisor.services.commands.send(
        admin, node.node_id, "write", {"Main.Setpoint": "2.5"}, reason="try"
    )
    order = await node.wait_for(link.Command)
    assert (order.kind, order.values, order.user) == ("write", {"Main.Setpoint": "2.5"}, "test")
    assert order.expires_ns > time.time_ns()
    await node.send(link.CommandResult(order.id, "effective", 77, time.time_ns(), "2.5"))

    async def effective():
        found = await supervisor.services.commands.get(admin, row.id)
        return found.state == "effective" and found

    found = await eventually(effective)
    assert (found.scan, found.value) == (77, "2.5")


async def test_write_when_link_is_lost_then_uncertain_and_not_sent_again(
    supervisor, make_node, admin, eventually
):
    node = await make_node()
    row = await supervisor.services.commands.send(admin, node.node_id, "write", {"Main.Setpoint": "2.5"})
    await node.wait_for(link.Command)
    await node.hang_up()

    async def uncertain():
        return (await supervisor.services.commands.get(admin, row.id)).state == "uncertain"

    await eventually(uncertain)
    await node.dial()
    await node.describe()
    await node.committed(await node.batch([(0, time.time_ns(), 1.0, 0)]))
    assert not [m for m in node.received if isinstance(m, link.Command)]
    await node.send(link.CommandResult(row.id, "effective", 5))

    async def settled():
        return (await supervisor.services.commands.get(admin, row.id)).state == "effective"

    await eventually(settled)


async def test_write_when_runtime_is_away_then_queued_and_expires_unsent(
    supervisor, make_node, admin, monkeypatch, eventually
):
    monkeypatch.setattr(module, "CHECK_PERIOD_S", 0.05)
    node = await make_node()
    await node.hang_up()

    async def away():
        return not supervisor.parts.fleet.is_ready(node.node_id)

    await eventually(away)
    row = await supervisor.services.commands.send(
        admin, node.node_id, "write", {"Main.Setpoint": "1"}, expires_s=1
    )
    assert row.state == "queued"

    async def expired():
        return (await supervisor.services.commands.get(admin, row.id)).state == "expired"

    await eventually(expired)
    await node.dial()
    await node.describe()
    await node.committed(await node.batch([(0, time.time_ns(), 1.0, 0)]))
    assert not [m for m in node.received if isinstance(m, link.Command)]


async def test_write_when_newer_one_waits_too_then_older_is_superseded(
    supervisor, make_node, admin, eventually
):
    node = await make_node()
    await node.hang_up()

    async def away():
        return not supervisor.parts.fleet.is_ready(node.node_id)

    await eventually(away)
    first = await supervisor.services.commands.send(admin, node.node_id, "write", {"Main.Setpoint": "1"})
    await supervisor.services.commands.send(admin, node.node_id, "write", {"Main.Setpoint": "2"})
    assert (await supervisor.services.commands.get(admin, first.id)).state == "superseded"


async def test_write_when_idempotency_key_repeats_then_one_command(supervisor, make_node, admin):
    node = await make_node()
    rows = [
        await supervisor.services.commands.send(
            admin, node.node_id, "write", {"Main.Setpoint": "1"}, idempotency_key="k"
        )
        for _ in range(3)
    ]
    assert len({row.id for row in rows}) == 1


@pytest.mark.parametrize(
    ("kind", "values", "options", "code"),
    [
        ("write", {"Main.Nothing": "1"}, {}, "SV4006"),
        ("write", {"Main.Level": "1"}, {}, "SV4006"),
        ("write", {}, {}, "SV1001"),
        ("write", {"Main.Setpoint": "1" * 5000}, {}, "SV1001"),
        ("write", {"Main.Setpoint": "1"}, {"expires_s": 0}, "SV1001"),
        ("force", {"Main.Level": "1"}, {"lease_s": 60}, "SV4006"),
        ("force", {"Main.Level": "1"}, {"reason": "test"}, "SV4006"),
    ],
)
async def test_send_when_it_cannot_be_done_then_refused_at_once(
    supervisor, make_node, admin, kind, values, options, code
):
    node = await make_node()

    with pytest.raises(TickworkError) as error:
        await supervisor.services.commands.send(admin, node.node_id, kind, values, **options)
    assert error.value.code == code


async def test_result_when_from_another_runtime_then_ignored(supervisor, make_node, admin):
    node, other = await make_node("a"), await make_node("b")
    row = await supervisor.services.commands.send(admin, node.node_id, "stop")
    await other.send(link.CommandResult(row.id, "effective", 1))
    await other.committed(await other.batch([(0, time.time_ns(), 1.0, 0)]))
    assert (await supervisor.services.commands.get(admin, row.id)).state == "sent"


async def test_send_when_key_is_limited_to_other_runtimes_then_refused(supervisor, make_node):
    node = await make_node()
    limited = Actor("key", Role.ADMIN, "api", nodes=("other",))
    with pytest.raises(TickworkError) as error:
        await supervisor.services.commands.send(limited, node.node_id, "stop")
    assert error.value.code == "SV1003"


async def test_sent_when_supervisor_was_killed_then_uncertain_after_restart(
    run_supervisor, fake_node, admin, tmp_path
):
    async with run_supervisor(tmp_path / "data") as first:
        node = fake_node(first.url)
        await node.enrol((await first.services.people.create_enrolment_token(admin)).secret)
        await node.dial()
        await node.describe()
        await node.committed(await node.batch([(0, time.time_ns(), 1.0, 0)]))
        row = await first.services.commands.send(admin, node.node_id, "stop")
        # As after a kill: the state on disk is "sent" and the link's end is not told.
        first.parts.fleet.watchers.clear()
        await node.hang_up()
    async with run_supervisor(tmp_path / "data") as again:
        assert (await again.services.commands.get(admin, row.id)).state == "uncertain"
